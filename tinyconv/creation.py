"""Making tensors from data, constants and random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import device as devices
from tinyconv import errors, exchange, random
from tinyconv.tensor import Tensor

Shape = Any


def tensor(data: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Copy data into a new tensor.

    Parameters
    ----------
    data : number, nested lists, array or Tensor
        Python floats become float32 and integers int64; NumPy arrays keep their dtype.
    dtype, device
        Of the result; the data's own and "cpu" by default.
    requires_grad : bool
        Whether ``backward`` shall fill its ``.grad``.
    """
    devices.check_name(device)
    if isinstance(data, Tensor):
        array: Any = data.data
    else:
        try:
            array = np.array(data)
        except ValueError as problem:
            raise ValueError(f"tensor: nested lists must be rectangular ({problem})") from None
        if array.dtype == np.float64 and not isinstance(data, (np.ndarray, np.generic)):
            array = array.astype(np.float32)
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if dtype is None:
        errors.check_dtype("tensor", array.dtype)
    else:
        array = array.astype(errors.check_dtype("tensor", dtype))
    if isinstance(data, Tensor) and array is data.data and device == devices.of(array):
        array = array.copy()
    return Tensor(devices.move(array, device), requires_grad)


def from_numpy(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: wanted a NumPy array, got {type(array).__name__}; use tinyconv.tensor")
    return Tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """Return a tensor that shares the memory of another library's (anything with ``__dlpack__``), CPU or GPU."""
    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack: wanted an array of a library that speaks DLPack, got {type(source).__name__}")
    return Tensor(exchange.take(source))


def _shape(shape: tuple) -> tuple[int, ...]:
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    if any(not isinstance(n, (int, np.integer)) or n < 0 for n in sizes):
        raise ValueError(f"shape: sizes must be non-negative ints, got {sizes!r}")
    return tuple(int(n) for n in sizes)


def full(
    shape: Sequence[int], value: float, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """Return a tensor filled with ``value``: float32 for a Python float, int64 for an int, bool for a bool."""
    if dtype is None:
        kind = np.asarray(value).dtype.kind
        dtype = {"b": np.bool_, "i": np.int64, "u": np.int64}.get(kind, np.float32)
    dtype = errors.check_dtype("full", dtype)
    if devices.check_name(device) == "meta":
        return Tensor(devices.MetaArray(_shape((shape,)), dtype), requires_grad)
    if device == "cuda" and np.ndim(value) == 0:
        return Tensor(devices.full(_shape((shape,)), value, dtype), requires_grad)
    return Tensor(devices.move(np.full(_shape((shape,)), value, dtype), device), requires_grad)


def empty(*shape: Shape, dtype: Any = np.float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Return a tensor whose elements are whatever the memory held."""
    like = devices.move(np.empty(0, errors.check_dtype("empty", dtype)), device)
    return Tensor(devices.empty(like, _shape(shape)), requires_grad)


def zeros(*shape: Shape, dtype: Any = np.float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Return a tensor of zeros."""
    return full(_shape(shape), 0.0, dtype, device, requires_grad)


def ones(*shape: Shape, dtype: Any = np.float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Return a tensor of ones."""
    return full(_shape(shape), 1.0, dtype, device, requires_grad)


def zeros_like(x: Tensor) -> Tensor:
    """Return zeros of x's shape, dtype and device."""
    return zeros(x.shape, dtype=x.dtype, device=x.device)


def ones_like(x: Tensor) -> Tensor:
    """Return ones of x's shape, dtype and device."""
    return ones(x.shape, dtype=x.dtype, device=x.device)


def eye(n: int, dtype: Any = np.float32) -> Tensor:
    """Return the n x n identity matrix."""
    return Tensor(np.eye(n, dtype=errors.check_dtype("eye", dtype)))


def arange(*range_: float, dtype: Any = None) -> Tensor:
    """Return the numbers of ``arange(stop)`` or ``arange(start, stop, step)``: int64, or float32 if one is a float."""
    array = np.arange(*range_)
    if dtype is None:
        dtype = np.float32 if array.dtype.kind == "f" else np.int64
    return Tensor(array.astype(errors.check_dtype("arange", dtype)))


def linspace(start: float, end: float, steps: int, dtype: Any = np.float32) -> Tensor:
    """Return ``steps`` numbers from start to end, both included."""
    return Tensor(np.linspace(start, end, steps, dtype=errors.check_dtype("linspace", dtype)))


def _draw(stream: str, shape: tuple, dtype: Any, device: str, requires_grad: bool, draw: Any) -> Tensor:
    dtype = errors.check_dtype(stream, dtype)
    if devices.check_name(device) == "meta":
        return Tensor(devices.MetaArray(_shape(shape), dtype), requires_grad)
    drawn = np.asarray(draw(random.next_generator(stream), _shape(shape))).astype(dtype)
    return Tensor(devices.move(drawn, device), requires_grad)


def randn(*shape: Shape, dtype: Any = np.float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Return standard normal numbers; ``tinyconv.manual_seed`` makes them repeatable."""
    return _draw("randn", shape, dtype, device, requires_grad, lambda g, s: g.standard_normal(s))


def rand(*shape: Shape, dtype: Any = np.float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Return uniform numbers in [0, 1); ``tinyconv.manual_seed`` makes them repeatable."""
    return _draw("rand", shape, dtype, device, requires_grad, lambda g, s: g.random(s, np.float32))


def randint(low: int, high: int, shape: Sequence[int], dtype: Any = np.int64) -> Tensor:
    """Return integers in [low, high)."""
    return _draw("randint", (shape,), dtype, "cpu", False, lambda g, s: g.integers(low, high, s))


def randperm(n: int) -> Tensor:
    """Return the numbers 0 .. n - 1 in random order."""
    return Tensor(random.next_generator("randperm").permutation(n))
