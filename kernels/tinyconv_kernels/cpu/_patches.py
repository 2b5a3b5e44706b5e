"""How cpu/conv.py reads patches: from a zero-padded window of the images, in which every tap of the filter is a shift.

Lay the rows of all images behind one another, ``pitch`` slots per row and ``pitch_h`` rows per image, the slots that
are no pixel being zero. Then the pixel that tap (i, j) sees from output position (n, u, v) has slot

    (n * pitch_h + u + offset_h[i]) * pitch + v + offset_w[j]  =  slot of the position + shift[i, j]

One gap of zeros serves as padding on the right of a row and on the left of the next. A stride of s is undone first:
pixels 0, s, 2s, ... form one plane, pixels 1, s + 1, ... the next, and a tap reads the plane its offset falls on. So
each pixel is copied once, not KH * KW times as by im2col. The stack of images is never built, only a window of it.

Flat arrays and uint64 indices: Numba then emits no test for negative indices, and LLVM can vectorise.
"""

from functools import lru_cache

import numpy as np
from numba import njit
from numba import uint64 as u64

from tinyconv_kernels.cpu._micro import copy_vectors

# An axis (height or width) is a table of int64 with one row per phase of the result (cpu/conv.py explains phases):
# its pixels are START, START + step, ..., COUNT of them; it has so many TAPS, the phases BEFORE it so many; slots per
# row (PITCH); lowest and highest offset; how many PLANES. Behind come four lists, which `entry` reads: for each plane
# its FIRST_PIXEL; for each tap its PLANE, its OFFSET in slots, and its index in the filter (TAP).
START, COUNT, TAPS, BEFORE, PITCH, LOW, HIGH, PLANES, LISTS = range(9)
FIRST_PIXEL, PLANE, OFFSET, TAP = range(4)
# Columns of the table of runs, a run being positions in one row: first column, length, slot, image, u, v.
COLUMN, LENGTH, SLOT, IMAGE, ROW, FIRST = range(6)
RUN_FIELDS = 6


def _axis(size, step, phases):
    """Make the table from [(start, count, {tap: offset in pixels})], for an input of ``size`` pixels."""
    widest = max(1, *(len(taps) for _, _, taps in phases))
    table = np.zeros((len(phases), LISTS + 4 * widest), np.int64)
    before = 0
    for row, (start, count, taps) in zip(table, phases, strict=True):
        firsts = sorted({pixel % step for pixel in taps.values()})
        planes = [firsts.index(pixel % step) for pixel in taps.values()]
        # A tap far outside sees zeros from any offset outside: the nearest one, or the gaps would take all memory.
        offsets = [max(-count, min(pixel // step, -(-size // step))) for pixel in taps.values()] or [0]
        low, high = min(offsets), max(offsets)
        longest = min(-(-size // step), count + high)
        pitch = max(1, count, count + high, longest + max(0, -low))
        row[:LISTS] = start, count, len(taps), before, pitch, low, high, len(firsts)
        for position, values in enumerate((firsts, planes, offsets, list(taps))):
            at = LISTS + position * widest
            row[at : at + len(values)] = values
        before += len(taps)
    return table


@lru_cache(maxsize=1024)
def correlation_axis(size, out, kernel, stride, padding, dilation):
    """Table of the forward pass: output u meets tap i at pixel u * stride + i * dilation - padding. One phase."""
    return _axis(size, stride, [(0, out, {i: i * dilation - padding for i in range(kernel)})])


@lru_cache(maxsize=1024)
def transposed_axis(size, out, kernel, stride, padding, dilation):
    """Table of the transposed pass, one phase for each a = (h + padding) mod stride of the pixels h of the result.

    Pixel h meets tap i, if i * dilation mod stride is a too, at pixel (h + padding - i * dilation) / stride.
    """
    phases = []
    for start in range(max(1, min(stride, out))):  # a phase that begins later has no pixels
        a = (start + padding) % stride
        taps = [i for i in range(kernel) if (i * dilation - a) % stride == 0]
        count = max(0, -(-(out - start) // stride))
        phases.append((start, count, {i: (start + padding - i * dilation) // stride for i in taps}))
    return _axis(size, 1, phases)


@njit(cache=True, error_model="numpy")
def entry(axis, which, i):
    """Entry i of one of the lists of an axis."""
    return axis[LISTS + which * ((axis.size - LISTS) // 4) + i]


@njit(cache=True, error_model="numpy")
def find_runs(first, count, axis_h, axis_w, dense, runs):
    """Fill ``runs`` with the rows that ``count`` columns of a tile touch; returns (how many, slots from first to last).

    A column is a position (n, u, v) if ``dense``, otherwise a slot: those that are no position are left out.
    """
    U, V = axis_h[COUNT], axis_w[COUNT]
    pitch_h, pitch = (U, V) if dense else (axis_h[PITCH], axis_w[PITCH])
    n_runs, q = 0, 0
    while q < count:
        row, v = divmod(first + q, pitch)
        n, u = divmod(row, pitch_h)
        length = min(pitch - v, count - q)
        if u < U and v < V:
            runs[n_runs, COLUMN] = q
            runs[n_runs, LENGTH] = min(length, V - v)
            runs[n_runs, SLOT] = (n * axis_h[PITCH] + u) * axis_w[PITCH] + v
            runs[n_runs, IMAGE] = n
            runs[n_runs, ROW] = u
            runs[n_runs, FIRST] = v
            n_runs += 1
        q += length
    if dense and n_runs:
        return n_runs, runs[n_runs - 1, SLOT] + runs[n_runs - 1, LENGTH] - runs[0, SLOT]
    return n_runs, count


@njit(cache=True, error_model="numpy")
def window_length(slots, axis_h, axis_w):
    """Slots that the taps see from ``slots`` slots in a row."""
    return slots + (axis_h[HIGH] - axis_h[LOW]) * axis_w[PITCH] + axis_w[HIGH] - axis_w[LOW]


@njit(cache=True, error_model="numpy")
def window_stride(columns, axis_h, axis_w, dense, room):
    """Room for the longest window of one plane that a tile of ``columns`` columns needs, plus ``room`` slots."""
    slots = columns
    if dense:
        U, V = max(1, axis_h[COUNT]), max(1, axis_w[COUNT])
        # the gaps that may lie between: after each row, and after each image
        slots += (columns // V + 1) * (axis_w[PITCH] - V)
        slots += (columns // (U * V) + 1) * (axis_h[PITCH] - U) * axis_w[PITCH]
    return window_length(slots, axis_h, axis_w) + room


@njit(cache=True, error_model="numpy")
def fill_shifts(axis_h, axis_w, first, stride, shifts):
    """shifts[e] = where in the window patch element r = first + e, which is (c, i, j), begins.

    The window begins with the channel of element ``first``, and has ``stride`` slots per plane.
    """
    KH, KW = axis_h[TAPS], axis_w[TAPS]
    c = 0
    i, j = divmod(first % (KH * KW), KW)
    for r in range(shifts.size):
        plane = (c * axis_h[PLANES] + entry(axis_h, PLANE, i)) * axis_w[PLANES] + entry(axis_w, PLANE, j)
        down, right = entry(axis_h, OFFSET, i) - axis_h[LOW], entry(axis_w, OFFSET, j) - axis_w[LOW]
        shifts[r] = u64(plane * stride + down * axis_w[PITCH] + right)
        j += 1
        if j == KW:
            i, j = i + 1, 0
            if i == KH:
                c, i = c + 1, 0


@njit(cache=True, error_model="numpy")
def fill_window(x, shape, step, axis_h, axis_w, first_slot, slots, c0, c1, window, stride):
    """Copy channels c0 to c1 of the images x into the window: what the taps see from ``slots`` slots."""
    N, C, H, W = shape
    pitch_h, pitch, zero = axis_h[PITCH], axis_w[PITCH], x.dtype.type(0)
    length = window_length(slots, axis_h, axis_w)
    begin = first_slot + axis_h[LOW] * pitch + axis_w[LOW]
    first_row = begin // pitch
    tall = axis_h[COUNT] + axis_h[HIGH]  # rows from here on are seen by no tap
    plane = 0
    for c in range(c0, c1):
        for plane_h in range(axis_h[PLANES]):
            h0 = entry(axis_h, FIRST_PIXEL, plane_h)
            for plane_w in range(axis_w[PLANES]):
                w0 = entry(axis_w, FIRST_PIXEL, plane_w)
                wide = min((W - w0 + step[1] - 1) // step[1], axis_w[COUNT] + axis_w[HIGH])
                base = plane * stride
                plane += 1
                for t in range(u64(length)):
                    window[u64(base) + t] = zero
                n, u = divmod(first_row, pitch_h)
                at = first_row * pitch - begin
                while at < length:
                    h = h0 + u * step[0]
                    if 0 <= n < N and h < H and u < tall:
                        low, high = max(0, -at), min(wide, length - at)
                        s, d = ((n * C + c) * H + h) * W + w0 + low * step[1], base + at + low
                        if step[1] == 1:
                            for t in range(u64(max(0, high - low))):
                                window[u64(d) + t] = x[u64(s) + t]
                        else:
                            for t in range(u64(max(0, high - low))):
                                window[u64(d) + t] = x[u64(s) + t * u64(step[1])]
                    at += pitch
                    u += 1
                    if u == pitch_h:
                        n, u = n + 1, 0


@njit(cache=True, error_model="numpy")
def pack_columns(window, shifts, runs, n_runs, cols, stride):
    """cols[r, q] = window[shifts[r] + slot of position q]: im2col of one tile, from the window."""
    first_slot = runs[0, SLOT]
    for r in range(shifts.size):
        for run in range(n_runs):
            src = shifts[r] + u64(runs[run, SLOT] - first_slot)
            copy_vectors(window, src, cols, u64(r * stride + runs[run, COLUMN]), u64(runs[run, LENGTH]))


@njit(cache=True, error_model="numpy")
def clear_columns(matrix, rows, first, last, stride):
    """matrix[r, first:last] = 0: what is behind the last position is multiplied like the rest, and must be harmless."""
    for r in range(rows):
        for q in range(first, last):
            matrix[r * stride + q] = 0


@njit(cache=True, error_model="numpy")
def pack_planes(dy, shape, k0, k1, first, count, rows, stride):
    """rows[k - k0, q] = dy[n, k, u, v] for the ``count`` positions (n, u, v) from ``first`` on."""
    N, K, OH, OW = shape
    for k in range(k0, k1):
        q = 0
        while q < count:
            n, p = divmod(first + q, OH * OW)
            length = min(OH * OW - p, count - q)
            s, d = u64((n * K + k) * OH * OW + p), u64((k - k0) * stride + q)
            for e in range(u64(length)):
                rows[d + e] = dy[s + e]
            q += length


@njit(cache=True, error_model="numpy")
def sort_filters(weight, axes_h, axes_w, groups, result):
    """Copy weight (K, C, KH, KW) in the order phase, group, channel, filter, taps of the phase: as rows of a matrix."""
    K, C = weight.shape[0] // groups, weight.shape[1]
    begin = 0
    for axis_h in axes_h:
        for axis_w in axes_w:
            KH, KW = axis_h[TAPS], axis_w[TAPS]
            for group in range(groups):
                for c0 in range(0, C, 16):  # few channels at a time: their rows stay in the cache over all filters
                    for k in range(K):
                        for c in range(c0, min(C, c0 + 16)):
                            at = begin + (c * K + k) * KH * KW
                            for i in range(KH):
                                for j in range(KW):
                                    tap_h, tap_w = u64(entry(axis_h, TAP, i)), u64(entry(axis_w, TAP, j))
                                    result[u64(at)] = weight[u64(group * K + k), u64(c), tap_h, tap_w]
                                    at += 1
                begin += C * K * KH * KW
