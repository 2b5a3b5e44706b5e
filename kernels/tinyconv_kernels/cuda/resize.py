"""Resizing kernels; definition: ``reference/resize.py``. One thread per output; backward, one thread per pixel.

The host works out which pixels each output reads, and which outputs read each pixel: tables for one axis, kept on the
device, since a network resizes the same shapes in every step. They are not parts of larger arrays: their offset is 0.
Outputs follow their pixels in order, so those that read one pixel are neighbours; they are added in that order.
"""

import functools

import numpy as np
from numba import uint32

from tinyconv_kernels import geometry
from tinyconv_kernels.cuda import launch, memory
from tinyconv_kernels.cuda._blocks import places, split
from tinyconv_kernels.cuda._cuda import cuda

_TABLES = 64  # axes whose tables are kept; a network resizes a few


def _table(numbers):
    return memory.to_device(numbers.astype(np.uint32))


@functools.lru_cache(_TABLES)
def _nearest(out_size, size, scale):
    """Return (the pixel that each output copies, the first output that copies pixel 0 .. size - 1 or a later one)."""
    positions = geometry.nearest_positions(out_size, size, scale)
    return _table(positions), _table(np.searchsorted(positions, np.arange(size + 1)))


@functools.lru_cache(_TABLES)
def _linear(out_size, size, align_corners, scale, dtype):
    """Return (pixel before each output, weight of the next, first output that reads from pixel -1 .. size onwards).

    Pixel h is read by the outputs that have h before them, and by those that have h - 1 there.
    """
    low, weight = geometry.linear_positions(out_size, size, align_corners, scale, dtype)
    firsts = np.searchsorted(low, np.arange(-1, size + 1))
    return _table(low), memory.to_device(weight), _table(firsts)


def _nearest_tables(out, size, scale):
    """Return the tables of the rows and of the columns, in one list."""
    axes = (_nearest(out[i], size[i], float(scale[i])) for i in (0, 1))
    return [memory.flat(table) for axis in axes for table in axis]


def interpolate_nearest_forward(x, y, scale):
    """One thread owns one output. Writes y."""
    rows, _, columns, _ = _nearest_tables(y.shape[2:], x.shape[2:], scale)
    launch.each(_copy, y.size, *places(x, y), x.shape[2:], y.shape[2:], rows, columns, y.size)


@cuda.jit
def _copy(x, x0, y, y0, size, out, rows, columns, count):
    i = uint32(cuda.grid(1))
    if i < count:
        plane, oh, ow = split(i, out[0], out[1])
        line = uint32((plane * size[0] + rows[oh]) * size[1])
        y[y0 + i] = x[uint32(x0 + line + columns[ow])]


def interpolate_nearest_backward(dy, dx, scale):
    """One thread owns one pixel. Writes dx: the sum over its copies."""
    _, rows, _, columns = _nearest_tables(dy.shape[2:], dx.shape[2:], scale)
    kernel = _copies_kernel(dx.dtype)
    launch.each(kernel, dx.size, *places(dy, dx), dx.shape[2:], dy.shape[2:], rows, columns, dx.size)


@functools.cache
def _copies_kernel(dtype):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(dy, dy0, dx, dx0, size, out, rows, columns, count):
        i = uint32(cuda.grid(1))
        if i < count:
            plane, h, w = split(i, size[0], size[1])
            oh, bottom, left, right = rows[h], rows[uint32(h + 1)], columns[w], columns[uint32(w + 1)]
            total = zero
            while oh < bottom:
                line, ow = uint32(dy0 + (plane * out[0] + oh) * out[1]), left
                while ow < right:
                    total += dy[line + ow]
                    ow = uint32(ow + 1)
                oh = uint32(oh + 1)
            dx[dx0 + i] = total

    return kernel


def _linear_tables(out, size, align_corners, scale, dtype):
    """Return the tables of the rows and of the columns, in one list."""
    axes = (_linear(out[i], size[i], bool(align_corners), float(scale[i]), dtype) for i in (0, 1))
    return [memory.flat(table) for axis in axes for table in axis]


def interpolate_bilinear_forward(x, y, align_corners, scale):
    """One thread owns one output. Writes y."""
    tops, downs, _, lefts, acrosses, _ = _linear_tables(y.shape[2:], x.shape[2:], align_corners, scale, x.dtype)
    tables = tops, downs, lefts, acrosses
    launch.each(_mix_kernel(y.dtype), y.size, *places(x, y), x.shape[2:], y.shape[2:], *tables, y.size)


@functools.cache
def _mix_kernel(dtype):
    one = dtype.type(1)

    @cuda.jit
    def kernel(x, x0, y, y0, size, out, tops, downs, lefts, acrosses, count):
        i = uint32(cuda.grid(1))
        if i < count:
            H, W = size
            plane, oh, ow = split(i, out[0], out[1])
            top, left, down, across = tops[oh], lefts[ow], downs[oh], acrosses[ow]
            bottom, right = min(uint32(top + 1), uint32(H - 1)), min(uint32(left + 1), uint32(W - 1))
            image = uint32(x0 + plane * H * W)
            upper, lower = uint32(image + top * W), uint32(image + bottom * W)
            above = (one - across) * x[upper + left] + across * x[upper + right]
            below = (one - across) * x[lower + left] + across * x[lower + right]
            y[y0 + i] = (one - down) * above + down * below

    return kernel


def interpolate_bilinear_backward(dy, dx, align_corners, scale):
    """One thread owns one pixel. Writes dx: the sum of the outputs that read it, with the weights they read it with."""
    tables = _linear_tables(dy.shape[2:], dx.shape[2:], align_corners, scale, dx.dtype)
    kernel = _mixed_kernel(dx.dtype)
    launch.each(kernel, dx.size, *places(dy, dx), dx.shape[2:], dy.shape[2:], *tables, dx.size)


@functools.cache
def _mixed_kernel(dtype):
    zero, one = dtype.type(0), dtype.type(1)

    @cuda.jit
    def kernel(dy, dy0, dx, dx0, size, out, tops, downs, rows, lefts, acrosses, columns, count):
        i = uint32(cuda.grid(1))
        if i < count:
            H, W = size
            plane, h, w = split(i, H, W)
            oh, end, total = rows[h], rows[uint32(h + 2)], zero
            while oh < end:
                top, down, line = tops[oh], downs[oh], uint32(dy0 + (plane * out[0] + oh) * out[1])
                is_top, is_bottom = top == h, min(uint32(top + 1), uint32(H - 1)) == h
                ow, last = columns[w], columns[uint32(w + 2)]
                while ow < last:
                    left, across, g = lefts[ow], acrosses[ow], dy[line + ow]
                    is_left, is_right = left == w, min(uint32(left + 1), uint32(W - 1)) == w
                    # At the last row or column one pixel is both neighbours, and is added twice, as by the reference.
                    if is_top and is_left:
                        total += (one - down) * (one - across) * g
                    if is_top and is_right:
                        total += (one - down) * across * g
                    if is_bottom and is_left:
                        total += down * (one - across) * g
                    if is_bottom and is_right:
                        total += down * across * g
                    ow = uint32(ow + 1)
                oh = uint32(oh + 1)
            dx[dx0 + i] = total

    return kernel
