"""Lesson 06, steps 1 to 5: what they write by hand is what the library computes, and their bugs are caught."""

from __future__ import annotations

import re

import numpy as np
import pytest
from _exercises import LESSONS
from _steps import imported, script_of

from tinyconv.models.fast_rcnn import _deltas
from tinyconv.vision import box_iou
from tinyconv.vision.sampling import label_proposals
from tinyconv.vision.selective_search import felzenszwalb

LESSON = LESSONS / "06_rcnn"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A step that was run, by its number, and what it printed; each is run once, as with --smoke."""
    folder, found = tmp_path_factory.mktemp("lesson06"), {}

    def of(number: int):
        if number not in found:
            step, text = imported(script_of(LESSON, number), folder)
            found[number] = step, text.getvalue()
        return found[number]

    return of


@pytest.fixture
def said(ran):
    """What a step prints."""
    return lambda number: ran(number)[1]


def test_boxes_and_their_judgement_are_the_specifications(said):
    """Its own asserts compare with the library; these are the numbers of the papers' conventions."""
    text = said(1)
    assert "x2 - x1 + 0: [ 0.2105  0.      0.1911 -0.2296]" in text
    assert "x2 - x1 + 1: [ 0.2     0.      0.1823 -0.2231]" in text
    assert [line.split(": ")[1] for line in text.splitlines() if line.startswith("  threshold")] == [
        "A",
        "A C",
        "A B C",
    ]
    assert "11-point 0.681818, all-point 0.687500" in text
    assert "11-point 0.649351, all-point 0.614286" in text


def test_recall_and_overlap_at_their_bounds(ran):
    """3 of 10 objects are a recall of 0.3; an IoU of exactly the threshold drops nothing."""
    step, _ = ran(1)
    *_, eleven, area = step.average_precision([1, 1, 1], 10)
    assert (eleven, area) == pytest.approx((4 / 11, 0.3))
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    assert step.nms(boxes, np.array([0.9, 0.8]), 0.5) == [0, 1]
    assert step.nms(boxes, np.array([0.8, 0.9]), 0.499) == [1]


def test_without_suppression_all_boxes_of_all_classes_are_left(ran):
    step, text = ran(1)
    assert set(np.concatenate([one.labels for one in step.found])) == set(range(10))
    left = re.search(r"^ *1\.0 +(\d+) ", text, re.MULTILINE)[1]
    assert int(left) == sum(len(one.boxes) for one in step.found)


def by_first_pixel(labels):
    """Return labels that count up in the order in which regions appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first.argsort().argsort()[inverse].reshape(labels.shape)


@pytest.mark.parametrize("k", [20, 100, 500, 2000])
def test_segments_of_a_picture_are_the_librarys(ran, k):
    """Whole grey values with fractions drawn at random, so that no two edges weigh the same."""
    step, _ = ran(2)
    for i, image in enumerate(step.scenes("test", 4).images):
        grey = np.floor(255 * image.mean(0)[16:40, 20:44]) + np.random.default_rng(i).random((24, 24))
        wanted = felzenszwalb(grey / 256, k * 255 / 256, sigma=0, min_size=1)
        np.testing.assert_array_equal(by_first_pixel(step.segment(grey, k)), by_first_pixel(wanted))
        if k in (100, 500):
            assert 1 < wanted.max() < 500


def test_segments_and_their_tree_are_the_librarys(said):
    assert re.findall(r"k = (\d+): (\d) regions, the library's (\d)", said(2)) == [("799", "2", "2"), ("800", "1", "1")]
    assert "equal to the library's: True" in said(2)


def test_mining_keeps_few_negatives(said):
    """That its plane is the library's, the step asserts."""
    negatives, kept = re.search(r"([\d,]+) negatives of which (\d+) hard ones were kept", said(3)).groups()
    assert 0 < int(kept) < int(negatives.replace(",", ""))


def test_negatives_may_show_another_class(ran):
    """A machine's negatives are boxes off the objects of its class, the threes, alone."""
    step, _ = ran(3)
    off = [box_iou(box, truth.boxes[truth.labels == 3]).max(1, initial=0) < 0.3
           for box, truth in zip(step.every, step.truths, strict=True)]  # fmt: skip
    assert [len(part) for part in step.negatives] == [part.sum() for part in off]
    for part, top, chosen in zip(step.negatives, step.tops, off, strict=True):
        np.testing.assert_array_equal(part, step.scale * top[chosen])
    whose = [box_iou(box, truth.boxes).max(1) >= 0.5 for box, truth in zip(step.every, step.truths, strict=True)]
    assert sum((part & other).sum() for part, other in zip(off, whose, strict=True)) > 0


def test_roi_pooling_is_the_librarys_and_its_bug_is_caught(said):
    text = said(4)
    for numbers in (
        "[[19, 22], [43, 46]]",
        "[[18, 21, 23], [42, 45, 47], [58, 61, 63]]",
        "[[9, 10, 11], [17, 18, 19], [25, 26, 27]]",
        "[[63, 0], [0, 0]]",
        "[[0, 0, 0], [0, 18, 21], [0, 42, 45]]",  # -2.5 is rounded to -3: the first bins lie outside
    ):
        assert numbers in text
    assert text.count("the same numbers: True") == 3
    outcomes = re.findall(r"^(apart|overlapping|equal maxima): (.*)$", text, re.MULTILINE)
    assert outcomes == [
        ("apart", "Pool passes"),
        ("apart", "AssigningPool passes"),
        ("overlapping", "Pool passes"),
        ("overlapping", "caught"),
        ("equal maxima", "caught"),
    ]
    assert "assigned instead of added" in text and "fails only at ties" in text


@pytest.fixture
def candidates():
    """Two objects, their labels, and boxes: some near either, some anywhere, two at the bounds of an IoU."""
    rng = np.random.default_rng(0)
    true, labels = np.array([[4.0, 4, 24, 24], [30, 28, 54, 60]]), np.array([7, 2])
    near, corner = np.repeat(true, 30, axis=0) + rng.normal(0, 2.5, (60, 4)), rng.uniform(0, 44, (60, 2))
    bounds = [[4, 4, 24, 14], [4, 4, 24, 6]]  # 0.5 and 0.1
    return np.concatenate([near, np.concatenate([corner, corner + 20], axis=1), bounds]), true, labels


def test_sampled_classes_and_moves_are_the_librarys(ran, candidates):
    """All that may be sampled are, if enough are asked for."""
    step, _ = ran(5)
    proposed, true, labels = candidates
    boxes, classes, moves, kinds = step.sample(proposed, true, labels, 1000, np.random.default_rng(1))
    every = np.concatenate([true, proposed])
    known, overlaps, matched = label_proposals(every, true, labels)
    at = (every[:, None] == boxes).all(2).argmax(0)
    np.testing.assert_array_equal(np.sort(at), np.flatnonzero(overlaps >= 0.1))
    assert set(known) == {0, 8, 3} and (overlaps < 0.1).any() and (overlaps[-2:] == [0.5, 0.1]).all()
    np.testing.assert_array_equal(classes, known[at])
    np.testing.assert_allclose(moves, _deltas(every[at], true, matched[at], known[at]), rtol=1e-5, atol=1e-6)
    counts = [(known > 0).sum(), ((known == 0) & (overlaps >= 0.1)).sum(), (overlaps < 0.1).sum()]
    assert [kinds[kind].sum() for kind in ("objects", "background", "easy")] == counts


@pytest.mark.parametrize("count", [8, 32])
def test_a_quarter_of_the_sample_are_objects(ran, candidates, count):
    step, _ = ran(5)
    boxes, classes, *_ = step.sample(*candidates, count, np.random.default_rng(2))
    assert len(boxes) == len(np.unique(boxes, axis=0)) == count
    assert (classes > 0).sum() == count // 4


def test_the_loss_is_the_librarys(said):
    ours, theirs, off = re.search(r"loss ([\d.]+), the library's ([\d.]+); .* by (\S+)", said(5)).groups()
    assert ours == theirs
    assert float(off) < 1e-12
    assert "t = 128        118,784       0.0%" in said(5), "all singular values leave nothing out"
