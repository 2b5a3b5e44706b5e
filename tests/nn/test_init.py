"""Initial values: fans, gains, spreads, and numbers that depend on the seed and the draw alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinyconv
from tinyconv.nn import init


def empty(*shape: int, **options: object) -> tinyconv.Tensor:
    return tinyconv.zeros(*shape, **options)


def test_fans() -> None:
    assert init.fans(empty(96, 3, 11, 11)) == (363, 11616)
    assert init.fans(empty(4096, 9216)) == (9216, 4096)
    with pytest.raises(ValueError, match=r"at least 2 axes .* got shape \(3,\)"):
        init.fans(empty(3))


@pytest.mark.parametrize(
    ("fill", "std", "bounded"),
    [
        (lambda t: init.normal_(t, 0.5, 0.2), 0.2, False),
        (lambda t: init.uniform_(t, -1, 2), 3 / math.sqrt(12), True),
        (lambda t: init.kaiming_normal_(t, nonlinearity="relu"), math.sqrt(2 / 800), False),
        (lambda t: init.kaiming_normal_(t, mode="fan_out"), math.sqrt(2 / 1200), False),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), math.sqrt(1 / 3 / 800), True),
        (lambda t: init.xavier_normal_(t, gain=2.0), 2 * math.sqrt(2 / 2000), False),
        (lambda t: init.xavier_uniform_(t), math.sqrt(2 / 2000), True),
    ],
)
def test_spread(fill: object, std: float, bounded: bool) -> None:
    values = fill(empty(300, 200, 2, 2)).numpy().astype(np.float64)
    assert values.std() == pytest.approx(std, rel=0.02)
    if bounded:
        middle = (values.max() + values.min()) / 2
        assert np.abs(values - middle).max() == pytest.approx(math.sqrt(3) * std, rel=0.01)


def test_constants() -> None:
    assert init.constant_(empty(2), 3).tolist() == [3, 3]
    assert init.ones_(empty(2)).tolist() == [1, 1]
    assert init.zeros_(tinyconv.ones(2)).tolist() == [0, 0]


def test_gains() -> None:
    wanted = {"linear": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "sigmoid": 1}
    assert {name: init.calculate_gain(name) for name in wanted} == pytest.approx(wanted)
    assert init.calculate_gain("leaky_relu", 0.2) == pytest.approx(math.sqrt(2 / 1.04))
    with pytest.raises(ValueError, match="nonlinearity must be one of"):
        init.calculate_gain("swish")


def test_gains_and_fans_equal_torch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    for name in ("linear", "tanh", "relu", "sigmoid", "leaky_relu"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    shape = (7, 3, 5, 2)
    fans = torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    assert init.fans(empty(*shape)) == fans


def test_draws_depend_on_seed_and_number_only() -> None:
    def draw(seed: int, dtype: object = tinyconv.float32) -> list[np.ndarray]:
        tinyconv.manual_seed(seed)
        return [init.normal_(empty(3, 4, dtype=dtype)).numpy(), init.uniform_(empty(5, dtype=dtype)).numpy()]

    first, again, other = draw(1), draw(1), draw(2)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    for a, b in zip(first, draw(1, tinyconv.float64), strict=True):
        np.testing.assert_array_equal(a, b.astype(np.float32))
    tinyconv.manual_seed(1)
    init.zeros_(empty(9))  # draws nothing
    np.testing.assert_array_equal(init.normal_(empty(3, 4)).numpy(), first[0])
    strided = tinyconv.Tensor(np.zeros((4, 3), np.float32).T)
    tinyconv.manual_seed(1)
    np.testing.assert_array_equal(init.normal_(strided).numpy(), first[0])


def test_meta_and_errors() -> None:
    huge = empty(10**6, 10**6, device="meta")
    assert init.kaiming_normal_(huge) is huge
    with pytest.raises(ValueError, match="std must be at least 0"):
        init.normal_(empty(2), 0, -1)
    with pytest.raises(ValueError, match="b must be at least a"):
        init.uniform_(empty(2), 1, 0)
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        init.normal_(tinyconv.arange(3))
    with pytest.raises(ValueError, match="mode must be one of"):
        init.kaiming_normal_(empty(2, 2), mode="fan")


def test_parameters_that_require_gradients_are_written() -> None:
    weight = tinyconv.ones(2, 2, requires_grad=True)
    y = (weight * weight).sum()
    init.normal_(weight)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
