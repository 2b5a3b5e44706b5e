"""Pooling of regions of interest; definition and sources: ``reference/roi.py``.

The maximum goes over the channels side by side: bins are a few cells wide, too few for a vector. A thread turns the
channels that it owns so that they lie beside each other, once for all regions. The average needs no such thing: the
weights of a sample are those of its row times those of its column, so a bin is a sum over few rows, each a sum over
few cells, and the weights of all bins are worked out once for a region.
"""

import math

import numpy as np
from numba import int32, int64, njit

from tinyconv_kernels.cpu._share import share, threads_for

_LIMIT = 1 << 24
_LANES = 32  # channels that a thread handles side by side; LLVM unrolls 16 into scalars, at a quarter of the speed


# -------------------------------------------------------------------------------------------------------------- maximum
@njit(inline="always")
def _cell(position):
    """Nearest whole number, halves away from zero; LIMIT at most."""
    position = min(max(position, -_LIMIT), _LIMIT)
    whole = int64(position)
    rest = position - whole
    return whole + 1 if rest >= 0.5 else whole - 1 if rest <= -0.5 else whole


@njit(inline="always")
def _extent(low, high):
    """First cell of a region along one axis, and how many there are: at least one."""
    first = _cell(low)
    return first, max(_cell(high) - first + 1, 1)


@njit(inline="always")
def _bin(i, bins, first, length, size):
    """Half-open range of the cells of bin i, inside the map."""
    start, end = first + i * length // bins, first - (-(i + 1) * length // bins)
    return max(start, 0), min(end, size)


def roi_pool_forward(x, rois, y, switches, scale):
    """One thread owns some channels of one image. Writes y and switches (int64 h * W + w); an empty bin: 0 and -1.

    First maximum wins; a NaN beats every number and the last NaN is kept.
    """
    tasks = x.shape[0] * -(-x.shape[1] // _LANES)
    share(threads_for(x.size + 2 * y.size), _pool_forward, tasks, x, rois, y, switches, x.dtype.type(scale))


@njit(inline="always")
def _turn(planes, cells):
    """Write planes (channels, H, W) as cells (H W, lanes)."""
    for c in range(planes.shape[0]):
        flat = planes[c].reshape(-1)
        for p in range(flat.size):
            cells[p, c] = flat[p]


@njit(inline="always")
def _maxima(cells, rows, columns, W, best, at):
    """Maximum and flat index of every lane over a bin that is not empty."""
    for k in range(_LANES):
        best[k], at[k] = -np.inf, rows[0] * W + columns[0]
    for h in range(rows[0], rows[1]):
        for p in range(h * W + columns[0], h * W + columns[1]):
            for k in range(_LANES):
                value = cells[p, k]
                take = (value > best[k]) | (value != value)
                best[k] = value if take else best[k]
                at[k] = int32(p) if take else at[k]


@njit(cache=True, nogil=True)
def _pool_forward(first, last, x, rois, y, switches, scale):
    C, H, W = x.shape[1:]
    PH, PW = y.shape[2:]
    groups = -(-C // _LANES)
    cells = np.zeros((H * W, _LANES), x.dtype)
    best, at = np.empty(_LANES, x.dtype), np.empty(_LANES, np.int32)
    turned = -1
    for task in range(first, last):
        n, c = task // groups, task % groups * _LANES
        lanes = min(_LANES, C - c)
        for r in range(rois.shape[0]):
            if int64(rois[r, 0]) != n:
                continue
            if turned != task:  # the first region of this image
                _turn(x[n, c : c + lanes], cells)
                turned = task
            left, wide = _extent(rois[r, 1] * scale, rois[r, 3] * scale)
            top, tall = _extent(rois[r, 2] * scale, rois[r, 4] * scale)
            for i in range(PH):
                rows = _bin(i, PH, top, tall, H)
                for j in range(PW):
                    columns = _bin(j, PW, left, wide, W)
                    if rows[0] < rows[1] and columns[0] < columns[1]:
                        _maxima(cells, rows, columns, W, best, at)
                    else:
                        best[:], at[:] = 0, -1
                    for k in range(lanes):
                        y[r, c + k, i, j], switches[r, c + k, i, j] = best[k], at[k]


def roi_pool_backward(dy, rois, switches, dx, scale):
    """One thread owns some channels of all images. Writes dx: each output's gradient is ADDED at its switch, in order.

    The regions come one after the other, as in the definition: the sums are the same to the last bit.
    """
    share(threads_for(dx.size + 2 * dy.size), _pool_backward, dx.shape[1], dy, rois, switches, dx)


@njit(cache=True, nogil=True)
def _pool_backward(first, last, dy, rois, switches, dx):
    dx[:, first:last] = 0
    for r in range(rois.shape[0]):
        n = int64(rois[r, 0])
        for c in range(first, last):
            target, source, at = dx[n, c].reshape(-1), dy[r, c].reshape(-1), switches[r, c].reshape(-1)
            for o in range(source.size):
                if at[o] >= 0:
                    target[at[o]] += source[o]


# -------------------------------------------------------------------------------------------------- average of samples
@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(low, high, sampling_ratio, aligned, weights, spans):
    """Write weights[p, h], what cell h counts in the sum of bin p along one axis, and spans[p], the cells that count.

    Returns how many samples a bin has.
    """
    bins, size = weights.shape
    real = weights.dtype.type
    half, one, zero = real(0.5), real(1), real(0)
    low, high = min(max(low, real(-_LIMIT)), real(_LIMIT)), min(max(high, real(-_LIMIT)), real(_LIMIT))
    start, length = (low - half, high - low) if aligned else (low, max(high - low, one))
    step = length / real(bins)
    count = sampling_ratio if sampling_ratio > 0 else max(int64(math.ceil(step)), 0)
    weights[:] = 0
    for p in range(bins):
        origin, spans[p, 0], spans[p, 1] = start + real(p) * step, size, 0
        first, last = 0, count
        if sampling_ratio <= 0 and count > 0:  # of a region far larger than the map only the samples inside
            inside = step / real(count)
            first = max(0, int64((-one - origin) / inside) - 2)
            last = min(count, int64((real(size) - origin) / inside) + 2)
        for k in range(first, last):
            position = origin + (real(k) + half) * step / real(count)
            if position < -one or position > real(size):
                continue
            position = max(position, zero)
            at = int64(position)
            if at >= size - 1:
                at, position = size - 1, real(size - 1)
            ahead = position - real(at)
            weights[p, at] += one - ahead
            spans[p, 0], spans[p, 1] = min(spans[p, 0], at), max(spans[p, 1], at + 1)
            if ahead > zero:
                weights[p, at + 1] += ahead
                spans[p, 1] = max(spans[p, 1], at + 2)
    return count


@njit(inline="always")
def _reach(spans):
    """The cells that any bin needs."""
    low, high = spans[0, 0], spans[0, 1]
    for p in range(spans.shape[0]):
        low, high = min(low, spans[p, 0]), max(high, spans[p, 1])
    return low, high


@njit(inline="always")
def _add(out, weight, row):
    for w in range(out.size):
        out[w] += weight * row[w]


def roi_align_forward(x, rois, y, scale, sampling_ratio, aligned):
    """One thread owns one region. Writes y: the mean of each bin's samples."""
    rule = x.dtype.type(scale), int(sampling_ratio), bool(aligned)
    share(threads_for(8 * y.size), _align_forward, y.shape[0], x, rois, y, *rule)


@njit(cache=True, nogil=True, error_model="numpy")
def _align_forward(first, last, x, rois, y, scale, sampling_ratio, aligned):
    C, H, W = x.shape[1:]
    PH, PW = y.shape[2:]
    downs, acrosses, line = np.empty((PH, H), x.dtype), np.empty((PW, W), x.dtype), np.empty(W, x.dtype)
    rows, columns = np.empty((PH, 2), np.int64), np.empty((PW, 2), np.int64)
    for r in range(first, last):
        n = int64(rois[r, 0])
        tall = _weigh(rois[r, 2] * scale, rois[r, 4] * scale, sampling_ratio, aligned, downs, rows)
        wide = _weigh(rois[r, 1] * scale, rois[r, 3] * scale, sampling_ratio, aligned, acrosses, columns)
        left, right = _reach(columns)
        count = x.dtype.type(max(tall * wide, 1))
        for c in range(C):
            for i in range(PH):
                line[:] = 0
                for h in range(rows[i, 0], rows[i, 1]):
                    if downs[i, h] != 0:  # a cell that does not count may hold a NaN
                        _add(line[left:right], downs[i, h], x[n, c, h, left:right])
                for j in range(PW):
                    total = x.dtype.type(0)
                    for w in range(columns[j, 0], columns[j, 1]):
                        if acrosses[j, w] != 0:
                            total += acrosses[j, w] * line[w]
                    y[r, c, i, j] = total / count


def roi_align_backward(dy, rois, dx, scale, sampling_ratio, aligned):
    """One thread owns some channels of all images. Writes dx: the gradients times their weights, ADDED in order."""
    rule = dx.dtype.type(scale), int(sampling_ratio), bool(aligned)
    share(threads_for(dx.size + 8 * dy.size), _align_backward, dx.shape[1], dy, rois, dx, *rule)


@njit(cache=True, nogil=True, error_model="numpy")
def _align_backward(first, last, dy, rois, dx, scale, sampling_ratio, aligned):
    H, W = dx.shape[2:]
    PH, PW = dy.shape[2:]
    downs, acrosses, line = np.empty((PH, H), dx.dtype), np.empty((PW, W), dx.dtype), np.empty(W, dx.dtype)
    rows, columns = np.empty((PH, 2), np.int64), np.empty((PW, 2), np.int64)
    dx[:, first:last] = 0
    for r in range(rois.shape[0]):
        n = int64(rois[r, 0])
        tall = _weigh(rois[r, 2] * scale, rois[r, 4] * scale, sampling_ratio, aligned, downs, rows)
        wide = _weigh(rois[r, 1] * scale, rois[r, 3] * scale, sampling_ratio, aligned, acrosses, columns)
        left, right = _reach(columns)
        count = dx.dtype.type(max(tall * wide, 1))
        for c in range(first, last):
            for i in range(PH):
                line[:] = 0
                for j in range(PW):
                    for w in range(columns[j, 0], columns[j, 1]):
                        if acrosses[j, w] != 0:
                            line[w] += acrosses[j, w] * (dy[r, c, i, j] / count)
                for h in range(rows[i, 0], rows[i, 1]):
                    if downs[i, h] != 0:
                        _add(dx[n, c, h, left:right], downs[i, h], line[left:right])
