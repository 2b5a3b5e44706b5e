"""Random numbers by position: Philox4x32-10; definition and source: ``reference/random.py``.

A counter gives four words, so a thread owns four neighbouring elements of one sample. It needs no state and no other
thread: this is what a generator by position is made for. All words are 32 bits wide; only a product takes 64.
"""

import functools
import math

from numba import from_dtype, uint32, uint64

from tinyconv_kernels.cuda import launch, memory
from tinyconv_kernels.cuda._cuda import cuda, device

_LOW = 0xFFFFFFFF


@device
def _product(a, b):
    """Return the high and the low word of a product."""
    whole = uint64(a) * uint64(b)
    return uint32(whole >> uint64(32)), uint32(whole & uint64(_LOW))


@device
def _philox(c0, c1, c2, c3, k0, k1):
    """Mix a counter of four words under a key of two in ten rounds."""
    for _ in range(10):
        high0, low0 = _product(c0, uint32(0xD2511F53))
        high2, low2 = _product(c2, uint32(0xCD9E8D57))
        c0, c1, c2, c3 = uint32(high2 ^ c1 ^ k0), low2, uint32(high0 ^ c3 ^ k1), low0
        k0 = uint32(k0 + uint32(0x9E3779B9))
        k1 = uint32(k1 + uint32(0xBB67AE85))
    return c0, c1, c2, c3


@device
def _bits(sample, block, k0, k1, stream):
    """Return 24 random bits for each of the elements 4 block .. 4 block + 3 of a sample."""
    low, high = uint32(uint64(sample) & uint64(_LOW)), uint32(uint64(sample) >> uint64(32))
    w0, w1, w2, w3 = _philox(block, low, high, stream, k0, k1)
    return uint32(w0 >> uint32(8)), uint32(w1 >> uint32(8)), uint32(w2 >> uint32(8)), uint32(w3 >> uint32(8))


def _each_four(kernel, a, samples, seed, stream, *arguments):
    """Run one thread for four neighbours in a row of ``a`` (N, M); the last ones of a row may be fewer."""
    rows, length = a.shape
    fours = -(-length // 4)
    identity = memory.flat(samples), samples.offset, int(seed) & _LOW, int(seed) >> 32, int(stream)
    launch.each(kernel, rows * fours, *arguments, *identity, length, fours, rows * fours)


def random_uniform(out, samples, seed, stream):
    """One thread owns four elements of one row. Writes out (N, M), uniform on [0, 1)."""
    _each_four(_uniform(out.dtype), out, samples, seed, stream, memory.flat(out), out.offset)


@functools.cache
def _uniform(dtype):
    real, unit = from_dtype(dtype), dtype.type(2.0**-24)

    @device
    def write(out, place, bits):
        out[place] = real(bits) * unit

    @cuda.jit
    def kernel(out, out0, samples, s0, k0, k1, stream, length, fours, count):
        i = uint32(cuda.grid(1))
        if i < count:
            row = uint32(i // fours)
            block = uint32(i - row * fours)
            b0, b1, b2, b3 = _bits(samples[s0 + row], block, k0, k1, stream)
            e = uint32(block * uint32(4))
            place, left = uint32(out0 + row * length + e), uint32(length - e)
            write(out, place, b0)
            if left > uint32(1):
                write(out, place + uint32(1), b1)
            if left > uint32(2):
                write(out, place + uint32(2), b2)
            if left > uint32(3):
                write(out, place + uint32(3), b3)

    return kernel


def dropout_forward(x, y, mask, samples, p, scale, seed, stream):
    """One thread owns four elements of one row. Writes mask (bool) = uniform >= p and y = x (scale if kept else 0)."""
    memory.written(mask)
    # bits / 2^24 >= p is bits >= ceil(2^24 p): whole numbers, so float32 and float64 inputs get one mask.
    options = math.ceil(p * 2.0**24), x.dtype.type(scale)
    places = memory.flat(x), x.offset, memory.flat(y), y.offset, memory.flat(mask), mask.offset
    _each_four(_dropout(x.dtype), x, samples, seed, stream, *places, *options)


@functools.cache
def _dropout(dtype):
    zero = dtype.type(0)

    @device
    def write(x, x_place, y, y_place, mask, mask_place, threshold, scale, bits):
        kept = bits >= threshold
        mask[mask_place] = kept
        y[y_place] = x[x_place] * (scale if kept else zero)  # x 0 and not 0: a NaN stays

    @cuda.jit
    def kernel(
        x, x0, y, y0, mask, mask0, threshold, scale, samples, s0, k0, k1, stream, length, fours, count
    ):  # fmt: skip
        i = uint32(cuda.grid(1))
        if i < count:
            row = uint32(i // fours)
            block = uint32(i - row * fours)
            b0, b1, b2, b3 = _bits(samples[s0 + row], block, k0, k1, stream)
            e = uint32(block * uint32(4))
            first, left = uint32(row * length + e), uint32(length - e)
            x0, y0, mask0 = uint32(x0 + first), uint32(y0 + first), uint32(mask0 + first)
            write(x, x0, y, y0, mask, mask0, threshold, scale, b0)
            one, two, three = uint32(1), uint32(2), uint32(3)
            if left > one:
                write(x, x0 + one, y, y0 + one, mask, mask0 + one, threshold, scale, b1)
            if left > two:
                write(x, x0 + two, y, y0 + two, mask, mask0 + two, threshold, scale, b2)
            if left > three:
                write(x, x0 + three, y, y0 + three, mask, mask0 + three, threshold, scale, b3)

    return kernel


def dropout_backward(dy, mask, dx, scale):
    """One thread owns one element. Writes dx = dy scale where kept, dy 0 elsewhere."""
    places = memory.flat(dy), dy.offset, memory.flat(mask), mask.offset, memory.flat(dx), dx.offset
    launch.each(_dropout_backward(dy.dtype), dy.size, *places, dx.dtype.type(scale), dy.size)


@functools.cache
def _dropout_backward(dtype):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(dy, dy0, mask, mask0, dx, dx0, scale, count):
        i = uint32(cuda.grid(1))
        if i < count:
            dx[dx0 + i] = dy[dy0 + i] * (scale if mask[mask0 + i] else zero)

    return kernel
