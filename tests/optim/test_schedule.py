"""Schedules: PyTorch's rates, warm-up, plateaus, saving."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, optim


def sgd(lr: float = 1.0) -> optim.SGD:
    return optim.SGD([{"params": Tensor(np.ones(1), True)}, {"params": Tensor(np.ones(1), True), "lr": 2 * lr}], lr)


def rates(schedule: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        schedule.step()
    return found


def test_step_and_multi_step() -> None:
    np.testing.assert_allclose(rates(optim.StepLR(sgd(), 2, 0.5), 6), [1, 1, 0.5, 0.5, 0.25, 0.25])
    np.testing.assert_allclose(rates(optim.MultiStepLR(sgd(), [4, 1]), 6), [1, 0.1, 0.1, 0.1, 0.01, 0.01])
    schedule = optim.StepLR(sgd(), 1, 0.5)
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 1.0]


def test_warmup() -> None:
    np.testing.assert_allclose(rates(optim.LinearWarmup(sgd(), 4, 0.2), 6), [0.2, 0.4, 0.6, 0.8, 1, 1])
    optimizer = sgd()
    schedule = optim.LinearWarmup(optimizer, 2, 0.0, after=optim.StepLR(optimizer, 2, 0.1))
    np.testing.assert_allclose(rates(schedule, 7), [0, 0.5, 1, 1, 0.1, 0.1, 0.01])


def test_saved_schedule_continues() -> None:
    first = optim.StepLR(sgd(), 3)
    rates(first, 4)
    second = optim.StepLR(sgd(7.0), 3)
    second.load_state_dict(first.state_dict())
    assert rates(first, 6) == rates(second, 6)
    with pytest.raises(ValueError, match="wanted 1 groups, got 2"):
        optim.StepLR(optim.SGD([Tensor(np.ones(1), True)], 1.0), 3).load_state_dict(first.state_dict())


LOSSES = [1.0, 0.9, 0.9, 0.9, 0.95, 0.89999, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.4]


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1},
        {"patience": 0, "factor": 0.5, "cooldown": 2},
        {"patience": 1, "mode": "max", "threshold": 0.05},
        {"patience": 1, "threshold": 0.2, "threshold_mode": "abs"},
        {"patience": 0, "min_lr": 0.05},
    ],
    ids=str,
)
def test_plateau_equals_torch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    ours = optim.ReduceLROnPlateau(sgd(), **options)
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], 1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    for loss in LOSSES:
        ours.step(loss)
        theirs.step(loss)
        assert ours.get_last_lr()[0] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def test_plateau_state_and_tensor_values() -> None:
    first = optim.ReduceLROnPlateau(sgd(), patience=1)
    for loss in LOSSES[:5]:
        first.step(tinyconv.tensor(loss))
    second = optim.ReduceLROnPlateau(sgd(), patience=1)
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    for loss in LOSSES[5:]:
        first.step(loss)
        second.step(loss)
        assert first.get_last_lr() == second.get_last_lr()
    first.step(float("nan"))
    assert first.best == pytest.approx(0.4)


def test_plateau_makes_no_change_smaller_than_eps() -> None:
    optimizer = sgd(1e-3)
    schedule = optim.ReduceLROnPlateau(optimizer, patience=0, factor=0.5, eps=4e-4)
    for _ in range(4):
        schedule.step(1.0)
    assert schedule.get_last_lr() == [5e-4, 5e-4]


def test_errors() -> None:
    for kind in (optim.StepLR, optim.MultiStepLR, optim.LinearWarmup):
        with pytest.raises(TypeError, match="wanted an optimizer, got int"):
            kind(3, [1] if kind is optim.MultiStepLR else 1)
    with pytest.raises(TypeError, match="wanted an optimizer"):
        optim.ReduceLROnPlateau(3)
    with pytest.raises(ValueError, match="step_size must be an int of at least 1"):
        optim.StepLR(sgd(), 0)
    with pytest.raises(ValueError, match="mode must be one of 'min', 'max'"):
        optim.ReduceLROnPlateau(sgd(), "low")
    with pytest.raises(ValueError, match="factor must be in"):
        optim.ReduceLROnPlateau(sgd(), factor=1.0)
    with pytest.raises(ValueError, match="of the same optimizer"):
        optim.LinearWarmup(sgd(), 3, after=optim.StepLR(sgd(), 1))
    with pytest.raises(ValueError, match="start_factor must be in"):
        optim.LinearWarmup(sgd(), 3, start_factor=2)
