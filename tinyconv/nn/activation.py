"""Layers without weights: activations, dropout, changes of shape. See :mod:`tinyconv.functional`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import errors, functional
from tinyconv.functional.maxout import check_pieces
from tinyconv.nn.module import Module
from tinyconv.tensor import Tensor


class ReLU(Module):
    """See :func:`tinyconv.functional.relu`."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x)


class LeakyReLU(Module):
    """See :func:`tinyconv.functional.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Maxout(Module):
    """See :func:`tinyconv.functional.maxout`: ``Maxout(5)`` makes (N, 240) of (N, 1200), units of 5 neighbours."""

    def __init__(self, pieces: int, dim: int = 1) -> None:
        super().__init__()
        self.pieces, self.dim = check_pieces("Maxout", pieces), dim

    def forward(self, x: Tensor) -> Tensor:
        return functional.maxout(x, self.pieces, self.dim)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}{'' if self.dim == 1 else f', dim={self.dim}'}"


class Tanh(Module):
    """See :func:`tinyconv.functional.tanh`."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.tanh(x)


class Sigmoid(Module):
    """See :func:`tinyconv.functional.sigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.sigmoid(x)


class Softmax(Module):
    """See :func:`tinyconv.functional.softmax`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return functional.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """See :func:`tinyconv.functional.log_softmax`."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.log_softmax(x, self.dim)


class Dropout(Module):
    """See :func:`tinyconv.functional.dropout`; ``inverted=False`` is the form of the AlexNet paper."""

    def __init__(self, p: float = 0.5, inverted: bool = True) -> None:
        super().__init__()
        errors.check_probability("Dropout", "p", p)
        self.p, self.inverted = p, inverted

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.p, self.training, self.inverted)

    def extra_repr(self) -> str:
        return f"p={self.p}{'' if self.inverted else ', inverted=False'}"


class Identity(Module):
    """Return the input; takes the place of a layer that a variant does without."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


class Flatten(Module):
    """See :func:`tinyconv.functional.flatten`."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return functional.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Give axis ``dim`` these sizes: PyTorch's ``Unflatten(1, (C, H, W))`` makes maps of the rows (N, C * H * W).

    One size may be -1: what is left for it.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, _sizes(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        dim, sizes = errors.check_axis("Unflatten", self.dim, x.ndim), self.unflattened_size
        count, known = x.shape[dim], math.prod(n for n in sizes if n != -1)
        if -1 in sizes and known and count % known == 0:
            sizes = tuple(count // known if n == -1 else n for n in sizes)
        if math.prod(sizes) != count or -1 in sizes:
            many = f"a multiple of {known}" if -1 in sizes else f"{known}"
            raise ValueError(f"Unflatten: axis {dim} must have {many} elements for {sizes}, got shape {x.shape}")
        return functional.reshape(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def _sizes(sizes: Any) -> tuple[int, ...]:
    """Return the sizes of an axis taken apart, of which one may be -1, or raise."""
    wanted = f"Unflatten: unflattened_size must be a tuple of ints, one of which may be -1, got {sizes!r}"
    whole = isinstance(sizes, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in sizes)
    if not whole or any(isinstance(n, bool) for n in sizes):
        raise TypeError(wanted)
    if not sizes or min(sizes) < -1 or list(sizes).count(-1) > 1:
        raise ValueError(wanted)
    return tuple(int(n) for n in sizes)


class ZeroPad2d(Module):
    """See :func:`tinyconv.functional.pad`; ``padding`` in pixels: one number, or (left, right, top, bottom)."""

    def __init__(self, padding: int | tuple[int, int, int, int]) -> None:
        super().__init__()
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != 4:
            raise ValueError(f"ZeroPad2d: padding must be an int or (left, right, top, bottom), got {padding!r}")

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, self.padding)

    def extra_repr(self) -> str:
        return f"{self.padding}"
