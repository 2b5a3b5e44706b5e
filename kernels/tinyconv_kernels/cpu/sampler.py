"""Sampling at the positions of a grid; definition: ``reference/sampler.py``.

All channels of an image share its positions. So these are worked out once for an image, in vectors, and lie in two
tables: which pixel comes before each, and how far behind it is. Then many channels are turned (``_lanes.py``): the four
pixels around a position are four rows of lanes. Few channels are read where they are. One function does both, compiled
twice: it is told how far apart pixels and channels lie. Sums have the definition's order, whichever thread makes them.
"""

import numpy as np
from numba import int32, njit, uint32
from numba import uint64 as u64

from tinyconv_kernels.cpu._lanes import LANES, turn, turn_back
from tinyconv_kernels.cpu._share import share, threads_for
from tinyconv_kernels.geometry import ZEROS, source_position

_FEW = 12  # fewer channels are not worth turning
_BLOCK = 64  # positions whose outputs wait in lanes, in the first-level cache
_ACROSS, _DOWN, _SLOPE = 0, 1, 2  # rows of the tables; across and down are a grid's last axis, too

_source = njit(cache=True, error_model="numpy", forceinline=True)(source_position)


# ----------------------------------------------------------------------------------------------------------- positions
@njit(cache=True, error_model="numpy", forceinline=True)
def _find_axis(positions, axis, size, padding, align_corners, lows, parts):
    real = positions.dtype.type
    for p in range(lows.shape[1]):
        at, slope = _source(positions[u64(2 * p + axis)], real(size), real(1), padding, align_corners)
        low = int32(real(-2) if at != at else at)
        low = int32(low - int32(at < real(low)))
        lows[axis, p], parts[axis, p], parts[_SLOPE + axis, p] = low, at - real(low), slope


@njit(cache=True, error_model="numpy")
def _find(grid, size, padding, align_corners, lows, parts):
    """Write the tables of an image's positions (OH, OW, 2) in an image of this size, across and down.

    lows is the pixel before a position (none: -2, or the last), parts its distance behind it, and from row _SLOPE on
    the derivative of the position. A NaN position has a NaN part and no pixels.
    """
    positions = grid.reshape(-1)
    for axis in (_ACROSS, _DOWN):
        if padding == ZEROS:  # compiled once for this alone: without a branch, in vectors
            _find_axis(positions, axis, size[1 - axis], ZEROS, align_corners, lows, parts)
        else:
            _find_axis(positions, axis, size[1 - axis], padding, align_corners, lows, parts)


@njit(cache=True, forceinline=True)
def _tables(count, real):
    return np.empty((2, count), np.int32), np.empty((4, count), real)


@njit(cache=True, error_model="numpy", forceinline=True)
def _look_up(tables, p):
    """Return (top, left, distance below top, distance right of left, 0 or NaN where the position is NaN)."""
    lows, parts = tables
    down, across = parts[_DOWN, p], parts[_ACROSS, p]
    return lows[_DOWN, p], lows[_ACROSS, p], down, across, (down - down) + (across - across)


@njit(cache=True, error_model="numpy", forceinline=True)
def _inside(top, left, size):
    """Whether all four pixels around a position exist."""
    return (uint32(top) < uint32(size[0] - 1)) & (uint32(left) < uint32(size[1] - 1))


@njit(cache=True, error_model="numpy", forceinline=True)
def _pixel(e, top, left, size):
    """Return the index of pixel e of the four around a position, row by row; -1 outside the image."""
    h, w = top + e // 2, left + e % 2
    return h * size[1] + w if 0 <= h < size[0] and 0 <= w < size[1] else -1


@njit(cache=True, error_model="numpy", forceinline=True)
def _weights(down, across, one):
    return (one - down) * (one - across), (one - down) * across, down * (one - across), down * across


# ------------------------------------------------------------------------------------------------------------ bilinear
@njit(cache=True, error_model="numpy", forceinline=True)
def _mix(tables, first, count, size, channels, x, x_at, pixel, channel, y, y_at, y_pixel, y_channel):
    """Mix ``count`` positions of all channels. ``pixel`` and ``channel`` are how far apart they lie in x, y_* in y."""
    one, below = x.dtype.type(1), u64(size[1] * pixel)
    for q in range(count):
        top, left, down, across, nothing = _look_up(tables, first + q)
        to, weights = u64(y_at + q * y_pixel), _weights(down, across, one)
        if _inside(top, left, size):
            at = u64(x_at + (top * size[1] + left) * pixel)
            a, b, c, d = weights
            for k in range(u64(channels)):
                i = u64(at + k * u64(channel))
                j = u64(i + below)
                upper = a * x[i] + b * x[i + u64(pixel)]
                y[to + k * u64(y_channel)] = upper + c * x[j] + d * x[j + u64(pixel)]
            continue
        for k in range(u64(channels)):
            y[to + k * u64(y_channel)] = nothing
        for e in range(4):
            at = _pixel(e, top, left, size)
            if at >= 0:
                for k in range(u64(channels)):
                    y[to + k * u64(y_channel)] += weights[e] * x[u64(x_at + at * pixel) + k * u64(channel)]


def grid_sample_bilinear_forward(x, grid, y, padding, align_corners):
    """One thread owns some channels of one image. Writes y."""
    tasks, rule = _tasks(x), (int(padding), bool(align_corners))
    share(threads_for(x.size + 2 * y.size), _bilinear_forward, tasks, x, grid, y, *rule)


def _tasks(x):
    return x.shape[0] * (-(-x.shape[1] // LANES) if x.shape[1] >= _FEW else 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _bilinear_forward(first, last, x, grid, y, padding, align_corners):
    C, size, outputs = x.shape[1], x.shape[2:], y.shape[2] * y.shape[3]
    pixels, found, tables = size[0] * size[1], -1, _tables(outputs, x.dtype)
    x, y = x.reshape(-1), y.reshape(-1)
    groups = -(-C // LANES) if C >= _FEW else 1
    rows, block = np.zeros(pixels * LANES if C >= _FEW else 0, x.dtype), np.empty(_BLOCK * LANES, x.dtype)
    for task in range(first, last):
        n, c = task // groups, task % groups * LANES
        if n != found:
            _find(grid[n], size, padding, align_corners, *tables)
            found = n
        at, to = (n * C + c) * pixels, (n * C + c) * outputs
        if C < _FEW:
            _mix(tables, 0, outputs, size, C, x, at, 1, pixels, y, to, 1, outputs)
            continue
        lanes = min(LANES, C - c)
        turn(x, at, pixels, pixels, lanes, rows)
        for p in range(0, outputs, _BLOCK):
            count = min(_BLOCK, outputs - p)
            _mix(tables, p, count, size, LANES, rows, 0, LANES, 1, block, 0, LANES, 1)
            turn_back(block, count, lanes, y, to + p, outputs)


@njit(cache=True, error_model="numpy", forceinline=True)
def _spread(tables, first, count, size, channels, dy, dy_at, dy_pixel, dy_channel, dx, dx_at, pixel, channel):
    """Add to dx what ``count`` positions of all channels were mixed of: :func:`_mix`, transposed."""
    one, below = dy.dtype.type(1), u64(size[1] * pixel)
    for q in range(count):
        top, left, down, across, _ = _look_up(tables, first + q)
        source, weights = u64(dy_at + q * dy_pixel), _weights(down, across, one)
        if _inside(top, left, size):
            at = u64(dx_at + (top * size[1] + left) * pixel)
            a, b, c, d = weights
            for k in range(u64(channels)):
                g, i = dy[source + k * u64(dy_channel)], u64(at + k * u64(channel))
                j = u64(i + below)
                dx[i] += a * g
                dx[i + u64(pixel)] += b * g
                dx[j] += c * g
                dx[j + u64(pixel)] += d * g
            continue
        for e in range(4):
            at = _pixel(e, top, left, size)
            if at >= 0:
                for k in range(u64(channels)):
                    dx[u64(dx_at + at * pixel) + k * u64(channel)] += weights[e] * dy[source + k * u64(dy_channel)]


def grid_sample_bilinear_backward_input(dy, grid, dx, padding, align_corners):
    """One thread owns some channels of one image. Writes dx: what each output read goes back with the same weight."""
    tasks, rule = _tasks(dx), (int(padding), bool(align_corners))
    share(threads_for(dx.size + 2 * dy.size), _bilinear_backward_input, tasks, dy, grid, dx, *rule)


@njit(cache=True, nogil=True, error_model="numpy")
def _bilinear_backward_input(first, last, dy, grid, dx, padding, align_corners):
    C, size, outputs = dx.shape[1], dx.shape[2:], dy.shape[2] * dy.shape[3]
    pixels, found, tables = size[0] * size[1], -1, _tables(outputs, dx.dtype)
    dx, dy = dx.reshape(-1), dy.reshape(-1)
    groups = -(-C // LANES) if C >= _FEW else 1
    rows, block = np.empty(pixels * LANES if C >= _FEW else 0, dx.dtype), np.zeros(_BLOCK * LANES, dx.dtype)
    for task in range(first, last):
        n, c = task // groups, task % groups * LANES
        if n != found:
            _find(grid[n], size, padding, align_corners, *tables)
            found = n
        at, to = (n * C + c) * outputs, (n * C + c) * pixels
        if C < _FEW:
            dx[to : to + C * pixels] = 0
            _spread(tables, 0, outputs, size, C, dy, at, 1, outputs, dx, to, 1, pixels)
            continue
        lanes = min(LANES, C - c)
        rows[:] = 0
        for p in range(0, outputs, _BLOCK):
            count = min(_BLOCK, outputs - p)
            turn(dy, at + p, outputs, count, lanes, block)
            _spread(tables, p, count, size, LANES, block, 0, LANES, 1, rows, 0, LANES, 1)
        turn_back(rows, pixels, lanes, dx, to, pixels)


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "nsz"}, forceinline=True)
def _differences(dy, dy_at, dy_channel, x, upper, lower, pixel, channel, channels, down, across):
    """Sums over the channels of an output's gradient times what its value gains across and down."""
    one, dw, dh = dy.dtype.type(1), dy.dtype.type(0), dy.dtype.type(0)
    for k in range(u64(channels)):
        g, i, j = dy[dy_at + k * u64(dy_channel)], u64(upper + k * u64(channel)), u64(lower + k * u64(channel))
        a, b, c, d = x[i], x[i + u64(pixel)], x[j], x[j + u64(pixel)]
        dw += g * ((one - down) * (b - a) + down * (d - c))
        dh += g * ((one - across) * (c - a) + across * (d - b))
    return dw, dh


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "nsz"}, forceinline=True)
def _seen(dy, dy_at, dy_channel, x, x_at, channel, channels):
    """Sum over the channels of an output's gradient times a pixel."""
    total = dy.dtype.type(0)
    for k in range(u64(channels)):
        total += dy[dy_at + k * u64(dy_channel)] * x[x_at + k * u64(channel)]
    return total


@njit(cache=True, error_model="numpy", forceinline=True)
def _move(tables, first, count, size, channels, dy, dy_at, dy_pixel, dy_channel, x, x_at, pixel, channel, dgrid, add):
    """Write, or add, the gradients of ``count`` positions of an image over some channels."""
    one, below, slopes = dgrid.dtype.type(1), u64(size[1] * pixel), tables[1][_SLOPE:]
    for q in range(count):
        p = first + q
        top, left, down, across, nothing = _look_up(tables, p)
        source, dw, dh = u64(dy_at + q * dy_pixel), nothing, nothing
        if _inside(top, left, size):
            at = u64(x_at + (top * size[1] + left) * pixel)
            dw, dh = _differences(
                dy, source, dy_channel, x, at, u64(at + below), pixel, channel, channels, down, across
            )  # fmt: skip
        else:
            for e in range(4):
                at = _pixel(e, top, left, size)
                if at >= 0:
                    seen = _seen(dy, source, dy_channel, x, u64(x_at + at * pixel), channel, channels)
                    dw += (down if e // 2 else one - down) * (seen if e % 2 else -seen)
                    dh += (across if e % 2 else one - across) * (seen if e // 2 else -seen)
        dw, dh = dw * slopes[_ACROSS, p], dh * slopes[_DOWN, p]
        if add:
            dw, dh = dw + dgrid[2 * p], dh + dgrid[2 * p + 1]
        dgrid[2 * p], dgrid[2 * p + 1] = dw, dh


def grid_sample_bilinear_backward_grid(dy, x, grid, dgrid, padding, align_corners):
    """One thread owns one image, of which it adds one group of channels after the other. Writes dgrid."""
    work, rule = 2 * x.size + dy.size, (int(padding), bool(align_corners))
    share(threads_for(work), _bilinear_backward_grid, x.shape[0], dy, x, grid, dgrid, *rule)


@njit(cache=True, nogil=True, error_model="numpy")
def _bilinear_backward_grid(first, last, dy, x, grid, dgrid, padding, align_corners):
    C, size, outputs = x.shape[1], x.shape[2:], dy.shape[2] * dy.shape[3]
    pixels, tables = size[0] * size[1], _tables(outputs, x.dtype)
    dy, x = dy.reshape(-1), x.reshape(-1)
    rows, block = np.zeros(pixels * LANES if C >= _FEW else 0, x.dtype), np.zeros(_BLOCK * LANES, x.dtype)
    for n in range(first, last):
        _find(grid[n], size, padding, align_corners, *tables)
        out, to, at = dgrid[n].reshape(-1), n * C * pixels, n * C * outputs
        if C < _FEW:
            _move(tables, 0, outputs, size, C, dy, at, 1, outputs, x, to, 1, pixels, out, False)
            continue
        for c in range(0, C, LANES):
            lanes = min(LANES, C - c)
            rows[:], block[:] = 0, 0  # what missing channels count
            turn(x, to + c * pixels, pixels, pixels, lanes, rows)
            for p in range(0, outputs, _BLOCK):
                count = min(_BLOCK, outputs - p)
                turn(dy, at + c * outputs + p, outputs, count, lanes, block)
                _move(tables, p, count, size, LANES, block, 0, LANES, 1, rows, 0, LANES, 1, out, c > 0)


# ------------------------------------------------------------------------------------------------------------- nearest
@njit(cache=True, error_model="numpy", forceinline=True)
def _nearest(tables, p, size):
    """Return the index of the pixel nearest to a position, halves to the even one; -1: none, -2: a NaN position."""
    top, left, down, across, nothing = _look_up(tables, p)
    h = top + int32((down > 0.5) | ((down == 0.5) & (top % 2 != 0)))
    w = left + int32((across > 0.5) | ((across == 0.5) & (left % 2 != 0)))
    if nothing != nothing:
        return -2
    return h * size[1] + w if 0 <= h < size[0] and 0 <= w < size[1] else -1


def grid_sample_nearest_forward(x, grid, y, padding, align_corners):
    """One thread owns one image. Writes y."""
    rule = int(padding), bool(align_corners)
    share(threads_for(2 * y.size), _nearest_forward, x.shape[0], x, grid, y, *rule)


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest_forward(first, last, x, grid, y, padding, align_corners):
    C, size, outputs = x.shape[1], x.shape[2:], y.shape[2] * y.shape[3]
    tables, pixels, real = _tables(outputs, x.dtype), np.empty(outputs, np.int64), x.dtype.type
    for n in range(first, last):
        _find(grid[n], size, padding, align_corners, *tables)
        for p in range(outputs):
            pixels[p] = _nearest(tables, p, size)
        for c in range(C):
            source, out = x[n, c].reshape(-1), y[n, c].reshape(-1)
            for p in range(outputs):
                at = pixels[p]
                out[p] = source[at] if at >= 0 else real(0) if at == -1 else real(np.nan)


def grid_sample_nearest_backward_input(dy, grid, dx, padding, align_corners):
    """One thread owns one image. Writes dx: the sum over each pixel's copies."""
    rule = int(padding), bool(align_corners)
    share(threads_for(dx.size + dy.size), _nearest_backward_input, dx.shape[0], dy, grid, dx, *rule)


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest_backward_input(first, last, dy, grid, dx, padding, align_corners):
    C, size, outputs = dx.shape[1], dx.shape[2:], dy.shape[2] * dy.shape[3]
    tables, pixels = _tables(outputs, dx.dtype), np.empty(outputs, np.int64)
    for n in range(first, last):
        _find(grid[n], size, padding, align_corners, *tables)
        for p in range(outputs):
            pixels[p] = _nearest(tables, p, size)
        dx[n] = 0
        for c in range(C):
            source, out = dy[n, c].reshape(-1), dx[n, c].reshape(-1)
            for p in range(outputs):
                if pixels[p] >= 0:
                    out[pixels[p]] += source[p]
