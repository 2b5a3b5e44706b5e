"""AlexNet (Krizhevsky, Sutskever, Hinton 2012): five convolutions, three fully connected layers.

conv -> ReLU -> LRN -> pool in layers 1 and 2, conv -> ReLU in 3 and 4, conv -> ReLU -> pool in 5; then fc6, fc7 with
ReLU and dropout, and fc8. ``groups=2`` in conv2, conv4 and conv5 stands for the two GPUs that do not talk there:
channels [0, C/2) are GPU 0, [C/2, C) GPU 1. One tower with groups equals two, except that LRN sums across the seam.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinyconv import errors, nn
from tinyconv.models.registry import describe
from tinyconv.models.stack import Stack, check_scale, gaussian_, he_, wide


class Plan(NamedTuple):
    """Sizes of one scale: image, units of fc6 and fc7, and (filters, window, stride, padding) of conv1 to conv5."""

    image_size: dict[int, int]  # by in_channels; 0: any other
    hidden: int
    convolutions: tuple[tuple[int, int, int, int], ...]


# --------------------------------------------------------------------------------------------- the scales, in one table
# fmt: off
PLANS = {
    #                 image  fc6, 7  conv1           conv2           conv3           conv4           conv5
    "paper":  Plan({0: 227},    4096, ((96, 11, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1), (384, 3, 1, 1), (256, 3, 1, 1))),
    "modern": Plan({0: 224},    4096, ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))),
    "lesson": Plan({1: 28, 0: 32}, 256, ((32, 5, 1, 2), (64, 3, 1, 1), (96, 3, 1, 1), (96, 3, 1, 1), (64, 3, 1, 1))),
}
# fmt: on
GROUPS = (1, 2, 1, 2, 2)
NORMALISED, POOLED = (1, 2), (1, 2, 5)  # numbers of the convolutions that LRN or a pool follows
POOL = (3, 2)  # window and stride: overlapping, sec. 3.4
BIAS_ONE = ("conv2", "conv4", "conv5", "fc6", "fc7")  # sec. 5: gives the ReLUs positive inputs to begin with


class AlexNet(nn.Sequential):
    """The layers in order, by the names conv1, relu1, norm1, pool1, ..., fc8; see :func:`alexnet`."""


def alexnet(
    num_classes: int = 1000,
    *,
    variant: str = "paper",
    in_channels: int = 3,
    image_size: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> AlexNet:
    """Build AlexNet with initial weights.

    Parameters
    ----------
    num_classes : int
        Outputs of fc8: scores, before any softmax.
    variant : str
        "paper": groups of 2, LRN with the printed formula (k=2, alpha not divided by n), dropout that multiplies by 1/2
        when testing, weights N(0, 0.01^2) and biases 1 in conv2, conv4, conv5, fc6, fc7. 60,965,224 parameters.
        "ungrouped": the same without groups. 62,378,344 parameters.
        "torchvision": Krizhevsky 2014 ("One weird trick") as torchvision has it: 64-192-384-256-256 filters, no groups,
        no LRN, an adaptive pool to 6x6, today's dropout before fc6 and fc7, PyTorch's initial weights. 61,100,840.
    image_size : int
        Height and width of the input in pixels: 227 ("paper": without padding, 224 gives no whole number), 224
        ("torchvision"); "lesson": 28 for one channel, else 32.
    scale : str
        "paper", or "lesson": every ingredient at a size that trains on a laptop in a minute. It deviates in its initial
        weights, too: N(0, 2 / fan_in) (He et al. 2015) and biases 0, since 0.01 is made for the paper's fan-ins.
        AlexNetSGD with lr 0.05, a tenth of it in the last quarter, batches of 64 and 8 epochs over 10,000 images of
        Fashion-MNIST gave a test accuracy of 0.868.
    width : float
        Factor of all filters and hidden units (rounded to even numbers, for the groups).

    Raises
    ------
    ValueError
        An unknown variant or scale, or an image so small that nothing is left of it.
    """
    name = "alexnet"
    errors.check_choice(name, "variant", variant, ("paper", "ungrouped", "torchvision"))
    check_scale(name, scale, width)
    modern = variant == "torchvision"
    plan = PLANS["modern" if modern and scale == "paper" else scale]
    size = plan.image_size.get(in_channels, plan.image_size[0]) if image_size is None else image_size
    stack = Stack(name, in_channels, size, scale, {"device": device, "dtype": dtype})
    for number, (filters, kernel, stride, padding) in enumerate(plan.convolutions, 1):
        groups = GROUPS[number - 1] if variant == "paper" else 1
        stack.conv(number, wide(filters, width), kernel, stride, padding, groups)
        if number in NORMALISED and not modern:
            stack.norm(number)
        if number in POOLED:
            stack.pool(number, *POOL)
    if modern and scale == "paper" and stack.side:
        stack.layers["avgpool"] = nn.AdaptiveAvgPool2d(6)
        stack.side = 6
    stack.classifier(wide(plan.hidden, width), num_classes, inverted=modern, dropout_first=modern)
    model = AlexNet(stack.layers)
    if scale == "lesson":
        he_(model)
    elif not modern:
        gaussian_(model, 0.01, BIAS_ONE)
    return describe(
        model, name, (in_channels, size, size), num_classes=num_classes, variant=variant, in_channels=in_channels,
        image_size=size, scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip
