"""The sets of distorted digits, the networks and the training that this lesson's steps and claims share.

See :data:`SETS`, :func:`build`, :func:`learn`, :func:`judge`.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

import tinyconv
from tinyconv import models, optim
from tinyconv.data import DataLoader, DigitPairs, DistortedDigits
from tinyconv.explain.attended import centre, rotation, to_pixels
from tinyconv.models.spatial_transformer import parameter_groups

LR, BATCH = 0.002, 64  # Adam's rate, a fifth of it for the last three tenths of the epochs; digits per step
#: What differs from the paper's sets: "tc" at 42/60 of its size, smaller pairs.
SETS: dict[str, dict[str, Any]] = {
    "r": {},
    "rts": {},
    "p": {},
    "e": {},
    "tc": {"size": 42, "digit": 20, "clutter_side": 4},
    "pairs": {"size": 32, "angle": 30, "scale": (0.7, 0.9), "digits": range(5)},
    "pairs10": {"size": 32, "angle": 30, "scale": (0.7, 0.9)},
}
#: What the networks for a set are told besides its image size.
BUILT: dict[str, dict[str, Any]] = {
    "tc": {"transform": "attention", "out_size": 28, "start": 0.6},
    "pairs": {"out_size": 16, "start": 0.8, "budget": 101_000, "in_channels": 2, "num_classes": 9},
    "pairs10": {"out_size": 16, "start": 0.8, "budget": 101_000, "in_channels": 2, "num_classes": 19},
}


@cache
def digits(kind: str, split: str, seed: int = 0, n: int | None = None) -> Any:
    """Return a set of this lesson; "train" is drawn anew in every epoch, from all 5,000 training digits."""
    if kind.startswith("pairs"):
        return DigitPairs(split, n or 5000, seed=seed, **SETS[kind])
    return DistortedDigits(kind, split, n, seed=seed, hold_out=False, **SETS[kind])


def build(name: str, kind: str, seed: int, **options: Any) -> Any:
    """Return a network by the paper's name, such as "FCN", "ST-CNN" or "2xST-FCN", for a set."""
    size = digits(kind, "test", n=1)[0][0].shape[-1]
    arguments = {"image_size": size, "scale": "lesson", **BUILT.get(kind, {}), **options}
    if "ST" not in name:
        arguments["transform"] = None
        arguments = {key: value for key, value in arguments.items() if key not in ("out_size", "start")}
    if name.startswith("2x"):
        arguments["transformers"] = 2
    tinyconv.manual_seed(seed)
    return models.build("st_fcn" if name.endswith("FCN") else "st_cnn", **arguments)


def learn(model: Any, data: Any, epochs: int, seed: int, *, factor: float = 1.0, **fit: Any) -> Any:
    """Train by Adam; localisation networks learn at ``factor`` times the rate. Further keywords go to ``fit``."""
    optimizer = optim.Adam(parameter_groups(model, LR, factor), lr=LR)
    schedule = optim.MultiStepLR(optimizer, [math.ceil(0.7 * epochs)], 0.2)
    loader = DataLoader(data, BATCH, shuffle=True, seed=seed)
    fit = {"progress": False, **fit}
    return tinyconv.fit(model, loader, optimizer=optimizer, schedule=schedule, epochs=epochs, seed=seed, **fit)


def judge(model: Any, data: Any) -> float:
    """Return the test error, a share."""
    return 1 - tinyconv.evaluate(model, DataLoader(data, 500))["accuracy"]


def looks(model: Any, data: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return theta (count, numbers) and the grid (count, OH, OW, 2) of the first transformer for the first images."""
    images = tinyconv.tensor(np.stack([data[i][0] for i in range(count)]))
    first = model.transformers[0]
    with tinyconv.no_grad():
        theta = first.theta(images)
        grid, _ = first.look(images, theta)
    return theta.numpy(), grid.numpy()


def undone(model: Any, data: Any, count: int = 1000) -> float:
    """Return the correlation, over images, of the angle that the transformer turns back with the true one."""
    theta, _ = looks(model, data, count)
    found = rotation(theta[:, :6])  # a projective map's first six are the affine ones
    return correlation(found, rotation(np.stack([data.distorted(i).theta for i in range(count)])))


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return how two rows of numbers go together, -1 to 1; 0 where one of them does not move."""
    return float(np.corrcoef(one, other)[0, 1]) if min(one.std(), other.std()) > 1e-6 else 0.0


def centre_error(model: Any, data: Any, count: int = 1000) -> float:
    """Return the mean distance, in pixels of the input, from the middle of what is looked at to the digit's."""
    _, grid = looks(model, data, count)
    found = to_pixels(centre(grid), data[0][0].shape[1:])
    true = np.array([data.distorted(i).centre for i in range(count)])
    return float(np.linalg.norm(found - true, axis=1).mean())
