"""Warps of an image, given where each pixel of the new image looks in the old one. See :func:`warp`.

Positions are normalised: -1 and 1 are the centres of the first and the last pixel of an axis (``align_corners=True``),
x to the right, y down.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from tinyconv.functional.grids import control_points, spline_matrix
from tinyconv_kernels.cpu import sampler
from tinyconv_kernels.geometry import ZEROS

_HORIZON = 1e-9  # less distance from the line that a projective map brings to infinity is none
#: The corners of an image, upper left, upper right, lower left, lower right.
SQUARE = np.array([[-1.0, -1], [1, -1], [-1, 1], [1, 1]])
_ROUND = (0, 1, 3, 2)  # its corners one after the other around
_EQUATIONS = np.zeros((4, 2, 8))  # x, y, 1 of the square's corners, for their new x and their new y
_EQUATIONS[:, 0, :2] = _EQUATIONS[:, 1, 3:5] = SQUARE
_EQUATIONS[:, 0, 2] = _EQUATIONS[:, 1, 5] = 1


def warp(image: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the image (1, 1, h, w) sampled bilinearly at the positions grid (1, H, W, 2): (1, H, W), 0 outside.

    A pixel is an average of four neighbours, however far apart two positions are: an image that is made more than
    twice smaller would lose lines (beyond, make it smaller first).
    """
    result = np.empty((1, 1, *grid.shape[1:3]), np.float32)
    sampler.grid_sample_bilinear_forward(image, grid, result, ZEROS, True)
    return result[0]


@lru_cache(maxsize=16)
def axis(size: int) -> np.ndarray:
    """Return the positions of the pixels of an axis, (size,), float64."""
    return np.linspace(-1, 1, size)


def turn(angle: float, scale: float) -> tuple[float, float, float, float]:
    """Return the matrix, row by row, that turns by an angle in degrees and makes larger.

    Counter-clockwise as seen on the screen: y grows downwards, so 90 degrees bring (1, 0), right, to (0, -1), up.
    """
    cosine, sine = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    return cosine, sine, -sine, cosine


def affine_positions(theta: np.ndarray, size: int) -> np.ndarray:
    """Return the grid (1, size, size, 2) of the warp that ``theta`` (2, 3) undoes: theta maps old positions to new."""
    (a, b, x0), (c, d, y0) = theta.tolist()
    whole = a * d - b * c
    a, b, c, d = d / whole, -b / whole, -c / whole, a / whole  # the inverse
    x, y = axis(size) - x0, axis(size)[:, None] - y0
    grid = np.empty((1, size, size, 2), np.float32)
    np.add(a * x, b * y, out=grid[0, :, :, 0], casting="same_kind")
    np.add(c * x, d * y, out=grid[0, :, :, 1], casting="same_kind")
    return grid


def is_open(corners: np.ndarray, least: float) -> bool:
    """Return whether a rectangle whose corners were moved to ``corners`` (4, 2), row by row, is far from folded.

    Each corner spans a parallelogram with its two sides. Its area must be more than ``least``, and no corner may have
    changed its sense of rotation.
    """
    around = [corners[k].tolist() for k in _ROUND]
    areas = []
    for k in range(4):
        (x0, y0), (x1, y1), (x2, y2) = around[k - 2], around[k - 1], around[k]
        areas.append((x1 - x0) * (y2 - y1) - (y1 - y0) * (x2 - x1))
    return min(areas) > least


def homography(corners: np.ndarray) -> np.ndarray:
    """Return the matrix (3, 3) of the projective map that brings the square's corners to ``corners`` (4, 2).

    Row by row; the square's are (-1, -1), (1, -1), (-1, 1), (1, 1). Eight linear equations, which have one solution if
    the corners are convex. The last entry is 1.

    (x, y) goes to ((m00 x + m01 y + m02) / w, (m10 x + m11 y + m12) / w) with w = m20 x + m21 y + 1.
    """
    equations = _EQUATIONS.copy()
    equations[:, :, 6:] = corners[:, :, None] * SQUARE[:, None]
    found = np.linalg.solve(equations.reshape(8, 8), corners.reshape(8)).tolist()
    return np.array([found[:3], found[3:6], [-found[6], -found[7], 1.0]])


def projective_positions(corners: np.ndarray, size: int) -> np.ndarray:
    """Return the grid (1, size, size, 2) of the projective warp that brings the old image's corners to ``corners``."""
    (a, b, c), (d, e, f), (g, h, i) = np.linalg.inv(homography(corners)).tolist()
    x, y = axis(size), axis(size)[:, None]
    grid = np.empty((1, size, size, 2), np.float32)
    depth = g * x + (h * y + i)
    depth[abs(depth) < _HORIZON] = _HORIZON  # it lies outside of the old image, and so does what looks there
    np.divide(a * x + (b * y + c), depth, out=grid[0, :, :, 0], casting="same_kind")
    np.divide(d * x + (e * y + f), depth, out=grid[0, :, :, 1], casting="same_kind")
    return grid


def elastic_positions(looks: np.ndarray, size: int) -> np.ndarray:
    """Return the grid (1, size, size, 2) of the thin plate spline through ``looks`` (16, 2).

    Where the 4 x 4 regular points of the new image, row by row, look in the old one; between them the spline bends as
    little as it can (see :func:`~tinyconv.functional.thin_plate_spline_grid`).
    """
    matrix = spline_matrix(control_points(4).tobytes(), (size, size), True, np.dtype(np.float64))
    positions = matrix @ looks
    return positions.astype(np.float32).reshape(1, size, size, 2)
