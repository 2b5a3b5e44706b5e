"""What a spatial transformer looks at: outlines, angles and places out of its grids. See :func:`outline`.

Grids are (N, OH, OW, 2), x first, in [-1, 1] from the centre of the first pixel to that of the last; y grows downwards.
``attended(images)`` of the models in :mod:`tinyconv.models.st_networks` gives one for each transformer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import device
from tinyconv.tensor import Tensor


def outline(grid: Any) -> np.ndarray:
    """Return the border of what each image's output shows, as a closed line in the input.

    Parameters
    ----------
    grid : array or Tensor, (N, OH, OW, 2)

    Returns
    -------
    array, (N, P, 2)
        Clockwise in the output from its upper left corner and back to it: a turned or mirrored output shows.
    """
    found = _grid("outline", grid)
    top, right = found[:, 0, :], found[:, 1:, -1]
    bottom, left = found[:, -1, -2::-1], found[:, -2:0:-1, 0]
    return np.concatenate([top, right, bottom, left, found[:, :1, 0]], axis=1)


def centre(grid: Any) -> np.ndarray:
    """Return the mean position (N, 2), x first, of what each image's output shows."""
    return _grid("centre", grid).mean(axis=(1, 2))


def to_pixels(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return positions (..., 2) in [-1, 1] as x, y in pixels of an image (H, W): 0 is the first pixel's centre."""
    height, width = shape
    return (np.asarray(points) + 1) / 2 * np.array([width - 1, height - 1])


def rotation(theta: Any) -> np.ndarray:
    """Return by how many degrees affine maps turn, counter-clockwise on the screen: the angle of their polar part.

    atan2(t12 - t21, t11 + t22); a transformer that says r looks at the input through a frame turned by r, and so what
    it puts out is turned by -r.

    Parameters
    ----------
    theta : array or Tensor, (N, 2, 3) or (N, 6)

    Returns
    -------
    array, (N,)
        In (-180, 180]. Of a map that mirrors (a negative determinant) it says nothing.
    """
    t = _affine("rotation", theta)
    across = t[:, 0, 1] - t[:, 1, 0] + 0.0  # no -0, whose angle would be -180
    return np.degrees(np.arctan2(across, t[:, 0, 0] + t[:, 1, 1]))


def scale(theta: Any) -> np.ndarray:
    """Return the scale (N,) of affine maps (N, 2, 3) or (N, 6), the root of the determinant's size; 1: the identity.

    The share of the input's area that is looked at is its square, for images as high as wide.
    """
    t = _affine("scale", theta)
    return np.sqrt(np.abs(t[:, 0, 0] * t[:, 1, 1] - t[:, 0, 1] * t[:, 1, 0]))


def as_array(value: Any) -> np.ndarray:
    """Return the numbers of a Tensor, wherever it is and whatever graph it has, or of anything like an array."""
    return device.host(value.data) if isinstance(value, Tensor) else np.asarray(value)


def _grid(who: str, grid: Any) -> np.ndarray:
    found = as_array(grid)
    if found.ndim != 4 or found.shape[3] != 2 or 0 in found.shape[1:3]:
        raise ValueError(f"{who}: grid must be (N, OH, OW, 2), got shape {found.shape}")
    return found


def _affine(who: str, theta: Any) -> np.ndarray:
    found = as_array(theta)
    if found.shape[1:] not in ((6,), (2, 3)):
        raise ValueError(f"{who}: theta must be (N, 2, 3) or (N, 6), got shape {found.shape}")
    return found.reshape(-1, 2, 3)
