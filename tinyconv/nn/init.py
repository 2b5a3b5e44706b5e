"""Initial values of parameters, written in place. Draw n after ``tinyconv.manual_seed(s)`` depends on (s, n) only.

All draws are float32, so a float64 copy of a network starts from the same numbers. Tensors on "meta" stay as they are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import errors, random
from tinyconv.function import no_grad
from tinyconv.tensor import Tensor


@no_grad()
def constant_(tensor: Tensor, value: float) -> Tensor:
    """Set every element to ``value``."""
    return tensor.fill_(float(value))


def zeros_(tensor: Tensor) -> Tensor:
    """Set every element to 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Set every element to 1."""
    return constant_(tensor, 1.0)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Draw from the normal distribution N(mean, std^2)."""
    if not std >= 0:
        raise ValueError(f"normal_: std must be at least 0, got {std}")
    return _draw(tensor, "normal", std, mean)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Draw uniformly from [a, b)."""
    if not b >= a:
        raise ValueError(f"uniform_: b must be at least a, got a={a} and b={b}")
    return _draw(tensor, "uniform", b - a, a)


@no_grad()
def _draw(tensor: Tensor, stream: str, scale: float, shift: float) -> Tensor:
    errors.check_tensor(stream + "_", "tensor", tensor)
    errors.check_float(stream + "_", "tensor", tensor)
    if tensor.device == "meta":
        return tensor
    generator = random.next_generator("init." + stream)
    draw = generator.standard_normal if stream == "normal" else generator.random
    in_place = tensor.device == "cpu" and tensor.dtype == np.float32 and tensor.data.flags.c_contiguous
    if in_place:  # a fully connected layer of AlexNet has 38 million values: no second copy of them
        draw(dtype=np.float32, out=tensor.data)
    else:
        tensor.data[...] = draw(tensor.shape, np.float32)
    return tensor.mul_(scale).add_(shift)


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return (fan_in, fan_out): how many inputs one output sums, and how many outputs one input goes to.

    (out, in) for a matrix; for a filter bank (K, C / groups, KH, KW) both times KH KW.
    """
    if tensor.ndim < 2:
        raise ValueError(f"fans: a weight must have at least 2 axes (out, in, ...), got shape {tensor.shape}")
    window = int(np.prod(tensor.shape[2:], dtype=int))
    return tensor.shape[1] * window, tensor.shape[0] * window


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance through a nonlinearity; ``param`` is leaky_relu's slope (0.01)."""
    gains: dict[str, Any] = {"linear": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}
    errors.check_choice("calculate_gain", "nonlinearity", nonlinearity, (*gains, "leaky_relu"))
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    return gains[nonlinearity]


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    errors.check_choice("kaiming", "mode", mode, ("fan_in", "fan_out"))
    fan = fans(tensor)[0 if mode == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """He's initialisation: N(0, gain^2 / fan) (He et al. 2015, "Delving deep", eq. 10); ``a``: slope below 0."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """He's initialisation with a uniform distribution of the same variance, on +-gain sqrt(3 / fan)."""
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Glorot's initialisation: N(0, gain^2 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / max(sum(fans(tensor)), 1)))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Glorot's initialisation, uniform on +-gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    bound = gain * math.sqrt(6 / max(sum(fans(tensor)), 1))
    return uniform_(tensor, -bound, bound)


def default_(weight: Tensor, bias: Tensor | None) -> None:
    """Initialise a layer as PyTorch does by default: weight and bias uniform on +-1 / sqrt(fan_in)."""
    bound = 1 / math.sqrt(max(fans(weight)[0], 1))
    uniform_(weight, -bound, bound)
    if bias is not None:
        uniform_(bias, -bound, bound)
