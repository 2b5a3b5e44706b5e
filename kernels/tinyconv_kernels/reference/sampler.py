"""Sampling images at the positions of a grid, defined: loops over the outputs, all channels of an image at once.

Source: Jaderberg et al. 2015, sec. 3.3, eq. 5 to 7, in the form with floor: at a whole position, where the kernel has a
kink, the gradient is the derivative to the right. A position is (x, y) in coordinates that have -1 and 1 at the ends.
"""

import math

import numpy as np

from tinyconv_kernels.geometry import BORDER, REFLECTION

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


def _held(at, slope, size):
    """A position and its derivative, held between the centres of the first and the last pixel, where it rests."""
    zero = slope - slope
    return (zero, zero) if at <= 0 else (zero + size - 1, zero) if at >= size - 1 else (at, slope)


def _reflected(at, slope, size, align_corners):
    """A position and its derivative, reflected at the ends' centres or edges until it lies between them."""
    low, span = (0, size - 1) if align_corners else (-0.5, size)
    if not math.isfinite(at):
        return at - at, slope
    if span == 0:
        return at - at, slope - slope
    low, offset = type(at)(low), at - type(at)(low)
    beyond = np.fmod(abs(offset), type(at)(2 * span))
    turned = (offset < 0) != (beyond > span)
    return low + min(beyond, type(at)(2 * span) - beyond), -slope if turned else slope


def _position(coordinate, size, padding, align_corners):
    """Where a coordinate lies, in pixels (the first one's centre is 0), and the derivative of that: 0 where it is held.

    -1 and 1 are the centres of the end pixels (``align_corners``) or their outer edges.
    """
    real = type(coordinate)
    if align_corners:
        slope = real(size - 1) / real(2)
        at = (coordinate + real(1)) * slope if size > 1 or np.isnan(coordinate) else real(0)
    else:
        slope = real(size) / real(2)
        at = (coordinate + real(1)) * slope - real(0.5)
    if padding == REFLECTION:
        at, slope = _reflected(at, slope, size, align_corners)
    return _held(at, slope, size) if padding in (BORDER, REFLECTION) else (at, slope)


def _neighbours(position, size):
    """Pixels before and behind a position: (index, weight, derivative of the weight); those outside do not count."""
    at, slope = position
    if not -1 <= at < size:
        return []
    low = math.floor(at)
    ahead = at - type(at)(low)
    both = (low, type(at)(1) - ahead, -slope), (low + 1, ahead, slope)
    return [neighbour for neighbour in both if 0 <= neighbour[0] < size]


def _samples(grid, size, padding, align_corners):
    """For each output yield (n, oh, ow) and its positions down and across; None for both where one of them is NaN."""
    for at in np.ndindex(*grid.shape[:3]):
        across, down = (_position(grid[at][a], size[1 - a], padding, align_corners) for a in (0, 1))
        yield at, *((None, None) if np.isnan(down[0]) or np.isnan(across[0]) else (down, across))


@_quiet
def grid_sample_bilinear_forward(x, grid, y, padding, align_corners):
    """One output mixes the four pixels around its position. Writes y; a NaN in the position makes it NaN."""
    H, W = x.shape[2:]
    y[...] = 0
    for (n, i, j), down, across in _samples(grid, (H, W), padding, align_corners):
        if down is None:
            y[n, :, i, j] = np.nan
            continue
        for h, a, _ in _neighbours(down, H):
            for w, b, _ in _neighbours(across, W):
                y[n, :, i, j] += a * b * x[n, :, h, w]


@_quiet
def grid_sample_bilinear_backward_input(dy, grid, dx, padding, align_corners):
    """One output's gradient goes to the pixels that it was mixed of, with their weights. Writes dx: all of it ADDS."""
    H, W = dx.shape[2:]
    dx[...] = 0
    for (n, i, j), down, across in _samples(grid, (H, W), padding, align_corners):
        if down is None:
            continue
        for h, a, _ in _neighbours(down, H):
            for w, b, _ in _neighbours(across, W):
                dx[n, :, h, w] += a * b * dy[n, :, i, j]


@_quiet
def grid_sample_bilinear_backward_grid(dy, x, grid, dgrid, padding, align_corners):
    """One position's gradient is that of its weights, over all channels. Writes dgrid; NaN where it is NaN."""
    H, W = x.shape[2:]
    dgrid[...] = 0
    for (n, i, j), down, across in _samples(grid, (H, W), padding, align_corners):
        if down is None:
            dgrid[n, i, j] = np.nan
            continue
        for h, a, da in _neighbours(down, H):
            for w, b, db in _neighbours(across, W):
                seen = (dy[n, :, i, j] * x[n, :, h, w]).sum()
                dgrid[n, i, j, 0] += a * db * seen
                dgrid[n, i, j, 1] += da * b * seen


def _nearest(position, size):
    """The pixel nearest to a position, halves to the even one; -1 if there is none."""
    at = position[0]
    return int(np.rint(at)) if -0.5 <= at and np.rint(at) < size else -1


@_quiet
def grid_sample_nearest_forward(x, grid, y, padding, align_corners):
    """One output copies the pixel nearest to its position. Writes y: 0 where there is none, NaN at a NaN."""
    H, W = x.shape[2:]
    for (n, i, j), down, across in _samples(grid, (H, W), padding, align_corners):
        if down is None:
            y[n, :, i, j] = np.nan
            continue
        h, w = _nearest(down, H), _nearest(across, W)
        y[n, :, i, j] = x[n, :, h, w] if min(h, w) >= 0 else 0


@_quiet
def grid_sample_nearest_backward_input(dy, grid, dx, padding, align_corners):
    """One output's gradient goes to the pixel that it copied. Writes dx: all of it ADDS."""
    H, W = dx.shape[2:]
    dx[...] = 0
    for (n, i, j), down, across in _samples(grid, (H, W), padding, align_corners):
        if down is not None and min(h := _nearest(down, H), w := _nearest(across, W)) >= 0:
            dx[n, :, h, w] += dy[n, :, i, j]
