"""Boxes in the +0 convention: IoU by hand, by counting pixels, conversions there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.vision import box_area, box_iou, clip_boxes, paired_iou, to_centre, to_corners

INTEGER_BOX = st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(0, 6)] * 2).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)
BOXES = st.lists(INTEGER_BOX, min_size=1, max_size=5)


def pixels(box: list[int]) -> np.ndarray:
    """Return the mask of the pixels in a box of whole numbers."""
    mask = np.zeros((16, 16), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def test_by_hand() -> None:
    one = np.array([[0.0, 0, 10, 10]])
    two = np.array([[5.0, 0, 15, 10], [0, 0, 10, 10], [10, 10, 20, 20], [2.5, 2.5, 7.5, 7.5]])
    np.testing.assert_allclose(box_iou(one, two), [[1 / 3, 1, 0, 0.25]])
    # One pixel's shift of a box of 14 or 28 pixels (+0 convention): 13 / 15 and 27 / 29.
    for side in (14, 28):
        shifted = paired_iou(np.array([0, 0, side, side]), np.array([1, 0, side + 1, side]))
        assert shifted == pytest.approx((side - 1) / (side + 1))


@given(BOXES, BOXES)
def test_iou_counts_pixels(first: list, second: list) -> None:
    found = box_iou(np.array(first), np.array(second))
    assert found.shape == (len(first), len(second))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            union = (pixels(a) | pixels(b)).sum()
            wanted = (pixels(a) & pixels(b)).sum() / union if union else 0
            assert found[i, j] == pytest.approx(wanted)
            assert paired_iou(np.array(a), np.array(b)) == found[i, j]
    np.testing.assert_array_equal(found.T, box_iou(np.array(second), np.array(first)))


@given(BOXES)
def test_conversions_there_and_back(boxes: list) -> None:
    corners = np.array(boxes, float)
    centres = to_centre(corners)
    np.testing.assert_allclose(to_corners(centres), corners, atol=1e-12)
    np.testing.assert_allclose(centres[:, 2] * centres[:, 3], box_area(corners))
    np.testing.assert_allclose(centres[:, :2], (corners[:, :2] + corners[:, 2:]) / 2)


def test_kinds_shapes_and_clipping() -> None:
    boxes = np.array([[-3, 2, 5, 90]], np.float32)
    clipped = clip_boxes(boxes, (40, 4))
    assert clipped.tolist() == [[0, 2, 4, 40]] and clipped.dtype == np.float32
    assert box_iou(boxes, boxes).dtype == np.float32
    assert box_area(np.array([5, 5, 2, 9])) == 0  # corners the wrong way round
    assert paired_iou(np.zeros(4), np.zeros(4)) == 0
    assert box_iou(np.zeros((0, 4)), np.ones((3, 4))).shape == (0, 3)
    assert to_centre(np.zeros((2, 3, 4))).shape == (2, 3, 4)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"box_area: boxes must be \(\.\.\., 4\), got shape \(3, 5\)"):
        box_area(np.zeros((3, 5)))
    with pytest.raises(
        ValueError, match=r"box_iou: wanted boxes \(R, 4\) and \(S, 4\), got shapes \(4,\) and \(1, 4\)"
    ):
        box_iou(np.zeros(4), np.zeros((1, 4)))
