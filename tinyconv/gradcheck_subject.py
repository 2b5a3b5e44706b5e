"""What a gradient check looks at: any function of Tensors as one vector function in float64, at one point."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinyconv import autograd, device
from tinyconv.function import Function, no_grad
from tinyconv.gradcheck_evidence import Argument, GradientError, Slope
from tinyconv.tensor import Tensor


@contextmanager
def in_float64(fn: Any) -> Iterator[dict[str, Tensor]]:
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


class Subject:
    """A function at one point: its differentiable outputs as one vector, and the gradient of u . outputs.

    Attributes
    ----------
    op : str
        The operation's name in messages.
    inputs : list
        Copies of what was given; Tensors among them hold float64 or integers.
    arguments : list of Argument
        The inputs to differentiate, then the parameters.
    output_shape : tuple of ints
        Of the one differentiable output, or of the vector if there are several.
    """

    def __init__(
        self, fn: Any, inputs: Any, wrt: Any, parameters: dict[str, Tensor], name: str | None, rng: np.random.Generator
    ) -> None:
        given = [inputs] if isinstance(inputs, (Tensor, np.ndarray)) else list(inputs)
        floating = [i for i, x in enumerate(given) if isinstance(x, (Tensor, np.ndarray)) and x.dtype.kind == "f"]
        chosen = floating if wrt is None else [int(i) for i in np.atleast_1d(wrt)]
        if not set(chosen) <= set(floating):
            raise ValueError(f"gradcheck: wrt must number floating inputs, which are {floating}, got {wrt}")
        if not chosen and not parameters:
            raise ValueError("gradcheck: there is nothing to differentiate: no input is a floating array or Tensor")
        self.rng = rng
        self.call = fn.apply if isinstance(fn, type) and issubclass(fn, Function) else fn
        self.inputs = [_copied(x, i in chosen) for i, x in enumerate(given)]
        labels = _argument_names(fn, len(given))
        self.arguments = [Argument(labels[i], self.inputs[i], self.inputs[i].data) for i in chosen]
        self.arguments += [Argument(f"parameter {n}", p, p.data) for n, p in parameters.items()]
        self.before = [x.data.copy() if isinstance(x, Tensor) else None for x in self.inputs]

        results = self._results()
        self.which = [i for i, y in enumerate(results) if isinstance(y, Tensor) and y.requires_grad]
        self.outputs = [results[i] for i in self.which]
        node = self.outputs[0].node if self.outputs else None
        kind = fn if isinstance(fn, type) else type(fn) if parameters else None  # a Function or a Module
        called = kind.__name__ if kind else node.name if node else getattr(fn, "__name__", "fn")
        self.op: str = name or called
        self._check_outputs()
        self.upstream = rng.standard_normal(self.value.size)
        self.output_shape = self.outputs[0].shape if len(self.outputs) == 1 else self.value.shape

    def _check_outputs(self) -> None:
        if not self.outputs:
            self.fail("no output requires a gradient: the graph is cut (by .numpy(), .detach() or no_grad inside?)")
        if any(y.dtype != np.float64 for y in self.outputs):
            self.fail("an output is not float64 although the inputs are: float32 inside is too coarse for this check")
        self.value = np.concatenate([device.host(y.data).ravel() for y in self.outputs])
        if not np.isfinite(self.value).all():
            self.fail("an output is NaN or infinite at this input: move the input")
        self._check_untouched("forward")
        again = self.forward()
        if not np.array_equal(self.value, again):
            off = "their sizes" if again.size != self.value.size else f"by {np.abs(self.value - again).max():.3g}"
            self.fail(f"two calls with the same input differ ({off}): seed what is random, or use eval()")

    def _check_untouched(self, who: str) -> None:
        for i, (x, before) in enumerate(zip(self.inputs, self.before, strict=True)):
            if before is not None and not np.array_equal(x.data, before, equal_nan=before.dtype.kind == "f"):
                self.fail(f"{who} changed input {i} in place: write into a copy")

    def fail(self, problem: str) -> None:
        """Raise a GradientError that is not about single elements."""
        raise GradientError(f"{self.op}: {problem}", op=self.op, cause=problem)

    def _results(self) -> Sequence[Any]:
        results = self.call(*self.inputs)
        return results if isinstance(results, (tuple, list)) else (results,)

    def forward(self) -> np.ndarray:
        """Return all differentiable outputs as one vector."""
        with no_grad():
            results = self._results()
        return np.concatenate([device.host(results[i].data).ravel() for i in self.which])

    def slope(self, argument: Argument, d: np.ndarray, scale: float) -> Slope:
        """Return the slope of u . outputs when the argument moves along ``scale * d``, per d."""
        values = []
        for factor in (scale, -scale, scale / 2, -scale / 2):
            argument.tensor.data = np.asarray(argument.start + factor * d)
            values.append(self.forward())
        argument.tensor.data = argument.start
        return Slope.of(self.upstream / scale, self.value, *values)

    def backward(self) -> list[np.ndarray]:
        """Return the gradient of u . outputs for every argument; taken twice, as a backward may spoil its buffers."""
        first, second = self._backward(), self._backward()
        for argument, a, b in zip(self.arguments, first, second, strict=True):
            if not np.array_equal(a, b, equal_nan=True):
                self.fail(f"a second backward gives another gradient of {argument.label}: it changes what was saved")
        self._check_untouched("backward")
        return first

    def _backward(self) -> list[np.ndarray]:
        totals = [np.zeros(a.start.shape) for a in self.arguments]
        ends = np.cumsum([y.numel() for y in self.outputs])
        for y, u in zip(self.outputs, np.split(self.upstream, ends[:-1]), strict=True):
            handed: list[Tensor] = []  # the very array that backward gets
            remove = y.register_hook(handed.append)
            try:
                upstream = Tensor(u.reshape(y.shape).copy())
                found = autograd.grad(y, [a.tensor for a in self.arguments], upstream, retain_graph=True)
            except RuntimeError as problem:  # the engine's own checks of the gradients' number and shapes
                raise GradientError(str(problem), op=self.op, cause=str(problem)) from problem
            finally:
                remove()
            if not np.array_equal(handed[0].data.ravel(), u):
                self.fail("backward changed its upstream gradient in place: write into a copy")
            for total, gradient in zip(totals, found, strict=True):
                if gradient is not None:
                    total += gradient.data
        return totals


def _argument_names(fn: Any, count: int) -> list[str]:
    """Return "argument 0 (x)" and so on, with the names of fn's own parameters where it tells them."""
    try:
        described = inspect.signature(fn.forward if hasattr(fn, "forward") else fn)
    except (TypeError, ValueError):  # a builtin
        return [f"argument {i}" for i in range(count)]
    names = [p.name for p in described.parameters.values() if p.kind < p.VAR_POSITIONAL]
    if isinstance(fn, type):
        names = names[1:]  # ctx
    return [f"argument {i} ({names[i]})" if i < len(names) else f"argument {i}" for i in range(count)]


def _copied(value: Any, requires_grad: bool) -> Any:
    """Return a Tensor of its own for an array or Tensor, anything else as it is."""
    if not isinstance(value, (Tensor, np.ndarray)):
        return value
    array = device.host(value.data) if isinstance(value, Tensor) else value
    return Tensor(np.array(array, np.float64 if array.dtype.kind == "f" else None, order="C"), requires_grad)
