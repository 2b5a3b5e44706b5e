"""What a row of the table of operations says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyconv.nn import functional

from . import adapters

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Ints:
    """An integer input with values in [low, high)."""

    shape: Shape
    high: int
    low: int = 0


@dataclass(frozen=True)
class Case:
    """One operation at one geometry.

    Attributes
    ----------
    op : str
        A function of adapters.py, or else of tinyconv.nn.functional.
    inputs : tuple of shapes, Ints, or None
        The tensors it takes by position; None passes None.
    kwargs : dict
        Its other arguments.
    values : str
        "normal"; "distinct" (a shuffled ramp, so that no two values tie and a numerical gradient stays on one side of
        every kink); "positive"; "unit" (in (0, 1)); "ties" (few integers); "nan" (some NaNs); "extreme" (up to 1000).
    differentiable : bool
        Whether its gradient is checked numerically (never at ties or NaN, where it is not defined).
    torch : callable, optional
        The oracle ``torch(*tensors, **kwargs)`` where it is not torch.nn.functional's or torch's function of that name.
    parity : bool
        False where PyTorch has no such operation.
    meta : bool
        False where the output's shape depends on the elements.
    """

    op: str
    inputs: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    values: str = "normal"
    differentiable: bool = True
    torch: Callable[..., Any] | None = None
    parity: bool = True
    cuda: bool = True
    meta: bool = True
    note: str = ""

    @property
    def id(self) -> str:
        """A readable name for pytest."""
        shapes = ",".join("-" if s is None else _name(s) for s in self.inputs)
        options = ",".join(f"{k}={v}".replace(" ", "") for k, v in self.kwargs.items())
        return "-".join(
            part for part in (self.op, shapes, options, self.values, self.note) if part not in ("", "normal")
        )

    @property
    def smooth(self) -> bool:
        """Whether a numerical gradient is meaningful at these inputs."""
        return self.differentiable and self.values not in ("ties", "nan", "extreme")

    def __call__(self, *tensors: Any) -> Any:
        """Run tinyconv's operation on the tensors."""
        function = getattr(adapters, self.op, None) or getattr(functional, self.op)
        return function(*tensors, **self.kwargs)

    def arrays(self, dtype: Any = np.float64, seed: int = 0) -> list[Any]:
        """Make the inputs: the same numbers in every dtype."""
        rng = np.random.default_rng([seed, len(self.op), *(n for s in self.inputs if isinstance(s, tuple) for n in s)])
        return [None if s is None else self._array(rng, s, dtype) for s in self.inputs]

    def _array(self, rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
        if isinstance(shape, Ints):
            return rng.integers(shape.low, shape.high, shape.shape)
        size = int(np.prod(shape, dtype=int))
        if self.values == "distinct":
            # Never two equal values and never 0: half steps from -1 to 1.
            flat = (rng.permutation(size) + 0.5) / max(size, 1) * 2 - 1 + 0.25 / max(size, 1)
        elif self.values == "ties":
            flat = rng.integers(-2, 2, size).astype(float)
        elif self.values == "positive":
            flat = rng.uniform(0.5, 2.0, size)
        elif self.values == "extreme":
            flat = rng.choice([-1000.0, -30.0, -0.5, 0.0, 0.5, 30.0, 1000.0], size)
        elif self.values == "unit":
            flat = rng.uniform(0.05, 0.95, size)
        else:
            flat = rng.standard_normal(size)
            if self.values == "nan":
                flat[rng.random(size) < 0.2] = np.nan
        return flat.reshape(shape).astype(dtype)


def _name(shape: Shape | Ints) -> str:
    if isinstance(shape, Ints):
        return "int" + _name(shape.shape)
    return "x".join(map(str, shape)) or "0d"
