"""The window: the input pixels that a tile of output positions sees, zero-padded, as rows of slots.

Lay the rows of all images behind one another, PITCH slots per row and PITCH rows per image (cpu/_axes.py). Position
(n, u, v) then sees its taps at a fixed distance from

    slot = ((n * PITCH_h + u * SLOTS_h) * PITCH_w) + v * SLOTS_w

so that any run of positions, even over several images, reads one stretch of slots. A pixel is copied once for a tile,
not KH * KW times as by im2col; a tap is an addition to an address.

Flat arrays and uint64 indices: Numba then emits no test for negative indices, and LLVM can vectorise.
"""

import numpy as np
from numba import njit
from numba import uint64 as u64

from tinyconv_kernels.cpu._axes import COUNT, LOW, PITCH, SLOTS, SPAN, STEP
from tinyconv_kernels.cpu._micro import copy_row

# Columns of the table of runs, a run being neighbouring positions whose results are neighbours too.
POSITION, LENGTH, IMAGE, ROW, COLUMN = range(5)
RUN_FIELDS = 5


@njit(cache=True, error_model="numpy")
def find_slots(first, count, room, axis_h, axis_w, slots):
    """slots[q] of the positions first + q, from that of the first; the last is repeated to fill ``room``.

    Returns (slot of the first, length of the window).
    """
    U, V = axis_h[COUNT], axis_w[COUNT]
    n, p = divmod(first, U * V)
    u, v = divmod(p, V)
    begin = (n * axis_h[PITCH] + u * axis_h[SLOTS]) * axis_w[PITCH] + v * axis_w[SLOTS]
    at = begin
    for q in range(count):
        at = (n * axis_h[PITCH] + u * axis_h[SLOTS]) * axis_w[PITCH] + v * axis_w[SLOTS]
        slots[q] = at - begin
        v += 1
        if v == V:
            u, v = u + 1, 0
            if u == U:
                n, u = n + 1, 0
    for q in range(count, room):
        slots[q] = at - begin
    return begin, at - begin + (axis_h[SPAN] - 1) * axis_w[PITCH] + axis_w[SPAN]


@njit(cache=True, error_model="numpy")
def spread(size):
    """Elements from one row (or matrix) of ``size`` to the next: an odd number of 16s spreads them over the cache."""
    return (-(-size // 16) | 1) * 16


@njit(cache=True, error_model="numpy")
def fill_window(x, shape, axis_h, axis_w, begin, length, c0, c1, window, stride):
    """Copy channels c0 to c1 of the images x into the window, ``length`` slots each from slot ``begin`` on."""
    N, C, H, W = shape
    pitch, pitch_h, low, low_h = axis_w[PITCH], axis_h[PITCH], axis_w[LOW], axis_h[LOW]
    step, slots, step_h, slots_h = axis_w[STEP], axis_w[SLOTS], axis_h[STEP], axis_h[SLOTS]
    left, right = max(0, -low), min(pitch, W - low)  # where step == slots: slots of a row that are pixels
    zero = x.dtype.type(0)
    lowest = x.dtype.type(-np.inf)
    first_row, first_column = divmod(begin, pitch)
    first_image, first_row = divmod(first_row, pitch_h)
    for c in range(c0, c1):
        base = (c - c0) * stride
        for q in range(u64(base), u64(base + length)):
            window[q] = zero
        n, r, at = first_image, first_row, base - first_column
        end = base + length
        while at < end and n < N:
            h = r + low_h if step_h == slots_h else r // slots_h * step_h + r % slots_h + low_h
            if 0 <= h < H:
                q0, q1 = max(0, base - at), min(pitch, end - at)  # the part of the row inside the window
                row = ((n * C + c) * H + h) * W
                if step == slots:
                    q0, q1 = max(q0, left), min(q1, right)
                    if q0 < q1:
                        copy_row(x, u64(row + q0 + low), window, u64(at + q0), u64(q1 - q0), zero, lowest)
                else:
                    for q in range(q0, q1):
                        v, t = divmod(q, slots)
                        w = v * step + t + low
                        if 0 <= w < W:
                            window[u64(at + q)] = x[u64(row + w)]
            at += pitch
            r += 1
            if r == pitch_h:
                n, r = n + 1, 0


@njit(cache=True, error_model="numpy")
def find_runs(first, count, U, V, whole, runs):
    """Cut positions first to first + count where a row ends, or only where an image ends (``whole``); returns how many.

    A run is (first position, counted from ``first``; length; image, u, v of it).
    """
    n_runs = q = 0
    while q < count:
        n, p = divmod(first + q, U * V)
        u, v = divmod(p, V)
        length = min(U * V - p if whole else V - v, count - q)
        runs[n_runs, POSITION], runs[n_runs, LENGTH] = q, length
        runs[n_runs, IMAGE], runs[n_runs, ROW], runs[n_runs, COLUMN] = n, u, v
        n_runs += 1
        q += length
    return n_runs
