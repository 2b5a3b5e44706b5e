"""How far features move when an image is shifted, scaled or rotated. See :func:`invariance`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import device, errors
from tinyconv.evaluation import home
from tinyconv.explain.layers import as_images, check_model, evaluating, numbers, outputs_of, probabilities
from tinyconv.tensor import Tensor

TRANSFORMS = ("shift", "scale", "rotation")


class Invariance(NamedTuple):
    """What :func:`invariance` measured.

    Attributes
    ----------
    distances : array, (layers, N, amounts)
        Euclidean, from the features of the untransformed image.
    probabilities : array, (N, amounts)
        Of the true class, in [0, 1].
    """

    distances: np.ndarray
    probabilities: np.ndarray


def invariance(
    model: Any,
    images: Any,
    labels: Any,
    transform: str = "shift",
    amounts: Sequence[float] = (-4, -2, 0, 2, 4),
    layers: Sequence[str] = ("relu1", "relu7"),
    background: Any = 0.0,
) -> Invariance:
    """Transform images by several amounts; measure how far two layers' features move (Zeiler & Fergus 2014, fig. 5).

    Parameters
    ----------
    model : Module
        A classifier that gives scores (N, K). It runs in evaluation mode.
    images : array or Tensor, (N, C, H, W)
    labels : int or N ints
        The true classes.
    transform : {"shift", "scale", "rotation"}
        See :func:`transformed`: down by pixels, larger by a factor, counter-clockwise by degrees.
    amounts : sequence of float
    layers : sequence of str
        An early and a late one.
    background : float, or C floats
        What lies outside the image.

    Raises
    ------
    ValueError
        There is no such transform, layer or label; a scale is not positive.
    """
    op = "invariance"
    check_model(op, model)
    plain = as_images(op, model, images)
    pixels, names = device.host(plain.data), list(layers)
    if not names or not len(amounts):
        raise ValueError(f"{op}: wanted at least one layer and one amount, got {names} and {list(amounts)}")
    with evaluating(model):
        before, scores = outputs_of(op, model, names, plain, scores=True)
        truth = numbers(op, "labels", labels, len(pixels), scores.shape[1])
        distances = np.empty((len(names), len(pixels), len(amounts)))
        likely = np.empty((len(pixels), len(amounts)))
        for i, amount in enumerate(amounts):
            moved = transformed(pixels, transform, amount, background)
            after, scores = outputs_of(op, model, names, Tensor(device.move(moved, home(model))), scores=True)
            for j, name in enumerate(names):
                difference = (after[name] - before[name]).reshape(len(pixels), -1).astype(np.float64)
                distances[j, :, i] = np.sqrt((difference**2).sum(axis=1))
            likely[:, i] = probabilities(scores)[np.arange(len(pixels)), truth]
    return Invariance(distances, likely)


def transformed(images: np.ndarray, transform: str, amount: float, background: Any = 0.0) -> np.ndarray:
    """Return images (N, C, H, W) shifted, scaled or rotated about their middle, bilinearly.

    Every output pixel (y, x) looks up the place in the image that comes to lie there.

    Parameters
    ----------
    images : array, (N, C, H, W)
        Of floats; others become float32, since means of pixels are no whole numbers.
    transform : {"shift", "scale", "rotation"}
    amount : float
        "shift": pixels down; "scale": factor, 2 shows everything twice as large; "rotation": degrees counter-clockwise.
    background : float, or C floats
        What lies outside the image.
    """
    op = "transformed"
    errors.check_choice(op, "transform", transform, TRANSFORMS)
    if transform == "scale" and not amount > 0:
        raise ValueError(f"{op}: a scale must be positive, got {amount}")
    images = images if images.dtype.kind == "f" else images.astype(np.float32)
    height, width = images.shape[2:]
    ground = np.atleast_1d(np.asarray(background, images.dtype)).reshape(-1, 1, 1)
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    if transform == "shift":
        y = y - amount
    elif transform == "scale":
        y, x = y / amount, x / amount
    else:
        # Rows grow downwards: what comes to lie at (y, x) was turned the other way round before.
        c, s = np.cos(np.deg2rad(amount)), np.sin(np.deg2rad(amount))
        y, x = c * y + s * x, c * x - s * y
    return _bilinear(images - ground, y + (height - 1) / 2, x + (width - 1) / 2) + ground


def _bilinear(images: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return images (N, C, H, W) at real-valued places (H, W): the mean of four pixels, zero outside."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = images.shape[2:]
    # A border of zeros takes in everything beyond it. Rounding keeps whole-pixel shifts and quarter turns exact.
    y, x = np.clip(np.round(y, 9) + 1, 0, height + 1), np.clip(np.round(x, 9) + 1, 0, width + 1)
    top, left = np.minimum(y.astype(int), height), np.minimum(x.astype(int), width)
    fy, fx = (y - top).astype(images.dtype), (x - left).astype(images.dtype)
    upper = padded[:, :, top, left] * (1 - fx) + padded[:, :, top, left + 1] * fx
    lower = padded[:, :, top + 1, left] * (1 - fx) + padded[:, :, top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy
