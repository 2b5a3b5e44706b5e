"""The matrix product and the fully connected layer."""

from __future__ import annotations

import math
from typing import Any

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.functional.arithmetic import _broadcast, _operands, _sum_to
from tinyconv.tensor import Tensor

_LARGE, _FEW = 1 << 20, 128  # elements of a weight, rows


class MatMul(Function):
    """Matrix product over the last two axes, broadcast over the others; gradients dy y^T and x^T dy."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save(x, y)
        ctx.lead = _broadcast("matmul (batch axes)", x.shape[:-2], y.shape[:-2])
        out = device.empty(x, (*ctx.lead, x.shape[-2], y.shape[-1]))
        device.kernels_for(x).matmul.matmul(x, y, out)
        return out

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, y = ctx.saved
        dx = dweight = None
        if ctx.needs_input_grad[0]:
            dx = device.empty(dy, (*ctx.lead, *x.shape[-2:]))
            device.kernels_for(dy).matmul.matmul(dy, y.swapaxes(-1, -2), dx)
            dx = _sum_to(dx, x.shape)
        if ctx.needs_input_grad[1]:
            dweight = device.empty(dy, (*ctx.lead, *y.shape[-2:]))
            device.kernels_for(dy).matmul.matmul(x.swapaxes(-1, -2), dy, dweight)
            dweight = _sum_to(dweight, y.shape)
        return dx, dweight


class Linear(Function):
    """x weight^T for the rows of x; gradients dy weight and dy^T x."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any) -> Any:
        ctx.save(x, weight)
        y = device.empty(x, (x.shape[0], weight.shape[0]))
        if weight.size < _LARGE or x.shape[0] > _FEW:
            device.kernels_for(x).matmul.matmul(x, weight.T, y)
            return y
        # Few rows and a weight far larger than any cache: OpenBLAS needs 28 instead of 48 ms the other way round
        # (fc6 of AlexNet, 16 images; PyTorch 28).
        turned = device.empty(x, y.shape[::-1])
        device.kernels_for(x).matmul.matmul(weight, x.T, turned)
        device.kernels_for(x).elementwise.copy(turned.T, y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, weight = ctx.saved
        product = device.kernels_for(dy).matmul.matmul
        dx = dweight = None
        if ctx.needs_input_grad[0]:
            dx = device.empty(dy, x.shape)
            product(dy, weight, dx)
        if ctx.needs_input_grad[1]:
            # In the weight's own layout. As the product with a transposed view it came out transposed, and turning
            # AlexNet's fc6 (151 MB) round took two thirds of the layer's time.
            dweight = device.empty(dy, weight.shape)
            product(dy.T, x, dweight)
        return dx, dweight


Linear.__name__ = "MatMul"  # what it is: tinyconv.summary counts its multiplications under this name


class AddRow(Function):
    """Add a vector to every row, in place: for an array that nobody else holds."""

    @staticmethod
    def forward(ctx: Any, x: Any, row: Any) -> Any:
        device.kernels_for(x).elementwise.add(x, row, x)
        return x

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return dy, _sum_to(dy, dy.shape[1:]) if ctx.needs_input_grad[1] else None


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Return the matrix product over the last two axes.

    Parameters
    ----------
    x : Tensor, (..., M, K) or (K,)
    y : Tensor, (..., K, N) or (K,)

    Raises
    ------
    ValueError
        The inner sizes differ, or an operand has no axis.
    """
    x, y = _operands("matmul", x, y)
    errors.check_tensor("matmul", "x", x)
    errors.check_same("matmul", x=x, y=y)
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ValueError(f"matmul: wanted (..., M, K) @ (..., K, N), got {x.shape} @ {y.shape}")
    wide, tall = x if x.ndim > 1 else x.unsqueeze(0), y if y.ndim > 1 else y.unsqueeze(1)
    if wide.ndim > 2 and tall.ndim == 2:
        # One large product instead of many, and y's gradient needs no array per batch entry.
        rows = wide.reshape(math.prod(wide.shape[:-1]), wide.shape[-1])
        out = MatMul.apply(rows, tall).reshape(*wide.shape[:-1], tall.shape[-1])
    else:
        out = MatMul.apply(wide, tall)
    out = out if y.ndim > 1 else out.squeeze(-1)
    return out if x.ndim > 1 else out.squeeze(-2 if y.ndim > 1 else -1)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Fully connected layer: y = x weight^T + bias.

    Parameters
    ----------
    x : Tensor, (..., in_features), float32 or float64
    weight : Tensor, (out_features, in_features)
    bias : Tensor, (out_features,), optional

    Returns
    -------
    Tensor, (..., out_features)

    Raises
    ------
    ValueError
        The last axis of x is not in_features long.
    """
    errors.check_ndim("linear", "weight", weight, 2, "(out_features, in_features)")
    errors.check_tensor("linear", "x", x)
    errors.check_float("linear", "x", x)
    errors.check_same("linear", x=x, weight=weight, bias=bias)
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x must be (..., {weight.shape[1]}) for a weight of shape {weight.shape}, got shape {x.shape}; "
            "flatten feature maps with x.flatten(1)"
        )
    if bias is not None:
        errors.check_shape("linear", "bias", bias, (weight.shape[0],))
    rows = x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = Linear.apply(rows, weight)
    if bias is not None:
        y = AddRow.apply(y, bias)
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], weight.shape[0])
