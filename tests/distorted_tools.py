"""Sampling in plain NumPy, float64: what the warps of the data sets are compared with."""

import numpy as np


def bilinear(image, x, y):
    """Return the image (h, w) at positions in pixels, 0 outside, by the definition: a sum over all pixels."""
    height, width = image.shape
    across = np.maximum(0, 1 - abs(x[..., None] - np.arange(width)))
    down = np.maximum(0, 1 - abs(y[..., None] - np.arange(height)))
    return np.einsum("...h,...w,hw->...", down, across, image.astype(np.float64), optimize=True)


def seen_by(theta, image, side):
    """Return what the grid of theta (2, 3) shows of an image (h, w): (side, side); -1 and 1 are pixels' centres."""
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    u, v = (np.asarray(theta) @ np.stack([x.ravel(), y.ravel(), np.ones(side * side)])).reshape(2, side, side)
    return bilinear(image, (u + 1) / 2 * (image.shape[1] - 1), (v + 1) / 2 * (image.shape[0] - 1))


class Told:
    """A generator whose next numbers are told; normal ones are all 0."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self, count=None):
        taken = [self.numbers.pop(0) for _ in range(count or 1)]
        return np.array(taken) if count else taken[0]

    def standard_normal(self, shape):
        return np.zeros(shape)
