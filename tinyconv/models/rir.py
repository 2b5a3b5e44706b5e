"""Resnet in Resnet (Targ, Almeida, Lyman 2016): two streams, one with shortcuts and one without, side by side.

A generalised residual block maps (r, t), the residual and the transient stream, to

    r' = s(conv(r, W_rr) + conv(t, W_tr) + shortcut(r))        t' = s(conv(r, W_rt) + conv(t, W_tt))

where s is BN, then ReLU. Without t it is a one-layer residual block, without r a plain convolution. One convolution
on the channels of [r, t] computes all four; :func:`add_identity` puts the shortcut into its weights, too, and the whole
block is then an ordinary convolution with other initial weights ("ResNet Init").
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import creation, nn
from tinyconv.function import no_grad
from tinyconv.models.registry import describe
from tinyconv.models.residual import shortcut_of
from tinyconv.models.stack import check_image_size, check_scale, wide
from tinyconv.nn import functional as F
from tinyconv.nn import init
from tinyconv.tensor import Tensor

Streams = tuple[Tensor, Tensor]
# Widths of either stream in the eight blocks; where the width changes, the first layer widens and the second strides.
BLOCKS = {"paper": (48, 48, 96, 96, 96, 192, 192, 192), "lesson": (12, 12, 24, 24, 24, 48, 48, 48)}


class GeneralisedBlock(nn.Module):
    """One layer of two streams.

    Parameters
    ----------
    channels, out : int
        Of either stream, before and after.
    stride : int
    identity : bool
        Whether r has its shortcut; False where it is in the weights (:func:`add_identity`).
    """

    def __init__(self, channels: int, out: int, stride: int = 1, identity: bool = True, **where: Any) -> None:
        super().__init__()
        self.out = out
        self.conv = nn.Conv2d(2 * channels, 2 * out, 3, stride, 1, bias=False, **where)
        self.norm_r, self.norm_t = nn.BatchNorm2d(out, **where), nn.BatchNorm2d(out, **where)
        self.relu_r, self.relu_t = nn.ReLU(), nn.ReLU()
        self.shortcut = shortcut_of("A", channels, out, stride, where) if identity else None

    def forward(self, r: Tensor, t: Tensor) -> Streams:
        """Map two tensors (N, channels, H, W) to two (N, out, H / stride, W / stride)."""
        both = self.conv(F.cat([r, t], 1))
        residual, transient = both[:, : self.out], both[:, self.out :]
        if self.shortcut is not None:
            residual = residual + self.shortcut(r)
        return self.relu_r(self.norm_r(residual)), self.relu_t(self.norm_t(transient))


@no_grad()
def add_identity(block: GeneralisedBlock) -> None:
    """Move the block's shortcut into its weights: ones at the kernel's centre, from each channel of r to the same."""
    if block.shortcut is None:
        raise ValueError("add_identity: wanted a block with a shortcut, got one that has it in its weights already")
    weight = block.conv.weight
    same = np.arange(min(weight.shape[0], weight.shape[1]) // 2)
    identity = np.zeros(weight.shape, weight.dtype)
    identity[same, same, 1, 1] = 1
    weight.add_(creation.tensor(identity, device=weight.device))
    block.shortcut = None


class RiRBlock(nn.Module):
    """Two generalised blocks, and an outer shortcut: the residual stream's input is added to its output."""

    def __init__(self, channels: int, out: int, stride: int = 1, **where: Any) -> None:
        super().__init__()
        self.first = GeneralisedBlock(channels, out, 1, **where)
        self.second = GeneralisedBlock(out, out, stride, **where)
        self.shortcut = shortcut_of("A", channels, out, stride, where)

    def forward(self, r: Tensor, t: Tensor) -> Streams:
        """Map two tensors (N, channels, H, W) to two (N, out, H / stride, W / stride)."""
        inner, transient = self.second(*self.first(r, t))
        return inner + self.shortcut(r), transient  # after the second ReLU, and without another


class RiR(nn.Module):
    """See :func:`rir`."""

    def __init__(self, in_channels: int, widths: list[int], num_classes: int, where: dict[str, Any]) -> None:
        super().__init__()
        first = widths[0]
        for stream in "rt":
            conv = nn.Conv2d(in_channels, first, 3, 1, 1, bias=False, **where)
            stem = {"conv": conv, "bn": nn.BatchNorm2d(first, **where), "relu": nn.ReLU()}
            self.add_module(f"stem_{stream}", nn.Sequential(stem))
        before = [first, *widths[:-1]]
        self.blocks = nn.ModuleList(
            RiRBlock(channels, out, 2 if out > channels else 1, **where)
            for channels, out in zip(before, widths, strict=True)
        )
        self.conv = nn.Conv2d(2 * widths[-1], num_classes, 1, bias=False, **where)
        self.bn, self.relu = nn.BatchNorm2d(num_classes, **where), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to scores (N, num_classes)."""
        r, t = self.stem_r(x), self.stem_t(x)
        for block in self.blocks:
            r, t = block(r, t)
        maps = self.relu(self.bn(self.conv(F.cat([r, t], 1))))
        return maps.mean((2, 3))


def rir(
    num_classes: int = 10,
    *,
    in_channels: int = 3,
    image_size: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> RiR:
    """Build the 18-layer wide RiR with initial weights N(0, 2 / fan_in): 9,469,940 parameters for 10 classes.

    Two stems 3 -> 48; eight blocks of two layers, with 48, 96 and 192 channels in either stream; [r, t] to the classes
    by a 1x1 convolution, BN and ReLU; the mean of each map. The paper leaves details open: the head and the place of
    the strides are those of a port whose author compared it with the paper's figures.

    Parameters
    ----------
    image_size : int
        Height and width of the input in pixels: 32; "lesson": 28 for one channel. Any size of at least 4 works.
    scale : str
        "paper", or "lesson": a quarter of the channels.
    width : float
        Factor of all channels (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown scale, or a width that is not positive.
    """
    check_scale("rir", scale, width)
    where: dict[str, Any] = {"device": device, "dtype": dtype}
    widths = [wide(units, width) for units in BLOCKS[scale]]
    model = RiR(in_channels, widths, num_classes, where)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
    usual = 28 if in_channels == 1 and scale == "lesson" else 32
    size = usual if image_size is None else image_size
    check_image_size("rir", size)
    return describe(
        model, "rir", (in_channels, size, size), num_classes=num_classes, in_channels=in_channels, image_size=size,
        scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip
