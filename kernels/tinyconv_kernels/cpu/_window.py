"""The window: the input pixels that a tile of output positions sees, zero-padded, as rows of slots.

Lay the rows of all images behind one another, PITCH slots per row and PITCH rows per image (cpu/_axes.py). Position
(n, u, v) then sees its taps at a fixed distance from

    slot = ((n * PITCH_h + u * SLOTS_h) * PITCH_w) + v * SLOTS_w

so that any run of positions, even over several images, reads one stretch of slots. A pixel is copied once for a tile,
not KH * KW times as by im2col; a tap is an addition to an address.

Flat arrays and uint64 indices: Numba then emits no test for negative indices, and LLVM can vectorise.
"""

from numba import njit
from numba import uint64 as u64

from tinyconv_kernels.cpu._axes import COUNT, LOW, PITCH, SLOTS, SPAN, STEP

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
def channel_stride(length):
    """Slots per channel of a window: an odd number of 16s, which spreads channels evenly over the cache."""
    return (-(-length // 16) | 1) * 16


@njit(cache=True, error_model="numpy")
def fill_window(x, shape, axis_h, axis_w, begin, length, c0, c1, window, stride):
    """Copy channels c0 to c1 of the images x into the window, ``length`` slots each from slot ``begin`` on."""
    N, C, H, W = shape
    pitch, zero = axis_w[PITCH], x.dtype.type(0)
    step, slots, low, low_h = axis_w[STEP], axis_w[SLOTS], axis_w[LOW], axis_h[LOW]
    left, right = max(0, -low), min(pitch, W - low)  # where step == slots: slots of the row that are pixels
    first_row, first_column = divmod(begin, pitch)
    for c in range(c0, c1):
        base = (c - c0) * stride
        n, r = divmod(first_row, axis_h[PITCH])
        at = -first_column
        while at < length:
            u, t = divmod(r, axis_h[SLOTS])
            h = u * axis_h[STEP] + t + low_h
            q0, q1 = max(0, -at), min(pitch, length - at)  # the part of the row inside the window
            if n >= N or h < 0 or h >= H:
                for q in range(u64(base + at + q0), u64(base + at + q1)):
                    window[q] = zero
            elif step == slots:
                q2 = min(q1, max(q0, left))
                q3 = max(q2, min(q1, right))
                for q in range(u64(base + at + q0), u64(base + at + q2)):
                    window[q] = zero
                s, d = u64(((n * C + c) * H + h) * W + q2 + low), u64(base + at + q2)
                for q in range(u64(q3 - q2)):
                    window[d + q] = x[s + q]
                for q in range(u64(base + at + q3), u64(base + at + q1)):
                    window[q] = zero
            else:
                row = ((n * C + c) * H + h) * W
                for q in range(q0, q1):
                    v, t = divmod(q, slots)
                    w = v * step + t + low
                    window[u64(base + at + q)] = x[u64(row + w)] if 0 <= w < W else zero
            at += pitch
            r += 1
            if r == axis_h[PITCH]:
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
