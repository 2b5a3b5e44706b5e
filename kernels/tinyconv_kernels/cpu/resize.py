"""Resizing kernels; definition: ``reference/resize.py``. One thread owns whole (n, c) planes: sums keep their order."""

import numpy as np
from numba import njit

from tinyconv_kernels.cpu._share import share, threads_for
from tinyconv_kernels.geometry import linear_positions, nearest_positions


def _planes(a):
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2], a.shape[3])


def _linear(out_size, size, *rule):
    """Return the two neighbouring source positions of every output and the weight of the second."""
    low, weight = linear_positions(out_size, size, *rule)
    return low, np.minimum(low + 1, size - 1), weight


def interpolate_nearest_forward(x, y, scale):
    """One thread owns one plane. Writes y."""
    rows, columns = [nearest_positions(y.shape[i], x.shape[i], scale[i - 2]) for i in (2, 3)]
    share(threads_for(y.size), _nearest_forward, y.shape[0] * y.shape[1], _planes(x), _planes(y), rows, columns)


@njit(cache=True, nogil=True)
def _nearest_forward(first, last, x, y, rows, columns):
    for p in range(first, last):
        for oh in range(rows.size):
            source, out = x[p, rows[oh]], y[p, oh]
            for ow in range(columns.size):
                out[ow] = source[columns[ow]]


def interpolate_nearest_backward(dy, dx, scale):
    """One thread owns one plane. Writes dx: the sum over each pixel's copies."""
    rows, columns = [nearest_positions(dy.shape[i], dx.shape[i], scale[i - 2]) for i in (2, 3)]
    share(threads_for(dy.size), _nearest_backward, dy.shape[0] * dy.shape[1], _planes(dy), _planes(dx), rows, columns)


@njit(cache=True, nogil=True)
def _nearest_backward(first, last, dy, dx, rows, columns):
    for p in range(first, last):
        dx[p] = 0
        for oh in range(rows.size):
            source, out = dy[p, oh], dx[p, rows[oh]]
            for ow in range(columns.size):
                out[columns[ow]] += source[ow]


def interpolate_bilinear_forward(x, y, align_corners, scale):
    """One thread owns one plane. Writes y."""
    rows = _linear(y.shape[2], x.shape[2], align_corners, scale[0], x.dtype)
    columns = _linear(y.shape[3], x.shape[3], align_corners, scale[1], x.dtype)
    share(threads_for(y.size), _bilinear_forward, y.shape[0] * y.shape[1], _planes(x), _planes(y), rows, columns)


@njit(cache=True, nogil=True)
def _bilinear_forward(first, last, x, y, rows, columns):
    tops, bottoms, downs = rows
    lefts, rights, acrosses = columns
    one = x.dtype.type(1)
    for p in range(first, last):
        for oh in range(tops.size):
            upper, lower, down, out = x[p, tops[oh]], x[p, bottoms[oh]], downs[oh], y[p, oh]
            for ow in range(lefts.size):
                left, right, across = lefts[ow], rights[ow], acrosses[ow]
                above = (one - across) * upper[left] + across * upper[right]
                below = (one - across) * lower[left] + across * lower[right]
                out[ow] = (one - down) * above + down * below


def interpolate_bilinear_backward(dy, dx, align_corners, scale):
    """One thread owns one plane. Writes dx: what each output read goes back with the same weight."""
    rows = _linear(dy.shape[2], dx.shape[2], align_corners, scale[0], dx.dtype)
    columns = _linear(dy.shape[3], dx.shape[3], align_corners, scale[1], dx.dtype)
    share(threads_for(dy.size), _bilinear_backward, dy.shape[0] * dy.shape[1], _planes(dy), _planes(dx), rows, columns)


@njit(cache=True, nogil=True)
def _bilinear_backward(first, last, dy, dx, rows, columns):
    tops, bottoms, downs = rows
    lefts, rights, acrosses = columns
    one = dy.dtype.type(1)
    for p in range(first, last):
        dx[p] = 0
        for oh in range(tops.size):
            upper, lower, down, source = dx[p, tops[oh]], dx[p, bottoms[oh]], downs[oh], dy[p, oh]
            for ow in range(lefts.size):
                left, right, across = lefts[ow], rights[ow], acrosses[ow]
                above, below = (one - down) * source[ow], down * source[ow]
                upper[left] += (one - across) * above
                upper[right] += across * above
                lower[left] += (one - across) * below
                lower[right] += across * below
