"""Weights in npz files: NumPy's own, and tinyconv's checkpoints. See :func:`read_npz`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from tinyconv.checkpoint_file import CheckpointError, read_file
from tinyconv.weights.problem import UnreadableError, shown
from tinyconv.weights.torch_file import room

_MODEL = "model/"  # a checkpoint's weights, beside the optimizer's state


def read_npz(archive: zipfile.ZipFile, path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by name, of a checkpoint of tinyconv's only the model's; never a pickled object."""
    size = path.stat().st_size
    total = sum(info.file_size for info in archive.infolist())
    if total > room(size):
        raise UnreadableError(f"which is {size} bytes and claims arrays of {total} bytes")
    if "format.npy" in archive.namelist() and "meta.npy" in archive.namelist():
        try:
            arrays, _ = read_file(path)
        except CheckpointError as problem:
            raise UnreadableError(f"whose content is damaged ({problem})") from None
        return {name.removeprefix(_MODEL): a for name, a in arrays.items() if name.startswith(_MODEL)}
    return {info.filename.removesuffix(".npy"): _member(archive, info) for info in archive.infolist()}


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Return one array, if its header agrees with the member's size."""
    name = shown(info.filename)
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise UnreadableError(f"whose array {name} is of an unknown version")
        shape, fortran, dtype = read_header[version](file)
        if dtype.hasobject or dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise UnreadableError(
                f"whose array {name} has the type {dtype}", "save plain numbers, without pickled objects"
            )
        count = 1
        for n in shape:
            count *= n
        if min(shape, default=0) < 0 or count * dtype.itemsize != info.file_size - file.tell():
            raise UnreadableError(
                f"whose array {name} of shape {shape} is not {info.file_size - file.tell()} bytes long"
            )
        numbers = np.frombuffer(bytearray(file.read()), dtype)
    array = numbers.reshape(shape, order="F" if fortran else "C")
    wanted = np.float32 if dtype == np.float16 else dtype.newbyteorder("=")
    return np.ascontiguousarray(array.astype(wanted, copy=False)).reshape(shape)
