"""Images and the loss of a step of generators: both networks' losses added, on latent points that are always the same.

What training does in two steps is one here, so that every parameter has a gradient to compare.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import Tensor, device
from tinyconv.generative.algorithm import discriminator_loss, generator_loss


def batch(model: Any, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images, and as labels their numbers, which nobody looks at."""
    pixels = np.random.default_rng(0).random((images, *model.image_shape), np.float32)
    return pixels, np.arange(images)


def loss(model: Any, images: Tensor) -> Tensor:
    """Return the sum over all pairs of networks of the discriminator's and the generator's loss."""
    total: Any = 0.0
    for pair in model.pairs(images):
        points = pair.networks.latent(len(images), stream=f"gpu-check{pair.name}").astype(images.dtype)
        fake = pair.networks.fake(Tensor(device.move(points, images.device)), pair.condition)
        real, judged = (pair.networks.judge(part, pair.condition) for part in (pair.real, fake))
        total = total + discriminator_loss(real, judged) + generator_loss(judged)
    return total
