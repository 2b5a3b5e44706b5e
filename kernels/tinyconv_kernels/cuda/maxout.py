"""Maxout; definition and source: ``reference/maxout.py``. Forward, one thread owns one output; backward, one piece."""

import functools

from numba import int64, uint32

from tinyconv_kernels.cuda import launch, memory
from tinyconv_kernels.cuda._blocks import places, split
from tinyconv_kernels.cuda._cuda import cuda


def maxout_forward(x, y, switches):
    """One thread owns one output. Writes y (N, U, M) and switches (int64, the winning piece).

    First maximum wins; a NaN beats every number and the last NaN is kept.
    """
    memory.written(switches)
    launch.each(_forward, y.size, *places(x, y, switches), x.shape[2], x.shape[3], y.size)


@cuda.jit
def _forward(x, x0, y, y0, switches, s0, P, M, count):
    i = uint32(cuda.grid(1))
    if i < count:
        unit = uint32(i // M)
        place = uint32(x0 + unit * P * M + uint32(i - unit * M))
        best, at, p = x[place], uint32(0), uint32(1)
        while p < P:
            place = uint32(place + M)
            value = x[place]
            if value > best or value != value:  # > and not >=: the first maximum wins
                best, at = value, p
            p = uint32(p + 1)
        y[y0 + i] = best
        switches[s0 + i] = int64(at)


def maxout_backward(dy, switches, dx):
    """One thread owns one piece. Writes dx (N, U, P, M): dy where it won, else 0."""
    launch.each(_backward(dx.dtype), dx.size, *places(dy, switches, dx), dx.shape[2], dx.shape[3], dx.size)


@functools.cache
def _backward(dtype):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(dy, dy0, switches, s0, dx, dx0, P, M, count):
        i = uint32(cuda.grid(1))
        if i < count:
            unit, p, m = split(i, P, M)
            out = uint32(unit * M + m)
            dx[dx0 + i] = dy[dy0 + out] if switches[s0 + out] == int64(p) else zero

    return kernel
