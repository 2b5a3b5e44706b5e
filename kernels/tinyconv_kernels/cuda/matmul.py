"""Matrix product; definition: ``reference/matmul.py``. Sums run in an order fixed by the shapes: the same on every run.

Transposed views are read as they are (cuda/_gemm.py); matrices without neighbours along either axis are copied first.
Where a result has few elements and each is a long sum, as a weight's gradient, blocks share the sum: each writes its
part, and a second pass adds up the parts.
"""

import math

import numpy as np

from tinyconv_kernels.cuda import _gemm, launch, memory, reduce
from tinyconv_kernels.cuda._strided import joined
from tinyconv_kernels.cuda._tile import choose, parts
from tinyconv_kernels.device_array import DeviceArray

# Multiplications up to which one thread computes an output, and matrices of a launch.
_FEW, _MATRICES = 1 << 15, launch.GRID


def matmul(a, b, out):
    """One block owns a tile of the result, or one thread an element. Writes out = a b, by NumPy's matmul rules."""
    if out.size == 0:
        return
    memory.written(out)
    if a.ndim == 1:
        a, out = a[None, :], out[None] if b.ndim == 1 else out[..., None, :]
    if b.ndim == 1:
        b, out = b[:, None], out[..., None]
    if _neighbours(out, -2) > _neighbours(out, -1):
        a, b, out = b.swapaxes(-1, -2), a.swapaxes(-1, -2), out.swapaxes(-1, -2)
    a, b, out = _without_batch(a, b, out)
    terms = a.shape[-1]
    if out.dtype not in (np.float32, np.float64) or out.size * terms <= _FEW:
        _by_threads(a, b, out)
    else:
        _by_tiles(_readable(a), _readable(b), out)


def _neighbours(x, axis):
    """Number of elements that lie side by side in memory along an axis; 0 if they are apart."""
    return x.shape[axis] if x.steps[axis] == 1 else 0


def _readable(x):
    """Return x, or a copy in which elements are neighbours along one of the last two axes."""
    return x if max(_neighbours(x, -1), _neighbours(x, -2)) else x.copy()


def _without_batch(a, b, out):
    """View many matrices times the same one as one tall matrix, if their rows follow each other in memory."""
    batch = out.shape[:-2]
    if math.prod(batch) == 1 or math.prod(b.shape[:-2]) != 1:
        return a, b, out
    wide = a.broadcast_to(batch + a.shape[-2:])
    sizes, (a_steps, out_steps) = joined(out.shape[:-1], wide.steps[:-1], out.steps[:-1])
    if len(sizes) > 1:
        return a, b, out
    tall = DeviceArray(a.block, (*sizes, a.shape[-1]), a.dtype, a.offset, (*a_steps, a.steps[-1]), a)
    result = DeviceArray(out.block, (*sizes, out.shape[-1]), out.dtype, out.offset, (*out_steps, out.steps[-1]), out)
    return tall, b.reshape(b.shape[-2:]), result


def _batches(a, b, out):
    """Return (sizes, steps of a, of b, of out) of the axes before the matrices."""
    lead = out.shape[:-2]
    a_steps, b_steps = (x.broadcast_to(lead + x.shape[-2:]).steps[:-2] for x in (a, b))
    sizes, steps = joined(lead, a_steps, b_steps, out.steps[:-2])
    return (sizes, *steps)


def _arguments(a, b, out):
    """Return what both kernels take: arrays, batch axes, the matrices' sizes and steps."""
    matrix = *out.shape[-2:], a.shape[-1]
    arrays = [value for x in (a, b, out) for value in (memory.flat(x), x.offset)]
    return [*arrays, *_batches(a, b, out), matrix, a.steps[-2:], b.steps[-2:], out.steps[-2:]]


def _by_threads(a, b, out):
    arguments = _arguments(a, b, out)
    axes = len(arguments[6])
    launch.each(_gemm.one_by_one(out.dtype, axes), out.size, *arguments, out.size)


def _by_tiles(a, b, out, tile=None, shared_sum=None):
    """Launch the kernel that owns tiles. The tile, and (parts, terms of each), follow from the shapes if not given."""
    (rows, columns), terms, batch = out.shape[-2:], a.shape[-1], math.prod(out.shape[:-2])
    tile = choose(rows, columns, batch, out.dtype) if tile is None else tile
    count, each = parts(tile, rows, columns, batch, terms) if shared_sum is None else shared_sum
    sums = out if count == 1 else memory.empty((count, *out.shape), out.dtype)
    target = out if count == 1 else sums[0]
    a_axis, b_axis = (-1 if _neighbours(x, -1) >= _neighbours(x, -2) else -2 for x in (a, b))
    along = "wk"[a_axis], "kw"[b_axis]
    wide = _aligned(a, a_axis), _aligned(b, b_axis), not tile.tf32 and _aligned(target, -1)
    arguments = _arguments(a, b, target)
    kernel = _gemm.tiled(tile, out.dtype, len(arguments[6]), *along, wide)
    blocks = -(-rows // tile.rows) * -(-columns // tile.columns)
    for first in range(0, batch, _MATRICES):
        grid = blocks, count, min(_MATRICES, batch - first)
        launch.blocks(kernel, grid, tile.threads, *arguments, (each, out.size, first))
    if count > 1:
        reduce.reduce_sum(sums, out, (0,))


def _aligned(x, axis):
    """Whether 4 elements from every fourth one along an axis begin on a 16-byte boundary; float64 is not asked for."""
    axis %= x.ndim
    others = (step for i, (n, step) in enumerate(zip(x.shape, x.steps, strict=True)) if i != axis and n > 1)
    return (
        x.dtype == np.float32 and x.steps[axis] == 1 and x.shape[axis] % 4 == 0 and x.offset % 4 == 0
        and all(step % 4 == 0 for step in others)
    )  # fmt: skip
