"""Gradient check: what ``backward`` computes against differences of what ``forward`` computes; see :func:`gradcheck`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinyconv import autograd, device
from tinyconv.function import Function, no_grad
from tinyconv.gradcheck_diagnosis import report
from tinyconv.gradcheck_evidence import Argument, Evidence, GradientError, Slope
from tinyconv.tensor import Tensor

FULL = 400  # an argument of up to so many elements is checked element by element, a larger one at so many of them
DIRECTIONS = 3  # every argument is also checked along so many random directions, which move all its elements at once
ROUNDING = 30 * np.finfo(np.float64).eps  # the error of a difference of two outputs, relative to them


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    wrt: int | Sequence[int] | None = None,
    seed: int = 0,
    rtol: float = 1e-6,
    eps: float = 1e-4,
    name: str | None = None,
) -> bool:
    """Check the gradients of ``fn`` in float64: element by element on small inputs, and along random directions.

    With a random upstream gradient u, the gradient of L(x) = u . fn(x) is compared with the difference quotient
    (L(x + d) - L(x - d)) / 2, taken at d and d / 2 and extrapolated (error of order d^4). Along a random direction d that
    moves every element this is u . (J d) against (u J) . d: four forward passes whatever the size.

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
        Length of the step, times max(1, \\|x\\|). Where the check fails it is repeated with a step 100 times shorter.
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
    with _in_float64(fn) as parameters:
        check = _Check(fn, inputs, wrt, parameters, seed, rtol, eps, name)
        for argument, gradient in zip(check.arguments, check.backward(), strict=True):
            check.compare(argument, gradient)
    return True


@contextmanager
def _in_float64(fn: Any) -> Iterator[dict[str, Tensor]]:
    """Inside, a Module's parameters and buffers are float64 copies; yields the parameters that want a gradient."""
    parameters = dict(fn.named_parameters()) if hasattr(fn, "named_parameters") else {}
    held = [*parameters.values(), *(b for _, b in fn.named_buffers())] if hasattr(fn, "named_buffers") else []
    before = [t.data for t in held]
    try:
        for t in held:
            t.data = t.data.astype(np.float64 if t.dtype.kind == "f" else t.dtype)
        yield {name: p for name, p in parameters.items() if p.requires_grad}
    finally:
        for t, data in zip(held, before, strict=True):
            t.data = data


def _argument_names(fn: Any, count: int) -> list[str]:
    """Return "argument 0 (x)" and so on, with the names of fn's own parameters where it tells them."""
    described = fn.forward if hasattr(fn, "forward") else fn
    try:
        names = [p.name for p in inspect.signature(described).parameters.values() if p.kind < p.VAR_POSITIONAL]
    except (TypeError, ValueError):  # a builtin
        names = []
    if isinstance(fn, type):
        names = names[1:]  # ctx
    return [f"argument {i} ({names[i]})" if i < len(names) else f"argument {i}" for i in range(count)]


class _Check:
    """``fn`` at one point: its outputs as one vector, its gradient, and its slopes along displacements."""

    def __init__(
        self, fn: Any, inputs: Any, wrt: Any, parameters: dict, seed: int, rtol: float, eps: float, name: str | None
    ) -> None:
        self.rng, self.rtol, self.eps = np.random.default_rng(seed), rtol, eps
        self.call = fn.apply if isinstance(fn, type) and issubclass(fn, Function) else fn
        given = [inputs] if isinstance(inputs, (Tensor, np.ndarray)) else list(inputs)
        floating = [i for i, x in enumerate(given) if isinstance(x, (Tensor, np.ndarray)) and x.dtype.kind == "f"]
        chosen = floating if wrt is None else [int(i) for i in np.atleast_1d(wrt)]
        if not set(chosen) <= set(floating) or not (chosen or parameters):
            raise ValueError(f"gradcheck: wrt must name floating inputs, which are {floating}, got {wrt}")
        self.inputs = [_copied(x, i in chosen) for i, x in enumerate(given)]
        labels = _argument_names(fn, len(given))
        self.arguments = [Argument(labels[i], self.inputs[i], self.inputs[i].data) for i in chosen]
        self.arguments += [Argument(f"parameter {n}", p, p.data) for n, p in parameters.items()]
        self._first_run(name or (fn.__name__ if isinstance(fn, type) else type(fn).__name__ if parameters else None))

    def _first_run(self, name: str | None) -> None:
        kept = [x.data.copy() if isinstance(x, Tensor) else None for x in self.inputs]
        results = self._results()
        self.which = [i for i, y in enumerate(results) if isinstance(y, Tensor) and y.requires_grad]
        self.outputs = [results[i] for i in self.which]
        self.op = name or (self.outputs[0].node.name if self.outputs and self.outputs[0].node else "fn")
        if not self.outputs:
            self.fail("no output requires a gradient: the graph is cut (by .numpy(), .detach() or no_grad inside?)")
        self.value = self.forward()
        if any(y.dtype != np.float64 for y in self.outputs):
            self.fail("an output is not float64 although the inputs are: float32 inside is too coarse to check a gradient")
        if not np.isfinite(self.value).all():
            self.fail("an output is NaN or infinite at this input: move the input")
        for again in (np.concatenate([device.host(y.data).ravel() for y in self.outputs]), self.forward()):
            if not np.array_equal(self.value, again):
                off = np.abs(self.value - again).max()
                self.fail(f"two calls with the same input differ (by {off:.3g}): seed what is random, or use eval()")
        self._check_untouched(kept, "forward")
        self.upstream = self.rng.standard_normal(self.value.size)
        self.kept = kept

    def fail(self, problem: str) -> None:
        """Raise a GradientError about the whole of fn."""
        raise GradientError(f"{self.op}: {problem}", op=self.op, cause=problem)

    def _check_untouched(self, kept: list[Any], who: str) -> None:
        for i, (x, before) in enumerate(zip(self.inputs, kept, strict=True)):
            if before is not None and not np.array_equal(x.data, before, equal_nan=before.dtype.kind == "f"):
                self.fail(f"{who} changed input {i} in place: write into a copy")

    def _results(self) -> Sequence[Any]:
        results = self.call(*self.inputs)
        return results if isinstance(results, (tuple, list)) else (results,)

    def forward(self) -> np.ndarray:
        """Return all differentiable outputs as one vector."""
        with no_grad():
            results = self._results()
        return np.concatenate([device.host(results[i].data).ravel() for i in self.which])

    def backward(self) -> list[np.ndarray]:
        """Return the gradient of u . fn for every argument; twice, since a backward may spoil what it was given."""
        first, second = self._backward(), self._backward()
        for argument, a, b in zip(self.arguments, first, second, strict=True):
            if not np.array_equal(a, b, equal_nan=True):
                self.fail(f"a second backward gives {argument.label} another gradient: backward changes what forward saved")
        self._check_untouched(self.kept, "backward")
        return first

    def _backward(self) -> list[np.ndarray]:
        totals = [np.zeros(a.start.shape) for a in self.arguments]
        start = 0
        for y in self.outputs:
            u = self.upstream[start : start + y.numel()].reshape(y.shape)
            start += y.numel()
            given = Tensor(u.copy())
            try:
                found = autograd.grad(y, [a.tensor for a in self.arguments], given, retain_graph=True)
            except RuntimeError as problem:  # the engine's own checks of number and shape of the gradients
                raise GradientError(str(problem), op=self.op, cause=str(problem)) from problem
            if not np.array_equal(given.data, u):
                self.fail("backward changed its upstream gradient in place: write into a copy")
            for total, gradient in zip(totals, found, strict=True):
                if gradient is not None:
                    total += gradient.data
        return totals

    def slope(self, argument: Argument, gradient: np.ndarray, d: np.ndarray) -> Slope:
        """Return the slope of u . fn along the displacement d; where it disagrees with ``gradient``, of a shorter step."""
        finite = np.abs(gradient[np.isfinite(gradient)])
        analytic = float(np.vdot(gradient, d))
        fineness = max(np.linalg.norm(gradient * d), 0.01 * finite.max(initial=0) * np.linalg.norm(d))
        for scale in (1.0, 0.01):
            values = []
            for factor in (scale, -scale, scale / 2, -scale / 2):
                argument.tensor.data = argument.start + factor * d
                values.append(self.forward())
            argument.tensor.data = argument.start
            slope = Slope.of(self.upstream / scale, self.value, *values, ROUNDING)
            slope.error = abs(slope.terms.sum() - analytic)
            slope.agrees = bool(np.isfinite(analytic) and slope.error <= self.rtol * fineness + slope.rounding)
            if slope.agrees:
                break
        return slope

    def compare(self, argument: Argument, gradient: np.ndarray) -> None:
        """Raise GradientError unless the argument's gradient is right."""
        size = gradient.size
        step = self.eps * np.maximum(1, np.abs(argument.start))
        if size <= FULL:
            self._raise_if_wrong(self._elements(argument, gradient, step, np.arange(size)))
        for _ in range(DIRECTIONS if size else 0):
            d = step * self.rng.uniform(0.5, 1, step.shape) * self.rng.choice([-1, 1], step.shape)
            slope = self.slope(argument, gradient, d)
            if not slope.agrees:
                sample = np.sort(self.rng.choice(size, min(size, FULL), replace=False))
                self._raise_if_wrong(self._elements(argument, gradient, step, sample))
                block = self._suspects(argument, gradient, d)
                self._raise_if_wrong(self._elements(argument, gradient, step, block))
                self.fail(
                    f"{argument.label}: wrong along a random direction (analytic {np.vdot(gradient, d):.6g}, numeric "
                    f"{slope.terms.sum():.6g}) though each element alone is right: fails only at ties: move the input"
                )

    def _suspects(self, argument: Argument, gradient: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Halve the direction until so few elements are left that each can be checked."""
        block = np.arange(d.size)
        while block.size > FULL:
            halves = np.array_split(block, 2)
            masks = [np.isin(np.arange(d.size), half).reshape(d.shape) for half in halves]
            errors = [self.slope(argument, gradient, d * mask).error for mask in masks]
            block = halves[int(np.argmax(errors))]
        return block

    def _elements(self, argument: Argument, gradient: np.ndarray, step: np.ndarray, indices: np.ndarray) -> Evidence:
        evidence = Evidence.blank(self.op, argument, gradient, self.inputs, self.outputs)
        for i in indices:
            d = np.zeros(step.shape)
            d.flat[i] = step.flat[i]
            evidence.add(int(i), self.slope(argument, gradient, d), step.flat[i])
        return evidence

    def _raise_if_wrong(self, evidence: Evidence) -> None:
        if evidence.wrong.any():
            raise report(evidence)


def _copied(value: Any, requires_grad: bool) -> Any:
    """Return a Tensor of its own for an array or Tensor, anything else as it is."""
    if not isinstance(value, (Tensor, np.ndarray)):
        return value
    array = device.host(value.data) if isinstance(value, Tensor) else value
    return Tensor(np.array(array, np.float64 if array.dtype.kind == "f" else None, order="C"), requires_grad)
