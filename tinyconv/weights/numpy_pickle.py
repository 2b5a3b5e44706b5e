"""Pickles of nested dicts with NumPy arrays: weights of JAX projects, CIFAR's batches.

See :func:`read_arrays`, :func:`read_values`.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np

from tinyconv.weights.problem import UnreadableError
from tinyconv.weights.unpickle import Built, Table, unpickle

_NDARRAY = object()  # what the name numpy.ndarray stands for: only _reconstruct is given it
_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


_DEPTH = 8  # of dicts and lists in each other
_VALUES = 1 << 17  # that any pickle may unfold to, beyond a few for each of its bytes


class _Allowance:
    """How much may still be made of a file: shared parts make its small lists or bytes into endless ones."""

    def __init__(self, count: int, what: str) -> None:
        self.left, self.count, self.what = count, count, what

    def take(self, count: int) -> None:
        """Use up a part; raise if that is more than there is."""
        self.left -= count
        if self.left < 0:
            raise UnreadableError(f"which claims more than {self.count} {self.what}, too much for its size")


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

    def __init__(self, room: _Allowance) -> None:
        self.value, self.room = np.empty(0), room

    def build(self, state: Any) -> None:
        """Take over (version, shape, dtype, whether in Fortran's order, bytes)."""
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or type(raw) not in (str, bytes) or not isinstance(fortran, bool):
            raise UnreadableError("with a damaged array")
        self.room.take(len(raw))  # many arrays on one text, or in another order, would each be a copy of it
        raw = raw.encode("latin-1") if type(raw) is str else raw  # Python 2 had one type for text and bytes
        found = np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if fortran else "C")
        self.value = np.ascontiguousarray(found, found.dtype.newbyteorder("="))


def _dtype(name: Any, *flags: Any) -> _Dtype:
    return _Dtype(name, *flags)


def _table(room: _Allowance) -> Table:
    def reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
        if kind is not _NDARRAY:
            raise UnreadableError("with an array of an unknown kind")
        return _Array(room)

    return {
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): reconstruct,
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): _dtype,
    }


def _unpickled(file: BinaryIO) -> tuple[Any, _Allowance]:
    """Return what a pickle holds, its arrays still as they are built, and how many values it may unfold to."""
    raw = file.read()  # from memory: a file's read() would make room for whatever length the pickle claims
    size = len(raw)
    value = unpickle(io.BytesIO(raw), _table(_Allowance(size, "bytes of arrays")), size=size)
    return value, _Allowance(_VALUES + 4 * size, "values")


def read_values(file: BinaryIO) -> Any:
    """Return what a pickle of dicts, lists, tuples, texts, numbers and arrays holds; nothing in it is run.

    Raises
    ------
    UnreadableError
        The pickle asks for anything else, or is damaged.
    """
    value, budget = _unpickled(file)
    return _finished(value, 0, budget)


def _finished(value: Any, depth: int, budget: _Allowance) -> Any:
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, (dict, list, tuple)):
        _check_depth(depth)
        budget.take(len(value))
        if isinstance(value, dict):
            return {key: _finished(part, depth + 1, budget) for key, part in value.items()}
        return type(value)(_finished(part, depth + 1, budget) for part in value)
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    raise UnreadableError("with a value that is no number, text or array")


def _check_depth(depth: int) -> None:
    if depth == _DEPTH:
        raise UnreadableError(f"with values nested more than {_DEPTH} deep")


def read_arrays(file: BinaryIO) -> dict[str, np.ndarray]:
    """Return {"outer/inner/name": array} of a pickle of nested dicts; nothing in it is run.

    Raises
    ------
    UnreadableError
        The pickle asks for anything but arrays, or is damaged.
    """
    found: dict[str, np.ndarray] = {}
    whole, budget = _unpickled(file)
    waiting = [("", whole, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, _Array):
            found[name] = value.value
        elif isinstance(value, dict):
            _check_depth(depth)
            # Letters, not names: a long name of a shared dict is repeated in the name of each of its arrays.
            budget.take(sum(len(name) + len(str(key)) + 1 for key in value))
            waiting += [(f"{name}/{key}".lstrip("/"), part, depth + 1) for key, part in value.items()]
    return found
