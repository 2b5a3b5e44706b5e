"""Shapes10: ten drawn shapes on coloured ground, made from a seed, for short experiments. See :func:`shapes10`."""

from __future__ import annotations

import numpy as np

from tinyconv.data.dataset import ArrayDataset, ImageTransform
from tinyconv.random import generator

SHAPE_CLASSES = [
    "disc", "ring", "square", "frame", "triangle", "plus", "cross", "horizontal stripes", "vertical stripes", "checker",
]  # fmt: skip
_GRADIENT = 0.1  # largest change of the background from the middle to a border, per axis; pixels span 1


class Shapes10(ArrayDataset):
    """The images of :func:`shapes10`, with the place of each shape.

    Attributes
    ----------
    boxes : array, (N, 4), float32
        The square around each shape: x1, y1, x2, y2 in pixels from the image's upper left corner.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, boxes: np.ndarray, transform: ImageTransform | None):
        super().__init__(images, labels, transform, SHAPE_CLASSES)
        self.boxes = boxes


def shapes10(
    n: int = 2000,
    size: int = 24,
    radius: tuple[float, float] = (5.0, 8.0),
    sigma: float = 0.15,
    seed: int = 0,
    transform: ImageTransform | None = None,
) -> Shapes10:
    """Draw n images (3, size, size), each with one of ten shapes.

    A random colour with a weak linear gradient is the background; the shape has a random centre and half-size; its
    colour differs from the background's by .35 to .65 (modulo 1) in every channel; then Gaussian noise is added and 0.5
    subtracted. Image i depends on (seed, i) only, its label is i modulo 10; the test set is another seed.

    Parameters
    ----------
    n : int
        Number of images.
    size : int
        Height and width in pixels.
    radius : (float, float)
        The half-size of a shape is uniform between these, in pixels; the whole shape lies inside the image.
    sigma : float
        Standard deviation of the noise; pixels before it lie in about [-.5, .5].
    seed : int
    transform : callable, optional
        (image, rng) -> image.

    Returns
    -------
    Shapes10
        A dataset with ``images`` float32, ``labels``, ``classes`` and ``boxes``.

    Raises
    ------
    ValueError
        n or sigma is negative, or the largest shape does not fit into the image.

    Examples
    --------
    >>> data = shapes10(20, seed=1)
    >>> data[13][0].shape, data.classes[data[13][1]]
    ((3, 24, 24), 'frame')
    """
    low, high = radius
    if n < 0 or sigma < 0:
        raise ValueError(f"shapes10: n and sigma must be at least 0, got n={n}, sigma={sigma}")
    if not 0 < low <= high <= size / 2:
        raise ValueError(f"shapes10: radius must be 0 < low <= high <= size / 2 = {size / 2:g}, got {radius}")
    images = np.empty((n, 3, size, size), np.float32)
    boxes = np.empty((n, 4), np.float32)
    for i in range(n):
        images[i], boxes[i] = _draw(i % 10, size, low, high, sigma, generator(seed, "shapes10", 0, i))
    return Shapes10(images, np.arange(n) % 10, boxes, transform)


def _draw(
    label: int, size: int, low: float, high: float, sigma: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return one image (3, size, size) and its box."""
    background, difference = rng.random(3), rng.uniform(0.35, 0.65, 3)
    r = rng.uniform(low, high)
    cx, cy = rng.uniform(r, size - r, 2)
    slope_y, slope_x = rng.uniform(-_GRADIENT, _GRADIENT, 2)
    pixel = np.arange(size) + 0.5  # centres of the pixels
    y, x = pixel[:, None], pixel[None, :]
    gradient = slope_y * (2 * y / size - 1) + slope_x * (2 * x / size - 1)
    u, v = np.broadcast_arrays((x - cx) / r, (y - cy) / r)
    inside = (np.maximum(np.abs(u), np.abs(v)) <= 1) & _shape(label, u, v)
    foreground = (background + difference) % 1
    image = np.where(inside, foreground[:, None, None], background[:, None, None] + gradient)
    image = image + sigma * rng.standard_normal(image.shape) - 0.5
    return image.astype(np.float32), np.array([cx - r, cy - r, cx + r, cy + r], np.float32)


def _shape(label: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return where shape ``label`` is; u to the right and v down, both -1..1 across the shape's box."""
    distance, side = np.hypot(u, v), np.maximum(np.abs(u), np.abs(v))
    match SHAPE_CLASSES[label]:
        case "disc":
            return distance <= 1
        case "ring":
            return (distance <= 1) & (distance >= 0.6)
        case "square":
            return side <= 1
        case "frame":
            return (side <= 1) & (side >= 0.65)
        case "triangle":
            return np.abs(u) <= (1 + v) / 2  # a point at the top, the whole width at the bottom
        case "plus":
            return (np.abs(u) < 0.3) | (np.abs(v) < 0.3)
        case "cross":
            return (np.abs(u - v) < 0.4) | (np.abs(u + v) < 0.4)
        case "horizontal stripes":
            return np.sin(6 * v) > 0
        case "vertical stripes":
            return np.sin(6 * u) > 0
        case _:
            return np.sin(5 * u) * np.sin(5 * v) > 0
