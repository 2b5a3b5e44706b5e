"""What is where in images, as a detector sees it. See :func:`layout_features`, and :mod:`tinyconv.vision.layout`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv.captioning.regions import best_detections
from tinyconv.models.rcnn import RCNN
from tinyconv.vision.layout import MIDDLE, layout, layout_size


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
    """Return the :func:`~tinyconv.vision.layout.layout` (N, 6 K + 4 K^2) of what a detector finds.

    An image in which nothing is found has zeros.

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
    return np.array(found, np.float32).reshape(-1, layout_size(classes))
