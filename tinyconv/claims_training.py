"""The small networks and the training with which lessons try a paper's claims. See :func:`network`, :func:`train`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tinyconv
from tinyconv import nn, optim
from tinyconv.data import ArrayDataset, DataLoader, Dataset, shapes10
from tinyconv.nn import functional as F
from tinyconv.random import training_step
from tinyconv.tensor import Tensor

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
BATCH, EVERY = 32, 20


def network(
    widths: list[int],
    *,
    kernel: int = 5,
    pooled: list[bool] | None = None,
    activation: str = "relu",
    pool: tuple[int, int, int] = (2, 2, 0),
    lrn: bool = False,
    hidden: list[int] | None = None,
    dropout: float = 0.0,
    size: int = 24,
) -> nn.Sequential:
    """Return convolutions with an activation and, where ``pooled``, a max pool each, then fully connected layers to 10.

    ``pool`` is (size, stride, padding). ``lrn`` normalises after the first two activations, with AlexNet's constants.
    Images are (3, size, size); convolutions keep the size; ``pooled`` None: every one has a pool.
    """
    layers: list[nn.Module] = []
    channels, side = 3, size
    for i, width in enumerate(widths):
        layers += [nn.Conv2d(channels, width, kernel, padding=kernel // 2), ACTIVATIONS[activation]()]
        if lrn and i < 2:
            layers.append(nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0, alpha_over_size=False))
        if pooled is None or pooled[i]:
            layers.append(nn.MaxPool2d(pool[0], pool[1], pool[2]))
            side = (side + 2 * pool[2] - pool[0]) // pool[1] + 1
        channels = width
    layers.append(nn.Flatten())
    inputs = channels * side * side
    for units in hidden or []:
        layers += [nn.Linear(inputs, units), ACTIVATIONS[activation](), nn.Dropout(dropout)]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


def initialise(model: nn.Module, how: str) -> None:
    """Set the weights: "gaussian" (std .01 in the first layer, .03 after), "he" or "xavier"; biases 0."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    for i, weight in enumerate(weights):
        if how == "gaussian":
            nn.init.normal_(weight, 0.0, 0.01 if i == 0 else 0.03)
        elif how == "he":
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        else:
            nn.init.xavier_normal_(weight)
    for bias in (p for p in model.parameters() if p.ndim == 1):
        nn.init.zeros_(bias)


def images(n: int, sigma: float, seed: int, scale: float = 1.0, **options: Any) -> ArrayDataset:
    """Return n images of Shapes10, their values (centred, within about -.5 to .5) times ``scale``.

    Further keywords go to :func:`~tinyconv.data.shapes10`.
    """
    drawn = shapes10(n, sigma=sigma, seed=seed, **options)
    return ArrayDataset(drawn.images * np.float32(scale), drawn.labels)


def judge(model: nn.Module, dataset: ArrayDataset) -> tuple[float, float]:
    """Return error and mean loss."""
    with np.errstate(all="ignore"):  # a rate that is too high blows the weights up; its error says so
        found = tinyconv.evaluate(model, DataLoader(dataset, 500))
    return 1 - found["accuracy"], found["loss"]


def train(
    model: nn.Module,
    dataset: Dataset,
    steps: int,
    lr: float,
    weight_decay: float = 0.0,
    seed: int = 0,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    optimizer: optim.Optimizer | None = None,
    every: int = EVERY,
) -> Iterator[int]:
    """Train by SGD with momentum 0.9 and batches of 32; yield the step's number after every ``every``-th step.

    ``loss`` takes the model's outputs and the labels. An ``optimizer`` replaces the SGD (``lr`` and ``weight_decay``
    are then ignored). It is a generator: nothing happens until it is looped over, and whoever leaves the loop ends the
    training. ``model`` is in training mode afterwards.
    """
    optimizer = optimizer or optim.SGD(model.parameters(), lr, momentum=0.9, weight_decay=weight_decay)
    loader, step = DataLoader(dataset, BATCH, shuffle=True, drop_last=True, seed=seed), 0
    model.train()
    while step < steps:
        for batch in loader:
            with np.errstate(all="ignore"), training_step(step, batch.indices):
                optimizer.zero_grad()
                loss(model(batch.images), batch.labels).backward()
                optimizer.step()
            step += 1
            if step % every == 0:
                yield step
            if step == steps:
                return
