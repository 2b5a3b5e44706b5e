"""Losses: how far an output is from its target. ``reduction`` is "mean", "sum" or "none" in all of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.functional.activation import abs, log, log_softmax, relu, softplus
from tinyconv.functional.arithmetic import _map, _run, _sum_to, where
from tinyconv.functional.indexing import Gather
from tinyconv.functional.reduce import sum
from tinyconv.tensor import Tensor

_REDUCTIONS = ("mean", "sum", "none")


class CrossEntropy(Function):
    """-sum_k q_k log softmax(x)_k of every pixel of x seen as (N, K, M), in one kernel; see :func:`cross_entropy`.

    With a divisor the pixels' losses are added up and divided by it, without one they come back in ``shape``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Any, target: Any, weight: Any, rule: tuple, view: tuple, shape: tuple, divisor: Any
    ) -> Any:
        loss, log_prob = device.empty(x, target.shape), device.empty(x, view)
        kernels = device.kernels_for(x)
        kernels.softmax.cross_entropy_forward(
            device.contiguous(x).reshape(view), target, weight, loss, log_prob, *rule
        )  # fmt: skip
        ctx.save(log_prob)
        ctx.target, ctx.weight, ctx.rule, ctx.shape, ctx.divisor = target, weight, rule, x.shape, divisor
        if divisor is None:
            return loss.reshape(shape)
        total = device.empty(x, (1, 1))
        kernels.reduce.reduce_sum(loss, total, (0, 1))
        kernels.elementwise.div(total, divisor, total)
        return total.reshape(())

    @staticmethod
    def backward(ctx: Any, dloss: Any) -> Any:
        (log_prob,) = ctx.saved
        kernels, shape = device.kernels_for(dloss), ctx.target.shape
        if ctx.divisor is None:
            dloss = device.contiguous(dloss).reshape(shape)
        else:
            every = device.empty(dloss, shape)
            kernels.elementwise.div(dloss, ctx.divisor, every)
            dloss = every
        dx = device.empty(dloss, ctx.shape)
        view = dx.reshape(log_prob.shape)
        kernels.softmax.cross_entropy_backward(dloss, log_prob, ctx.target, ctx.weight, view, *ctx.rule)
        return dx, None, None, None, None, None, None


class BinaryCrossEntropy(Function):
    """-(t log x + (1 - t) log(1 - x)) with logarithms not below -100; see :func:`binary_cross_entropy`."""

    @staticmethod
    def forward(ctx: Any, x: Any, target: Any) -> Any:
        ctx.save(x, target)
        ctx.logs = tuple(_limited(_map("log", p)) for p in (x, _run("sub", 1.0, x)))
        yes, no = ctx.logs
        kept = _run("add", _run("mul", target, yes), _run("mul", _run("sub", 1.0, target), no))
        return _map("neg", kept)

    @staticmethod
    def backward(ctx: Any, dloss: Any) -> Any:
        x, target = ctx.saved
        dx = dtarget = None
        if ctx.needs_input_grad[0]:
            variance = _run("maximum", _run("mul", x, _run("sub", 1.0, x)), 1e-12)
            dx = _run("mul", dloss, _run("div", _run("sub", x, target), variance))
        if ctx.needs_input_grad[1]:
            dtarget = _sum_to(_run("mul", dloss, _run("sub", ctx.logs[1], ctx.logs[0])), target.shape)
        return dx, dtarget


def _limited(logarithm: Any) -> Any:
    return _run("maximum", logarithm, -100.0)


# ------------------------------------------------------------------------------------------------------ shared by all


def _check(op: str, x: Tensor, target: Any, reduction: str, integers: bool = False) -> None:
    errors.check_tensor(op, "x", x)
    errors.check_float(op, "x", x)
    errors.check_tensor(op, "target", target)
    errors.check_choice(op, "reduction", reduction, _REDUCTIONS)
    if integers:
        errors.check_integer(op, "target", target)
    else:
        errors.check_same(op, x=x, target=target)
        errors.check_shape(op, "target", target, x.shape, "like x")


def _constant(op: str, x: Tensor, name: str, weight: Tensor) -> Tensor:
    """Return a weight without its gradient, or raise if it does not broadcast to x's shape."""
    errors.check_tensor(op, name, weight)
    errors.check_same(op, x=x, **{name: weight})
    try:
        fits = np.broadcast_shapes(x.shape, weight.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{op}: {name} must broadcast to x's shape {x.shape}, got {weight.shape}")
    return weight.detach()


def _divide(total: Tensor, count: Any) -> Tensor:
    """Return total / count; NaN, without a warning, if there was nothing to average (PyTorch's rule)."""
    return total / (count or float("nan"))


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    return _divide(sum(loss), loss.numel()) if reduction == "mean" else sum(loss)


def _class_axes(op: str, x: Tensor, target: Tensor) -> tuple[int, int, int]:
    """Return x's shape seen as (N, K, M), or raise if target is not x without its class axis."""
    if x.ndim == 0:
        raise ValueError(f"{op}: x must be (N, K), (N, K, ...) or (K,), got shape ()")
    wanted: tuple[int, ...]
    if x.ndim == 1:
        wanted, view = (), (1, x.shape[0], 1)
    else:
        wanted = (x.shape[0], *x.shape[2:])
        view = (x.shape[0], x.shape[1], math.prod(x.shape[2:]))
    errors.check_shape(op, "target", target, wanted, f"for x of shape {x.shape} (x without its class axis)")
    if view[1] == 0:
        raise ValueError(f"{op}: x must have at least one class, got shape {x.shape}")
    return view


def _class_targets(op: str, x: Tensor, target: Tensor, view: tuple[int, int, int], ignore: int | None) -> Any:
    """Return the class indices as (N, M) int64, checked (on meta there is nothing to check)."""
    shape = view[0], view[2]
    if x.device == "meta":
        return device.empty(x.data, shape, np.int64)
    classes = device.host(target.data)
    errors.check_range(op, "target", classes, view[1], ignore)
    return np.ascontiguousarray(classes, np.int64).reshape(shape)


def _where_x_is(x: Tensor, target: Tensor, classes: Any) -> Any:  # on a GPU the target itself is there already
    if target.device == x.device == "cuda":
        return device.contiguous(target.data.astype(np.int64, copy=False)).reshape(classes.shape)
    return device.move(classes, x.device)


def _class_weight(op: str, x: Tensor, weight: Any, classes: int) -> Any:
    if weight is None:
        return None
    errors.check_shape(op, "weight", weight, (classes,), "(one number per class)")
    errors.check_same(op, x=x, weight=weight)
    return device.contiguous(weight.data)


def _weight_of(targets: Any, weight: Any, ignore_index: int) -> float:
    """Return the sum of the weights of all targets that count, what a weighted mean divides by."""
    if device.of(targets) == "meta":
        return 1.0
    kept = targets != ignore_index
    return float(np.count_nonzero(kept) if weight is None else device.host(weight)[targets[kept]].sum(dtype=np.float64))


# --------------------------------------------------------------------------------------------------- classification


def cross_entropy(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Negative log probability of the right class, from scores: -log softmax(x)[target] (Krizhevsky 2012, sec. 3).

    With label smoothing s (Szegedy 2016, sec. 7) the right class has the
    probability 1 - s + s / K and every other one s / K.

    Parameters
    ----------
    x : Tensor, (N, K), (N, K, ...) or (K,), float32 or float64
        Scores ("logits") of K classes, before any softmax.
    target : Tensor of integers, (N,), (N, ...) or (); or of x's dtype and shape
        The classes, in [0, K); or a probability for every class.
    weight : Tensor, (K,), optional
        How much each class counts; "mean" divides by the sum of the targets' weights.
    ignore_index : int
        Targets of this value count for nothing.

    Raises
    ------
    IndexError
        A target is no class.
    ValueError
        Shapes do not fit, or label_smoothing is not in [0, 1].
    """
    op = "cross_entropy"
    errors.check_tensor(op, "target", target)
    errors.check_probability(op, "label_smoothing", label_smoothing)
    if target.dtype.kind == "f":
        return _soft_cross_entropy(op, x, target, weight, reduction, label_smoothing)
    _check(op, x, target, reduction, integers=True)
    view = _class_axes(op, x, target)
    targets = _class_targets(op, x, target, view, ignore_index)
    shares = _class_weight(op, x, weight, view[1])
    divisor = None if reduction == "none" else 1.0
    if reduction == "mean":  # of nothing: NaN, without a warning (PyTorch's rule)
        divisor = _weight_of(targets, shares, ignore_index) or float("nan")
    rule = int(ignore_index), float(label_smoothing)
    return CrossEntropy.apply(x, _where_x_is(x, target, targets), shares, rule, view, target.shape, divisor)


def _soft_cross_entropy(
    op: str, x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    """-sum_k w_k t_k log softmax(x)_k for targets that are probabilities."""
    _check(op, x, target, reduction)
    if x.ndim == 0 or x.shape[min(x.ndim - 1, 1)] == 0:
        raise ValueError(f"{op}: x must be (N, K), (N, K, ...) or (K,) with at least one class, got shape {x.shape}")
    axis = min(x.ndim - 1, 1)
    classes = x.shape[axis]
    _class_weight(op, x, weight, classes)
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    if weight is not None:
        target = target * weight.detach().reshape([classes if i == axis else 1 for i in range(x.ndim)])
    loss = -sum(target * log_softmax(x, axis), axis)
    return _reduce(loss, reduction)


def nll_loss(
    x: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Negative log-likelihood: -x[target], for x that already holds log probabilities (from :func:`log_softmax`).

    x : Tensor, (N, K), (N, K, ...) or (K,); the rest as in :func:`cross_entropy`.
    """
    op = "nll_loss"
    _check(op, x, target, reduction, integers=True)
    view = _class_axes(op, x, target)
    targets = _class_targets(op, x, target, view, ignore_index)
    shares = _class_weight(op, x, weight, view[1])
    loss = -_picked(x.reshape(view), targets, shares, ignore_index)
    if reduction == "none":
        return loss.reshape(target.shape)
    return sum(loss) if reduction == "sum" else _divide(sum(loss), _weight_of(targets, shares, ignore_index))


def _picked(x: Tensor, targets: Any, weight: Any, ignore_index: int | None) -> Tensor:
    """Return weight[t] x[n, t, m] with t = targets[n, m], 0 where ignored; x (N, K, M), targets (N, M)."""
    if x.device == "meta":
        return Gather.apply(x, targets)
    N, K, M = x.shape
    kept = np.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    classes = np.where(kept, targets, 0)
    positions = (np.arange(N)[:, None] * K + classes) * M + np.arange(M)
    out = Gather.apply(x, positions)
    if weight is not None:
        out = out * _beside(x, device.host(weight)[classes])
    return out if kept.all() else where(_beside(x, kept), out, 0.0)


def _beside(x: Tensor, array: np.ndarray) -> Tensor:
    return Tensor(device.move(array, x.device))


def multi_margin_loss(
    x: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Multi-class hinge: (1 / K) sum over wrong classes i of max(0, margin - x_target + x_i)^p.

    x : Tensor, (N, K) or (K,), scores; target : Tensor of integers, (N,) or ();
    weight : Tensor, (K,), factor of each right class.
    """
    op = "multi_margin_loss"
    _check(op, x, target, reduction, integers=True)
    errors.check_choice(op, "p", p, (1, 2))
    errors.check_ndim(op, "x", x, (1, 2), "(N, K) or (K,)")
    view = _class_axes(op, x, target)
    targets = _class_targets(op, x, target, view, None)
    shares = _class_weight(op, x, weight, view[1])
    rows = x.reshape(view)
    right = _picked(rows, targets, None, None)
    excess = relu(rows - right.unsqueeze(1) + float(margin))
    excess = excess if p == 1 else excess * excess
    if x.device != "meta":
        # The right class itself would add margin^p.
        excess = where(_beside(x, np.arange(view[1])[:, None] == targets[:, None]), 0.0, excess)
    loss = sum(excess, 1) / view[1]
    if shares is not None and x.device != "meta":
        loss = loss * _beside(x, device.host(shares)[targets])
    return _reduce(loss.reshape(target.shape), reduction)


def hinge_loss(x: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """Hinge of a two-class score, as support vector machines use it: max(0, margin - target x), target -1 or +1."""
    _check("hinge_loss", x, target, reduction)
    return _reduce(relu(float(margin) - target * x), reduction)


# ------------------------------------------------------------------------------------------------------- regression


def mse_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Squared error (x - target)^2; target has exactly x's shape (nothing is broadcast)."""
    _check("mse_loss", x, target, reduction)
    difference = x - target
    return _reduce(difference * difference, reduction)


def l1_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Absolute error |x - target|; its derivative at 0 is 0."""
    _check("l1_loss", x, target, reduction)
    return _reduce(abs(x - target), reduction)


def smooth_l1_loss(x: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Squared error near 0, absolute error beyond (Girshick 2015, eq. 3).

    d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, with d = x - target.
    Faster R-CNN writes beta as 1 / sigma^2. beta = 0 is :func:`l1_loss`.
    """
    _check("smooth_l1_loss", x, target, reduction)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, got {beta}")
    size = abs(x - target)
    if beta == 0:
        return _reduce(size, reduction)
    return _reduce(where(size < beta, size * size * (0.5 / beta), size - 0.5 * beta), reduction)


# ------------------------------------------------------------------------------------------------------ probabilities


def binary_cross_entropy(x: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """-(t log x + (1 - t) log(1 - x)) for probabilities x; logarithms are not let below -100, as in PyTorch.

    Prefer :func:`binary_cross_entropy_with_logits`, which loses no digits near 0 and 1.

    Raises
    ------
    ValueError
        An x on the CPU lies outside [0, 1]. On a GPU its loss is NaN.
    """
    op = "binary_cross_entropy"
    _check(op, x, target, reduction)
    # Not on a GPU, which would have to finish all its work first; there the logarithms of such an x give NaN.
    if x.device == "cpu" and not ((x.data >= 0) & (x.data <= 1)).all():
        raise ValueError(f"{op}: x must be probabilities in [0, 1]; use binary_cross_entropy_with_logits for scores")
    loss = BinaryCrossEntropy.apply(x, target)
    return _reduce(loss if weight is None else loss * _constant(op, x, "weight", weight), reduction)


def binary_cross_entropy_with_logits(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(x), computed from the scores: (1 - t) x + (1 + (w - 1) t) softplus(-x).

    weight scales each loss, pos_weight w each positive target; both are broadcast to x's shape.
    """
    op = "binary_cross_entropy_with_logits"
    _check(op, x, target, reduction)
    positive = softplus(-x)
    if pos_weight is not None:
        positive = positive * ((_constant(op, x, "pos_weight", pos_weight) - 1.0) * target + 1.0)
    loss = (1.0 - target) * x + positive
    return _reduce(loss if weight is None else loss * _constant(op, x, "weight", weight), reduction)


def kl_div(x: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Kullback-Leibler divergence t (log t - x), for x in log probabilities; 0 where t is 0.

    ``reduction="batchmean"`` divides the sum by N, which gives the divergence; "mean" divides by all elements.
    """
    errors.check_choice("kl_div", "reduction", reduction, (*_REDUCTIONS, "batchmean"))
    _check("kl_div", x, target, "none")
    if log_target:
        loss = target.exp() * (target - x)
    else:
        positive = target > 0
        loss = where(positive, target * (log(where(positive, target, 1.0)) - x), 0.0)
    if reduction == "batchmean":
        return _divide(sum(loss), x.shape[0] if x.ndim else 1)
    return _reduce(loss, reduction)
