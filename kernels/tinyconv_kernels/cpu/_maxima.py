"""Maximum and switch of one window, or of a row of the papers' windows at vector speed; used by ``cpu/pool.py``."""

import numpy as np
from numba import int32, njit

from tinyconv_kernels.geometry import clip_window


@njit(inline="always")
def _better(value, index, best, at):
    """Keep the larger value and its index; written as selects, not branches, so that LLVM can vectorise the caller."""
    take = (value > best) | (value != value)
    return (value if take else best), (index if take else at)


@njit(inline="always")
def row_2x2(r0, r1, W, base, stride, best, at):
    """Maxima of 2x2 windows side by side, all inside the image; r0, r1 start at the first, whose flat index is base."""
    i1, i2, i3 = int32(1), int32(W), int32(W + 1)  # int32: narrow vectors
    for o in range(best.size):
        j = stride * o
        b, a = r0[j], int32(0)
        b, a = _better(r0[j + 1], i1, b, a)
        b, a = _better(r1[j], i2, b, a)
        b, a = _better(r1[j + 1], i3, b, a)
        best[o], at[o] = b, base + j + a


@njit(inline="always")
def row_3x3(r0, r1, r2, W, base, stride, best, at):
    """Maxima of 3x3 windows side by side, all inside the image."""
    i1, i2, i3, i4 = int32(1), int32(2), int32(W), int32(W + 1)
    i5, i6, i7, i8 = int32(W + 2), int32(2 * W), int32(2 * W + 1), int32(2 * W + 2)
    for o in range(best.size):
        j = stride * o
        b, a = r0[j], int32(0)
        b, a = _better(r0[j + 1], i1, b, a)
        b, a = _better(r0[j + 2], i2, b, a)
        b, a = _better(r1[j], i3, b, a)
        b, a = _better(r1[j + 1], i4, b, a)
        b, a = _better(r1[j + 2], i5, b, a)
        b, a = _better(r2[j], i6, b, a)
        b, a = _better(r2[j + 1], i7, b, a)
        b, a = _better(r2[j + 2], i8, b, a)
        best[o], at[o] = b, base + j + a


@njit(inline="always")
def _row_tap(values, base, stride, best, at):
    for o in range(best.size):
        value = values[stride * o]
        take = (value > best[o]) | (value != value)
        best[o] = value if take else best[o]
        at[o] = base + stride * o if take else at[o]


@njit(cache=True)
def row_any(plane, rows, oh, window, best, at):
    """Maxima of a row of windows of any size, tap by tap in row-major order, each tap side by side over the row.

    5x5 windows with stride 2 (16 x 96 x 55 x 55, one AVX-512 core) take
    half the time that they took window by window.
    """
    (first, last), ((_, KW), (SH, SW), (PH, PW), (DH, DW)) = rows, window
    W = plane.shape[1]
    top = oh * SH - PH
    for ow in range(best.size):  # a window of nothing but -inf has its maximum at its first pixel
        c, d = clip_window(ow, KW, SW, PW, DW, W)
        best[ow] = -np.inf
        at[ow] = (top + first * DH) * W + ow * SW - PW + c * DW if first < last and c < d else -1
    for i in range(first, last):
        h = top + i * DH
        for j in range(KW):
            shift = j * DW - PW
            left = max(0, -(shift // SW))  # outputs left .. right - 1 find this tap inside the image
            right = min(best.size, (W - 1 - shift) // SW + 1)
            if left < right:
                start = left * SW + shift
                values, base = plane[h, start:], h * W + start
                if SW == 2:  # the one stride worth a loop of its own: a constant lets LLVM use vectors
                    _row_tap(values, base, 2, best[left:right], at[left:right])
                else:
                    _row_tap(values, base, SW, best[left:right], at[left:right])


@njit(cache=True)
def max_window(plane, h0, h1, w0, w1, dh, dw):
    """Maximum and flat index over rows h0, h0 + dh, ... < h1 and columns w0, w0 + dw, ... < w1."""
    best = plane.dtype.type(-np.inf)
    at = h0 * plane.shape[1] + w0 if h0 < h1 and w0 < w1 else -1
    for h in range(h0, h1, dh):
        for w in range(w0, w1, dw):
            if plane[h, w] > best or plane[h, w] != plane[h, w]:
                best, at = plane[h, w], h * plane.shape[1] + w
    return best, at
