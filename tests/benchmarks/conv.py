"""Convolution layers: forward, input gradient and weight gradient, as each engine's own autograd runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .engines import check_equal, load_torch, threads
from .layers import DIRECTIONS, Layer
from .timing import Rule, compare


def arrays(layer: Layer, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, weight, dy: x is half zeros, as after a ReLU; weights of He's scale; the same for everybody."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal(layer.x_shape, np.float32), 0)
    if layer.channels == 3:  # an image
        x = rng.standard_normal(layer.x_shape, np.float32)
    weight = rng.standard_normal(layer.weight_shape, np.float32) * np.sqrt(2 / np.prod(layer.weight_shape[1:]))
    dy = rng.standard_normal(layer.y_shape, np.float32)
    return x.astype(dtype), weight.astype(dtype), dy.astype(dtype)


def ours(layer: Layer, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return one function per direction: the public op, and its graph node's backward for one gradient at a time.

    Both allocate their result and workspace, as in training.
    """
    import tinyconv
    from tinyconv import functional as F

    options: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}

    def node(wanted: int) -> Any:
        first, second = (tinyconv.tensor(a, requires_grad=i == wanted) for i, a in enumerate((x, weight)))
        return F.conv2d(first, second, None, **options).node

    def gradient(wanted: int) -> Callable[[], Any]:
        at = node(wanted)
        return lambda: at.backward([dy])[wanted]

    tensors = tinyconv.tensor(x), tinyconv.tensor(weight)

    def forward() -> Any:
        with tinyconv.no_grad():
            return F.conv2d(*tensors, None, **options).data

    return dict(zip(DIRECTIONS, (forward, gradient(0), gradient(1)), strict=True))


def theirs(layer: Layer, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return PyTorch's: `conv2d` under no_grad, and `convolution_backward` for one gradient at a time."""
    torch = load_torch()
    x, weight, dy = (torch.from_numpy(a) for a in (x, weight, dy))
    pairs = [layer.stride] * 2, [layer.padding] * 2, [1, 1]

    def forward() -> Any:
        with torch.no_grad():
            return torch.nn.functional.conv2d(x, weight, None, *pairs, layer.groups)

    def gradient(wanted: int) -> Callable[[], Any]:
        mask = [wanted == 0, wanted == 1, False]
        function = torch.ops.aten.convolution_backward
        return lambda: function(dy, x, weight, None, *pairs, False, [0, 0], layer.groups, mask)[wanted]

    return dict(zip(DIRECTIONS, (forward, gradient(0), gradient(1)), strict=True))


def measure(layers: Iterable[Layer], counts: list[int], rule: Rule) -> Iterator[dict[str, Any]]:
    """Yield one row per number of threads, layer and direction."""
    for count in counts:
        with threads(count):
            for layer in layers:
                data = arrays(layer)
                a, b = ours(layer, *data), theirs(layer, *data)
                for direction in DIRECTIONS:
                    check_equal(f"{layer.key} {direction}", [a[direction]()], [b[direction]()])
                    row = {"layer": layer.key, "direction": direction, "threads": count, "flop": layer.flop}
                    yield {**row, **compare(a[direction], b[direction], rule)}
