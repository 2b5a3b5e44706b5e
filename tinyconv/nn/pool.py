"""Pooling layers and resizing: see the function of the same name in :mod:`tinyconv.functional`."""

from __future__ import annotations

from typing import Any

from tinyconv import errors, functional
from tinyconv.nn.module import Module
from tinyconv.tensor import Tensor

Pair = int | tuple[int, int]


class _Window(Module):
    """What pooling layers with a window share."""

    def __init__(self, kernel_size: Pair, stride: Pair | None, padding: Pair) -> None:
        super().__init__()
        kind = type(self).__name__
        errors.pair(kind, "kernel_size", kernel_size, 1)
        errors.pair(kind, "padding", padding)
        if stride is not None:
            errors.pair(kind, "stride", stride, 1)
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding

    def extra_repr(self) -> str:
        ceil = ", ceil_mode=True" if getattr(self, "ceil_mode", False) else ""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}{ceil}"


class MaxPool2d(_Window):
    """See :func:`tinyconv.functional.max_pool2d`."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation, self.return_indices, self.ceil_mode = dilation, return_indices, ceil_mode

    def forward(self, x: Tensor) -> Any:
        return functional.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxUnpool2d(_Window):
    """See :func:`tinyconv.functional.max_unpool2d`."""

    def __init__(
        self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, accumulate: bool = False
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.accumulate = accumulate

    def forward(self, x: Tensor, indices: Tensor, output_size: tuple[int, ...] | None = None) -> Tensor:
        return functional.max_unpool2d(
            x, indices, self.kernel_size, self.stride, self.padding, output_size, self.accumulate
        )


class AvgPool2d(_Window):
    """See :func:`tinyconv.functional.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AdaptiveAvgPool2d(Module):
    """See :func:`tinyconv.functional.adaptive_avg_pool2d`."""

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Module):
    """See :func:`tinyconv.functional.adaptive_max_pool2d`."""

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, x: Tensor) -> Any:
        return functional.adaptive_max_pool2d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class Upsample(Module):
    """See :func:`tinyconv.functional.interpolate`."""

    def __init__(
        self,
        size: Pair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        target = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return f"{target}, mode={self.mode!r}"
