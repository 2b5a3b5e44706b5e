"""Which boxes of an image a detector learns from: labels by overlap, and a sample of a fixed size.

See :func:`label_proposals`, :func:`sample_proposals`.
"""

from __future__ import annotations

import numpy as np

from tinyconv.vision.boxes import box_iou


def label_proposals(
    proposals: np.ndarray, boxes: np.ndarray, labels: np.ndarray, foreground: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what each proposal shows (Girshick 2015, sec. 2.3).

    Parameters
    ----------
    proposals : array, (P, 4)
    boxes : array, (G, 4)
        The true ones.
    labels : array, (G,)
        Their classes, 0..K-1.
    foreground : float
        IoU with its best true box from which on a proposal shows it.

    Returns
    -------
    classes : array, (P,), int64
        0: background; 1..K: class + 1 of the best true box.
    overlaps : array, (P,)
        IoU with it, 0 if there is none.
    matched : array, (P,), int64
        Which one it is.
    """
    if not len(boxes):
        zeros = np.zeros(len(proposals), np.int64)
        return zeros, np.zeros(len(proposals)), zeros
    overlap = box_iou(proposals, boxes)
    matched = overlap.argmax(1)
    best = overlap[np.arange(len(proposals)), matched]
    return np.where(best >= foreground, np.asarray(labels)[matched] + 1, 0), best, matched


def sample_proposals(
    classes: np.ndarray,
    overlaps: np.ndarray,
    count: int,
    rng: np.random.Generator,
    *,
    share: float = 0.25,
    background: tuple[float, float] = (0.1, 0.5),
) -> np.ndarray:
    """Return the proposals of a training step: at most a share of objects, the rest background.

    Background has an overlap in [low, high) of ``background``; low > 0 leaves out the easiest. There may be fewer than
    ``count`` in all; none is taken twice (Girshick 2015, sec. 2.3). One rule is ours: where no proposal has such an
    overlap, as in an image without objects, every one below ``high`` may be taken.

    Parameters
    ----------
    classes, overlaps : array, (P,)
        From :func:`label_proposals`.
    count : int
    share : float
        In [0, 1]: the objects are at most this part of ``count``.
    background : (float, float)
        Bounds of the overlap, 0 <= low < high <= 1.

    Returns
    -------
    array, (at most count,), int64
        Places of the proposals, objects first.

    Raises
    ------
    ValueError
        count is negative, or share or background out of their range.
    """
    low, high = background
    if not (count >= 0 and 0 <= share <= 1 and 0 <= low < high <= 1):
        raise ValueError(
            "sample_proposals: wanted count >= 0, a share in [0, 1] and background (low, high) with "
            f"0 <= low < high <= 1, got {count}, {share} and {background}"
        )
    objects = np.flatnonzero(classes > 0)
    empty = np.flatnonzero((classes == 0) & (overlaps >= low) & (overlaps < high))
    if not len(empty):
        empty = np.flatnonzero((classes == 0) & (overlaps < high))
    chosen = _some(objects, int(share * count), rng)
    return np.concatenate([chosen, _some(empty, count - len(chosen), rng)])


def _some(places: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return places if len(places) <= most else rng.choice(places, most, replace=False)
