"""Tests of tasks 4.7 to 4.10: ``pytest lessons/04_googlenet``, or one task with ``-k 4_9``."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import views
from tinyconv.data.image import resize_image
from tinyconv.nn import functional as F

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_04_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


def normal(seed, *shape):
    """Return normally distributed numbers, always the same for a seed."""
    return np.random.default_rng(seed).standard_normal(shape)


# ------------------------------------------------------------------------------------------- 4.7: average, then classes

averaging = pytest.mark.task(
    id="4.7", points=3, minutes=20, difficulty=2, hint="dfeatures is the same number at every place of a map"
)


@averaging
def test_4_7_by_hand():
    features = np.array([[1.0, 3.0], [10.0, 30.0]]).reshape(1, 2, 1, 2)
    weight, bias, dscores = np.array([[1.0, 0.0], [2.0, 1.0]]), np.array([100.0, 0.0]), np.array([[1.0, 4.0]])
    scores, maps, dfeatures = exercises.average_head(features, weight, bias, dscores)
    np.testing.assert_allclose(scores, [[102, 24]])
    np.testing.assert_allclose(maps[0, :, 0], [[101, 103], [12, 36]])
    np.testing.assert_allclose(dfeatures[0, :, 0], [[4.5, 4.5], [2, 2]])  # (1 + 2 * 4) / 2, 4 / 2


@averaging
@pytest.mark.parametrize(("height", "width"), [(7, 7), (3, 5), (1, 1)])
def test_4_7_is_the_librarys_pool_and_layer(height, width):
    features, weight, bias = normal(0, 2, 6, height, width), normal(1, 4, 6), normal(2, 4)
    x, dscores = tinyconv.tensor(features, requires_grad=True), normal(3, 2, 4)
    wanted = F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), tinyconv.tensor(weight), tinyconv.tensor(bias))
    wanted.backward(tinyconv.tensor(dscores))
    scores, maps, dfeatures = exercises.average_head(features, weight, bias, dscores)
    np.testing.assert_allclose(scores, wanted.detach().numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(dfeatures, x.grad.numpy(), rtol=1e-10, atol=1e-10)
    assert maps.shape == (2, 4, height, width)


@averaging
def test_4_7_the_mean_of_the_maps_are_the_scores():
    features, weight, bias = normal(4, 2, 3, 4, 6), normal(5, 5, 3), 10 * normal(6, 5)
    scores, maps, _ = exercises.average_head(features, weight, bias, np.zeros((2, 5)))
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), scores, rtol=1e-10)
    np.testing.assert_allclose(maps[1, :, 2, 3], weight @ features[1, :, 2, 3] + bias, rtol=1e-10)


# --------------------------------------------------------------------------------------------------- 4.8: a random part

sampling = pytest.mark.task(
    id="4.8", points=3, minutes=25, difficulty=2, hint="rows = sqrt(area / ratio), columns = sqrt(area * ratio)"
)


@sampling
@pytest.mark.parametrize(
    ("draw", "wanted"),
    [
        # an image of 100 x 100; a share of 0.25 of its area is reached at a = (0.25 - 0.08) / 0.92
        ((0.17 / 0.92, 0.5, 0.0, 0.0), (0, 0, 50, 50)),
        ((0.17 / 0.92, 0.5, 0.999, 0.5), (50, 25, 50, 50)),  # 51 places from 0 to 50
        ((0.17 / 0.92, 0.0, 0.0, 0.999), (0, 57, 58, 43)),  # 43 / 58 is about 3 / 4
        ((0.17 / 0.92, 1 - 1e-12, 0.999, 0.0), (57, 0, 43, 58)),
        ((0.0, 0.5, 0.5, 0.25), (36, 18, 28, 28)),  # 8 %: 28.28 squared
    ],
)
def test_4_8_one_draw_by_hand(draw, wanted):
    assert tuple(exercises.sample_patch(100, 100, np.array([draw]))) == wanted


@sampling
def test_4_8_the_first_part_that_fits():
    draws = np.array([(0.99, 0.999, 0.0, 0.0), (0.3, 0.5, 0.0, 0.0), (0.0, 0.5, 0.9, 0.9)])  # the first is too wide
    first = exercises.sample_patch(60, 60, draws[1:2])
    assert tuple(exercises.sample_patch(60, 60, draws)) == tuple(first)
    assert first[2] == first[3] < 60


@sampling
def test_4_8_the_whole_image_if_none_fits():
    assert tuple(exercises.sample_patch(10, 40, np.array([(0.999, 0.5, 0.1, 0.1)] * 10))) == (0, 0, 10, 40)
    assert tuple(exercises.sample_patch(10, 40, np.empty((0, 4)))) == (0, 0, 10, 40)
    assert tuple(exercises.sample_patch(1, 3, np.array([(0, 0.999, 0, 0)]))) == (0, 0, 1, 3)  # 0 rows are no part


@sampling
def test_4_8_places_proportions_and_a_part_as_high_as_the_image():
    # 27 of 29 rows and columns: 0.3 is still the first of 3 places
    draws = np.array([(0, 0, 0.3, 0.3)])
    assert tuple(exercises.sample_patch(29, 29, draws, (729 / 841,) * 2, (1, 1))) == (0, 0, 27, 27)
    draws = np.array([(0, 0, 0.9, 0.9)])
    assert tuple(exercises.sample_patch(10, 40, draws, (0.25, 0.25), (1, 1))) == (0, 27, 10, 10)


@sampling
def test_4_8_areas_are_uniform_and_logarithms_of_proportions_too():
    draws = np.random.default_rng(7).random((4000, 1, 4))
    found = np.array([exercises.sample_patch(500, 500, draw, area=(0.1, 0.7)) for draw in draws])
    share, ratio = found[:, 2] * found[:, 3] / 250_000, np.log(found[:, 3] / found[:, 2])
    np.testing.assert_allclose(np.quantile(share, [0, 0.25, 0.5, 0.75, 1]), [0.1, 0.25, 0.4, 0.55, 0.7], atol=0.02)
    third = np.log(4 / 3)
    np.testing.assert_allclose(np.quantile(ratio, [0, 0.25, 0.5, 0.75, 1]), third * np.array([-1, -0.5, 0, 0.5, 1]),
                               atol=0.03)  # fmt: skip
    assert np.all(found[:, 0] + found[:, 2] <= 500) and np.all(found[:, 1] + found[:, 3] <= 500)


@sampling
def test_4_8_is_what_the_library_cuts():
    """The library draws in the same order; its whole numbers are made from draws like int(u * n)."""
    image = normal(8, 1, 60, 90).astype(np.float32)
    for seed in range(20):
        rng, draws = np.random.default_rng(seed), np.random.default_rng(seed).random(2)
        top, left, rows, columns = exercises.sample_patch(60, 90, np.array([(*draws, 0, 0)]), (0.08, 0.5))
        cut = tinyconv.data.RandomResizedCrop(8, scale=(0.08, 0.5))(image, rng)
        places = [
            resize_image(image[:, t : t + rows, s : s + columns], (8, 8))
            for t in range(60 - rows + 1)
            for s in range(90 - columns + 1)
        ]
        nearest = min(float(np.abs(place - cut).max()) for place in places)
        assert (top, left) == (0, 0) and nearest < 1e-5, f"no place of {rows}x{columns} pixels gives the library's part"


# ------------------------------------------------------------------------------------------ 4.9: rates and mean weights

polyak = pytest.mark.task(
    id="4.9", points=3, minutes=20, difficulty=2, hint="rate * 0.96 ** (epoch // 8) with epochs from 0"
)


@polyak
def test_4_9_three_steps_by_hand():
    last, mean = exercises.averaged_training(np.array([1.0]), lambda w: np.array([2.0]), 0.1, 1, 3)
    # v: 2, 3.8, 5.42; weights 0.8, 0.42, -0.122
    np.testing.assert_allclose(last, [-0.122], rtol=1e-12)
    np.testing.assert_allclose(mean, [(0.8 + 0.42 - 0.122) / 3], rtol=1e-12)


@polyak
def test_4_9_a_gradient_of_its_own_at_every_step():
    target = np.array([3.0, -1.0])
    last, mean = exercises.averaged_training(np.zeros(2), lambda w: w - target, 0.05, 2, 4)
    w, v, kept = np.zeros(2), np.zeros(2), []
    for _ in range(8):
        v = 0.9 * v + (w - target)
        w = w - 0.05 * v
        kept.append(w)
    np.testing.assert_allclose(last, w, rtol=1e-12)
    np.testing.assert_allclose(mean, np.mean(kept, axis=0), rtol=1e-12)


@polyak
@pytest.mark.parametrize(("epochs", "factor"), [(8, 1.0), (9, 0.96), (16, 0.96), (17, 0.96**2)])
def test_4_9_the_rate_falls_after_every_eighth_epoch(epochs, factor):
    """The last step's length over its velocity is the rate."""
    before, _ = exercises.averaged_training(np.zeros(1), lambda w: np.ones(1), 0.1, epochs - 1, 1)
    after, _ = exercises.averaged_training(np.zeros(1), lambda w: np.ones(1), 0.1, epochs, 1)
    velocity = (1 - 0.9**epochs) / 0.1
    np.testing.assert_allclose((before - after) / velocity, 0.1 * factor, rtol=1e-9)


@polyak
def test_4_9_the_rate_does_not_fall_within_an_epoch():
    last, _ = exercises.averaged_training(np.zeros(1), lambda w: np.ones(1), 0.1, 1, 20)
    np.testing.assert_allclose(last, [-0.1 * sum((1 - 0.9**t) / 0.1 for t in range(1, 21))], rtol=1e-9)


@polyak
def test_4_9_the_mean_is_calmer_than_the_last_weights():
    rng = np.random.default_rng(9)
    last, mean = exercises.averaged_training(np.zeros(200), lambda w: w + rng.standard_normal(200), 0.1, 10, 50)
    assert np.abs(mean).mean() < 0.3 * np.abs(last).mean()


@polyak
def test_4_9_the_initial_weights_stay_as_they_are():
    weight = np.ones(3)
    last, mean = exercises.averaged_training(weight, lambda w: w, 0.1, 1, 5)
    np.testing.assert_array_equal(weight, 1)
    assert last.shape == mean.shape == (3,) and not np.shares_memory(last, mean)


# ------------------------------------------------------------------------------------------------------ 4.10: 144 views

viewing = pytest.mark.task(
    id="4.10", points=3, minutes=30, difficulty=3, hint="a crop's corner is its square's corner plus 0, far or half"
)


@viewing
def test_4_10_there_are_144_and_all_differ_on_a_photograph():
    found = [tuple(view) for view in exercises.views_144(375, 500)]
    assert len(found) == 144 and len(set(found)) == 144
    assert {side for side, *_ in found} == {256, 288, 320, 352}
    assert sum(length == side for side, _, _, length, _ in found) == 4 * 3 * 2


@viewing
def test_4_10_of_a_square_image_only_48_differ():
    found = [tuple(view) for view in exercises.views_144(300, 300)]
    assert len(found) == 144
    assert all(found.count(view) == 3 for view in found) and len(set(found)) == 48


@viewing
@pytest.mark.parametrize(
    ("height", "width", "corners"),
    [
        # side 8, crops of 5: far 3, half 1
        (10, 15, [(0, 0), (0, 2), (0, 4)]),  # 8 x 12
        (15, 10, [(0, 0), (2, 0), (4, 0)]),  # 12 x 8
        (10, 16, [(0, 0), (0, 2), (0, 4)]),  # 8 x 12: 12.8 is rounded down
        (10, 17, [(0, 0), (0, 2), (0, 5)]),  # 8 x 13: the middle begins at 2.5, rounded down
    ],
)
def test_4_10_corners_by_hand(height, width, corners):
    wanted = []
    for y, x in corners:
        for dy, dx, length in ((0, 0, 5), (0, 3, 5), (3, 0, 5), (3, 3, 5), (1, 1, 5), (0, 0, 8)):
            wanted += [(8, y + dy, x + dx, length, mirrored) for mirrored in (False, True)]
    assert [tuple(view) for view in exercises.views_144(height, width, 5, (8,))] == wanted


@viewing
@pytest.mark.parametrize(("height", "width"), [(40, 57), (61, 40)])
def test_4_10_cuts_what_the_library_cuts(height, width):
    image = normal(10, 2, height, width).astype(np.float32)
    wanted = [view for _, view in views.googlenet_crops(image, 20, (24, 27, 33))]
    found = exercises.views_144(height, width, 20, (24, 27, 33))
    assert len(found) == len(wanted) == 108
    for (side, top, left, length, mirrored), view in zip(found, wanted, strict=True):
        (whole,) = views.rescale(image[None], side)
        part = whole[:, top : top + length, left : left + length]
        part = part if length == 20 else resize_image(part, (20, 20))
        np.testing.assert_array_equal(part[..., ::-1] if mirrored else part, view)
