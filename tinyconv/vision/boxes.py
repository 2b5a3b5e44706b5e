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


def clip_boxes(boxes: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Return the boxes cut at the borders of an image of ``size`` (height, width) pixels."""
    height, width = size
    limits = np.array([width, height, width, height], check_boxes("clip_boxes", boxes).dtype)
    return np.clip(check_boxes("clip_boxes", boxes), 0, limits)


# A predicted size is at most this many times the proposal's: exp of a wild output must not overflow.
_LARGEST = float(np.log(1000 / 16))


def encode_boxes(proposals: np.ndarray, truth: np.ndarray, offset: float = 0) -> np.ndarray:
    """Return what a box regressor learns: where the true boxes lie, seen from the proposals.

    With centre and size of a proposal P and its true box G (Girshick et al. 2014, appendix C, eqs. 6-9)::

        tx = (Gx - Px) / Pw    ty = (Gy - Py) / Ph    tw = ln(Gw / Pw)    th = ln(Gh / Ph)

    Parameters
    ----------
    proposals, truth : array, (..., 4)
        Corner boxes in pixels that belong together; broadcast against each other.
    offset : {0, 1}
        1: corners are pixels that belong to the box, so its width is x2 - x1 + 1, as in the authors' programs.

    Returns
    -------
    array, (..., 4)

    Raises
    ------
    ValueError
        A box has no area: its position would be divided by 0.
    """
    own, other = _centred("encode_boxes", proposals, offset), _centred("encode_boxes", truth, offset)
    for name, boxes in (("proposals", own), ("truth", other)):
        if not (boxes[..., 2:] > 0).all():  # NaN too
            raise ValueError(f"encode_boxes: {name} must have positive width and height, got a box without area")
    shift = (other[..., :2] - own[..., :2]) / own[..., 2:]
    return np.concatenate([shift, np.log(other[..., 2:] / own[..., 2:])], axis=-1)


def decode_boxes(proposals: np.ndarray, deltas: np.ndarray, offset: float = 0) -> np.ndarray:
    """Return the corner boxes that lie where ``deltas`` say, seen from the proposals; the inverse of encode_boxes.

    A box grows at most 62.5 times in width and height, whatever the deltas. (The authors' program adds the width
    to x2 without the -1 that its own encoding needs, so that zero deltas return x2 + 1; not so here.)

    Parameters
    ----------
    proposals, deltas : array, (..., 4)
        Broadcast against each other.
    """
    own, deltas = _centred("decode_boxes", proposals, offset), check_boxes("decode_boxes", deltas)
    centre = own[..., :2] + deltas[..., :2] * own[..., 2:]
    half = own[..., 2:] * np.exp(np.minimum(deltas[..., 2:], _LARGEST)) / 2
    return np.concatenate([centre - half, centre + half - offset], axis=-1)


def _centred(who: str, boxes: np.ndarray, offset: float) -> np.ndarray:
    """Return centre and size; with ``offset`` 1 the far edge of a box lies one beyond its last pixel."""
    boxes = check_boxes(who, boxes)
    low, size = boxes[..., :2], boxes[..., 2:] - boxes[..., :2] + offset
    return np.concatenate([low + size / 2, size], axis=-1)
