"""Tables of a convolution: which pixel each tap of a filter sees. They are made once for each geometry, and kept.

A position is an image and a place (u, v). The filters' tap (c, i, j) meets it at the pixel (u step + dh, v step + dw)
of plane c: a row of the table holds where that pixel lies behind the position's first, dh and dw, and where the tap's
weight lies. Forward, positions are the outputs, and the step is the stride. Backward to the input, positions are the
pixels of one *phase*: those with equal (h + padding) mod stride meet the same taps, at outputs that are neighbours, so
each phase is a correlation with step 1, and no zero is multiplied.

A pixel outside is told by one comparison per axis: row -1 is 2^32 - 1 to a kernel, which is not below the height.
"""

import functools
from typing import NamedTuple

import numpy as np

from tinyconv_kernels.cuda import memory
from tinyconv_kernels.device_array import DeviceArray

# A phase's row: where its taps begin in the table, taps, positions of an image, of a row; the reciprocals of the last
# two; its first pixel's place in the result; and zeros up to a multiple of 16 bytes.
PHASE, TAP = 12, 4
# Taps outside of any image, behind a phase's (the blocks' tiles are so deep) and the table's (they are so wide).
_OUTSIDE, _DEPTH, _WIDTH = (0, 1 << 30, 0, 0), 16, 128


class Table(NamedTuple):
    """The table on the device (uint32), how many phases it has, positions of an image and taps of the largest.

    ``first`` is the first phase's row: where its taps begin, taps, first pixel's place; and the grid of its positions.
    """

    rows: DeviceArray
    phases: int
    positions: int
    taps: int
    first: tuple[tuple[int, ...], tuple[int, ...]]


def reciprocal(divisor):
    """Return (m, s): n // divisor = n * m >> s for every n below 2^31 (Granlund & Montgomery 1994, sec. 4).

    With 2^(b - 1) < divisor <= 2^b and s = 31 + b, m is 2^s / divisor rounded up: too large by less than 1, so the
    product is off by less than 2^31, which is at most 2^s / divisor, and the quotient by less than 1 / divisor.
    """
    shift = 31 + (divisor - 1).bit_length()
    return -(-(1 << shift) // divisor), shift


def _table(phases):
    """Make the table of [(taps as an (n, 4) array, (rows, columns) of its positions, first pixel's place)]."""
    rows, following, at = [], [], PHASE * len(phases)
    for taps, (high, wide), first in phases:
        divisors = [max(1, high * wide), max(1, wide)]
        numbers = [at, len(taps), high * wide, wide, *reciprocal(divisors[0]), *reciprocal(divisors[1]), first, 0, 0, 0]
        rows += numbers
        following += [taps, np.tile(_OUTSIDE, (-len(taps) % _DEPTH, 1))]
        at += TAP * (len(taps) + -len(taps) % _DEPTH)
    everything = np.concatenate([rows, *(np.ravel(taps) for taps in following), np.tile(_OUTSIDE, _WIDTH)])
    largest = max(high * wide for _, (high, wide), _ in phases)
    on_device = memory.to_device((everything.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32))
    first = (rows[0], rows[1], rows[8]), tuple(rows[2:8])
    return Table(on_device, len(phases), largest, max(len(taps) for taps, _, _ in phases), first)


def _rows(*columns):
    """Return rows of taps from arrays that broadcast to (planes, KH, KW)."""
    return np.stack([c.ravel() for c in np.broadcast_arrays(*columns)], axis=-1).astype(np.int64)


@functools.lru_cache(maxsize=512)
def forward(channels, sizes, outs, kernel, dilation):
    """Every tap of a filter at every output; a tap's number is its weight's place."""
    (H, W), (KH, KW), (DH, DW) = sizes, kernel, dilation
    c, i, j = np.ogrid[:channels, :KH, :KW]
    taps = _rows((c * H + i * DH) * W + j * DW, i * DH, j * DW, (c * KH + i) * KW + j)
    return _table([(taps, outs, 0)])


@functools.lru_cache(maxsize=512)
def backward(filters, channels, sizes, outs, kernel, stride, padding, dilation):
    """Every filter's taps at every pixel of the input (``outs``), phase by phase; ``sizes`` are those of dy."""
    (OH, OW), (KH, KW), W = sizes, kernel, outs[1]
    phases = []
    for row, high, i, dh in _phases(outs[0], KH, stride[0], padding[0], dilation[0]):
        for column, wide, j, dw in _phases(W, KW, stride[1], padding[1], dilation[1]):
            k = np.arange(filters)[:, None, None]
            i_, dh_ = i[:, None], dh[:, None]
            taps = _rows((k * OH + dh_) * OW + dw, dh_, dw, (k * channels * KH + i_) * KW + j)
            phases.append((taps, (high, wide), row * W + column))
    return _table(phases)


def _phases(size, kernel, stride, padding, dilation):
    """Along one axis, yield (first pixel, pixels, taps that meet them, at which output from the pixel's number on)."""
    for first in range(min(stride, size)):
        taps = np.arange(kernel)
        reach = first + padding - taps * dilation
        fits = reach % stride == 0
        yield first, -(-(size - first) // stride), taps[fits], reach[fits] // stride
