"""Regions: features of the whole image and of boxes, the best detections, distractors that show no object."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv
from tinyconv import Tensor, data, nn
from tinyconv.captioning.regions import (
    Regions,
    best_detections,
    detected_regions,
    distractors,
    given_regions,
    with_places,
)
from tinyconv.data import Scenes
from tinyconv.models import FastRCNN, fast_rcnn, faster_rcnn, rcnn
from tinyconv.vision.detections import Detections

NONE = np.zeros((0, 4))
TWO = [np.array([[4.0, 6, 24, 30], [30, 30, 50, 58]]), NONE]


def images(n: int = 2, side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).random((n, 3, side, side)).astype(np.float32)


def detector(build: Any = faster_rcnn, **options: Any) -> Any:
    tinyconv.manual_seed(0)
    return build(3, scale="lesson", **options)


class Finder(FastRCNN):
    """A detector that finds what it is told to."""

    found: list[Detections]
    asked: list[Any]

    def detect(self, image: np.ndarray, proposals: Any = None, **how: Any) -> Detections:
        self.asked.append((proposals, how))
        return self.found[len(self.asked) - 1]


def finder(*found: tuple[Any, Any, Any]) -> Finder:
    model: Any = detector(fast_rcnn)
    model.__class__ = Finder
    model.search, model.asked = {}, []
    model.found = [
        Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.array(scores, np.float32))
        for boxes, labels, scores in found
    ]
    return model


# --------------------------------------------------------------------------------------------------------- given boxes


def test_features_by_hand() -> None:
    """With a map that is the image's first channel and no head, they are the pooled maxima of whole and box."""
    model = detector(fast_rcnn)
    model.stride = 1
    model.backbone, model.head = nn.Identity(), nn.Sequential(nn.Flatten())
    x = np.arange(2 * 40 * 40, dtype=np.float32).reshape(2, 1, 40, 40)
    found = given_regions(model, x, [np.array([[10, 20, 20, 30]]), NONE])
    assert found.features.shape == (2, 2, 25) and found.boxes.dtype == np.float32
    np.testing.assert_array_equal(found.boxes, [[[0, 0, 40, 40], [10, 20, 20, 30]], [[0, 0, 40, 40], [0, 0, 0, 0]]])
    np.testing.assert_array_equal(found.counts, [2, 1])
    far = np.arange(7, 40, 8)  # last row and column of five cells of 8
    whole = 40 * far[:, None] + far
    rows, columns = np.arange(21, 30, 2), np.arange(11, 20, 2)
    np.testing.assert_array_equal(found.features[0, 0].reshape(5, 5), whole)
    np.testing.assert_array_equal(found.features[1, 0].reshape(5, 5), whole + 1600)
    np.testing.assert_array_equal(found.features[0, 1].reshape(5, 5), 40 * rows[:, None] + columns)
    assert not found.features[1, 1].any()


@pytest.mark.parametrize("build", [fast_rcnn, faster_rcnn])
def test_features_are_the_heads(build: Any) -> None:
    model, x = detector(build), images()
    found = given_regions(model, x, TWO)
    model.eval()
    whole = np.array([[0.0, 0, 64, 64]])
    by_hand = model.features(model.maps(model(Tensor(x))), [np.concatenate([whole, TWO[0]]), whole]).detach().numpy()
    np.testing.assert_allclose(found.features[0], by_hand[:3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.features[1, :1], by_hand[3:], rtol=1e-5, atol=1e-6)
    assert not found.features[1, 1:].any() and not found.boxes[1, 1:].any()
    assert found.features.dtype == np.float32 and found.counts.dtype == np.int64


def test_features_of_rcnn_are_those_of_warped_crops() -> None:
    model, x = detector(rcnn), images()
    found = given_regions(model, x, TWO)
    wanted = model.look(x[0], np.concatenate([[[0.0, 0, 64, 64]], TWO[0]])).top
    np.testing.assert_allclose(found.features[0], wanted, rtol=1e-5, atol=1e-6)
    assert found.features.shape == (2, 3, 64) and found.counts.tolist() == [3, 1]


def test_the_batch_does_not_matter_nor_the_mode_and_every_image_is_counted() -> None:
    model, x = detector(), images(5)
    boxes = [TWO[0][: i % 3] for i in range(5)]
    model.head.add_module("drop", nn.Dropout(0.5))
    model.train()
    model.backbone.eval()
    calls: list[int] = []
    one = given_regions(model, x, boxes, batch=1, progress=lambda: calls.append(1))
    many = given_regions(model, list(x), boxes, batch=4)
    np.testing.assert_allclose(one.features, many.features, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(one.counts, [1, 2, 3, 1, 2])
    assert len(calls) == 5 and model.training and not model.backbone.training and model.head.training
    assert all(p.grad is None for p in model.parameters())


def test_images_of_different_sizes() -> None:
    model = detector()
    mixed = [images(1, 64)[0], images(1, 48)[0], images(1, 48)[0, :, :, ::-1].copy()]
    found = given_regions(model, mixed, [NONE] * 3)
    assert found.boxes[:, 0].tolist() == [[0, 0, 64, 64], [0, 0, 48, 48], [0, 0, 48, 48]]
    for i, image in enumerate(mixed):
        alone = given_regions(model, image[None], [NONE])
        np.testing.assert_allclose(found.features[i], alone.features[0], rtol=1e-4, atol=1e-5)


def test_a_transform_that_resizes_moves_the_boxes_along() -> None:
    """Twice as large an image: what the detector looks at is twice as far away, what is returned is not."""
    model, x = detector(), images(1, 32)

    def double(image: np.ndarray, rng: Any) -> np.ndarray:
        return image.repeat(2, 1).repeat(2, 2)

    box = np.array([[2.0, 3, 12, 15]])
    found = given_regions(model, x, [box], transform=double)
    large = given_regions(model, double(x[0], None)[None], [2 * box])
    np.testing.assert_allclose(found.features, large.features, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.boxes, large.boxes / 2)


def test_wrong_arguments() -> None:
    model, x = detector(), images()
    with pytest.raises(TypeError, match="given_regions: detector must be a FastRCNN, FasterRCNN or RCNN, got Linear"):
        given_regions(nn.Linear(2, 2), x, TWO)
    for shape in ((2, 5), (1, 4, 4)):
        with pytest.raises(ValueError, match="given_regions: image 1: boxes must be"):
            given_regions(model, x, [NONE, np.ones(shape)])
    for box in ([5, 5, 5, 9], [9, 0, 5, 5], [0, 0, np.nan, 4], [0, 0, np.inf, 4]):
        with pytest.raises(ValueError, match=r"given_regions: image 0: boxes must be finite \(r, 4\) with x1 < x2"):
            given_regions(model, x, [np.array([box], float), NONE])
    for given_images, boxes, batch in ((x, TWO[:1], 1), (x[:0], [], 1), (x, TWO, 0)):
        with pytest.raises(ValueError, match="wanted images, as many arrays of boxes and batch >= 1, got"):
            given_regions(model, given_images, boxes, batch=batch)
    with pytest.raises(ValueError, match=r"images must be \(C, H, W\), got shape \(64, 64\) for image 0"):
        given_regions(model, x[:, 0], TWO)
    x[1, 0, 5, 5] = np.nan
    with pytest.raises(ValueError, match="features must be finite, got NaN or inf for image 1; look at its pixels"):
        given_regions(model, x, TWO)


def test_with_places() -> None:
    regions = Regions(
        np.array([[[0, 0, 80, 40], [20, 10, 40, 30]], [[0, 0, 80, 40], [0, 0, 0, 0]]], np.float32),
        np.ones((2, 2, 3), np.float32), np.array([2, 1]),
    )  # fmt: skip
    found = with_places(regions, (40, 80))
    assert found.features.shape == (2, 2, 7) and found.features.dtype == np.float32
    np.testing.assert_array_equal(found.features[..., :3], 1)
    wanted = [[[0, 0, 4, 4], [-1, 0, -2, 0]], [[0, 0, 4, 4], [0, 0, 0, 0]]]
    np.testing.assert_array_equal(found.features[..., 3:], wanted)
    np.testing.assert_array_equal(with_places(regions, (40, 80), 2).features[..., 3:], np.array(wanted) / 4)


# ---------------------------------------------------------------------------------------------------------- detections


def test_the_best_detections_of_all_classes_behind_the_whole_image() -> None:
    """The second is the first again, under another name; the third has no area; the last is one too many."""
    boxes = [[0, 0, 20, 20], [1, 0, 20, 20], [7, 40, 7, 49], [40, 40, 60, 60], [0, 40, 20, 60], [40, 0, 60, 20]]
    model = finder((boxes, [0, 2, 1, 1, 2, 0], [0.9, 0.8, 0.75, 0.7, 0.6, 0.4]), (NONE, [], []))
    found = detected_regions(model, images(), 3, least=0.1, iou=0.4)
    assert found.counts.tolist() == [4, 1]
    np.testing.assert_array_equal(found.boxes[0], [[0, 0, 64, 64], boxes[0], boxes[3], boxes[4]])
    np.testing.assert_array_equal(found.boxes[1], [[0, 0, 64, 64]] + [[0, 0, 0, 0]] * 3)
    assert model.asked == [(None, {"top": 3, "least": 0.1, "iou": 0.4})] * 2
    np.testing.assert_allclose(
        found.features[0], given_regions(model, images(), [found.boxes[0, 1:], NONE]).features[0], rtol=1e-5, atol=1e-6
    )
    model.asked.clear()
    kept = best_detections(model, images()[0], 3, same=1)
    np.testing.assert_array_equal(kept.boxes, np.array(boxes)[[0, 1, 3]])
    assert kept.labels.tolist() == [0, 2, 1] and kept.scores.tolist() == np.float32([0.9, 0.8, 0.7]).tolist()


def test_proposals_are_handed_on_and_scores_are_ranked() -> None:
    model = finder(([[0, 0, 9, 9], [20, 0, 29, 9]], [0, 0], [0.2, 0.6]), ([[1, 1, 5, 5]], [1], [0.9]))
    proposals, calls = [np.array([[0.0, 0, 8, 8]]), np.array([[2.0, 2, 8, 8]])], []
    found = detected_regions(model, images(), 1, proposals=proposals, progress=lambda: calls.append(1))
    assert found.boxes[:, 1].tolist() == [[20, 0, 29, 9], [1, 1, 5, 5]] and len(calls) == 2
    for (given_boxes, _), wanted in zip(model.asked, proposals, strict=True):
        np.testing.assert_array_equal(given_boxes, wanted)
    with pytest.raises(ValueError, match=r"proposals must be 2 arrays \(P, 4\), one per image, got 1"):
        detected_regions(model, images(), proposals=proposals[:1])
    for top in (0, -1, 1.5):
        with pytest.raises(ValueError, match="top must be an int of at least 1"):
            detected_regions(model, images(), top)


@pytest.mark.parametrize("build", [fast_rcnn, faster_rcnn])
def test_a_real_detector_on_scenes(build: Any) -> None:
    """Untrained: with least=0 it reports something, with least=1 nothing, which leaves one region."""
    model = detector(build)
    pictures = data.SceneDetection(Scenes(3, items=("mnist",), background="textured")).images
    found = detected_regions(model, pictures, 4, least=0.0)
    assert found.counts.min() >= 2 and found.boxes.shape[1] == found.counts.max() <= 5
    assert np.isfinite(found.features).all()
    for boxes, count in zip(found.boxes, found.counts, strict=True):
        assert (boxes[:count, :2] < boxes[:count, 2:]).all() and boxes.min() >= 0 and boxes.max() <= 64
    nothing = detected_regions(model, pictures, 4, least=1.0)
    assert nothing.counts.tolist() == [1, 1, 1] and nothing.features.shape[:2] == (3, 1)
    np.testing.assert_allclose(nothing.features[:, 0], found.features[:, 0], rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------- distractors


@given(st.integers(0, 10**6), st.integers(0, 3), st.integers(1, 5), st.sampled_from([48, 64, 96]))
@settings(max_examples=60, deadline=None)
def test_distractors_cover_no_object(i: int, objects: int, count: int, size: int) -> None:
    truth = Scenes(i + 1, size=size, items=("mnist",), objects=objects)[i].boxes
    found = distractors(truth, (size, size), count, np.random.default_rng(i))
    assert found.shape == (count, 4) and found.dtype == np.float32 and (found == np.round(found)).all()
    assert found.min() >= 0 and found.max() <= size
    sides = found[:, 2:] - found[:, :2]
    assert (0.2 * size < sides[:, 1]).all() and (sides[:, 1] < 0.46 * size).all()
    assert (sides[:, 0] <= sides[:, 1]).all() and (sides[:, 0] >= 0.5 * sides[:, 1] - 0.5).all()
    for box in found:
        for x1, y1, x2, y2 in truth:  # counted pixel by pixel: digits' corners are whole numbers
            inside = np.zeros((size, size), bool)
            inside[int(y1) : int(y2), int(x1) : int(x2)] = True
            left, top, right, bottom = box.astype(int)
            assert inside[top:bottom, left:right].sum() < 0.3 * inside.sum()


def test_a_small_object_may_not_be_held_by_a_large_distractor() -> None:
    """IoU would be below 0.3 for every box that holds it whole."""
    digit = np.array([[28.0, 28, 36, 36]])
    rng = np.random.default_rng(0)
    found = distractors(digit, (64, 64), 300, rng, sides=(26, 28))
    overlap = np.minimum(found[:, 2:], 36) - np.maximum(found[:, :2], 28)
    assert np.maximum(overlap, 0).prod(1).max() < 0.3 * 64
    again = distractors(digit, (64, 64), 300, np.random.default_rng(0), sides=(26, 28))
    np.testing.assert_array_equal(found, again)


def test_distractors_in_a_crowd_are_small_and_a_full_image_says_so() -> None:
    """Between a wide object and the right edge only boxes of the smallest side fit."""
    wide = np.array([[0.0, 0, 54, 64]])
    found = distractors(wide, (64, 64), 3, np.random.default_rng(1), sides=(8, 40), covered=0.001)
    assert found[:, 0].min() >= 54
    with pytest.raises(ValueError, match="distractors: no place for a box of 14 px that covers less than 0.3 of each"):
        distractors(np.array([[x, y, x + 4, y + 4] for x in range(0, 64, 4) for y in range(0, 64, 4)]), (64, 64), 1,
                    np.random.default_rng(0))  # fmt: skip
    assert distractors(NONE, (64, 64), 0, np.random.default_rng(0)).shape == (0, 4)
    assert distractors(NONE, (40, 90), 2, np.random.default_rng(0))[:, 3].max() <= 40
    for wrong in ({"sides": (0, 5)}, {"sides": (9, 5)}, {"sides": (5, 65)}, {"count": -1}, {"covered": 0}):
        with pytest.raises(ValueError, match="wanted 1 <= sides <= 64, count >= 0 and 0 < covered <= 1"):
            distractors(**{"boxes": NONE, "size": (64, 64), "count": 1, "rng": np.random.default_rng(0)} | wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="distractors: boxes must be finite"):
        distractors(np.array([[0, 0, np.nan, 4]]), (64, 64), 1, np.random.default_rng(0))
