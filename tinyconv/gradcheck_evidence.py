"""What a gradient check measured: slopes, the evidence against one argument's gradient, and the error that tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

ROUNDING = 30 * np.finfo(np.float64).eps  # the error of a difference of two outputs, relative to them


class GradientError(AssertionError):
    """A gradient does not agree with the numerical one.

    Attributes
    ----------
    op, argument, cause : str
    index : tuple of int or None
        The worst element.
    analytic, numeric, ratio : float or None
        The two gradients there, and analytic / numeric.
    share : float or None
        Wrong elements over elements checked.
    """

    def __init__(self, message: str, *, op: str, cause: str, argument: str = "", **worst: Any) -> None:
        super().__init__(message)
        self.op, self.argument, self.cause = op, argument, cause
        self.index, self.share = worst.get("index"), worst.get("share")
        self.analytic, self.numeric, self.ratio = (worst.get(k) for k in ("analytic", "numeric", "ratio"))


@dataclass
class Argument:
    """One differentiated argument: its name in messages, its Tensor, and the values it is checked at."""

    label: str
    tensor: Any
    start: np.ndarray


@dataclass
class Slope:
    """How u . outputs changes along a displacement."""

    terms: np.ndarray  # one per output; the slope is their sum
    rounding: float  # what rounding alone may add to it
    kink: bool  # an output is not differentiable here
    left: float
    right: float
    error: float = 0.0
    agrees: bool = False

    @classmethod
    def of(cls, u: Any, at: Any, plus: Any, minus: Any, half_plus: Any, half_minus: Any) -> Slope:
        """Extrapolate from the outputs ``at`` the input, and one step and half a step to either side of it."""
        whole, half = (plus - minus) / 2, half_plus - half_minus
        size = np.where((plus != at) | (minus != at), np.abs(plus) + np.abs(minus), 0)
        # At half the step a smooth function bends a quarter as much, one with a kink half as much, at a jump the same.
        bend, half_bend = plus - 2 * at + minus, half_plus - 2 * at + half_minus
        bent = (np.abs(bend) > 0.01 * np.abs(whole)) & (np.abs(bend) > 100 * ROUNDING * size)
        kink = bool(np.any(bent & (np.abs(bend - 4 * half_bend) > 0.2 * np.abs(bend))))
        left, right = 2 * float(np.vdot(u, at - half_minus)), 2 * float(np.vdot(u, half_plus - at))
        return cls(u * (4 * half - whole) / 3, ROUNDING * float(np.linalg.norm(u * size)), kink, left, right)


@dataclass
class Evidence:
    """Both gradients of one argument, and which of its elements are wrong."""

    op: str
    label: str
    analytic: np.ndarray
    input_shape: tuple[int, ...]  # of the first input
    output_shape: tuple[int, ...]
    slopes: dict[int, tuple[float, float]] = field(default_factory=dict)  # of wrong elements: to the left and right
    terms: dict[int, np.ndarray] = field(default_factory=dict)  # of wrong elements: what each output contributes

    def __post_init__(self) -> None:
        self.numeric = np.full(self.analytic.shape, np.nan)
        self.checked, self.wrong, self.kinks = (np.zeros(self.analytic.shape, bool) for _ in range(3))
        self.uses = np.zeros(self.analytic.shape, int)  # how many outputs depend on the element

    def add(self, i: int, slope: Slope, step: float) -> None:
        """Note the slope that a step of element i (flat) gave."""
        self.numeric.flat[i] = slope.terms.sum() / step
        self.checked.flat[i] = True
        self.uses.flat[i] = np.count_nonzero(slope.terms)
        self.wrong.flat[i] = not slope.agrees
        if not slope.agrees:
            self.kinks.flat[i] = slope.kink
            self.slopes[i] = slope.left / step, slope.right / step
            self.terms[i] = slope.terms / step
