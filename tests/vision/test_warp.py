"""Warping boxes with context: the released code's numbers, and the definition in loops."""

from __future__ import annotations

import numpy as np
import pytest

from tinyconv import Tensor
from tinyconv.nn import functional as F
from tinyconv.vision.warp import context_box, context_scale, warp, warp_many, warp_rois


def slowly(image: np.ndarray, box: np.ndarray, crop: int, padding: int, fill: float) -> np.ndarray:
    """Return the crop, pixel by pixel."""
    (x1, y1, x2, y2), s = box, crop / (crop - 2 * padding)
    (_, height, width), out = image.shape, np.full((image.shape[0], crop, crop), float(fill))
    left, top = (x1 + x2) / 2 - s * (x2 - x1) / 2, (y1 + y2) / 2 - s * (y2 - y1) / 2
    for i in range(crop):
        for j in range(crop):
            x, y = left + (j + 0.5) * s * (x2 - x1) / crop, top + (i + 0.5) * s * (y2 - y1) / crop
            if not (0 <= x < width and 0 <= y < height):
                continue
            total = 0.0
            for row in (int(np.floor(y - 0.5)), int(np.floor(y - 0.5)) + 1):
                for column in (int(np.floor(x - 0.5)), int(np.floor(x - 0.5)) + 1):
                    weight = (1 - abs(y - 0.5 - row)) * (1 - abs(x - 0.5 - column))
                    inside = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
                    total = total + weight * image[:, inside[0], inside[1]]
            out[:, i, j] = total
    return out


def test_the_papers_scale() -> None:
    assert context_scale(227, 16) == pytest.approx(227 / 195) == pytest.approx(1.1641026, abs=5e-8)
    assert context_scale(28, 4) == 1.4
    assert context_scale(32, 0) == 1


def test_the_released_box_is_one_pixel_wider_than_meant() -> None:
    found = context_box(np.array([101, 101, 295, 295]), offset=1)
    assert found.tolist() == [85, 85, 312, 312]
    assert found[2] - found[0] + 1 == 228  # so the code resizes by 227 / 228
    ours = context_box(np.array([100.0, 100, 295, 295]))
    assert ours.tolist() == [84, 84, 311, 311]
    assert ours[2] - ours[0] == 227  # and we by 1


def test_the_released_box_is_rounded_half_up() -> None:
    # Pixel 3 alone, twice enlarged: 3.5 -+ 1.
    assert context_box(np.array([3, 3, 3, 3]), 4, 1, offset=1).tolist() == [3, 3, 5, 5]
    assert context_box(np.array([4, 4, 4, 4]), 4, 1, offset=1).tolist() == [4, 4, 6, 6]


def test_the_image_begins_at_0_and_ends_before_its_size() -> None:
    image = np.arange(1.0, 65).reshape(1, 8, 8)
    # Centres of the crop's pixels: 0, 2, 4, 6, and 2, 4, 6, 8.
    first, last = (warp(image, np.array(box), 4, 0, fill=-1)[0] for box in ([-1, -1, 7, 7], [1, 1, 9, 9]))
    assert first[0, 0] == 1 and (first > 0).all()  # there is no pixel before the first
    assert (last[3] == -1).all() and (last[:, 3] == -1).all()
    np.testing.assert_array_equal(last[:3, :3], first[1:, 1:])


def test_the_enlarged_box_keeps_its_centre_and_shape() -> None:
    boxes = np.array([[3.0, 5, 10, 25], [-4, 0, 1, 2]])
    found = context_box(boxes, 32, 4)
    np.testing.assert_allclose(found[:, :2] + found[:, 2:], boxes[:, :2] + boxes[:, 2:])
    np.testing.assert_allclose(found[:, 2:] - found[:, :2], (boxes[:, 2:] - boxes[:, :2]) * 32 / 24)


def test_a_box_of_the_crops_own_scale_is_copied() -> None:
    image = np.random.default_rng(0).standard_normal((2, 20, 20)).astype(np.float32)
    crop = warp(image, np.array([0, 0, 20, 20]), 28, 4)
    np.testing.assert_allclose(crop[:, 4:24, 4:24], image, atol=1e-6)
    outside = np.ones((28, 28), bool)
    outside[4:24, 4:24] = False
    assert not crop[:, outside].any()
    filled = warp(image, np.array([0, 0, 20, 20]), 28, 4, fill=(0.25, -3))
    assert (filled[0, outside] == 0.25).all() and (filled[1, outside] == -3).all()
    np.testing.assert_array_equal(filled[:, ~outside], crop[:, ~outside])


def test_equals_the_definition_in_loops() -> None:
    rng = np.random.default_rng(1)
    image = rng.standard_normal((3, 17, 23))
    low = rng.uniform(-8, 18, (12, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.5, 30, (12, 2))], axis=1)
    boxes = np.concatenate([boxes, [[0, 0, 23, 17], [40, 40, 50, 50], [5, 5, 5.1, 17]]])  # whole; outside; a sliver
    found = warp_many(image, boxes, 13, 3, fill=-7)
    for box, crop in zip(boxes, found, strict=True):
        np.testing.assert_allclose(crop, slowly(image, box, 13, 3, -7), atol=1e-12)
        np.testing.assert_array_equal(crop, warp(image, box, 13, 3, -7))
    assert (found[13] == -7).all()


@pytest.mark.parametrize("shape", [(1, 9, 9), (2, 1, 7), (2, 7, 1), (1, 1, 1)])
def test_the_whole_image_is_resized_as_interpolate_does(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(2).standard_normal(shape)
    found = warp(image, np.array([0, 0, shape[2], shape[1]]), 12, 0)
    np.testing.assert_allclose(found, F.interpolate(Tensor(image[None]), (12, 12), mode="bilinear").numpy()[0])


def test_boxes_of_several_images() -> None:
    images = np.random.default_rng(3).standard_normal((3, 2, 10, 12)).astype(np.float32)
    rois = np.array([[2, 1, 1, 8, 6], [0, 3, 0, 9, 9], [2, 0, 0, 12, 10]])
    found = warp_rois(images, rois, 8, 1)
    assert found.shape == (3, 2, 8, 8) and found.dtype == np.float32
    for roi, crop in zip(rois, found, strict=True):
        np.testing.assert_array_equal(crop, warp(images[roi[0]], roi[1:], 8, 1))
    np.testing.assert_array_equal(warp_rois(images[:, :, ::-1], rois[:1], 8, 0), warp_rois(images[:, :, ::-1].copy(),
                                                                                           rois[:1], 8, 0))  # fmt: skip
    assert warp_many(images[0], np.zeros((0, 4)), 8, 1).shape == (0, 2, 8, 8)


def test_errors() -> None:
    image, box = np.zeros((3, 8, 8), np.float32), np.array([0.0, 0, 4, 4])
    with pytest.raises(ValueError, match=r"warp_many: image must be \(C, H, W\), got shape \(8, 8\)"):
        warp_many(image[0], box[None])
    with pytest.raises(ValueError, match=r"warp_many: boxes must be \(P, 4\), got shape \(4,\)"):
        warp_many(image, box)
    with pytest.raises(ValueError, match=r"warp: box must be \(4,\), got shape \(1, 4\); warp_many takes several"):
        warp(image, box[None])
    with pytest.raises(ValueError, match=r"images must be floating \(N, C, H, W\), got uint8"):
        warp(image.astype(np.uint8), box)
    for bad in ([0, 0, 0, 4], [0, 0, 4, -1], [0, 0, np.nan, 4], [0, 0, np.inf, 4]):
        with pytest.raises(ValueError, match=r"boxes must be finite with x1 < x2 and y1 < y2, got \[0\.0, 0\.0, "):
            warp_many(image, np.array([box, bad]))
    with pytest.raises(
        ValueError, match=r"warp: wanted padding >= 0 and crop > 2 \* padding, got padding=4 and crop=8"
    ):
        warp(image, box, 8, 4)
    with pytest.raises(ValueError, match=r"warp: rois must be \(R, 5\), got shape \(1, 4\)"):
        warp_rois(image[None], box[None])
    for index in (1, -1, 0.5):
        with pytest.raises(ValueError, match=r"warp: image indices must lie in 0\.\.0, got"):
            warp_rois(image[None], np.array([[index, 0, 0, 4, 4]]))
    with pytest.raises(ValueError, match="context_box: offset must be 0 or 1, got 2"):
        context_box(box, offset=2)
