"""Lanes: the same pixel of many channels side by side, so that what one position needs is done in vectors.

Images have their channels far apart. A kernel whose pixels are chosen by a table turns a group of channels, works on
rows of ``LANES`` elements, and turns its results back.
"""

from numba import njit
from numba import uint64 as u64

from tinyconv_kernels.cpu._micro import VECTOR_BYTES, transpose_block

LANES = 32  # whole vectors of every processor and dtype


@njit(cache=True, error_model="numpy")
def turn(planes, at, stride, count, lanes, rows):
    """rows[p LANES + c] = planes[at + c stride + p] for p < count and c < lanes; both arrays are flat."""
    unit = VECTOR_BYTES // planes.itemsize
    for p in range(0, count, unit):
        pixels, c = min(unit, count - p), 0
        while pixels == unit and c + unit <= lanes:
            transpose_block(planes, u64(at + c * stride + p), u64(stride), rows, u64(p * LANES + c), u64(LANES))
            c += unit
        for k in range(c, lanes):
            for q in range(p, p + pixels):
                rows[u64(q * LANES + k)] = planes[u64(at + k * stride + q)]


@njit(cache=True, error_model="numpy")
def turn_back(rows, count, lanes, planes, at, stride):
    """planes[at + c stride + p] = rows[p LANES + c] for p < count and c < lanes; both arrays are flat."""
    unit = VECTOR_BYTES // planes.itemsize
    for p in range(0, count, unit):
        pixels, c = min(unit, count - p), 0
        while pixels == unit and c + unit <= lanes:
            transpose_block(rows, u64(p * LANES + c), u64(LANES), planes, u64(at + c * stride + p), u64(stride))
            c += unit
        for k in range(c, lanes):
            for q in range(p, p + pixels):
                planes[u64(at + k * stride + q)] = rows[u64(q * LANES + k)]
