"""What the game in one dimension is played with: densities, samples, a small discriminator. See step 4."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyconv
from tinyconv import nn, optim
from tinyconv.nn import functional as F
from tinyconv.tensor import Tensor

GRID = np.linspace(-5, 5, 201)
HILLS, DEVIATION, BROAD = (-2.0, 1.5), 0.6, 1.5


def gauss(x: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Return the density of a normal distribution at x."""
    return np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))


def hills(x: np.ndarray) -> np.ndarray:
    """Return the density of the data: half around -2, half around 1.5."""
    return (gauss(x, HILLS[0], DEVIATION) + gauss(x, HILLS[1], DEVIATION)) / 2


def from_hills(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return n samples of it."""
    return rng.normal(np.where(rng.random(n) < 0.5, *HILLS), DEVIATION)


def broad(x: np.ndarray) -> np.ndarray:
    """Return the density of one broad hill around 0, which is not like the data."""
    return gauss(x, 0, BROAD)


def from_broad(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return n samples of it."""
    return rng.normal(0, BROAD, n)


def column(values: np.ndarray) -> Tensor:
    """Return N numbers, or N points (N, dim), as a batch."""
    return tinyconv.tensor(np.asarray(values, np.float32).reshape(len(values), -1))


def discriminator(seed: int, dim: int = 1) -> nn.Sequential:
    """Return an untrained network of two hidden layers of 64 tanh; its output is a logit s, and D = sigmoid(s)."""
    tinyconv.manual_seed(seed)
    return nn.Sequential(nn.Linear(dim, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))


def believe(D: nn.Module, places: np.ndarray) -> np.ndarray:
    """Return D at some places (N,) or (N, dim)."""
    with tinyconv.no_grad():
        return F.sigmoid(D(column(places))).numpy().ravel().astype(float)


def descend(optimizer: optim.Optimizer, loss: Tensor) -> None:
    """Do one step down a loss. Only the optimizer's own weights move, whoever else has got a gradient."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def draw(axis: Any, p: np.ndarray, q: np.ndarray, D: np.ndarray, title: str) -> None:
    """Draw the data's density p, the generator's q (a density on the grid, or samples), D, and D* of two densities."""
    axis.plot(GRID, p, "k", label="p, data")
    if len(q) == len(GRID):
        axis.plot(GRID, q, "C2", label="q, generator")
        axis.plot(GRID, p / (p + q), "C0--", lw=4, alpha=0.4, label="D* = p / (p + q)")
    else:
        axis.hist(q, 50, range=(GRID[0], GRID[-1]), density=True, color="C2", alpha=0.6, label="samples of G")
    axis.plot(GRID, D, "C0", label="D, learnt")
    axis.set(title=title, xlabel="x", ylim=(0, 1.05))
