"""Gradient of 3x3 and 5x5 filters by Winograd's method, in three steps (F(3x3, 4x4) of cpu/_transforms.py).

Squares of 4x4 (or 2x2) output gradients and of the 6x6 pixels they saw are transformed, some hundred at a time; then
each of the 36 points is a matrix product over squares, added to its own sums [channel, filter]; at the end 36 sums per
channel and filter become 9 (or 25) taps. Transforming costs more than multiplying if it is done again for each block of
filters, so the transformed squares are shared by all threads, in the workspace.
"""

import numpy as np
from numba import njit
from numba import uint64 as u64

from tinyconv_kernels.cpu._filters import count_panels, find_panel, panel_of
from tinyconv_kernels.cpu._micro import ROWS, SHORT, VECTOR_BYTES, copy_row, outer_tile, transpose_block
from tinyconv_kernels.cpu._transforms import transform_output
from tinyconv_kernels.cpu._window import find_slots, spread
from tinyconv_kernels.cpu._winograd import SEEN, gather_squares

SQUARES = 32  # squares transformed at a time: their pixels stay in the first-level cache


@njit(cache=True, nogil=True, error_model="numpy")
def transform_squares(first_task, last_task, src, shape, axes, c0, channels, first, count, panels, out, by_point):
    """A task is (SQUARES of the ``count`` squares, vector of channels from c0 on). Writes out[point, panel, square].

    Squares that see 6x6 are pixels, others are gradients.
    """
    axis_h, axis_w = axes
    unit = VECTOR_BYTES // src.itemsize
    vectors = -(-channels // unit)
    slots = np.empty(SQUARES, np.uint64)
    window, turned = np.empty(0, src.dtype), np.empty(0, src.dtype)
    for task in range(first_task, last_task):
        tile, vector = divmod(task, vectors)
        t0 = tile * SQUARES
        some = min(SQUARES, count - t0)
        begin, length = find_slots(first + t0, some, SQUARES, axis_h, axis_w, slots)
        stride = spread(length)
        if unit * stride > window.size:
            window, turned = np.empty(unit * stride, src.dtype), np.empty(unit * stride, src.dtype)
        begin_vector, wide = panel_of(vector, vectors, panels)
        width = wide * unit
        at = begin_vector * unit * count + t0 * width + (vector - begin_vector) * unit
        g0, g1 = c0 + vector * unit, c0 + min(channels, vector * unit + unit)
        gather_squares(
            src, shape, axis_h, axis_w, begin, length, slots, some, g0, g1, window, stride, turned,
            out, at, width, by_point,
        )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def multiply_points(first_task, last_task, pixels, grads, sums, by_pixel, by_grad, C, lanes, count, accumulate):
    """A task is (point, panel of filters). sums[point, panel, c, k] (+)= sum over squares of pixels[c] * grads[k]."""
    unit = VECTOR_BYTES // sums.itemsize
    vectors, panels = count_panels(lanes, sums.itemsize)
    wide_pixels, rows = -(-C // unit) * unit, -(-C // ROWS) * ROWS
    channels, squares = np.empty(rows, np.uint64), np.empty(count, np.uint64)
    for t in range(count):
        squares[t] = t * wide_pixels
    for task in range(first_task, last_task):
        point, panel = divmod(task, panels)
        begin_vector, wide = find_panel(panel, vectors, panels)
        width = wide * unit
        for c in range(rows):
            channels[c] = point * by_pixel + min(c, C - 1)
        for s in range(0, count, SHORT):
            for c in range(0, C, ROWS):
                outer_tile(
                    pixels, channels, u64(c), squares, u64(s),
                    grads, u64(point * by_grad + begin_vector * unit * count + s * width), u64(width),
                    sums, u64((point * vectors + begin_vector) * unit * rows + c * width), u64(width),
                    u64(min(SHORT, count - s)), u64(wide), accumulate or s > 0,
                )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def finish_taps(first_task, last_task, terms, sums, C, lanes, k0, dweight):
    """A task is a vector of filters. Writes dweight[k0 + filter, c, tap] of them."""
    unit = VECTOR_BYTES // sums.itemsize
    vectors, panels = count_panels(lanes, sums.itemsize)
    rows = -(-C // ROWS) * ROWS
    block, size = unit, terms * terms  # so many channels' taps are whole blocks to transpose
    taps, turned = np.empty(block * size * unit, sums.dtype), np.empty(unit * unit, sums.dtype)
    by_point = vectors * unit * rows
    zero, lowest = sums.dtype.type(0), sums.dtype.type(-np.inf)
    for vector in range(first_task, last_task):
        begin_vector, wide = panel_of(vector, vectors, panels)
        width = wide * unit
        at = begin_vector * unit * rows + (vector - begin_vector) * unit
        for c0 in range(0, C, block):
            c1 = min(C, c0 + block)
            for c in range(c0, c1):
                transform_output(
                    terms, sums, u64(at + c * width), u64(SEEN * by_point), u64(by_point),
                    taps, u64((c - c0) * size * unit), u64(terms * unit), u64(unit),
                )  # fmt: skip
            for r in range(0, (c1 - c0) * size, unit):
                transpose_block(taps, u64(r * unit), u64(unit), turned, u64(0), u64(unit))
                extent = u64(min(unit, (c1 - c0) * size - r))
                for l in range(min(unit, lanes - vector * unit)):
                    d = u64(((k0 + vector * unit + l) * C + c0) * size + r)
                    copy_row(turned, u64(l * unit), dweight, d, extent, zero, lowest)
