"""Anchors: the paper's table, order and counts on a grid, which ones are objects, and the sample of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.random import generator
from tinyconv.vision import box_iou, to_centre
from tinyconv.vision.anchors import anchor_boxes, faithful_anchors, grid_anchors, label_anchors, sample_labels

TABLE = [
    [-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199],
    [-56, -56, 71, 71], [-120, -120, 135, 135], [-248, -248, 263, 263],
    [-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359],
]  # fmt: skip


def test_table_of_the_paper() -> None:
    found = faithful_anchors()
    assert found.tolist() == TABLE
    np.testing.assert_array_equal((found[:, :2] + found[:, 2:]) / 2, 7.5)
    # Its bases, before scaling: 23 x 12, 16 x 16, 11 x 22 pixels in the +1 convention.
    bases = faithful_anchors(scales=[1])
    assert (bases[:, 2:] - bases[:, :2] + 1).tolist() == [[23, 12], [16, 16], [11, 22]]


def test_sizes_and_ratios() -> None:
    boxes = anchor_boxes([12, 18], [0.5, 1, 2])
    x, y, width, height = to_centre(boxes).T
    np.testing.assert_allclose(width * height, [144, 324] * 3)
    np.testing.assert_allclose(height / width, [0.5, 0.5, 1, 1, 2, 2])
    assert not x.any() and not y.any()
    assert boxes[2].tolist() == [-6, -6, 6, 6]


def test_grid() -> None:
    """60 x 40 cells of 9 anchors: 21600, by row, then column, then anchor."""
    base = faithful_anchors()
    found = grid_anchors(base, (40, 60), 16, centre=False)
    assert found.shape == (21600, 4)
    for row, column, anchor in [(0, 0, 0), (0, 1, 3), (1, 0, 8), (39, 59, 8), (7, 31, 4)]:
        wanted = base[anchor] + 16 * np.array([column, row, column, row])
        assert found[(row * 60 + column) * 9 + anchor].tolist() == wanted.tolist()
    # A centred base lies around the middle of each cell.
    centred = to_centre(grid_anchors(anchor_boxes([18], [1, 2]), (3, 5), 4)).reshape(3, 5, 2, 4)
    np.testing.assert_allclose(centred[2, 3, :, :2], [[14, 10], [14, 10]])
    assert grid_anchors(base, (0, 5), 16).shape == (0, 4)
    assert grid_anchors(base.astype(np.float32), (2, 2), 4).dtype == np.float32


def test_anchors_inside_an_image() -> None:
    """On a 62 x 37 map of a 1000 x 600 image: 20646 anchors, 8151 of them inside, in the paper's +1 convention."""
    anchors = grid_anchors(faithful_anchors(), (37, 62), 16, centre=False)
    assert len(anchors) == 20646
    labels, matched = label_anchors(anchors + [0, 0, 1, 1], np.zeros((0, 4)), (600, 1000))
    assert np.count_nonzero(labels == 0) == 8151 and np.count_nonzero(labels == -1) == 20646 - 8151
    assert (matched == -1).all()
    everywhere = label_anchors(anchors, np.zeros((0, 4)), (600, 1000), border=np.inf)[0]
    assert not everywhere.any()


def boxes(*widths: float) -> np.ndarray:
    """Return boxes of height 10 that begin at (10, 10)."""
    return np.array([[10, 10, 10 + width, 20] for width in widths], float)


def test_labels_by_overlap() -> None:
    truth = boxes(100)
    # IoU 1, .70, .69, .30, .29, and none.
    anchors = np.concatenate([boxes(100, 70, 69, 30, 29), [[10, 30, 20, 40]]])
    np.testing.assert_allclose(box_iou(anchors, truth)[:, 0], [1, 0.7, 0.69, 0.3, 0.29, 0])
    labels, matched = label_anchors(anchors, truth, (200, 200))
    assert labels.tolist() == [1, 1, -1, -1, 0, 0] and labels.dtype == np.int8
    assert matched.tolist() == [0] * 6 and matched.dtype == np.int64
    assert label_anchors(anchors, truth, (200, 200), positive=0.69, negative=0.29)[0].tolist() == [1, 1, 1, -1, -1, 0]


def test_best_anchor_of_an_object_is_positive() -> None:
    assert label_anchors(boxes(55, 40), boxes(100), (200, 200))[0].tolist() == [1, -1]
    # Below the bound of the negatives, too: positives override.
    assert label_anchors(boxes(29, 20), boxes(100), (200, 200))[0].tolist() == [1, 0]
    # All that tie, here two halves and a box twice as wide.
    anchors = np.array([[10, 10, 60, 20], [60, 10, 110, 20], [10, 10, 210, 20], [10, 10, 59, 20]], float)
    labels, matched = label_anchors(anchors, boxes(100), (300, 300))
    assert labels.tolist() == [1, 1, 1, -1] and matched.tolist() == [0] * 4
    # By symmetry, though sums of such numbers round differently.
    third = np.array([[10.1, 10, 10.1 + 100 / 3, 20], [10.1 + 200 / 3, 10, 110.1, 20]])
    assert label_anchors(third, np.array([[10.1, 10, 110.1, 20]]), (300, 300))[0].tolist() == [1, 1]


def test_object_that_no_anchor_meets() -> None:
    """Its best IoU is 0, with which every anchor ties: none becomes positive."""
    anchors = boxes(20, 30)
    far = np.array([[150, 150, 160, 160.0]])
    assert label_anchors(anchors, far, (200, 200))[0].tolist() == [0, 0]
    assert label_anchors(anchors, np.concatenate([far, boxes(20)]), (200, 200))[0].tolist() == [1, -1]
    empty = np.array([[12, 12, 12, 12.0]])  # an object without area overlaps nothing
    assert label_anchors(anchors, empty, (200, 200))[0].tolist() == [0, 0]
    # Of 0.0005 pixels: the one anchor that meets it has an IoU of 1e-9, which is no tie with 0.
    speck = np.array([[35, 15, 35.0005, 15.0005]])
    assert label_anchors(anchors, speck, (200, 200))[0].tolist() == [0, 1]


def test_anchors_across_the_border_are_ignored() -> None:
    anchors = np.array([[0, 0, 40, 20], [-1, 0, 39, 20], [0, 0, 41, 20], [0, -1, 40, 20], [0, 0, 40, 21.0]])
    # The best one lies outside by a pixel; the best of those inside takes its place.
    labels, _ = label_anchors(anchors, np.array([[-1, 0, 39, 20.0]]), (20, 40), positive=0.99)
    assert labels.tolist() == [1, -1, -1, -1, -1]
    assert label_anchors(anchors, np.zeros((0, 4)), (20, 40), border=1)[0].tolist() == [0] * 5
    alone = label_anchors(anchors[1:], np.array([[0, 0, 40, 20.0]]), (20, 40))
    assert alone[0].tolist() == [-1] * 4


def test_match_is_the_object_of_the_largest_overlap() -> None:
    truth = np.concatenate([boxes(30), boxes(100), boxes(100)])
    labels, matched = label_anchors(boxes(90, 31, 60), truth, (200, 200))
    assert matched.tolist() == [1, 0, 1]  # the first of two equal objects
    assert labels.tolist() == [1, 1, -1]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 24), st.integers(0, 30))
def test_sample(objects: int, background: int, most: int, extra: int) -> None:
    count = most + extra
    labels = np.array([1] * objects + [0] * background + [-1] * 3, np.int8)
    before = labels.copy()
    kept = sample_labels(labels, count, most, generator(0, "test"))
    positives = min(objects, most)
    assert np.count_nonzero(kept == 1) == positives
    assert np.count_nonzero(kept == 0) == min(background, count - positives)
    np.testing.assert_array_equal(labels, before)
    assert ((kept == before) | (kept == -1)).all() and kept.dtype == np.int8


def test_sample_is_drawn() -> None:
    labels = np.repeat([1, 0], [300, 300]).astype(np.int8)
    first, again, other = (sample_labels(labels, 256, 128, generator(seed, "test")) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert np.count_nonzero(first == 1) == np.count_nonzero(first == 0) == 128
    times = sum((sample_labels(labels, 60, 30, generator(2, "test", i)) >= 0).astype(int) for i in range(2000))
    assert 140 < times.min() and times.max() < 260  # 200 expected of each, standard deviation 13


def test_errors() -> None:
    truth = boxes(100)
    for size, ratio in (([], [1]), ([8], []), ([0], [1]), ([8], [-1]), ([8], [np.nan])):
        with pytest.raises(ValueError, match="anchor_boxes: wanted one or more sizes and ratios, all above 0"):
            anchor_boxes(size, ratio)
    with pytest.raises(ValueError, match="faithful_anchors: base_size must be at least 1, got 0"):
        faithful_anchors(0)
    with pytest.raises(ValueError, match=r"grid_anchors: .* got \(1, 4\), \(2, 2\) and 0"):
        grid_anchors(truth, (2, 2), 0)
    with pytest.raises(ValueError, match=r"label_anchors: boxes must be \(\.\.\., 4\), got shape \(3, 5\)"):
        label_anchors(np.zeros((3, 5)), truth, (9, 9))
    for wrong in (np.array([[0, 0, np.nan, 4]]), np.array([[0, 0, np.inf, 4]]), np.zeros(4)):
        with pytest.raises(ValueError, match="label_anchors: wanted finite boxes"):
            label_anchors(wrong, truth, (9, 9))
        with pytest.raises(ValueError, match="label_anchors: wanted finite boxes"):
            label_anchors(truth, wrong, (9, 9))
    with pytest.raises(ValueError, match=r"0 <= negative <= positive <= 1, got 0\.8 and 0\.7"):
        label_anchors(truth, truth, (9, 9), negative=0.8)
    assert label_anchors(np.zeros((0, 4)), truth, (9, 9))[0].shape == (0,)
    with pytest.raises(ValueError, match="0 <= most_positive <= count, got 5 and 4"):
        sample_labels(np.zeros(3, np.int8), 4, 5, generator(0, "test"))
