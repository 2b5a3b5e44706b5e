"""From ratings of many boxes to a few detections. See :func:`choose_detections`."""

from __future__ import annotations

import numpy as np

from tinyconv.vision.detections import Detections
from tinyconv.vision.nms import best_first, nms


def choose_detections(
    boxes: np.ndarray, scores: np.ndarray, iou: float = 0.3, *, least: float = 0.05, top: int = 100
) -> Detections:
    """Keep, for each class by itself, the boxes that are rated well and overlap with no better one.

    Parameters
    ----------
    boxes : array, (P, K, 4) or (P, 4)
        Where class k would be, by proposal p; one box for all classes.
    scores : array, (P, K)
    iou : float
        Of two boxes of a class with a larger overlap, the worse is dropped.
    least : float
        Ratings below are nothing.
    top : int
        Detections per class at most.

    Returns
    -------
    Detections
        Best first.
    """
    count, classes = scores.shape
    boxes = np.broadcast_to(boxes[:, None] if boxes.ndim == 2 else boxes, (count, classes, 4))
    found: list[tuple[np.ndarray, ...]] = [(np.zeros((0, 4), boxes.dtype), np.zeros(0, np.int64), np.zeros(0))]
    for k in range(classes):
        (rows,) = np.nonzero(~(scores[:, k] < least))  # NaN goes on to nms, which names it
        kept = rows[nms(boxes[rows, k], scores[rows, k], iou)[:top]]
        found.append((boxes[kept, k], np.full(len(kept), k, np.int64), scores[kept, k]))
    every = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    order = best_first(every[2])
    return Detections(*(part[order] for part in every))
