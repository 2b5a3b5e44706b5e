"""Warping: any box of an image becomes a square crop with some context around it. See :func:`warp_many`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.vision.boxes import check_boxes


def context_scale(crop: int = 227, padding: int = 16) -> float:
    """Return how many times a box is enlarged so that ``padding`` pixels of context surround it in the crop.

    s = crop / (crop - 2 padding).

    Examples
    --------
    >>> round(context_scale(), 7), context_scale(28, 4)
    (1.1641026, 1.4)
    """
    if padding < 0 or crop <= 2 * padding:
        raise ValueError(f"warp: wanted padding >= 0 and crop > 2 * padding, got padding={padding} and crop={crop}")
    return crop / (crop - 2 * padding)


def context_box(box: np.ndarray, crop: int = 227, padding: int = 16, offset: int = 0) -> np.ndarray:
    """Return the boxes enlarged about their centres: what the crop shows (Girshick et al. 2014, appendix A).

    centre -+ half the size times :func:`context_scale`. Nothing is clipped: what lies outside the image is filled.

    Parameters
    ----------
    box : array, (..., 4)
        x1 y1 x2 y2 in pixels.
    crop, padding : int
        Side of the crop, and its context on every side, in pixels of the crop.
    offset : {0, 1}
        0: the width is x2 - x1, and the result is not rounded. 1: the released code, whose corners are pixels that
        belong to the box (width x2 - x1 + 1) and are rounded, .5 up. It takes x1 + width / 2 for the centre, half a
        pixel too far, so its enlarged box is one pixel wider than meant: 228 instead of 227 for a box of 195.

    Returns
    -------
    array, (..., 4)

    Examples
    --------
    >>> context_box(np.array([101, 101, 295, 295]), offset=1).tolist()
    [85.0, 85.0, 312.0, 312.0]
    >>> context_box(np.array([100, 100, 295, 295])).tolist()  # the same box in the +0 convention, 0-based
    [84.0, 84.0, 311.0, 311.0]
    """
    boxes = check_boxes("context_box", box)
    if offset not in (0, 1):
        raise ValueError(f"context_box: offset must be 0 or 1, got {offset!r}")
    half = (boxes[..., 2:] - boxes[..., :2] + offset) / 2
    centre = boxes[..., :2] + half
    context_scale(crop, padding)  # its checks
    reach = half * crop / (crop - 2 * padding)
    enlarged = np.concatenate([centre - reach, centre + reach], axis=-1)
    return np.floor(enlarged + 0.5) if offset else enlarged


def warp(image: np.ndarray, box: np.ndarray, crop: int = 227, padding: int = 16, fill: Any = None) -> np.ndarray:
    """Return one box of an image (C, H, W) as a square crop (C, crop, crop); see :func:`warp_many`."""
    box = check_boxes("warp", box)
    if box.ndim != 1:
        raise ValueError(f"warp: box must be (4,), got shape {box.shape}; warp_many takes several")
    return warp_many(image, box[None], crop, padding, fill)[0]


def warp_many(image: np.ndarray, boxes: np.ndarray, crop: int = 227, padding: int = 16, fill: Any = None) -> np.ndarray:
    """Return boxes of an image as square crops with context, whatever their shape (anisotropic scaling).

    The enlarged box of :func:`context_box` is resized bilinearly, without averaging where it shrinks, as the released
    code does. (That cuts out the part inside the image first, so that its outermost pixels know nothing of those beside
    the box, and rounds the size and the place that this part has in the crop to whole pixels; here nothing is rounded.)
    Outside the image the crop has the value ``fill``.

    Parameters
    ----------
    image : array, (C, H, W), floating
        Minus its mean, so that ``fill`` 0 is the mean.
    boxes : array, (P, 4)
        x1 y1 x2 y2 in pixels, +0 convention: a pixel's centre is at its index + 0.5.
    crop, padding : int
        Side of the crops, and the context on every side, in pixels of the crop.
    fill : float or sequence of C floats, optional
        By default 0.

    Returns
    -------
    array, (P, C, crop, crop), of the image's dtype

    Raises
    ------
    ValueError
        The image or the boxes have another shape, a box is not finite or has no area, or crop <= 2 * padding.
    """
    image = np.asarray(image)
    if image.ndim != 3:
        raise ValueError(f"warp_many: image must be (C, H, W), got shape {image.shape}")
    boxes = check_boxes("warp_many", boxes)
    if boxes.ndim != 2:
        raise ValueError(f"warp_many: boxes must be (P, 4), got shape {boxes.shape}")
    rois = np.concatenate([np.zeros((len(boxes), 1)), boxes], axis=1)
    return warp_rois(image[None], rois, crop, padding, fill)


def warp_rois(images: np.ndarray, rois: np.ndarray, crop: int = 227, padding: int = 16, fill: Any = None) -> np.ndarray:
    """Return boxes of several images of one size as crops; see :func:`warp_many`.

    Parameters
    ----------
    images : array, (N, C, H, W), floating
    rois : array, (R, 5)
        Index of the image, then x1 y1 x2 y2.

    Returns
    -------
    array, (R, C, crop, crop), of the images' dtype
    """
    images, rois = np.asarray(images), np.asarray(rois, np.float64)
    if images.ndim != 4 or images.dtype.kind != "f" or 0 in images.shape:
        raise ValueError(f"warp: images must be floating (N, C, H, W), got {images.dtype} of shape {images.shape}")
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(f"warp: rois must be (R, 5), got shape {rois.shape}")
    _check_rois(rois, len(images))
    (_, channels, height, width), dtype = images.shape, images.dtype
    source = context_box(rois[:, 1:], crop, padding)
    top, rows, inside_y = _taps(source[:, 1], source[:, 3], crop, height)
    left, columns, inside_x = _taps(source[:, 0], source[:, 2], crop, width)
    down, right = rows[:, :, None].astype(dtype), columns[:, None, :].astype(dtype)
    inside = inside_y[:, :, None] & inside_x[:, None, :]
    # Flat indices of the upper left of the four pixels between which each value lies, in the first channel.
    first = (rois[:, 0].astype(np.intp) * channels * height * width)[:, None, None]
    first = first + top[:, :, None] * width + left[:, None, :]
    across, below = int(width > 1), width * int(height > 1)
    flat, out = np.ascontiguousarray(images).reshape(-1), np.empty((len(rois), channels, crop, crop), dtype)
    fills = np.broadcast_to(np.asarray(0 if fill is None else fill, dtype), (channels,))
    for channel in range(channels):
        plane = flat[channel * height * width :]
        upper, lower = (_between(plane[skip:], first, across, right) for skip in (0, below))
        lower -= upper
        lower *= down
        lower += upper
        out[:, channel] = np.where(inside, lower, fills[channel])
    return out


def _between(plane: np.ndarray, first: np.ndarray, across: int, weight: np.ndarray) -> np.ndarray:
    """Return the value between each pixel and the one to its right."""
    found, other = plane.take(first), plane[across:].take(first)
    other -= found
    other *= weight
    found += other
    return found


def _taps(low: np.ndarray, high: np.ndarray, crop: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for every position of a crop the pixel before it, the weight of the next, and whether it is inside.

    Centres of the crop's pixels lie at low + (j + 0.5) (high - low) / crop; that of pixel i of the image at i + 0.5.
    All (R, crop).
    """
    place = low[:, None] + (np.arange(crop) + 0.5) * ((high - low) / crop)[:, None]
    position = np.clip(place - 0.5, 0, size - 1)
    before = np.minimum(position.astype(np.intp), max(size - 2, 0))
    return before, position - before, (place >= 0) & (place < size)


def _check_rois(rois: np.ndarray, images: int) -> None:
    boxes = rois[:, 1:]
    bad = ~(np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1))
    if bad.any():
        raise ValueError(f"warp: boxes must be finite with x1 < x2 and y1 < y2, got {boxes[bad][0].tolist()}")
    index = rois[:, 0]
    if len(rois) and not (np.isin(index, np.arange(images))).all():
        raise ValueError(f"warp: image indices must lie in 0..{images - 1}, got {index.min():g}..{index.max():g}")
