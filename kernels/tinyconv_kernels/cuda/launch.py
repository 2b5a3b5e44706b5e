"""Launching kernels: every grid size of the backend is worked out here."""

import math

import numpy as np

from tinyconv_kernels.cuda._cuda import SIMULATED

# Threads per block. 256 give a multiprocessor enough blocks to hide memory's latency; the simulator likes fewer, larger
# ones, since it runs them one after the other.
THREADS = 64 if SIMULATED else 256
# Blocks along a grid's second and third axis: a limit of CUDA's, which the simulator does not have. The first takes
# 2^31 - 1.
GRID = 65535


def each(kernel, count, *arguments, threads=THREADS):
    """Run one thread for each of ``count`` elements; the kernel must test its index, the last block being cut short."""
    if count:
        kernel[-(-count // threads), threads](*map(_argument, arguments))


def blocks(kernel, grid, threads, *arguments):
    """Run a grid of blocks, (x,) to (x, y, z), of ``threads`` threads each (a number or a tuple)."""
    assert all(n <= GRID for n in grid[1:]), grid
    if math.prod(grid):
        kernel[grid, threads](*map(_argument, arguments))


def _argument(value):
    """Whole numbers become uint32: signed indices cost a test each, and uint32 wraps around as negative steps need."""
    kind = type(value)
    if kind is int:
        return np.uint32(value & 0xFFFFFFFF)
    if kind is tuple:
        return tuple([_argument(v) for v in value])
    assert kind is not float, "a Python float would make the kernel compute in float64: give it a dtype"
    return bool(value) if kind is np.bool_ else value
