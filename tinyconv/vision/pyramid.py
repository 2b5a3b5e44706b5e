"""Laplacian pyramids: an image as a small one and the details lost on the way to it. See :func:`laplacian_pyramid`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def down(images: np.ndarray) -> np.ndarray:
    """Return images (N, C, H, W) at half the size, each pixel the mean of 2 x 2.

    Examples
    --------
    >>> down(np.array([[[[1.0, 2, 0, 4], [3, 6, 8, 0]]]])).tolist()
    [[[[3.0, 3.0]]]]
    """
    images = _checked("down", images)
    if images.shape[2] % 2 or images.shape[3] % 2:
        raise ValueError(f"down: images must have even sides, got {_size(images)} pixels; pad or crop them")
    rows = images[:, :, ::2] + images[:, :, 1::2]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def up(images: np.ndarray) -> np.ndarray:
    """Return images (N, C, H, W) at twice the size, bilinear: edges stay where they are, nothing lies beyond them.

    The new pixels 2 i and 2 i + 1 are 3/4 of pixel i and 1/4 of its neighbour on that side, or pixel i where it has
    none; along both axes. It is ``interpolate(x, scale_factor=2, mode="bilinear")`` on arrays.

    Examples
    --------
    >>> up(np.array([[[[0.0, 4]]]]))[0, 0].tolist()
    [[0.0, 1.0, 3.0, 4.0], [0.0, 1.0, 3.0, 4.0]]
    """
    images = _checked("up", images)
    return np.swapaxes(_doubled(np.swapaxes(_doubled(images), 2, 3)), 2, 3)


def _doubled(images: np.ndarray) -> np.ndarray:
    """Double the number of columns."""
    padded = np.pad(images, [(0, 0)] * 3 + [(1, 1)], "edge")
    out = np.empty((*images.shape[:3], 2 * images.shape[3]), images.dtype)
    out[..., ::2] = (3 * images + padded[..., :-2]) / 4
    out[..., 1::2] = (3 * images + padded[..., 2:]) / 4
    return out


def laplacian_pyramid(images: np.ndarray, levels: int) -> list[np.ndarray]:
    """Split images into details of each size and one small image (Burt & Adelson 1983; Denton et al. 2015, sec. 2.2).

    I_0 is the image, I_k = down(I_{k-1}), h_k = I_k - up(I_{k+1}): of an even surface nothing is left in h.

    Parameters
    ----------
    images : array, (N, C, H, W), float32 or float64
        H and W multiples of 2^levels.
    levels : int
        How often the image is halved, at least once.

    Returns
    -------
    list of levels + 1 arrays
        h_0 (N, C, H, W), h_1 (N, C, H / 2, W / 2), ..., and I_levels (N, C, H / 2^levels, W / 2^levels).

    Raises
    ------
    ValueError
        A side is no multiple of 2^levels, levels is below 1, or images has another shape or dtype.
    """
    op = "laplacian_pyramid"
    images = _checked(op, images)
    if isinstance(levels, bool) or not isinstance(levels, (int, np.integer)) or levels < 1:
        raise ValueError(f"{op}: levels must be an int of at least 1, got {levels!r}")
    if images.shape[2] % 2**levels or images.shape[3] % 2**levels:
        raise ValueError(
            f"{op}: sides must be multiples of 2^levels = {2**levels}, got {_size(images)} pixels; "
            "use fewer levels, or pad or crop the images"
        )
    pyramid = []
    for _ in range(levels):
        smaller = down(images)
        pyramid.append(images - up(smaller))
        images = smaller
    return [*pyramid, images]


def collapse(pyramid: Sequence[np.ndarray]) -> np.ndarray:
    """Return the images of a pyramid: I_k = up(I_{k+1}) + h_k, from the smallest to the largest.

    Parameters
    ----------
    pyramid : sequence of arrays
        As :func:`laplacian_pyramid` returns it: details, finest first, then the small images.

    Returns
    -------
    array, (N, C, H, W)
        What went into :func:`laplacian_pyramid`, but for rounding.

    Raises
    ------
    ValueError
        There is no array, or one is not half as large as the one before.
    """
    levels = [_checked("collapse", level) for level in pyramid]
    if not levels:
        raise ValueError("collapse: pyramid must have at least one array, got none")
    for finer, coarser in zip(levels, levels[1:], strict=False):
        if finer.shape != (*coarser.shape[:2], 2 * coarser.shape[2], 2 * coarser.shape[3]):
            raise ValueError(
                "collapse: each array of the pyramid must be twice as high and wide as the next, "
                f"got {finer.shape} before {coarser.shape}"
            )
    images = levels[-1]
    for details in levels[-2::-1]:
        images = up(images) + details
    return images


def _checked(who: str, images: Any) -> np.ndarray:
    """Return floating images (N, C, H, W) with at least one pixel, or raise."""
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype.kind != "f" or 0 in images.shape[1:]:
        raise ValueError(
            f"{who}: images must be floating (N, C, H, W) with at least one pixel, "
            f"got {images.dtype} of shape {images.shape}"
        )
    return images


def _size(images: np.ndarray) -> str:
    return f"{images.shape[2]} x {images.shape[3]}"
