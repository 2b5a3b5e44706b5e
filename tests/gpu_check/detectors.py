"""Images, targets and the loss of a detector's step; what both devices compute must not depend on a rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import Tensor, device
from tinyconv.models.fast_rcnn import multitask_loss
from tinyconv.vision.targets import pack_targets, unpack_targets


def batch(model: Any, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images, each with two objects and eight proposals, and their targets."""
    rng = np.random.default_rng(0)
    height, width = model.input_shape[1:]
    boxes = np.array([[0.1, 0.1, 0.4, 0.5], [0.5, 0.4, 0.9, 0.8]]) * [width, height, width, height]
    proposals = boxes.repeat(4, 0) + rng.uniform(-0.05, 0.05, (8, 4)) * min(height, width)
    one = pack_targets((height, width), boxes, np.array([0, 1]), proposals)
    pixels = rng.standard_normal((images, *model.input_shape)).astype(np.float32)
    return pixels, np.repeat(one[None], images, 0)


def loss(model: Any, outputs: Any, targets: Tensor) -> Tensor:
    """Return the loss on the given proposals; of Faster R-CNN's own, a rounding may exchange two."""
    found = unpack_targets(device.host(targets.data))
    value = multitask_loss(model.learn(model.maps(outputs), found, [image.proposals for image in found]))
    return value + model.regions_loss(outputs, found) if hasattr(model, "regions") else value
