"""What is where in an image: relations of boxes, and all of it as one vector. See :func:`relations`, :func:`layout`."""

from __future__ import annotations

import numpy as np

from tinyconv.vision.boxes import check_boxes, to_centre

PLACES = ("left of", "right of", "above", "below")
PER_CLASS = 6  # numbers of each class before the pairs
MIDDLE = 21 / 64  # an object is big if its longer side is at least this share of the image's shorter: that of Scenes


def layout_size(classes: int) -> int:
    """Return the length of a :func:`layout` of so many classes: 6 K + 4 K^2."""
    return classes * (PER_CLASS + classes * len(PLACES))


def layout(
    boxes: np.ndarray, labels: np.ndarray, classes: int, size: tuple[int, int], *, middle: float = MIDDLE
) -> np.ndarray:
    """Return what is where, as 6 K + 4 K^2 numbers for K classes (460 for ten digits).

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


def relations(boxes: np.ndarray) -> tuple[tuple[int, str, int], ...]:
    """Return (i, relation, j) for every ordered pair of boxes (R, 4) whose centres differ; see :class:`Scene`.

    Examples
    --------
    >>> relations(np.array([[0, 0, 4, 4], [9, 1, 13, 5]]))
    ((0, 'left of', 1), (1, 'right of', 0))
    """
    centres = np.asarray(boxes, float).reshape(-1, 2, 2).mean(1)
    found = []
    for i, first in enumerate(centres):
        for j, second in enumerate(centres):
            dx, dy = second - first
            if i != j and (dx or dy):
                across = ("left of", "right of")[int(dx < 0)]
                found.append((i, across if abs(dx) >= abs(dy) else ("above", "below")[int(dy < 0)], j))
    return tuple(found)
