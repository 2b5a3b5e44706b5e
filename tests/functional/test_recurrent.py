"""Recurrent functions: what they refuse, lengths in every form, gradients that nobody asked for, saved arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor
from tinyconv.nn import functional as F

GOOD: dict[str, Any] = {"x": tinyconv.zeros(2, 3, 4), "weight": tinyconv.zeros(4, 4), "h0": tinyconv.zeros(2, 4)}
LSTM: dict[str, Any] = {"x": tinyconv.zeros(2, 3, 8), "weight": tinyconv.zeros(8, 2), "c0": tinyconv.zeros(2, 2)}


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"x": np.zeros((2, 3, 4))}, TypeError, "x must be a Tensor, got ndarray"),
        ({"x": tinyconv.zeros(3, 4)}, ValueError, r"x must be \(N, T, H\), got shape \(3, 4\)"),
        ({"x": tinyconv.zeros(2, 3, 4).long()}, TypeError, "x must be float32 or float64, got int64"),
        ({"x": tinyconv.zeros(2, 3, 5)}, ValueError, r"x must be \(N, T, 4\) for a weight of shape \(4, 4\)"),
        ({"weight": tinyconv.zeros(4)}, ValueError, r"weight must be \(H, H\), got shape \(4,\)"),
        ({"weight": tinyconv.zeros(4, 3)}, ValueError, r"weight must be \(H, H\) with H .*got shape \(4, 3\)"),
        ({"weight": tinyconv.zeros(0, 0)}, ValueError, r"weight must be \(H, H\) with H of at least 1"),
        ({"weight": tinyconv.zeros(4, 4).double()}, TypeError, "x and weight must have one dtype"),
        ({"h0": tinyconv.zeros(3, 4)}, ValueError, r"h0 must have shape \(2, 4\) .*got \(3, 4\)"),
        ({"h0": np.zeros((2, 4), np.float32)}, TypeError, "h0 must be a Tensor, got ndarray"),
        ({"nonlinearity": "sigmoid"}, ValueError, "nonlinearity must be one of 'tanh', 'relu', got 'sigmoid'"),
        ({"lengths": [1, 2, 3]}, ValueError, r"lengths must be \(N,\) with N = 2 as x has, got shape \(3,\)"),
        ({"lengths": 3}, ValueError, r"lengths must be \(N,\) with N = 2 as x has, got shape \(\)"),
        ({"lengths": [1.0, 2.0]}, TypeError, "lengths must be integers, got float64"),
        ({"lengths": [True, True]}, TypeError, "lengths must be integers, got bool"),
        ({"lengths": [-1, 2]}, ValueError, r"lengths must be in \[0, 3\], the steps of x, got -1"),
        ({"lengths": [3, 4]}, ValueError, r"lengths must be in \[0, 3\], the steps of x, got 4"),
    ],
)
def test_refused(changed: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^rnn: {message}"):
        F.rnn(**{**GOOD, **changed})
    assert F.rnn(**GOOD).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": tinyconv.zeros(2, 3, 2)}, r"x must be \(N, T, 8\) for a weight of shape \(8, 2\)"),
        ({"weight": tinyconv.zeros(2, 8)}, r"weight must be \(4 H, H\) with H of at least 1, got shape \(2, 8\)"),
        ({"h0": tinyconv.zeros(2, 8)}, r"h0 must have shape \(2, 2\)"),
        ({"c0": tinyconv.zeros(3, 2)}, r"c0 must have shape \(2, 2\)"),
    ],
)
def test_lstm_refuses(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^lstm: {message}"):
        F.lstm(**{**LSTM, **changed})
    assert [a.shape for a in F.lstm(**LSTM)] == [(2, 3, 2)] * 2


def test_lengths_may_be_a_list_an_array_or_a_tensor() -> None:
    rng = np.random.default_rng(0)
    x, weight = Tensor(rng.standard_normal((3, 4, 2))), Tensor(rng.standard_normal((2, 2)))
    want = F.rnn(x, weight, lengths=[4, 0, 2]).numpy()
    assert want[0].all() and not want[1].any() and want[2, :2].all() and not want[2, 2:].any()
    for lengths in (
        (4, 0, 2),
        np.array([4, 0, 2], np.uint8),
        np.array([4, 0, 2], np.int32),
        Tensor(np.array([4, 0, 2])),
    ):
        np.testing.assert_array_equal(F.rnn(x, weight, lengths=lengths).numpy(), want)


def test_lengths_are_copied() -> None:
    """A batch's lengths may be written over before its gradient is asked for."""
    x, weight, lengths = Tensor(np.ones((2, 3, 1)), requires_grad=True), Tensor(np.ones((1, 1))), np.array([1, 3])
    y = F.rnn(x, weight, lengths=lengths, nonlinearity="relu")
    lengths[:] = 3
    y.sum().backward()
    assert x.grad.tolist() == [[[1.0], [0.0], [0.0]], [[3.0], [2.0], [1.0]]]


def test_gradients_reach_only_what_wants_them() -> None:
    x, weight = Tensor(np.ones((1, 2, 1))), Tensor(np.ones((1, 1)), requires_grad=True)
    F.rnn(x, weight, nonlinearity="relu").sum().backward()
    assert weight.grad.tolist() == [[1.0]] and x.grad is None


def test_only_the_cells_or_only_the_states_may_be_used() -> None:
    """The other's gradient is 0 then."""
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((2, 3, 8)), rng.standard_normal((8, 2))
    grads = []
    for used in ((0,), (1,), (0, 1)):
        x, weight = (Tensor(a, requires_grad=True) for a in arrays)
        results = F.lstm(x, weight)
        sum(results[i].sum() for i in used).backward()
        grads.append((x.grad.numpy(), weight.grad.numpy()))
    for states, cells, both in zip(*grads, strict=True):
        np.testing.assert_allclose(states + cells, both, rtol=1e-12, atol=1e-14)
        assert np.abs(states).max() > 0 and np.abs(cells).max() > 0


def test_writing_to_the_states_is_noticed() -> None:
    weight = Tensor(np.ones((1, 1)), requires_grad=True)
    y = F.rnn(Tensor(np.ones((1, 2, 1))), weight)
    total = y.sum()
    with tinyconv.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match="RNN: a tensor that it saved for backward was changed in place"):
        total.backward()


def test_a_long_sequence_forgets_or_explodes() -> None:
    """Gradient through 200 steps of weight w: w^199 at the first one (Bengio et al. 1994)."""
    for w in (0.9, 1.1):
        x = Tensor(np.ones((1, 200, 1)), requires_grad=True)
        F.rnn(x, Tensor(np.array([[w]])), nonlinearity="relu")[0, -1, 0].backward()
        np.testing.assert_allclose(x.grad.numpy().ravel(), w ** np.arange(199, -1, -1), rtol=1e-12)
