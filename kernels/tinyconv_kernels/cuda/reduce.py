"""Reductions; definition: ``reference/reduce.py``. Sums run in an order fixed by the shapes: the same on every run.

One thread per output, where there are many outputs or few elements for each; neighbours read neighbours then. Otherwise
blocks of threads share an output: each thread adds up every THREADS-th element of a chunk, the block adds up its
threads' sums in a tree, and a second pass adds up the chunks.
"""

import functools
import math

import numpy as np
from numba import from_dtype, uint32

from tinyconv_kernels import scalar
from tinyconv_kernels.cuda import launch, memory
from tinyconv_kernels.cuda._cuda import cuda, device
from tinyconv_kernels.cuda._strided import joined, place

# Elements of an output up to which one thread adds them up; and, beyond, those of one chunk.
SERIAL, CHUNK = 1024, 1 << 14


def reduce_sum(x, out, axes):
    """One thread, or some blocks, own one output. Writes out (in out's dtype: booleans may be counted)."""
    _reduce("add", x, out, axes, 0)


def reduce_max(x, out, axes):
    """One thread, or some blocks, own one output. Writes out: the largest element, NaN if one is NaN."""
    _reduce("maximum", x, out, axes, _least(out.dtype))


def reduce_min(x, out, axes):
    """One thread, or some blocks, own one output. Writes out: the smallest element, NaN if one is NaN."""
    _reduce("minimum", x, out, axes, _greatest(out.dtype))


def argmax(x, out, axis):
    """One thread owns one output. Writes out (int64): the first of the largest, NaN beats all."""
    _position("gt", x, out, axis)


def argmin(x, out, axis):
    """One thread owns one output. Writes out (int64): the first of the smallest, NaN beats all."""
    _position("lt", x, out, axis)


def _least(dtype):
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _greatest(dtype):
    return np.inf if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


def _split(x, axes):
    """Return (sizes, steps) of the axes that stay and of those that go."""
    stay = [i for i in range(x.ndim) if i not in axes]
    both = []
    for group in (stay, sorted(axes)):
        sizes, (steps,) = joined([x.shape[i] for i in group], [x.steps[i] for i in group])
        both.append((sizes, steps))
    return both


def _reduce(name, x, out, axes, start):
    axes = tuple(a % x.ndim for a in axes)
    count = math.prod(x.shape[a] for a in axes)
    if out.size == 0:
        return
    memory.written(out)
    (sizes, steps), (inner, jumps) = _split(x, axes)
    start = out.dtype.type(start)
    target = out if out.flags.c_contiguous else memory.empty(out.shape, out.dtype)
    if count <= SERIAL:
        kernel = _serial(name, out.dtype, len(sizes), len(inner))
        source = memory.flat(x), x.offset, sizes, steps, inner, jumps
        launch.each(kernel, out.size, *source, count, start, memory.flat(target), target.offset, out.size)
    else:
        _by_blocks(name, x, target, start, count, (sizes, steps), (inner, jumps))
    if target is not out:
        out[...] = target


def _by_blocks(name, x, out, start, count, kept, gone, chunk=CHUNK, threads=launch.THREADS):
    chunk = max(chunk, -(-count // launch.GRID))
    chunks = -(-count // chunk)
    sums = out if chunks == 1 else memory.empty((out.size, chunks), out.dtype)
    kernel = _block(name, out.dtype, len(kept[0]), len(gone[0]), threads)
    grid = out.size, chunks
    arguments = memory.flat(x), x.offset, *kept, *gone, count, chunk, start, memory.flat(sums), sums.offset
    launch.blocks(kernel, grid, threads, *arguments)
    if chunks > 1:
        _reduce(name, sums, out.reshape(out.size, 1), (1,), start)


@functools.cache
def _serial(name, dtype, kept, gone):
    combine, real = device(getattr(scalar, name)(dtype.type)), from_dtype(dtype)
    at, along = place(kept), place(gone)

    @cuda.jit
    def kernel(x, x0, sizes, steps, inner, jumps, count, start, out, out0, outputs):
        o = uint32(cuda.grid(1))
        if o < outputs:
            first = uint32(x0 + at(o, sizes, steps))
            total = start
            for i in range(count):
                total = combine(real(x[uint32(first + along(uint32(i), inner, jumps))]), total)
            out[out0 + o] = total

    return kernel


@functools.cache
def _block(name, dtype, kept, gone, threads):
    combine, real = device(getattr(scalar, name)(dtype.type)), from_dtype(dtype)
    at, along, half = place(kept), place(gone), threads // 2

    @cuda.jit
    def kernel(x, x0, sizes, steps, inner, jumps, count, chunk, start, out, out0):
        shared = cuda.shared.array(threads, real)
        t, o, part = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.y)
        first = uint32(x0 + at(o, sizes, steps))
        i = uint32(part * chunk + t)
        last = uint32(part * chunk + min(chunk, uint32(count - part * chunk)))  # the next part may begin beyond 2^32
        total = start
        while i < last:
            total = combine(real(x[uint32(first + along(uint32(i), inner, jumps))]), total)
            i = uint32(i + uint32(threads))
        shared[t] = total
        cuda.syncthreads()
        width = uint32(half)
        while width > 0:  # threads is a power of two
            if t < width:
                shared[t] = combine(shared[t + width], shared[t])
            cuda.syncthreads()
            width = uint32(width // uint32(2))
        if t == 0:
            out[out0 + o * uint32(cuda.gridDim.y) + part] = shared[0]

    return kernel


def _position(name, x, out, axis):
    memory.written(out)
    axis %= max(1, x.ndim)
    (sizes, steps), (_, jumps) = _split(x, (axis,) if x.ndim else ())
    count = x.shape[axis] if x.ndim else 1
    kernel = _argument(name, x.dtype, len(sizes))
    target = out if out.flags.c_contiguous else memory.empty(out.shape, out.dtype)
    arguments = memory.flat(x), x.offset, sizes, steps, jumps[0], count, memory.flat(target), target.offset, out.size
    launch.each(kernel, out.size, *arguments)
    if target is not out:
        out[...] = target


@functools.cache
def _argument(name, dtype, kept):
    better, at = device(getattr(scalar, name)(dtype.type)), place(kept)

    @cuda.jit
    def kernel(x, x0, sizes, steps, jump, count, out, out0, outputs):
        o = uint32(cuda.grid(1))
        if o < outputs:
            place = uint32(x0 + at(o, sizes, steps))
            best, found = x[place], uint32(0)
            for i in range(uint32(1), count):
                place = uint32(place + jump)
                value = x[place]
                if better(value, best) or (value != value and best == best):
                    best, found = value, uint32(i)
            out[out0 + o] = found

    return kernel
