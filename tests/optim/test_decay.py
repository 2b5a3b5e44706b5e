"""Schedules that count steps: the rates and momenta of the papers' programs."""

from __future__ import annotations

import pytest

from tinyconv import nn, optim


def sgd(momentum=0.5, lr=0.1):
    return optim.AlexNetSGD(nn.Linear(2, 1).parameters(), lr=lr, momentum=momentum, weight_decay=0.0)


def test_linear_decay_holds_and_falls_to_zero():
    optimizer = sgd()
    schedule, rates = optim.LinearDecay(optimizer, 6, hold=2), []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.075, 0.05, 0.025, 0.0, 0.0], abs=1e-15)


def test_the_rate_and_momentum_of_the_released_gan():
    optimizer = sgd()
    schedule = optim.ExponentialDecay(optimizer, ramp=250 * 500)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"]) == (0.1, 0.5)
    schedule.load_state_dict(schedule.state_dict() | {"last_epoch": 125 * 500})
    assert group["lr"] == pytest.approx(0.1 / 1.000004**62500) and group["momentum"] == pytest.approx(0.6)
    schedule.load_state_dict(schedule.state_dict() | {"last_epoch": 10_000_000})
    assert (group["lr"], group["momentum"]) == (1e-6, pytest.approx(0.7))


def test_a_resumed_schedule_begins_with_the_momentum_of_the_first_run():
    optimizer = sgd()
    schedule = optim.ExponentialDecay(optimizer, ramp=10)
    for _ in range(4):
        schedule.step()
    other = sgd(momentum=optimizer.param_groups[0]["momentum"])  # what the optimizer's checkpoint would set
    again = optim.ExponentialDecay(other, ramp=10)
    again.load_state_dict(schedule.state_dict())
    schedule.step()
    again.step()
    for key in ("lr", "momentum"):
        assert other.param_groups[0][key] == optimizer.param_groups[0][key] != sgd().param_groups[0][key]


def test_without_a_ramp_the_momentum_stays_and_any_optimizer_does():
    optimizer = optim.Adam(nn.Linear(2, 1).parameters(), lr=1.0)
    schedule = optim.ExponentialDecay(optimizer, divisor=2.0, least=0.3)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.5
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divisor": 0.5}, "divisor must be at least 1, got 0.5"),
        ({"least": -1.0}, "least must be at least 0, got -1.0"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"ramp": -1}, "ramp must be an int of at least 0, got -1"),
    ],
)
def test_bad_exponential_decay(options, message):
    with pytest.raises(ValueError, match=f"ExponentialDecay: {message}"):
        optim.ExponentialDecay(sgd(), **options)


def test_a_ramp_wants_momentum():
    with pytest.raises(ValueError, match="ramp wants an optimizer with momentum, got Adam"):
        optim.ExponentialDecay(optim.Adam(nn.Linear(2, 1).parameters()), ramp=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be an int of at least 1, got 0"),
        ({"steps": 5, "hold": -1}, "hold must be an int of at least 0, got -1"),
        ({"steps": 5, "hold": 5}, "hold must be below steps, got hold=5 and steps=5"),
    ],
)
def test_bad_linear_decay(options, message):
    with pytest.raises(ValueError, match=f"LinearDecay: {message}"):
        optim.LinearDecay(sgd(), **options)
