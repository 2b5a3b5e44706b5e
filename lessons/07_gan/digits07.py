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
from tinyconv.explain.adversarial import distortion, scores
from tinyconv.random import generator
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


def rivals(z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return 1 for the right class, -1 for the best other one by the scores z (N, 10), and 0 elsewhere, (N, 10)."""
    own = np.eye(10, dtype=np.float32)[labels]
    return own - np.eye(10, dtype=np.float32)[np.where(own, -np.inf, z).argmax(axis=1)]


#: Szegedy's networks as far as they are tried here: hidden layers, weight decay of SGD, activation. In the paper the
#: loss has decay * |w|^2 / units; with ten units that is a fifth of it in SGD's terms, so FC10(1) has 0.2 here.
SZEGEDY: dict[str, tuple[tuple[int, ...], float, Any]] = {
    "FC10(1e-4)": ((), 2e-5, nn.ReLU),
    "FC10(1e-2)": ((), 2e-3, nn.ReLU),
    "FC10(1)": ((), 0.2, nn.ReLU),
    "FC100-100-10": ((100, 100), 0.0, nn.Sigmoid),
}


def szegedy(name: str, data: ArrayDataset, *, epochs: int = 20, seed: int = 0) -> nn.Module:
    """Return one of them, trained, the rate by what it can bear.

    0.1 for FC10, 0.3 for the sigmoids, since their slopes are small, and 0.01 for FC10(1): its decay keeps the weights
    so small that at 0.1 what a batch adds is as large as they are, and the network is that of the last few batches.
    """
    hidden, decay, activation = SZEGEDY[name]
    lr = {"FC10(1)": 0.01, "FC100-100-10": 0.3}.get(name, 0.1)
    model = network(hidden, seed=seed, activation=activation)
    return learn(model, data, epochs=epochs, seed=seed, lr=lr, weight_decay=decay)


def noise_like(images: np.ndarray, changed: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the images with Gaussian noise, not clipped, in each of exactly the root mean square of its change."""
    draws = [generator(seed, "noise", index=i).standard_normal(images.shape[1:]) for i in range(len(images))]
    noise = np.stack(draws)
    scale = distortion(images, changed) / np.sqrt((noise**2).mean(axis=(1, 2, 3)))
    return (images + scale[:, None, None, None] * noise).astype(images.dtype)
