"""What a detector says of an image, and what is true of it. See :class:`Detections`, :class:`Truth`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyconv.vision.boxes import check_boxes


class Detections(NamedTuple):
    """Objects found in one image, best first.

    Attributes
    ----------
    boxes : array, (R, 4)
        x1 y1 x2 y2 in pixels of the image, +0 convention.
    labels : array, (R,), int64
        Classes 0..K-1; the background is no class.
    scores : array, (R,)
        Probabilities, or scores of an SVM: whatever the detector ranks by.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


class Truth(NamedTuple):
    """Objects that are in one image.

    Attributes
    ----------
    boxes : array, (R, 4)
        x1 y1 x2 y2 in pixels of the image, +0 convention.
    labels : array, (R,), int64
        Classes 0..K-1.
    difficult : array, (R,), bool
        Objects that count neither as found nor as missed (Everingham et al. 2010, sec. 4.2), and are not trained on.
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


def truth(boxes: np.ndarray, labels: np.ndarray, difficult: np.ndarray | None = None) -> Truth:
    """Return a checked :class:`Truth`, by default with no difficult object.

    Raises
    ------
    ValueError
        Boxes are no (R, 4), or there are not as many labels or flags; a box is not finite or has no area; a label is no
        whole number of at least 0.
    """
    boxes = check_boxes("truth", np.asarray(boxes).reshape(-1, 4) if np.size(boxes) == 0 else boxes)
    labels = np.asarray(labels).reshape(-1)
    flags = np.zeros(len(labels), bool) if difficult is None else np.asarray(difficult, bool).reshape(-1)
    if boxes.ndim != 2 or not len(boxes) == len(labels) == len(flags):
        raise ValueError(
            f"truth: wanted boxes (R, 4), R labels and R flags, got {boxes.shape}, {labels.shape} and {flags.shape}"
        )
    whole = np.isfinite(boxes).all(1) & (boxes[:, :2] < boxes[:, 2:]).all(1)
    if not whole.all():
        raise ValueError(f"truth: boxes must be finite with x1 < x2 and y1 < y2, got {boxes[whole.argmin()].tolist()}")
    classes = np.zeros(len(labels), bool)
    if labels.dtype.kind in "biuf":
        classes = (labels >= 0) & (labels < np.inf) & (labels == np.trunc(labels))  # false for NaN
    if not classes.all():
        wrong = labels.tolist()[classes.argmin()]
        raise ValueError(f"truth: labels must be whole and at least 0, got {wrong!r}; the background is no class")
    return Truth(boxes, labels.astype(np.int64), flags)
