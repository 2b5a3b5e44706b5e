"""held, frozen: a network that is looked through changes in nothing."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from tinyconv import nn
from tinyconv.nn.modes import frozen, held


def network() -> nn.Sequential:
    tinyconv.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=None), nn.ReLU(), nn.Linear(4, 1))


def state(model: nn.Module) -> dict[str, np.ndarray]:
    return {key: value.numpy().copy() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bad", [False, True])
def test_a_held_network_passes_gradients_on_and_stays_as_it_was(training: bool, bad: bool) -> None:
    model, plain = network(), network()
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    if bad:
        x[0, 0] = np.nan  # 0 times NaN would still reach statistics that are only weighted down
    for net in (model, plain):
        net(tinyconv.tensor(np.ones((2, 3), np.float32)))  # some statistics
        net.train(training)
    before = state(model)
    ours, theirs = (tinyconv.tensor(x, requires_grad=True) for _ in range(2))
    with held(model):
        out = model(ours)
    out.sum().backward()
    plain(theirs).sum().backward()
    np.testing.assert_array_equal(ours.grad.numpy(), theirs.grad.numpy())
    for key, value in state(model).items():
        np.testing.assert_array_equal(value, before[key], err_msg=key)
    assert all(p.grad is None for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_what_was_frozen_stays_frozen_and_an_error_changes_nothing() -> None:
    model = network()
    model[0].requires_grad_(False)
    before = state(model)
    with pytest.raises(ValueError, match="Linear|linear"), held(model):
        model(tinyconv.ones(2, 3))
        model(tinyconv.ones(2, 5))
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True, True, True]
    for key, value in state(model).items():
        np.testing.assert_array_equal(value, before[key], err_msg=key)


def test_a_frozen_network_wants_no_gradient_until_the_end() -> None:
    """Of what had none before, either way out; statistics go on, and so do nested ones."""
    model = network()
    model[0].bias.requires_grad_(False)
    wanted = [p.requires_grad for p in model.parameters()]
    x = tinyconv.ones(2, 3, requires_grad=True)
    with frozen(model):
        with frozen(model):
            assert not any(p.requires_grad for p in model.parameters())
        assert not any(p.requires_grad for p in model.parameters())
        model(x).sum().backward()
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert x.grad is not None and all(p.grad is None for p in model.parameters())
    assert model[1].num_batches_tracked.item() == 1
    with pytest.raises(ZeroDivisionError), frozen(model):
        raise ZeroDivisionError
    assert [p.requires_grad for p in model.parameters()] == wanted
