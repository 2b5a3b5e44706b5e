"""Rounding: how far float32 results are from float64's, tinyconv's and PyTorch's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .conv import arrays, ours, theirs
from .layers import DIRECTIONS, Layer


def measure(layers: Iterable[Layer]) -> Iterator[dict[str, Any]]:
    """Yield one row per layer and direction: the largest error over the largest value of the float64 result."""
    for layer in layers:
        data = arrays(layer)
        exact = theirs(layer, *(a.astype(np.float64) for a in data))
        a, b = ours(layer, *data), theirs(layer, *data)
        for direction in DIRECTIONS:
            true = exact[direction]().numpy()
            result = np.array(a[direction]())
            with without_winograd():
                direct = a[direction]()
            row = {"layer": layer.key, "direction": direction, "ours": _error(result, true)}
            # Another order of the same sums has other last bits: equal ones mean that the switch changed nothing.
            yield {**row, "torch": _error(b[direction](), true), "winograd": not np.array_equal(result, direct)}


@contextmanager
def without_winograd() -> Iterator[None]:
    """Inside, the kernels do not take Winograd's algorithm, which rounds more: the one place that knows the switch."""
    from tinyconv_kernels.cpu import _schedule

    before = _schedule.switches["winograd"]
    _schedule.switches["winograd"] = False
    try:
        yield
    finally:
        _schedule.switches["winograd"] = before


def _error(values: Any, true: np.ndarray) -> float:
    return float(f"{np.abs(np.asarray(values) - true).max() / np.abs(true).max():.3g}")
