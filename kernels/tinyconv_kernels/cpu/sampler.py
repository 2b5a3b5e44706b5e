"""Sampling at the positions of a grid; definition: ``reference/sampler.py``. One thread owns whole images."""

import math

import numpy as np
from numba import int64, njit

from tinyconv_kernels.cpu._share import share, threads_for
from tinyconv_kernels.geometry import source_position

_source = njit(nogil=True)(source_position)


@njit(inline="always")
def _floor(at):
    whole = int64(at)
    return whole - 1 if at < whole else whole


def grid_sample_bilinear_forward(x, grid, y, padding, align_corners):
    """One thread owns one image. Writes y."""
    share(threads_for(4 * y.size), _bilinear_forward, y.shape[0], x, grid, y, int(padding), bool(align_corners))


@njit(cache=True, nogil=True)
def _bilinear_forward(first, last, x, grid, y, padding, align_corners):
    C, H, W = x.shape[1:]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for n in range(first, last):
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                across, _ = _source(grid[n, i, j, 0], x.dtype.type(W), one, padding, align_corners)
                down, _ = _source(grid[n, i, j, 1], x.dtype.type(H), one, padding, align_corners)
                if math.isnan(across) or math.isnan(down):
                    y[n, :, i, j] = np.nan
                    continue
                top, left = _floor(down), _floor(across)
                b, a = down - x.dtype.type(top), across - x.dtype.type(left)
                for c in range(C):
                    total = zero
                    for h, q in ((top, one - b), (top + 1, b)):
                        for w, p in ((left, one - a), (left + 1, a)):
                            if 0 <= h < H and 0 <= w < W:
                                total += q * p * x[n, c, h, w]
                    y[n, c, i, j] = total


def grid_sample_bilinear_backward_input(dy, grid, dx, padding, align_corners):
    """One thread owns one image. Writes dx: what each output read goes back with the same weight."""
    share(
        threads_for(4 * dy.size), _bilinear_backward_input, dy.shape[0], dy, grid, dx, int(padding), bool(align_corners)
    )


@njit(cache=True, nogil=True)
def _bilinear_backward_input(first, last, dy, grid, dx, padding, align_corners):
    C, H, W = dx.shape[1:]
    one = dx.dtype.type(1)
    dx[first:last] = 0
    for n in range(first, last):
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                across, _ = _source(grid[n, i, j, 0], dx.dtype.type(W), one, padding, align_corners)
                down, _ = _source(grid[n, i, j, 1], dx.dtype.type(H), one, padding, align_corners)
                if math.isnan(across) or math.isnan(down):
                    continue
                top, left = _floor(down), _floor(across)
                b, a = down - dx.dtype.type(top), across - dx.dtype.type(left)
                for c in range(C):
                    for h, q in ((top, one - b), (top + 1, b)):
                        for w, p in ((left, one - a), (left + 1, a)):
                            if 0 <= h < H and 0 <= w < W:
                                dx[n, c, h, w] += q * p * dy[n, c, i, j]


def grid_sample_bilinear_backward_grid(dy, x, grid, dgrid, padding, align_corners):
    """One thread owns one image. Writes dgrid."""
    share(
        threads_for(4 * dy.size), _bilinear_backward_grid, dy.shape[0],
        dy, x, grid, dgrid, int(padding), bool(align_corners),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _bilinear_backward_grid(first, last, dy, x, grid, dgrid, padding, align_corners):
    C, H, W = x.shape[1:]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for n in range(first, last):
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                across, wide = _source(grid[n, i, j, 0], x.dtype.type(W), one, padding, align_corners)
                down, tall = _source(grid[n, i, j, 1], x.dtype.type(H), one, padding, align_corners)
                if math.isnan(across) or math.isnan(down):
                    dgrid[n, i, j] = np.nan
                    continue
                top, left = _floor(down), _floor(across)
                b, a = down - x.dtype.type(top), across - x.dtype.type(left)
                dx, dy_ = zero, zero
                for c in range(C):
                    for h, q, dq in ((top, one - b, -one), (top + 1, b, one)):
                        for w, p, dp in ((left, one - a, -one), (left + 1, a, one)):
                            if 0 <= h < H and 0 <= w < W:
                                seen = dy[n, c, i, j] * x[n, c, h, w]
                                dx += q * dp * seen
                                dy_ += dq * p * seen
                dgrid[n, i, j, 0], dgrid[n, i, j, 1] = dx * wide, dy_ * tall


@njit(inline="always")
def _nearest(at, size):
    """The pixel nearest to a position, halves to the even one; -1 if there is none."""
    low = _floor(at)
    ahead = at - low
    if ahead > 0.5 or (ahead == 0.5 and low % 2 != 0):
        low += 1
    return low if 0 <= low < size else -1


def grid_sample_nearest_forward(x, grid, y, padding, align_corners):
    """One thread owns one image. Writes y."""
    share(threads_for(2 * y.size), _nearest_forward, y.shape[0], x, grid, y, int(padding), bool(align_corners))


@njit(cache=True, nogil=True)
def _nearest_forward(first, last, x, grid, y, padding, align_corners):
    H, W = x.shape[2:]
    one = x.dtype.type(1)
    for n in range(first, last):
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                across, _ = _source(grid[n, i, j, 0], x.dtype.type(W), one, padding, align_corners)
                down, _ = _source(grid[n, i, j, 1], x.dtype.type(H), one, padding, align_corners)
                if math.isnan(across) or math.isnan(down):
                    y[n, :, i, j] = np.nan
                    continue
                h, w = _nearest(down, H), _nearest(across, W)
                if min(h, w) >= 0:
                    y[n, :, i, j] = x[n, :, h, w]
                else:
                    y[n, :, i, j] = 0


def grid_sample_nearest_backward_input(dy, grid, dx, padding, align_corners):
    """One thread owns one image. Writes dx: the sum over each pixel's copies."""
    share(
        threads_for(2 * dy.size), _nearest_backward_input, dy.shape[0], dy, grid, dx, int(padding), bool(align_corners)
    )


@njit(cache=True, nogil=True)
def _nearest_backward_input(first, last, dy, grid, dx, padding, align_corners):
    H, W = dx.shape[2:]
    one = dx.dtype.type(1)
    dx[first:last] = 0
    for n in range(first, last):
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                across, _ = _source(grid[n, i, j, 0], dx.dtype.type(W), one, padding, align_corners)
                down, _ = _source(grid[n, i, j, 1], dx.dtype.type(H), one, padding, align_corners)
                if math.isnan(across) or math.isnan(down):
                    continue
                h, w = _nearest(down, H), _nearest(across, W)
                if min(h, w) >= 0:
                    for c in range(dx.shape[1]):
                        dx[n, c, h, w] += dy[n, c, i, j]
