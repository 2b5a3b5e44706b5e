"""MNIST's IDX files, raw or gzip-compressed, and a folder of them. See :func:`read_idx`, :func:`mnist_folder`."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyconv.data.dataset import ArrayDataset, ImageTransform

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path: str | Path) -> np.ndarray:
    """Read an array from an IDX file.

    Layout (LeCun's description): two zero bytes, a byte for the type, a byte for the rank, the sizes as big-endian
    uint32, then the values, big-endian, last axis fastest. Compression is told by the content, not by the name.

    Parameters
    ----------
    path : str or Path
        File, raw or gzip-compressed.

    Returns
    -------
    array of the file's rank and type, in the machine's byte order

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is not an IDX file, or its length does not fit its header (an interrupted download).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"read_idx: there is no file {path}")
    return parse_idx("read_idx", path, path.read_bytes())


def parse_idx(who: str, path: str | Path, raw: bytes) -> np.ndarray:
    """Return the array in the content of an IDX file; ``who`` and ``path`` are for errors."""
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{who}: {path} is a damaged gzip file ({error}); fetch it again") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _TYPES or raw[3] == 0:
        raise ValueError(
            f"{who}: {path} must begin with an IDX magic number (00 00, a type, the rank), "
            f"got {raw[:4].hex(' ') or 'an empty file'}; is it an MNIST file?"
        )
    dtype, rank = np.dtype(_TYPES[raw[2]]), raw[3]
    start = 4 + 4 * rank
    sizes = tuple(int(size) for size in np.frombuffer(raw[4:start], ">u4", count=(min(len(raw), start) - 4) // 4))
    wanted = start + math.prod(sizes) * dtype.itemsize
    if len(sizes) < rank or len(raw) != wanted:
        state = "truncated" if len(raw) < wanted or len(sizes) < rank else "too long"
        raise ValueError(
            f"{who}: {path} is {state}: its header wants {wanted:,} bytes, got {len(raw):,}; fetch it again"
        )
    return np.frombuffer(raw, dtype, offset=start).reshape(sizes).astype(dtype.newbyteorder("="))


def mnist_folder(
    folder: str | Path,
    split: str = "train",
    transform: ImageTransform | None = None,
    classes: Sequence[str] | None = None,
) -> ArrayDataset:
    """Read one split of MNIST, Fashion-MNIST or a set in the same four files.

    Parameters
    ----------
    folder : str or Path
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same with ``t10k``, raw or ``.gz``.
    split : {"train", "test"}
    transform : callable, optional
        (image, rng) -> image.
    classes : sequence of str, optional
        Names of the labels; the numbers themselves if not given.

    Returns
    -------
    ArrayDataset
        Images (1, 28, 28), float32 in [0, 1].

    Raises
    ------
    FileNotFoundError
        The folder or one of the files is missing.
    ValueError
        A file is damaged, or images and labels differ in number.
    """
    folder = Path(folder)
    check_split("mnist_folder", split)
    if not folder.is_dir():
        raise FileNotFoundError(f"mnist_folder: there is no folder {folder}")
    images = read_idx(_find(folder, f"{_PREFIX[split]}-images", 3))
    labels = read_idx(_find(folder, f"{_PREFIX[split]}-labels", 1))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"mnist_folder: {folder}: wanted images (N, H, W) and N labels, "
            f"got shapes {images.shape} and {labels.shape}; the files do not belong together"
        )
    if classes is None:
        classes = [str(label) for label in range(int(labels.max()) + 1)] if len(labels) else []
    return ArrayDataset(images, labels, transform, classes)


def check_split(who: str, split: str, allowed: tuple[str, ...] = ("train", "test")) -> None:
    """Raise unless the split's name is one of those allowed."""
    if split not in allowed:
        raise ValueError(f"{who}: split must be one of {', '.join(map(repr, allowed))}, got {split!r}")


def _find(folder: Path, stem: str, rank: int) -> Path:
    """Return the file of this stem under any of the names that are in use."""
    names = [f"{stem}{dash}idx{rank}-ubyte{end}" for dash in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"mnist_folder: {folder} holds no {names[0]} (nor .gz); it must hold the set's four IDX files"
    )
