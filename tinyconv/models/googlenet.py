"""GoogLeNet (Szegedy et al. 2014): nine Inception modules, and two classifiers on the way that only training uses."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinyconv import errors, nn
from tinyconv.models.inception import ConvNormReLU, ConvReLU, Inception, Unit, Widths
from tinyconv.models.registry import describe
from tinyconv.models.stack import check_image_size, check_scale, wide
from tinyconv.nn import functional as F
from tinyconv.nn import init
from tinyconv.tensor import Tensor

# Table 1: filters of 1x1 | 1x1 then 3x3 | 1x1 then 5x5 | 1x1 after the pool.
MODULES = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
STEM = (64, 64, 192)  # filters of conv1, conv2_reduce, conv2
AUX_AFTER = {"4a": "aux1", "4d": "aux2"}
AUX_WEIGHT = 0.3  # of either auxiliary loss (sec. 5)


class Outputs(NamedTuple):
    """What GoogLeNet puts out in training: (N, num_classes) scores of the classifier and of the two on the way."""

    scores: Tensor
    aux1: Tensor
    aux2: Tensor


class AuxiliaryHead(nn.Sequential):
    """A classifier on the maps of 4a or 4d (sec. 5): average 5x5 with stride 3, 1x1, two layers, dropout 0.7.

    torchvision's averages to 4x4 maps of whatever size instead: windows of 4x4 of the 14x14 maps.
    """

    def __init__(
        self, channels: int, hidden: tuple[int, int], side: int, num_classes: int, unit: Unit, where: dict[str, Any]
    ) -> None:
        filters, units = hidden
        super().__init__(
            {
                "pool": nn.AdaptiveAvgPool2d(side) if unit is ConvNormReLU else nn.AvgPool2d(5, 3),
                "conv": unit(channels, filters, 1, **where),
                "flatten": nn.Flatten(),
                "fc1": nn.Linear(filters * side * side, units, **where),
                "relu": nn.ReLU(),
                "dropout": nn.Dropout(0.7),
                "fc2": nn.Linear(units, num_classes, **where),
            }
        )


class GoogLeNet(nn.Module):
    """See :func:`googlenet`; made of a dictionary of layers in their order, and of the auxiliary heads."""

    def __init__(self, layers: dict[str, nn.Module], heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self._trunk = list(layers)
        for name, layer in (layers | heads).items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        """Map (N, C, H, W) to scores (N, num_classes), in training with auxiliary heads to :class:`Outputs`."""
        side: dict[str, Tensor] = {}
        for name in self._trunk:
            x = self.get_submodule(name)(x)
            head = AUX_AFTER.get(name.removeprefix("inception_"), "")
            if self.training and head in self._modules:
                side[head] = self.get_submodule(head)(x)
        return Outputs(x, **side) if side else x

    @staticmethod
    def loss(outputs: Any, labels: Tensor) -> Tensor:
        """Return the cross-entropy of the scores, plus 0.3 of each auxiliary one's in training."""
        if not isinstance(outputs, Outputs):
            return F.cross_entropy(outputs, labels)
        main, *others = (F.cross_entropy(scores, labels) for scores in outputs)
        return main + AUX_WEIGHT * sum(others[1:], others[0])


def googlenet(
    num_classes: int = 1000,
    *,
    variant: str = "paper",
    aux: bool = True,
    in_channels: int = 3,
    image_size: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> GoogLeNet:
    """Build GoogLeNet with initial weights.

    Train it with ``loss=GoogLeNet.loss``: main + 0.3 aux1 + 0.3 aux2.

    Parameters
    ----------
    num_classes : int
        Outputs of each classifier: scores, before any softmax.
    variant : str
        "paper": local response normalisation, pools that keep the last incomplete window, 5x5 windows in the third
        branch, weights after Glorot and Bengio 2010 and biases 0.2 (the paper gives none; these are its Caffe
        port's). 13,378,280 parameters, 6,998,552 without the auxiliary classifiers.
        "torchvision": batch normalisation, no LRN, and 3x3 instead of 5x5, as torchvision has it. 13,004,888 and
        6,624,904.
    aux : bool
        Whether it has the auxiliary classifiers.
    image_size : int
        Height and width of the input in pixels: 224; "lesson": 28 for one channel, else 32. Without auxiliary
        classifiers any size of at least 47 ("lesson": 12) works.
    scale : str
        "paper", or "lesson": a quarter of the filters, and a first layer of 3x3 without stride.
    width : float
        Factor of all filters and hidden units (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown variant or scale, or an image so small that an auxiliary classifier sees nothing.
    """
    name = "googlenet"
    errors.check_choice(name, "variant", variant, ("paper", "torchvision"))
    check_scale(name, scale, width)
    small, modern = scale == "lesson", variant == "torchvision"
    usual = 224 if not small else 28 if in_channels == 1 else 32
    size = usual if image_size is None else image_size
    check_image_size(name, size)
    factor = width / 4 if small else width
    unit: Unit = ConvNormReLU if modern else ConvReLU
    where: dict[str, Any] = {"device": device, "dtype": dtype}
    layers, channels = _stem(in_channels, factor, unit, small, modern, where)
    heads: dict[str, nn.Module] = {}
    side = 0 if not aux else 4 if modern and not small else _aux_side(name, size, small)
    for part, full in MODULES.items():
        widths = Widths(*(wide(units, factor) for units in full))
        layers[f"inception_{part}"] = Inception(channels, widths, unit, 3 if modern else 5, **where)
        channels = widths.out
        if part in ("3b", "4e"):
            last = modern and part == "4e"  # torchvision's fourth pool is 2x2
            layers[f"pool{part[0]}"] = nn.MaxPool2d(2 if last else 3, 2, ceil_mode=True)
        if aux and part in AUX_AFTER:
            hidden = (wide(128, factor), wide(1024, factor))
            heads[AUX_AFTER[part]] = AuxiliaryHead(channels, hidden, side, num_classes, unit, where)
    layers |= {
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "dropout": nn.Dropout(0.2 if modern else 0.4),
        "fc": nn.Linear(channels, num_classes, **where),
    }
    model = GoogLeNet(layers, heads)
    _initialise(model, small)
    return describe(
        model, name, (in_channels, size, size), num_classes=num_classes, variant=variant, aux=aux,
        in_channels=in_channels, image_size=size, scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip


def _stem(
    channels: int, factor: float, unit: Unit, small: bool, modern: bool, where: dict[str, Any]
) -> tuple[dict[str, nn.Module], int]:
    """Return the layers before the first module, and how many maps they put out."""
    first, reduced, last = (wide(units, factor) for units in STEM)
    layers: dict[str, nn.Module] = {}
    layers["conv1"] = unit(channels, first, *((3, 1, 1) if small else (7, 2, 3)), **where)
    layers["pool1"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    if not modern:
        layers["norm1"] = nn.LocalResponseNorm(5)  # k = 1, alpha / n: the port's, as the paper gives no constants
    layers["conv2_reduce"] = unit(first, reduced, 1, **where)
    layers["conv2"] = unit(reduced, last, 3, 1, 1, **where)
    if not modern:
        layers["norm2"] = nn.LocalResponseNorm(5)
    if not small:
        layers["pool2"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    return layers, last


def _aux_side(name: str, size: int, small: bool) -> int:
    """Return the side of what an auxiliary head's pool puts out: 4 from the paper's 14x14 maps."""
    side = size if small else (size + 1) // 2  # conv1 and its stride
    for _ in range(2 if small else 3):
        side = -(-(side - 3) // 2) + 1 if side >= 3 else 0
    if side < 5:
        raise ValueError(
            f"{name}: image_size={size} is too small, the auxiliary classifiers need maps of 5x5 and get "
            f"{side}x{side}; aux=False builds it without them"
        )
    return (side - 5) // 3 + 1


def _initialise(model: GoogLeNet, small: bool) -> None:
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            if small:
                init.kaiming_normal_(module.weight, nonlinearity="relu")
            else:
                init.xavier_uniform_(module.weight)
            if module.bias is not None:
                scores = name == "fc" or name.endswith("fc2")
                init.constant_(module.bias, 0.0 if small or scores else 0.2)
