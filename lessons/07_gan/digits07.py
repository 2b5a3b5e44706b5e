"""The digits of this lesson, and the small networks that are to be fooled. See :func:`digits`, :func:`network`.

Pixels are in [0, 1], as they come: nothing is normalised, so that an attack's eps is a share of the whole range.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

import tinyconv
from tinyconv import nn, optim
from tinyconv.data import ArrayDataset, DataLoader, mnist
from tinyconv.explain.adversarial import scores
from tinyconv.views import probabilities

TRAIN, TEST = 5000, 1000


@cache
def digits(split: str, n: int | None = None, side: int = 28) -> ArrayDataset:
    """Return the first n bundled digits, (n, 1, side, side) in [0, 1]; a smaller side takes means of 2x2 or 4x4."""
    source, block = mnist(split), 28 // side
    images = source.images[:n].astype(np.float32) / 255
    images = images.reshape(-1, 1, side, block, side, block).mean(axis=(3, 5), dtype=np.float32)
    return ArrayDataset(images, source.labels[:n], classes=source.classes)


def network(hidden: Sequence[int] = (), side: int = 28, seed: int = 0, activation: Any = nn.ReLU) -> nn.Sequential:
    """Return an untrained classifier of ten digits: fully connected layers of these widths; none is softmax regression.

    The loss adds the softmax. The seed gives the initial weights.
    """
    tinyconv.manual_seed(seed)
    layers, before = [nn.Flatten()], side * side
    for width in hidden:
        layers += [nn.Linear(before, width), activation()]
        before = width
    return nn.Sequential(*layers, nn.Linear(before, 10))


def learn(
    model: nn.Module,
    data: ArrayDataset,
    *,
    epochs: int = 20,
    seed: int = 0,
    lr: float = 0.1,
    weight_decay: float = 0.0,
    update: Any = None,
) -> nn.Module:
    """Train in place: SGD, rate 0.1, momentum 0.9, batches of 100; ``update`` as for ``tinyconv.fit``."""
    optimizer = optim.SGD(model.parameters(), lr, momentum=0.9, weight_decay=weight_decay)
    loader = DataLoader(data, 100, shuffle=True, seed=seed)
    tinyconv.fit(model, loader, optimizer=optimizer, epochs=epochs, seed=seed, update=update, progress=False)
    return model.eval()


def judge(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the share of wrong answers, and their mean confidence (the answer's probability; NaN if none is wrong)."""
    p = probabilities(scores(model, images))
    wrong = p.argmax(axis=1) != labels
    return float(wrong.mean()), float(p.max(axis=1)[wrong].mean()) if wrong.any() else float("nan")
