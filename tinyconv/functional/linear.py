"""The fully connected layer."""

from __future__ import annotations

from tinyconv import errors
from tinyconv.functional.arithmetic import matmul
from tinyconv.tensor import Tensor


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
    y = matmul(x, weight.T)
    if bias is None:
        return y
    errors.check_shape("linear", "bias", bias, (weight.shape[0],))
    return y + bias
