"""What is where in an image, as one vector: what a sentence generator is told of the whole. See :func:`layout`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv.captioning.regions import best_detections
from tinyconv.data.scenes import relations
from tinyconv.models.rcnn import RCNN
from tinyconv.vision.boxes import check_boxes, to_centre

PLACES = ("left of", "right of", "above", "below")
PER_CLASS = 6  # numbers of each class before the pairs
MIDDLE = 21 / 64  # an object is big if its longer side is at least this share of the image's: the middle in Scenes


def layout(
    boxes: np.ndarray, labels: np.ndarray, classes: int, size: tuple[int, int], *, middle: float = MIDDLE
) -> np.ndarray:
    """Return what is where, as 6 K + 4 K^2 numbers in [0, 1] for K classes (460 for ten digits).

    For each class six: whether it is there, whether one of it is big, whether one is small; of its first object the
    centre's x and y over the image's width and height, and its longer side over the image's shorter one. Then for each
    ordered pair of classes (K x K x 4) whether an object of the first is left of, right of, above, below another object
    of the second, by the rule of :class:`~tinyconv.data.scenes.Scene`. Two objects of one class may be both.

    Parameters
    ----------
    boxes : array, (R, 4)
        In pixels, best first; there may be none, which gives zeros.
    labels : array, (R,)
        Integers 0..K-1.
    classes : int
        K.
    size : (int, int)
        Height and width of the image, in pixels.
    middle : float
        From which share of the image's shorter side on an object's longer one is big.

    Returns
    -------
    array, (6 K + 4 K^2,), float32

    Raises
    ------
    ValueError
        The shapes do not fit together, a box is not finite or has no area, a label is none of the classes, or the image
        has no pixels.

    Examples
    --------
    >>> told = layout(np.array([[0, 0, 24, 32], [40, 8, 52, 24]]), np.array([1, 0]), 2, (64, 64))
    >>> told[:12].reshape(2, 6).tolist()  # a small one on the right; a big one
    [[1.0, 0.0, 1.0, 0.71875, 0.25, 0.25], [1.0, 1.0, 0.0, 0.1875, 0.25, 0.5]]
    >>> told[12:].reshape(2, 2, 4)[0, 1].tolist()  # class 0 is right of class 1
    [0.0, 1.0, 0.0, 0.0]
    """
    who = "layout"
    boxes = np.asarray(check_boxes(who, np.zeros((0, 4)) if np.size(boxes) == 0 else boxes), np.float64)
    labels = np.asarray(labels)
    if boxes.ndim != 2 or labels.shape != boxes.shape[:1] or classes < 1 or min(size) < 1:
        raise ValueError(
            f"{who}: wanted boxes (R, 4), R labels, classes >= 1 and a size >= 1, got {boxes.shape}, {labels.shape}, "
            f"{classes}, {tuple(size)}"
        )
    if not (np.isfinite(boxes).all() and (boxes[:, :2] < boxes[:, 2:]).all()):
        raise ValueError(f"{who}: boxes must be finite with x1 < x2 and y1 < y2, got {boxes.tolist()}")
    if len(labels) and (labels.dtype.kind not in "iu" or not 0 <= labels.min() <= labels.max() < classes):
        raise ValueError(f"{who}: labels must be integers in 0..{classes - 1}, got {labels.tolist()}")
    single = np.zeros((classes, PER_CLASS), np.float32)
    height, width = size
    for label, (x, y, wide, tall) in zip(labels, to_centre(boxes), strict=True):
        side = max(wide, tall) / min(size)
        if not single[label, 0]:
            single[label] = 1, 0, 0, x / width, y / height, side
        single[label, 1 if side >= middle else 2] = 1
    pairs = np.zeros((classes, classes, len(PLACES)), np.float32)
    for i, place, j in relations(boxes):
        pairs[labels[i], labels[j], PLACES.index(place)] = 1
    return np.concatenate([single.ravel(), pairs.ravel()])


def layout_features(
    detector: Any,
    images: Sequence[np.ndarray] | np.ndarray,
    least: float = 0.5,
    *,
    top: int = 20,
    same: float = 0.5,
    middle: float = MIDDLE,
    transform: Any = None,
    proposals: Sequence[np.ndarray] | None = None,
    progress: Callable[[], Any] = lambda: None,
    **how: Any,
) -> np.ndarray:
    """Return the :func:`layout` (N, 6 K + 4 K^2) of what a detector finds; zeros for an image with nothing.

    Parameters
    ----------
    detector, images, transform, proposals, progress, **how
        As for :func:`tinyconv.captioning.regions.detected_regions`.
    least : float
        Score from which on a detection counts; one of an SVM is no probability.
    top : int
        Detections of an image at most.
    same : float
        Of two that overlap more, whatever their classes, the worse does not count.
    """
    found = []
    classes = detector.num_classes if isinstance(detector, RCNN) else detector.cls_score.out_features - 1
    for i, image in enumerate(images):
        given = None if proposals is None else proposals[i]
        seen = best_detections(
            detector, image, top, same=same, transform=transform, proposals=given, least=least, **how
        )
        found.append(layout(seen.boxes, seen.labels, classes, image.shape[1:], middle=middle))
        progress()
    return np.array(found, np.float32).reshape(-1, classes * (PER_CLASS + classes * len(PLACES)))
