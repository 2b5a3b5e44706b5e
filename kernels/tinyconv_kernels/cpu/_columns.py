"""The loops of im2col and col2im, which cpu/conv.py calls; cols is (N, C, KH, KW, OH, OW), stored flat."""

from numba import njit
from numba import uint64 as u64


@njit(cache=True, error_model="numpy")
def _inside(offset, stride, size, out):
    """Half-open range of outputs o < out for which pixel o * stride + offset is in [0, size)."""
    first = min(out, max(0, -(offset // stride)))
    return first, max(first, min(out, -((offset - size) // stride)))


@njit(cache=True, nogil=True, error_model="numpy")
def image_to_columns(first_plane, last_plane, x, cols, x_shape, out, kernel, stride, padding, dilation):
    """Planes (n, c) one by one. Writes their rows of cols: pixels, and zeros where the window hangs over the edge."""
    (_, _, H, W), (OH, OW), (KH, KW), zero = x_shape, out, kernel, x.dtype.type(0)
    at = u64(first_plane * KH * KW * OH * OW)
    for plane in range(first_plane, last_plane):
        for i in range(KH):
            for j in range(KW):
                w = j * dilation[1] - padding[1]
                first, last = _inside(w, stride[1], W, OW)
                for oh in range(OH):
                    h = oh * stride[0] + i * dilation[0] - padding[0]
                    inside = first < last and 0 <= h < H
                    for ow in range(u64(first if inside else OW)):
                        cols[at + ow] = zero
                    if inside:
                        pixel = u64((plane * H + h) * W + first * stride[1] + w)
                        for ow in range(u64(last - first)):
                            cols[at + u64(first) + ow] = x[pixel + ow * u64(stride[1])]
                        for ow in range(u64(last), u64(OW)):
                            cols[at + ow] = zero
                    at += u64(OW)


@njit(cache=True, nogil=True, error_model="numpy")
def columns_to_image(first_plane, last_plane, cols, x, x_shape, out, kernel, stride, padding, dilation):
    """Planes (n, c) one by one, taps in order: every pixel adds up its columns in one order. Writes the planes of x."""
    (_, _, H, W), (OH, OW), (KH, KW) = x_shape, out, kernel
    at = u64(first_plane * KH * KW * OH * OW)
    for plane in range(first_plane, last_plane):
        for pixel in range(u64(plane * H * W), u64((plane + 1) * H * W)):
            x[pixel] = 0
        for i in range(KH):
            for j in range(KW):
                w = j * dilation[1] - padding[1]
                first, last = _inside(w, stride[1], W, OW)
                for oh in range(OH):
                    h = oh * stride[0] + i * dilation[0] - padding[0]
                    if first < last and 0 <= h < H:
                        pixel = u64((plane * H + h) * W + first * stride[1] + w)
                        for ow in range(u64(last - first)):
                            x[pixel + ow * u64(stride[1])] += cols[at + u64(first) + ow]
                    at += u64(OW)
