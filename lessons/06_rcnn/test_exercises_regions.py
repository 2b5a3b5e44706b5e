"""Tests of tasks 6.7 to 6.11: ``pytest lessons/06_rcnn``, or one task with ``-k 6_8``."""

import importlib.util
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import models, vision
from tinyconv.models.fast_rcnn import Learnt, multitask_loss
from tinyconv.vision.anchors import anchor_boxes, grid_anchors, label_anchors
from tinyconv.vision.boxes import decode_boxes
from tinyconv.vision.nms import nms
from tinyconv.vision.proposals import ProposalRule, propose

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_06_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

# --------------------------------------------------------------------------------------------- 6.7: the multi-task loss

losing = pytest.mark.task(
    id="6.7", points=3, minutes=30, difficulty=2, hint="both terms over R; class u has the four numbers of place u - 1"
)


def regions(seed=0, R=7, K=3):
    """Return scores, deltas, classes and targets of R regions."""
    rng = np.random.default_rng(seed)
    classes = np.array([0, 1, K, 2, 0, 0, 1])[:R]
    return 2 * rng.standard_normal((R, K + 1)), rng.standard_normal((R, 4 * K)), classes, rng.standard_normal((R, 4))


@losing
def test_6_7_by_hand():
    """Two classes. Region 0 is background, region 1 of class 2, off by 0.5, 1, 2 and -0.3."""
    deltas = np.array([[9.0] * 8, [9.0, 9, 9, 9, 0.5, 1, 2, -0.3]])
    loss, dscores, ddeltas = exercises.multi_task_loss(
        np.zeros((2, 3)), deltas, np.array([0, 2]), np.array([[7.0] * 4, [0.0] * 4])
    )
    assert loss == pytest.approx(np.log(3) + (0.125 + 0.5 + 1.5 + 0.045) / 2)
    np.testing.assert_allclose(dscores, np.array([[-2, 1, 1], [1, 1, -2]]) / 6)
    np.testing.assert_allclose(ddeltas, [[0.0] * 8, [0, 0, 0, 0, 0.25, 0.5, 0.5, -0.15]])


@losing
@pytest.mark.parametrize("balance", [1.0, 0.0, 3.0])
def test_6_7_gradients_agree_with_differences(balance):
    scores, deltas, classes, targets = regions()
    loss = lambda s, d: exercises.multi_task_loss(s, d, classes, targets, balance)[0]  # noqa: E731
    _, dscores, ddeltas = exercises.multi_task_loss(scores, deltas, classes, targets, balance)
    for x, dx, f in ((scores, dscores, lambda v: loss(v, deltas)), (deltas, ddeltas, lambda v: loss(scores, v))):
        assert dx.shape == x.shape
        for at in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[at] = 1e-6
            assert dx[at] == pytest.approx((f(x + step) - f(x - step)) / 2e-6, abs=1e-7), at


@losing
def test_6_7_is_the_librarys():
    scores, deltas, classes, targets = regions(1)
    taped = [tinyconv.tensor(part, requires_grad=True) for part in (scores, deltas)]
    wanted = multitask_loss(Learnt(taped[0], taped[1], classes, targets))
    wanted.backward()
    loss, dscores, ddeltas = exercises.multi_task_loss(scores, deltas, classes, targets)
    assert loss == pytest.approx(wanted.item())
    np.testing.assert_allclose(dscores, taped[0].grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(ddeltas, taped[1].grad.numpy(), atol=1e-12)


@losing
def test_6_7_background_learns_no_box():
    scores, deltas, classes, targets = regions(2)
    targets[classes == 0] = np.nan
    loss, _, ddeltas = exercises.multi_task_loss(scores, deltas, classes, targets)
    assert np.isfinite(loss)
    assert (ddeltas[classes == 0] == 0).all() and np.isfinite(ddeltas).all()
    loss, dscores, ddeltas = exercises.multi_task_loss(np.zeros((3, 3)), np.ones((3, 8)), np.zeros(3, int), targets[:3])
    assert loss == pytest.approx(np.log(3))
    assert (ddeltas == 0).all() and dscores.sum() == pytest.approx(0)


@losing
def test_6_7_large_scores_do_not_overflow():
    scores = np.array([[1000.0, -1000], [-1000, 1000]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, dscores, _ = exercises.multi_task_loss(scores, np.zeros((2, 4)), np.array([0, 0]), np.zeros((2, 4)))
    assert loss == pytest.approx(1000)
    np.testing.assert_allclose(dscores, [[0, 0], [-0.5, 0.5]], atol=1e-12)


@losing
def test_6_7_changes_nothing():
    given = regions(3)
    kept = [part.copy() for part in given]
    exercises.multi_task_loss(*given)
    for part, before in zip(given, kept, strict=True):
        np.testing.assert_array_equal(part, before)


# --------------------------------------------------------------------------------- 6.8: singular values of a layer

shrinking = pytest.mark.task(
    id="6.8",
    points=2,
    minutes=15,
    difficulty=1,
    hint="the singular values go to the first layer, the bias to the second",
)


@shrinking
@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (5, 5)])
def test_6_8_at_full_rank_nothing_changes(shape):
    rng = np.random.default_rng(0)
    weight, bias, x = rng.standard_normal(shape), rng.standard_normal(shape[0]), rng.standard_normal((4, shape[1]))
    first, second, offset, _ = exercises.truncated_svd(weight, bias, min(shape))
    np.testing.assert_allclose(x @ first.T @ second.T + offset, x @ weight.T + bias, atol=1e-10)


@shrinking
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_6_8_is_the_nearest_matrix_of_its_rank(rank):
    weight = np.random.default_rng(1).standard_normal((7, 10))
    kept = weight.copy()
    first, second, _, _ = exercises.truncated_svd(weight, np.zeros(7), rank)
    assert first.shape == (rank, 10) and second.shape == (7, rank)
    dropped = np.linalg.svd(weight, compute_uv=False)[rank:]
    assert ((second @ first - weight) ** 2).sum() == pytest.approx((dropped**2).sum())
    np.testing.assert_allclose(second.T @ second, np.eye(rank), atol=1e-12, err_msg="second is not orthonormal")
    np.testing.assert_array_equal(weight, kept, err_msg="weight was changed")


@shrinking
@pytest.mark.parametrize(("shape", "rank", "saved"), [((41, 251), 10, 7371), ((16, 16), 8, 0), ((2, 3), 2, -4)])
def test_6_8_counts(shape, rank, saved):
    """The first has a hundredth of fc6's sides in VGG-16, and about its share: 10,291 to 2,920 weights."""
    weight = np.random.default_rng(2).standard_normal(shape)
    assert exercises.truncated_svd(weight, np.zeros(shape[0]), rank)[3] == saved


# ------------------------------------------------------------------------------------------------------- 6.9: anchors

placing = pytest.mark.task(
    id="6.9", points=2, minutes=20, difficulty=1, hint="width = size / sqrt(ratio), height = size * sqrt(ratio)"
)


@placing
def test_6_9_by_hand():
    """Two places side by side, whose middles are (2, 2) and (6, 2); a ratio of 4 is high, of 1 a square."""
    found = exercises.all_anchors((1, 2), 4, (2, 8), (4, 1))
    wanted = [[1.5, 0, 2.5, 4], [0, -6, 4, 10], [1, 1, 3, 3], [-2, -2, 6, 6]]
    np.testing.assert_allclose(found, wanted + [[x1 + 4, y1, x2 + 4, y2] for x1, y1, x2, y2 in wanted])


@placing
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (4, 2), (0, 3)])
def test_6_9_is_the_librarys(shape):
    found = exercises.all_anchors(shape, 8, (12, 18, 26), (0.5, 1, 2))
    wanted = grid_anchors(anchor_boxes((12, 18, 26), (0.5, 1, 2)), shape, 8)
    assert found.shape == wanted.shape == (shape[0] * shape[1] * 9, 4)
    np.testing.assert_allclose(found, wanted)


@placing
def test_6_9_the_papers_map():
    """60 x 40 places have 21,600 anchors; all around the middle of their place, all with the area of their size."""
    found = exercises.all_anchors((60, 40), 16, (128, 256, 512), (0.5, 1, 2))
    assert found.shape == (21600, 4)
    centres = ((found[:, :2] + found[:, 2:]) / 2).reshape(60, 40, 9, 2)
    np.testing.assert_allclose(centres[3, 7], [[7.5 * 16, 3.5 * 16]] * 9)
    np.testing.assert_allclose((found[:9, 2:] - found[:9, :2]).prod(1), np.tile([128**2, 256**2, 512**2], 3))


# ------------------------------------------------------------------------------------------- 6.10: what anchors are

labelling = pytest.mark.task(
    id="6.10", points=3, minutes=30, difficulty=2, hint="best anchor of each object: among those inside, and above 0"
)


@labelling
def test_6_10_by_hand():
    """IoU with the object of 9 x 8: 8/9; 5/12, between the bounds; 0; 7/9, but it crosses the border."""
    anchors = np.array([[0.0, 0, 8, 8], [4, 0, 12, 8], [20, 20, 28, 28], [-1, 0, 7, 8]])
    labels, matched = exercises.label_anchors(anchors, np.array([[0.0, 0, 9, 8]]), (32, 32))
    assert labels.tolist() == [1, -1, 0, -1]
    assert matched.tolist() == [0, 0, 0, 0]


@labelling
def test_6_10_the_best_of_an_object_is_one_however_little_it_overlaps():
    """0.55 is the best of object 0; 0.29, which alone would be background, that of object 1; ties are all objects."""
    anchors = np.array([[0.0, 0, 10, 5.5], [40, 40, 50, 42.9], [60, 0, 62, 10], [68, 0, 70, 10], [80, 80, 90, 90]])
    truth = np.array([[0.0, 0, 10, 10], [40, 40, 50, 50], [60, 0, 70, 10]])
    labels, matched = exercises.label_anchors(anchors, truth, (100, 100))
    assert labels.tolist() == [1, 1, 1, 1, 0]
    assert matched[:4].tolist() == [0, 1, 2, 2]


@labelling
def test_6_10_ties_by_rounding_are_ties():
    x = 0.1 + 0.2  # 0.30000000000000004
    anchors = np.array([[x, 0, x + 4, 4], [6 - 0.3, 0, 10 - 0.3, 4]])
    labels, _ = exercises.label_anchors(anchors, np.array([[0.0, 0, 10, 4]]), (32, 32))
    assert labels.tolist() == [1, 1]


@labelling
def test_6_10_two_that_differ_by_more_do_not_tie():
    """IoU 0.4 and 0.4005: the second is the best, the first lies between the bounds."""
    anchors = np.array([[0.0, 0, 10, 4], [0, 0, 10, 4.005]])
    assert exercises.label_anchors(anchors, np.array([[0.0, 0, 10, 10]]), (32, 32))[0].tolist() == [-1, 1]


@labelling
def test_6_10_an_object_that_no_anchor_meets_makes_nothing_an_object():
    anchors = np.array([[8.0, 8, 20, 20], [30, 30, 40, 40], [-2, -2, 10, 10]])
    labels, _ = exercises.label_anchors(anchors, np.array([[0.0, 0, 4, 4]]), (64, 64))
    assert labels.tolist() == [0, 0, -1], "the anchor that meets it crosses the border"
    labels, matched = exercises.label_anchors(anchors, np.zeros((0, 4)), (64, 64))
    assert labels.tolist() == [0, 0, -1]
    assert matched.tolist() == [-1, -1, -1]
    anchors, truth = np.array([*anchors[:2], [50.0, 50, 60, 60]]), np.array([[0.0, 0, 4, 4], [30, 30, 40, 40]])
    labels, _ = exercises.label_anchors(anchors, truth, (64, 64))
    assert labels.tolist() == [0, 1, 0], "another object is met"


@labelling
def test_6_10_an_anchor_outside_takes_no_object_from_those_inside():
    """IoU 0.8 across the border, 0.4 inside: that one is the object's best."""
    anchors = np.array([[-2.0, 0, 8, 10], [0, 0, 10, 4]])
    labels, _ = exercises.label_anchors(anchors, np.array([[0.0, 0, 10, 10]]), (32, 32))
    assert labels.tolist() == [-1, 1]


@labelling
def test_6_10_bounds_belong_to_the_upper_side():
    """IoU of exactly 0.7 is an object, of exactly 0.3 no background."""
    anchors = np.array([[0.0, 0, 10, 7], [0, 0, 10, 3], [0, 0, 10, 10], [0, 0, 10, 2.9]])
    labels, _ = exercises.label_anchors(anchors, np.array([[0.0, 0, 10, 10]]), (32, 32))
    assert labels.tolist() == [1, -1, 1, 0]


@labelling
def test_6_10_the_image_is_height_by_width():
    anchors = np.array([[30.0, 0, 40, 10], [0, 30, 10, 40]])
    labels, _ = exercises.label_anchors(anchors, np.zeros((0, 4)), (20, 50))
    assert labels.tolist() == [0, -1]


@labelling
@pytest.mark.parametrize("seed", range(4))
def test_6_10_is_the_librarys(seed):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 40, (3, 2)), rng.uniform(14, 24, (3, 2))
    truth = np.concatenate([corner, corner + size], axis=1)
    anchors = grid_anchors(anchor_boxes((12, 18, 26), (0.5, 1, 2)), (16, 16), 4)
    kept = anchors.copy()
    found, wanted = exercises.label_anchors(anchors, truth, (64, 64)), label_anchors(anchors, truth, (64, 64))
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(anchors, kept)


# ------------------------------------------------------------------------------------------------- 6.11: proposals

proposing = pytest.mark.task(
    id="6.11", points=3, minutes=20, difficulty=2, hint="clip, then measure; sort, then cut; suppress, then cut again"
)


def everything(boxes, scores):
    """Suppress nothing."""
    return np.arange(len(boxes))


def as_they_are(anchors, deltas):
    """Return the anchors moved by deltas in pixels."""
    return anchors + deltas


@proposing
def test_6_11_clips_first_and_then_drops_the_small():
    """A box of 20 x 20 of which 15 columns are in the image; one of 16 rows, exactly enough; a large one."""
    anchors = np.array([[-5.0, 0, 15, 20], [10, 0, 30, 16], [0, 0, 60, 60]])
    found = exercises.propose(np.array([3.0, 2, 1]), np.zeros((3, 4)), anchors, (40, 50), as_they_are, everything)
    assert found[0].tolist() == [[10, 0, 30, 16], [0, 0, 50, 40]]
    assert found[1].tolist() == [2, 1]


@proposing
def test_6_11_small_boxes_do_not_count_among_the_best():
    anchors = np.array([[0.0, 0, 5, 5], [0, 0, 20, 20], [20, 20, 40, 40]])
    scores = np.array([3.0, 1, 2])
    found = exercises.propose(scores, np.zeros((3, 4)), anchors, (50, 50), as_they_are, everything, before=2)
    assert found[1].tolist() == [2, 1]


@proposing
def test_6_11_what_is_handed_to_suppress():
    """The two best, sorted; of equal scores the first; what suppress drops is not replaced."""
    anchors = np.array([[i, 0.0, i + 20, 20] for i in range(5)])
    seen = []

    def suppress(boxes, scores):
        seen.append((boxes[:, 0].tolist(), scores.tolist()))
        return np.array([1])

    found = exercises.propose(
        np.array([1.0, 5, 2, 5, 3]), np.zeros((5, 4)), anchors, (50, 50), as_they_are, suppress, 2
    )
    assert seen == [([1, 3], [5, 5])]
    assert found[0].tolist() == [[3, 0, 23, 20]] and found[1].tolist() == [5]


@proposing
def test_6_11_after_is_counted_after_suppressing():
    anchors = np.array([[i, 0.0, i + 20, 20] for i in range(6)])
    every_other = lambda boxes, scores: np.arange(0, len(boxes), 2)  # noqa: E731
    found = exercises.propose(
        -np.arange(6.0), np.zeros((6, 4)), anchors, (50, 50), as_they_are, every_other, before=5, after=2
    )
    assert found[0][:, 0].tolist() == [0, 2]


@proposing
@pytest.mark.parametrize("seed", range(3))
def test_6_11_is_the_librarys_and_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    anchors = grid_anchors(anchor_boxes((12, 18, 26), (0.5, 1, 2)), (12, 16), 4)
    scores, deltas = np.round(rng.standard_normal(len(anchors)), 1), 0.5 * rng.standard_normal((len(anchors), 4))
    kept = scores.copy(), deltas.copy(), anchors.copy()
    suppress = partial(nms, threshold=0.7)
    found = exercises.propose(scores, deltas, anchors, (48, 64), decode_boxes, suppress, 200, 20, 8)
    wanted = propose(scores, deltas, anchors, (48, 64), ProposalRule(200, 20, 0.7, 8))
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for part, before in zip((scores, deltas, anchors), kept, strict=True):
        np.testing.assert_array_equal(part, before)


@proposing
def test_6_11_runs_in_the_librarys_detector(monkeypatch):
    tinyconv.manual_seed(0)
    model = models.faster_rcnn(10, scale="lesson")
    image = np.random.default_rng(0).standard_normal((3, 48, 64)).astype(np.float32)
    wanted = model.detect(image)

    def mine(scores, deltas, anchors, size, rule):
        suppress = partial(vision.nms.nms, threshold=rule.iou)
        limits = rule.before, rule.after, rule.least_side
        return exercises.propose(scores, deltas, anchors, size, decode_boxes, suppress, *limits)

    monkeypatch.setattr(sys.modules[type(model).__module__], "propose", mine)
    for found, theirs in zip(model.detect(image), wanted, strict=True):
        np.testing.assert_array_equal(found, theirs)
