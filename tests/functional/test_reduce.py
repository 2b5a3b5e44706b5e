"""Reductions beyond the table: any axes, accuracy, messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes

import tinyconv as tc
from tinyconv import Tensor, gradcheck
from tinyconv.nn import functional as F


@st.composite
def arrays_and_axes(draw):
    shape = draw(shapes.array_shapes(max_dims=4, max_side=3))
    axes = draw(shapes.valid_tuple_axes(len(shape), min_size=1))
    return np.random.default_rng(0).standard_normal(shape), axes


@given(arrays_and_axes(), st.booleans())
def test_sum_and_mean_over_any_axes(array_and_axes, keepdim):
    array, axes = array_and_axes
    np.testing.assert_allclose(
        tc.sum(Tensor(array), axes, keepdim).numpy(), array.sum(axes, keepdims=keepdim), atol=1e-12
    )
    np.testing.assert_allclose(
        tc.mean(Tensor(array), axes, keepdim).numpy(), array.mean(axes, keepdims=keepdim), atol=1e-12
    )
    assert gradcheck(lambda x: tc.sum(x, axes, keepdim), [array])


def test_sum_of_many_small_numbers_in_float32():
    x = tc.full((1_000_000,), 0.1)
    assert x.sum().item() == pytest.approx(100_000, rel=1e-5)


def test_var_is_accurate_far_from_zero():
    x = tc.tensor(1e4 + np.random.default_rng(0).standard_normal(1000).astype(np.float32))
    assert x.var().item() == pytest.approx(x.numpy().astype(np.float64).var(ddof=1), rel=1e-4)


def test_integers_are_summed_as_int64():
    assert tc.full((100,), 200, dtype=tc.uint8).sum().item() == 20_000 and (tc.arange(5) > 1).sum().item() == 3


def test_mean_and_var_of_nothing_are_nan_without_a_warning():
    empty = tc.zeros(0, 2)
    assert np.isnan(empty.mean(0).numpy()).all() and np.isnan(empty.mean().item()) and np.isnan(tc.ones(1).var().item())


def test_ties_of_the_maximum():
    x = Tensor(np.array([[1.0, 3], [3, 3]]), requires_grad=True)
    x.max().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0, 1 / 3], [1 / 3, 1 / 3]])
    x.grad = None
    values, indices = x.max(1)
    values.sum().backward()
    assert indices.tolist() == [1, 0] and x.grad.tolist() == [[0, 1], [1, 0]]


def test_the_norm_at_zero_has_gradient_zero():
    x = Tensor(np.zeros(3), requires_grad=True)
    x.norm().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_all_and_any_over_axes():
    x = Tensor(np.array([[1.0, 0, np.nan], [2, 3, 4]]))
    for name in ("all", "any"):
        for dim in (None, 0, 1, (0, 1)):
            for keepdim in (False, True):
                wanted = getattr(np, name)(x.numpy(), axis=dim, keepdims=keepdim)
                found = getattr(F, name)(x, dim, keepdim)
                assert found.dtype == bool and np.array_equal(found.numpy(), wanted)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: x.sum(2), IndexError, "sum: dim must be in [-2, 1], got 2"),
        (lambda x: x.sum((0, -2)), ValueError, "sum: dim names an axis twice, got (0, -2)"),
        (lambda x: x.sum("0"), TypeError, "sum: dim must be an int, got '0'"),
        (lambda x: x.long().mean(), TypeError, "mean: x must be float32 or float64, got int64"),
        (lambda x: x.long().std(), TypeError, "var: x must be float32 or float64, got int64"),
        (lambda x: x.long().norm(), TypeError, "norm: x must be float32 or float64, got int64"),
        (lambda x: tc.zeros(0).max(), ValueError, "max: an empty tensor of shape (0,) has no max"),
        (lambda x: tc.zeros(0, 3).min(0), ValueError, "argmin: an axis of size 0 has no argmin, got shape (0, 3)"),
        (lambda x: tc.zeros(0, 3).argmax(), ValueError, "argmax: an axis of size 0 has no argmax"),
        (
            lambda x: F.take_along_dim(x, tc.tensor([[5], [0]]), 1),
            IndexError,
            "take_along_dim: indices must be in [0, 3), got 5",
        ),
        (
            lambda x: F.take_along_dim(x, tc.tensor([0]), 1),
            ValueError,
            "take_along_dim: indices must have shape (2, 3) (x's shape but along dim 1), got (1,)",
        ),
        (lambda x: F.take_along_dim(x, x, 1), TypeError, "take_along_dim: indices must hold integers, got float32"),
        (lambda x: tc.sum(np.zeros(2)), TypeError, "sum: x must be a Tensor, got ndarray"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call(tc.zeros(2, 3))
    assert message in str(caught.value)
