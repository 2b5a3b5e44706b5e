"""Pooling of regions of interest; definition and sources: ``reference/roi.py``.

Small kernels first work out, for every region and axis, what depends on neither channel nor image: a table of the cells
of each bin, and for averages the weight of each cell in it. Forward, one thread per output reads its bin; backward, one
thread per cell of the map goes through the regions in order and gathers from the bins that hold it, which a second
table names. No two threads write to one place.
"""

import functools
import math

import numpy as np
from numba import from_dtype, int64, uint32

from tinyconv_kernels.cuda import launch, memory
from tinyconv_kernels.cuda._blocks import places, split
from tinyconv_kernels.cuda._cuda import cuda, device

_LIMIT = 1 << 24
_NOWHERE = np.uint32(0xFFFFFFFF)  # the switch of an empty bin, until it is written as -1
_AXES = (2, 1)  # where a region's first row and first column are; its last ones lie two further


def _table(*shape, dtype=np.uint32):
    return memory.empty(shape, dtype)


def _flat(*tables):
    return [memory.flat(table) for table in tables]


def _readers(cells, size):
    """Return, for every region and cell of an axis, the half-open range of bins that hold it."""
    regions, bins, _ = cells.shape
    readers = _table(regions, size, 2)
    launch.each(_find_readers, regions * size, *_flat(cells, readers), bins, size, regions * size)
    return readers


@cuda.jit
def _find_readers(cells, readers, bins, size, count):
    i = uint32(cuda.grid(1))
    if i < count:
        region = uint32(i // size)
        own = uint32(i - region * size)
        first, last, b, place = uint32(0), uint32(0), uint32(0), uint32(region * bins * 2)
        while b < bins:
            if cells[place] <= own and own < cells[place + 1]:
                first, last = first if last > 0 else b, uint32(b + 1)
            b, place = uint32(b + 1), uint32(place + 2)
        readers[uint32(2 * i)], readers[uint32(2 * i + 1)] = first, last


# -------------------------------------------------------------------------------------------------------------- maximum
def _bins(rois, out, size, scale):
    """Return the half-open range of cells of every region's bins, for the rows and for the columns."""
    tables = []
    for axis in (0, 1):
        cells = _table(rois.shape[0], out[axis], 2)
        rule = _AXES[axis], out[axis], size[axis], rois.dtype.type(scale), cells.size // 2
        launch.each(_bins_kernel(rois.dtype), cells.size // 2, *places(rois), *_flat(cells), *rule)
        tables.append(cells)
    return tables


@functools.cache
def _bins_kernel(dtype):
    real, limit, half = from_dtype(dtype), dtype.type(_LIMIT), dtype.type(0.5)

    @device
    def cell(position):
        """Nearest whole number, halves away from zero."""
        position = min(max(position, -limit), limit)
        whole = int64(position)
        rest = position - real(whole)
        return whole + 1 if rest >= half else whole - 1 if rest <= -half else whole

    @cuda.jit
    def kernel(rois, r0, cells, axis, bins, size, scale, count):
        i = uint32(cuda.grid(1))
        if i < count:
            region = uint32(i // bins)
            b, place = int64(uint32(i - region * bins)), uint32(r0 + 5 * region + axis)
            first = cell(rois[place] * scale)
            length = max(cell(rois[place + 2] * scale) - first + 1, int64(1))
            start = first + b * length // int64(bins)
            end = first + ((b + 1) * length + int64(bins) - 1) // int64(bins)
            cells[uint32(2 * i)] = uint32(min(max(start, int64(0)), int64(size)))
            cells[uint32(2 * i + 1)] = uint32(min(max(end, int64(0)), int64(size)))

    return kernel


def roi_pool_forward(x, rois, y, switches, scale):
    """One thread owns one output. Writes y and switches (int64 h * W + w); an empty bin gives 0 and -1.

    First maximum wins; a NaN beats every number and the last NaN is kept.
    """
    rows, columns = _bins(rois, y.shape[2:], x.shape[2:], scale)
    memory.written(switches)
    arrays = *places(x, rois, y, switches), *_flat(rows, columns)
    launch.each(_max_kernel(y.dtype), y.size, *arrays, x.shape[1:], y.shape[2:], y.size)


@functools.cache
def _max_kernel(dtype):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(x, x0, rois, r0, y, y0, switches, s0, rows, columns, shape, out, count):
        i = uint32(cuda.grid(1))
        if i < count:
            C, H, W = shape
            plane, oh, ow = split(i, out[0], out[1])
            region = uint32(plane // C)
            image = uint32(uint32(rois[uint32(r0 + 5 * region)]) * C + uint32(plane - region * C))
            row, column = uint32(2 * (region * out[0] + oh)), uint32(2 * (region * out[1] + ow))
            h, bottom, left, right = rows[row], rows[row + 1], columns[column], columns[column + 1]
            best, at, origin = zero, _NOWHERE, uint32(x0 + image * H * W)
            while h < bottom:
                w = left
                while w < right:
                    place = uint32(h * W + w)
                    value = x[uint32(origin + place)]
                    # > and not >=: the first maximum wins
                    if value > best or value != value or at == _NOWHERE:
                        best, at = value, place
                    w = uint32(w + 1)
                h = uint32(h + 1)
            y[y0 + i] = best
            switches[s0 + i] = int64(-1) if at == _NOWHERE else int64(at)

    return kernel


def roi_pool_backward(dy, rois, switches, dx, scale):
    """One thread owns one cell of the map. Writes dx: the sum of dy over the bins whose maximum it was, in order."""
    size = dx.shape[2:]
    tables = [_readers(cells, n) for cells, n in zip(_bins(rois, dy.shape[2:], size, scale), size, strict=True)]
    arrays = *places(dy, rois, switches, dx), *_flat(*tables)
    launch.each(_chosen_kernel(dx.dtype), dx.size, *arrays, dx.shape[1:], dy.shape[2:], rois.shape[0], dx.size)


@functools.cache
def _chosen_kernel(dtype):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(dy, dy0, rois, r0, switches, s0, dx, dx0, rows, columns, shape, out, regions, count):
        i = uint32(cuda.grid(1))
        if i < count:
            C, H, W = shape
            plane, h, w = split(i, H, W)
            n, own = uint32(plane // C), int64(uint32(h * W + w))
            c, region, total = uint32(plane - n * C), uint32(0), zero
            while region < regions:
                row, column = uint32(2 * (region * H + h)), uint32(2 * (region * W + w))
                oh, bottom, left, right = rows[row], rows[row + 1], columns[column], columns[column + 1]
                if oh < bottom and left < right and uint32(rois[uint32(r0 + 5 * region)]) == n:
                    while oh < bottom:
                        line, ow = uint32(((region * C + c) * out[0] + oh) * out[1]), left
                        while ow < right:
                            if switches[uint32(s0 + line + ow)] == own:
                                total += dy[uint32(dy0 + line + ow)]
                            ow = uint32(ow + 1)
                        oh = uint32(oh + 1)
                region = uint32(region + 1)
            dx[dx0 + i] = total

    return kernel


# -------------------------------------------------------------------------------------------------- average of samples
def _weights(rois, out, size, scale, sampling_ratio, aligned):
    """Return (cells of every region's bins, weight of every cell in each) for the rows and for the columns."""
    tables, real = [], rois.dtype.type
    for axis in (0, 1):
        cells = _table(rois.shape[0], out[axis], 2)
        weights = _table(rois.shape[0], out[axis], size[axis], dtype=rois.dtype)
        rule = _AXES[axis], out[axis], size[axis], real(scale), max(int(sampling_ratio), 0), cells.size // 2
        kernel = _weights_kernel(rois.dtype, bool(aligned))
        launch.each(kernel, cells.size // 2, *places(rois), *_flat(cells, weights), *rule)
        tables.append((cells, weights))
    return tables


@functools.cache
def _weights_kernel(dtype, aligned):
    real, limit = from_dtype(dtype), dtype.type(_LIMIT)
    zero, half, one = map(dtype.type, (0, 0.5, 1))

    @cuda.jit
    def kernel(rois, r0, cells, weights, axis, bins, size, scale, ratio, count):
        i = uint32(cuda.grid(1))
        if i < count:
            region, own = uint32(i // bins), uint32(i * size)
            place = uint32(r0 + 5 * region + axis)
            start = min(max(rois[place] * scale, -limit), limit)
            length = min(max(rois[place + 2] * scale, -limit), limit) - start
            if aligned:
                start -= half
            else:
                length = max(length, one)
            step = length / real(bins)
            origin = start + real(uint32(i - region * bins)) * step
            samples = int64(ratio) if ratio > 0 else int64(math.ceil(step))
            k, end = int64(0), samples
            if ratio == 0 and samples > 0:  # of a region far larger than the map only the samples inside
                inside = step / real(samples)
                k = max(k, int64((-one - origin) / inside) - int64(2))
                end = min(end, int64((real(size) - origin) / inside) + int64(2))
            h = uint32(0)
            while h < size:
                weights[uint32(own + h)] = zero
                h = uint32(h + 1)
            low, high = size, uint32(0)
            while k < end:
                position = origin + (real(k) + half) * step / real(samples)
                if position >= -one and position <= real(size):
                    position = max(position, zero)
                    at = uint32(position)
                    if at >= size - 1:
                        at = uint32(size - 1)
                        position = real(at)
                    ahead = position - real(at)
                    weights[uint32(own + at)] += (one - ahead) / real(samples)
                    low, high = min(low, at), max(high, uint32(at + 1))
                    if ahead > zero:
                        weights[uint32(own + at + 1)] += ahead / real(samples)
                        high = max(high, uint32(at + 2))
                k += 1
            cells[uint32(2 * i)], cells[uint32(2 * i + 1)] = low, high

    return kernel


def roi_align_forward(x, rois, y, scale, sampling_ratio, aligned):
    """One thread owns one output. Writes y: the mean of its bin's samples."""
    tables = _weights(rois, y.shape[2:], x.shape[2:], scale, sampling_ratio, aligned)
    arrays = *places(x, rois, y), *_flat(*tables[0], *tables[1])
    launch.each(_mean_kernel(y.dtype), y.size, *arrays, x.shape[1:], y.shape[2:], y.size)


@functools.cache
def _mean_kernel(dtype):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(x, x0, rois, r0, y, y0, rows, downs, columns, acrosses, shape, out, count):
        i = uint32(cuda.grid(1))
        if i < count:
            C, H, W = shape
            plane, oh, ow = split(i, out[0], out[1])
            region = uint32(plane // C)
            image = uint32(uint32(rois[uint32(r0 + 5 * region)]) * C + uint32(plane - region * C))
            row, column, origin = uint32(region * out[0] + oh), uint32(region * out[1] + ow), uint32(x0 + image * H * W)
            h, bottom, total = rows[uint32(2 * row)], rows[uint32(2 * row + 1)], zero
            while h < bottom:
                down = downs[uint32(row * H + h)]
                w, right, line = columns[uint32(2 * column)], columns[uint32(2 * column + 1)], zero
                while w < right:
                    across = acrosses[uint32(column * W + w)]
                    if down != zero and across != zero:  # a cell that does not count may hold a NaN
                        line += across * x[uint32(origin + h * W + w)]
                    w = uint32(w + 1)
                total += down * line
                h = uint32(h + 1)
            y[y0 + i] = total

    return kernel


def roi_align_backward(dy, rois, dx, scale, sampling_ratio, aligned):
    """One thread owns one cell of the map. Writes dx: the sum of dy over the bins that read it, with their weights."""
    size, regions = dx.shape[2:], rois.shape[0]
    (rows, downs), (columns, acrosses) = _weights(rois, dy.shape[2:], size, scale, sampling_ratio, aligned)
    tables = _flat(_readers(rows, size[0]), downs, _readers(columns, size[1]), acrosses)
    arrays = *places(dy, rois, dx), *tables
    launch.each(_spread_kernel(dx.dtype), dx.size, *arrays, dx.shape[1:], dy.shape[2:], regions, dx.size)


@functools.cache
def _spread_kernel(dtype):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(dy, dy0, rois, r0, dx, dx0, rows, downs, columns, acrosses, shape, out, regions, count):
        i = uint32(cuda.grid(1))
        if i < count:
            C, H, W = shape
            plane, h, w = split(i, H, W)
            n = uint32(plane // C)
            c, region, total = uint32(plane - n * C), uint32(0), zero
            while region < regions:
                row, column = uint32(2 * (region * H + h)), uint32(2 * (region * W + w))
                oh, bottom, left, right = rows[row], rows[row + 1], columns[column], columns[column + 1]
                if oh < bottom and left < right and uint32(rois[uint32(r0 + 5 * region)]) == n:
                    while oh < bottom:
                        down = downs[uint32((region * out[0] + oh) * H + h)]
                        line, ow = uint32(dy0 + ((region * C + c) * out[0] + oh) * out[1]), left
                        while ow < right:
                            across = acrosses[uint32((region * out[1] + ow) * W + w)]
                            if down != zero and across != zero:
                                total += down * across * dy[line + ow]
                            ow = uint32(ow + 1)
                        oh = uint32(oh + 1)
                region = uint32(region + 1)
            dx[dx0 + i] = total

    return kernel
