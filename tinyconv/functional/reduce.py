"""Sums, means, variances, extrema."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.functional.arithmetic import _choose, _elementwise, _run
from tinyconv.functional.indexing import Gather
from tinyconv.tensor import Tensor

Dims = int | Sequence[int] | None


def _axes(op: str, dim: Dims, ndim: int) -> tuple[int, ...]:
    dims = range(ndim) if dim is None or dim == () else [dim] if isinstance(dim, (int, np.integer)) else dim
    axes = tuple(errors.check_axis(op, d, ndim) for d in dims)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{op}: dim names an axis twice, got {dim}")
    return axes if ndim else ()


def _reduced(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[int]:
    return [1 if i in axes else n for i, n in enumerate(shape)]


class Sum(Function):
    """Sum over axes; each element gets the upstream gradient of its sum."""

    @staticmethod
    def forward(ctx: Any, x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
        ctx.shape, ctx.kept = x.shape, _reduced(x.shape, axes)
        out = device.empty(x, ctx.kept, np.int64 if x.dtype.kind in "iub" else x.dtype)
        device.kernels_for(x).reduce.reduce_sum(x, out, axes)
        return out if keepdim else out.reshape([n for i, n in enumerate(ctx.kept) if i not in axes])

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = device.empty(dy, ctx.shape)
        device.kernels_for(dy).elementwise.copy(dy.reshape(ctx.kept), dx)
        return dx, None, None


class Extremum(Function):
    """Largest or smallest element over all axes; ties (or all NaN) share the gradient evenly, as in PyTorch."""

    @staticmethod
    def forward(ctx: Any, x: Any, kernel: str) -> Any:
        out = device.empty(x, [1] * x.ndim)
        getattr(device.kernels_for(x).reduce, kernel)(x, out, tuple(range(x.ndim)))
        ctx.save(x, out)
        return out.reshape(())

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, out = ctx.saved
        nan = device.empty(x, x.shape, np.bool_)
        _elementwise(x).isnan(x, nan)
        # Where there is a NaN, the result is NaN and equals nothing.
        hit = _run("logical_or", _run("eq", x, out, np.bool_), nan, np.bool_)
        count = device.empty(dy, [1] * x.ndim)
        device.kernels_for(dy).reduce.reduce_sum(hit, count, tuple(range(x.ndim)))
        return _run("mul", hit, _run("div", dy, count), dy.dtype), None


class Norm(Function):
    """Square root of the sum of squares; gradient dy x / norm, and 0 where the norm is 0."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        total = device.empty(x, [1] * x.ndim)
        device.kernels_for(x).reduce.reduce_sum(_run("mul", x, x), total, tuple(range(x.ndim)))
        out = device.empty(x, total.shape)
        _elementwise(x).sqrt(total, out)
        ctx.save(x, out)
        return out.reshape(())

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, out = ctx.saved
        quotient = _run("div", _run("mul", x, dy), out)
        return _choose(_run("eq", out, 0, np.bool_), 0.0, quotient, x)


def sum(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Sum over the axes ``dim`` (all of them by default); integers and booleans are summed as int64."""
    errors.check_tensor("sum", "x", x)
    return Sum.apply(x, _axes("sum", dim, x.ndim), keepdim)


def mean(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Arithmetic mean over the axes ``dim`` (all of them by default)."""
    errors.check_tensor("mean", "x", x)
    errors.check_float("mean", "x", x)
    count = int(np.prod([x.shape[a] for a in _axes("mean", dim, x.ndim)], dtype=int))
    return sum(x, dim, keepdim) / (count or float("nan"))


def var(x: Tensor, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """Variance over the axes ``dim``: sum of (x - mean)^2 / (n - correction)."""
    errors.check_tensor("var", "x", x)
    errors.check_float("var", "x", x)
    count = int(np.prod([x.shape[a] for a in _axes("var", dim, x.ndim)], dtype=int))
    centred = x - mean(x, dim, keepdim=True)
    return sum(centred * centred, dim, keepdim) / (builtins.max(count - correction, 0) or float("nan"))


def std(x: Tensor, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """Standard deviation over the axes ``dim``."""
    return var(x, dim, correction, keepdim).sqrt()


def norm(x: Tensor) -> Tensor:
    """Euclidean norm: sqrt of the sum of squares of all elements; its gradient at 0 is 0."""
    errors.check_tensor("norm", "x", x)
    errors.check_float("norm", "x", x)
    return Norm.apply(x)


def _extremum(op: str, x: Tensor, dim: int | None, keepdim: bool) -> Any:
    errors.check_tensor(op, "x", x)
    if dim is None:
        if x.numel() == 0:
            raise ValueError(f"{op}: an empty tensor of shape {x.shape} has no {op}")
        return Extremum.apply(x, f"reduce_{op}")
    axis = errors.check_axis(op, dim, x.ndim)
    indices = _arg(f"arg{op}", x, axis, keepdim=True)
    values = take_along_dim(x, indices, axis)
    if keepdim:
        return values, indices
    return values.squeeze(axis), indices.squeeze(axis)


def max(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Largest element; with ``dim`` the pair (values, indices) along that axis, as PyTorch. First wins; NaN wins."""
    return _extremum("max", x, dim, keepdim)


def min(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Smallest element; with ``dim`` the pair (values, indices) along that axis, as PyTorch. First wins; NaN wins."""
    return _extremum("min", x, dim, keepdim)


def _arg(op: str, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    errors.check_tensor(op, "x", x)
    array = device.contiguous(x.data)
    if dim is None:
        array, axis = array.reshape(-1), 0
    else:
        axis = errors.check_axis(op, dim, x.ndim)
        array = array if x.ndim else array.reshape(1)
    if array.shape[axis] == 0:
        raise ValueError(f"{op}: an axis of size 0 has no {op}, got shape {x.shape}")
    out = device.empty(array, array.shape[:axis] + array.shape[axis + 1 :], np.int64)
    getattr(device.kernels_for(array).reduce, op)(array, out, axis)
    if keepdim:
        out = out.reshape([1] * x.ndim) if dim is None else out.reshape(_reduced(x.shape, (axis,)))
    return Tensor(out)


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index (int64) of the largest element, flat or along ``dim``; the first of equal ones, and NaN wins."""
    return _arg("argmax", x, dim, keepdim)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index (int64) of the smallest element, flat or along ``dim``; the first of equal ones, and NaN wins."""
    return _arg("argmin", x, dim, keepdim)


def all(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return the bool tensor of whether every element (over the axes ``dim``) is true, that is, not 0."""
    errors.check_tensor("all", "x", x)
    return sum(x == 0, _axes("all", dim, x.ndim), keepdim) == 0


def any(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return the bool tensor of whether some element (over the axes ``dim``) is true, that is, not 0."""
    errors.check_tensor("any", "x", x)
    return sum(x != 0, _axes("any", dim, x.ndim), keepdim) > 0


def take_along_dim(x: Tensor, indices: Tensor, dim: int) -> Tensor:
    """Pick x[..., indices[..., j, ...], ...] along one axis; ``indices`` has x's shape but along ``dim``."""
    errors.check_tensor("take_along_dim", "x", x)
    errors.check_integer("take_along_dim", "indices", indices)
    axis = errors.check_axis("take_along_dim", dim, x.ndim)
    along = indices.shape[axis : axis + 1] if indices.ndim == x.ndim else x.shape[axis : axis + 1]
    wanted = (*x.shape[:axis], *along, *x.shape[axis + 1 :])
    errors.check_shape("take_along_dim", "indices", indices, wanted, f"(x's shape but along dim {axis})")
    if x.device == "meta":
        return Gather.apply(x, device.empty(x.data, indices.shape, np.int64))
    picked = device.host(indices.data)
    errors.check_range("take_along_dim", "indices", picked, x.shape[axis] if x.ndim else 1)
    flat = np.arange(x.numel(), dtype=np.int64).reshape(x.shape)
    positions = np.take_along_axis(flat, picked, axis) if x.ndim else flat
    return Gather.apply(x, positions)
