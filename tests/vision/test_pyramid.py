"""Laplacian pyramids: by hand, beside interpolate and avg_pool2d, there and back, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinyconv import Tensor
from tinyconv.nn import functional as F
from tinyconv.vision.pyramid import collapse, down, laplacian_pyramid, up


def test_by_hand() -> None:
    image = np.array([[[[0.0, 4, 8, 8], [4, 8, 8, 8]]]])
    np.testing.assert_array_equal(down(image), [[[[4, 8]]]])
    np.testing.assert_array_equal(up(down(image)), [[[[4, 5, 7, 8]] * 2]])
    details, small = laplacian_pyramid(image, 1)
    np.testing.assert_array_equal(details, [[[[-4, -1, 1, 0], [0, 3, 1, 0]]]])
    np.testing.assert_array_equal(small, [[[[4, 8]]]])
    corner = up(np.array([[[[16.0, 0], [0, 0]]]]))[0, 0]
    np.testing.assert_array_equal(corner, [[16, 12, 4, 0], [12, 9, 3, 0], [4, 3, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("shape", [(2, 3, 6, 4), (1, 1, 2, 2), (1, 2, 8, 2), (1, 1, 4, 10)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_pooling_and_interpolation(shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> None:
    images = rng.standard_normal(shape).astype(dtype)
    small, large = down(images), up(images)
    assert small.dtype == large.dtype == dtype
    close = {"rtol": 0, "atol": 1e-6 if dtype == np.float32 else 1e-14}
    np.testing.assert_allclose(small, F.avg_pool2d(Tensor(images), 2).numpy(), **close)
    wanted = F.interpolate(Tensor(images), scale_factor=2, mode="bilinear").numpy()
    np.testing.assert_allclose(large, wanted, **close)


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("dtype,tolerance", [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_true_details_give_the_image_back(levels: int, dtype: Any, tolerance: float, rng: np.random.Generator) -> None:
    images = rng.random((3, 3, 16, 24)).astype(dtype)
    before = images.copy()
    pyramid = laplacian_pyramid(images, levels)
    assert [level.shape for level in pyramid] == [
        (3, 3, 16 >> k, 24 >> k) for k in range(levels + 1)
    ]  # the last is the small image
    assert {level.dtype for level in pyramid} == {np.dtype(dtype)}
    np.testing.assert_array_equal(images, before)
    kept = [level.copy() for level in pyramid]
    again = collapse(pyramid)
    assert again.dtype == dtype and np.abs(again - images).max() < tolerance
    assert all((a == b).all() for a, b in zip(kept, pyramid, strict=True))
    # Wrong details do not: every level counts.
    for k in range(levels + 1):
        pyramid[k] = pyramid[k] + dtype(0.25)
        assert np.abs(collapse(pyramid) - images).max() > 0.2
        pyramid[k] = kept[k]


def test_an_even_surface_has_no_details() -> None:
    images = np.broadcast_to(np.array([0.3, 0.7]).reshape(2, 1, 1, 1), (2, 3, 8, 16))
    *details, small = laplacian_pyramid(images, 3)
    assert all((h == 0).all() for h in details)
    np.testing.assert_array_equal(small, images[:, :, :1, :2])


def test_images_do_not_touch_each_other_and_none_is_fine(rng: np.random.Generator) -> None:
    images = rng.random((2, 2, 8, 8))
    images[1, 1, 4, 4] = np.nan
    broken, whole = laplacian_pyramid(images, 2), laplacian_pyramid(images[:1], 2)
    for both, one in zip(broken, whole, strict=True):
        np.testing.assert_array_equal(both[:1], one)
        assert np.isnan(both[1, 1]).any() and np.isfinite(both[1, 0]).all()
    assert [h.shape for h in laplacian_pyramid(images[:0], 1)] == [(0, 2, 8, 8), (0, 2, 4, 4)]
    assert collapse(laplacian_pyramid(images[:0], 1)).shape == (0, 2, 8, 8)
    np.testing.assert_array_equal(collapse([images[:1]]), images[:1])


IMAGES = np.zeros((1, 1, 12, 8))


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: down(np.zeros((1, 1, 5, 4))), "down: images must have even sides, got 5 x 4 pixels"),
        (lambda: down(np.zeros((1, 1, 4, 7))), "down: images must have even sides, got 4 x 7 pixels"),
        (lambda: down(np.zeros((1, 4, 4))), r"down: images must be floating \(N, C, H, W\) .* of shape \(1, 4, 4\)"),
        (lambda: down(np.zeros((1, 1, 0, 4))), r"down: .* at least one pixel, got float64 of shape \(1, 1, 0, 4\)"),
        (lambda: up(np.zeros((1, 1, 4, 4), np.uint8)), "up: images must be floating .* got uint8"),
        (lambda: up(np.zeros((1, 1, 0, 4))), "up: .* at least one pixel"),
        (lambda: laplacian_pyramid(IMAGES, 3), r"2\^levels = 8, got 12 x 8 pixels; use fewer levels"),
        (lambda: laplacian_pyramid(IMAGES, 0), "levels must be an int of at least 1, got 0"),
        (lambda: laplacian_pyramid(IMAGES, 1.0), "levels must be an int of at least 1, got 1.0"),
        (lambda: laplacian_pyramid(IMAGES[0], 1), "laplacian_pyramid: images must be floating"),
        (lambda: collapse([]), "collapse: pyramid must have at least one array, got none"),
        (lambda: collapse([IMAGES, IMAGES]), r"twice as high and wide as the next, got \(1, 1, 12, 8\) before"),
        (lambda: collapse([IMAGES, np.zeros((1, 2, 6, 4))]), r"before \(1, 2, 6, 4\)"),
        (lambda: collapse([IMAGES, IMAGES[0, 0]]), "collapse: images must be floating"),
    ],
)
def test_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
    assert len(laplacian_pyramid(IMAGES, 2)) == 3
