"""Tests of tasks 8.1 and 8.2: ``pytest lessons/08_captioning``, or one task with ``-k 8_1_``."""

import importlib.util
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv.models.alignment import alignment
from tinyconv.nn import functional as F
from tinyconv_kernels import reference

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_08_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


def only(*names):
    """Return a module of some of the student's functions, so that no other task is asked."""
    module = types.ModuleType("kernels of your own")
    for name in names:
        setattr(module, name, getattr(exercises, name))
    return module


def quietly(function, *given, outputs=()):
    """Call a function with warnings as errors, and check that it leaves its arrays as they were."""
    kept = [np.array(v, copy=True) for v in given if isinstance(v, np.ndarray)]
    with warnings.catch_warnings(), np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"):
        warnings.simplefilter("error")
        found = function(*given, *outputs)
    for before, after in zip(kept, [v for v in given if isinstance(v, np.ndarray)], strict=True):
        np.testing.assert_array_equal(after, before, err_msg="an argument was changed")
    return found


def behind(a, lengths, value=np.nan):
    """Return a copy that holds a value behind each sample's end."""
    a = np.array(a)
    for row, length in zip(a, lengths, strict=True):
        row[length:] = value
    return a


# ------------------------------------------------------------------------------------------------ 8.1: states, forward

walking = pytest.mark.task(
    id="8.1",
    points=2,
    minutes=20,
    difficulty=1,
    hint="zeros first; one sample after the other, its state in a variable",
)


def states(x, weight, h0=None, lengths=None, reverse=False, relu=True, kernel=None):
    """Return y that a kernel writes, the student's by default, over NaN."""
    x, weight = np.asarray(x), np.asarray(weight)
    h0 = np.zeros((len(x), x.shape[2]), x.dtype) if h0 is None else np.asarray(h0)
    lengths = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
    y = np.full(x.shape, np.nan, x.dtype)
    found = quietly(kernel or exercises.rnn_forward, x, weight, h0, lengths, reverse, relu, outputs=(y,))
    assert found is None, "a kernel returns nothing"
    assert not (y.size and np.isnan(y).all()), "rnn_forward writes nothing yet (task 8.1)"
    return y


@walking
def test_8_1_one_unit_by_hand():
    """1, 2 + .5, 3 + 1.25; from behind 3, 2 + 1.5, 1 + 1.75."""
    x, weight = [[[1.0], [2], [3]]], [[0.5]]
    np.testing.assert_array_equal(states(x, weight)[0, :, 0], [1, 2.5, 4.25])
    np.testing.assert_array_equal(states(x, weight, reverse=True)[0, :, 0], [2.75, 3.5, 3])


@walking
def test_8_1_the_weights_rows_are_units():
    """Unit 0 hears unit 1 twice over, unit 1 hears nobody."""
    y = states([[[1.0, 10], [1, 10]]], [[0.0, 2], [0, 0]])
    np.testing.assert_array_equal(y, [[[1, 10], [21, 10]]])


@walking
@pytest.mark.parametrize(("reverse", "wanted"), [(False, [[3, 3.5], [1, 2.5]]), (True, [[3, 4], [2, 2]])])
def test_8_1_the_first_step_has_a_state_before_it(reverse, wanted):
    y = states([[[1.0], [2]], [[1], [2]]], [[0.5]], h0=[[4.0], [0]], reverse=reverse)
    np.testing.assert_array_equal(y[..., 0], wanted)


@walking
def test_8_1_relu_forgets_what_is_negative():
    np.testing.assert_array_equal(states([[[-1.0], [2], [-8], [1]]], [[1.0]])[0, :, 0], [0, 2, 0, 1])


@walking
def test_8_1_tanh():
    y = states([[[0.5], [-1]]], [[2.0]], relu=False)
    first = np.tanh(0.5)
    np.testing.assert_allclose(y[0, :, 0], [first, np.tanh(-1 + 2 * first)], rtol=1e-15)


@walking
@pytest.mark.parametrize("reverse", [False, True])
def test_8_1_samples_end_where_their_lengths_say(reverse):
    """A short sample has the states that it would have alone, and 0 behind them, whatever lies there."""
    rng = np.random.default_rng(0)
    lengths, x, weight, h0 = np.array([3, 0, 5, 1]), *(rng.standard_normal(s) for s in ((4, 5, 2), (2, 2), (4, 2)))
    y = states(behind(x, lengths), weight, h0, lengths, reverse, relu=False)
    for n, length in enumerate(lengths):
        np.testing.assert_array_equal(y[n, length:], 0)
        alone = states(x[n : n + 1, :length], weight, h0[n : n + 1], None, reverse, relu=False)
        np.testing.assert_allclose(y[n, :length], alone[0], rtol=1e-12)


@walking
@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 2)])
def test_8_1_nothing_to_do(shape):
    assert states(np.zeros(shape), np.eye(2)).shape == shape


@walking
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_8_1_is_the_librarys(reverse, relu):
    rng = np.random.default_rng(1)
    x, weight, h0 = rng.standard_normal((3, 6, 4)), 0.5 * rng.standard_normal((4, 4)), rng.standard_normal((3, 4))
    lengths = np.array([6, 2, 0])
    wanted = states(x, weight, h0, lengths, reverse, relu, kernel=reference.recurrent.rnn_forward)
    np.testing.assert_allclose(states(x, weight, h0, lengths, reverse, relu), wanted, atol=1e-12)


@walking
def test_8_1_alignment_runs_on_it():
    """The library's model of words, both directions, on the student's kernel."""
    tinyconv.manual_seed(3)
    model, words = alignment(9, scale="lesson").eval(), np.array([[3, 1, 4, 1], [5, 8, -1, -1]])
    with tinyconv.no_grad():
        wanted = model.embed_words(words).numpy()
        with tinyconv.backend(only("rnn_forward")):
            found = model.embed_words(words).numpy()
    np.testing.assert_allclose(found[words >= 0], wanted[words >= 0], atol=1e-5)


# ----------------------------------------------------------------------------------------------- 8.2: back through time

returning = pytest.mark.task(
    id="8.2", points=3, minutes=30, difficulty=2, hint="steps in the opposite order; what comes back adds to dy"
)


def gradients(dy, y, weight, lengths=None, reverse=False, relu=True, kernel=None):
    """Return dx and dh0 that a kernel writes, the student's by default, over NaN."""
    dy, y, weight = np.asarray(dy), np.asarray(y), np.asarray(weight)
    lengths = np.full(len(y), y.shape[1]) if lengths is None else np.asarray(lengths)
    dx, dh0 = np.full(y.shape, np.nan, y.dtype), np.full((len(y), y.shape[2]), np.nan, y.dtype)
    found = quietly(kernel or exercises.rnn_backward, dy, y, weight, lengths, reverse, relu, outputs=(dx, dh0))
    assert found is None, "a kernel returns nothing"
    assert not (dx.size and np.isnan(dx).all()), "rnn_backward writes nothing yet (task 8.2)"
    return dx, dh0


@returning
def test_8_2_one_unit_by_hand():
    """All states are positive: the last has 4, the one before 2 + .5 4, the first 1 + .5 4; h0 .5 3."""
    dx, dh0 = gradients([[[1.0], [2], [4]]], [[[1.0], [1], [1]]], [[0.5]])
    np.testing.assert_array_equal(dx[0, :, 0], [3, 4, 4])
    np.testing.assert_array_equal(dh0, [[1.5]])


@returning
def test_8_2_in_reverse_by_hand():
    dx, dh0 = gradients([[[4.0], [2], [1]]], [[[1.0], [1], [1]]], [[0.5]], reverse=True)
    np.testing.assert_array_equal(dx[0, :, 0], [4, 4, 3])
    np.testing.assert_array_equal(dh0, [[1.5]])


@returning
def test_8_2_nothing_comes_back_through_a_unit_that_is_off():
    dx, dh0 = gradients([[[1.0], [2], [4]]], [[[1.0], [0], [1]]], [[0.5]])
    np.testing.assert_array_equal(dx[0, :, 0], [1, 0, 4])
    np.testing.assert_array_equal(dh0, [[0.5]])


@returning
def test_8_2_goes_back_along_the_columns():
    """Unit 0 hears unit 1 three times over: what unit 0 gets goes back to unit 1."""
    dx, dh0 = gradients([[[0.0, 0], [1, 0]]], np.ones((1, 2, 2)), [[0.0, 3], [0, 0]])
    np.testing.assert_array_equal(dx, [[[0, 3], [1, 0]]])
    np.testing.assert_array_equal(dh0, [[0, 0]])


@returning
def test_8_2_large_gradients_go_back_as_they_are():
    """100, then .5 100 and .25 100: whoever limits gradients does it after the whole sentence."""
    dx, dh0 = gradients([[[0.0], [0], [100]]], np.ones((1, 3, 1)), [[0.5]])
    np.testing.assert_array_equal(dx[0, :, 0], [25, 50, 100])
    np.testing.assert_array_equal(dh0, [[12.5]])


@returning
def test_8_2_tanh_by_hand():
    """Slopes .75 and .36: dx_1 = .36, dx_0 = .75 (1 + 2 .36); h0 2 dx_0."""
    dx, dh0 = gradients([[[1.0], [1]]], [[[0.5], [0.8]]], [[2.0]], relu=False)
    np.testing.assert_allclose(dx[0, :, 0], [0.75 * 1.72, 0.36], rtol=1e-12)
    np.testing.assert_allclose(dh0, [[1.5 * 1.72]], rtol=1e-12)


@returning
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_8_2_samples_end_where_their_lengths_say(reverse, relu):
    rng = np.random.default_rng(2)
    lengths, weight = np.array([2, 0, 4, 1]), rng.standard_normal((3, 3))
    dy, y = rng.standard_normal((4, 4, 3)), np.tanh(rng.standard_normal((4, 4, 3)))
    y = np.maximum(y, 0) if relu else y
    dx, dh0 = gradients(behind(dy, lengths), behind(y, lengths, 0.0), weight, lengths, reverse, relu)
    for n, length in enumerate(lengths):
        np.testing.assert_array_equal(dx[n, length:], 0)
        alone, start = gradients(dy[n : n + 1, :length], y[n : n + 1, :length], weight, None, reverse, relu)
        np.testing.assert_allclose(dx[n, :length], alone[0], atol=1e-12)
        np.testing.assert_allclose(dh0[n], start[0], atol=1e-12)
    np.testing.assert_array_equal(dh0[1], 0)


@returning
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_8_2_is_the_gradient(reverse, nonlinearity):
    """Against central differences, through the engine: inputs, weight and first states of unequal samples."""
    gradients(np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.ones((1, 1)))  # one not written yet is no wrong gradient
    rng = np.random.default_rng(4)
    arrays = [rng.standard_normal((3, 4, 2)), 0.8 * rng.standard_normal((2, 2)), rng.standard_normal((3, 2))]
    with tinyconv.backend(only("rnn_backward")):
        tinyconv.gradcheck(lambda x, w, h: F.rnn(x, w, h, np.array([4, 1, 3]), nonlinearity, reverse), arrays)


@returning
@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 2)])
def test_8_2_nothing_to_do(shape):
    dx, dh0 = gradients(np.zeros(shape), np.zeros(shape), np.eye(2))
    assert dx.shape == shape
    np.testing.assert_array_equal(dh0, np.zeros((shape[0], 2)))
