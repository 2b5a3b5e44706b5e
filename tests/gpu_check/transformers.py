"""Images, labels and the loss of a step of spatial transformer networks, with transformers off the whole pixels.

At a whole pixel the derivative jumps, and the first transformations are all of them there: a rounding of a position
would change a gradient altogether.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyconv
from benchmarks import networks
from tinyconv import Tensor

MODELS = ("st_cnn", "st_cub", "st_fcn", "st_svhn")


def batch(model: Any, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images and labels, of house numbers (N, 5)."""
    pixels, labels = networks.batch(model, images)
    if not hasattr(model, "sequence_error"):
        return pixels, labels
    shape = model(tinyconv.zeros(1, *model.input_shape)).shape
    return pixels, np.random.default_rng(1).integers(0, shape[2], (images, shape[1]))


def loss(model: Any, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of training."""
    return getattr(model, "loss", tinyconv.functional.cross_entropy)(outputs, labels)


def look_elsewhere(model: Any) -> None:
    """Change every last layer of a localisation network: other positions, and not the same for all images."""
    rng = np.random.default_rng(2)
    with tinyconv.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("theta.bias"):
                values = parameter.detach().numpy() * 0.87 + rng.uniform(-0.03, 0.03, parameter.shape)
            elif name.endswith("theta.weight"):
                values = rng.normal(0, 0.01, parameter.shape)
            else:
                continue
            parameter.copy_(Tensor(values.astype(parameter.dtype)))
