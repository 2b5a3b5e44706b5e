"""Tests of tasks 7.6 to 7.8: ``pytest lessons/07_gan``, or one task with ``-k 7_6_``."""

import importlib.util
import time
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import data, models, nn
from tinyconv.generative.parzen import log_likelihood
from tinyconv.generative.training import train_gan
from tinyconv.nn import functional as F
from tinyconv_kernels import cpu

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_07_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


def only(*names):
    """Return a module of some of the student's functions, so that no other task is asked."""
    module = types.ModuleType("kernels of your own")
    for name in names:
        setattr(module, name, getattr(exercises, name))
    return module


# ------------------------------------------------------------------------------------------------- 7.6: maxout, forward

winning = pytest.mark.task(
    id="7.6", points=2, minutes=20, difficulty=1, hint="begin with piece 0; value > best is false for every NaN"
)


def largest(x, kernel=None):
    """Return y and switches that a kernel writes, the student's by default, over NaN and strange switches."""
    x = np.asarray(x)
    shape = (*x.shape[:2], x.shape[3])
    y, switches, before = np.full(shape, np.nan, x.dtype), np.full(shape, -7), x.copy()
    assert (kernel or exercises.maxout_forward)(x, y, switches) is None
    np.testing.assert_array_equal(x, before, err_msg="x was changed")
    return y, switches


@winning
def test_7_6_by_hand():
    """Two images, two units of three pieces, one place."""
    x = np.array([[[1.0, 5, 2], [-3, -1, -2]], [[7, 6, 5], [0, 0.5, 4]]])[..., None]
    y, switches = largest(x)
    np.testing.assert_array_equal(y[..., 0], [[5, -1], [7, 4]])
    np.testing.assert_array_equal(switches[..., 0], [[1, 1], [0, 2]])


@winning
def test_7_6_every_place_has_its_own_winner():
    """One unit of two pieces at three places."""
    y, switches = largest(np.array([[[[1.0, -4, 2], [0, -3, 2.5]]]]))
    np.testing.assert_array_equal(y, [[[1, -3, 2.5]]])
    np.testing.assert_array_equal(switches, [[[0, 1, 1]]])


@winning
def test_7_6_the_first_of_equal_maxima_wins():
    _, switches = largest(np.array([[[2.0, 2, 1], [0, 3, 3], [4, 4, 4]]])[..., None])
    np.testing.assert_array_equal(switches, [[[0], [1], [0]]])


@winning
def test_7_6_a_nan_wins_and_the_last_of_them_is_kept():
    nan, inf = np.nan, np.inf
    x = np.array([[[nan, 1, inf], [1, nan, 2], [5, 6, nan], [nan, 3, nan], [nan, nan, 1]]])[..., None]
    y, switches = largest(x)
    assert np.isnan(y).all()
    np.testing.assert_array_equal(switches, [[[0], [1], [2], [2], [1]]])


@winning
def test_7_6_a_unit_of_one_piece_puts_it_out():
    x = np.random.default_rng(0).standard_normal((2, 3, 1, 4))
    y, switches = largest(x)
    np.testing.assert_array_equal(y, x[:, :, 0])
    np.testing.assert_array_equal(switches, np.zeros((2, 3, 4)))


@winning
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 4, 5, 1), (2, 3, 2, 7)])
def test_7_6_is_the_librarys(dtype, shape):
    x = np.random.default_rng(1).integers(-4, 4, shape).astype(dtype)  # with many ties
    for found, wanted in zip(largest(x), largest(x, cpu.maxout.maxout_forward), strict=True):
        np.testing.assert_array_equal(found, wanted)


@winning
def test_7_6_a_maxout_unit_of_planes_is_convex():
    """Through the engine: 8 units of 5 planes each, between two points never above the line."""
    tinyconv.manual_seed(2)
    layer, rng = nn.Linear(3, 40, dtype=np.float64), np.random.default_rng(3)
    left, right = rng.standard_normal((2, 6, 3))
    with tinyconv.no_grad(), tinyconv.backend(only("maxout_forward")):
        a, b, middle = (
            F.maxout(layer(tinyconv.tensor(x)), 5).numpy() for x in (left, right, 0.75 * left + 0.25 * right)
        )
    assert (middle <= 0.75 * a + 0.25 * b + 1e-12).all()
    assert (middle < 0.75 * a + 0.25 * b - 0.01).any(), "and not all of them are planes"


# ------------------------------------------------------------------------------------------------ 7.7: maxout, backward

learning = pytest.mark.task(
    id="7.7", points=2, minutes=15, difficulty=1, hint="first zeros everywhere, then dy at the winning pieces"
)


def gradient(dy, switches, pieces, kernel=None):
    """Return what a kernel writes, the student's by default, over NaN."""
    dy = np.asarray(dy)
    dx, before = np.full((*dy.shape[:2], pieces, dy.shape[2]), np.nan, dy.dtype), dy.copy()
    assert (kernel or exercises.maxout_backward)(dy, np.asarray(switches), dx) is None
    np.testing.assert_array_equal(dy, before, err_msg="dy was changed")
    return dx


@learning
def test_7_7_by_hand():
    dx = gradient([[[1.0], [2]], [[4], [8]]], [[[1], [0]], [[2], [2]]], 3)
    np.testing.assert_array_equal(dx[..., 0], [[[0, 1, 0], [2, 0, 0]], [[0, 0, 4], [0, 0, 8]]])


@learning
def test_7_7_every_place_has_its_own_winner():
    dx = gradient([[[1.0, 2, 4]]], [[[1, 0, 1]]], 2)
    np.testing.assert_array_equal(dx, [[[[0, 2, 0], [1, 0, 4]]]])


@learning
def test_7_7_equal_pieces_do_not_share():
    """Both pieces are 3; the first one was noted, so it gets the whole gradient."""
    np.testing.assert_array_equal(gradient([[[6.0]]], [[[0]]], 2), [[[[6], [0]]]])


@learning
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_7_7_is_the_librarys(dtype):
    rng = np.random.default_rng(4)
    dy, switches = rng.standard_normal((3, 4, 5)).astype(dtype), rng.integers(0, 6, (3, 4, 5))
    found = gradient(dy, switches, 6)
    np.testing.assert_array_equal(found, gradient(dy, switches, 6, cpu.maxout.maxout_backward))
    assert (found != 0).sum() == dy.size, "one piece of each unit learns"


@learning
def test_7_7_passes_the_gradient_check():
    x = np.random.default_rng(5).permutation(60).reshape(2, 15, 2) / 60.0  # no two alike: no ties
    with tinyconv.backend(only("maxout_backward")):
        F.maxout(tinyconv.tensor(x, requires_grad=True), 5).sum().backward()  # what is not written yet says so itself
        tinyconv.gradcheck(lambda t: F.maxout(t, 5), [x])


@learning
def test_7_7_trains_the_gan_as_the_librarys_kernels_do():
    """Four steps of the lesson's networks on digits; the weights that come out are the library's."""
    digits, weights, seconds = data.Subset(data.mnist(), range(400)), [], []
    for kernels in (only(*written()), "cpu"):
        tinyconv.manual_seed(6)
        model = models.gan(scale="lesson")
        began = time.perf_counter()
        with tinyconv.backend(kernels):
            train_gan(model, digits, epochs=1, seed=6, progress=False)
        seconds.append((time.perf_counter() - began) / 4)
        weights.append([p.detach().numpy().copy() for p in model.parameters()])
    print(f"\na step of the GAN: {1e3 * seconds[0]:.0f} ms on {', '.join(written())} of yours, ", end="")
    print(f"{1e3 * seconds[1]:.0f} ms on the library's kernels")
    for found, wanted in zip(*weights, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def written():
    """Return the kernels of maxout to train on: the forward one too, if it is written (task 7.6)."""
    try:
        exercises.maxout_forward(np.zeros((1, 1, 2, 1)), np.zeros((1, 1, 1)), np.zeros((1, 1, 1), int))
    except NotImplementedError:
        return ["maxout_backward"]
    return ["maxout_forward", "maxout_backward"]


# ---------------------------------------------------------------------------------------------------------- 7.8: Parzen

judging = pytest.mark.task(
    id="7.8", points=3, minutes=25, difficulty=2, hint="log sum exp(a) = max a + log sum exp(a - max a), for each point"
)


def likelihood(points, centres, sigma):
    """Return the student's answer, warnings as errors, after a look at the shape and at what was handed over."""
    points, centres = np.asarray(points, float), np.asarray(centres, float)
    kept = points.copy(), centres.copy()
    with warnings.catch_warnings(), np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"):
        warnings.simplefilter("error")
        found = exercises.parzen_log_likelihood(points, centres, sigma)
    assert np.shape(found) == (len(points),)
    np.testing.assert_array_equal(points, kept[0], err_msg="points were changed")
    np.testing.assert_array_equal(centres, kept[1], err_msg="centres were changed")
    return found


@judging
@pytest.mark.parametrize(("sigma", "wanted"), [(0.2, 541.3515), (0.1, 1084.779)])
def test_7_8_a_sample_that_is_the_image_itself(sigma, wanted):
    """784 pixels: only the volume's term is left."""
    x = np.random.default_rng(7).random((1, 784))
    assert likelihood(x, x, sigma)[0] == pytest.approx(wanted, abs=2e-4)


@judging
def test_7_8_in_one_dimension_by_hand():
    """Centres 0 and 2, a point at 1: both densities are exp(-1/2) / sqrt(2 pi), and so is their mean; at 0 they differ.

    The point at 0 has (1 + exp(-2)) / 2 / sqrt(2 pi).
    """
    density = np.exp(likelihood([[1.0], [0.0]], [[0.0], [2.0]], 1.0))
    np.testing.assert_allclose(density, np.array([np.exp(-0.5), (1 + np.exp(-2)) / 2]) / np.sqrt(2 * np.pi))


@judging
@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_7_8_is_a_density(sigma):
    """In two dimensions it adds up to 1."""
    line = np.linspace(-14, 15, 291)
    points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    centres = np.array([[0.0, 0], [1, -1], [0.5, 2]])
    assert np.exp(likelihood(points, centres, sigma)).sum() * 0.01 == pytest.approx(1, abs=1e-6)


@judging
def test_7_8_ten_thousand_away():
    """The nearer of two centres has all the weight: -(1e4)^2 / (2 sigma^2) - log 2 - log(sigma sqrt(2 pi))."""
    points = [[1e4], [-1e4], [3.0]]
    found = likelihood(points, [[0.0], [3.0]], 0.5)
    volume = np.log(2) + np.log(0.5 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(found[:2], [-((1e4 - 3) ** 2) / 0.5 - volume, -(1e8) / 0.5 - volume], rtol=1e-12)
    assert found[2] == pytest.approx(np.log1p(np.exp(-18.0)) - volume, abs=1e-12), "whatever the others are"


@judging
def test_7_8_close_to_a_centre_and_far_from_zero():
    rng = np.random.default_rng(8)
    points, centres = rng.random((4, 3)), rng.random((5, 3))
    near = likelihood(points, centres, 0.4)
    np.testing.assert_allclose(likelihood(points + 2.0**30, centres + 2.0**30, 0.4), near, atol=1e-5)


@judging
def test_7_8_twice_the_same_samples_change_nothing():
    rng = np.random.default_rng(9)
    points, centres = rng.random((6, 4)), rng.random((3, 4))
    once = likelihood(points, centres, 0.2)
    np.testing.assert_allclose(likelihood(points, np.tile(centres, (2, 1)), 0.2), once, rtol=1e-12)


@judging
@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_7_8_is_the_librarys(sigma):
    rng = np.random.default_rng(10)
    points, centres = rng.random((7, 50)), rng.random((20, 50))
    np.testing.assert_allclose(likelihood(points, centres, sigma), log_likelihood(points, centres, sigma), rtol=1e-9)
