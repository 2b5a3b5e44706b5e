"""Softmax and cross-entropy, defined with NumPy; x is (outer, n, inner), the distribution runs over axis 1.

Source: Bridle 1990 (softmax); Szegedy et al. 2016, sec. 7 (label smoothing). Weights and ignored targets as in PyTorch.
"""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


@_quiet
def softmax_forward(x, y):
    """One output owns one class. Writes y = e^x / sum e^x; the maximum is subtracted first, so nothing overflows."""
    exponential = np.exp(x - np.max(x, axis=1, keepdims=True, initial=-np.inf))
    y[...] = exponential / np.sum(exponential, axis=1, keepdims=True)


@_quiet
def softmax_backward(dy, y, dx):
    """One input owns one class. Writes dx = y (dy - sum dy y)."""
    dx[...] = y * (dy - np.sum(dy * y, axis=1, keepdims=True))


@_quiet
def log_softmax_forward(x, y):
    """One output owns one class. Writes y = x - max - ln sum e^(x - max)."""
    shifted = x - np.max(x, axis=1, keepdims=True, initial=-np.inf)
    y[...] = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


@_quiet
def log_softmax_backward(dy, y, dx):
    """One input owns one class. Writes dx = dy - softmax sum dy, with softmax = e^y."""
    dx[...] = dy - np.exp(y) * np.sum(dy, axis=1, keepdims=True)


def _wanted(target, weight, classes, label_smoothing, dtype):
    """Return q (classes,): the loss is -sum q log p. Weighted one-hot, with a share spread over all classes."""
    weight = np.ones(classes, dtype) if weight is None else weight
    q = label_smoothing / classes * weight
    q[target] += (1 - label_smoothing) * weight[target]
    return q.astype(dtype)


@_quiet
def cross_entropy_forward(x, target, weight, loss, log_prob, ignore_index, label_smoothing):
    """One output owns one pixel. Writes log_prob = log_softmax(x) and loss (N, M) = -sum_k q_k log_prob_k (0: ignored).

    q = (1 - s) w_target onehot + (s / K) w, s the label smoothing; x (N, K, M), target (N, M), weight (K,) or None.
    """
    log_softmax_forward(x, log_prob)
    loss[...] = 0
    for n, m in np.ndindex(target.shape):
        if target[n, m] != ignore_index:
            q = _wanted(target[n, m], weight, x.shape[1], label_smoothing, x.dtype)
            used = q != 0  # log_prob may be -inf where q is 0
            loss[n, m] = -np.sum(q[used] * log_prob[n, used, m])


@_quiet
def cross_entropy_backward(dloss, log_prob, target, weight, dx, ignore_index, label_smoothing):
    """One input owns one class of one pixel. Writes dx_k = dloss (p_k sum q - q_k), 0 if ignored."""
    dx[...] = 0
    for n, m in np.ndindex(target.shape):
        if target[n, m] != ignore_index:
            q = _wanted(target[n, m], weight, dx.shape[1], label_smoothing, dx.dtype)
            dx[n, :, m] = dloss[n, m] * (np.exp(log_prob[n, :, m]) * np.sum(q) - q)
