"""Softmax and cross-entropy; definition: ``reference/softmax.py``.

NumPy calls that write into the outputs: NumPy's exp is vectorised, Numba's is not without Intel's SVML. Only arrays of
one value per distribution are allocated.
"""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


@_quiet
def softmax_forward(x, y):
    """Writes y = e^x / sum e^x over axis 1."""
    np.subtract(x, np.max(x, axis=1, keepdims=True, initial=-np.inf), out=y)
    np.exp(y, out=y)
    np.divide(y, np.sum(y, axis=1, keepdims=True), out=y)


@_quiet
def softmax_backward(dy, y, dx):
    """Writes dx = y (dy - sum dy y); dx must not share memory with an input."""
    np.multiply(dy, y, out=dx)
    total = np.sum(dx, axis=1, keepdims=True)
    np.subtract(dy, total, out=dx)
    np.multiply(y, dx, out=dx)


@_quiet
def log_softmax_forward(x, y):
    """Writes y = x - max - ln sum e^(x - max); y holds the exponentials on the way and must not be x."""
    peak = np.max(x, axis=1, keepdims=True, initial=-np.inf)
    np.subtract(x, peak, out=y)
    np.exp(y, out=y)
    total = np.sum(y, axis=1, keepdims=True)
    # Subtracted in two steps: peak + ln(total) in one number would lose the digits of a small logarithm.
    np.subtract(x, peak, out=y)
    np.subtract(y, np.log(total), out=y)


@_quiet
def log_softmax_backward(dy, y, dx):
    """Writes dx = dy - e^y sum dy; dx must not share memory with an input."""
    np.exp(y, out=dx)
    np.multiply(dx, np.sum(dy, axis=1, keepdims=True), out=dx)
    np.subtract(dy, dx, out=dx)


def _targets(target, weight, ignore_index, dtype):
    """Return each pixel's class and weight, (N, 1, M), and where it is ignored, (N, M): there both are 0."""
    ignored = target == ignore_index
    index = np.where(ignored, 0, target)
    share = np.ones(target.shape, dtype) if weight is None else weight[index]
    share[ignored] = 0
    return index[:, None], share[:, None], ignored


def _spread(weight, classes, label_smoothing, dtype):
    """Return what label smoothing gives to every class, (K,)."""
    spread = np.full(classes, label_smoothing / classes, dtype)
    return spread if weight is None else spread * weight


@_quiet
def cross_entropy_forward(x, target, weight, loss, log_prob, ignore_index, label_smoothing):
    """Writes log_prob and the loss of each pixel, 0 where its target is ignored."""
    log_softmax_forward(x, log_prob)
    index, share, ignored = _targets(target, weight, ignore_index, x.dtype)
    picked = np.take_along_axis(log_prob, index, axis=1)
    picked[share == 0] = 0  # 0 times -inf would be NaN
    loss[...] = (picked * share)[:, 0] * (label_smoothing - 1)
    if label_smoothing:
        loss -= np.einsum("nkm,k->nm", log_prob, _spread(weight, x.shape[1], label_smoothing, x.dtype))
    loss[ignored] = 0


@_quiet
def cross_entropy_backward(dloss, log_prob, target, weight, dx, ignore_index, label_smoothing):
    """Writes dx_k = dloss (p_k sum q - q_k), 0 where the target is ignored."""
    index, share, ignored = _targets(target, weight, ignore_index, dx.dtype)
    share *= 1 - label_smoothing
    spread = _spread(weight, dx.shape[1], label_smoothing, dx.dtype)
    np.exp(log_prob, out=dx)
    np.multiply(dx, share + spread.sum(), out=dx)
    if label_smoothing:
        np.subtract(dx, spread[:, None], out=dx)
    np.put_along_axis(dx, index, np.take_along_axis(dx, index, axis=1) - share, axis=1)
    np.multiply(dx, dloss[:, None], out=dx)
    dx.transpose(0, 2, 1)[ignored] = 0
