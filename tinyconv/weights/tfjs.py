"""Weights of TensorFlow.js's layers models: a description in JSON, shards of plain numbers. See :func:`read_tfjs`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np

from tinyconv.weights.problem import UnreadableError

_DTYPES = {"float32": "<f4", "int32": "<i4", "uint8": "u1", "bool": "?"}


def read_tfjs(read: Callable[[str], bytes], member: str = "model.json") -> dict[str, np.ndarray]:
    """Return all tensors by name.

    Parameters
    ----------
    read : callable
        (name) -> bytes of a file beside model.json.
    member : str
        The description: its ``weightsManifest`` lists groups of ``weights`` (name, shape, dtype) and the ``paths`` of
        the shards, which hold the group's numbers one after another, little-endian.

    Raises
    ------
    UnreadableError
        The description is damaged or of another kind, tensors are quantised, or the shards are too short or too long.
    """
    try:
        manifest = json.loads(read(member))["weightsManifest"]
        groups = [(list(group["paths"]), list(group["weights"])) for group in manifest]
    except (ValueError, TypeError, KeyError) as problem:
        raise UnreadableError(f"whose {member} is no layers model ({type(problem).__name__}: {problem})") from None
    found: dict[str, np.ndarray] = {}
    for paths, weights in groups:
        raw = b"".join(read(path) for path in paths)
        place = 0
        for entry in weights:
            array, place = _tensor(entry, raw, place)
            found[str(entry["name"])] = array
        if place != len(raw):
            raise UnreadableError(f"whose shards have {len(raw):,} bytes where its tensors need {place:,}")
    return found


def _tensor(entry: dict, raw: bytes, place: int) -> tuple[np.ndarray, int]:
    """Return the tensor that begins at a byte, and where it ends."""
    name, shape, dtype = (entry.get(key) for key in ("name", "shape", "dtype"))
    if "quantization" in entry or dtype not in _DTYPES:
        raise UnreadableError(f"whose tensor {name!r} is {dtype}, quantised or not; only plain numbers are read")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise UnreadableError(f"whose tensor {name!r} has the shape {shape!r}")
    kind = np.dtype(_DTYPES[dtype])
    end = place + math.prod(shape) * kind.itemsize
    if end > len(raw):
        raise UnreadableError(f"whose shards end in the middle of the tensor {name!r}")
    array = np.frombuffer(raw[place:end], kind).reshape(shape)
    return array.astype(kind.newbyteorder("=")), end
