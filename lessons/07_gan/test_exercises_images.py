"""Tests of tasks 7.9 to 7.11: ``pytest lessons/07_gan``, or one task with ``-k 7_9_``."""

import copy
import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import models
from tinyconv.data import photographs
from tinyconv.generative.features import discriminator_features
from tinyconv.nn import functional as F
from tinyconv.vision import pyramid

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_07_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


def quietly(function, *given, **how):
    """Call a function with warnings as errors, and check that it leaves what it is handed as it was."""
    kept = copy.deepcopy(given)
    with warnings.catch_warnings(), np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"):
        warnings.simplefilter("error")
        found = function(*given, **how)
    for before, after in zip(kept, given, strict=True):
        for one, other in zip(before, after, strict=True) if isinstance(before, list) else [(before, after)]:
            np.testing.assert_array_equal(other, one, err_msg="an argument was changed")
    return found


def same(found, wanted, **how):
    """Check that two lists of arrays are alike."""
    assert [one.shape for one in found] == [one.shape for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, **how)


# ---------------------------------------------------------------------------------------------------------- 7.9 pyramid

halving = pytest.mark.task(
    id="7.9", points=4, minutes=30, difficulty=2, hint="double one axis, then the other; 3/4 and 1/4, interleaved"
)


@halving
def test_7_9_by_hand():
    """The means are 4 and 8. Doubled, a row is 4, 5, 7, 8: 3/4 and 1/4 in the middle, the edges as they are."""
    image = np.array([[[[1.0, 5, 9, 9], [3, 7, 6, 8]]]])
    details, small = quietly(exercises.laplacian_pyramid, image, 1)
    np.testing.assert_array_equal(small, [[[[4, 8]]]])
    np.testing.assert_array_equal(details, [[[[-3, 0, 2, 1], [-1, 2, -1, 0]]]])


@halving
def test_7_9_both_axes_are_doubled_with_weights():
    """One bright pixel among 3x3: enlarged it is 1/4 3/4 3/4 1/4 along either axis, and their products."""
    small = np.zeros((1, 1, 3, 3))
    small[0, 0, 1, 1] = 16
    weights = np.array([0, 1, 3, 3, 1, 0.0])
    found = quietly(exercises.collapse, [np.zeros((1, 1, 6, 6)), small])
    np.testing.assert_array_equal(found[0, 0], np.outer(weights, weights))


@halving
def test_7_9_at_the_edge_a_pixel_is_its_own_neighbour():
    found = exercises.collapse([np.zeros((1, 1, 2, 4)), np.array([[[[8.0, 0]]]])])
    np.testing.assert_array_equal(found[0, 0], [[8, 6, 2, 0]] * 2)


@halving
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_7_9_is_the_librarys(levels):
    images = np.random.default_rng(levels).random((2, 3, 16, 24))
    found = quietly(exercises.laplacian_pyramid, images, levels)
    same(found, pyramid.laplacian_pyramid(images, levels), atol=1e-12)
    assert len(found) == levels + 1


@halving
def test_7_9_gives_a_photograph_back():
    """What goes in comes out but for rounding, 1e-12."""
    image = photographs().images[:1, :, :128, :192].astype(np.float64)
    found = quietly(exercises.collapse, quietly(exercises.laplacian_pyramid, image, 4))
    np.testing.assert_allclose(found, image, atol=1e-12)


@halving
def test_7_9_details_that_were_made_up_are_added():
    rng = np.random.default_rng(3)
    made = [rng.standard_normal((2, 1, side, side)) for side in (12, 6, 3)]
    np.testing.assert_allclose(quietly(exercises.collapse, made), pyramid.collapse(made), atol=1e-12)


@halving
def test_7_9_an_even_surface_has_no_details():
    details = exercises.laplacian_pyramid(np.full((1, 2, 8, 4), 0.3), 2)[:2]
    same(details, [np.zeros((1, 2, 8, 4)), np.zeros((1, 2, 4, 2))], atol=1e-15)


@halving
@pytest.mark.parametrize(
    ("sides", "levels"), [((6, 5), 1), ((5, 6), 1), ((6, 3), 1), ((3, 6), 1), ((12, 8), 3), ((2, 1), 1), ((2, 2), 2)]
)
def test_7_9_odd_sides_are_refused(sides, levels):
    """Three pixels are two and one, one pixel is one and none: NumPy would add them up without a word."""
    with pytest.raises(ValueError):
        exercises.laplacian_pyramid(np.zeros((1, 1, *sides)), levels)


@halving
def test_7_9_what_is_not_halved_may_be_odd():
    found = exercises.laplacian_pyramid(np.ones((1, 1, 6, 10)), 1)
    assert found[1].shape == (1, 1, 3, 5)
    np.testing.assert_array_equal(exercises.collapse([found[1]]), np.ones((1, 1, 3, 5)))


# -------------------------------------------------------------------------------------------------------- 7.10 features

pooling = pytest.mark.task(
    id="7.10", points=3, minutes=20, difficulty=1, hint="from i H // n to -(-(i + 1) H // n); at most H cells"
)


@pooling
def test_7_10_by_hand():
    """Seven pixels, four cells: pixels 0 1, 1 2 3, 3 4 5, 5 6."""
    maps = np.array([1.0, 9, 5, 8, 2, -7, -9]).reshape(1, 1, 1, 7)  # cells that share no pixel would give 1, 9, 8, -7
    np.testing.assert_array_equal(quietly(exercises.pooled_features, [maps]), [[9, 9, 8, -7]])


@pooling
def test_7_10_the_order_is_layer_map_row_column():
    """Maps of as many pixels as cells come out as they are."""
    first, second = np.arange(16.0).reshape(1, 2, 2, 4), 100 + np.arange(8.0).reshape(1, 1, 4, 2)
    found = quietly(exercises.pooled_features, [first, second])
    np.testing.assert_array_equal(found, [[*range(16), *range(100, 108)]])


@pooling
def test_7_10_rows_and_columns_have_cells_of_their_own():
    maps = np.arange(1.0, 36).reshape(1, 1, 5, 7)
    found = quietly(exercises.pooled_features, [maps], size=2).reshape(2, 2)
    np.testing.assert_array_equal(found, [[18, 21], [32, 35]])


@pooling
def test_7_10_values_may_all_be_negative():
    maps = -1 - np.random.default_rng(4).random((2, 3, 6, 6))
    assert quietly(exercises.pooled_features, [maps]).max() < -1


@pooling
@pytest.mark.parametrize(
    ("widths", "sides", "count"),
    [((64, 128, 256), (16, 8, 4), 7168), ((128, 128, 256, 256, 512, 512), (32, 16, 16, 8, 8, 4), 28672)],
)
def test_7_10_as_many_features_as_the_papers(widths, sides, count):
    layers = [np.zeros((1, k, side, side), np.float32) for k, side in zip(widths, sides, strict=True)]
    assert exercises.pooled_features(layers).shape == (1, count)


@pooling
def test_7_10_are_the_librarys():
    """A discriminator of two convolutions on images of 28x28: maps of 14x14 and of 7x7."""
    tinyconv.manual_seed(5)
    judge = models.dcgan(scale="lesson", width=0.25).discriminator.eval()
    images = np.random.default_rng(5).uniform(-1, 1, (3, 1, 28, 28)).astype(np.float32)
    layers, x = [], tinyconv.tensor(images)
    for layer in list(judge.children())[:5]:
        x = layer(x)
        layers.append(x.detach().numpy())
    found = quietly(exercises.pooled_features, [layers[1], layers[4]])
    np.testing.assert_allclose(found, discriminator_features(judge, images), rtol=1e-5, atol=1e-6)


@pooling
@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_7_10_every_pixel_is_in_a_cell(size):
    """A map that is bright at one place only has at least one bright cell."""
    maps = np.eye(49).reshape(49, 1, 7, 7)
    found = exercises.pooled_features([maps], size)
    assert found.shape == (49, size**2)
    assert (found.max(axis=1) == 1).all()
    if size == 1:
        np.testing.assert_array_equal(found, np.ones((49, 1)))


# --------------------------------------------------------------------------------------------------- 7.11 algorithm one

stepping = pytest.mark.task(
    id="7.11", points=3, minutes=30, difficulty=2, hint="k steps of D with G as it was; then G through the new D"
)
START = (0.5, -1.0), (0.25, 0.125)  # generator, discriminator


def by_the_engine(generator, discriminator, real, noise, rates):
    """Return what algorithm 1 makes of the four numbers, its gradients taken by the engine."""
    a, b, w, c = (tinyconv.tensor(np.array(v), requires_grad=True) for v in (*generator, *discriminator))
    for x, z in zip(real, noise, strict=False):
        fake = (a * tinyconv.tensor(z) + b).detach()
        gain = -F.softplus(-(w * tinyconv.tensor(x) + c)).mean() - F.softplus(w * fake + c).mean()
        for p, g in zip((w, c), tinyconv.grad(gain, [w, c]), strict=True):
            p.data[...] += rates[0] * g.data
    gain = -F.softplus(-(w * (a * tinyconv.tensor(noise[-1]) + b) + c)).mean()
    for p, g in zip((a, b), tinyconv.grad(gain, [a, b]), strict=True):
        p.data[...] += rates[1] * g.data
    return (a.item(), b.item()), (w.item(), c.item())


def draws(seed, k, m=6):
    """Return real numbers and noise for k steps of D."""
    rng = np.random.default_rng(seed)
    return rng.normal(3, 1, (k, m)), rng.standard_normal((k + 1, m))


@stepping
def test_7_11_by_hand():
    """D begins with 1/2 everywhere: its step is half the difference of the means, and of 1 and 1. Real 4, fake 1."""
    real, noise = np.array([[4.0]]), np.array([[0.5], [2.0]])
    generator, discriminator = quietly(exercises.algorithm_one, (2.0, 0.0), (0.0, 0.0), real, noise, (0.2, 1.0))
    assert discriminator == pytest.approx((0.2 * 1.5, 0.0))
    slope = 0.3 / (1 + np.exp(0.3 * 4))  # w (1 - D) at the fake 2 * 2
    assert generator == pytest.approx((2 + 2 * slope, slope))


@stepping
@pytest.mark.parametrize("k", [1, 2, 5])
def test_7_11_is_what_the_engine_makes_of_it(k):
    real, noise = draws(k, k)
    found = quietly(exercises.algorithm_one, *START, real, noise, (0.5, 0.25))
    wanted = by_the_engine(*START, real, noise, (0.5, 0.25))
    np.testing.assert_allclose(np.array(found), np.array(wanted), rtol=1e-10)


@stepping
def test_7_11_more_real_numbers_than_noise():
    real, noise = np.random.default_rng(8).normal(3, 1, (2, 9)), np.random.default_rng(9).standard_normal((3, 4))
    found = quietly(exercises.algorithm_one, *START, real, noise, (0.5, 0.25))
    np.testing.assert_allclose(np.array(found), np.array(by_the_engine(*START, real, noise, (0.5, 0.25))), rtol=1e-10)


@stepping
def test_7_11_a_network_without_a_rate_stays():
    real, noise = draws(6, 2)
    assert exercises.algorithm_one(*START, real, noise, (0.0, 0.3))[1] == pytest.approx(START[1])
    assert exercises.algorithm_one(*START, real, noise, (0.3, 0.0))[0] == pytest.approx(START[0])


@stepping
def test_7_11_the_discriminator_does_not_see_the_generators_step():
    """Whatever the generator's rate, D learns from the samples of the generator before it."""
    real, noise = draws(7, 3)
    steps = [exercises.algorithm_one(*START, real, noise, (0.5, rate))[1] for rate in (0.0, 10.0)]
    assert steps[0] == pytest.approx(steps[1])


@stepping
def test_7_11_the_generator_learns_from_new_noise_only():
    real, noise = draws(8, 1)
    other = noise.copy()
    other[1] = 0
    (a, b), _ = exercises.algorithm_one(*START, real, other, (0.5, 1.0))
    assert a == START[0][0], "a z is 0 for every a"
    assert b != START[0][1]


@stepping
def test_7_11_logits_in_the_thousands():
    """D is sure of everything: it learns nothing more; the generator's slope is 1 where D is sure of the fake."""
    real, noise = np.array([[10.0, 12]]), np.array([[1.0, 3], [1.0, 3]])
    found = quietly(exercises.algorithm_one, (1.0, -9.0), (1000.0, 0.0), real, noise, (0.1, 1e-3))
    np.testing.assert_allclose(np.array(found), [[1 + 2, -9 + 1], [1000, 0]], atol=1e-9)


@stepping
def test_7_11_a_thousand_steps_find_the_mean_of_the_data():
    """Real numbers are N(3, 1), and G begins at -1; a logistic D compares means, and G's comes to be the data's."""
    (a, b), D, rng = (1.0, -1.0), (0.0, 0.0), np.random.default_rng(10)
    for _ in range(1000):
        (a, b), D = exercises.algorithm_one(
            (a, b), D, rng.normal(3, 1, (1, 100)), rng.standard_normal((2, 100)), (0.1, 0.1)
        )
    assert b == pytest.approx(3, abs=0.5)
