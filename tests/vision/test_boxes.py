"""Boxes in the +0 convention: IoU by hand, by counting pixels, conversions there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.vision import (
    box_area,
    box_iou,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    paired_iou,
    to_centre,
    to_corners,
)

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


def test_targets_of_the_regressor_by_hand() -> None:
    """P = (10, 20, 29, 59), G = (12, 24, 35, 55), corners as edges and as pixels that belong to the box."""
    proposal, truth = np.array([10.0, 20, 29, 59]), np.array([12.0, 24, 35, 55])
    for offset, wanted in ((0, (0.2105263, 0, 0.1910552, -0.2295744)), (1, (0.2, 0, 0.1823216, -0.2231436))):
        np.testing.assert_allclose(encode_boxes(proposal, truth, offset), wanted, atol=5e-8)


@pytest.mark.parametrize("offset", [0, 1])
def test_decoding_is_the_inverse_of_encoding(offset: int, rng: np.random.Generator) -> None:
    corners, sizes = rng.uniform(-50, 50, (2, 40, 2)), rng.uniform(1, 60, (2, 40, 2))
    proposals, truth = (np.concatenate([c, c + s], axis=1) for c, s in zip(corners, sizes, strict=True))
    deltas = encode_boxes(proposals, truth, offset)
    np.testing.assert_allclose(decode_boxes(proposals, deltas, offset), truth, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(decode_boxes(proposals, np.zeros((40, 4)), offset), proposals, atol=1e-12)
    # The boxes of three classes for each proposal.
    many = decode_boxes(proposals[:, None], np.stack([deltas, 0 * deltas, deltas], axis=1), offset)
    np.testing.assert_allclose(many, np.stack([truth, proposals, truth], axis=1), atol=1e-9)


def test_what_the_regressor_cannot_learn_or_overdoes() -> None:
    box = np.array([0.0, 0, 10, 10])
    for name, pair in (("proposals", (box * 0, box)), ("truth", (box, box * 0)), ("truth", (box, box * np.nan))):
        with pytest.raises(ValueError, match=f"encode_boxes: {name} must have positive width and height"):
            encode_boxes(*pair)
    grown = decode_boxes(box, np.array([0.0, 0, 1e3, 1e3]))
    np.testing.assert_allclose(to_centre(grown), [5, 5, 625, 625])  # 62.5 times, and no overflow
    assert decode_boxes(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0, 4)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"box_area: boxes must be \(\.\.\., 4\), got shape \(3, 5\)"):
        box_area(np.zeros((3, 5)))
    with pytest.raises(
        ValueError, match=r"box_iou: wanted boxes \(R, 4\) and \(S, 4\), got shapes \(4,\) and \(1, 4\)"
    ):
        box_iou(np.zeros(4), np.zeros((1, 4)))
