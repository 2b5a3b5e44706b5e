"""CIFAR-10 and CIFAR-100 in their two formats, binary and Python pickles. See :func:`cifar10_folder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyconv.data.dataset import ArrayDataset, ImageTransform
from tinyconv.data.idx import check_split
from tinyconv.weights.numpy_pickle import read_values
from tinyconv.weights.problem import UnreadableError

CIFAR10_CLASSES = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
]  # fmt: skip
SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


class Layout(NamedTuple):
    """Where one of the sets keeps what: folders inside of its archives, files of each split, labels."""

    who: str
    folders: tuple[str, ...]
    files: dict[str, tuple[str, ...]]  # of the pickles; binary ones end in .bin
    names: dict[str, tuple[str, str]]  # kind of label: (file of class names in the binary set, key in meta's pickle)
    keys: dict[str, tuple[str, int]]  # kind of label: (key in a pickle, its byte in a binary record)
    meta: str
    label_bytes: int


_TEN = Layout(
    "cifar10_folder", ("cifar-10-batches-bin", "cifar-10-batches-py"),
    {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    {"fine": ("batches.meta.txt", "label_names")}, {"fine": ("labels", 0)}, "batches.meta", 1,
)  # fmt: skip
_HUNDRED = Layout(
    "cifar100_folder", ("cifar-100-binary", "cifar-100-python"), {"train": ("train",), "test": ("test",)},
    {"fine": ("fine_label_names.txt", "fine_label_names"), "coarse": ("coarse_label_names.txt", "coarse_label_names")},
    {"coarse": ("coarse_labels", 0), "fine": ("fine_labels", 1)}, "meta", 2,
)  # fmt: skip


def cifar10_folder(folder: str | Path, split: str = "train", transform: ImageTransform | None = None) -> ArrayDataset:
    """Read CIFAR-10 as its authors publish it (Krizhevsky 2009): 50,000 training and 10,000 test images.

    Parameters
    ----------
    folder : str or Path
        Where one of the archives was unpacked: it holds data_batch_1 (Python's pickles, which are read without running
        them) or data_batch_1.bin (a byte for the label, then 3,072 for red, green, blue, row by row).
    split : {"train", "test"}
    transform : callable, optional
        (image, rng) -> image.

    Returns
    -------
    ArrayDataset
        Images (3, 32, 32), float32 in [0, 1].

    Raises
    ------
    FileNotFoundError
        The folder or one of the files is missing.
    ValueError
        A file is damaged, or asks for more than arrays.
    """
    return _read(_TEN, folder, split, "fine", transform)


def cifar100_folder(
    folder: str | Path, split: str = "train", transform: ImageTransform | None = None, *, coarse: bool = False
) -> ArrayDataset:
    """Read CIFAR-100, as :func:`cifar10_folder` does: 100 classes, or with ``coarse`` their 20 superclasses."""
    return _read(_HUNDRED, folder, split, "coarse" if coarse else "fine", transform)


def _read(layout: Layout, folder: str | Path, split: str, kind: str, transform: ImageTransform | None) -> ArrayDataset:
    check_split(layout.who, split)
    place = _find(layout, Path(folder), layout.files[split][0])
    parts = [_part(layout, place, name, kind) for name in layout.files[split]]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    classes = _classes(layout, place, kind)
    if classes is not None and len(labels) and labels.max() >= len(classes):
        raise ValueError(f"{layout.who}: {place}: wanted labels below {len(classes)}, got {labels.max()}")
    return ArrayDataset(images.reshape(-1, *SHAPE), labels, transform, classes)


def _find(layout: Layout, folder: Path, first: str) -> Path:
    """Return the folder that holds the files: the one given, or the archive's own inside of it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{layout.who}: there is no folder {folder}")
    for place in (folder, *(folder / name for name in layout.folders)):
        if any((place / f"{first}{end}").is_file() for end in (".bin", "")):
            return place
    raise FileNotFoundError(
        f"{layout.who}: {folder} holds neither {first}.bin nor {first}; it must hold an archive of the set, unpacked"
    )


def _part(layout: Layout, place: Path, name: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return one file's images (n, 3072), uint8, and labels (n,)."""
    binary, pickled = place / f"{name}.bin", place / name
    if binary.is_file():
        return _binary(layout, binary, kind)
    if not pickled.is_file():
        raise FileNotFoundError(f"{layout.who}: {place} holds no {name}; it must hold all files of the archive")
    found = _pickled(layout, pickled)
    key = layout.keys[kind][0]
    images, labels = found.get("data"), found.get(key)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (_PIXELS,):
        raise ValueError(f"{layout.who}: {pickled} must hold 'data', uint8 (n, {_PIXELS}), got {_described(images)}")
    if not isinstance(labels, list) or len(labels) != len(images) or not all(type(i) is int and i >= 0 for i in labels):
        raise ValueError(f"{layout.who}: {pickled} must hold {len(images)} {key!r}, got {_described(labels)}")
    return images, np.array(labels, np.int64)


def _binary(layout: Layout, path: Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    raw, record = np.fromfile(path, np.uint8), layout.label_bytes + _PIXELS
    if len(raw) % record or not len(raw):
        raise ValueError(
            f"{layout.who}: {path} must be records of {record} bytes, got {len(raw):,} bytes; it is truncated or "
            "another set's: fetch it again"
        )
    records = raw.reshape(-1, record)
    return records[:, layout.label_bytes :], records[:, layout.keys[kind][1]].astype(np.int64)


def _pickled(layout: Layout, path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = read_values(file)
    except UnreadableError as problem:
        raise ValueError(f"{layout.who}: wanted arrays and lists in {path}, {problem.got}; {problem.advice}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{layout.who}: {path} must hold a dict, got {type(found).__name__}")
    return found


def _classes(layout: Layout, place: Path, kind: str) -> list[str] | None:
    """Return the names of the labels, from the set's own file if it is there."""
    text, key = layout.names[kind]
    if (place / text).is_file():
        return [line.strip() for line in (place / text).read_text("utf-8").splitlines() if line.strip()]
    if (place / layout.meta).is_file():
        names = _pickled(layout, place / layout.meta).get(key)
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    return CIFAR10_CLASSES if layout is _TEN else None


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return "none" if value is None else f"{len(value)} values" if isinstance(value, list) else type(value).__name__
