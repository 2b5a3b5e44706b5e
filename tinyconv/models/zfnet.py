"""ZF Net (Zeiler & Fergus 2013): AlexNet after a look inside, with a finer first layer and no groups.

conv -> ReLU -> pool -> normalise in layers 1 and 2 (AlexNet normalises before it pools), conv -> ReLU in 3 and 4,
conv -> ReLU -> pool in 5; then fc6, fc7 with ReLU and dropout, and fc8.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import errors, nn
from tinyconv.models.registry import describe
from tinyconv.models.stack import Stack, check_scale, gaussian_, he_, wide

# (filters, window, stride, padding) of conv1 to conv5. The paper prints sizes and no paddings: these give 110, 55, 26,
# 13, 13, 13, 13, 6 from 224 pixels, with pools that keep the last, incomplete window (ceil).
# fmt: off
SCALES = {
    #         image       fc6, 7  conv1          conv2           conv3           conv4           conv5
    "paper":  ({0: 224},       4096, ((96, 7, 2, 1), (256, 5, 2, 0), (384, 3, 1, 1), (384, 3, 1, 1), (256, 3, 1, 1))),
    "lesson": ({1: 28, 0: 32}, 256, ((32, 5, 1, 2), (64, 3, 1, 1), (96, 3, 1, 1), (96, 3, 1, 1), (64, 3, 1, 1))),
}
# fmt: on
# How many times as many filters conv3, conv4, conv5 have in model (b): 512, 1024, 512 (table 1).
WIDER = {"fig3": (1, 1, 1), "b": (512 / 384, 1024 / 384, 512 / 256)}
NORMALISED, POOLED = (1, 2), (1, 2, 5)  # numbers of the convolutions that LRN or a pool follows


class ZFNet(nn.Sequential):
    """The layers in order, by the names conv1, relu1, pool1, norm1, ..., fc8; see :func:`zfnet`."""


def zfnet(
    num_classes: int = 1000,
    *,
    variant: str = "fig3",
    in_channels: int = 3,
    image_size: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> ZFNet:
    """Build ZF Net with initial weights: N(0, 0.01^2), biases 0 (sec. 3).

    Train it with ``optimizer.register_step_post_hook(optim.renormalise_filters(model))``, the paper's rule for filters
    that grow too large.

    Parameters
    ----------
    num_classes : int
        Outputs of fc8: scores, before any softmax.
    variant : str
        "fig3": the network of figure 3. 62,357,608 parameters. "b": 512, 1024 and 512 filters in conv3, conv4 and
        conv5, the best single model of table 2. 107,627,624.
    image_size : int
        Height and width of the input in pixels: 224; "lesson": 28 for one channel, else 32.
    scale : str
        "paper", or "lesson": the same layers at a size that trains on a laptop in a minute or two, with initial
        weights after He et al. 2015.
    width : float
        Factor of all filters and hidden units (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown variant or scale, or an image so small that nothing is left of it.
    """
    name = "zfnet"
    errors.check_choice(name, "variant", variant, tuple(WIDER))
    check_scale(name, scale, width)
    sizes, hidden, convolutions = SCALES[scale]
    size = sizes.get(in_channels, sizes[0]) if image_size is None else image_size
    stack = Stack(name, in_channels, size, scale, {"device": device, "dtype": dtype})
    for number, (filters, *window), wider in zip(range(1, 6), convolutions, (1, 1, *WIDER[variant]), strict=True):
        stack.conv(number, wide(filters * wider, width), *window)
        if number in POOLED:
            stack.pool(number, 3, 2, ceil_mode=True)
        if number in NORMALISED:
            stack.norm(number)
    stack.classifier(wide(hidden, width), num_classes, inverted=False)
    model = ZFNet(stack.layers)
    if scale == "lesson":
        he_(model)
    else:
        gaussian_(model, 0.01)
    return describe(
        model, name, (in_channels, size, size), num_classes=num_classes, variant=variant, in_channels=in_channels,
        image_size=size, scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip
