"""Tests of tasks 3.8 to 3.10, the boxes: ``pytest lessons/03_vgg``, or one task with ``-k 3_9``."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import localisation, vision

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_03_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


def random_boxes(rng, number, side):
    """Return boxes with whole corners from 0 on, none of them empty."""
    corners = rng.integers(0, side, (number, 2))
    return np.concatenate([corners, corners + rng.integers(1, side, (number, 2))], axis=1).astype(float)


# ----------------------------------------------------------------------------------------- 3.8: intersection over union

overlapping = pytest.mark.task(
    id="3.8", points=2, minutes=15, difficulty=1, hint="max(0, ...) for both sides; both areas minus the common one"
)


@overlapping
@pytest.mark.parametrize(
    ("box", "other", "wanted"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 1),
        ([0, 0, 10, 10], [5, 0, 15, 10], 50 / 150),
        ([0, 0, 10, 10], [5, 5, 15, 15], 25 / 175),
        ([0, 0, 10, 10], [2, 3, 4, 8], 10 / 100),
        ([0, 0, 10, 10], [10, 0, 20, 10], 0),
        ([0, 0, 10, 10], [20, 20, 30, 30], 0),  # apart in both directions: two negative sides make no area
        ([0, 0, 10, 10], [20, 2, 30, 8], 0),
        ([1.5, 2, 3.5, 3], [2.5, 2.5, 4.5, 3.5], 0.5 / 3.5),
    ],
)
def test_3_8_two_boxes_by_hand(box, other, wanted):
    found = exercises.box_iou(np.array([box], float), np.array([other], float))
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(wanted, abs=1e-12)


@overlapping
def test_3_8_every_box_with_every_other_by_counting_cells():
    boxes = random_boxes(np.random.default_rng(6), 9, 12)
    rows, columns = np.mgrid[0:24, 0:24] + 0.5
    covered = [(columns > x1) & (columns < x2) & (rows > y1) & (rows < y2) for x1, y1, x2, y2 in boxes]
    wanted = [[(a & b).sum() / (a | b).sum() for b in covered[4:]] for a in covered[:4]]
    np.testing.assert_allclose(exercises.box_iou(boxes[:4], boxes[4:]), wanted, atol=1e-12)


# --------------------------------------------------------------------------------------------- 3.9: the Euclidean loss

regressing = pytest.mark.task(
    id="3.9", points=3, minutes=20, difficulty=2, hint="gradient (box - target) / N for the own class, 0 elsewhere"
)


@regressing
def test_3_9_one_box_for_all_classes_by_hand():
    prediction, target = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 1.0, 1.0]]), np.array([[0.0, 2.0, 5.0, 4.0]] * 2)
    loss, gradient = exercises.box_loss(prediction, target)
    # Squared distances 1 + 0 + 4 + 0 and 0 + 4 + 16 + 9.
    assert loss == pytest.approx((5 + 29) / 4, rel=1e-12)
    np.testing.assert_allclose(gradient, [[0.5, 0, -1, 0], [0, -1, -2, -1.5]], atol=1e-12)


@regressing
def test_3_9_one_box_per_class_by_hand():
    prediction = np.arange(24.0).reshape(2, 12)
    target = np.array([[9.0, 9.0, 9.0, 9.0], [12.0, 13.0, 14.0, 15.0]])
    loss, gradient = exercises.box_loss(prediction, target, np.array([2, 0]))
    # Class 2 of the first image is 8 9 10 11: distance 1 + 0 + 1 + 4. Class 0 of the second is its target.
    assert loss == pytest.approx(6 / 4, rel=1e-12)
    wanted = np.zeros((2, 12))
    wanted[0, 8:] = [-0.5, 0, 0.5, 1]
    np.testing.assert_allclose(gradient, wanted, atol=1e-12)


@regressing
@pytest.mark.parametrize("classes", [1, 3])
def test_3_9_the_gradient_is_the_slope(classes):
    rng = np.random.default_rng(7)
    prediction, target = rng.standard_normal((5, 4 * classes)), rng.standard_normal((5, 4))
    labels = None if classes == 1 else rng.integers(0, classes, 5)
    kept = prediction.copy()
    loss, gradient = exercises.box_loss(prediction, target, labels)
    np.testing.assert_array_equal(prediction, kept)
    assert np.ndim(loss) == 0
    for at in np.ndindex(prediction.shape):
        one = np.zeros_like(prediction)
        one[at] = 1e-5
        above, below = (exercises.box_loss(prediction + s * one, target, labels)[0] for s in (1, -1))
        assert gradient[at] == pytest.approx((above - below) / 2e-5, abs=1e-6), f"element {at}"


@regressing
@pytest.mark.parametrize("classes", [1, 4])
def test_3_9_is_what_the_library_trains_with(classes):
    rng = np.random.default_rng(9)
    labels, corners = rng.integers(0, classes, 6), random_boxes(rng, 6, 20) / 40
    prediction = rng.standard_normal((6, 4 * classes))
    outputs = tinyconv.Tensor(prediction, requires_grad=True)
    wanted = localisation.EuclideanLoss(1)(outputs, tinyconv.Tensor(np.column_stack([labels, corners])))
    wanted.backward()
    given = None if classes == 1 else labels
    loss, gradient = exercises.box_loss(prediction, vision.to_centre(corners), given)
    assert loss == pytest.approx(wanted.item(), rel=1e-9)
    np.testing.assert_allclose(gradient, outputs.grad.numpy(), rtol=1e-9, atol=1e-12)


# --------------------------------------------------------------------------------------------- 3.10: merging near boxes

merging = pytest.mark.task(
    id="3.10", points=3, minutes=30, difficulty=3, hint="the mean of all boxes of the heap, not of two means"
)


@merging
def test_3_10_two_objects_found_at_five_places():
    boxes = np.array([[0, 0, 10, 10], [40, 40, 50, 50], [1, 0, 11, 10], [2, 0, 12, 10], [40, 42, 50, 52]], float)
    scores = np.array([0.25, 0.5, 0.25, 0.125, 0.25])
    kept = boxes.copy(), scores.copy()
    found, totals = exercises.merge_boxes(boxes, scores)
    np.testing.assert_allclose(found, [[40, 41, 50, 51], [1, 0, 11, 10]])
    np.testing.assert_allclose(totals, [0.75, 0.625])
    np.testing.assert_array_equal(boxes, kept[0])
    np.testing.assert_array_equal(scores, kept[1])


@merging
def test_3_10_every_box_of_a_heap_counts_equally():
    # 0 and 1 overlap most. Their mean 0.5 and 3 overlap by 7.5 / 12.5; the mean of all is 4 / 3, of two means 1.75.
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [3, 0, 13, 10]], float)
    found, totals = exercises.merge_boxes(boxes, np.array([1.0, 2.0, 4.0]))
    np.testing.assert_allclose(found, [[4 / 3, 0, 34 / 3, 10]])
    np.testing.assert_allclose(totals, [7])


@merging
def test_3_10_the_largest_overlap_goes_first_and_moves_the_box():
    # In order of the list, 0 and 4 would go first (6 / 14), to 2: then everything is merged. But 4 and 5 overlap most,
    # to 4.5, and 0 and 4.5 no longer by 0.4 (5.5 / 14.5).
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [5, 0, 15, 10]], float)
    found, totals = exercises.merge_boxes(boxes, np.array([1.0, 0.25, 0.5]), 0.4)
    np.testing.assert_allclose(found, [[0, 0, 10, 10], [4.5, 0, 14.5, 10]])
    np.testing.assert_allclose(totals, [1, 0.75])


@merging
def test_3_10_an_overlap_of_exactly_the_threshold_is_enough():
    boxes = np.array([[0, 0, 8, 8], [0, 0, 8, 4]], float)  # 32 / 64
    assert len(exercises.merge_boxes(boxes, np.ones(2), 0.5)[0]) == 1
    assert len(exercises.merge_boxes(boxes, np.ones(2), 0.51)[0]) == 2


@merging
@pytest.mark.parametrize("number", [0, 1])
def test_3_10_few_boxes(number):
    found, totals = exercises.merge_boxes(np.arange(4.0).reshape(1, 4)[:number], np.ones(1)[:number])
    assert found.shape == (number, 4)
    assert totals.shape == (number,)


@merging
def test_3_10_merges_as_the_library_does():
    rng = np.random.default_rng(10)
    boxes = np.concatenate([np.array([centre, centre, centre + 12, centre + 15]) + rng.standard_normal((7, 4)) * 2
                            for centre in (0, 8, 40)])  # fmt: skip
    scores = rng.random(len(boxes))
    wanted, totals = localisation.merge_boxes(boxes, scores, 0.4)
    assert 3 <= len(wanted) < len(boxes) / 2
    found = exercises.merge_boxes(boxes, scores, 0.4)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[1], totals, rtol=1e-9)
