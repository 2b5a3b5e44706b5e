"""Sampling at the positions of a grid; definition and source: ``reference/sampler.py``.

Forward, one thread owns one output; for the grid's gradient, one position. For the image's gradient a small kernel
first writes, for every position, the pixel before it and how far behind that it is, and for every run of neighbouring
positions the rectangle of these pixels. Then a thread owns a pixel in a few channels, goes through the runs in order,
passes over those whose rectangle it is not in, and adds what the others read of it. No two threads write to one place.
"""

import functools

import numpy as np
from numba import from_dtype, int32, uint32

from tinyconv_kernels.cuda import launch, memory
from tinyconv_kernels.cuda._blocks import places, split
from tinyconv_kernels.cuda._cuda import cuda, device
from tinyconv_kernels.geometry import source_position

_RUN = 16  # positions of a run
_TOGETHER = 4  # channels that a thread adds side by side: a run is looked through once for all of them
_source = device(source_position)


@functools.cache
def _finder(dtype):
    """Return a device function: (pixel before a coordinate's position, distance behind it, the position's derivative).

    Of no pixel near it is -2, or the last; of a NaN -2, and the distance is NaN.
    """
    real, one, none = from_dtype(dtype), dtype.type(1), dtype.type(-2)

    @device
    def find(coordinate, size, padding, align_corners):
        at, slope = _source(coordinate, real(size), one, padding, align_corners)
        low = int32(none if at != at else at)
        low = int32(low - int32(1)) if at < real(low) else low
        return low, at - real(low), slope

    return find


@functools.cache
def _rounder(dtype):
    """Return a device function: the pixel nearest to a position, halves to the even one."""
    half = dtype.type(0.5)

    @device
    def nearest(low, ahead):
        up = ahead > half or (ahead == half and low % int32(2) != int32(0))
        return int32(low + int32(1)) if up else low

    return nearest


@device
def _exists(h, w, H, W):
    return int32(0) <= h and h < int32(H) and int32(0) <= w and w < int32(W)


def _rule(padding, align_corners):
    return int(padding), bool(align_corners)


# ------------------------------------------------------------------------------------------------------------- forward
def grid_sample_bilinear_forward(x, grid, y, padding, align_corners):
    """One thread owns one output. Writes y."""
    shapes = x.shape[1:], y.shape[2:], *_rule(padding, align_corners)
    launch.each(_mix_kernel(y.dtype), y.size, *places(x, grid, y), *shapes, y.size)


@functools.cache
def _mix_kernel(dtype):
    find, one = _finder(dtype), dtype.type(1)

    @cuda.jit
    def kernel(x, x0, grid, g0, y, y0, shape, out, padding, align_corners, count):
        i = uint32(cuda.grid(1))
        if i < count:
            C, H, W = shape
            plane, oh, ow = split(i, out[0], out[1])
            at = uint32(g0 + 2 * ((plane // C * out[0] + oh) * out[1] + ow))
            left, across, _ = find(grid[at], W, padding, align_corners)
            top, down, _ = find(grid[uint32(at + 1)], H, padding, align_corners)
            image, total = uint32(x0 + plane * H * W), (down - down) + (across - across)  # 0, or NaN
            for e in range(uint32(4)):
                h, w = int32(top + int32(e // 2)), int32(left + int32(e % 2))
                if _exists(h, w, H, W):
                    weight = (down if e // 2 else one - down) * (across if e % 2 else one - across)
                    total += weight * x[uint32(image + uint32(h) * W + uint32(w))]
            y[y0 + i] = total

    return kernel


def grid_sample_nearest_forward(x, grid, y, padding, align_corners):
    """One thread owns one output. Writes y."""
    shapes = x.shape[1:], y.shape[2:], *_rule(padding, align_corners)
    launch.each(_copy_kernel(y.dtype), y.size, *places(x, grid, y), *shapes, y.size)


@functools.cache
def _copy_kernel(dtype):
    find, nearest = _finder(dtype), _rounder(dtype)

    @cuda.jit
    def kernel(x, x0, grid, g0, y, y0, shape, out, padding, align_corners, count):
        i = uint32(cuda.grid(1))
        if i < count:
            C, H, W = shape
            plane, oh, ow = split(i, out[0], out[1])
            at = uint32(g0 + 2 * ((plane // C * out[0] + oh) * out[1] + ow))
            left, across, _ = find(grid[at], W, padding, align_corners)
            top, down, _ = find(grid[uint32(at + 1)], H, padding, align_corners)
            value = (down - down) + (across - across)  # 0, or NaN
            h, w = nearest(top, down), nearest(left, across)
            if value == value and _exists(h, w, H, W):
                value = x[uint32(x0 + (plane * H + uint32(h)) * W + uint32(w))]
            y[y0 + i] = value

    return kernel


# -------------------------------------------------------------------------------------------------- the grid's gradient
def grid_sample_bilinear_backward_grid(dy, x, grid, dgrid, padding, align_corners):
    """One thread owns one position, and adds channel after channel. Writes dgrid."""
    count = dgrid.size // 2
    shapes = x.shape[1:], dy.shape[2] * dy.shape[3], *_rule(padding, align_corners)
    launch.each(_move_kernel(dgrid.dtype), count, *places(dy, x, grid, dgrid), *shapes, count)


@functools.cache
def _move_kernel(dtype):
    find, zero, one = _finder(dtype), dtype.type(0), dtype.type(1)

    @cuda.jit
    def kernel(dy, dy0, x, x0, grid, g0, dgrid, d0, shape, outputs, padding, align_corners, count):
        i = uint32(cuda.grid(1))
        if i < count:
            C, H, W = shape
            left, across, wide = find(grid[uint32(g0 + 2 * i)], W, padding, align_corners)
            top, down, tall = find(grid[uint32(g0 + 2 * i + 1)], H, padding, align_corners)
            nothing = (down - down) + (across - across)  # 0, or NaN
            dw, dh, n = nothing, nothing, uint32(i // outputs)
            for e in range(uint32(4)):
                h, w = int32(top + int32(e // 2)), int32(left + int32(e % 2))
                if _exists(h, w, H, W):
                    source = uint32(dy0 + n * C * outputs + (i - n * outputs))
                    pixel, seen, c = uint32(x0 + (n * C * H + uint32(h)) * W + uint32(w)), zero, uint32(0)
                    while c < C:
                        seen += dy[source] * x[pixel]
                        source, pixel, c = uint32(source + outputs), uint32(pixel + H * W), uint32(c + 1)
                    dw += (down if e // 2 else one - down) * (seen if e % 2 else -seen)
                    dh += (across if e % 2 else one - across) * (seen if e // 2 else -seen)
            dgrid[uint32(d0 + 2 * i)], dgrid[uint32(d0 + 2 * i + 1)] = dw * wide, dh * tall

    return kernel


# ------------------------------------------------------------------------------------------------- the image's gradient
def grid_sample_bilinear_backward_input(dy, grid, dx, padding, align_corners):
    """One thread owns one pixel in a few channels. Writes dx: what each output read goes back with the same weight."""
    _gather(dy, grid, dx, padding, align_corners, False)


def grid_sample_nearest_backward_input(dy, grid, dx, padding, align_corners):
    """One thread owns one pixel in a few channels. Writes dx: the sum over its copies."""
    _gather(dy, grid, dx, padding, align_corners, True)


def _gather(dy, grid, dx, padding, align_corners, nearest):
    (N, C, H, W), outputs = dx.shape, dy.shape[2] * dy.shape[3]
    runs = -(-outputs // _RUN)
    lows, boxes = memory.empty((N, outputs, 2), np.int32), memory.empty((N, runs, 4), np.int32)
    parts = memory.empty((N, outputs, 2), dx.dtype)
    tables, rule = [memory.flat(table) for table in (lows, parts, boxes)], _rule(padding, align_corners)
    find = _run_kernel(dx.dtype, nearest)
    launch.each(find, N * runs, *places(grid), *tables, (H, W), outputs, runs, *rule, N * runs)
    groups = -(-C // _TOGETHER)
    count = N * groups * H * W
    add = _gather_kernel(dx.dtype, nearest)
    launch.each(add, count, *places(dy, dx), *tables, (C, H, W), groups, outputs, runs, count)


@functools.cache
def _run_kernel(dtype, nearest):
    find, rounded, zero = _finder(dtype), _rounder(dtype), dtype.type(0)

    @cuda.jit
    def kernel(grid, g0, lows, parts, boxes, size, outputs, runs, padding, align_corners, count):
        i = uint32(cuda.grid(1))
        if i < count:
            H, W = size
            n = uint32(i // runs)
            p = uint32((i - n * runs) * _RUN)
            end = min(uint32(p + _RUN), outputs)
            first_h, last_h, first_w, last_w = int32(H), int32(-2), int32(W), int32(-2)
            while p < end:
                at = uint32(2 * (n * outputs + p))
                w, across, _ = find(grid[uint32(g0 + at)], W, padding, align_corners)
                h, down, _ = find(grid[uint32(g0 + at + 1)], H, padding, align_corners)
                if across != across or down != down:
                    h, w, down, across = int32(-2), int32(-2), zero, zero
                elif nearest:
                    h, w, down, across = rounded(h, down), rounded(w, across), zero, zero
                lows[at], lows[uint32(at + 1)] = h, w
                parts[at], parts[uint32(at + 1)] = down, across
                if int32(-1) <= h and h < int32(H) and int32(-1) <= w and w < int32(W):
                    first_h, last_h, first_w, last_w = min(first_h, h), max(last_h, h), min(first_w, w), max(last_w, w)
                p = uint32(p + 1)
            box = uint32(4 * i)
            boxes[box], boxes[uint32(box + 1)] = first_h, last_h
            boxes[uint32(box + 2)], boxes[uint32(box + 3)] = first_w, last_w

    return kernel


@functools.cache
def _gather_kernel(dtype, nearest):
    zero, one = dtype.type(0), dtype.type(1)
    reach = np.int32(0 if nearest else 1)  # how far behind the pixel before it a position reads

    @cuda.jit
    def kernel(dy, dy0, dx, dx0, lows, parts, boxes, shape, groups, outputs, runs, count):
        i = uint32(cuda.grid(1))
        if i < count:
            C, H, W = shape
            group, row, column = split(i, H, W)
            n = uint32(group // groups)
            c, h, w = uint32((group - n * groups) * _TOGETHER), int32(row), int32(column)
            plane = uint32(n * C + c)
            second, third, fourth = uint32(c + 1) < C, uint32(c + 2) < C, uint32(c + 3) < C
            a, b, d, e = zero, zero, zero, zero
            run, box = uint32(0), uint32(4 * n * runs)
            while run < runs:
                near_h = boxes[box] <= h and h - reach <= boxes[uint32(box + 1)]
                if near_h and boxes[uint32(box + 2)] <= w and w - reach <= boxes[uint32(box + 3)]:
                    p = uint32(run * _RUN)
                    end = min(uint32(p + _RUN), outputs)
                    while p < end:
                        at = uint32(2 * (n * outputs + p))
                        down, across = int32(h - lows[at]), int32(w - lows[uint32(at + 1)])
                        if int32(0) <= down and down <= reach and int32(0) <= across and across <= reach:
                            below, right = parts[at], parts[uint32(at + 1)]
                            weight = (below if down else one - below) * (right if across else one - right)
                            source = uint32(dy0 + plane * outputs + p)
                            a += weight * dy[source]
                            if second:
                                b += weight * dy[uint32(source + outputs)]
                            if third:
                                d += weight * dy[uint32(source + 2 * outputs)]
                            if fourth:
                                e += weight * dy[uint32(source + 3 * outputs)]
                        p = uint32(p + 1)
                run, box = uint32(run + 1), uint32(box + 4)
            to = uint32(dx0 + (plane * H + row) * W + column)
            dx[to] = a
            if second:
                dx[uint32(to + H * W)] = b
            if third:
                dx[uint32(to + 2 * H * W)] = d
            if fourth:
                dx[uint32(to + 3 * H * W)] = e

    return kernel
