"""Pooling over windows of each feature map: maximum with switches, unpooling, average, adaptive."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.functional.batching import batched
from tinyconv.tensor import Tensor

Pair = int | tuple[int, int]


class MaxPool2d(Function):
    """Maximum of each window, and where it was; see :func:`max_pool2d`."""

    @staticmethod
    def forward(ctx: Any, x: Any, out: tuple[int, int], *geometry: tuple[int, int]) -> Any:
        x = device.contiguous(x)
        y = device.empty(x, (*x.shape[:2], *out))
        switches = device.empty(x, y.shape, np.int64)
        device.kernels_for(x).pool.max_pool2d_forward(x, y, switches, *geometry)
        ctx.save(switches)
        ctx.shape, ctx.geometry = x.shape, geometry
        ctx.mark_non_differentiable(1)
        return y, switches

    @staticmethod
    def backward(ctx: Any, dy: Any, _: Any) -> Any:
        dx = device.empty(dy, ctx.shape)
        device.kernels_for(dy).pool.max_pool2d_backward(device.contiguous(dy), *ctx.saved, dx, *ctx.geometry)
        return dx, None, None, None, None, None


class MaxUnpool2d(Function):
    """Each value back at its switch, zeros elsewhere; see :func:`max_unpool2d`."""

    @staticmethod
    def forward(ctx: Any, x: Any, switches: Any, out: tuple[int, int], accumulate: bool) -> Any:
        x, switches = device.contiguous(x), device.contiguous(switches)
        y = device.empty(x, (*x.shape[:2], *out))
        device.kernels_for(x).pool.max_unpool2d_forward(x, switches, y, accumulate)
        ctx.save(x, switches)
        ctx.accumulate = accumulate
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, switches = ctx.saved
        dx = device.empty(dy, x.shape)
        device.kernels_for(dy).pool.max_unpool2d_backward(device.contiguous(dy), switches, x, dx, ctx.accumulate)
        return dx, None, None, None


class AvgPool2d(Function):
    """Mean of each window; see :func:`avg_pool2d`."""

    @staticmethod
    def forward(ctx: Any, x: Any, out: tuple[int, int], *rule: Any) -> Any:
        x = device.contiguous(x)
        y = device.empty(x, (*x.shape[:2], *out))
        device.kernels_for(x).pool.avg_pool2d_forward(x, y, *rule)
        ctx.shape, ctx.rule = x.shape, rule
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = device.empty(dy, ctx.shape)
        device.kernels_for(dy).pool.avg_pool2d_backward(device.contiguous(dy), dx, *ctx.rule)
        return (dx,) + (None,) * (1 + len(ctx.rule))


class AdaptiveAvgPool2d(Function):
    """Mean of each of OH x OW cells; see :func:`adaptive_avg_pool2d`."""

    @staticmethod
    def forward(ctx: Any, x: Any, out: tuple[int, int]) -> Any:
        x = device.contiguous(x)
        y = device.empty(x, (*x.shape[:2], *out))
        device.kernels_for(x).pool.adaptive_avg_pool2d_forward(x, y)
        ctx.shape = x.shape
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = device.empty(dy, ctx.shape)
        device.kernels_for(dy).pool.adaptive_avg_pool2d_backward(device.contiguous(dy), dx)
        return dx, None


class AdaptiveMaxPool2d(Function):
    """Maximum of each of OH x OW cells; see :func:`adaptive_max_pool2d`."""

    @staticmethod
    def forward(ctx: Any, x: Any, out: tuple[int, int]) -> Any:
        x = device.contiguous(x)
        y = device.empty(x, (*x.shape[:2], *out))
        switches = device.empty(x, y.shape, np.int64)
        device.kernels_for(x).pool.adaptive_max_pool2d_forward(x, y, switches)
        ctx.save(switches)
        ctx.shape = x.shape
        ctx.mark_non_differentiable(1)
        return y, switches

    @staticmethod
    def backward(ctx: Any, dy: Any, _: Any) -> Any:
        dx = device.empty(dy, ctx.shape)
        device.kernels_for(dy).pool.adaptive_max_pool2d_backward(device.contiguous(dy), *ctx.saved, dx)
        return dx, None


def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over each window of every feature map (Krizhevsky 2012, sec. 3.4: overlapping if stride < kernel_size).

    y[n, c, oh, ow] = max of x[n, c, h, w] over the window of (oh, ow); padding is never the maximum. The first of equal
    maxima wins; a NaN wins over all numbers.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W), float32 or float64
    kernel_size, stride, padding, dilation : int or (int, int)
        In pixels, (height, width). ``stride`` defaults to ``kernel_size``; 0 <= padding <= kernel_size // 2.
    ceil_mode : bool
        Round the output size up: a last window may hang over the edge (it must start inside the input or left padding).
    return_indices : bool
        Also return where each maximum was, the "switches" of Zeiler & Fergus 2014, sec. 2.1.

    Returns
    -------
    y : Tensor, (N, C, OH, OW)    OH = (H + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1
    indices : Tensor of int64, (N, C, OH, OW)    flat index h * W + w in the unpadded map; only with return_indices

    Raises
    ------
    ValueError
        x is not 3-D or 4-D; the window is larger than the padded image; padding > kernel_size // 2.
    """
    op = "max_pool2d"
    x, unbatched = batched(op, x)
    kernel = errors.pair(op, "kernel_size", kernel_size, 1)
    stride = errors.pair(op, "stride", kernel_size if stride is None else stride, 1)
    padding, dilation = errors.pair(op, "padding", padding), errors.pair(op, "dilation", dilation, 1)
    errors.check_pool_padding(op, kernel, padding)
    out = errors.check_window(op, x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    y, indices = (unbatched(t) for t in MaxPool2d.apply(x, out, kernel, stride, padding, dilation))
    return (y, indices) if return_indices else y


def max_unpool2d(
    x: Tensor,
    indices: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    output_size: tuple[int, ...] | None = None,
    accumulate: bool = False,
) -> Tensor:
    """Put each pooled value back where its maximum was, zeros elsewhere (Zeiler & Fergus 2014, sec. 2.1).

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W)
    indices : Tensor of int64, shape of x
        As ``max_pool2d(..., return_indices=True)`` returned them.
    kernel_size, stride, padding : int or (int, int)
        Those of the pooling; they only give the output size (H - 1) stride - 2 padding + kernel_size.
    output_size : tuple, optional
        The shape (or height and width) of what was pooled, where that formula does not give it back.
    accumulate : bool
        What happens where windows overlapped and two values share a switch: False, the later one in row-major order
        stays (as PyTorch's CPU kernel does); True, they add up (the transpose of choosing by switches).

    Raises
    ------
    ValueError
        indices has another shape than x.
    IndexError
        An index lies outside the output map.
    """
    op = "max_unpool2d"
    errors.check_tensor(op, "indices", indices)
    errors.check_integer(op, "indices", indices)
    errors.check_shape(op, "indices", indices, getattr(x, "shape", ()), "like x")
    x, unbatched = batched(op, x)
    indices = indices if indices.ndim == 4 else indices.unsqueeze(0)
    kernel = errors.pair(op, "kernel_size", kernel_size, 1)
    stride = errors.pair(op, "stride", kernel_size if stride is None else stride, 1)
    padding = errors.pair(op, "padding", padding)
    if output_size is not None:
        sides = output_size[-2:] if isinstance(output_size, (tuple, list)) else output_size
        out = errors.pair(op, "output_size", sides, 1)
    else:
        axes = zip(x.shape[2:], stride, padding, kernel, strict=True)
        height, width = ((n - 1) * s - 2 * p + k for n, s, p, k in axes)
        out = height, width
    if x.device != "meta":
        errors.check_range(op, f"indices for an output map of {out}", device.host(indices.data), out[0] * out[1])
    return unbatched(MaxUnpool2d.apply(x, indices.long(), out, accumulate))


def avg_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean over each window of every feature map.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W), float32 or float64
    kernel_size, stride, padding : int or (int, int)
        In pixels. ``stride`` defaults to ``kernel_size``; 0 <= padding <= kernel_size // 2.
    ceil_mode : bool
        Round the output size up, as in :func:`max_pool2d`.
    count_include_pad : bool
        Whether padded zeros count in the divisor (what hangs beyond the padding never does).
    divisor_override : int, optional
        Divide by this instead.
    """
    op = "avg_pool2d"
    x, unbatched = batched(op, x)
    kernel = errors.pair(op, "kernel_size", kernel_size, 1)
    stride = errors.pair(op, "stride", kernel_size if stride is None else stride, 1)
    padding = errors.pair(op, "padding", padding)
    errors.check_pool_padding(op, kernel, padding)
    if divisor_override is not None and (not isinstance(divisor_override, (int, np.integer)) or divisor_override < 1):
        raise ValueError(f"{op}: divisor_override must be an int of at least 1, got {divisor_override!r}")
    out = errors.check_window(op, x.shape[2:], kernel, stride, padding, (1, 1), ceil_mode)
    return unbatched(AvgPool2d.apply(x, out, kernel, stride, padding, bool(count_include_pad), divisor_override or 0))


def _adaptive_size(op: str, x: Tensor, output_size: Any) -> tuple[int, int]:
    both = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    if x.shape[2] == 0 or x.shape[3] == 0:
        raise ValueError(f"{op}: x must have at least one pixel, got shape {x.shape}")
    sides = [n if want is None else want for n, want in zip(x.shape[2:], both, strict=False)]
    return errors.pair(op, "output_size", sides if len(both) == 2 else output_size, 1)


def adaptive_avg_pool2d(x: Tensor, output_size: Any) -> Tensor:
    """Mean over OH x OW cells that cover the map: cell i spans floor(i H / OH) to ceil((i + 1) H / OH).

    ``output_size`` is an int, a pair, or a pair in which None keeps that side. x : Tensor, (N, C, H, W) or (C, H, W).
    """
    x, unbatched = batched("adaptive_avg_pool2d", x)
    return unbatched(AdaptiveAvgPool2d.apply(x, _adaptive_size("adaptive_avg_pool2d", x, output_size)))


def adaptive_max_pool2d(x: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over the cells of :func:`adaptive_avg_pool2d`; ``return_indices`` as in :func:`max_pool2d`."""
    x, unbatched = batched("adaptive_max_pool2d", x)
    pooled = AdaptiveMaxPool2d.apply(x, _adaptive_size("adaptive_max_pool2d", x, output_size))
    y, indices = (unbatched(t) for t in pooled)
    return (y, indices) if return_indices else y
