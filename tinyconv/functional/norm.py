"""Normalisation: local response (between neighbouring maps), batch (over samples and pixels), unit length."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.function import Function, no_grad
from tinyconv.functional.activation import clamp, sqrt
from tinyconv.functional.arithmetic import _map, _run
from tinyconv.functional.reduce import sum
from tinyconv.tensor import Tensor


def _planes(x: Any) -> tuple[int, int, int]:
    """Return (N, C, M): everything after the channels in one axis."""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


class LocalResponseNorm(Function):
    """x over a power of its neighbours' energy; see :func:`local_response_norm`."""

    @staticmethod
    def forward(ctx: Any, x: Any, size: int, alpha: float, beta: float, k: float) -> Any:
        x = device.contiguous(x)
        ctx.planes, ctx.rule = _planes(x), (size, alpha, beta)
        y, scale = device.empty(x, x.shape), device.empty(x, x.shape)
        views = (a.reshape(ctx.planes) for a in (x, y, scale))
        device.kernels_for(x).norm.local_response_norm_forward(*views, size, alpha, beta, k)
        ctx.save(x, scale)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, scale = ctx.saved
        dx = device.empty(dy, x.shape)
        views = (a.reshape(ctx.planes) for a in (device.contiguous(dy), x, scale, dx))
        device.kernels_for(dy).norm.local_response_norm_backward(*views, *ctx.rule)
        return dx, None, None, None, None


class BatchNorm(Function):
    """(x - mean) invstd weight + bias, where in training mean and invstd depend on x; see :func:`batch_norm`."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, mean: Any, invstd: Any, train: bool) -> Any:
        x = device.contiguous(x)
        ctx.planes, ctx.train = _planes(x), train
        y = device.empty(x, x.shape)
        kernel = device.kernels_for(x).norm.batch_norm_forward
        kernel(x.reshape(ctx.planes), mean, invstd, weight, bias, y.reshape(ctx.planes))
        ctx.save(x, mean, invstd, weight)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, mean, invstd, weight = ctx.saved
        # One array per gradient that is wanted; the kernel skips what is None.
        shapes = x.shape, mean.shape, mean.shape
        grads = [device.empty(dy, s) if need else None for s, need in zip(shapes, ctx.needs_input_grad, strict=False)]
        dx = None if grads[0] is None else grads[0].reshape(ctx.planes)
        dy = device.contiguous(dy).reshape(ctx.planes)
        kernel = device.kernels_for(dy).norm.batch_norm_backward
        kernel(dy, x.reshape(ctx.planes), mean, invstd, weight, dx, *grads[1:], ctx.train)
        return *grads, None, None, None


def local_response_norm(
    x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, alpha_over_size: bool = True
) -> Tensor:
    """Divide each value by a power of the energy of its neighbours in other maps (Krizhevsky 2012, sec. 3.3).

    y_i = x_i / (k + a sum_j x_j^2)^beta, where j runs over ``size`` channels around i, fewer at both ends.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (N, C, ...), float32 or float64
    size : int
        Number of channels in a sum, the paper's n. An even size reaches one channel further down than up, as PyTorch's.
    alpha, beta, k : float
        The paper has size=5, alpha=1e-4, beta=0.75, k=2.
    alpha_over_size : bool
        True: a = alpha / size (Caffe, PyTorch, Krizhevsky's released code), also where fewer channels are summed.
        False: a = alpha, the paper's formula as printed.

    Raises
    ------
    ValueError
        x has fewer than 3 axes, or size < 1.
    """
    op = "local_response_norm"
    errors.check_tensor(op, "x", x)
    errors.check_float(op, "x", x)
    if x.ndim < 3:
        raise ValueError(f"{op}: x must be (N, C, H, W) or (N, C, ...), got shape {x.shape}")
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"{op}: size must be an int of at least 1 (a number of channels), got {size!r}")
    scaled = float(alpha) / size if alpha_over_size else float(alpha)
    return LocalResponseNorm.apply(x, int(size), scaled, float(beta), float(k))


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Give each channel mean 0 and variance 1, then a learned scale and shift (Ioffe & Szegedy 2015, Algorithm 1).

    y = (x - mean) / sqrt(var + eps) * weight + bias. In training, mean and (biased) variance are the batch's,
    over samples and pixels, and the running ones move towards them: running <- (1 - momentum) running + momentum batch,
    where the running variance gets the unbiased one, n / (n - 1) times the batch's. Otherwise the running ones serve.

    Parameters
    ----------
    x : Tensor, (N, C, H, W), (N, C) or (N, C, ...), float32 or float64
    running_mean, running_var : Tensor, (C,), or None
        Changed in place in training; None there keeps no average.
    weight, bias : Tensor, (C,), or None
        The paper's gamma and beta.
    momentum : float
        Weight of the newest batch (Caffe's is 1 minus this).

    Raises
    ------
    ValueError
        x has fewer than 2 axes, a vector is not (C,), training with one value per channel, no running statistics.
    """
    op = "batch_norm"
    errors.check_tensor(op, "x", x)
    errors.check_float(op, "x", x)
    if x.ndim < 2:
        raise ValueError(f"{op}: x must be (N, C, H, W) or (N, C, ...), got shape {x.shape}")
    vectors = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, vector in vectors.items():
        if vector is not None:
            errors.check_shape(op, name, vector, (x.shape[1],), "(one number per channel of x)")
    errors.check_same(op, x=x, **vectors)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError(f"{op}: running_mean and running_var are needed unless training=True, got None")
        # Copied: a later training step writes into the running mean before this backward may need it.
        mean, var = running_mean.data.copy(), running_var.data
    else:
        mean, var = _batch_statistics(op, x, running_mean, running_var, momentum)
    invstd = _run("div", 1.0, _map("sqrt", _run("add", var, float(eps))))
    return BatchNorm.apply(x, weight, bias, mean, invstd, bool(training))


@no_grad()
def _batch_statistics(
    op: str, x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float
) -> tuple[Any, Any]:
    """Return the batch's mean and biased variance, raw, after moving the running statistics towards them."""
    planes = _planes(x)
    count = planes[0] * planes[2]
    if count == 1:
        raise ValueError(
            f"{op}: training needs more than one value per channel, got shape {x.shape}; "
            "use a larger batch, or model.eval() to normalise with the running statistics"
        )
    mean, var = device.empty(x.data, (planes[1],)), device.empty(x.data, (planes[1],))
    device.kernels_for(x.data).norm.batch_norm_statistics(device.contiguous(x.data).reshape(planes), mean, var)
    if count:  # an empty batch says nothing about the data
        for running, batch, factor in ((running_mean, mean, 1.0), (running_var, var, count / (count - 1))):
            if running is not None:
                running.mul_(1 - momentum).add_(_run("mul", batch, momentum * factor))
    return mean, var


def normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the length along one axis: x / max(|x|, eps), with |x| the Euclidean norm (p=2) or sum of sizes (p=1).

    A vector shorter than eps is divided by eps, so zeros stay zeros.
    """
    op = "normalize"
    errors.check_tensor(op, "x", x)
    errors.check_float(op, "x", x)
    errors.check_choice(op, "p", p, (1, 2))
    axis = errors.check_axis(op, dim, x.ndim)
    if p == 1:
        return x / clamp(sum(x.abs(), axis, keepdim=True), min=eps)
    # The limit is set before the root, whose derivative at 0 is infinite.
    return x / sqrt(clamp(sum(x * x, axis, keepdim=True), min=eps * eps))
