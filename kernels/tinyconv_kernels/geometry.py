"""Geometry, written once: output sizes, window helpers that njit kernels share, positions of a resize and a sampler."""

import numpy as np
from numba import njit

ZEROS, BORDER, REFLECTION = 0, 1, 2  # what a sampler reads outside of the image


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int = 1, ceil_mode: bool = False) -> int:
    """Return how many windows fit: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    With ``ceil_mode`` the division rounds up, and a last window that would start beyond the input and its left padding
    is dropped (PyTorch's rule; Caffe drops it only if padding > 0).
    """
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return reach // stride + 1
    out = -(-reach // stride) + 1
    return out - 1 if (out - 1) * stride >= size + padding else out


def transposed_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int = 1, output_padding: int = 0
) -> int:
    """Return the size that a convolution maps onto ``size``; ``output_padding`` picks one of ``stride`` candidates."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


@njit(inline="always")
def clip_window(out, kernel, stride, padding, dilation, size):
    """Half-open range of taps k for which position out * stride - padding + k * dilation lies inside [0, size)."""
    start = out * stride - padding
    first = 0 if start >= 0 else (-start + dilation - 1) // dilation
    last = min(kernel, (size - start + dilation - 1) // dilation)
    return first, max(first, last)


def nearest_positions(out_size, size, scale):
    """Source position of every output: floor(out scale), in float32 for either dtype, as PyTorch computes it.

    Equal and doubled sizes copy each pixel once or twice, whatever a scale such as 1 / 2.1 says (PyTorch, too).
    """
    if out_size in (size, 2 * size):
        scale = size / out_size
    position = np.floor(np.arange(out_size, dtype=np.float32) * np.float32(scale)).astype(np.int64)
    return np.minimum(position, size - 1)


def linear_positions(out_size, size, align_corners, scale, dtype):
    """Return, for every output, the source position before it and the weight of the next one (none after the last)."""
    steps, half = np.arange(out_size, dtype=dtype), dtype.type(0.5)
    if out_size == size:
        position = steps
    elif align_corners:
        position = steps * dtype.type(scale)
    else:
        position = np.maximum((steps + half) * dtype.type(scale) - half, 0)
    low = np.minimum(np.floor(position).astype(np.int64), size - 1)
    return low, np.clip(position - low, 0, 1).astype(dtype)


def source_position(coordinate, size, one, padding, align_corners):
    """Return the position in pixels that a sampler's coordinate means along an axis, and its derivative.

    The coordinates -1 and 1 are the centres of the first and the last pixel (``align_corners``) or their outer edges.
    A position that BORDER or REFLECTION holds at an end does not move: its derivative is 0. With ZEROS, all positions
    that see no pixel become -2 or ``size``. So what is returned fits a whole number, or is NaN: as a NaN coordinate's,
    and as the reflection of an infinite one. ``one`` says which dtype all of it has; kernels compile this function.
    """
    two, zero = one + one, one - one
    last, half = size - one, one / two
    slope = last / two if align_corners else size / two
    at = zero  # of one pixel's image with aligned corners, at every coordinate but NaN
    if slope > zero or coordinate != coordinate:
        at = (coordinate + one) * slope
    if not align_corners:
        at -= half
    if padding == REFLECTION and slope > zero:
        low = zero if align_corners else -half
        beyond, turn = abs(at - low) % (two * two * slope), two * slope
        if (at < low) != (beyond > turn):
            slope = -slope
        at = low + (beyond if beyond <= turn else two * turn - beyond)
    if padding == ZEROS:
        at = -two if at < -two else size if at > size else at
    elif at <= zero:
        at, slope = zero, zero
    elif at >= last:
        at, slope = last, zero
    return at, slope
