"""Softmax and cross-entropy; definition: ``reference/softmax.py``.

A distribution that lies in one piece (inner = 1: every classifier) stays in the first-level cache while a compiled loop
goes over it two or three times, with the vector exponential of ``cpu/_exp.py``. Cross-entropy of 128 x 1000 scores,
forward and backward on one AVX-512 core: 0.9 ms as NumPy's passes over all of it, 0.23 ms so. Distributions per pixel
(inner > 1) are left to NumPy. One thread does all: two would save less than they cost to compile.
"""

import math

import numpy as np
from numba import njit

from tinyconv_kernels.cpu._exp import exp_negative

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")

# reassoc lets sums use vector lanes; NaN and infinities keep their meaning.
_sums = njit(cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})


def _rows(a):
    """View (outer, n, 1) as (outer, n)."""
    return a.reshape(a.shape[:2])


def _peaks(x):
    """Return the largest number of each row; NumPy's loop for it is twice as fast as Numba's."""
    return np.maximum.reduce(x, axis=1, initial=-np.inf)


@_quiet
def softmax_forward(x, y):
    """Writes y = e^x / sum e^x over axis 1."""
    if x.shape[2] == 1:
        x, y = _rows(x), _rows(y)
        _softmax(x, _peaks(x), y)
        return
    np.subtract(x, np.max(x, axis=1, keepdims=True, initial=-np.inf), out=y)
    np.exp(y, out=y)
    np.divide(y, np.sum(y, axis=1, keepdims=True), out=y)


@_sums
def _softmax(x, peaks, y):
    for i in range(x.shape[0]):
        row, out, peak = x[i], y[i], peaks[i]
        for k in range(row.size):
            out[k] = exp_negative(row[k] - peak)
        total = 0.0  # a loop of its own: float64 sums would halve the vectors of the exponential
        for k in range(row.size):
            total += out[k]
        share = x.dtype.type(1.0 / total)
        for k in range(row.size):
            out[k] *= share


@_quiet
def softmax_backward(dy, y, dx):
    """Writes dx = y (dy - sum dy y); dx must not share memory with an input."""
    if y.shape[2] == 1:
        _softmax_backward(_rows(dy), _rows(y), _rows(dx))
        return
    np.multiply(dy, y, out=dx)
    total = np.sum(dx, axis=1, keepdims=True)
    np.subtract(dy, total, out=dx)
    np.multiply(y, dx, out=dx)


@_sums
def _softmax_backward(dy, y, dx):
    for i in range(y.shape[0]):
        g, p, out = dy[i], y[i], dx[i]
        total = 0.0
        for k in range(p.size):
            total += g[k] * p[k]
        mean = y.dtype.type(total)
        for k in range(p.size):
            out[k] = p[k] * (g[k] - mean)


@_quiet
def log_softmax_forward(x, y):
    """Writes y = x - max - ln sum e^(x - max); y holds the exponentials on the way and must not be x."""
    if x.shape[2] == 1:
        x, y = _rows(x), _rows(y)
        _log_softmax(x, _peaks(x), y)
        return
    peak = np.max(x, axis=1, keepdims=True, initial=-np.inf)
    np.subtract(x, peak, out=y)
    np.exp(y, out=y)
    total = np.sum(y, axis=1, keepdims=True)
    # Subtracted in two steps: peak + ln(total) in one number would lose the digits of a small logarithm.
    np.subtract(x, peak, out=y)
    np.subtract(y, np.log(total), out=y)


@_sums
def _log_softmax(x, peaks, y):
    for i in range(x.shape[0]):
        row, out, peak = x[i], y[i], peaks[i]
        for k in range(row.size):
            out[k] = exp_negative(row[k] - peak)
        total = 0.0
        for k in range(row.size):
            total += out[k]
        below = x.dtype.type(math.log(total)) if total > 0 else x.dtype.type(total)
        for k in range(row.size):
            out[k] = (row[k] - peak) - below


@_quiet
def log_softmax_backward(dy, y, dx):
    """Writes dx = dy - e^y sum dy; dx must not share memory with an input."""
    if y.shape[2] == 1:
        _log_softmax_backward(_rows(dy), _rows(y), _rows(dx))
        return
    np.exp(y, out=dx)
    np.multiply(dx, np.sum(dy, axis=1, keepdims=True), out=dx)
    np.subtract(dy, dx, out=dx)


@_sums
def _log_softmax_backward(dy, y, dx):
    for i in range(y.shape[0]):
        g, log_p, out = dy[i], y[i], dx[i]
        total = 0.0
        for k in range(g.size):
            total += g[k]
        whole = y.dtype.type(total)
        for k in range(g.size):
            out[k] = g[k] - exp_negative(log_p[k]) * whole


def cross_entropy_forward(x, target, weight, loss, log_prob, ignore_index, label_smoothing):
    """Writes log_prob and the loss of each pixel, 0 where its target is ignored."""
    log_softmax_forward(x, log_prob)
    weight = x.reshape(-1)[:0] if weight is None else weight  # empty: all weights are 1
    _losses(log_prob, target, weight, loss, ignore_index, float(label_smoothing))


@njit(cache=True)
def _losses(log_prob, target, weight, loss, ignore_index, smoothing):
    N, K, M = log_prob.shape
    real = log_prob.dtype.type
    for n in range(N):
        for m in range(M):
            t = target[n, m]
            total = real(0)
            if t != ignore_index:
                share = real(1 - smoothing) * (weight[t] if weight.size else real(1))
                if share != 0:  # 0 times -inf would be NaN
                    total -= share * log_prob[n, t, m]
                if smoothing != 0:
                    for k in range(K):
                        share = real(smoothing / K) * (weight[k] if weight.size else real(1))
                        if share != 0:
                            total -= share * log_prob[n, k, m]
            loss[n, m] = total


@_quiet
def cross_entropy_backward(dloss, log_prob, target, weight, dx, ignore_index, label_smoothing):
    """Writes dx_k = dloss (p_k sum q - q_k), 0 where the target is ignored."""
    weight = dx.reshape(-1)[:0] if weight is None else weight
    if dx.shape[2] != 1:
        np.exp(log_prob, out=dx)  # a second loop with an exponential would compile for a second
    _cross_entropy_backward(dloss, log_prob, target, weight, dx, ignore_index, float(label_smoothing))


@_sums
def _cross_entropy_backward(dloss, log_prob, target, weight, dx, ignore_index, smoothing):
    N, K, M = dx.shape
    real = dx.dtype.type
    spread = np.full(K, smoothing / K, dx.dtype)  # what smoothing gives to every class
    if weight.size:
        spread *= weight
    spread_sum = spread.sum()
    share, factor = np.empty(M, dx.dtype), np.empty(M, dx.dtype)
    for n in range(N):
        for m in range(M):
            t = target[n, m]
            used = t != ignore_index
            share[m] = real(1 - smoothing) * (weight[t] if used and weight.size else real(1))
            factor[m] = dloss[n, m] * (share[m] + spread_sum) if used else real(0)
        if M == 1:
            log_p, out, whole, part = log_prob[n].reshape(K), dx[n].reshape(K), factor[0], dloss[n, 0]
            for k in range(K):
                out[k] = whole * exp_negative(log_p[k]) - part * spread[k]
        else:
            for k in range(K):
                for m in range(M):
                    dx[n, k, m] = factor[m] * dx[n, k, m] - dloss[n, m] * spread[k]
        for m in range(M):
            t = target[n, m]
            if t != ignore_index:
                dx[n, t, m] -= dloss[n, m] * share[m]
            else:
                for k in range(K):
                    dx[n, k, m] = 0
