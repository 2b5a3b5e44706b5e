"""Rounding: how far float32 results are from float64's, tinyconv's and PyTorch's."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
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
            errors = [_error(f[direction](), true) for f in (a, b)]
            row = {"layer": layer.key, "direction": direction, "ours": errors[0], "torch": errors[1]}
            yield {**row, "winograd": uses_winograd(layer, direction)}


def uses_winograd(layer: Layer, direction: str) -> bool:
    """Whether tinyconv's kernel takes Winograd's algorithm here, which rounds more: the one place that asks."""
    try:
        module = importlib.import_module("tinyconv_kernels.cpu.winograd")
    except ImportError:  # no such kernels
        return False
    pairs = (layer.stride,) * 2, (layer.padding,) * 2, (1, 1), layer.groups
    return bool(module.uses_winograd(direction, layer.x_shape, layer.weight_shape, layer.y_shape, *pairs))


def _error(values: Any, true: np.ndarray) -> float:
    return float(f"{np.abs(np.asarray(values) - true).max() / np.abs(true).max():.3g}")
