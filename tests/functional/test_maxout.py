"""Maxout: what its layer says of itself, where gradients go, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor, nn
from tinyconv.functional.maxout import maxout


def test_pieces_lie_side_by_side_and_only_the_winner_learns() -> None:
    x = Tensor(np.array([[1.0, 5, 2, 0, -3, 0], [7, 7, 7, -1, -2, -3]]), requires_grad=True)
    y = maxout(x, 3)
    assert y.tolist() == [[5, 0], [7, -1]]
    y.backward(Tensor(np.array([[10.0, 20], [30, 40]])))
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 10, 0, 20, 0, 0], [30, 0, 0, 40, 0, 0]]


def test_a_linear_layer_whose_losing_pieces_stay_as_they_are() -> None:
    """Unit 1's third piece wins by its bias in both images: no other row of the weights has a gradient."""
    layer = nn.Linear(4, 6, dtype=np.float64)
    layer.weight.data[:], layer.bias.data[:] = 0, [0, 1, 0, 0, 0, 2]  # type: ignore[union-attr]
    inputs = np.arange(1.0, 9).reshape(2, 4)
    nn.Maxout(3)(layer(Tensor(inputs))).sum().backward()
    assert layer.weight.grad is not None and layer.bias is not None and layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [0, 2, 0, 0, 0, 2]
    np.testing.assert_array_equal(layer.weight.grad.numpy(), [[0] * 4, inputs.sum(0), *[[0] * 4] * 3, inputs.sum(0)])


def test_the_layer() -> None:
    x = np.random.default_rng(0).standard_normal((2, 6, 3, 4))
    for layer, wanted in ((nn.Maxout(3), (2, 2, 3, 4)), (nn.Maxout(2, dim=-1), (2, 6, 3, 2))):
        assert layer(Tensor(x)).shape == wanted
        np.testing.assert_array_equal(layer(Tensor(x)).numpy(), maxout(Tensor(x), layer.pieces, layer.dim).numpy())
    assert repr(nn.Maxout(5)) == "Maxout(pieces=5)" and repr(nn.Maxout(2, -1)) == "Maxout(pieces=2, dim=-1)"
    rows = tc.summary(nn.Sequential(nn.Linear(784, 1200), nn.Maxout(5), nn.Linear(240, 1)), (784,)).rows
    assert [(row.output_shape, row.macs) for row in rows] == [((1200,), 784 * 1200), ((240,), 0), ((1,), 240)]


GOOD: dict[str, Any] = {"x": Tensor(np.zeros((2, 6))), "pieces": 3, "dim": 1}


@pytest.mark.parametrize(
    "changed,kind,message",
    [
        ({"pieces": 4}, ValueError, r"pieces must divide axis 1 of x, got 4 pieces for shape \(2, 6\)"),
        ({"dim": 0}, ValueError, r"pieces must divide axis 0 of x, got 3 pieces for shape \(2, 6\)"),
        ({"pieces": 0}, ValueError, "pieces must be an int of at least 1, got 0"),
        ({"pieces": -1}, ValueError, "pieces must be an int of at least 1, got -1"),
        ({"pieces": 2.0}, ValueError, "pieces must be an int of at least 1, got 2.0"),
        ({"pieces": True}, ValueError, "pieces must be an int of at least 1, got True"),
        ({"dim": 2}, IndexError, r"dim must be in \[-2, 1\], got 2"),
        ({"dim": 0.5}, TypeError, "dim must be an int, got 0.5"),
        ({"x": Tensor(np.array(1.0)), "dim": 0}, ValueError, r"pieces must divide axis 0 of x, .* for shape \(\)"),
        ({"x": Tensor(np.zeros(6))}, IndexError, r"dim must be in \[-1, 0\], got 1"),
        ({"x": Tensor(np.zeros((2, 6), np.int64))}, TypeError, "x must be float32 or float64, got int64"),
        ({"x": np.zeros((2, 6))}, TypeError, "x must be a Tensor, got ndarray"),
    ],
)
def test_refused(changed: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^maxout: {message}"):
        maxout(**{**GOOD, **changed})
    assert maxout(**GOOD).shape == (2, 2)


def test_the_layer_refuses_when_it_is_built() -> None:
    with pytest.raises(ValueError, match="^Maxout: pieces must be an int of at least 1, got 0"):
        nn.Maxout(0)
