"""Non-maximum suppression: of boxes that overlap much, the best one stays. See :func:`nms`."""

from __future__ import annotations

import numpy as np

from tinyconv import device
from tinyconv.vision.boxes import check_boxes
from tinyconv.vision.detections import Detections


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, *, offset: float = 0.0) -> np.ndarray:
    """Return which boxes stay if each, best first, drops those after it that have IoU > threshold with it.

    A box that was dropped drops no other, and an IoU of exactly the threshold drops nothing (Girshick et al. 2014,
    sec. 2.2). Of equal scores the earlier box comes first.

    Parameters
    ----------
    boxes : array, (R, 4)
        x1 y1 x2 y2; all of one class.
    scores : array, (R,)
    threshold : float
        In [0, 1]: 0.3 for R-CNN's and Fast R-CNN's detections, 0.7 for Faster R-CNN's proposals.
    offset : float
        Sides are x2 - x1 + offset: 0, or 1 where x2 is the last pixel in the box, as in the papers' code.

    Returns
    -------
    array of int64, (K,)    numbers of the boxes that stay, best first

    Raises
    ------
    TypeError
        threshold or offset is no number.
    ValueError
        boxes are no (R, 4) or there are not R scores; a box is not finite, a score NaN; a threshold outside [0, 1].

    Examples
    --------
    >>> boxes = np.array([[0, 0, 9, 9], [3, 0, 12, 9], [6, 0, 15, 9]])
    >>> nms(boxes, np.array([0.9, 0.8, 0.7]), 0.5, offset=1).tolist()
    [0, 2]
    """
    boxes, scores = check_scored("nms", boxes, scores, threshold, offset)
    return _kept(boxes, scores, threshold, offset)


def class_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    *,
    least: float = -np.inf,
    top: int | None = None,
    offset: float = 0.0,
) -> Detections:
    """Return the objects found, where every proposal has a box and a score for each class: :func:`nms` class by class.

    Parameters
    ----------
    boxes : array, (P, K, 4)
        Boxes of different classes suppress each other nowhere.
    scores : array, (P, K)
    threshold, offset : float
        As for :func:`nms`.
    least : float
        Score below which a box is no detection, and suppresses nothing.
    top : int, optional
        Detections per class at most, the best ones.

    Returns
    -------
    Detections
        Of all classes, best first; equal scores in the order of the classes.

    Raises
    ------
    TypeError, ValueError
        As :func:`nms` does; the shapes do not fit together.
    """
    boxes, scores = check_boxes("class_nms", boxes), np.asarray(scores)
    proposals, labels = kept_of_classes("class_nms", boxes, scores, threshold, least=least, top=top, offset=offset)
    order = best_first(scores[proposals, labels])
    proposals, labels = proposals[order], labels[order]
    return Detections(boxes[proposals, labels], labels, scores[proposals, labels])


def kept_of_classes(
    who: str,
    boxes: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    *,
    least: float = -np.inf,
    top: int | None = None,
    offset: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return which proposals stay and as what, (D,) int64 each: class by class, the best of each first.

    See :func:`class_nms`, which looks up their boxes; R-CNN first moves these.
    """
    if boxes.ndim != 3 or scores.shape != boxes.shape[:2]:
        raise ValueError(
            f"{who}: wanted boxes (P, K, 4) and scores (P, K), got shapes {boxes.shape} and {scores.shape}"
        )
    proposals, labels = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for k in range(boxes.shape[1]):
        own, values = check_scored(who, boxes[:, k], scores[:, k], threshold, offset)
        (some,) = np.nonzero(values >= least)
        proposals.append(some[_kept(own[some], values[some], threshold, offset)[:top]])
        labels.append(np.full(len(proposals[-1]), k, np.int64))
    return np.concatenate(proposals), np.concatenate(labels)


def distinct(found: Detections, same: float, top: int) -> Detections:
    """Return the best ``top`` detections with an area, whatever their classes, less those that are there twice.

    Of two whose IoU is larger than ``same`` the worse is left out: they are one thing that was named twice.
    """
    solid = np.flatnonzero((found.boxes[:, :2] < found.boxes[:, 2:]).all(1))
    kept = solid[nms(found.boxes[solid], found.scores[solid], same)[:top]]
    return Detections(found.boxes[kept], found.labels[kept], found.scores[kept])


def best_first(scores: np.ndarray) -> np.ndarray:
    """Return the numbers of the scores from the highest to the lowest; equal ones stay in their order."""
    return np.argsort(-scores, kind="stable")


def _kept(boxes: np.ndarray, scores: np.ndarray, threshold: float, offset: float) -> np.ndarray:
    order = best_first(scores)
    keep = np.empty(len(boxes), bool)
    device.kernels_for(boxes).nms.nms(np.ascontiguousarray(boxes[order]), keep, float(threshold), float(offset))
    return order[keep]


def check_scored(who: str, boxes: np.ndarray, scores: np.ndarray, threshold: float, offset: float) -> tuple:
    """Return boxes of float32 or float64 and floating scores, or raise as :func:`nms` does."""
    boxes = check_boxes(who, np.zeros((0, 4)) if np.shape(boxes) == (0,) else boxes)
    scores = np.asarray(scores)
    scores = scores if scores.dtype.kind == "f" else scores.astype(np.float64)
    if boxes.ndim != 2 or scores.shape != boxes.shape[:1]:
        raise ValueError(f"{who}: wanted boxes (R, 4) and R scores, got shapes {boxes.shape} and {scores.shape}")
    bad = ~np.isfinite(boxes).all(1) | np.isnan(scores)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{who}: wanted finite boxes and no NaN, got {boxes[row].tolist()} with score {scores[row]}")
    for name, value in (("threshold", threshold), ("offset", offset)):
        if np.ndim(value) or np.asarray(value).dtype.kind not in "iuf":
            raise TypeError(f"{who}: {name} must be a number, got {value!r}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"{who}: threshold must be in [0, 1], got {threshold}")
    if not offset >= 0:
        raise ValueError(f"{who}: offset must be 0 or more, got {offset}")
    return boxes.astype(np.float32) if boxes.dtype == np.float16 else boxes, scores
