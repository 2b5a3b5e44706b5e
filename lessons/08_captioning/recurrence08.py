"""How gradients fare on their way back through time, how long that takes, and on a GPU. See step 2."""

from __future__ import annotations

import ctypes
import os
import timeit
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numba
import numpy as np

import tinyconv
from tinyconv import optim
from tinyconv.nn import functional as F
from tinyconv.nn.utils import clip_grad_value_

SCALES = (0.5, 1.0, 1.41, 2.0)  # of an orthogonal weight


def on_the_way(backward: Callable, relu: bool, scale: float, rng: np.random.Generator, steps: int = 30) -> np.ndarray:
    """Return norms (steps + 1,) of the gradient that came from the last state alone, first at that state itself.

    64 units, 20 samples, whose norms are averaged; the weight is ``scale`` times a random orthogonal matrix, which by
    itself changes no vector's length. Inputs are N(0, 1 / 100).
    """
    x, size = 0.1 * rng.standard_normal((20, steps, 64)), (20, 64)
    weight = scale * np.linalg.qr(rng.standard_normal((64, 64)))[0]
    y = F.rnn(*map(tinyconv.tensor, (x, weight)), nonlinearity="relu" if relu else "tanh").numpy()
    norms, last = [1.0], rng.standard_normal(size)
    last /= np.linalg.norm(last, axis=1, keepdims=True)
    for back in range(1, steps + 1):  # only the last steps: what is left for the state before them
        dy, dx, dh0 = np.zeros((20, back, 64)), np.empty((20, back, 64)), np.empty(size)
        dy[:, -1] = last
        backward(dy, y[:, steps - back :], weight, np.full(20, back), False, relu, dx, dh0)
        norms.append(float(np.linalg.norm(dh0, axis=1).mean()))
    return np.array(norms)


def draw(norms: dict[tuple[bool, float], np.ndarray]) -> Any:
    """Draw the norms that :func:`on_the_way` found, by (relu, scale), on a logarithmic axis."""
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
    for (relu, scale), values in norms.items():
        axes[int(relu)].semilogy(np.maximum(values, 1e-30), label=f"weight {scale:g} x orthogonal")
    for axis, name in zip(axes, ("tanh", "ReLU"), strict=True):
        axis.set(title=name, xlabel="steps back", ylim=(1e-9, 1e9))
        axis.axhline(1, color="k", lw=0.5)
    axes[0].set_ylabel("norm of the gradient")
    axes[1].legend(fontsize=8)
    return fig


def one_unit(limit: float | None, steps: int = 200) -> list[float]:
    """Return w before and after each step: 30 times h = ReLU(w h), from h = 1, shall give 1; w = 1.2, rate 0.001."""
    w, path = tinyconv.tensor([1.2], requires_grad=True), [1.2]
    optimizer = optim.SGD([w], lr=0.001)
    for _ in range(steps):
        h = tinyconv.tensor([1.0])
        for _ in range(30):
            h = tinyconv.relu(w * h)
        optimizer.zero_grad()
        ((h - 1) ** 2).sum().backward()
        if limit is not None:
            clip_grad_value_(w, limit)
        optimizer.step()
        path.append(w.item())
    return path


def time_it(ways: dict[str, tuple[Callable, Callable]], shape: tuple[int, int, int], rng: np.random.Generator) -> Any:
    """Return {name: ms} of a layer of ReLUs both ways, on one thread, the median of 15 runs.

    The first run does not count, since something may be compiled in it. All must find the same gradient.
    """
    n, _, units = shape
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    weight = (rng.standard_normal((units, units)) / np.sqrt(2 * units)).astype(np.float32)
    h0, lengths = np.zeros((n, units), np.float32), rng.integers(1, shape[1] + 1, n)
    y, dx, dh0 = np.empty_like(x), np.empty_like(x), np.empty_like(h0)
    before, times, results = tinyconv.get_num_threads(), {}, []
    tinyconv.set_num_threads(1)
    try:
        for name, (forward, backward) in ways.items():

            def run(forward: Callable = forward, backward: Callable = backward) -> None:
                forward(x, weight, h0, lengths, False, True, y)
                backward(dy, y, weight, lengths, False, True, dx, dh0)

            run()
            results.append(dx.copy())
            times[name] = 1000 * float(np.median(timeit.repeat(run, number=1, repeat=15)))
    finally:
        tinyconv.set_num_threads(before)
    assert all(np.allclose(found, results[0], atol=1e-3) for found in results)
    return times


def on_cuda(rng: np.random.Generator) -> tuple[str, float]:
    """Return the GPU's name, or "simulator", and the largest difference of states and gradients from the CPU's.

    Without a GPU the kernels run in Numba's simulator, as in lesson 00. Four units only: it is slow.
    """
    try:
        no_gpu = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1").cuInit(0) != 0
    except OSError:  # no driver
        no_gpu = True
    os.environ.setdefault("NUMBA_ENABLE_CUDASIM", str(int(no_gpu)))
    numba.config.reload_config()  # before numba.cuda is imported
    x, weight, found = rng.standard_normal((3, 5, 4)), 0.5 * rng.standard_normal((4, 4)), {}
    for device in ("cpu", "cuda"):
        given = [tinyconv.tensor(a, requires_grad=True, device=device) for a in (x, weight)]
        y = F.rnn(*given, lengths=[5, 2, 0], nonlinearity="relu", reverse=True)
        (y * y).sum().backward()
        found[device] = [t.cpu().numpy() for t in (y.detach(), *(g.grad for g in given))]
    differences = [np.abs(a - b).max() for a, b in zip(found["cpu"], found["cuda"], strict=True)]
    return tinyconv.cuda.device_name(), float(max(differences))
