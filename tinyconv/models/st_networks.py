"""The networks for distorted digits of Jaderberg et al. 2015, sec. 4.1: FCN and CNN, ST-FCN and ST-CNN.

See :func:`st_fcn`, :func:`st_cnn`. All of one experiment have about the same number of parameters: what a localisation
network takes, the classifier goes without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import errors, nn
from tinyconv import functional as F
from tinyconv.function import no_grad
from tinyconv.models.registry import describe
from tinyconv.models.spatial_transformer import SpatialTransformer, on_host
from tinyconv.models.stack import check_image_size, check_scale
from tinyconv.tensor import Tensor

# Parameters of a whole network; 400,000 are the paper's.
BUDGET = {"paper": 400_000, "lesson": 60_000}
KERNELS = {"paper": (9, 7), "lesson": (5, 5)}  # windows of the CNN's two convolutions
HIDDEN = 32  # of each fully connected layer of a localisation network
LOOKED = (20, 5)  # filters and window of a convolutional one
LARGE = 28  # pixels; larger images are averaged 2x2: before a localisation network, and after a transformer (sec. 4.1)


class STNetwork(nn.Module):
    """Transformers side by side, whose outputs become the channels that a classifier sees; none: a plain network.

    Attributes
    ----------
    transformers : ModuleList of SpatialTransformer
    pool : int
        Side of the windows that are averaged after the transformers.
    classifier : Sequential
    """

    def __init__(self, transformers: Sequence[SpatialTransformer], pool: int, classifier: nn.Module) -> None:
        super().__init__()
        self.transformers, self.pool, self.classifier = nn.ModuleList(transformers), pool, classifier

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to scores (N, num_classes)."""
        if len(self.transformers):
            x = F.cat([transformer(x) for transformer in self.transformers], 1)
        return self.classifier(F.avg_pool2d(x, self.pool) if self.pool > 1 else x)

    def attended(self, x: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the grid (N, OH, OW, 2) and the output (N, C, OH, OW) of every transformer, without gradients."""
        with no_grad():
            return on_host([transformer.look(x) for transformer in self.transformers])


def st_fcn(
    num_classes: int = 10,
    *,
    transform: str | None = "affine",
    transformers: int = 1,
    localisation: str | None = None,
    out_size: int | None = None,
    start: float | None = 1.0,
    budget: int | None = None,
    in_channels: int = 1,
    image_size: int = 28,
    scale: str = "paper",
    device: str = "cpu",
    dtype: Any = np.float32,
) -> STNetwork:
    """Build the fully connected network, after spatial transformers or without.

    fc1 - ReLU - fc2 - ReLU - fc3, both hidden layers as wide as the budget allows (the paper has 128 to 256 units).

    Parameters
    ----------
    num_classes : int
    transform : {"affine", "attention", "projective", "tps"}, optional
        None: no transformer, the paper's FCN.
    transformers : int
        How many, side by side; each has a localisation network of its own, sees all channels and passes all of them
        on. Two are the paper's 2xST-FCN for the addition of digits (sec. 4.1 and appendix).
    localisation : {"fc", "conv"}, optional
        "fc": two hidden layers of 32 units, the paper's for ST-FCN. "conv": two convolutions 5x5 of 20 filters with a
        2x2 max pool between, on the image averaged 2x2, and 20 units: the paper's for ST-CNN, its default at its scale.
        At the lesson's scale "fc" is everyone's: with "conv" the digits stay turned.
    out_size : int, optional
        Side of the transformers' output in pixels. By default that of the image, averaged 2x2 afterwards if the image
        is larger than 28 pixels (unless the paper's convolutions do not fit into what that leaves, as with 42).
    start : float or None
        Scale of the first transformation; None leaves the localisation network's own initial weights. See
        :class:`~tinyconv.models.spatial_transformer.SpatialTransformer`.
    budget : int, optional
        Parameters of the whole network, at most: 400,000, or 60,000 at the lesson's scale. Two affine transformers on
        two channels, the paper's for the addition of digits (19 classes), with "fc" take 102,924 of it at 28 pixels,
        35,340 at 32 and 59,020 at 42 (those above 28 see an average), and a classifier of one unit about 4,000: at
        the lesson's scale give some 150,000 at 28 pixels, 75,000 at 32, 100,000 at 42.
    in_channels, image_size : int
        Of the images: channels, and height and width in pixels. Images of more than 28 pixels are averaged 2x2 before
        a fully connected localisation network.
    scale : str
        "paper" or "lesson".

    Raises
    ------
    ValueError
        An unknown transform, localisation network or scale; a size or budget that is no int; a budget that leaves too
        little for the classifier; an image too small for a convolution.
    """
    return _build("st_fcn", dict(locals()))


def st_cnn(
    num_classes: int = 10,
    *,
    transform: str | None = "affine",
    transformers: int = 1,
    localisation: str | None = None,
    out_size: int | None = None,
    start: float | None = 1.0,
    budget: int | None = None,
    in_channels: int = 1,
    image_size: int = 28,
    scale: str = "paper",
    device: str = "cpu",
    dtype: Any = np.float32,
) -> STNetwork:
    """Build the convolutional network, after spatial transformers or without.

    "paper": convolution 9x9 - ReLU - max pool 2x2 - convolution 7x7 - ReLU - max pool 2x2 - fc, with as many filters
    in both as the budget allows (the paper has 32 to 64). "lesson": 5x5 of 8 filters and of 16, and a hidden fully
    connected layer that takes what the budget leaves.

    Arguments and errors are those of :func:`st_fcn`.
    """
    return _build("st_cnn", dict(locals()))


def _build(name: str, given: dict[str, Any]) -> STNetwork:
    """Build either network from the arguments that its builder was given."""
    where = {"device": given.pop("device"), "dtype": given["dtype"]}
    scale, channels, size, budget = (given[key] for key in ("scale", "in_channels", "image_size", "budget"))
    check_scale(name, scale, 1.0)
    check_image_size(name, size)
    if given["out_size"] is not None:
        check_image_size(name, given["out_size"], "out_size")
    if given["localisation"] is not None:
        errors.check_choice(name, "localisation", given["localisation"], ("fc", "conv"))
    if budget is None:
        budget = BUDGET[scale]
    elif isinstance(budget, bool) or not isinstance(budget, (int, np.integer)) or budget < 1:
        raise ValueError(f"{name}: budget must be an int of at least 1, the parameters of the network, got {budget!r}")
    else:
        given["budget"] = budget = int(budget)
    transformers, pool, side, taken = [], 1, size, 0
    if given["transform"] is not None:
        transformers = _transformers(name, given, where)
        taken = sum(p.numel() for transformer in transformers for p in transformer.parameters())
        channels *= len(transformers)
        out_size = given["out_size"]
        side = size if out_size is None else out_size
        if out_size is None and size > LARGE and (name == "st_fcn" or _left(side // 2, KERNELS[scale]) > 1):
            pool = 2
    make = _fully_connected if name == "st_fcn" else _convolutional
    try:
        classifier = make(name, (channels, side // pool), given["num_classes"], scale, budget - taken, where)
    except _TooLittle as problem:
        least, with_them = taken + problem.least, f"transformers={len(transformers)}, " if transformers else ""
        raise ValueError(
            f"{name}: with {with_them}in_channels={given['in_channels']} and image_size={size} the network takes "
            f"{least:,} parameters at least, {taken:,} of them the transformers', and budget is {budget:,}; give a "
            f"larger one, such as budget={max(BUDGET[scale], 2 * least)}"
        ) from None
    if isinstance(given["start"], np.ndarray):  # which no checkpoint could hold
        given["start"] = given["start"].tolist()
    given["dtype"] = np.dtype(given["dtype"]).name
    return describe(STNetwork(transformers, pool, classifier), name, (given["in_channels"], size, size), **given)


def _transformers(name: str, given: dict[str, Any], where: dict[str, Any]) -> list[SpatialTransformer]:
    """Return the transformers, each with its localisation network."""
    count, scale, transform = given["transformers"], given["scale"], given["transform"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(
            f"{name}: transformers must be an int of at least 1, got {count!r}; transform=None leaves them out"
        )
    usual = "conv" if name == "st_cnn" and scale == "paper" else "fc"
    kind = usual if given["localisation"] is None else given["localisation"]
    numbers = SpatialTransformer(None, transform).numbers
    make = _fc if kind == "fc" else _conv
    looks = [make(name, given["in_channels"], given["image_size"], numbers, where) for _ in range(count)]
    return [SpatialTransformer(look, transform, given["out_size"], start=given["start"]) for look in looks]


def _fully_connected(
    name: str, seen: tuple[int, int], num_classes: int, scale: str, budget: int, where: dict[str, Any]
) -> nn.Sequential:
    """Return fc1 - ReLU - fc2 - ReLU - fc3 on images of ``seen`` = (channels, side)."""
    inputs = seen[0] * seen[1] ** 2
    units = _widest(lambda units: _dense(inputs, units, units, num_classes), budget)
    return nn.Sequential(
        {
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(inputs, units, **where), "relu1": nn.ReLU(),
            "fc2": nn.Linear(units, units, **where), "relu2": nn.ReLU(),
            "fc3": nn.Linear(units, num_classes, **where),
        }
    )  # fmt: skip


def _convolutional(
    name: str, seen: tuple[int, int], num_classes: int, scale: str, budget: int, where: dict[str, Any]
) -> nn.Sequential:
    """Return two convolutions with max pools, then the classifier, on images of ``seen`` = (channels, side)."""
    channels, side = seen
    paper, (one, two) = scale == "paper", KERNELS[scale]
    side = _left(side, (one, two)) // 2
    _check_side(name, side, seen[1])

    def filters(units: int) -> tuple[int, int]:
        return (units, units) if paper else (8, 16)

    def count(units: int) -> int:
        first, second = filters(units)
        convolutions = first * (channels * one**2 + 1) + second * (first * two**2 + 1)
        return convolutions + _dense(second * side**2, *([] if paper else [units]), num_classes)

    units = _widest(count, budget)
    first, second = filters(units)
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(channels, first, one, **where), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(first, second, two, **where), "relu2": nn.ReLU(), "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
    }  # fmt: skip
    inputs = second * side**2
    if not paper:
        layers |= {"fc3": nn.Linear(inputs, units, **where), "relu3": nn.ReLU()}
        inputs = units
    layers["fc4"] = nn.Linear(inputs, num_classes, **where)
    return nn.Sequential(layers)


def _fc(name: str, channels: int, size: int, numbers: int, where: dict[str, Any]) -> nn.Sequential:
    """Return the fully connected localisation network."""
    half = size > LARGE
    inputs = channels * (size // 2 if half else size) ** 2
    return nn.Sequential(
        {
            **({"pool": nn.AvgPool2d(2)} if half else {}), "flatten": nn.Flatten(),
            "fc1": nn.Linear(inputs, HIDDEN, **where), "relu1": nn.ReLU(),
            "fc2": nn.Linear(HIDDEN, HIDDEN, **where), "relu2": nn.ReLU(),
            "theta": nn.Linear(HIDDEN, numbers, **where),
        }
    )  # fmt: skip


def _conv(name: str, channels: int, size: int, numbers: int, where: dict[str, Any]) -> nn.Sequential:
    """Return the convolutional localisation network."""
    filters, kernel = LOOKED
    side = _left(size // 2, (kernel, kernel))
    _check_side(name, side, size)
    return nn.Sequential(
        {
            "pool0": nn.AvgPool2d(2),
            "conv1": nn.Conv2d(channels, filters, kernel, **where), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(filters, filters, kernel, **where), "relu2": nn.ReLU(),
            "flatten": nn.Flatten(),
            "fc3": nn.Linear(filters * side**2, filters, **where), "relu3": nn.ReLU(),
            "theta": nn.Linear(filters, numbers, **where),
        }
    )  # fmt: skip


def _left(side: int, kernels: tuple[int, int]) -> int:
    """Return what a convolution without padding, a 2x2 pool and a second convolution leave of a side, 0 for nothing."""
    return max(0, max(0, side - kernels[0] + 1) // 2 - kernels[1] + 1)


def _check_side(name: str, side: int, size: int) -> None:
    if side < 1:
        raise ValueError(f"{name}: nothing is left of {size}x{size} pixels after the convolutions; use a larger image")


def _dense(*sizes: int) -> int:
    """Return the parameters of fully connected layers from each of these sizes to the next."""
    return sum((inputs + 1) * outputs for inputs, outputs in zip(sizes, sizes[1:], strict=False))


class _TooLittle(Exception):  # noqa: N818  (what the user sees is a ValueError)
    """A classifier takes ``least`` parameters, which are more than are left."""

    def __init__(self, least: int) -> None:
        super().__init__(least)
        self.least = least


def _widest(count: Callable[[int], int], budget: int) -> int:
    """Return the largest number of units, of which ``count`` gives the parameters, within the budget."""
    if count(1) > budget:
        raise _TooLittle(count(1))
    low, high = 1, budget + 1  # count(low) <= budget < count(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= budget else (low, middle)
    return low
