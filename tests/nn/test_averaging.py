"""Exact averages of batch statistics after training."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, nn
from tinyconv.nn import average_statistics


def network() -> nn.Sequential:
    tinyconv.manual_seed(0)
    layers = {
        "conv": nn.Conv2d(2, 3, 3), "bn": nn.BatchNorm2d(3), "drop": nn.Dropout(0.5), "flat": nn.Flatten(),
        "fc": nn.Linear(3 * 16, 4), "last": nn.BatchNorm1d(4, momentum=0.3),
    }  # fmt: skip
    return nn.Sequential(layers)


def batches(count: int, n: int = 8) -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [Tensor(rng.normal(i, 1 + i, (n, 2, 6, 6)).astype(np.float32)) for i in range(count)]


def test_statistics_are_the_means_over_the_batches() -> None:
    model, images = network(), batches(4)
    model.train()
    model(batches(1)[0])  # what was there before does not matter
    assert average_statistics(model, [(image, None) for image in images]) == 4
    maps = [model.conv(image).detach().numpy() for image in images]
    np.testing.assert_allclose(model.bn.running_mean.numpy(), np.mean([m.mean((0, 2, 3)) for m in maps], 0), rtol=1e-4)
    unbiased = [m.transpose(1, 0, 2, 3).reshape(3, -1).var(1, ddof=1) for m in maps]
    np.testing.assert_allclose(model.bn.running_var.numpy(), np.mean(unbiased, 0), rtol=1e-4)
    assert (model.bn.momentum, model.last.momentum) == (0.1, 0.3)
    assert all(module.training for module in model.modules())
    assert model.bn.num_batches_tracked.item() == 4


def test_dropout_stays_off_and_weights_stay() -> None:
    model, images = network(), batches(2)
    weights = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    model.eval()
    average_statistics(model, images)
    first = model.last.running_mean.numpy().copy()
    average_statistics(model, images)
    np.testing.assert_array_equal(model.last.running_mean.numpy(), first)  # no random mask in it
    assert not any(module.training for module in model.modules())
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.detach().numpy(), weights[name])
        assert p.grad is None


def test_without_batches_or_layers_nothing_changes() -> None:
    model = network()
    model.train()(batches(1)[0])
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="average_statistics: wanted at least one batch, got none"):
        average_statistics(model, [])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    assert model.bn.momentum == 0.1
    with pytest.raises(ValueError, match="must have batch normalisation with running statistics"):
        average_statistics(nn.Linear(2, 3), batches(1))
