"""Layouts: what is where in one vector, by hand, as sentences say it, and from a detector's findings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv.captioning.layout import layout_features
from tinyconv.data import Scenes
from tinyconv.data.captioned_scenes import CaptionedScenes
from tinyconv.models import FasterRCNN, faster_rcnn, rcnn
from tinyconv.vision.detections import Detections
from tinyconv.vision.layout import MIDDLE, PLACES, layout

NONE = np.zeros((0, 4))


def parts(told: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    return told[: 6 * classes].reshape(classes, 6), told[6 * classes :].reshape(classes, classes, 4)


def test_two_objects_by_hand() -> None:
    """Class 2 above class 0, in an image of 40 rows and 80 columns; a third of 40 is the middle."""
    boxes = np.array([[10.0, 2, 22, 14], [12, 20, 28, 38]])
    told = layout(boxes, np.array([2, 0]), 3, (40, 80), middle=1 / 3)
    assert told.shape == (6 * 3 + 4 * 9,) and told.dtype == np.float32
    single, pairs = parts(told, 3)
    np.testing.assert_allclose(single[2], [1, 0, 1, 16 / 80, 8 / 40, 12 / 40])
    np.testing.assert_allclose(single[0], [1, 1, 0, 20 / 80, 29 / 40, 18 / 40])
    assert not single[1].any()
    wanted = np.zeros((3, 3, 4))
    wanted[2, 0, PLACES.index("above")] = wanted[0, 2, PLACES.index("below")] = 1
    np.testing.assert_array_equal(pairs, wanted)


def test_two_objects_of_one_class_are_both_told() -> None:
    """A big one on the left, a small one on the right: its first object's place, both sizes, both relations."""
    boxes = np.array([[40.0, 20, 50, 34], [0, 20, 20, 48]])
    single, pairs = parts(layout(boxes, np.array([1, 1]), 2, (64, 64)), 2)
    np.testing.assert_allclose(single[1], [1, 1, 1, 45 / 64, 27 / 64, 14 / 64])
    assert pairs[1, 1].tolist() == [1, 1, 0, 0] and pairs.sum() == 2


def test_nothing_is_zeros() -> None:
    for nothing in (NONE, []):
        told = layout(nothing, np.zeros(0, np.int64), 10, (64, 64))  # type: ignore[arg-type]
        assert told.shape == (460,) and not told.any()


def test_it_says_what_the_scenes_say() -> None:
    """Sizes and relations of scenes, of which the sentences are made, are those of the vector: also at the middle."""
    data = CaptionedScenes(300, seed=5)
    sides = np.zeros(0)
    for i, attributes in enumerate(data.attributes):
        truth = data.scenes.truth(i)
        single, pairs = parts(layout(truth.boxes, truth.labels, 10, (64, 64)), 10)
        sides = np.append(sides, (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(1))
        assert set(np.flatnonzero(single[:, 0])) == {int(a.name) for a in attributes}
        for column, size in ((1, "large"), (2, "small")):
            assert set(np.flatnonzero(single[:, column])) == {int(a.name) for a in attributes if a.size == size}
        wanted = {
            (int(truth.labels[a]), int(truth.labels[b]), PLACES.index(place))
            for a, place, b in Scenes(i + 1, seed=5, items=("mnist",), objects=(2, 3))[i].relations
        }
        assert set(zip(*map(np.ndarray.tolist, np.nonzero(pairs)), strict=True)) == wanted
    assert {20, 21, 22} <= set(sides) and MIDDLE * 64 == 21


def test_wrong_arguments() -> None:
    box, one = np.array([[0.0, 0, 5, 5]]), np.array([0])
    for boxes, labels, classes, size in (
        (box, np.array([0, 1]), 2, (9, 9)), (box[0], one, 2, (9, 9)), (box, one, 0, (9, 9)), (box, one, 2, (0, 9)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"layout: wanted boxes \(R, 4\), R labels, classes >= 1 and a size >= 1"):
            layout(boxes, labels, classes, size)
    for label in (np.array([2]), np.array([-1]), np.array([0.0])):
        with pytest.raises(ValueError, match=r"layout: labels must be integers in 0\.\.1"):
            layout(box, label, 2, (9, 9))
    for wrong in ([0, 0, np.nan, 5], [5, 0, 5, 5]):
        with pytest.raises(ValueError, match="layout: boxes must be finite with x1 < x2"):
            layout(np.array([wrong]), one, 2, (9, 9))


class Finder(FasterRCNN):
    """A detector that finds what it is told to, above ``least``."""

    found: list[Detections]
    calls: int

    def detect(self, image: np.ndarray, proposals: Any = None, *, least: float = 0, **how: Any) -> Detections:
        self.calls += 1
        boxes, labels, scores = self.found[self.calls - 1]
        return Detections(boxes[scores >= least], labels[scores >= least], scores[scores >= least])


def test_of_detections() -> None:
    """A 3 that was also called an 8, less surely; something doubtful; an image with nothing."""
    model: Any = faster_rcnn(10, scale="lesson")
    model.__class__, model.calls = Finder, 0
    boxes = np.array([[0.0, 0, 20, 28], [1, 0, 20, 28], [40, 2, 50, 14], [40, 40, 50, 54]], np.float32)
    model.found = [
        Detections(boxes, np.array([3, 8, 5, 0]), np.array([0.9, 0.6, 0.55, 0.4])),
        Detections(boxes[:0], np.zeros(0, np.int64), np.zeros(0)),
    ]
    calls: list[int] = []
    found = layout_features(model, np.zeros((2, 3, 64, 64), np.float32), progress=lambda: calls.append(1))
    assert found.shape == (2, 460) and found.dtype == np.float32 and len(calls) == 2
    np.testing.assert_array_equal(found[0], layout(boxes[[0, 2]], np.array([3, 5]), 10, (64, 64)))
    assert not found[1].any()
    model.calls = 0
    both = layout_features(model, np.zeros((1, 3, 64, 64), np.float32), 0.3, same=1)
    np.testing.assert_array_equal(both[0], layout(boxes, np.array([3, 8, 5, 0]), 10, (64, 64)))


def test_real_detectors() -> None:
    tinyconv.manual_seed(0)
    images = np.random.default_rng(0).random((2, 3, 64, 64)).astype(np.float32)
    found = layout_features(faster_rcnn(3, scale="lesson"), images, 0.0)
    assert found.shape == (2, 6 * 3 + 4 * 9) and found.any() and 0 <= found.min() and found.max() <= 1
    assert not layout_features(faster_rcnn(3, scale="lesson"), images, 1.0).any()
    assert layout_features(faster_rcnn(3, scale="lesson"), images[:0]).shape == (0, 54)
    boxes = [np.array([[2.0, 3, 30, 40]])] * 2
    told = layout_features(rcnn(3, scale="lesson"), images, 0.0, proposals=boxes, scores="softmax", regress=False)
    assert told.shape == (2, 54)
    np.testing.assert_allclose(told[0, :18].reshape(3, 6)[:, 3:].max(0), [16 / 64, 21.5 / 64, 37 / 64])
