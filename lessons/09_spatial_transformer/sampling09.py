"""Digits to look at and pictures of where positions look, for steps 3 to 5. See :func:`digit`, :func:`look`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import tinyconv
from tinyconv.data import mnist
from tinyconv.explain.attended import to_pixels
from tinyconv.nn import functional as F


def digit(label: int, size: int = 28) -> np.ndarray:
    """Return the first test digit of a class, (1, size, size) in [0, 1], with black around it."""
    test = mnist("test")
    image = test.images[np.flatnonzero(test.labels == label)[0]].reshape(1, 28, 28) / 255.0
    before = (size - 28) // 2
    return np.pad(image, ((0, 0), *[(before, size - 28 - before)] * 2))


def square(count: int) -> np.ndarray:
    """Return the identity grid (count, count, 2), from centre to centre."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, count)] * 2, indexing="ij")
    return np.stack([x, y], axis=-1)


def look(image: np.ndarray, grid: np.ndarray, **options: Any) -> np.ndarray:
    """Return what a grid (OH, OW, 2) sees in an image (C, H, W), by the library: (C, OH, OW)."""
    pair = (tinyconv.tensor(np.ascontiguousarray(array[None])) for array in (image, grid))
    return F.grid_sample(*pair, align_corners=True, **options).numpy()[0]


def check(forward: Callable, backward: Callable, given: Sequence[np.ndarray]) -> str:
    """Return whether the gradient check passes: forward(*given) -> V, backward(dy, *given) -> their gradients."""

    class Operation(tinyconv.Function):
        @staticmethod
        def forward(ctx: Any, *given: np.ndarray) -> np.ndarray:
            ctx.save(*given)
            return forward(*given)

        @staticmethod
        def backward(ctx: Any, dy: np.ndarray) -> Any:
            return backward(dy, *ctx.saved)

    try:
        tinyconv.gradcheck(Operation.apply, given)
        return "passes"
    except tinyconv.GradientError:
        return "caught"


def towards(image: np.ndarray, positions: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return minus the library's gradient (P, 2) of 1/2 sum (V - wanted)^2 at positions (P, 2)."""
    grid = tinyconv.tensor(positions[None, None], requires_grad=True)
    seen = F.grid_sample(tinyconv.tensor(image[None]), grid, align_corners=True)
    error = seen - tinyconv.tensor(wanted[None, :, None])
    (-(error * error).sum() / 2).backward()
    return grid.grad.numpy()[0, 0]


def draw_arrows(image: np.ndarray, cases: dict[str, tuple[np.ndarray, np.ndarray]], scale: float) -> Any:
    """Draw, for each title, arrows (P, 2) at positions (P, 2) in normalised coordinates over an image (1, H, H)."""
    figure, axes = plt.subplots(1, len(cases), figsize=(8, 4), layout="constrained")
    for axis, (title, (positions, arrows)) in zip(axes, cases.items(), strict=True):
        axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        there = np.abs(arrows).sum(axis=1) > 1e-9
        places = to_pixels(positions[there], image.shape[1:])
        style = {"color": "#ff7f0e", "angles": "xy", "scale_units": "xy", "scale": scale, "width": 0.004}
        axis.quiver(*places.T, *arrows[there].T, **style)
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    return figure


def draw_looks(image: np.ndarray, grids: dict[str, np.ndarray], columns: int) -> Any:
    """Draw an image (1, H, H) with each grid over it, and what it sees; a grid's upper edge is thick."""
    rows = -(-len(grids) // columns)
    figure, axes = plt.subplots(2 * rows, columns, figsize=(1.7 * columns, 3.9 * rows), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for k, (title, grid) in enumerate(grids.items()):
        above, below = axes[2 * (k // columns), k % columns], axes[2 * (k // columns) + 1, k % columns]
        above.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        at, size = to_pixels(grid, image.shape[1:]), image.shape[1]
        for line in [*at[::3], *np.swapaxes(at, 0, 1)[::3], at[-1], at[:, -1]]:
            above.plot(*line.T, color="#ff7f0e", lw=0.6)
        above.plot(*at[0].T, color="#ff7f0e", lw=2.5)
        above.set(xlim=(-0.3 * size, 1.3 * size), ylim=(1.3 * size, -0.3 * size))
        above.set_title(title, fontsize=9)
        below.imshow(look(image, grid)[0], cmap="gray", vmin=0, vmax=1)
    return figure
