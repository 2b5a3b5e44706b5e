"""What a transformer takes back of angle, size and place, and how much a turn changes what comes out. See step 9."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from digits09 import build, correlation, digits, learn

import tinyconv
from tinyconv.data import warps
from tinyconv.explain.attended import centre, rotation, scale, to_pixels

ANGLES = np.arange(-180, 181, 15)
NAMES = ("angle", "scale", "x", "y")


class Looked(NamedTuple):
    """What is known of N images, and what the transformer says: angle, scale, and x, y of the middle in pixels."""

    true: np.ndarray  # (N, 4)
    found: np.ndarray  # (N, 4)
    mirrored: float  # share of the maps

    def correlations(self) -> list[float]:
        """Return the four correlations of found with true; 0 where nothing moves."""
        return [correlation(true, found) for true, found in zip(self.true.T, self.found.T, strict=True)]


def numbers(theta: np.ndarray, grid: np.ndarray, size: int) -> np.ndarray:
    """Return (N, 4): angle in degrees, scale, and the middle in pixels."""
    return np.column_stack([rotation(theta), scale(theta), to_pixels(centre(grid), (size, size))])


def looked(model: Any, images: np.ndarray, truths: list[Any]) -> Looked:
    """Compare what the transformer says of images with how they were drawn."""
    theta, grid = thetas(model, images), model.attended(tinyconv.tensor(images))[0][0]
    size = images.shape[-1]
    true = np.array([[t.angle, scale(t.theta[None])[0], *t.centre] for t in truths])
    mirrored = np.linalg.det(theta.reshape(-1, 2, 3)[:, :, :2]) < 0
    return Looked(true, numbers(theta, grid, size), float(mirrored.mean()))


def thetas(model: Any, images: np.ndarray) -> np.ndarray:
    """Return theta (N, 6) of the first transformer."""
    with tinyconv.no_grad():
        return model.transformers[0].theta(tinyconv.tensor(images)).numpy()


def probabilities(model: Any, images: np.ndarray) -> np.ndarray:
    """Return (N, 10)."""
    with tinyconv.no_grad():
        scores = model(tinyconv.tensor(images)).numpy().astype(np.float64)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def turned(upright: np.ndarray, size: int) -> np.ndarray:
    """Return upright digits (N, 1, d, d) turned by ANGLES in the middle of an image: (angles, N, 1, size, size)."""
    part = (upright.shape[-1] - 1) / (size - 1)
    grids = []
    for angle in ANGLES.tolist():
        a, b, c, d = warps.turn(angle, part)
        grids.append(warps.affine_positions(np.array([[a, b, 0], [c, d, 0]]), size))
    return np.array([[warps.warp(image[None], grid) for image in upright] for grid in grids])


def apart(pictures: np.ndarray) -> np.ndarray:
    """Return by angle how far pictures (angles, N, ...) are from those at 0, in parts of two digits' distance."""
    flat = pictures.reshape(*pictures.shape[:2], -1)
    zero = flat[len(flat) // 2]
    others = np.linalg.norm(zero - np.roll(zero, 1, axis=0), axis=1).mean()
    return np.linalg.norm(flat - zero, axis=2).mean(axis=1) / others


def blame(seen: Looked, wrong: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return the median miss of right and of wrong images: degrees of angle, pixels of place, each from the mean."""
    off = seen.found - seen.true
    off -= off.mean(axis=0)
    missed = {"angle": np.abs(off[:, 0]), "place": np.linalg.norm(off[:, 2:], axis=1)}
    return {name: (float(np.median(m[~wrong])), float(np.median(m[wrong]))) for name, m in missed.items()}


class Turn(NamedTuple):
    """What happens to N digits that are turned by each of ANGLES."""

    images: np.ndarray  # (angles, N, 1, size, size)
    grids: np.ndarray  # (angles, N, OH, OW, 2)
    outputs: np.ndarray  # (angles, N, 1, OH, OW)
    back: np.ndarray  # (angles, N), degrees that the transformer turns, more than at 0 degrees
    probabilities: np.ndarray  # (angles, N), of the right class


def through_a_turn(model: Any, upright: np.ndarray, labels: np.ndarray, size: int) -> Turn:
    """Turn upright digits (N, 1, d, d) and let the model see them."""
    images = turned(upright, size)
    together, shape = images.reshape(-1, *images.shape[2:]), images.shape[:2]
    [(grids, outputs)] = model.attended(tinyconv.tensor(together))
    angles = rotation(thetas(model, together)).reshape(shape)
    back = (angles - angles[len(ANGLES) // 2] + 180) % 360 - 180
    p = probabilities(model, together).reshape(*shape, -1)[:, np.arange(len(labels)), labels]
    return Turn(images, grids.reshape(*shape, *grids.shape[1:]), outputs.reshape(*shape, *outputs.shape[1:]), back, p)


def drift(seed: int, factor: float, epochs: int, n: int | None) -> np.ndarray:
    """Train ST-CNN on RTS; return (epochs, 2): how far theta's mean has moved, how far thetas are apart.

    Both are Euclidean over theta's six numbers, of 200 test images; apart: standard deviations. The localisation
    network learns at ``factor`` times the rate.
    """
    test, model, rows = digits("rts", "test", seed), build("ST-CNN", "rts", seed), []
    images = np.stack([test[i][0] for i in range(200)])
    start = thetas(model, images).mean(axis=0)

    def look(state: Any) -> None:
        found = thetas(model, images)
        rows.append([np.linalg.norm(found.mean(axis=0) - start), np.linalg.norm(found.std(axis=0))])

    learn(model, digits("rts", "train", seed, n), epochs, seed, factor=factor, callbacks=[look])
    return np.array(rows)
