"""The blocks of ResNet (He, Zhang, Ren, Sun 2015): y = ReLU(F(x) + shortcut(x)), and the three kinds of shortcut.

F is conv, BN, ReLU, conv, BN (:class:`BasicBlock`), or 1x1, 3x3, 1x1 with BN after each and ReLU between them
(:class:`Bottleneck`). The last ReLU comes after the addition. Convolutions have no bias, since BN follows.
"""

from __future__ import annotations

from typing import Any

from tinyconv import nn
from tinyconv.nn import functional as F
from tinyconv.tensor import Tensor


class SubsampleAndPad(nn.Module):
    """Shortcut A: every second pixel (rows and columns 0, 2, 4, ...), zero channels appended (sec. 3.3).

    Parameters
    ----------
    extra : int
        Channels to append.
    stride : int
    """

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + extra, ceil(H / stride), ceil(W / stride))."""
        if self.stride > 1:
            x = F.avg_pool2d(x, 1, self.stride)  # windows of one pixel: it picks, and averages nothing
        return F.pad(x, (0, 0, 0, 0, 0, self.extra)) if self.extra else x

    def extra_repr(self) -> str:
        return f"extra={self.extra}, stride={self.stride}"


def shortcut_of(kind: str, channels: int, out: int, stride: int, where: dict[str, Any]) -> nn.Module:
    """Return the shortcut from ``channels`` to ``out`` channels.

    "A": the identity, subsampled and padded where the shape changes. "B": a 1x1 convolution with BN there, the identity
    elsewhere. "C": the convolution everywhere. None of them has a ReLU.
    """
    changes = stride > 1 or channels != out
    if kind == "C" or (kind == "B" and changes):
        conv = nn.Conv2d(channels, out, 1, stride, bias=False, **where)
        return nn.Sequential({"conv": conv, "bn": nn.BatchNorm2d(out, **where)})
    return SubsampleAndPad(out - channels, stride) if changes else nn.Identity()


class ResidualBlock(nn.Module):
    """What both kinds share: a branch, a shortcut (None in the plain nets, sec. 3.3), and the ReLU after their sum."""

    expansion = 1
    shortcut: nn.Module | None

    def branch(self, x: Tensor) -> Tensor:
        """Return F(x)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, width * expansion, H / stride, W / stride)."""
        y = self.branch(x)
        return self.relu(y if self.shortcut is None else y + self.shortcut(x))

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The last BN of the branch: with weight and bias 0, the block is ReLU(shortcut(x))."""
        raise NotImplementedError


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions (fig. 5, left)."""

    def __init__(
        self, channels: int, width: int, stride: int, shortcut: str | None, variant: str, where: dict[str, Any]
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False, **where)
        self.bn1, self.relu1 = nn.BatchNorm2d(width, **where), nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False, **where)
        self.bn2 = nn.BatchNorm2d(width, **where)
        self.shortcut = None if shortcut is None else shortcut_of(shortcut, channels, width, stride, where)
        self.relu = nn.ReLU()

    def branch(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(y))

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2


class Bottleneck(ResidualBlock):
    """1x1 to fewer channels, 3x3, 1x1 to four times as many (fig. 5, right).

    The stride is in the first 1x1 ("v1", as in the paper's released nets) or in the 3x3 ("v1.5", torchvision's).
    """

    expansion = 4

    def __init__(
        self, channels: int, width: int, stride: int, shortcut: str | None, variant: str, where: dict[str, Any]
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if variant == "v1" else (1, stride)
        out = width * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, first, bias=False, **where)
        self.bn1, self.relu1 = nn.BatchNorm2d(width, **where), nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, second, 1, bias=False, **where)
        self.bn2, self.relu2 = nn.BatchNorm2d(width, **where), nn.ReLU()
        self.conv3 = nn.Conv2d(width, out, 1, bias=False, **where)
        self.bn3 = nn.BatchNorm2d(out, **where)
        self.shortcut = None if shortcut is None else shortcut_of(shortcut, channels, out, stride, where)
        self.relu = nn.ReLU()

    def branch(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        return self.bn3(self.conv3(y))

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3
