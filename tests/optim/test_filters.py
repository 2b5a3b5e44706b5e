"""Hooks after a step, and the rule that holds filters small."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from tinyconv import nn, optim
from tinyconv.nn import functional as F


def rms(weight: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(weight, dtype=np.float64), axis=(1, 2, 3)))


def network() -> nn.Sequential:
    tinyconv.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2), nn.Flatten(), nn.Linear(4, 2))


def step(model: nn.Module, optimizer: optim.Optimizer) -> None:
    optimizer.zero_grad()
    images = tinyconv.Tensor(np.random.default_rng(0).uniform(-128, 128, (4, 3, 7, 7)).astype(np.float32))
    F.cross_entropy(model(images), tinyconv.tensor([0, 1, 0, 1])).backward()
    optimizer.step()


@pytest.mark.parametrize("limit", [0.068, 0.03])
def test_no_filter_exceeds_the_limit_after_a_step(limit: float) -> None:
    free, held = network(), network()
    step(free, optim.SGD(free.parameters(), 0.01))
    optimizer = optim.SGD(held.parameters(), 0.01)
    optimizer.register_step_post_hook(optim.renormalise_filters(held, limit))
    step(held, optimizer)
    for number in (0, 2):
        loose, tight = (model[number].weight.detach().numpy() for model in (free, held))
        assert rms(loose).max() > limit
        # The same weights, those filters scaled that were above the limit, and no others.
        factor = np.minimum(1, limit / rms(loose))
        np.testing.assert_allclose(tight, loose * factor[:, None, None, None], rtol=1e-6)
        np.testing.assert_array_equal(tight[factor == 1], loose[factor == 1])
        assert rms(tight).max() <= limit * (1 + 1e-6)
    for name in ("0.bias", "4.weight", "4.bias"):
        np.testing.assert_array_equal(free.state_dict()[name].numpy(), held.state_dict()[name].numpy())


def test_filters_at_and_below_the_limit_keep_their_bits() -> None:
    layer = nn.Conv2d(1, 3, 2)
    layer.weight.data[...] = np.array([0.1, -0.05, 0.2], np.float32)[:, None, None, None]
    np.testing.assert_allclose(optim.filter_rms(layer.weight.detach()).numpy(), [0.1, 0.05, 0.2], rtol=1e-6)
    optimizer = optim.SGD(layer.parameters(), 0.0)
    layer.weight.grad = tinyconv.zeros_like(layer.weight)
    optimizer.register_step_post_hook(optim.renormalise_filters(layer))
    optimizer.step()
    wanted = np.array([0.1, -0.05, 0.1], np.float32)
    np.testing.assert_allclose(layer.weight.detach().numpy()[:, 0, 0, 0], wanted, rtol=1e-6)
    assert layer.weight.detach().numpy()[1, 0, 0, 0] == wanted[1]


def test_hooks_come_after_the_update_and_go() -> None:
    p = tinyconv.tensor([1.0, 2.0], requires_grad=True)
    optimizer, seen = optim.SGD([p], 0.5), []
    handle = optimizer.register_step_post_hook(lambda opt, args, kwargs: seen.append((opt, p.tolist(), args, kwargs)))
    p.grad = tinyconv.tensor([1.0, 1.0])
    optimizer.step()
    assert seen == [(optimizer, [0.5, 1.5], (None,), {})]
    handle.remove()
    optimizer.step()
    assert len(seen) == 1


def test_bad_input() -> None:
    with pytest.raises(TypeError, match="renormalise_filters: model must be a Module, got list"):
        optim.renormalise_filters([1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit must be positive, got 0"):
        optim.renormalise_filters(network(), 0)
    with pytest.raises(ValueError, match="must have a Conv2d, got Linear without one"):
        optim.renormalise_filters(nn.Linear(2, 3))
    with pytest.raises(ValueError, match=r"filter_rms: weight must be \(K, C // groups, KH, KW\), got shape \(3,\)"):
        optim.filter_rms(tinyconv.zeros(3))
    with pytest.raises(TypeError, match="wanted a function, got int"):
        optim.SGD([tinyconv.zeros(2, requires_grad=True)], 0.1).register_step_post_hook(3)
