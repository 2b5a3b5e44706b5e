"""Geometry, written once: output sizes, window helpers that njit kernels share, and the positions of a resize."""

import numpy as np
from numba import njit


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
