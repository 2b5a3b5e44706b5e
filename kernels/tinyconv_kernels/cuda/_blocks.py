"""What the files of pooling, normalisation and softmax share: arguments, positions, and a block's common result."""

import functools

from numba import uint32

from tinyconv_kernels import scalar
from tinyconv_kernels.cuda import memory
from tinyconv_kernels.cuda._cuda import SIMULATED, cuda, device

# Threads of a block that share sums. A barrier of the simulator takes longer the more threads wait there.
TEAM = 4 if SIMULATED else 256


def places(*arrays):
    """Return what a kernel gets of contiguous arrays: the memory of each, and the number of its first element."""
    return [part for a in arrays for part in (memory.flat(a), a.offset)]


@device
def split(i, rows, columns):
    """Return (plane, row, column) of element i of an array of shape (planes, rows, columns)."""
    line = uint32(i // columns)
    plane = uint32(line // rows)
    return plane, uint32(line - plane * rows), uint32(i - line * columns)


@functools.cache
def tree(name, dtype, threads):
    """Return a device function (shared, t, value): all threads of a block get ``scalar.name`` of all their values.

    Pairs, pairs of pairs and so on: always in the same order, and with the rounding errors of log2(threads) sums. There
    must be a power of two of threads, and all of them must call it; ``shared`` has a place for each.
    """
    combine, half = device(getattr(scalar, name)(dtype.type)), threads // 2

    @device
    def combined(shared, t, value):
        shared[t] = value
        cuda.syncthreads()
        width = uint32(half)
        while width > 0:
            if t < width:
                shared[t] = combine(shared[t], shared[uint32(t + width)])
            cuda.syncthreads()
            width = uint32(width // uint32(2))
        result = shared[0]
        cuda.syncthreads()  # nobody may write for the next call before all have read
        return result

    return combined
