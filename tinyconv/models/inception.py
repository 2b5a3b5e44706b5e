"""The Inception module (Szegedy et al. 2014): four branches side by side, their maps concatenated.

1x1 | 1x1 then 3x3 | 1x1 then 5x5 | max pool 3x3 then 1x1. The 1x1 convolutions in front keep the large windows cheap:
:class:`NaiveInception` is the module without them (fig. 2a), for the comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tinyconv
from tinyconv import nn
from tinyconv.tensor import Tensor

Unit = Callable[..., nn.Module]


class Widths(NamedTuple):
    """Filters of one module, a row of table 1."""

    ones: int  # 1x1
    reduce3: int  # 1x1 before the 3x3
    threes: int
    reduce5: int  # 1x1 before the 5x5
    fives: int
    pooled: int  # 1x1 behind the pool

    @property
    def out(self) -> int:
        """Maps of the whole module."""
        return self.ones + self.threes + self.fives + self.pooled


class ConvReLU(nn.Sequential):
    """A convolution and its ReLU: the paper's unit."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, padding: int = 0, **where: Any) -> None:
        super().__init__({"conv": nn.Conv2d(channels, out, kernel, stride, padding, **where), "relu": nn.ReLU()})


class ConvNormReLU(nn.Sequential):
    """A convolution without bias, BN with eps 0.001, and ReLU: torchvision's unit."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, padding: int = 0, **where: Any) -> None:
        conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False, **where)
        super().__init__({"conv": conv, "bn": nn.BatchNorm2d(out, eps=0.001, **where), "relu": nn.ReLU()})


class Inception(nn.Module):
    """The module with dimension reductions (fig. 2b).

    Parameters
    ----------
    channels : int
        Of the input.
    widths : Widths
    unit : callable
        Makes a convolution with what follows it: :class:`ConvReLU` or :class:`ConvNormReLU`.
    large : int
        Window of the third branch: 5, or torchvision's 3.
    """

    def __init__(self, channels: int, widths: Widths, unit: Unit = ConvReLU, large: int = 5, **where: Any) -> None:
        super().__init__()
        w = widths
        self.ones = unit(channels, w.ones, 1, **where)
        self.threes = nn.Sequential(unit(channels, w.reduce3, 1, **where), unit(w.reduce3, w.threes, 3, 1, 1, **where))
        window = unit(w.reduce5, w.fives, large, 1, large // 2, **where)
        self.fives = nn.Sequential(unit(channels, w.reduce5, 1, **where), window)
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(channels, w.pooled, 1, **where))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, widths.out, H, W), the branches in the order of their names."""
        return tinyconv.cat([self.ones(x), self.threes(x), self.fives(x), self.pooled(x)], 1)


class NaiveInception(nn.Module):
    """The module without reductions (fig. 2a): the pool hands all its maps on, which so grow from module to module."""

    def __init__(self, channels: int, widths: Widths, unit: Unit = ConvReLU, large: int = 5, **where: Any) -> None:
        super().__init__()
        self.ones = unit(channels, widths.ones, 1, **where)
        self.threes = unit(channels, widths.threes, 3, 1, 1, **where)
        self.fives = unit(channels, widths.fives, large, 1, large // 2, **where)
        self.pooled = nn.MaxPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, ones + threes + fives + channels, H, W)."""
        return tinyconv.cat([self.ones(x), self.threes(x), self.fives(x), self.pooled(x)], 1)
