"""gradcheck accepts right gradients, and says of each wrong one what is wrong with it."""

from __future__ import annotations

import types

import numpy as np
import pytest

import tinyconv
from tinyconv import Function, GradientError, Tensor, gradcheck
from tinyconv.nn import functional as F


def square(spoil=lambda g: g):
    """Return the Function x * x with a spoilt gradient."""

    def forward(ctx, x):
        ctx.save(x)
        return x * x

    def backward(ctx, dy):
        return spoil(2 * ctx.saved[0] * dy)

    return function("Square", forward, backward)


def function(name, forward, backward):
    """Return a Function of these two methods."""
    return type(name, (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def numbers(*shape, seed=0):
    """Return values away from 0, all different."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape)


def failure(fn, *inputs, **options) -> GradientError:
    """Return the error that the check must raise."""
    with pytest.raises(GradientError) as caught:
        gradcheck(fn, inputs, **options)
    return caught.value


# ------------------------------------------------------------------------------------------------- what it accepts


@pytest.mark.parametrize(
    "fn, inputs",
    [
        (square(), [numbers(3, 4)]),
        (square(), [np.array(3.0)]),
        (square(), [np.zeros((0, 3))]),
        (square(), [numbers(3, 4).astype(np.float32)]),
        (square(), [Tensor(numbers(3, 4))]),
        (square(), [1e6 * numbers(5)]),
        (square(), [1e-6 * numbers(5)]),
        (lambda x: x.log(), [1e-3 * np.abs(numbers(5))]),  # its derivatives grow as x shrinks: the short step passes
        (lambda x: x.log(), [1e3 * np.abs(numbers(5))]),
        (lambda x: x.exp(), [10 * numbers(5)]),
        (lambda x: (x - x.mean(0)) / (x.var(0) + 1e-5).sqrt(), [1e3 + numbers(6, 3)]),  # large values cancel
        (lambda x: (F.softmax(x, 1)).sum(1), [numbers(4, 3)]),  # the gradient is 0 but for rounding
        (lambda x, y: x @ y, [numbers(3, 4), numbers(4, 2)]),
        (lambda x: F.relu(x), [numbers(60, 50)]),  # larger than FULL
        (lambda x: x.abs(), [np.linspace(-1, 1, 5000) + 1e-5]),  # a kink closer than the long step
        (lambda x, n: x * n, [numbers(3), 2]),
        (lambda x, table: (x * table[1][0]).sum(table[0]), [numbers(3, 2), (1, [2.0])]),
        (lambda index, table: F.embedding(index, table), [np.array([0, 2, 2]), numbers(3, 2)]),
        (lambda x, bias: x if bias is None else x + bias, [numbers(3), None]),
        (lambda x: (x * 2, x.argmax(), x.detach() * 3, "text", (x * x).sum()), [numbers(3)]),
        (lambda x: F.max_pool2d(x, 2, return_indices=True), [numbers(1, 2, 4, 4)]),
    ],
)  # fmt: skip
def test_accepts_right_gradients(fn, inputs):
    assert gradcheck(fn, inputs) is True


def test_one_array_need_not_be_in_a_list():
    assert gradcheck(square(), numbers(3)) and gradcheck(square(), Tensor(numbers(3)))


def test_inputs_stay_as_they_were():
    x = Tensor(numbers(3).astype(np.float32), requires_grad=True)
    before = x.data.copy()
    gradcheck(square(), [x])
    assert x.dtype == np.float32 and x.grad is None and x.requires_grad
    np.testing.assert_array_equal(x.data, before)


def test_wrt_chooses_the_inputs():
    def half_wrong(ctx, dy):
        return dy * ctx.saved[1], 3 * dy * ctx.saved[0]

    def product(ctx, x, y):
        ctx.save(x, y)
        return x * y

    fn = function("Product", product, half_wrong)
    assert gradcheck(fn, [numbers(3), numbers(3, seed=1)], wrt=0)
    error = failure(fn, numbers(3), numbers(3, seed=1), wrt=[1])
    assert error.argument == "argument 1 (y)" and "exactly 3 times too large" in error.cause


@pytest.mark.parametrize("wrt, message", [(1, "wrt must number floating inputs, which are [0], got 1"), (2, "got 2")])
def test_wrt_must_be_floating_inputs(wrt, message):
    with pytest.raises(ValueError) as caught:
        gradcheck(lambda x, i: x[i], [numbers(3), np.array([0])], wrt=wrt)
    assert message in str(caught.value)


def test_needs_something_to_differentiate():
    with pytest.raises(ValueError, match="nothing to differentiate"):
        gradcheck(lambda n: n, [3])


# --------------------------------------------------------------------------------------------- what a failure says


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


def changed(key, factor):
    def spoil(g):
        g = g.copy()
        g[key] *= factor
        return g

    return spoil


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
)  # fmt: skip
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


# ------------------------------------------------------------------------------------------------------ large inputs


def test_finds_the_one_wrong_element_of_many():
    error = failure(square(changed((3, 77), 1.5)), numbers(20, 400))
    assert error.index == (3, 77) and error.ratio == pytest.approx(1.5)


def test_sees_the_pattern_in_a_sample():
    error = failure(square(lambda g: 3 * g), numbers(100, 100))
    assert "exactly 3 times too large" in error.cause and error.share == 1
    assert "at 400 of 400 elements checked (100%)" in str(error)


def test_needs_few_forward_passes_whatever_the_size():
    calls = []

    def fn(x):
        calls.append(x)
        return x * x

    gradcheck(fn, [numbers(1000, 100)])
    assert len(calls) < 20


# ------------------------------------------------------------------------------------------- what cannot be checked


def forward_in_place(ctx, x):
    x *= 2
    return x.copy()


@pytest.mark.parametrize(
    "fn, cause",
    [
        (lambda x: x.detach() * 2, "no output requires a gradient: the graph is cut"),
        (lambda x: 3.0, "no output requires a gradient"),
        (lambda x: x.float() * 2, "an output is not float64 although the inputs are"),
        (lambda x: (x * 0).log(), "an output is NaN or infinite at this input"),
        (lambda x: F.dropout(x, 0.5), "two calls with the same input differ (by "),
        (function("InPlace", forward_in_place, lambda ctx, dy: 2 * dy), "forward changed input 0 in place: write"),
        (square(lambda g: g[0]), "the gradient of argument 0 must have the argument's shape (3, 4), got (4,)"),
        (square(lambda g: (g, g)), "wanted 1 gradients, one per argument of forward, got 2"),
    ],
)
def test_says_why_fn_cannot_be_checked(fn, cause):
    error = failure(fn, numbers(3, 4))
    assert cause in error.cause and error.cause in str(error) and error.index is None


def test_output_whose_size_changes():
    sizes = iter([2, 3])
    assert "two calls with the same input differ (their sizes)" in failure(lambda x: x[: next(sizes)], numbers(5)).cause


def saving(forward_result, backward):
    """Return a Function that saves x."""

    def forward(ctx, x):
        ctx.save(x)
        return forward_result(x)

    return function("Saving", forward, backward)


def upstream_in_place(ctx, dy):
    dy *= 2 * ctx.saved[0]
    return dy


def saved_in_place(ctx, dy):
    ctx.copy = getattr(ctx, "copy", 1.0) * 2
    return 2 * ctx.saved[0] * dy * ctx.copy / 2


def input_in_place(ctx, dy):
    ctx.saved[0][0] = 7
    return 2 * ctx.saved[0] * dy


@pytest.mark.parametrize(
    "backward, cause",
    [
        (upstream_in_place, "backward changed its upstream gradient in place: write into a copy"),
        (saved_in_place, "a second backward gives another gradient of argument 0 (x): it changes what was saved"),
        (input_in_place, "backward changed input 0 in place: write into a copy"),
    ],
)
def test_backward_must_leave_what_it_was_given(backward, cause):
    assert failure(saving(lambda x: x * x, backward), numbers(3)).cause == cause


# ---------------------------------------------------------------------------------------------------------- modules


class Net(tinyconv.nn.Module):
    """A layer whose bias may be wrong."""

    def __init__(self, op):
        super().__init__()
        self.op = op
        self.weight = tinyconv.nn.Parameter(numbers(3).astype(np.float32))
        self.frozen = tinyconv.nn.Parameter(numbers(3).astype(np.float32), requires_grad=False)
        self.register_buffer("shift", Tensor(np.ones(3, np.float32)))

    def forward(self, x):
        return self.op(x * self.frozen + self.shift) * self.op(self.weight)


def test_module_is_checked_with_its_parameters_and_left_as_it_was():
    net = Net(square().apply)
    assert gradcheck(net, [numbers(2, 3)])
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        assert tensor.dtype == np.float32 and tensor.grad is None, name


def test_module_parameter_is_named():
    net = Net(square(lambda g: g if g.ndim == 2 else -g).apply)
    error = failure(net, numbers(2, 3))
    assert (error.op, error.argument, error.cause) == ("Net", "parameter weight", "sign flipped")
    assert net.weight.dtype == np.float32
