"""gradcheck says of each wrong gradient what is wrong with it: one broken Function for every diagnosis."""

from __future__ import annotations

import types

import numpy as np
import pytest

import tinyconv
from broken import changed, failure, function, numbers, square
from tinyconv import gradcheck
from tinyconv.nn import functional as F

# --------------------------------------------------------------------------------- what a failure says


def test_message_names_everything():
    def one_wrong(g):
        g = g.copy()
        g[1, 2] *= 2.5
        g[2, 1] += 0.1
        return g

    error = failure(square(one_wrong), numbers(3, 4), name="my_square")
    x, worst = numbers(3, 4), (1, 2)
    assert (error.op, error.argument, error.index) == ("my_square", "argument 0 (x)", worst)
    assert error.share == pytest.approx(2 / 12)
    assert error.ratio == pytest.approx(2.5) and error.analytic == pytest.approx(2.5 * error.numeric)
    upstream = error.numeric / (2 * x[worst])
    text = str(error)
    assert "my_square: wrong gradient of argument 0 (x), shape (3, 4), at 2 of 12 elements checked (17%)" in text
    assert f"worst at [1, 2]: analytic {5 * x[worst] * upstream:.6g}"[:30] in text and "ratio 2.5" in text
    assert "likely cause: " + error.cause in text


def zero_border(g):
    g = g.copy()
    g[..., 0, :] = g[..., -1, :] = g[..., :, 0] = g[..., :, -1] = 0
    return g


@pytest.mark.parametrize(
    "shape, spoil, cause",
    [
        ((3, 4), lambda g: 2 * g, "exactly 2 times too large, exactly 2x"),
        ((3, 4), lambda g: g / 2, "exactly 2 times too small, exactly half"),
        ((3, 4), lambda g: 5 * g, "exactly 5 times too large"),
        ((3, 4), lambda g: 1.37 * g, "exactly 1.37 times too large"),
        ((3, 4), lambda g: -g, "sign flipped"),
        ((3, 4), lambda g: -2 * g, "sign flipped and exactly 2 times too large"),
        ((7, 4), lambda g: 7 * g, "exactly 7 times too large: scaled by the batch size (sum where mean belongs?)"),
        ((7, 4), lambda g: g / 7, "exactly 7 times too small: scaled by the batch size (mean where sum belongs?)"),
        ((2, 3, 3, 5), lambda g: g / 15, "scaled by the number of pixels (mean where sum belongs?)"),
        ((3, 4), lambda g: 12 * g, "scaled by the number of elements (sum where mean belongs?)"),
        ((3, 4), lambda g: g + 1, "a constant offset of 1:"),
        ((3, 4), lambda g: 0 * g, "all zeros: backward not connected"),
        ((3, 4), lambda g: None, "all zeros: backward not connected"),
        ((3, 4), lambda g: g + np.arange(1.0, 5), "a constant offset for each index of axis 1"),
        ((3, 4), lambda g: g * np.arange(2.0, 6), "a wrong factor for each index of axis 1"),
        ((4, 4), lambda g: g.T, "looks transposed: axes 0 and 1 are swapped"),
        ((3, 4), lambda g: g.T.reshape(3, 4), "looks transposed: axes 0 and 1 are swapped"),
        ((2, 3, 4, 4), lambda g: g.swapaxes(2, 3), "looks transposed: axes 2 and 3 are swapped"),
        ((2, 3, 3, 4), lambda g: g[:, :, ::-1, ::-1], "mirrored along axes (-2, -1): a kernel flipped"),
        ((6,), lambda g: g[::-1], "mirrored along axes (-1,)"),
        ((3, 4), lambda g: np.roll(g, 1), "the right values at wrong places: index arithmetic"),
        ((2, 2, 5, 6), zero_border, "only borders wrong: padding, or a window cut off by the edge (the outer 1 rows"),
        ((5, 3), changed((..., 1), 0), "only index 1 of axis 1 is wrong, one of 3 (one channel, bias or row)"),
        ((6,), changed(5, 3.5), "only index 5 of axis 0 is wrong, the last of 6"),
        ((3, 4, 2), changed((slice(None), slice(2, None)), 0), "only indices 2 to 3 of axis 1 are wrong (a group, "),
        ((3, 4), lambda g: g * (1 + 1e-3 * numbers(3, 4, seed=5)), "nearly right: an epsilon is missing"),
        ((3, 4), lambda g: np.where(g > 0, g, np.nan), "the gradient is NaN at "),
        ((3, 4), lambda g: np.where(g > 0, g, np.inf), "the gradient is infinite at "),
        ((3, 4), lambda g: g**3, "none of the known patterns"),
    ],
)
def test_diagnosis(shape, spoil, cause):
    error = failure(square(spoil), numbers(*shape))
    assert cause in error.cause and "likely cause: " in str(error)


def test_diagnosis_batch_sum_missing():
    fn = function("Bias", lambda ctx, x, bias: x + bias, lambda ctx, dy: (dy, dy[0]))
    error = failure(fn, numbers(4, 3), numbers(3))
    assert error.argument == "argument 1 (bias)"
    assert error.cause == "only sample 0 counts: the sum over the batch is missing"


def test_diagnosis_sum_over_an_axis_missing():
    fn = function("Bias", lambda ctx, x, bias: x + bias[:, None], lambda ctx, dy: (dy, dy[:, :, 1].sum(0)))
    assert failure(fn, numbers(4, 3, 5), numbers(3)).cause.startswith("only index 1 of the output's axis 2 counts")


def module(**kernels):
    """Return a module of kernels, as a student would write one."""
    mine = types.ModuleType("mine")
    vars(mine).update(kernels)
    return mine


def assigning_max_pool2d_backward(dy, switches, dx, kernel, stride, padding, dilation):
    """Assign where windows overlap: the error that CS231n's check, with stride == window, lets pass."""
    dx[...] = 0
    for n, c, oh, ow in np.ndindex(dy.shape):
        dx[n, c].reshape(-1)[switches[n, c, oh, ow]] = dy[n, c, oh, ow]


@pytest.mark.parametrize("shape", [(2, 3, 7, 6), (2, 8, 13, 13)], ids=["every element", "a sample"])
def test_max_pool_that_assigns_where_windows_overlap(shape):
    x = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape) / 10
    with tinyconv.backend(module(max_pool2d_backward=assigning_max_pool2d_backward)):
        assert gradcheck(lambda x: F.max_pool2d(x, 2, 2), [x])  # nothing overlaps: nothing to see
        error = failure(lambda x: F.max_pool2d(x, 3, 2), x, name="max_pool2d")
    assert "zero where windows overlap" in error.cause and "assigned instead of added" in error.cause
    assert gradcheck(lambda x: F.max_pool2d(x, 3, 2), [x])


def test_assigning_at_repeated_indices():
    def backward(ctx, dy):
        dx = np.zeros(4)
        dx[[0, 2, 2]] = dy
        return dx

    error = failure(function("Take", lambda ctx, x: x[[0, 2, 2]], backward), numbers(4))
    assert error.index == (2,) and "assigned instead of added" in error.cause


def test_leaving_out_what_overlaps():
    def backward(ctx, dy):
        dx = np.zeros(4)
        dx[0] = dy[0]
        return dx

    error = failure(function("Take", lambda ctx, x: x[[0, 2, 2]], backward), numbers(4))
    assert error.cause.startswith("zero where windows overlap")


def test_ties_are_named_instead_of_called_wrong():
    x = numbers(3, 3)
    x[1, 1] = 0
    error = failure(F.relu, x)
    assert error.cause.startswith("fails only at ties: move the input (a kink: the slope is 0 to the left and")
    assert error.index == (1, 1) and error.share == pytest.approx(1 / 9)


def test_ties_in_a_window():
    error = failure(lambda x: F.max_pool2d(x, 2), np.ones((1, 1, 4, 4)))
    assert error.cause.startswith("fails only at ties: move the input")


def test_jumps_are_ties_too():
    floor = function("Floor", lambda ctx, x: np.floor(x), lambda ctx, dy: 0 * dy)
    assert failure(floor, np.array([1.0, 0.5])).cause.startswith("fails only at ties")


def test_ties_beside_a_real_error():
    def backward(ctx, dy):
        return -dy * (ctx.saved[0] > 0)

    def forward(ctx, x):
        ctx.save(x)
        return np.maximum(x, 0)

    error = failure(function("Relu", forward, backward), np.array([0.0, 1.0, 2.0, -1.0]))
    assert error.cause == "sign flipped (and 1 more at ties, where there is no one gradient)"


def test_ties_of_many_elements_at_once():
    # sign(a) min(|a|, |b|) is 0 along either axis, and not between them.
    def fn(x):
        return x[0].sign() * tinyconv.minimum(x[0].abs(), x[1].abs())

    error = failure(fn, np.zeros(2))
    assert "several elements tie" in error.cause and error.index is None
