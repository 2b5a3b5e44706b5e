"""Normalisation, defined with NumPy; x is (N, C, M), the M pixels of a plane in one axis.

Sources: Krizhevsky et al. 2012, sec. 3.3 (local response normalisation); Ioffe & Szegedy 2015, Algorithm 1 and sec. 3
(batch normalisation and its gradients).
"""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


def _window(i, size, channels):
    """Channels whose squares enter channel i: i - floor(size / 2) .. i + floor((size - 1) / 2), cut at the ends.

    For an odd size this is the paper's symmetric window; for an even one PyTorch's, exactly ``size`` wide.
    """
    return slice(max(0, i - size // 2), min(channels, i + (size - 1) // 2 + 1))


@_quiet
def local_response_norm_forward(x, y, scale, size, alpha, beta, k):
    """One output owns one pixel. Writes scale D_i = k + alpha sum_j x_j^2 and y = x / D^beta.

    j runs over ``size`` neighbouring channels. Whoever divides alpha by size does so before the call.
    """
    for i in range(x.shape[1]):
        neighbours = x[:, _window(i, size, x.shape[1])]
        scale[:, i] = k + alpha * np.sum(neighbours * neighbours, axis=1)
    y[...] = x * scale**-beta


@_quiet
def local_response_norm_backward(dy, x, scale, dx, size, alpha, beta):
    """One input owns one pixel. Writes dx_j = dy_j D_j^-beta - 2 alpha beta x_j sum_i dy_i x_i D_i^(-beta - 1).

    i runs over the channels whose window holds j: j itself looks the other way round an even window.
    """
    C = x.shape[1]
    ratio = dy * x * scale ** (-beta - 1)
    dx[...] = dy * scale**-beta
    for j in range(C):
        readers = slice(max(0, j - (size - 1) // 2), min(C, j + size // 2 + 1))
        dx[:, j] -= 2 * alpha * beta * x[:, j] * np.sum(ratio[:, readers], axis=1)


@_quiet
def batch_norm_statistics(x, mean, var):
    """One channel owns its N M values. Writes mean and the biased variance (both 0 for an empty batch).

    In float64 and in two passes: mean(x^2) - mean(x)^2 loses every digit once the mean is large.
    """
    if x.shape[0] * x.shape[2] == 0:
        mean[...] = var[...] = 0
        return
    mean[...] = np.mean(x, axis=(0, 2), dtype=np.float64)
    var[...] = np.var(x, axis=(0, 2), dtype=np.float64)


@_quiet
def batch_norm_forward(x, mean, invstd, weight, bias, y):
    """One output owns one value. Writes y = (x - mean) invstd weight + bias; weight and bias (C,) may be None."""
    y[...] = (x - mean[:, None]) * invstd[:, None]
    if weight is not None:
        y *= weight[:, None]
    if bias is not None:
        y += bias[:, None]


@_quiet
def batch_norm_backward(dy, x, mean, invstd, weight, dx, dweight, dbias, train):
    """One channel owns its values. Writes dx, dweight and dbias, each unless None.

    With xhat = (x - mean) invstd: dbias = sum dy, dweight = sum dy xhat, and in training (mean and invstd depend on x)
    dx = weight invstd (dy - dbias / m - xhat dweight / m) with m = N M; otherwise dx = weight invstd dy.
    """
    xhat = (x - mean[:, None]) * invstd[:, None]
    sum_dy = np.sum(dy, axis=(0, 2), dtype=np.float64).astype(x.dtype)
    sum_dy_xhat = np.sum(dy * xhat, axis=(0, 2), dtype=np.float64).astype(x.dtype)
    if dbias is not None:
        dbias[...] = sum_dy
    if dweight is not None:
        dweight[...] = sum_dy_xhat
    if dx is not None:
        factor = invstd if weight is None else weight * invstd
        m = max(1, x.shape[0] * x.shape[2])
        centred = dy - (sum_dy[:, None] + xhat * sum_dy_xhat[:, None]) / m if train else dy
        dx[...] = factor[:, None] * centred
