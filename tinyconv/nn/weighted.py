"""Layers with weights: convolution, transposed convolution, fully connected, embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import creation, errors, functional
from tinyconv.nn import init
from tinyconv.nn.module import Module, Parameter
from tinyconv.tensor import Tensor

Pair = int | tuple[int, int]


def _parameters(module: Module, weight: tuple[int, ...], bias: int | None, device: str, dtype: Any) -> None:
    """Give the module weight and bias (None without) with PyTorch's default initial values."""
    module.weight = Parameter(creation.empty(weight, dtype=dtype, device=device))
    module.register_parameter(
        "bias", None if bias is None else Parameter(creation.empty(bias, dtype=dtype, device=device))
    )
    init.default_(module.weight, module.bias)


def _check_sizes(kind: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"{kind}: {name} must be an int of at least 1, got {size!r}")


class _Conv(Module):
    """What the two convolutions share."""

    transposed = False

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Pair, groups: int, bias: bool, device: str, dtype: Any
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        _check_sizes(kind, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{kind}: in_channels and out_channels must be multiples of groups={groups}, "
                f"got {in_channels} and {out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = errors.pair(kind, "kernel_size", kernel_size, 1)
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        _parameters(self, (first, second // groups, *self.kernel_size), out_channels if bias else None, device, dtype)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        usual = {"padding": (0, 0), "output_padding": (0, 0), "dilation": (1, 1), "groups": 1}
        parts += [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k, v) != v]
        return ", ".join(parts + ["bias=False"] * (self.bias is None))


class Conv2d(_Conv):
    """See :func:`tinyconv.functional.conv2d`; weight (K, C // groups, KH, KW), bias (K,)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        device: str = "cpu",
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups, bias, device, dtype)
        self.stride = errors.pair("Conv2d", "stride", stride, 1)
        self.padding = errors.pair("Conv2d", "padding", padding)
        self.dilation = errors.pair("Conv2d", "dilation", dilation, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(_Conv):
    """See :func:`tinyconv.functional.conv_transpose2d`; weight (C, K // groups, KH, KW), bias (K,)."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        device: str = "cpu",
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups, bias, device, dtype)
        self.stride = errors.pair("ConvTranspose2d", "stride", stride, 1)
        self.padding = errors.pair("ConvTranspose2d", "padding", padding)
        self.output_padding = errors.pair("ConvTranspose2d", "output_padding", output_padding)
        self.dilation = errors.pair("ConvTranspose2d", "dilation", dilation, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class Linear(Module):
    """See :func:`tinyconv.functional.linear`; weight (out_features, in_features), bias (out_features,)."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: str = "cpu", dtype: Any = np.float32
    ) -> None:
        super().__init__()
        _check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        _parameters(self, (out_features, in_features), out_features if bias else None, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """See :func:`tinyconv.functional.embedding`; weight (num_embeddings, embedding_dim), standard normal at first."""

    def __init__(self, num_embeddings: int, embedding_dim: int, device: str = "cpu", dtype: Any = np.float32) -> None:
        super().__init__()
        _check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = Parameter(creation.empty(num_embeddings, embedding_dim, dtype=dtype, device=device))
        init.normal_(self.weight)

    def forward(self, index: Tensor) -> Tensor:
        return functional.embedding(index, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"
