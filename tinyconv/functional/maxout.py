"""Maxout: a unit puts out the largest of its pieces. See :func:`maxout`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.tensor import Tensor


class Maxout(Function):
    """Largest of each unit's pieces, for x seen as (outer, units, pieces, inner); see :func:`maxout`."""

    @staticmethod
    def forward(ctx: Any, x: Any, pieces: int, dim: int) -> Any:
        x, units = device.contiguous(x), x.shape[dim] // pieces
        y = device.empty(x, (*x.shape[:dim], units, *x.shape[dim + 1 :]))
        outer, inner = math.prod(x.shape[:dim]), math.prod(x.shape[dim + 1 :])
        switches = device.empty(x, (outer, units, inner), np.int64)
        ctx.shape, ctx.view = x.shape, (outer, units, pieces, inner)
        device.kernels_for(x).maxout.maxout_forward(x.reshape(ctx.view), y.reshape(switches.shape), switches)
        ctx.save(switches)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        (switches,), dx = ctx.saved, device.empty(dy, ctx.shape)
        dy = device.contiguous(dy).reshape(switches.shape)
        device.kernels_for(dy).maxout.maxout_backward(dy, switches, dx.reshape(ctx.view))
        return dx, None, None


def maxout(x: Tensor, pieces: int, dim: int = 1) -> Tensor:
    """Largest of each unit's ``pieces`` neighbouring channels (Goodfellow et al. 2013, "Maxout Networks", sec. 3).

    y[n, u, ...] = max over p of x[n, u * pieces + p, ...]. Behind a linear layer a unit is the maximum of ``pieces``
    planes: any convex function of its inputs, if there are enough. Only the winning piece has a gradient. The first of
    equal maxima wins; a NaN wins over all numbers, the last one over the others, as in :func:`max_pool2d`.

    Parameters
    ----------
    x : Tensor, (N, U * pieces, ...), float32 or float64
    pieces : int
        At least 1. A unit's pieces lie side by side.
    dim : int
        The axis of the channels.

    Returns
    -------
    Tensor, (N, U, ...)

    Raises
    ------
    ValueError
        ``pieces`` is below 1, or does not divide the axis.
    IndexError
        x has no such axis.

    Examples
    --------
    >>> maxout(Tensor(np.array([[1.0, 5, 2, 0, -3, -1]])), 3).tolist()
    [[5.0, 0.0]]
    """
    op = "maxout"
    errors.check_tensor(op, "x", x)
    errors.check_float(op, "x", x)
    axis, count = errors.check_axis(op, dim, x.ndim), check_pieces(op, pieces)
    if not x.ndim or x.shape[axis] % count:
        raise ValueError(f"{op}: pieces must divide axis {axis} of x, got {count} pieces for shape {x.shape}")
    return Maxout.apply(x, count, axis)


def check_pieces(op: str, pieces: Any) -> int:
    """Return an int of at least 1, or raise."""
    if isinstance(pieces, bool) or not isinstance(pieces, (int, np.integer)) or pieces < 1:
        raise ValueError(f"{op}: pieces must be an int of at least 1, got {pieces!r}")
    return int(pieces)
