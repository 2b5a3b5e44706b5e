"""Activations beyond the table: overflow, dropout's two forms, messages."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor, gradcheck, random
from tinyconv.nn import functional as F


@pytest.fixture(autouse=True)
def fresh():
    tc.manual_seed(0)


def test_clamp_takes_integers():
    x = tc.arange(5)
    assert x.clamp(1, 3).tolist() == [1, 1, 2, 3, 3] and x.clamp(min=2).dtype == np.int64
    assert x.clamp(max=2.5).tolist() == [0, 1, 2, 2.5, 2.5] and x.clamp(max=2.5).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows(dtype):
    x = Tensor(np.array([-1e4, -1000, 0, 1000, 1e4], dtype), requires_grad=True)
    for op in (F.sigmoid, F.tanh, F.softplus, lambda x: F.softmax(x, 0), lambda x: F.log_softmax(x, 0)):
        x.grad = None
        y = op(x)
        y.sum().backward()
        assert np.isfinite(y.detach().numpy()).all() and np.isfinite(x.grad.numpy()).all()
    assert F.sigmoid(x).tolist() == [0, 0, 0.5, 1, 1] and F.softplus(x).tolist()[3:] == [1000, 1e4]


def test_softmax_is_a_distribution_and_ignores_a_constant():
    x = np.random.default_rng(0).standard_normal((4, 5, 3))
    y = F.softmax(Tensor(x), 1).numpy()
    np.testing.assert_allclose(y.sum(1), 1)
    np.testing.assert_allclose(F.softmax(Tensor(x + 500), 1).numpy(), y, rtol=1e-10)
    np.testing.assert_allclose(F.log_softmax(Tensor(x), 1).numpy(), np.log(y), rtol=1e-10)


def test_the_slope_at_a_kink():
    x = Tensor(np.zeros(2), requires_grad=True)
    for op, slope in [(F.relu, 0), (lambda x: F.leaky_relu(x, 0.1), 0.1), (F.abs, 0), (lambda x: F.clamp(x, 0, 1), 1)]:
        x.grad = None
        op(x).sum().backward()
        assert x.grad.tolist() == [slope, slope]


# ----------------------------------------------------------------------------------------------------- dropout


def kept(x, **options):
    """Return dropout's output and gradient of ones in training step 0."""
    x = Tensor(x, requires_grad=True)
    with random.training_step(0, range(len(x))):
        y = F.dropout(x, **options)
    y.sum().backward()
    return y.detach().numpy(), x.grad.numpy()


def test_dropout_inverted():
    x = np.full((100, 100), 3.0)
    y, dx = kept(x, p=0.25)
    assert set(np.unique(y)) == {0, 4} and abs((y == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(dx, y / 3)
    np.testing.assert_array_equal(F.dropout(Tensor(x), 0.25, training=False).numpy(), x)


def test_dropout_as_in_the_paper():
    x = np.full((100, 100), 3.0)
    y, dx = kept(x, p=0.25, inverted=False)
    assert set(np.unique(y)) == {0, 3} and set(np.unique(dx)) == {0, 1}
    np.testing.assert_allclose(F.dropout(Tensor(x), 0.25, training=False, inverted=False).numpy(), 0.75 * x)
    # What both keep on average is the same; the two forms share their masks.
    np.testing.assert_array_equal(y == 0, kept(x, p=0.25)[0] == 0)


@pytest.mark.parametrize("p, value", [(0.0, 1.0), (1.0, 0.0), (0, 1.0), (1, 0.0)])
@pytest.mark.parametrize("inverted", [True, False])
def test_dropout_of_nothing_and_of_everything(p, value, inverted):
    y, dx = kept(np.ones((3, 4)), p=p, inverted=inverted)
    assert (y == value).all() and (dx == value).all()


def test_gradient_of_dropout():
    def fn(x):
        with random.training_step(0, range(len(x))):
            return F.dropout(x, 0.5)

    assert gradcheck(fn, [np.random.default_rng(0).standard_normal((4, 3, 2))])


def test_dropout_of_one_number_and_of_no_samples():
    assert F.dropout(tc.tensor(1.0), 0.5).item() in (0, 2) and F.dropout(tc.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: F.dropout(x, 1.5), ValueError, "dropout: p must be a probability in [0, 1], got 1.5"),
        (lambda x: F.dropout(x, "half"), TypeError, "dropout: p must be a number, got 'half'"),
        (lambda x: F.dropout(x.long()), TypeError, "dropout: x must be float32 or float64, got int64"),
        (lambda x: F.softmax(x, 2), IndexError, "softmax: dim must be in [-2, 1], got 2"),
        (lambda x: F.log_softmax(x, None), TypeError, "log_softmax: dim must be an int, got None"),
        (lambda x: F.relu("x"), TypeError, "relu: x must be a Tensor, got str; wrap it in tinyconv.tensor(...)"),
        (
            lambda x: F.exp(x.long()),
            TypeError,
            "exp: x must be float32 or float64, got int64; convert it with x.float()",
        ),
        (lambda x: F.clamp(x), ValueError, "clamp: give at least one of min and max"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call(tc.zeros(2, 3))
    assert message in str(caught.value)
