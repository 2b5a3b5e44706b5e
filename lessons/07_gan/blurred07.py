"""Blurred copies of training images, which Parzen windows take for better than any generator's. See :func:`blurred`."""

from __future__ import annotations

import numpy as np

from tinyconv.random import generator

NEAREST = 10  # training images to choose from


def blurred(images: np.ndarray, n: int = 10_000, near: int = 2, seed: int = 0) -> np.ndarray:
    """Return n means (n, ...) of a training image and ``near`` different ones of its ten nearest by Euclidean distance.

    Nothing was learnt: the image and its neighbours are drawn by the seed.
    """
    flat = images.reshape(len(images), -1).astype(np.float64)
    norms = np.square(flat).sum(axis=1)
    distances = norms[:, None] + norms - 2 * flat @ flat.T
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, NEAREST - 1, axis=1)[:, :NEAREST]
    rng = generator(seed, "blurred")
    first = rng.integers(0, len(images), n)
    others = rng.random((n, NEAREST)).argsort(axis=1)[:, :near]  # places among the nearest, no two alike
    sums = flat[first]
    for places in others.T:
        sums = sums + flat[nearest[first, places]]
    return (sums / (near + 1)).reshape(n, *images.shape[1:]).astype(images.dtype)
