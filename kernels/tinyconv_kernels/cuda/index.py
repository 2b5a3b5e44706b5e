"""Indexing by position; definition: ``reference/index.py``. Sums run in the order of the positions, with its bits.

Reading is one thread per output. Adding is the hard direction, since a position may come twice: threads that own a
reader would write to one element at once, and atomic additions come in another order on every run. So a thread owns an
element that is written to, and walks through its readers in order. Who they are is found by a stable sort of the
positions, on the host: nearly always they were made there (an index array, the words of a sentence), an embedding has
one for a whole row, and a sort on the device would be more code than all of indexing. What it costs: the host waits
for the kernels before it, then sorts n numbers. An element that every position names is added to by one thread alone:
the order decides the bits, so such a sum cannot be shared out.
"""

import numpy as np
from numba import uint32

from tinyconv_kernels.cuda import elementwise, launch, memory
from tinyconv_kernels.cuda._cuda import cuda


def gather(x_flat, positions, out):
    """One thread owns one output. Writes out[i] = x_flat[positions[i]]; out has the shape of positions."""
    _take(x_flat, positions, out, 1)


def embedding_forward(weight, index, out):
    """One thread owns one element. Writes out[i] = weight[index[i]]; weight (V, D), index (...), out (..., D)."""
    _take(weight, index, out, weight.shape[1])


def _take(rows, positions, out, width):
    memory.written(out)
    places = memory.flat(rows), rows.offset, memory.flat(positions), positions.offset, memory.flat(out), out.offset
    launch.each(_read, out.size, *places, width, out.size)


@cuda.jit
def _read(rows, r0, positions, p0, out, out0, width, count):
    i = uint32(cuda.grid(1))
    if i < count:
        reader = uint32(i // width)
        row = uint32(positions[p0 + reader])
        out[out0 + i] = rows[r0 + row * width + uint32(i - reader * width)]


def scatter_add(dy, positions, dx_flat):
    """One thread owns one element that is named. ADDS to dx_flat[positions[i]] the element dy[i]."""
    _add(dy, positions, dx_flat, 1)


def embedding_backward(dy, index, dweight):
    """One thread owns one element of a row that is named. Writes dweight: zero, then dy[i] added to row index[i]."""
    elementwise.fill(dweight, 0)
    _add(dy, index, dweight, dweight.shape[1])


def _add(dy, positions, out, width):
    """Add row i of dy to row positions[i] of out, in the order of i; rows are ``width`` long."""
    if positions.size == 0:
        return
    memory.written(out)
    found = positions.block.derived.get(_key(positions)) or _readers(positions)
    readers, named = found
    count = named * width
    places = memory.flat(dy), dy.offset, memory.flat(positions), positions.offset, memory.flat(out), out.offset
    launch.each(_sum, count, *places, memory.flat(readers), positions.size, width, count)


def _key(positions):
    return positions.offset, positions.shape, positions.steps


def _readers(positions):
    """Return (readers by what they read, equal ones in order; then where each element's begin, and the end), elements.

    A table of positions that stays the same (LeNet-5's connections) is sorted once.
    """
    numbers = memory.to_host(positions).reshape(-1)
    order = np.argsort(numbers, kind="stable")
    named = numbers[order]
    first = np.flatnonzero(named[1:] != named[:-1]) + 1
    starts = np.concatenate(([0], first, [len(order)]))
    found = memory.to_device(np.concatenate((order, starts)).astype(np.uint32)), len(first) + 1
    if positions.block.known is not None:
        positions.block.derived[_key(positions)] = found
    return found


@cuda.jit
def _sum(dy, dy0, positions, p0, out, out0, readers, starts, width, count):
    """readers: numbers of readers, and from ``starts`` on where each element's begin."""
    i = uint32(cuda.grid(1))
    if i < count:
        element = uint32(i // width)
        column = uint32(i - element * width)
        j, end = readers[starts + element], readers[starts + element + uint32(1)]
        row = uint32(positions[p0 + readers[j]])
        place = uint32(out0 + row * width + column)
        total = out[place]
        while j < end:
            total = total + dy[uint32(dy0 + readers[j] * width + column)]
            j = uint32(j + uint32(1))
        out[place] = total
