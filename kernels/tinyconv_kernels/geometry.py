"""Window geometry, written once: the output size, and the njit helpers every backend's kernels share."""

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
