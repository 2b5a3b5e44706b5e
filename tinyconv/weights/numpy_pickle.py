"""Pickles of nested dicts with NumPy arrays, as JAX projects save weights. See :func:`read_arrays`."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from tinyconv.weights.problem import UnreadableError
from tinyconv.weights.unpickle import Built, Table, unpickle

_NDARRAY = object()  # what the name numpy.ndarray stands for: only _reconstruct is given it
_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class _Dtype(Built):
    def __init__(self, name: Any, *flags: Any) -> None:
        if name not in _DTYPES:
            raise UnreadableError("with an array that is not of plain numbers")
        self.dtype = np.dtype(name)

    def build(self, state: Any) -> None:
        """Take over (version, order of bytes, ...)."""
        if state[1] not in ("<", ">", "|"):
            raise UnreadableError("with an array whose order of bytes is unknown")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(Built):
    """An array, empty until BUILD gives its content."""

    def __init__(self) -> None:
        self.value = np.empty(0)

    def build(self, state: Any) -> None:
        """Take over (version, shape, dtype, whether in Fortran's order, bytes)."""
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or type(raw) is not bytes or not isinstance(fortran, bool):
            raise UnreadableError("with a damaged array")
        found = np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if fortran else "C")
        self.value = np.ascontiguousarray(found, found.dtype.newbyteorder("="))


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _NDARRAY:
        raise UnreadableError("with an array of an unknown kind")
    return _Array()


def _dtype(name: Any, *flags: Any) -> _Dtype:
    return _Dtype(name, *flags)


TABLE: Table = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _dtype,
}


def read_arrays(file: BinaryIO) -> dict[str, np.ndarray]:
    """Return {"outer/inner/name": array} of a pickle of nested dicts; nothing in it is run.

    Raises
    ------
    UnreadableError
        The pickle asks for anything but arrays, or is damaged.
    """
    found: dict[str, np.ndarray] = {}
    waiting = [("", unpickle(file, TABLE), 0)]
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, _Array):
            found[name] = value.value
        elif isinstance(value, dict) and depth < 8:
            waiting += [(f"{name}/{key}".lstrip("/"), part, depth + 1) for key, part in value.items()]
    return found
