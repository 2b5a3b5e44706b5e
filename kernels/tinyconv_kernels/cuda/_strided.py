"""From an element's number to its place in memory, for arrays that are broadcast, transposed or cut out.

Axes that follow each other in memory are joined first: nearly everything that training does has one axis left, and no
division. For more, the index is taken apart from the last axis on, one division per axis.
"""

import numpy as np
from numba import uint32

from tinyconv_kernels.cuda._cuda import device
from tinyconv_kernels.device_array import DeviceArray


def joined(shape, *steps):
    """Return (sizes, steps of each array) with axes of size 1 left out and axes joined that all arrays can join."""
    sizes, kept = [], [[] for _ in steps]
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        here = [s[axis] for s in steps]
        if sizes and all(k[-1] == n * h for k, h in zip(kept, here, strict=True)):
            sizes[-1] *= n
            for k, h in zip(kept, here, strict=True):
                k[-1] = h
        else:
            sizes.append(n)
            for k, h in zip(kept, here, strict=True):
                k.append(h)
    if not sizes:
        sizes, kept = [1], [[0] for _ in steps]
    return tuple(sizes), [tuple(k) for k in kept]


def place(axes):
    """Return a device function (element's number, sizes, steps) -> elements from the first one, for so many axes.

    Written by composition: Numba unrolls no loop over a tuple on the GPU, and would keep the tuple in local memory.
    """
    last = axes - 1
    if axes == 1:

        @device
        def at(i, sizes, steps):
            return uint32(i * steps[0])

        return at
    outer = place(last)

    @device
    def at(i, sizes, steps):
        rest = uint32(i // sizes[last])
        return uint32(outer(rest, sizes, steps) + uint32(i - rest * sizes[last]) * steps[last])

    return at


def steps_in(value, shape):
    """Return the steps of an operand that is broadcast to ``shape``; zeros for a number."""
    if not isinstance(value, DeviceArray):
        return (0,) * len(shape)
    return value.steps if value.shape == shape else value.broadcast_to(shape).steps


def overlapping(x, steps, out):
    """Whether elements of ``out`` may be others of ``x``, read with ``steps``: a thread would read what another wrote.

    Told by bounds alone: what lies interleaved counts as overlapping.
    """
    if x.block is not out.block or x.offset == out.offset and _same(out.shape, steps, out.steps):
        return False
    low, high = _bounds(x.offset, out.shape, steps)
    first, last = _bounds(out.offset, out.shape, out.steps)
    return low <= last and first <= high


def _same(shape, steps, others):
    return all(n == 1 or a == b for n, a, b in zip(shape, steps, others, strict=True))


def _bounds(offset, shape, steps):
    ends = [(n - 1) * step for n, step in zip(shape, steps, strict=True)]
    return offset + sum(e for e in ends if e < 0), offset + sum(e for e in ends if e > 0)


def is_array(value):
    """Whether an operand lies on the device; a number does not."""
    return isinstance(value, DeviceArray)


def number(value, dtype):
    """Return a Python number, or NumPy's, as the dtype in which a kernel computes."""
    return np.dtype(dtype).type(value)
