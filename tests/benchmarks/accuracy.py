"""Rounding: how far float32 results are from float64's, tinyconv's and PyTorch's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .conv import arrays, ours, theirs
from .layers import DIRECTIONS, Layer


def measure(layers: Iterable[Layer]) -> Iterator[dict[str, Any]]:
    """Yield one row per layer and direction: the largest error over the largest value of the float64 result.

    "ours" is what tinyconv does by itself, "direct" without Winograd's algorithm, which rounds more.
    """
    import tinyconv

    for layer in layers:
        data = arrays(layer)
        exact = theirs(layer, *(a.astype(np.float64) for a in data))
        a, b = ours(layer, *data), theirs(layer, *data)
        for direction in DIRECTIONS:
            true = exact[direction]().numpy()
            result = np.array(a[direction]())
            with tinyconv.use_winograd(False):
                direct = np.array(a[direction]())
            values = {"ours": result, "direct": direct, "torch": b[direction]()}
            # Another order of the same sums has other last bits: equal ones mean that the switch changed nothing.
            used = {"winograd": not np.array_equal(result, direct)}
            errors = {name: _error(value, true) for name, value in values.items()}
            yield {"layer": layer.key, "direction": direction, **errors, **used}


def _error(values: Any, true: np.ndarray) -> float:
    return float(f"{np.abs(np.asarray(values) - true).max() / np.abs(true).max():.3g}")
