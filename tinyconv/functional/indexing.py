"""Indexing: slices give views, integer and boolean arrays gather; embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.tensor import Tensor, plain_key


class Slice(Function):
    """x[key] for slices and integers: a view; the gradient is written into zeros at the same place."""

    view = True

    @staticmethod
    def forward(ctx: Any, x: Any, key: Any) -> Any:
        ctx.shape, ctx.key = x.shape, key
        return x[key]

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = device.zeros(dy, ctx.shape)
        device.kernels_for(dy).elementwise.copy(dy, dx[ctx.key])
        return dx, None


class Gather(Function):
    """Elements of x at flat positions; a position taken twice gets both gradients."""

    @staticmethod
    def forward(ctx: Any, x: Any, positions: np.ndarray) -> Any:
        positions = device.move(positions, device.of(x))
        ctx.shape, ctx.positions = x.shape, positions
        out = device.empty(x, positions.shape)
        device.kernels_for(x).index.gather(device.contiguous(x).reshape(-1), positions, out)
        return out

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = device.zeros(dy, ctx.shape)
        device.kernels_for(dy).index.scatter_add(device.contiguous(dy), ctx.positions, dx.reshape(-1))
        return dx, None


class Embedding(Function):
    """Rows of a table; a row used twice gets both gradients."""

    @staticmethod
    def forward(ctx: Any, weight: Any, index: Any) -> Any:
        index = device.contiguous(index)
        ctx.shape = weight.shape
        ctx.save(index)
        out = device.empty(weight, (*index.shape, weight.shape[1]))
        device.kernels_for(weight).index.embedding_forward(device.contiguous(weight), index, out)
        return out

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dweight = device.empty(dy, ctx.shape)
        device.kernels_for(dy).index.embedding_backward(device.contiguous(dy), *ctx.saved, dweight)
        return dweight, None


def getitem(x: Tensor, key: Any) -> Tensor:
    """Return x[key]: a view for integers, slices, None and ...; a copy for integer or boolean arrays (NumPy's rules).

    Raises
    ------
    IndexError
        An index is out of range, or there are more indices than axes.
    """
    errors.check_tensor("getitem", "x", x)
    key = plain_key(key, x.device)
    parts = key if isinstance(key, tuple) else (key,)
    if all(isinstance(p, (int, np.integer, slice, type(None), type(...))) and not isinstance(p, bool) for p in parts):
        try:
            return Slice.apply(x, (*parts, ...) if ... not in parts else parts)
        except IndexError as problem:
            raise IndexError(f"getitem: {problem}; the tensor has shape {x.shape}") from None
    try:
        if x.device == "meta":
            # One byte seen as an array of x's shape: NumPy works out the shape of the result.
            positions = device.empty(x.data, np.broadcast_to(np.int8(0), x.shape)[key].shape, np.int64)
        else:
            positions = np.array(np.arange(x.numel(), dtype=np.int64).reshape(x.shape)[key], order="C")
    except IndexError as problem:
        raise IndexError(f"getitem: {problem}; the tensor has shape {x.shape}") from None
    return Gather.apply(x, positions)


def embedding(index: Tensor, weight: Tensor) -> Tensor:
    """Look up rows of a table: out[..., :] = weight[index[...], :].

    Parameters
    ----------
    index : Tensor of integers, any shape
    weight : Tensor, (rows, columns), float32 or float64

    Raises
    ------
    IndexError
        An index is negative, such as the -1 that :func:`tinyconv.text.pad` fills up with, or not below the number of
        rows.
    """
    errors.check_ndim("embedding", "weight", weight, 2, "(rows, columns)")
    errors.check_float("embedding", "weight", weight)
    errors.check_tensor("embedding", "index", index)
    errors.check_integer("embedding", "index", index)
    if index.device != "meta":
        numbers = device.host(index.data)
        if numbers.size and numbers.min() == -1:
            raise IndexError(
                f"embedding: index must be in [0, {weight.shape[0]}), got -1; padding is -1: np.maximum(ids, 0), and "
                "give lengths"
            )
        errors.check_range("embedding", "index", numbers, weight.shape[0])
    return Embedding.apply(weight, index.long())
