"""Boxes: (R, 4) arrays x1 y1 x2 y2 in pixels, +0 convention (x2 - x1 is the width). See :func:`box_iou`."""

from __future__ import annotations

import numpy as np


def check_boxes(who: str, boxes: np.ndarray) -> np.ndarray:
    """Return the boxes as a floating array; ValueError unless its last axis has four numbers."""
    boxes = np.asarray(boxes)
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(f"{who}: boxes must be (..., 4), got shape {boxes.shape}")
    return boxes if boxes.dtype.kind == "f" else boxes.astype(np.float64)


def box_area(boxes: np.ndarray) -> np.ndarray:
    """Return the areas (...) of boxes (..., 4); 0 for a box whose corners are the wrong way round."""
    boxes = check_boxes("box_area", boxes)
    return np.maximum(boxes[..., 2] - boxes[..., 0], 0) * np.maximum(boxes[..., 3] - boxes[..., 1], 0)


def paired_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes that belong together.

    IoU = inter / (A + B - inter); 0 if both areas are 0.

    Parameters
    ----------
    first, second : array, (..., 4)
        Broadcast against each other.

    Returns
    -------
    array, (...)

    Examples
    --------
    >>> float(paired_iou(np.array([0.0, 0, 10, 10]), np.array([5.0, 0, 15, 10])))
    0.3333333333333333
    """
    first, second = check_boxes("paired_iou", first), check_boxes("paired_iou", second)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    inter = np.maximum(sides, 0).prod(-1)
    union = box_area(first) + box_area(second) - inter
    return np.divide(inter, union, out=np.zeros(np.shape(union), union.dtype), where=union > 0)


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersection over union of every box of one set with every box of another.

    Parameters
    ----------
    first : array, (R, 4)
    second : array, (S, 4)

    Returns
    -------
    array, (R, S)
    """
    first, second = check_boxes("box_iou", first), check_boxes("box_iou", second)
    if first.ndim != 2 or second.ndim != 2:
        raise ValueError(f"box_iou: wanted boxes (R, 4) and (S, 4), got shapes {first.shape} and {second.shape}")
    return paired_iou(first[:, None], second[None])


def to_centre(boxes: np.ndarray) -> np.ndarray:
    """Return x1 y1 x2 y2 as centre and size: cx, cy, width, height.

    Examples
    --------
    >>> to_centre(np.array([[2, 4, 8, 6]])).tolist()
    [[5.0, 5.0, 6.0, 2.0]]
    """
    boxes = check_boxes("to_centre", boxes)
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def to_corners(boxes: np.ndarray) -> np.ndarray:
    """Return cx, cy, width, height as corners x1 y1 x2 y2; the inverse of :func:`to_centre`."""
    boxes = check_boxes("to_corners", boxes)
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def clip_boxes(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the boxes cut at the borders of an image of ``size`` (height, width) pixels."""
    height, width = size
    limits = np.array([width, height, width, height], check_boxes("clip_boxes", boxes).dtype)
    return np.clip(check_boxes("clip_boxes", boxes), 0, limits)
