"""VGG (Simonyan & Zisserman 2014): nothing but 3x3 convolutions, in six depths.

Five groups of convolutions (stride 1, padding 1, ReLU after each), a 2x2 max pool after each group; then fc6, fc7 with
ReLU and dropout, and fc8. conv3_2 is the second convolution of the third group.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import errors, nn
from tinyconv.function import no_grad
from tinyconv.models.registry import describe
from tinyconv.models.stack import Stack, check_scale, he_, weighted, wide
from tinyconv.nn import init

# Window sizes of the convolutions in each of the five groups (table 1). A-LRN is A with LRN after conv1_1.
CONFIGS = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "A-LRN": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)),
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}
# fmt: off
SCALES = {
    #         image  fc6, 7  filters of the five groups
    "paper":  (224,  4096,   (64, 128, 256, 512, 512)),
    "lesson": (32,   256,    (16, 32, 64, 128, 128)),
}
# fmt: on
# What deeper nets take over from a trained A (sec. 3.1): its first four convolutions and the fully connected layers.
SHARED = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8")


class VGG(nn.Sequential):
    """The layers in order, by the names conv1_1, relu1_1, ..., pool5, flatten, fc6, ..., fc8; see :func:`vgg`."""

    @no_grad()
    def init_from(self, shallower: nn.Module) -> list[str]:
        """Copy the first four convolutions and the fully connected layers of a trained configuration A (sec. 3.1).

        Returns
        -------
        list of str
            The names of the layers copied.

        Raises
        ------
        ValueError
            A layer is missing in ``shallower`` or has another shape; nothing is copied then.
        """
        if not isinstance(shallower, nn.Module):
            raise TypeError(f"VGG.init_from: wanted a vgg of config A, got {type(shallower).__name__}")
        own, given = dict(weighted(self)), dict(weighted(shallower))
        for name in SHARED:
            wanted, got = own[name].weight.shape, given[name].weight.shape if name in given else "no such layer"
            if wanted != got:
                raise ValueError(f"VGG.init_from: {name}.weight must be {wanted}, got {got}; give a vgg of config A")
        for name in SHARED:
            for parameter, source in zip(own[name].parameters(), given[name].parameters(), strict=True):
                parameter.copy_(source)
        return list(SHARED)


def vgg(
    num_classes: int = 1000,
    *,
    config: str = "D",
    batch_norm: bool = False,
    in_channels: int = 3,
    image_size: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> VGG:
    """Build a VGG network with initial weights.

    The paper draws them from N(0, 0.1^2), with which deep configurations do not train unless they begin with the
    weights of A (:meth:`VGG.init_from`). Its authors found afterwards that Glorot and Bengio's draw (2010) makes that
    unnecessary: it is used here, with biases 0.

    Parameters
    ----------
    num_classes : int
        Outputs of fc8: scores, before any softmax.
    config : str
        Of table 1, by weight layers: "A" 11 (132,863,336 parameters), "A-LRN" the same with one normalisation, "B" 13
        (133,047,848), "C" 16, three of them 1x1 (133,638,952), "D" 16 (138,357,544), "E" 19 (143,667,240). PyTorch's
        torchvision calls A, B, D, E vgg11, vgg13, vgg16, vgg19.
    batch_norm : bool
        Batch normalisation (bn1_1, ...) between each convolution and its ReLU: torchvision's vgg16_bn, not the paper's.
    image_size : int
        Height and width of the input in pixels: 224; "lesson": 32.
    scale : str
        "paper", or "lesson": a quarter of the filters, 256 hidden units, and weights after He et al. 2015.
    width : float
        Factor of all filters and hidden units (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown configuration or scale, or an image so small that nothing is left of it.
    """
    name = "vgg"
    errors.check_choice(name, "config", config, tuple(CONFIGS))
    check_scale(name, scale, width)
    default, hidden, filters = SCALES[scale]
    size = default if image_size is None else image_size
    where = {"device": device, "dtype": dtype}
    stack = Stack(name, in_channels, size, scale, where)
    for group, kernels in enumerate(CONFIGS[config], 1):
        for number, kernel in enumerate(kernels, 1):
            stack.conv(f"{group}_{number}", wide(filters[group - 1], width), kernel, 1, kernel // 2)
            if batch_norm:
                _insert_norm(stack, f"{group}_{number}")
            if config == "A-LRN" and group == 1:
                stack.norm(1)
        stack.pool(group, 2, 2)
    stack.classifier(wide(hidden, width), num_classes, inverted=True)
    model = VGG(stack.layers)
    if scale == "lesson":
        he_(model)
    else:
        _glorot_(model)
    return describe(
        model, name, (in_channels, size, size), num_classes=num_classes, config=config, batch_norm=batch_norm,
        in_channels=in_channels, image_size=size, scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip


def _insert_norm(stack: Stack, part: str) -> None:
    """Put ``bn<part>`` before the ReLU that was added last."""
    relu = stack.layers.pop(f"relu{part}")
    stack.layers |= {f"bn{part}": nn.BatchNorm2d(stack.channels, **stack.where), f"relu{part}": relu}


def _glorot_(model: VGG) -> None:
    for _, layer in weighted(model):
        init.xavier_uniform_(layer.weight)
        init.zeros_(layer.bias)
