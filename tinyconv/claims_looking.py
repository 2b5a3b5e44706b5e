"""Do explanations of a network find the object? Measured where boxes are known. See :func:`harm`, :func:`energy`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import explain, nn


def inside(box: np.ndarray, y: Any, x: Any) -> Any:
    """Return whether points lie in a box x1, y1, x2, y2 (pixels, +0 convention)."""
    return (box[0] <= x) & (x < box[2]) & (box[1] <= y) & (y < box[3])


def harm(
    model: nn.Module, pixels: np.ndarray, labels: np.ndarray, boxes: np.ndarray, size: int, stride: int, layer: str
) -> dict[str, float]:
    """Slide a square of zeros over images; return how often it does most harm where the object is, and how likely.

    A square counts as inside if its centre is in the object's box.

    Parameters
    ----------
    pixels : array, (N, C, H, W)
    labels : array, (N,)
        The true classes.
    boxes : array, (N, 4)
        x1 y1 x2 y2 in pixels.
    size, stride : int
        Side of the square and its step, in pixels.
    layer : str
        Whose strongest map is followed.

    Returns
    -------
    dict of float
        Means over the images. ``probability``: share of images in which the lowest probability of the true class is
        inside; ``activity``: the same for the lowest activity of the map. ``chance``: share of positions that are
        inside. ``other``: as ``probability``, with the box of the next image in place of the own one: what finding the
        middle of the image would give. ``p_inside``, ``p_outside``: mean probability over positions there.
    """
    found: dict[str, list[float]] = {}
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        maps = explain.occlusion(model, image, int(label), size=size, stride=stride, value=0.0, layer=layer)
        centres = np.moveaxis(maps.positions, 2, 0) + size / 2
        own, next_one = inside(boxes[i], *centres), inside(boxes[(i + 1) % len(boxes)], *centres)
        worst = maps.probability.argmin()
        means = [maps.probability[where].mean() if where.any() else np.nan for where in (own, ~own)]
        for name, value in {
            "probability": own.flat[worst],
            "activity": own.flat[maps.activity.argmin()],
            "chance": own.mean(),
            "other": next_one.flat[worst],
            "p_inside": means[0],
            "p_outside": means[1],
        }.items():
            found.setdefault(name, []).append(float(value))
    return {name: round(float(np.nanmean(value)), 4) for name, value in found.items()}


def energy(model: nn.Module, pixels: np.ndarray, boxes: np.ndarray, layer: str, k: int = 9) -> dict[str, float]:
    """Project each map's k strongest activations, in k images; return where the squares of the pixels are.

    Maps without k activations above zero are left out.

    Parameters
    ----------
    pixels : array, (N, C, H, W)
    boxes : array, (N, 4)
        x1 y1 x2 y2 in pixels.
    layer : str
    k : int

    Returns
    -------
    dict of float
        ``projections``: how many. ``field``: share within the unit's receptive field, the least of all. ``box``: share
        within the object's box, in the mean. ``area``: the box's share of the image. ``other``: share within the box of
        the next image. A pixel is in a box if its centre is.

    Raises
    ------
    ValueError
        No map of the layer has k activations above zero.
    """
    height, width = pixels.shape[2:]
    y, x = np.mgrid[:height, :width] + 0.5
    masks = np.stack([inside(box, y, x) for box in boxes])
    field, rows = explain.receptive_field(model, layer), []
    top = explain.top_activations(model, pixels, layer, k)
    for index in np.flatnonzero(top.values[:, -1] > 0):
        chosen, places = top.images[index], top.positions[index]
        projections = explain.deconvnet(model, pixels[chosen], layer, int(index), position=places)
        for one, i, (row, column) in zip(projections.astype(np.float64), chosen, places, strict=True):
            share = (one**2).sum(axis=0) / (one**2).sum()
            y1, x1, y2, x2 = field.box(int(row), int(column), (height, width))
            shares = share[y1:y2, x1:x2].sum(), share[masks[i]].sum(), share[masks[(i + 1) % len(masks)]].sum()
            rows.append((*shares, masks[i].mean()))
    if not rows:
        raise ValueError(
            f"energy: no map of {layer!r} has {k} activations above zero in {len(pixels)} images; "
            "choose another layer, or fewer activations (k)"
        )
    within, box, other, area = np.array(rows).T
    means = {"box": box.mean(), "area": area.mean(), "other": other.mean()}
    return {"projections": len(rows), "field": round(float(within.min()), 9)} | {
        name: round(float(value), 4) for name, value in means.items()
    }


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine between corresponding rows, images ...; 0 where one of them is all zeros."""
    a, b = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1), 0)
