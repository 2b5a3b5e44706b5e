"""Softmax and cross-entropy; definition and sources: ``reference/softmax.py``. x is (outer, n, inner).

A row is the n numbers of one distribution, ``inner`` apart. One thread owns a row, where rows lie side by side
(neighbours read neighbours then) or are short. A long row in one piece belongs to a block: each thread goes through
every 256th number, and the threads' maxima and sums meet in a tree. What a thread does with its numbers is written once
for both: ``peak``, ``total`` and ``write`` take the place of the first, how many there are, and their distance.
"""

import functools

import numpy as np
from numba import from_dtype, uint32

from tinyconv_kernels.cuda import launch, memory, reduce
from tinyconv_kernels.cuda._blocks import TEAM, places, split, tree
from tinyconv_kernels.cuda._cuda import cuda, device
from tinyconv_kernels.scalar import exp_of as exp
from tinyconv_kernels.scalar import log_of as log

LONG = 64  # numbers from which on a row in one piece gets a block


def _rows(kernels, shape, arrays, *more):
    """Run a kernel of (thread per row, block per row or None) on the arrays, n, inner, rows and what is more."""
    outer, n, inner = shape
    rows = outer * inner
    arguments = *places(*arrays), n, inner, rows, *more
    if inner == 1 and n >= LONG and kernels[1] is not None:
        launch.blocks(kernels[1], (rows,), TEAM, *arguments)
    else:
        launch.each(kernels[0], rows, *arguments)


@device
def _first(row, n, inner):
    """Return the place of a row's first number."""
    outer = uint32(row // inner)
    return uint32(outer * n * inner + uint32(row - outer * inner))


@device
def _own(n, t, threads):
    """Return how many of n numbers are thread t's, if it has every ``threads``-th."""
    return uint32((n + threads - 1 - t) // threads)


# -------------------------------------------------------------------------------------------------------------- forward
def softmax_forward(x, y):
    """One thread, or one block, owns one distribution. Writes y = e^x / sum e^x."""
    _rows(_forward(x.dtype, False, TEAM), x.shape, (x, y))


def log_softmax_forward(x, y):
    """One thread, or one block, owns one distribution. Writes y = x - max - ln sum e^(x - max)."""
    _rows(_forward(x.dtype, True, TEAM), x.shape, (x, y))


@functools.cache
def _forward(dtype, logarithm, threads):
    real, zero, least = from_dtype(dtype), dtype.type(0), dtype.type(-np.inf)
    highest, together = tree("maximum", dtype, threads), tree("add", dtype, threads)

    @device
    def peak(x, place, count, step):
        top = least
        while count > 0:
            value = x[place]
            top = value if value != value or value > top else top  # a NaN stays: nothing is greater
            place, count = uint32(place + step), uint32(count - 1)
        return top

    @device
    def total(x, place, count, step, top):
        found = zero
        while count > 0:
            found += exp(x[place] - top)
            place, count = uint32(place + step), uint32(count - 1)
        return found

    @device
    def write(x, place, y, target, count, step, top, whole):
        below = log(whole) if logarithm else whole
        while count > 0:
            # Subtracted in two steps: top + below in one number would lose the digits of a small logarithm.
            y[target] = (x[place] - top) - below if logarithm else exp(x[place] - top) / below
            place, target, count = uint32(place + step), uint32(target + step), uint32(count - 1)

    @cuda.jit
    def by_thread(x, x0, y, y0, n, inner, rows):
        row = uint32(cuda.grid(1))
        if row < rows:
            first = _first(row, n, inner)
            place = uint32(x0 + first)
            top = peak(x, place, n, inner)
            whole = total(x, place, n, inner, top)
            write(x, place, y, uint32(y0 + first), n, inner, top, whole)

    @cuda.jit
    def by_block(x, x0, y, y0, n, inner, rows):
        shared = cuda.shared.array(threads, real)
        t, step = uint32(cuda.threadIdx.x), uint32(threads)
        first, count = uint32(uint32(cuda.blockIdx.x) * n + t), _own(n, t, step)
        place = uint32(x0 + first)
        top = highest(shared, t, peak(x, place, count, step))
        whole = together(shared, t, total(x, place, count, step, top))
        write(x, place, y, uint32(y0 + first), count, step, top, whole)

    return by_thread, by_block


# ------------------------------------------------------------------------------------------------------------- backward
def softmax_backward(dy, y, dx):
    """One thread, or one block, owns one distribution. Writes dx = y (dy - sum dy y)."""
    _rows(_backward(y.dtype, False, TEAM), y.shape, (dy, y, dx))


def log_softmax_backward(dy, y, dx):
    """One thread, or one block, owns one distribution. Writes dx = dy - e^y sum dy."""
    _rows(_backward(y.dtype, True, TEAM), y.shape, (dy, y, dx))


@functools.cache
def _backward(dtype, logarithm, threads):
    real, zero, together = from_dtype(dtype), dtype.type(0), tree("add", dtype, threads)

    @device
    def total(dy, from_dy, y, from_y, count, step):
        found = zero
        while count > 0:
            found += dy[from_dy] if logarithm else dy[from_dy] * y[from_y]
            from_dy, from_y, count = uint32(from_dy + step), uint32(from_y + step), uint32(count - 1)
        return found

    @device
    def write(dy, from_dy, y, from_y, dx, to, count, step, whole):
        while count > 0:
            g, value = dy[from_dy], y[from_y]
            dx[to] = g - exp(value) * whole if logarithm else value * (g - whole)
            from_dy, from_y, to, count = (
                uint32(from_dy + step), uint32(from_y + step), uint32(to + step), uint32(count - 1),
            )  # fmt: skip

    @cuda.jit
    def by_thread(dy, dy0, y, y0, dx, dx0, n, inner, rows):
        row = uint32(cuda.grid(1))
        if row < rows:
            first = _first(row, n, inner)
            from_dy, from_y = uint32(dy0 + first), uint32(y0 + first)
            whole = total(dy, from_dy, y, from_y, n, inner)
            write(dy, from_dy, y, from_y, dx, uint32(dx0 + first), n, inner, whole)

    @cuda.jit
    def by_block(dy, dy0, y, y0, dx, dx0, n, inner, rows):
        shared = cuda.shared.array(threads, real)
        t, step = uint32(cuda.threadIdx.x), uint32(threads)
        first, count = uint32(uint32(cuda.blockIdx.x) * n + t), _own(n, t, step)
        from_dy, from_y = uint32(dy0 + first), uint32(y0 + first)
        whole = together(shared, t, total(dy, from_dy, y, from_y, count, step))
        write(dy, from_dy, y, from_y, dx, uint32(dx0 + first), count, step, whole)

    return by_thread, by_block


# -------------------------------------------------------------------------------------------------------- cross-entropy
def _shares(label_smoothing, classes, dtype):
    """Return the parts of 1 that the target gets alone, that each class gets, and that all classes get together."""
    return tuple(map(dtype.type, (1 - label_smoothing, label_smoothing / max(1, classes), label_smoothing)))


@functools.cache
def _weight_of(dtype, weighted):
    one = dtype.type(1)
    return device((lambda weight, place: weight[place]) if weighted else (lambda weight, place: one))


def cross_entropy_forward(x, target, weight, loss, log_prob, ignore_index, label_smoothing):
    """One thread, or one block, owns one pixel. Writes log_prob and loss, 0 where the target is ignored."""
    log_softmax_forward(x, log_prob)
    kernels = _losses(x.dtype, weight is not None, label_smoothing != 0, TEAM)
    arrays = log_prob, target, log_prob if weight is None else weight, loss  # log_prob stands in for what is not read
    _rows(kernels, x.shape, arrays, np.int64(ignore_index), *_shares(label_smoothing, x.shape[1], x.dtype)[:2])


@functools.cache
def _losses(dtype, weighted, smoothed, threads):
    real, zero, together = from_dtype(dtype), dtype.type(0), tree("add", dtype, threads)
    weight_of = _weight_of(dtype, weighted)

    @device
    def spread_total(log_prob, place, weight, of, count, step, jump, spread):
        found = zero
        while count > 0:
            share = spread * weight_of(weight, of)
            if share != zero:  # 0 times -inf would be NaN
                found += share * log_prob[place]
            place, of, count = uint32(place + jump), uint32(of + step), uint32(count - 1)
        return found

    @device
    def chosen(log_prob, place, weight, of, alone):
        share = alone * weight_of(weight, of)
        return share * log_prob[place] if share != zero else zero

    @cuda.jit
    def by_thread(log_prob, p0, target, t0, weight, w0, loss, l0, n, inner, rows, ignored, alone, spread):
        row = uint32(cuda.grid(1))
        if row < rows:
            index, found = target[t0 + row], zero
            if index != ignored:
                k, place = uint32(index), uint32(p0 + _first(row, n, inner))
                found = chosen(log_prob, uint32(place + k * inner), weight, uint32(w0 + k), alone)
                if smoothed:
                    found += spread_total(log_prob, place, weight, w0, n, uint32(1), inner, spread)
            loss[l0 + row] = -found if index != ignored else zero

    @cuda.jit
    def by_block(log_prob, p0, target, t0, weight, w0, loss, l0, n, inner, rows, ignored, alone, spread):
        shared = cuda.shared.array(threads, real)
        t, row, step = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), uint32(threads)
        index, place = target[t0 + row], uint32(p0 + row * n)
        count = _own(n, t, step)
        part = spread_total(log_prob, uint32(place + t), weight, uint32(w0 + t), count, step, step, spread)
        found = together(shared, t, part)
        if t == 0:
            if index != ignored:
                k = uint32(index)
                found += chosen(log_prob, uint32(place + k), weight, uint32(w0 + k), alone)
            loss[l0 + row] = -found if index != ignored else zero

    # Without smoothing one number of each row is read: a block would have nothing to share.
    return by_thread, by_block if smoothed else None


def cross_entropy_backward(dloss, log_prob, target, weight, dx, ignore_index, label_smoothing):
    """One thread owns one class of one pixel. Writes dx = dloss (p sum q - q), 0 where the target is ignored."""
    _, K, M = dx.shape
    kernel = _gradient(dx.dtype, weight is not None, label_smoothing != 0)
    total = weight = log_prob if weight is None else weight  # log_prob stands in for what is not read
    if weight is not log_prob and label_smoothing != 0:
        total = memory.empty((1,), dx.dtype)
        reduce.reduce_sum(weight, total, (0,))
    shares = _shares(label_smoothing, K, dx.dtype)
    arrays = places(dloss, log_prob, target, weight, total, dx)
    launch.each(kernel, dx.size, *arrays, K, M, np.int64(ignore_index), *shares, dx.size)


@functools.cache
def _gradient(dtype, weighted, smoothed):
    zero, weight_of = dtype.type(0), _weight_of(dtype, weighted)

    @cuda.jit
    def kernel(
        dloss, dl0, log_prob, p0, target, t0, weight, w0, total, total0, dx, dx0,
        K, M, ignored, alone, spread, every, count,
    ):  # fmt: skip
        i = uint32(cuda.grid(1))
        if i < count:
            n, k, m = split(i, K, M)
            pixel, value = uint32(n * M + m), zero
            index = target[t0 + pixel]
            if index != ignored:
                whole = alone * weight_of(weight, uint32(w0 + uint32(index)))
                q = whole if k == uint32(index) else zero
                if smoothed:
                    q += spread * weight_of(weight, uint32(w0 + k))
                    whole += spread * total[total0] if weighted else every
                value = dloss[dl0 + pixel] * (exp(log_prob[p0 + i]) * whole - q)
            dx[dx0 + i] = value

    return kernel
