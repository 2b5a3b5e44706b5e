"""How long maxout takes, and what its units look like. See :func:`time_it`, :func:`draw`."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import tinyconv


def time_it(ways: dict[str, tuple[Callable, Callable]], n: int, rng: np.random.Generator) -> dict[str, float]:
    """Return ms of n images at the first layer of the paper's D, 240 units of 5 pieces, both ways, on one thread.

    The first run does not count, since something may be compiled in it. "loops" are timed once, all others 25 times,
    of which the median counts. All must write the same gradient.
    """
    x = rng.standard_normal((n, 240, 5, 1)).astype(np.float32)
    y, switches, dx = np.empty((n, 240, 1), np.float32), np.empty((n, 240, 1), np.int64), np.empty_like(x)
    before, times, results = tinyconv.get_num_threads(), {}, []
    tinyconv.set_num_threads(1)
    try:
        for name, (forward, backward) in ways.items():

            def run(forward: Callable = forward, backward: Callable = backward) -> None:
                forward(x, y, switches)
                backward(y, switches, dx)

            dx[...] = np.nan
            run()
            results.append(dx.copy())
            times[name] = 1000 * float(np.median(timeit.repeat(run, number=1, repeat=1 if name == "loops" else 25)))
    finally:
        tinyconv.set_num_threads(before)
    assert all(np.array_equal(found, results[0]) for found in results)
    return times


def draw(rng: np.random.Generator) -> Any:
    """Draw tangents of a parabola and the largest of them, and a unit of two inputs."""
    fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    x = np.linspace(-2, 2, 201)
    for axis, touch in zip(axes, ((-1.0, 1.0), np.linspace(-1.6, 1.6, 5)), strict=False):
        lines = np.array([2 * t * x - t**2 for t in touch])
        axis.plot(x, lines.T, "C7--", lw=0.8)
        axis.plot(x, x**2, "C1", lw=1, label="x^2")
        axis.plot(x, lines.max(axis=0), "C0", lw=2, label="the largest")
        axis.set(xlabel="x", ylim=(-2, 4), title=f"{len(touch)} pieces (dashed)")
        axis.legend(fontsize=8)
    plane = np.stack(np.meshgrid(x, x), axis=-1) @ rng.standard_normal((2, 5)) + 0.5 * rng.standard_normal(5)
    axes[2].imshow(plane.argmax(axis=2), cmap="Pastel1", vmin=0, vmax=8, extent=(-2, 2, -2, 2), origin="lower")
    axes[2].contour(x, x, plane.max(axis=2), 8, colors="k", linewidths=0.8)
    axes[2].set(title="two inputs: who wins (colour), level lines", xlabel="x1", ylabel="x2")
    return fig
