"""Gradient check: what ``backward`` computes against differences of ``forward``; see :func:`gradcheck`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv.gradcheck_diagnosis import report
from tinyconv.gradcheck_evidence import Argument, Evidence, GradientError, Slope
from tinyconv.gradcheck_subject import Subject, in_float64

__all__ = ["GradientError", "gradcheck"]

SAMPLE = 400  # so many elements are looked at one by one where a direction fails
DIRECTIONS = 3  # every argument is also checked along so many random directions, which move all its elements at once


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    wrt: int | Sequence[int] | None = None,
    seed: int = 0,
    rtol: float = 1e-6,
    eps: float = 1e-4,
    elements: int = 400,
    name: str | None = None,
) -> bool:
    """Check the gradients of ``fn`` in float64: along random directions, and element by element on small inputs.

    With a random upstream gradient u, the gradient of L(x) = u . fn(x) is compared with the difference quotient
    (L(x + d) - L(x - d)) / 2, taken at d and d / 2 and extrapolated (error of order d^4). Along a random direction d
    that moves every element this is u . (J d) against (u J) . d: four forward passes whatever the size.

    Parameters
    ----------
    fn : a function of Tensors, a Function class, or a Module
        Of a Module the parameters are checked as well. It may return a tuple; outputs without a gradient are ignored.
    inputs : sequence of arrays or Tensors
        Floating ones are copied to float64. Anything else (ints, tuples, None) is handed to ``fn`` as it is.
    wrt : int or sequence of ints, optional
        Numbers of the inputs to check; all floating ones by default.
    seed : int
        Of the upstream gradient and the directions.
    rtol : float
        Allowed error relative to the gradient, on top of what rounding explains.
    eps : float
        Length of the step, times max(1, abs(x)). Where the check fails it is repeated with a step 100 times shorter.
    elements : int
        Arguments of up to so many elements are also checked element by element, at four forward passes each; 0 for a
        whole network.
    name : str, optional
        The operation's name in messages.

    Returns
    -------
    bool
        True.

    Raises
    ------
    GradientError
        A gradient is wrong: names the argument, the worst element, both values, their ratio, and a likely cause.
        Or ``fn`` cannot be checked: its result changes from call to call, is not finite, not float64, or cut off.

    Examples
    --------
    >>> gradcheck(lambda x, y: x * y, [np.ones(3), np.arange(3.0)])
    True
    """
    with in_float64(fn) as parameters:
        subject = Subject(fn, inputs, wrt, parameters, name, np.random.default_rng(seed))
        for argument, gradient in zip(subject.arguments, subject.backward(), strict=True):
            _Check(subject, argument, gradient, rtol, eps).run(elements)
    return True


class _Check:
    """One argument's gradient against slopes of the forward pass."""

    def __init__(self, subject: Subject, argument: Argument, gradient: np.ndarray, rtol: float, eps: float) -> None:
        self.subject, self.argument, self.gradient, self.rtol = subject, argument, gradient, rtol
        self.step = eps * np.maximum(1, np.abs(argument.start))
        # An element is judged relative to itself, but no finer than relative to a hundredth of the largest.
        self.floor = 0.01 * np.abs(gradient[np.isfinite(gradient)]).max(initial=0)

    def run(self, elements: int) -> None:
        """Raise GradientError unless the gradient is right."""
        size, rng = self.gradient.size, self.subject.rng
        if size <= elements:
            self.elements(np.arange(size))
        for _ in range(DIRECTIONS if size else 0):
            d = self.step * rng.uniform(0.5, 1, self.step.shape) * rng.choice([-1, 1], self.step.shape)
            slope = self.slope(d)
            if slope.agrees:
                continue
            # First anywhere, so that a pattern can be seen; then where halving the direction leads.
            self.elements(np.sort(rng.choice(size, min(size, SAMPLE), replace=False)))
            self.elements(self.suspects(d))
            self.subject.fail(
                f"the gradient of {self.argument.label} is wrong along a random direction (analytic "
                f"{np.vdot(self.gradient, d):.6g}, numeric {slope.terms.sum():.6g}) though each element alone is "
                "right: several elements tie, where there is no one gradient; move the input"
            )

    def slope(self, d: np.ndarray) -> Slope:
        """Return the slope along a displacement; where it disagrees with the gradient, that of a shorter step."""
        expected = np.where(d != 0, self.gradient, 0) * d
        analytic = float(expected.sum())
        tolerance = self.rtol * max(float(np.linalg.norm(expected)), self.floor * float(np.linalg.norm(d)))
        for scale in (1.0, 0.01):
            slope = self.subject.slope(self.argument, d, scale)
            slope.error = abs(slope.terms.sum() - analytic)
            slope.agrees = bool(np.isfinite(analytic) and slope.error <= tolerance + slope.rounding)
            if slope.agrees:
                break
        return slope

    def elements(self, indices: np.ndarray) -> None:
        """Raise GradientError if one of these elements (flat indices) is wrong."""
        subject = self.subject
        input_shape = next((x.shape for x in subject.inputs if hasattr(x, "shape")), ())
        evidence = Evidence(subject.op, self.argument.label, self.gradient, input_shape, subject.output_shape)
        for i in indices:
            d = np.zeros(self.step.shape)
            d.flat[i] = self.step.flat[i]
            evidence.add(int(i), self.slope(d), self.step.flat[i])
        if evidence.wrong.any():
            raise report(evidence)

    def suspects(self, d: np.ndarray) -> np.ndarray:
        """Halve a direction that fails until so few elements are left that each can be checked."""
        block = np.arange(d.size)
        while block.size > SAMPLE:
            halves = np.array_split(block, 2)
            masks = [np.isin(np.arange(d.size), half).reshape(d.shape) for half in halves]
            block = halves[int(np.argmax([self.slope(d * mask).error for mask in masks]))]
        return block
