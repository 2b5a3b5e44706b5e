"""Random numbers by position, defined: element e of sample i is a function of (seed, stream, i, e) and of nothing else.

Philox4x32-10 (Salmon et al. 2011, sec. 3.2): ten rounds of two multiplications mix a counter of four 32-bit words under
a key of two. Batch size, threads, rank and device cannot change a number, because there is no state to advance.
"""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85  # added to the key each round: golden ratio and sqrt(3) - 1


def _philox(counter, key):
    """Return four arrays of 32-bit words; the counter's four arrays broadcast, key is two ints. All in uint64."""
    c0, c1, c2, c3 = (np.asarray(c, np.uint64) for c in counter)
    for turn in range(10):
        k0, k1 = (np.uint64((k + turn * w) & 0xFFFFFFFF) for k, w in zip(key, _WEYL, strict=True))
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _MASK, (p0 >> _HALF) ^ c3 ^ k1, p0 & _MASK
    return c0, c1, c2, c3


def _words(samples, count, seed, stream):
    """Return (N, count) words: element e is word e % 4 of counter (e // 4, sample low, sample high, stream)."""
    sample = np.asarray(samples).astype(np.uint64)[:, None]
    block = np.arange((count + 3) // 4, dtype=np.uint64)
    words = _philox((block, sample & _MASK, sample >> _HALF, stream), (seed & 0xFFFFFFFF, seed >> 32))
    full = np.stack(np.broadcast_arrays(*words), axis=-1)
    return full.reshape(len(sample), 4 * len(block))[:, :count]


def random_uniform(out, samples, seed, stream):
    """One row owns one sample. Writes out (N, M), uniform on [0, 1): the top 24 bits of each word over 2^24.

    samples (N,) int64; seed below 2^64, stream below 2^32. Both dtypes get the same numbers.
    """
    out[...] = (_words(samples, out.shape[1], seed, stream) >> np.uint64(8)) * 2.0**-24


@_quiet
def dropout_forward(x, y, mask, samples, p, scale, seed, stream):
    """One row owns one sample. Writes mask (bool) = uniform >= p and y = x scale where kept, x 0 elsewhere; x (N, M).

    scale = 1 / (1 - p) is today's inverted form, scale = 1 that of Krizhevsky et al. 2012, sec. 4.2.
    """
    uniform = (_words(samples, x.shape[1], seed, stream) >> np.uint64(8)) * 2.0**-24  # float64: exact against p
    mask[...] = uniform >= p
    y[...] = x * np.where(mask, scale, 0)


@_quiet
def dropout_backward(dy, mask, dx, scale):
    """One element each. Writes dx = dy scale where kept, dy 0 elsewhere."""
    dx[...] = dy * np.where(mask, scale, 0)
