"""What a detector finds in pictures, and how good that is. See :func:`detect_in`, :func:`evaluate_detector`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.data.detection import DetectionDataset
from tinyconv.nn.modes import kept_modes
from tinyconv.threads import limited_threads
from tinyconv.vision.detections import Detections
from tinyconv.vision.nms import best_first
from tinyconv.vision.voc_eval import Evaluation, evaluate_detections


def detect_all(
    model: Any, dataset: DetectionDataset, *, proposals: Sequence[np.ndarray] | None = None, **how: Any
) -> tuple[list[Detections], np.ndarray]:
    """Find the objects in every image of a data set.

    Parameters
    ----------
    model : RCNN, FastRCNN, FasterRCNN
        Or a network of your own with ``detect(image, proposals, **how) -> Detections``.
    dataset : DetectionDataset
        Its transform is applied, and boxes are given back in the pixels of its source.
    proposals : sequence of arrays (P, 4), optional
        For each image, in the source's pixels; by default the model finds its own.
    **how
        For ``model.detect``: least, iou, top.

    Returns
    -------
    detections : list of Detections
    seconds : array, (N,)
        Of each image: preparing it, searching for proposals if they are not given, and the network.
    """
    found, seconds = [], np.zeros(len(dataset))
    with kept_modes(model), limited_threads(model):
        model.eval()
        for i in range(len(dataset)):
            image = dataset.source.read(i)[0]
            given = None if proposals is None else proposals[i]
            began = time.perf_counter()
            found.append(detect_in(image, model, dataset.transform, given, **how))
            seconds[i] = time.perf_counter() - began
    return found, seconds


def detect_in(
    image: np.ndarray, model: Any, transform: Any = None, proposals: np.ndarray | None = None, **how: Any
) -> Detections:
    """Find the objects in a picture as it is in its file.

    Parameters
    ----------
    image : array, (C, H, W)
        Values in [0, 1].
    model
        As for :func:`detect_all`. One with settings ``search`` is given the boxes of selective search in this picture.
    transform : callable, optional
        What the training images went through; it may resize.
    proposals : array, (P, 4), optional
        In pixels of ``image``.

    Returns
    -------
    Detections
        In pixels of ``image``, best first.
    """
    prepared = image if transform is None else transform(image, None)
    scale = scale_between(image.shape[1:], prepared.shape[1:])
    if proposals is None and getattr(model, "search", None):
        from tinyconv.vision.selective_search import selective_search  # it compiles for some seconds

        proposals = selective_search(image, **model.search)
    given = None if proposals is None else np.asarray(proposals).reshape(-1, 4) * scale
    found = model.detect(prepared, given, **how)
    order = best_first(found.scores)
    return Detections(found.boxes[order] / scale, found.labels[order], found.scores[order])


def scale_between(original: tuple[int, ...], prepared: tuple[int, ...]) -> np.ndarray:
    """Return what boxes (..., 4) of an image (height, width) are multiplied with when it becomes another size."""
    down, across = (new / old for old, new in zip(original, prepared, strict=True))
    return np.array([across, down, across, down], np.float32)


def evaluate_detector(
    model: Any, dataset: DetectionDataset, *, proposals: Sequence[np.ndarray] | None = None, **how: Any
) -> Evaluation:
    """Return the average precision of a detector on a data set; see :func:`detect_all` and evaluate_detections."""
    found, _ = detect_all(model, dataset, proposals=proposals, **how)
    return evaluate_detections(found, dataset.truths(), dataset.classes or [])


class Precision:
    """A callback of :func:`tinyconv.fit` that adds ``map``, the 11-point mean average precision, to an epoch's row.

    Parameters
    ----------
    dataset : DetectionDataset
        Held-out images.
    every : int
        Epochs from one measurement to the next; the last one found is ``evaluation``.
    """

    def __init__(
        self, dataset: DetectionDataset, *, proposals: Sequence[np.ndarray] | None = None, every: int = 1
    ) -> None:
        self.dataset, self.proposals, self.every = dataset, proposals, every
        self.evaluation: Evaluation | None = None

    def on_epoch(self, state: Any) -> None:
        """Measure, and note it in the row."""
        if state.epoch % self.every == 0:
            self.evaluation = evaluate_detector(state.model, self.dataset, proposals=self.proposals)
            state.row["map"] = round(self.evaluation.mean_eleven_point, 4)
