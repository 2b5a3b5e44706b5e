"""The loop around a tile: fetch the next pieces of A and B while the present ones are multiplied.

What comes from memory goes to registers first, and to shared memory when the multiplication is over: the hundreds of
cycles on the way pass while the block computes. Two stages of shared memory take turns, so one barrier a turn is
enough. Where A and B come from is not known here: an `Operand` brings them (cuda/_gemm.py: matrices; cuda/_gather.py:
pixels and filters).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, uint32

from tinyconv_kernels.cuda._instructions import barrier, inlined, registers
from tinyconv_kernels.cuda._tile import arithmetic


class Operand(NamedTuple):
    """Device functions that bring a factor into shared memory, ``numbers`` of them by each thread.

    ``get(source, k, last, t, numbers)`` fetches terms k, k + 1, ..., zeros from ``last`` on and outside the matrix;
    ``put(shared, start, t, numbers)`` writes them to shared memory. ``source`` is a tuple of what get needs.
    """

    get: Any
    put: Any
    numbers: int


def product(tile, dtype, left, right):
    """Return a device function: a thread's ``sums`` of left times right, from term ``first`` to ``last``."""
    real, results = from_dtype(dtype), tile.own[0] * tile.own[1]
    numbers_a, numbers_b = registers(left.numbers, dtype), registers(right.numbers, dtype)
    get_a, put_a, get_b, put_b = left.get, left.put, right.get, right.put
    multiply, rounded = arithmetic(tile, dtype).multiply, arithmetic(tile, dtype).rounded
    count, count_a, count_b = map(np.uint32, (results, left.numbers, right.numbers))
    depth, tile_b, stage = map(np.uint32, (tile.depth, tile.depth * tile.pitches[0], tile.stage))

    @inlined
    def store(shared, start, t, a, b):
        # All are rounded before any is stored: between stores it would keep them from being joined to wide ones.
        for i in range(count_a):
            a[i] = rounded(a[i])
        for i in range(count_b):
            b[i] = rounded(b[i])
        put_a(shared, start, t, a)
        put_b(shared, uint32(start + tile_b), t, b)

    @inlined
    def add_up(shared, t, y, x, source_a, source_b, first, last, sums):
        a, b = numbers_a(), numbers_b()
        for i in range(count):
            sums[i] = real(0)
        k, start = uint32(first), uint32(0)
        get_a(source_a, k, last, t, a)
        get_b(source_b, k, last, t, b)
        store(shared, start, t, a, b)
        barrier()
        while k < last:
            k = uint32(k + depth)
            get_a(source_a, k, last, t, a)
            get_b(source_b, k, last, t, b)
            multiply(shared, start, t, y, x, sums)
            start = uint32(stage - start)
            store(shared, start, t, a, b)
            barrier()

    return add_up
