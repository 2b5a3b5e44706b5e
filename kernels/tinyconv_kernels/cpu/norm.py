"""Normalisation kernels; definition and sources: ``reference/norm.py``.

Local response normalisation goes through tiles of pixels: the channels of one tile stay in the cache while each is read
by ``size`` neighbours, and the innermost loop runs over pixels, which lie side by side, so it uses vector lanes.
"""

import numpy as np
from numba import njit

from tinyconv_kernels.cpu._share import share, threads_for

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")

_START = 256  # elements whose mean is near enough to the channel's
_TILE = 512  # pixels: 256 channels of a float32 tile are 512 KiB, half of a usual second-level cache


def _tiles(x):
    return x.shape[0] * (-(-x.shape[2] // _TILE))


def local_response_norm_forward(x, y, scale, size, alpha, beta, k):
    """One thread owns one tile of pixels, all channels. Writes scale and y."""
    real = x.dtype.type
    constants = size, real(alpha), real(beta), real(k)
    share(threads_for(x.size), _lrn_forward, _tiles(x), x, y, scale, *constants)


@njit(cache=True, nogil=True, error_model="numpy")
def _lrn_forward(first, last, x, y, scale, size, alpha, beta, k):
    C, M = x.shape[1:]
    tiles = (M + _TILE - 1) // _TILE
    for job in range(first, last):
        n, a = job // tiles, job % tiles * _TILE
        b = min(M, a + _TILE)
        for c in range(C):
            value, total, out = x[n, c, a:b], scale[n, c, a:b], y[n, c, a:b]
            for m in range(b - a):
                total[m] = k
            # Summed afresh for each channel: a running sum (add one square, drop another) is no faster at size 5 and
            # keeps the rounding error of every large activation that has passed through.
            for j in range(max(0, c - size // 2), min(C, c + (size - 1) // 2 + 1)):
                neighbour = x[n, j, a:b]
                for m in range(b - a):
                    total[m] += alpha * neighbour[m] * neighbour[m]
            if beta == 0.75:
                # The papers' exponent: s^0.75 = sqrt(s) sqrt(sqrt(s)). Square roots have vector instructions, powers
                # do not: AlexNet's norm1 takes a seventh of the time (float32, one AVX-512 core), errors stay at 1e-7.
                for m in range(b - a):
                    root = np.sqrt(total[m])
                    out[m] = value[m] / (root * np.sqrt(root))
            else:
                for m in range(b - a):
                    out[m] = value[m] * total[m] ** -beta


def local_response_norm_backward(dy, x, scale, dx, size, alpha, beta):
    """One thread owns one tile of pixels, all channels. Writes dx."""
    real = x.dtype.type
    size = min(size, 2 * x.shape[1] + 1)  # reaches every channel, and bounds the scratch
    constants = size, real(2 * alpha * beta), real(beta)
    share(threads_for(x.size), _lrn_backward, _tiles(x), dy, x, scale, dx, *constants)


@njit(cache=True, nogil=True, error_model="numpy")
def _lrn_backward(first, last, dy, x, scale, dx, size, slope, beta):
    C, M = x.shape[1:]
    tiles = (M + _TILE - 1) // _TILE
    # ratio_i = dy_i x_i D_i^(-beta - 1) of the ``size`` channels in reach, channel i in row i % size.
    ratio, total = np.empty((size, _TILE), x.dtype), np.empty(_TILE, x.dtype)
    for job in range(first, last):
        n, a = job // tiles, job % tiles * _TILE
        b = min(M, a + _TILE)
        ready = 0
        for j in range(C):
            end = min(C, j + size // 2 + 1)
            while ready < end:
                row, g, v = ratio[ready % size], dy[n, ready, a:b], x[n, ready, a:b]
                d, out = scale[n, ready, a:b], dx[n, ready, a:b]
                if beta == 0.75:
                    for m in range(b - a):
                        root = np.sqrt(d[m])
                        direct = g[m] / (root * np.sqrt(root))
                        out[m] = direct
                        row[m] = direct * v[m] / d[m]
                else:
                    for m in range(b - a):
                        direct = g[m] * d[m] ** -beta
                        out[m] = direct
                        row[m] = direct * v[m] / d[m]
                ready += 1
            for m in range(b - a):
                total[m] = 0
            for i in range(max(0, j - (size - 1) // 2), end):
                row = ratio[i % size]
                for m in range(b - a):
                    total[m] += row[m]
            out, v = dx[n, j, a:b], x[n, j, a:b]
            for m in range(b - a):
                out[m] -= slope * v[m] * total[m]


def batch_norm_statistics(x, mean, var):
    """One thread owns one channel. Writes mean and the biased variance."""
    share(threads_for(x.size), _statistics, x.shape[1], x, mean, var)


# reassoc lets the sums use vector lanes; NaN and infinities keep their meaning.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _statistics(first, last, x, mean, var):
    # One pass: sums of x - shift and of its square, the shift being near the mean, so that their difference keeps its
    # digits: 8 x 256 x 56 x 56 takes 3 ms, as two passes, the mean first, 4 ms (one AVX-512 core). Sums are float64.
    N, _, M = x.shape
    zero = x.dtype.type(0)
    count = np.float64(max(1, N * M))
    for c in range(first, last):
        shift, total, squares = zero, 0.0, 0.0
        if N * M > 0:
            start = x[0, c, : min(M, _START)]
            for m in range(start.size):
                total += start[m]
            shift = x.dtype.type(total / start.size)
            shift = shift if np.isfinite(shift) else zero  # the mean is then infinite or NaN, as it should be
            total = 0.0
        for n in range(N):
            row = x[n, c]
            for m in range(M):
                off = np.float64(row[m]) - shift
                total += off
                squares += off * off
        spread = (squares - total * (total / count)) / count
        mean[c], var[c] = shift + total / count, 0.0 if spread < 0 else spread  # rounding; a NaN stays


@_quiet
def batch_norm_forward(x, mean, invstd, weight, bias, y):
    """One thread owns one (n, c) plane. Writes y; weight and bias may be None."""
    factor = invstd if weight is None else weight * invstd
    offset = np.zeros_like(mean) if bias is None else bias
    share(threads_for(x.size), _normalize, x.shape[0] * x.shape[1], x, mean, factor, offset, y)


@njit(cache=True, nogil=True)
def _normalize(first, last, x, mean, factor, offset, y):
    C = x.shape[1]
    for plane in range(first, last):
        n, c = plane // C, plane % C
        row, out, centre, slope, shift = x[n, c], y[n, c], mean[c], factor[c], offset[c]
        for m in range(row.size):
            out[m] = (row[m] - centre) * slope + shift  # subtract first: x slope - mean slope would cancel digits


@_quiet
def batch_norm_backward(dy, x, mean, invstd, weight, dx, dweight, dbias, train):
    """One thread owns one channel. Writes dx, dweight and dbias, each unless None; the formulas are the reference's."""
    # Stand-ins for what is not wanted, so that one compiled version serves every combination.
    factor = invstd if weight is None else weight * invstd
    sum_dy_xhat = np.empty_like(mean) if dweight is None else dweight
    sum_dy = np.empty_like(mean) if dbias is None else dbias
    target = np.empty((0, 0, 0), x.dtype) if dx is None else dx
    arrays = dy, x, mean, invstd, factor, target, sum_dy_xhat, sum_dy
    share(threads_for(x.size), _bn_backward, x.shape[1], *arrays, dx is not None, train)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _bn_backward(first, last, dy, x, mean, invstd, factor, dx, sum_dy_xhat, sum_dy, want_dx, train):
    N, _, M = x.shape
    real = x.dtype.type
    for c in range(first, last):
        centre, slope = mean[c], factor[c]
        total, moment = 0.0, 0.0
        for n in range(N):
            row, g = x[n, c], dy[n, c]
            for m in range(M):
                total += g[m]
                moment += np.float64(g[m]) * (row[m] - centre)
        sum_dy[c] = total
        sum_dy_xhat[c] = moment * invstd[c]
        if not want_dx:
            continue
        average = real(total / max(1, N * M)) if train else real(0)
        tilt = real(moment * invstd[c] * invstd[c] / max(1, N * M)) if train else real(0)
        for n in range(N):
            row, g, out = x[n, c], dy[n, c], dx[n, c]
            for m in range(M):
                out[m] = slope * (g[m] - average - (row[m] - centre) * tilt)
