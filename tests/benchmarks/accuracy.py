"""Rounding: how far float32 results are from float64's, tinyconv's and PyTorch's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .conv import arrays, ours, theirs
from .layers import DIRECTIONS, Layer

CHOICE = "suits_winograd"  # in cpu/conv.py, asked by Python for every convolution


def measure(layers: Iterable[Layer]) -> Iterator[dict[str, Any]]:
    """Yield one row per layer and direction: the largest error over the largest value of the float64 result."""
    for layer in layers:
        data = arrays(layer)
        exact = theirs(layer, *(a.astype(np.float64) for a in data))
        a, b = ours(layer, *data), theirs(layer, *data)
        for direction in DIRECTIONS:
            true = exact[direction]().numpy()
            with watched_choice() as took:
                ours_error = _error(a[direction](), true)
            row = {"layer": layer.key, "direction": direction, "ours": ours_error}
            yield {**row, "torch": _error(b[direction](), true), "winograd": any(took)}


@contextmanager
def watched_choice() -> Iterator[list[bool]]:
    """Inside, note each answer of the kernels' own question whether to take Winograd's algorithm, which rounds more."""
    from tinyconv_kernels.cpu import conv

    answers: list[bool] = []
    ask = getattr(conv, CHOICE, None)
    if ask is None:  # kernels without a choice
        yield answers
        return

    def noted(*arguments: Any) -> Any:
        answers.append(bool(ask(*arguments)))
        return answers[-1]

    setattr(conv, CHOICE, noted)
    try:
        yield answers
    finally:
        setattr(conv, CHOICE, ask)


def _error(values: Any, true: np.ndarray) -> float:
    return float(f"{np.abs(np.asarray(values) - true).max() / np.abs(true).max():.3g}")
