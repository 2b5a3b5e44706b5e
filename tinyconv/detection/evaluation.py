"""How good a detector is on a data set. See :func:`detect_all`, :func:`evaluate_detector`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tinyconv.data.detection import DetectionDataset
from tinyconv.evaluation import kept_modes
from tinyconv.threads import limited_threads
from tinyconv.vision.detections import Detections
from tinyconv.vision.voc_eval import Evaluation, evaluate_detections


class Detector(Protocol):
    """RCNN, FastRCNN, FasterRCNN, or a network of your own."""

    def detect(self, image: np.ndarray, proposals: np.ndarray | None = None, **how: Any) -> Detections: ...


def detect_all(
    model: Any, dataset: DetectionDataset, *, proposals: Sequence[np.ndarray] | None = None, **how: Any
) -> tuple[list[Detections], np.ndarray]:
    """Find the objects in every image of a data set.

    Parameters
    ----------
    model : Detector
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
        What each call of ``model.detect`` took; reading and preparing the image is not in it.
    """
    found, seconds = [], np.zeros(len(dataset))
    with kept_modes(model), limited_threads(model):
        model.eval()
        for i in range(len(dataset)):
            original = dataset.source.read(i)[0].shape[1:]
            image = dataset[i][0]
            scale = scale_between(original, image.shape[1:])
            given = None if proposals is None else np.asarray(proposals[i]).reshape(-1, 4) * scale
            began = time.perf_counter()
            one = model.detect(image, given, **how)
            seconds[i] = time.perf_counter() - began
            found.append(one._replace(boxes=one.boxes / scale))
    return found, seconds


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
