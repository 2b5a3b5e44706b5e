"""Reshaping, joining, splitting, padding, and moving between dtypes and devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.functional.arithmetic import _promote, _sum_to
from tinyconv.functional.indexing import Gather
from tinyconv.tensor import Tensor


class Reshape(Function):
    """The same elements in another shape: a view of a contiguous array."""

    view = True

    @staticmethod
    def forward(ctx: Any, x: Any, shape: tuple[int, ...]) -> Any:
        ctx.shape = x.shape
        return x.reshape(shape)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return dy.reshape(ctx.shape), None


class Permute(Function):
    """Axes in another order: a view."""

    view = True

    @staticmethod
    def forward(ctx: Any, x: Any, dims: tuple[int, ...]) -> Any:
        ctx.inverse = tuple(int(i) for i in np.argsort(dims))
        return x.transpose(dims)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return dy.transpose(ctx.inverse), None


class Expand(Function):
    """Axes of size 1 repeated without copying; the gradient sums over the repetitions."""

    view = True

    @staticmethod
    def forward(ctx: Any, x: Any, shape: tuple[int, ...]) -> Any:
        ctx.shape = x.shape
        return device.broadcast_to(x, shape)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return _sum_to(dy, ctx.shape), None


class Cat(Function):
    """Tensors one after the other along an axis; the gradient is cut at the same places."""

    @staticmethod
    def forward(ctx: Any, dim: int, *xs: Any) -> Any:
        ctx.dim, ctx.sizes = dim, [x.shape[dim] for x in xs]
        shape = list(xs[0].shape)
        shape[dim] = sum(ctx.sizes)
        out = device.empty(xs[0], shape, _promote(*xs))
        for x, piece in zip(xs, _pieces(out, ctx.sizes, dim), strict=True):
            device.kernels_for(out).elementwise.copy(x, piece)
        return out

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return None, *_pieces(dy, ctx.sizes, ctx.dim)


class ZeroPad(Function):
    """x inside a larger array filled with a constant."""

    @staticmethod
    def forward(ctx: Any, x: Any, widths: tuple[tuple[int, int], ...], value: float) -> Any:
        ctx.inside = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))
        out = device.empty(x, [n + sum(w) for n, w in zip(x.shape, widths, strict=True)])
        kernels = device.kernels_for(x).elementwise
        kernels.fill(out, value)
        kernels.copy(x, out[ctx.inside])
        return out

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return dy[ctx.inside], None, None


class Copy(Function):
    """A copy in a dtype of its own; the gradient goes back in the dtype of x."""

    @staticmethod
    def forward(ctx: Any, x: Any, dtype: Any) -> Any:
        ctx.dtype = x.dtype
        return _copied(x, dtype)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return _copied(dy, ctx.dtype), None


class ToDevice(Function):
    """A copy on another device."""

    @staticmethod
    def forward(ctx: Any, x: Any, target: str) -> Any:
        ctx.source = device.of(x)
        return device.move(x, target)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return device.move(dy, ctx.source), None


def _copied(x: Any, dtype: Any) -> Any:
    out = device.empty(x, x.shape, dtype)
    device.kernels_for(x).elementwise.copy(x, out)
    return out


def _pieces(array: Any, sizes: Sequence[int], dim: int) -> list[Any]:
    ends = np.cumsum(sizes)
    lead = (slice(None),) * dim
    return [array[(*lead, slice(int(end) - n, int(end)))] for n, end in zip(sizes, ends, strict=True)]


# ---------------------------------------------------------------------------------------------------------- functions


def _shape(op: str, x: Tensor, shape: int | Sequence[int]) -> tuple[int, ...]:
    """Return the shape with one -1 worked out."""
    errors.check_tensor(op, "x", x)
    wanted = [shape] if isinstance(shape, (int, np.integer)) else [int(n) for n in shape]
    if wanted.count(-1) > 1 or any(n < -1 for n in wanted):
        raise ValueError(f"{op}: at most one size may be -1 and the others must not be negative, got {tuple(wanted)}")
    if -1 in wanted:
        rest = math.prod([n for n in wanted if n != -1])
        if rest == 0 or x.numel() % rest:
            raise ValueError(f"{op}: {x.numel()} elements of shape {x.shape} do not fit into {tuple(wanted)}")
        wanted[wanted.index(-1)] = x.numel() // rest
    if math.prod(wanted) != x.numel():
        raise ValueError(f"{op}: {x.numel()} elements of shape {x.shape} do not fit into {tuple(wanted)}")
    return tuple(wanted)


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the same elements in another shape; one size may be -1. A view where the memory allows, else a copy."""
    wanted = _shape("reshape", x, shape)
    return Reshape.apply(x if _viewable(x, wanted) else contiguous(x), wanted)


def _viewable(x: Tensor, shape: tuple[int, ...]) -> bool:
    return x.device == "meta" or device.share_memory(x.data.reshape(shape), x.data)


def view(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a view in another shape; raises ValueError where only a copy would do (then use reshape)."""
    wanted = _shape("view", x, shape)
    if not _viewable(x, wanted) and x.numel():
        raise ValueError(f"view: a tensor of strides {x.data.strides} has no view of shape {wanted}; use reshape")
    return Reshape.apply(x, wanted)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the axes from start_dim to end_dim into one."""
    errors.check_tensor("flatten", "x", x)
    first, last = (errors.check_axis("flatten", d, x.ndim) for d in (start_dim, end_dim))
    if first > last:
        raise ValueError(f"flatten: start_dim must not come after end_dim, got {start_dim} and {end_dim}")
    joined = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))


def squeeze(x: Tensor, dim: int | None = None) -> Tensor:
    """Drop the axes of size 1, or the one axis ``dim`` if its size is 1."""
    errors.check_tensor("squeeze", "x", x)
    axes = range(x.ndim) if dim is None else [errors.check_axis("squeeze", dim, x.ndim)]
    return Reshape.apply(x, tuple(n for i, n in enumerate(x.shape) if not (i in axes and n == 1)))


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """Insert an axis of size 1."""
    errors.check_tensor("unsqueeze", "x", x)
    axis = errors.check_axis("unsqueeze", dim, x.ndim + 1)
    return Reshape.apply(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def permute(x: Tensor, dims: Sequence[int]) -> Tensor:
    """Put the axes into the order ``dims``: a view."""
    errors.check_tensor("permute", "x", x)
    axes = tuple(errors.check_axis("permute", d, x.ndim) for d in dims)
    if sorted(axes) != list(range(x.ndim)):
        raise ValueError(f"permute: dims must name each of the {x.ndim} axes once, got {tuple(dims)}")
    return Permute.apply(x, axes)


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two axes: a view."""
    errors.check_tensor("transpose", "x", x)
    axes = list(range(x.ndim))
    a, b = (errors.check_axis("transpose", d, x.ndim) for d in (dim0, dim1))
    axes[a], axes[b] = b, a
    return Permute.apply(x, tuple(axes))


def expand(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeat axes of size 1 to the sizes of ``shape`` (-1 keeps a size), without copying."""
    errors.check_tensor("expand", "x", x)
    old = (1,) * (len(shape) - x.ndim) + x.shape
    wanted = tuple(o if n == -1 else int(n) for n, o in zip(shape, old, strict=False))
    if len(old) != len(wanted) or any(n < 0 or o not in (1, n) for o, n in zip(old, wanted, strict=True)):
        raise ValueError(f"expand: shape {x.shape} cannot be expanded to {tuple(shape)}; only axes of size 1 can grow")
    return Expand.apply(x, wanted)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an existing axis; all other sizes must agree."""
    if not isinstance(tensors, (list, tuple)) or not tensors:
        raise ValueError("cat: wanted a list of at least one tensor")
    for i, t in enumerate(tensors):
        errors.check_tensor("cat", f"tensor {i}", t)
    axis = errors.check_axis("cat", dim, tensors[0].ndim)
    if tensors[0].ndim == 0:
        raise ValueError("cat: 0-d tensors cannot be joined; use stack")
    for i, t in enumerate(tensors):
        expected = (*tensors[0].shape[:axis], t.shape[axis] if t.ndim > axis else -1, *tensors[0].shape[axis + 1 :])
        errors.check_shape("cat", f"tensor {i}", t, expected, f"as tensor 0 has but along dim {axis}")
    return Cat.apply(axis, *tensors)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis."""
    if not isinstance(tensors, (list, tuple)) or not tensors:
        raise ValueError("stack: wanted a list of at least one tensor")
    for i, t in enumerate(tensors):
        errors.check_shape("stack", f"tensor {i}", t, getattr(tensors[0], "shape", ()), "as tensor 0 has")
    return cat([unsqueeze(t, dim) for t in tensors], dim)


def split(x: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Cut along an axis into views of ``split_size`` each (the last may be smaller), or of the sizes in a list."""
    errors.check_tensor("split", "x", x)
    axis = errors.check_axis("split", dim, x.ndim)
    total = x.shape[axis]
    if isinstance(split_size, (int, np.integer)):
        if split_size < 1:
            raise ValueError(f"split: split_size must be at least 1, got {split_size}")
        sizes = [min(split_size, total - start) for start in range(0, max(total, 1), split_size)]
    else:
        sizes = list(split_size)
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise ValueError(f"split: sizes must sum to {total}, the size of axis {axis}, got {sizes}")
    starts = np.cumsum([0, *sizes])
    return tuple(x[(slice(None),) * axis + (slice(int(s), int(s) + n),)] for s, n in zip(starts, sizes, strict=False))


def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Cut along an axis into ``chunks`` views of equal size (the last may be smaller)."""
    errors.check_tensor("chunk", "x", x)
    if chunks < 1:
        raise ValueError(f"chunk: chunks must be at least 1, got {chunks}")
    return split(x, max(1, -(-x.shape[errors.check_axis("chunk", dim, x.ndim)] // chunks)), dim)


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Add a border: ``pad`` = (left, right, top, bottom, ...) in elements, from the last axis backwards, as PyTorch.

    Parameters
    ----------
    mode : "constant", "reflect" or "replicate"
    value : float
        What a constant border holds.
    """
    errors.check_tensor("pad", "x", x)
    errors.check_choice("pad", "mode", mode, ("constant", "reflect", "replicate"))
    if len(pad) % 2 or len(pad) > 2 * x.ndim or any(p != int(p) or p < 0 for p in pad):
        raise ValueError(f"pad: wanted non-negative pairs (before, after) for at most {x.ndim} axes, got {tuple(pad)}")
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    widths = tuple([(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1])
    if mode == "constant":
        return ZeroPad.apply(x, widths, value)
    if mode == "reflect" and any(max(w) >= n for w, n in zip(widths, x.shape, strict=True) if sum(w)):
        raise ValueError(f"pad: a reflected border must be narrower than the image, got {tuple(pad)} for {x.shape}")
    if any(sum(w) and not n for w, n in zip(widths, x.shape, strict=True)):
        raise ValueError(f"pad: an axis of size 0 has no border to {mode}, got shape {x.shape}")
    if x.device == "meta":
        sizes = [n + sum(w) for n, w in zip(x.shape, widths, strict=True)]
        return Gather.apply(x, device.empty(x.data, sizes, np.int64))
    flat = np.arange(x.numel(), dtype=np.int64).reshape(x.shape)
    source = np.pad(flat, widths, "reflect") if mode == "reflect" else np.pad(flat, widths, "edge")
    return Gather.apply(x, np.array(source, order="C"))


def contiguous(x: Tensor) -> Tensor:
    """Return x itself if its elements lie in row-major order, else a copy that does."""
    errors.check_tensor("contiguous", "x", x)
    return x if x.device == "meta" or x.data.flags.c_contiguous else Copy.apply(x, x.dtype)


def clone(x: Tensor) -> Tensor:
    """Return a copy; gradients flow through it."""
    errors.check_tensor("clone", "x", x)
    return Copy.apply(x, x.dtype)


def to(x: Tensor, *targets: Any, device: str | None = None, dtype: Any = None) -> Tensor:
    """Return x in another dtype (tinyconv.float64), on another device ("cpu", "cuda", "meta"), or both.

    By position or by name, as in PyTorch; x itself if nothing changes.
    """
    errors.check_tensor("to", "x", x)
    where, dtype = errors.check_target("to", targets, device, dtype)
    if where is not None and where != x.device:
        x = ToDevice.apply(x, where)
    if dtype is None or dtype == x.dtype:
        return x
    return Copy.apply(x, dtype) if dtype.kind == "f" else Tensor(_copied(x.data, dtype))
