"""Schedules that change the rate at every step: :class:`LinearDecay`, :class:`ExponentialDecay`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.optim.optimizer import Optimizer
from tinyconv.optim.schedule import _Schedule


class LinearDecay(_Schedule):
    """Keep the rate for ``hold`` steps, then let it fall linearly, to 0 after ``steps`` steps in all.

    DCGAN's released program for MNIST holds it for 100 epochs and falls for as many (Radford et al. 2015).
    """

    def __init__(self, optimizer: Optimizer, steps: int, hold: int = 0) -> None:
        for name, value, least in (("steps", steps, 1), ("hold", hold, 0)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"LinearDecay: {name} must be an int of at least {least}, got {value!r}")
        if hold >= steps:
            raise ValueError(f"LinearDecay: hold must be below steps, got hold={hold} and steps={steps}")
        self.steps, self.hold = steps, hold
        super().__init__(optimizer)

    def factor(self, epoch: int) -> float:
        return min(1.0, max(0.0, (self.steps - epoch) / (self.steps - self.hold)))


class ExponentialDecay(_Schedule):
    """Divide the rate by ``divisor`` at every step, down to ``least``; raise the momentum to ``momentum`` meanwhile.

    The defaults are those of the GAN that Goodfellow et al. 2014 released for MNIST: 1.000004, 1e-6, and a momentum
    that goes from the optimizer's (0.5) to 0.7 linearly, there in 250 epochs.

    Parameters
    ----------
    divisor : float
        At least 1.
    least : float
        The smallest rate.
    momentum : float
        In [0, 1).
    ramp : int
        Steps until the momentum is reached; 0: it stays as it is.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        divisor: float = 1.000004,
        least: float = 1e-6,
        momentum: float = 0.7,
        ramp: int = 0,
    ) -> None:
        if not divisor >= 1:
            raise ValueError(f"ExponentialDecay: divisor must be at least 1, got {divisor}")
        if not least >= 0:
            raise ValueError(f"ExponentialDecay: least must be at least 0, got {least}")
        if not 0 <= momentum < 1:
            raise ValueError(f"ExponentialDecay: momentum must be in [0, 1), got {momentum}")
        if isinstance(ramp, bool) or not isinstance(ramp, (int, np.integer)) or ramp < 0:
            raise ValueError(f"ExponentialDecay: ramp must be an int of at least 0, got {ramp!r}")
        if ramp and any("momentum" not in group for group in getattr(optimizer, "param_groups", [])):
            raise ValueError(f"ExponentialDecay: ramp wants an optimizer with momentum, got {type(optimizer).__name__}")
        self.divisor, self.least, self.momentum, self.ramp = divisor, least, momentum, ramp
        self.first_momenta = [group.get("momentum") for group in getattr(optimizer, "param_groups", [])]
        super().__init__(optimizer)

    def factor(self, epoch: int) -> float:
        return self.divisor**-epoch

    def _set(self) -> None:
        super()._set()
        done = min(1.0, self.last_epoch / self.ramp) if self.ramp else 0.0
        for group, first in zip(self.optimizer.param_groups, self.first_momenta, strict=True):
            group["lr"] = max(group["lr"], self.least)
            if self.ramp:
                group["momentum"] = first + (self.momentum - first) * done

    def state_dict(self) -> dict[str, Any]:
        """Return what changes, for a checkpoint."""
        return {**super().state_dict(), "first_momenta": list(self.first_momenta)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where :meth:`state_dict` was taken, and set rates and momenta."""
        self.first_momenta = list(state_dict["first_momenta"])
        super().load_state_dict(state_dict)
