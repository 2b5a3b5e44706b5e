"""The safetensors format: 8 bytes with the header's length, a header in JSON, the tensors' bytes. No code in it."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinyconv.checkpoint_file import as_array
from tinyconv.files import atomic_write
from tinyconv.weights.problem import UnreadableError, WeightsError, shown
from tinyconv.weights.storage import decode

DTYPES = {
    "F64": "f8", "F32": "f4", "F16": "f2", "BF16": "bfloat16", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items() if dtype != "bfloat16"}
HEADER = 100_000_000  # bytes at most, as in the reference implementation


def read_safetensors(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    """Return the tensors by name; every offset is checked against the file's size before anything is read."""
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(HEADER, size - 8):
        raise UnreadableError(f"whose header should have {length} bytes, of {size - 8} that follow")
    try:
        header = json.loads(file.read(length).decode("utf-8"))
    except (ValueError, RecursionError) as problem:
        raise UnreadableError(f"whose header is not JSON ({type(problem).__name__})") from None
    if not isinstance(header, dict):
        raise UnreadableError("whose header is not a JSON object")
    header.pop("__metadata__", None)
    room = size - 8 - length
    places = {name: _place(name, entry, room) for name, entry in header.items()}
    expected = 0
    for name, (_, _, begin, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != expected:
            raise UnreadableError(f"whose tensor {shown(name)} begins at byte {begin} and not at {expected}")
        expected = end
    if expected != room:
        raise UnreadableError(f"whose tensors need {expected} bytes, {room} are there")
    found = {}
    for name, (dtype, shape, begin, end) in places.items():
        file.seek(8 + length + begin)
        raw = np.empty(end - begin, np.uint8)
        if file.readinto(raw.data) != end - begin:  # type: ignore[attr-defined]
            raise UnreadableError(f"which ends within the tensor {shown(name)}")
        found[name] = decode(raw, dtype).reshape(shape)
    return found


def _place(name: str, entry: Any, room: int) -> tuple[str, tuple[int, ...], int, int]:
    """Return (dtype, shape, begin, end) of one entry of the header, or raise if they do not agree."""
    wrong = UnreadableError(f"whose header is damaged at the tensor {shown(name)}")
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise wrong
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise UnreadableError(f"whose tensor {shown(name)} is of a type that is not read: {shown(kind)}", "convert it")
    if not isinstance(shape, list) or len(shape) > 32 or not isinstance(offsets, list) or len(offsets) != 2:
        raise wrong
    if not all(type(n) is int and 0 <= n < 2**48 for n in (*shape, *offsets)):
        raise wrong
    begin, end = offsets
    need = 2 if kind == "BF16" else np.dtype(DTYPES[kind]).itemsize
    for n in shape:
        need *= n
    if not begin <= end <= room or end - begin != need:
        raise UnreadableError(
            f"whose tensor {shown(name)} of shape {tuple(shape)} needs {need} bytes: the header gives it "
            f"{begin} to {end} of {room}"
        )
    return DTYPES[kind], tuple(shape), begin, end


def save_safetensors(path: str | Path, state: Mapping[str, Any]) -> Path:
    """Write a state dictionary (names to tensors or arrays) as a safetensors file, which any framework can read.

    Parameters
    ----------
    state : mapping
        ``model.state_dict()``.

    Raises
    ------
    WeightsError
        A value is of a type that the format does not have.
    OSError
        The folder cannot be written to, or the disk is full.
    """
    arrays = {name: np.ascontiguousarray(as_array(value)).reshape(np.shape(value)) for name, value in state.items()}
    header: dict[str, Any] = {}
    place = 0
    for name, array in arrays.items():
        kind = _NAMES.get(array.dtype.newbyteorder("="))
        if not isinstance(name, str) or kind is None:
            known = ", ".join(str(dtype) for dtype in _NAMES)
            raise WeightsError(f"save_safetensors: {name!r} must be of type {known}, got {array.dtype}; convert it")
        end = place + array.nbytes
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8 bytes

    def write(file: BinaryIO) -> None:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())

    return atomic_write(path, write)
