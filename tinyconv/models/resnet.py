"""ResNet (He, Zhang, Ren, Sun 2015) for ImageNet (18 to 152 layers) and for CIFAR (6n + 2), with their plain twins."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import errors, nn
from tinyconv.models.registry import describe
from tinyconv.models.residual import BasicBlock, Bottleneck, ResidualBlock
from tinyconv.models.stack import check_image_size, check_scale, wide
from tinyconv.nn import init

# Table 1: kind of block, and blocks in conv2_x to conv5_x.
DEPTHS: dict[int, tuple[type[ResidualBlock], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
WIDTHS = {"paper": (64, 128, 256, 512), "lesson": (16, 32, 64, 128)}  # of the stages, before a bottleneck's factor 4
CIFAR_WIDTHS = {"paper": (16, 32, 64), "lesson": (16, 32, 64)}
SHORTCUTS = ("A", "B", "C")
POOLS = {"v1": "ceil", "v1.5": "pad1"}


class ResNet(nn.Sequential):
    """The layers in order: conv1, bn1, relu1, [pool1], the blocks conv2_1, conv2_2, ..., avgpool, flatten, fc."""

    def blocks(self) -> list[tuple[str, ResidualBlock]]:
        """Return the residual blocks by name."""
        return [(name, module) for name, module in self.named_children() if isinstance(module, ResidualBlock)]


def resnet(
    depth: int = 50,
    num_classes: int = 1000,
    *,
    shortcut: str = "B",
    residual: bool = True,
    variant: str = "v1",
    stem_pool: str | None = None,
    in_channels: int = 3,
    image_size: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> ResNet:
    """Build one of table 1's networks; weights from N(0, 2 / fan_in), fc's N(0, 1 / fan_in) (He et al. 2015).

    Parameters
    ----------
    depth : int
        18, 34 (basic blocks), 50, 101, 152 (bottlenecks): 11,689,512; 21,797,672; 25,557,032; 44,549,160; 60,192,808
        parameters.
    num_classes : int
        Outputs of fc: scores, before any softmax.
    shortcut : str
        "A": identities, zero channels where a stage widens. "B": 1x1 projections there. "C": projections everywhere.
    residual : bool
        False: the plain net, the same convolutions without any shortcut.
    variant : str
        Where a bottleneck strides: "v1" in its first 1x1 (the paper's nets), "v1.5" in its 3x3 (torchvision's).
    stem_pool : str
        pool1 makes 56 of 112 pixels by windows from 0, 2, ... with the last one cut ("ceil"), or from -1, 1, ...
        ("pad1"). By default what goes with the variant: "ceil" for v1, "pad1" for v1.5.
    image_size : int
        Height and width of the input in pixels, for summaries: 224; "lesson": 28 for one channel, else 32. Others work.
    scale : str
        "paper", or "lesson": a quarter of the channels, and a first layer of 3x3 without stride or pool.
    width : float
        Factor of all channels (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown depth, shortcut, variant, pool or scale.
    """
    name = "resnet"
    if depth not in DEPTHS:
        raise ValueError(f"{name}: depth must be one of {', '.join(map(str, DEPTHS))}, got {depth!r}")
    _check(name, shortcut, scale, width)
    errors.check_choice(name, "variant", variant, tuple(POOLS))
    pool = POOLS[variant] if stem_pool is None else stem_pool
    errors.check_choice(name, "stem_pool", pool, ("ceil", "pad1"))
    block, counts = DEPTHS[depth]
    where: dict[str, Any] = {"device": device, "dtype": dtype}
    widths = [wide(units, width) for units in WIDTHS[scale]]
    stem = (7, 2, 3) if scale == "paper" else (3, 1, 1)
    layers = _stem(in_channels, widths[0], stem, where)
    if scale == "paper":
        layers["pool1"] = nn.MaxPool2d(3, 2, ceil_mode=True) if pool == "ceil" else nn.MaxPool2d(3, 2, 1)
    kind = shortcut if residual else None
    model = _finish(layers, widths[0], block, widths, counts, kind, variant, num_classes, where)
    size = _size(name, image_size, in_channels, 224 if scale == "paper" else 32)
    return describe(
        model, name, (in_channels, size, size), depth=depth, num_classes=num_classes, shortcut=shortcut,
        residual=residual, variant=variant, stem_pool=stem_pool, in_channels=in_channels, image_size=size, scale=scale,
        width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip


def resnet_cifar(
    depth: int = 20,
    num_classes: int = 10,
    *,
    shortcut: str = "A",
    residual: bool = True,
    in_channels: int = 3,
    image_size: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> ResNet:
    """Build the networks for small images (sec. 4.2): 6n + 2 layers, stages of 16, 32 and 64 channels.

    A 3x3 convolution, then three stages of n basic blocks (2n convolutions) at 32x32, 16x16 and 8x8, the mean of each
    map, and fc.

    Parameters
    ----------
    depth : int
        6n + 2: 20, 32, 44, 56, 110 (269,722; 464,154; 658,586; 853,018; 1,727,962 parameters), up to 1202
        (19,421,274).
    shortcut : str
        The paper takes "A" throughout, so that residual and plain nets have the same parameters.
    residual : bool
        False: the plain net.
    image_size : int
        Height and width of the input in pixels: 32; "lesson": 28 for one channel. Any size of at least 4 works.
    scale : str
        "paper" or "lesson": the same network, made for one channel of 28 pixels too.
    width : float
        Factor of all channels (rounded to even numbers).

    Raises
    ------
    ValueError
        A depth that is not 6n + 2, an unknown shortcut or scale.
    """
    name = "resnet_cifar"
    n = (depth - 2) // 6 if isinstance(depth, int) else 0
    if n < 1 or depth != 6 * n + 2:
        raise ValueError(f"{name}: depth must be 6 n + 2, such as 8, 20, 32, 44, 56, 110, 1202, got {depth!r}")
    _check(name, shortcut, scale, width)
    where: dict[str, Any] = {"device": device, "dtype": dtype}
    widths = [wide(units, width) for units in CIFAR_WIDTHS[scale]]
    layers = _stem(in_channels, widths[0], (3, 1, 1), where)
    kind = shortcut if residual else None
    model = _finish(layers, widths[0], BasicBlock, widths, (n, n, n), kind, "v1", num_classes, where)
    size = _size(name, image_size, in_channels, 32)
    return describe(
        model, name, (in_channels, size, size), depth=depth, num_classes=num_classes, shortcut=shortcut,
        residual=residual, in_channels=in_channels, image_size=size, scale=scale, width=width,
        dtype=np.dtype(dtype).name,
    )  # fmt: skip


def _check(name: str, shortcut: str, scale: str, width: float) -> None:
    errors.check_choice(name, "shortcut", shortcut, SHORTCUTS)
    check_scale(name, scale, width)


def _size(name: str, given: int | None, in_channels: int, usual: int) -> int:
    if given is not None:
        check_image_size(name, given)
        return given
    return 28 if usual == 32 and in_channels == 1 else usual


def _stem(channels: int, out: int, window: tuple[int, int, int], where: dict[str, Any]) -> dict[str, nn.Module]:
    conv = nn.Conv2d(channels, out, *window, bias=False, **where)
    return {"conv1": conv, "bn1": nn.BatchNorm2d(out, **where), "relu1": nn.ReLU()}


def _finish(
    layers: dict[str, nn.Module],
    channels: int,
    block: type[ResidualBlock],
    widths: list[int],
    counts: tuple[int, ...],
    shortcut: str | None,
    variant: str,
    num_classes: int,
    where: dict[str, Any],
) -> ResNet:
    """Add the stages, the first block of each but the first with stride 2, and the classifier; draw the weights."""
    for stage, (units, count) in enumerate(zip(widths, counts, strict=True)):
        for number in range(count):
            stride = 2 if stage and not number else 1
            layers[f"conv{stage + 2}_{number + 1}"] = block(channels, units, stride, shortcut, variant, where)  # type: ignore[call-arg]
            channels = units * block.expansion
    layers |= {
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(channels, num_classes, **where),
    }
    model = ResNet(layers)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
    init.kaiming_normal_(layers["fc"].weight, nonlinearity="linear")
    init.zeros_(layers["fc"].bias)
    return model
