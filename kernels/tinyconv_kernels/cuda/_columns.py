"""Patches as columns of a matrix, and back. The way back is a gather: a pixel collects from the windows that saw it."""

import functools

from numba import from_dtype, uint32

from tinyconv_kernels.cuda._cuda import cuda


@functools.cache
def image_to_columns(dtype):
    """Return the kernel in which a thread owns one element of cols: a pixel, or a zero of the padding."""
    real = from_dtype(dtype)

    @cuda.jit
    def kernel(x, x0, cols, cols0, sizes, outs, window, stride, padding, dilation, count):
        e = uint32(cuda.grid(1))
        if e < count:
            rest, ow = uint32(e // outs[1]), uint32(e % outs[1])
            rest, oh = uint32(rest // outs[0]), uint32(rest % outs[0])
            rest, j = uint32(rest // window[1]), uint32(rest % window[1])
            plane, i = uint32(rest // window[0]), uint32(rest % window[0])
            # Left of the image, and above it, these are huge.
            h = uint32(oh * stride[0] + i * dilation[0] - padding[0])
            w = uint32(ow * stride[1] + j * dilation[1] - padding[1])
            value = real(0)
            if h < sizes[0] and w < sizes[1]:
                value = x[uint32(x0 + uint32(plane * sizes[0] + h) * sizes[1] + w)]
            cols[uint32(cols0 + e)] = value

    return kernel


@functools.cache
def columns_to_image(dtype):
    """Return the kernel in which a thread owns one pixel: the sum over windows that saw it, in the taps' order."""
    real, one = from_dtype(dtype), uint32(1)

    @cuda.jit
    def kernel(cols, cols0, x, x0, sizes, outs, window, stride, padding, dilation, count):
        e = uint32(cuda.grid(1))
        if e < count:
            rest, w = uint32(e // sizes[1]), uint32(e % sizes[1])
            plane, h = uint32(rest // sizes[0]), uint32(rest % sizes[0])
            total, i = real(0), uint32(0)
            while i < window[0]:
                above = uint32(h + padding[0] - i * dilation[0])
                oh = uint32(above // stride[0])
                if oh < outs[0] and uint32(oh * stride[0]) == above:
                    j = uint32(0)
                    while j < window[1]:
                        left = uint32(w + padding[1] - j * dilation[1])
                        ow = uint32(left // stride[1])
                        if ow < outs[1] and uint32(ow * stride[1]) == left:
                            row = uint32(uint32(plane * window[0] + i) * window[1] + j)
                            total += cols[uint32(cols0 + uint32(row * outs[0] + oh) * outs[1] + ow)]
                        j = uint32(j + one)
                i = uint32(i + one)
            x[uint32(x0 + e)] = total

    return kernel
