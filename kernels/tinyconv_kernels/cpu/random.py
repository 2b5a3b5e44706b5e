"""Random numbers by position: Philox4x32-10; definition and source: ``reference/random.py``."""

import math

import numpy as np
from numba import njit

from tinyconv_kernels.cpu._share import share, threads_for

_RUN = 1024  # elements drawn at a time into a buffer that stays in the first-level cache; a multiple of 4


def _runs(a):
    """Number of jobs of a (N, M) array: every row is cut into runs, so that one long row is shared out, too."""
    return a.shape[0] * (-(-a.shape[1] // _RUN))


def _identity(samples, seed, stream):
    """What selects the numbers, in the types the njit functions want."""
    return np.asarray(samples, np.int64), np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32), np.uint64(stream)


@njit(inline="always")
def _philox(c0, c1, c2, c3, k0, k1):
    """Ten rounds on 32-bit words kept in uint64, so that each product is exact."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    for _ in range(10):
        p0 = c0 * np.uint64(0xD2511F53)
        p1 = c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & low, (p0 >> half) ^ c3 ^ k1, p0 & low
        k0 = (k0 + np.uint64(0x9E3779B9)) & low
        k1 = (k1 + np.uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


@njit(cache=True)
def _draw(bits, first, count, sample, k0, k1, stream):
    """Write 24 random bits for each of the elements first .. first + count - 1 of one sample; first divides by 4."""
    s0 = np.uint64(sample) & np.uint64(0xFFFFFFFF)
    s1 = np.uint64(sample) >> np.uint64(32)
    for b in range((count + 3) // 4):
        w0, w1, w2, w3 = _philox(np.uint64(first // 4 + b), s0, s1, stream, k0, k1)
        bits[4 * b] = w0 >> np.uint64(8)
        bits[4 * b + 1] = w1 >> np.uint64(8)
        bits[4 * b + 2] = w2 >> np.uint64(8)
        bits[4 * b + 3] = w3 >> np.uint64(8)


def random_uniform(out, samples, seed, stream):
    """One thread owns a run of one row. Writes out (N, M), uniform on [0, 1)."""
    identity = _identity(samples, seed, stream)
    share(threads_for(out.size), _uniform, _runs(out), out, *identity)


@njit(cache=True, nogil=True)
def _uniform(first, last, out, samples, k0, k1, stream):
    M = out.shape[1]
    runs = (M + _RUN - 1) // _RUN
    unit = out.dtype.type(2.0**-24)
    bits = np.empty(_RUN, np.int32)
    for job in range(first, last):
        n, a = job // runs, job % runs * _RUN
        row = out[n, a : min(M, a + _RUN)]
        _draw(bits, a, row.size, samples[n], k0, k1, stream)
        for e in range(row.size):
            row[e] = out.dtype.type(bits[e]) * unit


def dropout_forward(x, y, mask, samples, p, scale, seed, stream):
    """One thread owns a run of one row. Writes mask (bool) = uniform >= p and y = x scale where kept, x 0 elsewhere."""
    # bits / 2^24 >= p is bits >= ceil(2^24 p): whole numbers, so float32 and float64 inputs get one mask.
    options = math.ceil(p * 2.0**24), x.dtype.type(scale)
    identity = _identity(samples, seed, stream)
    share(threads_for(x.size), _dropout, _runs(x), x, y, mask, *options, *identity)


@njit(cache=True, nogil=True)
def _dropout(first, last, x, y, mask, threshold, scale, samples, k0, k1, stream):
    M = x.shape[1]
    runs = (M + _RUN - 1) // _RUN
    zero = x.dtype.type(0)
    bits = np.empty(_RUN, np.int32)
    for job in range(first, last):
        n, a = job // runs, job % runs * _RUN
        b = min(M, a + _RUN)
        row, out, kept = x[n, a:b], y[n, a:b], mask[n, a:b]
        _draw(bits, a, b - a, samples[n], k0, k1, stream)
        for e in range(b - a):
            kept[e] = bits[e] >= threshold
            out[e] = row[e] * (scale if bits[e] >= threshold else zero)


@np.errstate(all="ignore")
def dropout_backward(dy, mask, dx, scale):
    """Writes dx = dy scale where kept, dy 0 elsewhere."""
    np.multiply(dy, mask, out=dx)
    np.multiply(dx, dx.dtype.type(scale), out=dx)
