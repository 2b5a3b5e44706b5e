"""Tests of tasks 2.6 to 2.8 of lesson 02: ``pytest lessons/02_zfnet``, or one task with ``-k 2_7``."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_02_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


# ------------------------------------------------------------------------------------------- 2.6: filters of equal size

scaling = pytest.mark.task(
    id="2.6", points=1, minutes=10, difficulty=1, hint="one number per filter, and only for those that are too large"
)


@scaling
def test_2_6_by_hand():
    weight = np.zeros((4, 2, 2, 2))
    weight[0] = 0.3  # RMS 0.3: too large
    weight[1, 0, 0, 0] = 0.2  # RMS 0.2 / sqrt(8) = 0.0707: stays, though its largest number is 0.2
    weight[2, 0] = 0.4  # RMS 0.4 / sqrt(2) = 0.2828: the two channels together decide
    wanted = weight.copy()
    wanted[0] = 0.1
    wanted[2, 0] = 0.1 * np.sqrt(2)
    exercises.renormalise_filters(weight, 0.1)
    np.testing.assert_allclose(weight, wanted, rtol=1e-12)


@scaling
def test_2_6_keeps_direction_mean_and_small_filters():
    rng = np.random.default_rng(7)
    weight = rng.standard_normal((6, 3, 5, 5)) * np.array([0.02, 0.05, 0.09, 0.2, 1, 30]).reshape(-1, 1, 1, 1) + 0.03
    before = weight.copy()
    exercises.renormalise_filters(weight, 0.15)
    for old, new in zip(before, weight, strict=True):
        rms = np.sqrt(np.sum(old**2) / old.size)
        np.testing.assert_allclose(new, old * min(1, 0.15 / rms), rtol=1e-12)


# --------------------------------------------------------------------------------------------------- 2.7: occlusion

covering = pytest.mark.task(
    id="2.7", points=3, minutes=25, difficulty=2, hint="choose the map once, before anything is covered"
)


def linear_network(rng, channels, height, width, maps=3, classes=4):
    """Return a made-up predict function: maps are weighted copies of the image, scores are sums over its pixels."""
    mixing, scores = rng.standard_normal((maps, channels)), rng.standard_normal((classes, channels, height, width))

    def predict(images):
        z = np.exp(np.einsum("bchw,kchw->bk", images, scores) / 3)
        return np.maximum(np.einsum("bchw,kc->bkhw", images, mixing), 0), z / z.sum(axis=1, keepdims=True)

    return predict


@covering
def test_2_7_by_hand():
    """Class 1 is there where the corner pixel is; map 1 is twice the image."""

    def predict(images):
        corner = images[:, 0, 0, 0]
        return np.concatenate([images, 2 * images], axis=1), np.stack([1 - corner, corner], axis=1)

    image = np.full((1, 3, 4), 0.75)
    activity, probability, best = exercises.occlusion_maps(predict, image, 1, 2, 1, 0.25)
    np.testing.assert_allclose(activity, np.full((2, 3), 2 * (8 * 0.75 + 4 * 0.25)))
    np.testing.assert_allclose(probability, [[0.25, 0.75, 0.75], [0.75, 0.75, 0.75]])
    np.testing.assert_array_equal(best, [[0, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(image, np.full((1, 3, 4), 0.75), err_msg="the caller's image was changed")


@covering
@pytest.mark.parametrize(("size", "stride"), [(3, 2), (4, 1), (2, 3)])
def test_2_7_equals_one_square_at_a_time(size, stride):
    rng = np.random.default_rng(8)
    image, predict = rng.standard_normal((2, 9, 12)), linear_network(rng, 2, 9, 12)
    activity, probability, best = exercises.occlusion_maps(predict, image, 2, size, stride, 0.5)
    chosen = int(np.argmax([m.sum() for m in predict(image[None])[0][0]]))
    rows, columns = [t for t in range(9) if t % stride == 0 and t + size <= 9], range(0, 12 - size + 1, stride)
    assert np.shape(activity) == np.shape(probability) == np.shape(best) == (len(rows), len(columns))
    for (r, top), (c, left) in ((a, b) for a in enumerate(rows) for b in enumerate(columns)):
        covered = image.copy()
        covered[:, top : top + size, left : left + size] = 0.5
        maps, probabilities = predict(covered[None])
        assert activity[r, c] == pytest.approx(maps[0, chosen].sum())
        assert probability[r, c] == pytest.approx(probabilities[0, 2])
        assert best[r, c] == probabilities[0].argmax()


@covering
def test_2_7_the_map_is_chosen_on_the_whole_image():
    """Map 0 answers to the left half, map 1 to the right; the left is brighter, and is covered in the first column."""

    def predict(images):
        left, right = images.copy(), images.copy()
        left[..., 2:], right[..., :2] = 0, 0
        return np.concatenate([left, right], axis=1), np.full((len(images), 2), 0.5)

    image = np.array([[[3.0, 3.0, 2.0, 2.0], [3.0, 3.0, 2.0, 2.0]]])
    activity, _, _ = exercises.occlusion_maps(predict, image, 0, 2, 2, 0.0)
    np.testing.assert_allclose(activity, [[0.0, 12.0]])


# -------------------------------------------------------------------------------------------- 2.8: correspondence

agreeing = pytest.mark.task(
    id="2.8",
    points=2,
    minutes=15,
    difficulty=2,
    hint="compare the three-valued signs of every image with every other's",
)


@agreeing
def test_2_8_by_hand():
    before = np.array([[5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 5.0, 5.0]])
    after = np.array([[4.0, 6.0, 5.0, 5.0], [2.0, 4.0, 5.0, 6.0], [4.5, 5.0, 5.0, 6.0]])
    # signs of before - after: (1 -1 0 0), (1 1 0 -1), (1 0 0 -1); places that differ: 2 and 2 and 1
    assert exercises.correspondence(before, after) == pytest.approx(2 * (2 + 2 + 1) / 6 / 4)


@agreeing
def test_2_8_equals_the_formula():
    rng = np.random.default_rng(9)
    before = rng.integers(0, 3, (5, 3, 2, 4)).astype(np.float64)
    after = before + rng.integers(-1, 2, before.shape) * rng.random(before.shape)
    total = 0
    for i in range(5):
        for j in range(5):
            for at in np.ndindex(before.shape[1:]):
                signs = [
                    0 if a == b else 1 if a > b else -1 for a, b in ((before[k][at], after[k][at]) for k in (i, j))
                ]
                total += i != j and signs[0] != signs[1]
    assert exercises.correspondence(before, after) == pytest.approx(total / 20 / 24)


@agreeing
def test_2_8_equal_changes_correspond():
    change = np.array([1.0, -2.0, 0.0])
    before = np.random.default_rng(10).integers(0, 9, (4, 3)).astype(np.float64)
    sizes = np.array([[1.0], [2.0], [0.5], [4.0]])
    assert exercises.correspondence(before, before - sizes * change) == 0
    assert exercises.correspondence(before[:2], before[:2] - [[1.0], [-1.0]] * change) == pytest.approx(2 / 3)
