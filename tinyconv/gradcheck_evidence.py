"""What a gradient check measured: slopes, the evidence against one argument's gradient, and the error that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


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
    """How u . fn changes along a displacement: one term per output."""

    terms: np.ndarray
    rounding: float
    kink: bool
    left: float
    right: float
    error: float = 0.0
    agrees: bool = False

    @classmethod
    def of(
        cls, u: np.ndarray, at: np.ndarray, plus: np.ndarray, minus: np.ndarray, half_plus: np.ndarray,
        half_minus: np.ndarray, rounding: float,
    ) -> Slope:  # fmt: skip
        """Extrapolate from the outputs ``at`` the input and one step and half a step to either side of it."""
        whole, half = (plus - minus) / 2, half_plus - half_minus
        size = np.where((plus != at) | (minus != at), np.abs(plus) + np.abs(minus), 0)
        # Smooth functions bend by a quarter at half the step; at a kink it is a half, at a jump all of it.
        bend, half_bend = plus - 2 * at + minus, half_plus - 2 * at + half_minus
        large = (np.abs(bend) > 0.01 * np.abs(whole)) & (np.abs(bend) > 100 * rounding * size)
        kink = bool(np.any(large & (np.abs(bend - 4 * half_bend) > 0.2 * np.abs(bend)) & (u != 0)))
        left, right = 2 * np.vdot(u, at - half_minus), 2 * np.vdot(u, half_plus - at)
        return cls(u * (4 * half - whole) / 3, rounding * float(np.linalg.norm(u * size)), kink, float(left), float(right))


@dataclass
class Evidence:
    """Both gradients of one argument, and which elements are wrong; ``numeric`` is NaN where it was not measured."""

    op: str
    label: str
    analytic: np.ndarray
    numeric: np.ndarray
    wrong: np.ndarray
    kinks: np.ndarray
    checked: np.ndarray
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    slopes: dict[int, tuple[float, float]] = field(default_factory=dict)  # to the left and right, at kinks
    terms: dict[int, np.ndarray] = field(default_factory=dict)  # of wrong elements: what each output contributes

    @classmethod
    def blank(cls, op: str, argument: Argument, analytic: np.ndarray, inputs: Sequence[Any], outputs: Sequence[Any]) -> Evidence:
        """Begin with nothing measured."""
        flags = [np.zeros(analytic.shape, bool) for _ in range(3)]
        shapes = [x.shape for x in inputs if hasattr(x, "shape")]
        output_shape = outputs[0].shape if len(outputs) == 1 else (sum(y.numel() for y in outputs),)
        unknown = np.full(analytic.shape, np.nan)
        return cls(op, argument.label, analytic, unknown, *flags, shapes[0] if shapes else (), output_shape)

    def add(self, i: int, slope: Slope, step: float) -> None:
        """Note the slope that a step of one element gave."""
        self.numeric.flat[i] = slope.terms.sum() / step
        self.checked.flat[i] = True
        self.wrong.flat[i] = not slope.agrees
        if not slope.agrees:
            self.kinks.flat[i] = slope.kink
            self.slopes[i] = slope.left / step, slope.right / step
            self.terms[i] = slope.terms / step
