"""Averaging over views: dense, crops, scales; each against what it is by definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv
from tinyconv import nn, views
from tinyconv.data import CenterCrop, TenCrop, resize_image
from tinyconv.models import fully_convolutional, vgg


@pytest.fixture(scope="module")
def model() -> nn.Module:
    tinyconv.manual_seed(1)
    network = vgg(4, config="A", scale="lesson", width=0.25, image_size=32)
    with tinyconv.no_grad():
        network.fc8.weight *= 0.1  # on noise the scores are large: keep every probability well away from 0 and 1
    return network


def images(n: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 3, height, width)).astype(np.float32)


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def scores_of(model: nn.Module, x: np.ndarray) -> np.ndarray:
    model.eval()
    with tinyconv.no_grad():
        return model(tinyconv.tensor(np.ascontiguousarray(x))).numpy()


# --------------------------------------------------------------------------------------------------------- outputs


def test_outputs_do_not_depend_on_the_batch_size_and_leave_the_mode(model: nn.Module) -> None:
    x = images(5, 32, 32)
    model.train()
    whole, parts = views.outputs(model, x), views.outputs(model, x, batch_size=2)
    assert model.training and model.dropout6.training
    np.testing.assert_allclose(parts, whole, atol=1e-5)  # and no dropout: the same twice
    np.testing.assert_allclose(whole, scores_of(model, x), atol=1e-5)
    np.testing.assert_allclose(views.predict(model, x), softmax(whole), atol=1e-6)


# ----------------------------------------------------------------------------------------------------------- dense


def test_images_are_converted_to_the_models_dtype(model: nn.Module) -> None:
    x = images(2, 32, 32)
    np.testing.assert_array_equal(views.predict(model, x.astype(np.float64)), views.predict(model, x))
    double = vgg(4, config="A", scale="lesson", width=0.25, image_size=32, dtype=tinyconv.float64)
    assert views.predict(double, x).dtype == np.float64
    with pytest.raises(ValueError, match="views.outputs: a model on the device meta computes nothing"):
        views.predict(vgg(4, config="A", scale="lesson", device="meta"), x)


def test_dense_at_the_training_size_is_the_fc_network(model: nn.Module) -> None:
    x = images(3, 32, 32)
    np.testing.assert_allclose(views.dense(model, x, mirror=False), softmax(scores_of(model, x)), atol=1e-5)


def test_dense_averages_scores_over_space_then_probabilities_over_mirror_images(model: nn.Module) -> None:
    x, network = images(2, 64, 96), fully_convolutional(model)
    maps = [scores_of(network, view) for view in (x, x[..., ::-1])]
    assert maps[0].shape == (2, 4, 2, 3)
    wanted = np.mean([softmax(m.mean((2, 3))) for m in maps], axis=0)
    for given_model in (model, network):
        np.testing.assert_allclose(views.dense(given_model, x), wanted, atol=1e-5)
    np.testing.assert_allclose(views.dense(model, x[..., ::-1]), wanted, atol=1e-5)
    wrong = np.mean([softmax(m.reshape(2, 4, -1).transpose(0, 2, 1).reshape(-1, 4)).reshape(2, 6, 4).mean(1)
                     for m in maps], axis=0)  # fmt: skip
    assert np.abs(wrong - wanted).max() > 1e-4  # the softmax comes after the mean over space, and that matters


# ----------------------------------------------------------------------------------------------------------- crops


def test_the_papers_fifty_views_by_hand() -> None:
    x = np.arange(256 * 300, dtype=np.float32).reshape(1, 1, 256, 300)
    crops = views.grid_crops(x, 224)
    assert crops.shape == (1, 50, 1, 224, 224)
    corners = [divmod(int(corner), 300) for corner in crops[0, :25, 0, 0, 0]]
    assert corners == [(top, left) for top in (0, 8, 16, 24, 32) for left in (0, 19, 38, 57, 76)]
    np.testing.assert_array_equal(crops[:, 25:], crops[:, :25, :, :, ::-1])
    assert 3 * crops.shape[1] == 150


@given(st.integers(1, 6), st.integers(4, 20), st.integers(0, 13), st.integers(0, 13), st.booleans())
@settings(max_examples=40)
def test_crops_lie_evenly_from_border_to_border(grid: int, size: int, more: int, wide: int, mirror: bool) -> None:
    height, width = size + more, size + wide
    x = np.arange(height * width, dtype=np.float64).reshape(1, 1, height, width)
    crops = views.grid_crops(x, size, grid, mirror)[0]
    assert len(crops) == grid * grid * (2 if mirror else 1)
    corners = np.array([divmod(int(crop[0, 0, 0]), width) for crop in crops[: grid * grid]])
    for axis, room in ((0, more), (1, wide)):
        places = np.unique(corners[:, axis])
        if grid == 1:
            assert places.tolist() == [room // 2]
        else:
            assert places[0] == 0 and places[-1] == room
            exact = np.linspace(0, room, grid)
            found = corners[::grid, 0] if axis == 0 else corners[:grid, 1]
            assert np.abs(found - exact).max() <= 0.5


def test_one_crop_is_the_middle_as_center_crop_has_it() -> None:
    x = images(2, 13, 18)
    crop = views.grid_crops(x, 8, grid=1, mirror=False)
    np.testing.assert_array_equal(crop[1, 0], CenterCrop(8)(x[1]))


def test_multi_crop_is_the_mean_of_softmaxes(model: nn.Module) -> None:
    x = images(3, 40, 44)
    crops = views.grid_crops(x, 32, 3)
    wanted = softmax(scores_of(model, crops.reshape(-1, 3, 32, 32))).reshape(3, 18, 4).mean(1)
    for batch_size in (7, 64):
        found = views.multi_crop(model, x, 32, grid=3, batch_size=batch_size)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_ten_crop_takes_lesson_ones_views(model: nn.Module) -> None:
    x = images(2, 36, 40)
    wanted = [softmax(scores_of(model, TenCrop(32)(image))).mean(0) for image in x]
    np.testing.assert_allclose(views.ten_crop(model, x, 32), wanted, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------- scales


def test_googlenets_144_views_are_all_different_on_a_photograph() -> None:
    image = np.random.default_rng(0).random((3, 125, 167), np.float32)  # the proportions of 375 x 500
    found = list(views.googlenet_crops(image, 56, (64, 72, 80, 88)))
    assert len(found) == 144
    assert len({name for name, _ in found}) == 144
    assert len({crop.tobytes() for _, crop in found}) == 144
    assert {crop.shape for _, crop in found} == {(3, 56, 56)}
    square = list(views.googlenet_crops(image[:, :125, :125], 56, (64, 72, 80, 88)))
    assert len({crop.tobytes() for _, crop in square}) == 48  # a square image has one square


def test_googlenets_views_by_hand() -> None:
    """An image whose shorter side is already right: nothing is interpolated but the resized square."""
    image = np.arange(8 * 14, dtype=np.float32).reshape(1, 8, 14)
    found = {tuple(name): crop for name, crop in views.googlenet_crops(image, 6, (8,))}
    for square, left in enumerate((0, 3, 6)):
        for crop, (y, x) in enumerate(((0, 0), (0, 2), (2, 0), (2, 2), (1, 1))):
            wanted = image[:, y : y + 6, left + x : left + x + 6]
            np.testing.assert_array_equal(found[8, square, crop, False], wanted)
            np.testing.assert_array_equal(found[8, square, crop, True], wanted[..., ::-1])
        whole = resize_image(image[:, :, left : left + 8], (6, 6))
        np.testing.assert_array_equal(found[8, square, 5, False], whole)


def test_googlenet_views_average_softmax_outputs(model: nn.Module) -> None:
    pictures = [np.random.default_rng(i).standard_normal((3, 40, 40 + 9 * i)).astype(np.float32) for i in range(2)]
    found = views.googlenet_views(model, pictures, 32, sides=(36, 40))
    for row, picture in zip(found, pictures, strict=True):
        crops = [np.ascontiguousarray(crop)[None] for _, crop in views.googlenet_crops(picture, 32, (36, 40))]
        wanted = np.mean([softmax(scores_of(model, crop))[0] for crop in crops], axis=0)
        np.testing.assert_allclose(row, wanted, rtol=1e-4)
    with pytest.raises(ValueError, match=r"googlenet_crops: image must be \(C, H, W\), got shape \(3, 4\)"):
        next(views.googlenet_crops(np.zeros((3, 4))))
    with pytest.raises(ValueError, match="size must be at most the smallest side 256, got 300"):
        next(views.googlenet_crops(np.zeros((3, 9, 9)), 300))


def test_scales_of_the_paper() -> None:
    assert views.scales_of(256) == (224, 256, 288) and views.scales_of(384) == (352, 384, 416)
    assert views.scales_of((256, 512)) == (256, 384, 512)
    assert views.scales_of(32, step=4) == (28, 32, 36)


def test_rescale_keeps_proportion_and_values() -> None:
    x = np.broadcast_to(np.array([0.2, -1.5], np.float32)[:, None, None, None], (2, 1, 20, 30))
    up = views.rescale(x, 40)
    assert up.shape == (2, 1, 40, 60)
    np.testing.assert_allclose(up[:, 0, 0, 0], [0.2, -1.5], rtol=1e-6)
    assert views.rescale(x.transpose(0, 1, 3, 2), 10).shape == (2, 1, 15, 10)


def test_multi_scale_averages_over_the_sides(model: nn.Module) -> None:
    x = images(2, 48, 48)
    seen: list[tuple[int, ...]] = []

    def predict(view: np.ndarray) -> np.ndarray:
        seen.append(view.shape)
        return views.dense(model, view)

    found = views.multi_scale(x, (32, 48, 64), predict)
    assert seen == [(2, 3, side, side) for side in (32, 48, 64)]
    wanted = np.mean([views.dense(model, views.rescale(x, side)) for side in (32, 48, 64)], axis=0)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------- errors


def test_top_k_error_by_hand() -> None:
    p = np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5]])
    labels = np.array([2, 0, 0])
    assert [views.top_k_error(p, labels, k) for k in (1, 2, 3)] == pytest.approx([2 / 3, 1 / 3, 0])


def test_errors(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"wanted 1 <= size <= 20, the images' shorter side, .* got size=32"):
        views.grid_crops(images(1, 20, 40), 32)
    with pytest.raises(
        ValueError, match=r"images must be an array \(N, C, H, W\) with N >= 1, got shape \(3, 32, 32\)"
    ):
        views.dense(model, images(1, 32, 32)[0])
    with pytest.raises(ValueError, match="at least 32x32 pixels, got 24x32"):
        views.dense(model, images(1, 24, 32))
    with pytest.raises(ValueError, match="at least one side, got none"):
        views.multi_scale(images(1, 32, 32), [], lambda x: x)
    with pytest.raises(ValueError, match=r"1 <= k <= K, got \(1, 3\), \(1,\) and k=4"):
        views.top_k_error(np.ones((1, 3)), np.array([0]), 4)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        views.outputs(model, images(1, 32, 32), batch_size=0)
