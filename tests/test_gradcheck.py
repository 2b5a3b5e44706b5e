"""gradcheck: right gradients pass, large inputs are searched, and what cannot be checked is named."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from broken import changed, failure, function, numbers, square
from tinyconv import Tensor, gradcheck
from tinyconv.nn import functional as F

# ------------------------------------------------------------------------------------- what it accepts


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
        (lambda x: F.relu(x), [numbers(60, 50)]),  # more than are checked one by one
        (lambda x: x.abs(), [np.linspace(-1, 1, 5000) + 1e-5]),  # a kink closer than the long step
        (lambda x, n: x * n, [numbers(3), 2]),
        (lambda x, table: (x * table[1][0]).sum(table[0]), [numbers(3, 2), (1, [2.0])]),
        (lambda index, table: F.embedding(index, table), [np.array([0, 2, 2]), numbers(3, 2)]),
        (lambda x, bias: x if bias is None else x + bias, [numbers(3), None]),
        (lambda x: (x * 2, x.argmax(), x.detach() * 3, "text", (x * x).sum()), [numbers(3)]),
        (lambda x: F.max_pool2d(x, 2, return_indices=True), [numbers(1, 2, 4, 4)]),
    ],
)
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


# ---------------------------------------------------------------------------------------- large inputs


def test_finds_the_one_wrong_element_of_many():
    error = failure(square(changed((3, 77), 1.5)), numbers(20, 400))
    assert error.index == (3, 77) and error.ratio == pytest.approx(1.5)


def test_sees_the_pattern_in_a_sample():
    error = failure(square(lambda g: 3 * g), numbers(100, 100))
    assert "exactly 3 times too large" in error.cause and error.share == 1
    assert "at 400 of 400 elements checked (100%)" in str(error)


def test_elements_says_what_is_checked_one_by_one():
    calls = []

    def fn(x):
        calls.append(x)
        return x * x

    gradcheck(fn, [numbers(10)], elements=0)
    few = len(calls)
    gradcheck(fn, [numbers(10)])
    assert len(calls) - few == few + 4 * 10
    assert failure(square(lambda g: 3 * g), numbers(10), elements=0).share == 1


def test_needs_few_forward_passes_whatever_the_size():
    calls = []

    def fn(x):
        calls.append(x)
        return x * x

    gradcheck(fn, [numbers(1000, 100)])
    assert len(calls) < 20


# ------------------------------------------------------------------------------ what cannot be checked


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


# --------------------------------------------------------------------------------------------- modules


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
