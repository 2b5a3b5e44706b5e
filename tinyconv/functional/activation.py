"""Elementwise functions of one tensor, softmax, and dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import device, errors, random
from tinyconv.function import Function
from tinyconv.functional.arithmetic import _elementwise, _map, _run
from tinyconv.tensor import Tensor


class _FromInput(Function):
    """A function whose derivative is written in terms of its input: ``slope(x)``."""

    kernel = ""

    @classmethod
    def forward(cls, ctx: Any, x: Any) -> Any:
        ctx.save(x)
        return _map(cls.kernel, x)

    @classmethod
    def backward(cls, ctx: Any, dy: Any) -> Any:
        (x,) = ctx.saved
        return _run("mul", dy, cls.slope(x))

    @staticmethod
    def slope(x: Any) -> Any:
        """Return the derivative at x."""
        raise NotImplementedError


class _FromOutput(Function):
    """A function whose derivative needs only its output: the input's memory can go."""

    kernel = ""

    @classmethod
    def forward(cls, ctx: Any, x: Any) -> Any:
        y = _map(cls.kernel, x)
        ctx.save(y)
        return y

    @classmethod
    def backward(cls, ctx: Any, dy: Any) -> Any:
        (y,) = ctx.saved
        dx = device.empty(dy, dy.shape)
        getattr(_elementwise(dy), cls.kernel + "_backward")(dy, y, dx)
        return dx


class Neg(Function):
    """-x."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return _map("neg", x)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return _map("neg", dy)


class Exp(Function):
    """e^x, its own derivative."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = _map("exp", x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return _run("mul", dy, ctx.saved[0])


class Log(_FromInput):
    """log x; derivative 1 / x."""

    kernel = "log"

    @staticmethod
    def slope(x: Any) -> Any:
        return _run("div", 1.0, x)


class Sqrt(Function):
    """sqrt x; derivative 1 / (2 sqrt x)."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = _map("sqrt", x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return _run("div", dy, _run("mul", ctx.saved[0], 2.0))


class Abs(_FromInput):
    """|x|; derivative sign(x), 0 at 0."""

    kernel = "abs"

    @staticmethod
    def slope(x: Any) -> Any:
        return _map("sign", x)


class Sin(_FromInput):
    """sin x."""

    kernel = "sin"

    @staticmethod
    def slope(x: Any) -> Any:
        return _map("cos", x)


class Cos(_FromInput):
    """cos x."""

    kernel = "cos"

    @staticmethod
    def slope(x: Any) -> Any:
        return _map("neg", _map("sin", x))


class ReLU(_FromOutput):
    """max(x, 0); the derivative at 0 is 0."""

    kernel = "relu"


class Tanh(_FromOutput):
    """tanh x; derivative 1 - y^2."""

    kernel = "tanh"


class Sigmoid(_FromOutput):
    """1 / (1 + e^-x); derivative y (1 - y)."""

    kernel = "sigmoid"


class Softplus(Function):
    """log(1 + e^x); derivative sigmoid(x)."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save(x)
        return _map("softplus", x)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = device.empty(dy, dy.shape)
        _elementwise(dy).softplus_backward(dy, ctx.saved[0], dx)
        return dx


class LeakyReLU(Function):
    """x where x > 0, else slope x."""

    @staticmethod
    def forward(ctx: Any, x: Any, slope: float) -> Any:
        ctx.save(x)
        ctx.slope = slope
        y = device.empty(x, x.shape)
        _elementwise(x).leaky_relu(x, y, slope)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = device.empty(dy, dy.shape)
        _elementwise(dy).leaky_relu_backward(dy, ctx.saved[0], dx, ctx.slope)
        return dx, None


class Clamp(Function):
    """x limited to [low, high]; the derivative is 1 inside and on the limits, 0 beyond."""

    @staticmethod
    def forward(ctx: Any, x: Any, low: float | None, high: float | None) -> Any:
        ctx.save(x)
        ctx.limits = low, high
        y = device.empty(x, x.shape)
        _elementwise(x).clamp(x, y, low, high)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        (x,), (low, high) = ctx.saved, ctx.limits
        for limit, side in ((low, "ge"), (high, "le")):
            if limit is not None:
                dy = _run("mul", dy, _run(side, x, limit, np.bool_), dy.dtype)
        return dy, None, None


class Softmax(Function):
    """e^x_i / sum_j e^x_j over one axis, for x seen as (outer, n, inner)."""

    kernel = "softmax"

    @classmethod
    def forward(cls, ctx: Any, x: Any, dim: int) -> Any:
        ctx.view = _three_axes(x.shape, dim)
        y = device.empty(x, x.shape)
        forward = getattr(device.kernels_for(x).softmax, cls.kernel + "_forward")
        forward(device.contiguous(x).reshape(ctx.view), y.reshape(ctx.view))
        ctx.save(y)
        return y

    @classmethod
    def backward(cls, ctx: Any, dy: Any) -> Any:
        (y,) = ctx.saved
        dx = device.empty(dy, dy.shape)
        backward = getattr(device.kernels_for(dy).softmax, cls.kernel + "_backward")
        backward(device.contiguous(dy).reshape(ctx.view), y.reshape(ctx.view), dx.reshape(ctx.view))
        return dx, None


class LogSoftmax(Softmax):
    """log softmax(x), computed without leaving the logarithm."""

    kernel = "log_softmax"


def _three_axes(shape: tuple[int, ...], dim: int) -> tuple[int, int, int]:
    before, after = shape[:dim], shape[dim + 1 :]
    return math.prod(before), shape[dim] if shape else 1, math.prod(after)


class Dropout(Function):
    """x times a random 0/1 mask, times a scale."""

    @staticmethod
    def forward(ctx: Any, x: Any, p: float, scale: float) -> Any:
        ctx.scale = scale
        ctx.rows = (x.shape[0] if x.ndim else 1, math.prod(x.shape[1:]))
        seed, stream, samples = random.dropout_key(ctx.rows[0])
        samples = device.beside(samples, x)
        y, mask = device.empty(x, x.shape), device.empty(x, ctx.rows, np.bool_)
        kernel = device.kernels_for(x).random.dropout_forward
        kernel(device.contiguous(x).reshape(ctx.rows), y.reshape(ctx.rows), mask, samples, p, scale, seed, stream)
        ctx.save(mask)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = device.empty(dy, dy.shape)
        kernel = device.kernels_for(dy).random.dropout_backward
        kernel(device.contiguous(dy).reshape(ctx.rows), *ctx.saved, dx.reshape(ctx.rows), ctx.scale)
        return dx, None, None


# ---------------------------------------------------------------------------------------------------------- functions


def _float(op: str, x: Any) -> Tensor:
    errors.check_tensor(op, "x", x)
    errors.check_float(op, "x", x)
    return x


def neg(x: Tensor) -> Tensor:
    """Return -x."""
    errors.check_tensor("neg", "x", x)
    if x.dtype == np.bool_:
        raise TypeError("neg: booleans cannot be negated; use ~ or .long()")
    return Neg.apply(x)


def exp(x: Tensor) -> Tensor:
    """Return e^x."""
    return Exp.apply(_float("exp", x))


def log(x: Tensor) -> Tensor:
    """Return the natural logarithm; -inf at 0 and NaN below."""
    return Log.apply(_float("log", x))


def sqrt(x: Tensor) -> Tensor:
    """Return the square root; NaN below 0."""
    return Sqrt.apply(_float("sqrt", x))


def square(x: Tensor) -> Tensor:
    """Return x * x."""
    return x * x


def abs(x: Tensor) -> Tensor:
    """Return |x|; its derivative at 0 is 0."""
    errors.check_tensor("abs", "x", x)
    return Abs.apply(x)


def sign(x: Tensor) -> Tensor:
    """Return -1, 0 or 1; it has no gradient."""
    errors.check_tensor("sign", "x", x)
    return Tensor(_map("sign", x.data))


def sin(x: Tensor) -> Tensor:
    """Return the sine (radians)."""
    return Sin.apply(_float("sin", x))


def cos(x: Tensor) -> Tensor:
    """Return the cosine (radians)."""
    return Cos.apply(_float("cos", x))


def relu(x: Tensor) -> Tensor:
    """Rectified linear unit: max(x, 0), with derivative 0 at 0 (Krizhevsky 2012, sec. 3.1)."""
    return ReLU.apply(_float("relu", x))


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Return x where x > 0, else negative_slope * x."""
    return LeakyReLU.apply(_float("leaky_relu", x), float(negative_slope))


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return Tanh.apply(_float("tanh", x))


def sigmoid(x: Tensor) -> Tensor:
    """Logistic function 1 / (1 + e^-x), without overflow at any x."""
    return Sigmoid.apply(_float("sigmoid", x))


def softplus(x: Tensor) -> Tensor:
    """Smooth rectifier log(1 + e^x), without overflow at any x."""
    return Softplus.apply(_float("softplus", x))


def clamp(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """Limit x to [min, max], one of which may be None; the derivative is 1 inside and on the limits, 0 beyond."""
    errors.check_tensor("clamp", "x", x)
    if min is None and max is None:
        raise ValueError("clamp: give at least one of min and max")
    if any(isinstance(limit, float) for limit in (min, max)) and x.dtype.kind != "f":
        x = x.float()
    return Clamp.apply(x, min, max)


def softmax(x: Tensor, dim: int) -> Tensor:
    """Probabilities y_i = e^x_i / sum_j e^x_j along one axis; the largest x is subtracted, so nothing overflows."""
    _float("softmax", x)
    return Softmax.apply(x, errors.check_axis("softmax", dim, x.ndim))


def log_softmax(x: Tensor, dim: int) -> Tensor:
    """Logarithm of softmax along one axis: x_i - log sum_j e^x_j."""
    _float("log_softmax", x)
    return LogSoftmax.apply(x, errors.check_axis("log_softmax", dim, x.ndim))


def dropout(x: Tensor, p: float = 0.5, training: bool = True, inverted: bool = True) -> Tensor:
    """Set each element to 0 with probability p during training (Krizhevsky 2012, sec. 4.2; Hinton 2012).

    Parameters
    ----------
    x : Tensor, (N, ...)
        Axis 0 counts samples: row i is drawn by its sample's index (:mod:`tinyconv.random`).
    p : float
        Probability of dropping, in [0, 1].
    inverted : bool
        True (PyTorch): training divides what is kept by 1 - p, testing changes nothing.
        False (the paper): training keeps values as they are, testing multiplies them by 1 - p.
    """
    errors.check_probability("dropout", "p", p)
    _float("dropout", x)
    if not training:
        return x if inverted or p == 0 else x * (1.0 - p)
    if p == 0:
        return x
    return Dropout.apply(x, float(p), 1.0 / (1.0 - p) if inverted and p < 1 else 1.0)
