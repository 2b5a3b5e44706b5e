"""Schedules: how the learning rate of an optimiser changes. Each ``step()`` is one epoch (or step) of training."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from tinyconv import errors
from tinyconv.optim.optimizer import Optimizer


class _Schedule:
    """The rate of every group is its first rate times ``factor()`` of the number of steps so far."""

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: wanted an optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]
        self.last_epoch = 0
        self._set()

    def factor(self, epoch: int) -> float:
        """Return what the first rate is multiplied by after ``epoch`` steps."""
        raise NotImplementedError

    def _set(self) -> None:
        factor = self.factor(self.last_epoch)
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * factor

    def step(self) -> None:
        """Go one epoch on."""
        self.last_epoch += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """Return the current rate of every group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return what changes, for a checkpoint."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where :meth:`state_dict` was taken, and set the rates."""
        if len(state_dict["base_lrs"]) != len(self.base_lrs):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: wanted {len(self.base_lrs)} groups, "
                f"got {len(state_dict['base_lrs'])}"
            )
        self.last_epoch, self.base_lrs = int(state_dict["last_epoch"]), [float(lr) for lr in state_dict["base_lrs"]]
        self._set()


class StepLR(_Schedule):
    """Multiply the rate by ``gamma`` every ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if not isinstance(step_size, int) or step_size < 1:
            raise ValueError(f"StepLR: step_size must be an int of at least 1, got {step_size!r}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(_Schedule):
    """Multiply the rate by ``gamma`` at each of the epochs ``milestones``."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def factor(self, epoch: int) -> float:
        return self.gamma ** bisect_right(self.milestones, epoch)


class LinearWarmup(_Schedule):
    """Raise the rate linearly from ``start_factor`` of it to all of it in ``warmup_steps`` steps; then ``after``.

    Parameters
    ----------
    after : StepLR or MultiStepLR, optional
        A schedule of the same optimiser; its epoch 0 is the end of the warm-up. Without one the rate stays.
    """

    def __init__(
        self, optimizer: Optimizer, warmup_steps: int, start_factor: float = 0.1, after: _Schedule | None = None
    ) -> None:
        if not isinstance(warmup_steps, int) or warmup_steps < 1:
            raise ValueError(f"LinearWarmup: warmup_steps must be an int of at least 1, got {warmup_steps!r}")
        if not 0 <= start_factor <= 1:
            raise ValueError(f"LinearWarmup: start_factor must be in [0, 1], got {start_factor}")
        if after is not None and (not isinstance(after, _Schedule) or after.optimizer is not optimizer):
            raise ValueError("LinearWarmup: after must be a StepLR or MultiStepLR of the same optimizer")
        self.warmup_steps, self.start_factor, self.after = warmup_steps, start_factor, after
        super().__init__(optimizer)
        if after is not None:
            self.base_lrs = list(after.base_lrs)
            self._set()

    def factor(self, epoch: int) -> float:
        if epoch < self.warmup_steps:
            return self.start_factor + (1 - self.start_factor) * epoch / self.warmup_steps
        return 1.0 if self.after is None else self.after.factor(epoch - self.warmup_steps)


class ReduceLROnPlateau:
    """Multiply the rate by ``factor`` when a measured value stops improving: the papers' division by 10 "by hand".

    Parameters
    ----------
    mode : "min" or "max"
        Whether the value given to ``step(value)`` should fall (a loss) or rise (an accuracy).
    patience : int
        How many epochs without improvement are endured; the next one reduces the rate.
    threshold, threshold_mode : float, "rel" or "abs"
        What counts as an improvement: better than the best by this share of it, or by this much.
    cooldown : int
        Epochs after a reduction in which nothing is counted.
    min_lr : float
        The rate never goes below; a change smaller than ``eps`` is not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{name}: wanted an optimizer, got {type(optimizer).__name__}")
        errors.check_choice(name, "mode", mode, ("min", "max"))
        errors.check_choice(name, "threshold_mode", threshold_mode, ("rel", "abs"))
        if not 0 <= factor < 1:
            raise ValueError(f"{name}: factor must be in [0, 1), got {factor}")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.min_lr, self.eps = min_lr, eps
        self.best: float | None = None
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def _improved(self, value: float) -> bool:
        if self.best is None:
            return math.isfinite(value)
        margin = self.threshold * (self.best if self.threshold_mode == "rel" else 1)
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def step(self, value: Any) -> None:
        """Give this epoch's value (a number or a scalar Tensor)."""
        value = float(value)
        self.last_epoch += 1
        if self._improved(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group in self.optimizer.param_groups:
                lower = max(group["lr"] * self.factor, self.min_lr)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        """Return the current rate of every group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return what changes, for a checkpoint; the rates themselves are in the optimiser's state."""
        return {name: getattr(self, name) for name in self._kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where :meth:`state_dict` was taken."""
        for name in self._kept:
            setattr(self, name, state_dict[name])

    _kept = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
