"""How a block of threads multiplies: a tile of A times a tile of B, out of shared memory, into registers.

Every number fetched from memory is multiplied with all that a tile holds of the other factor, and every number fetched
from shared memory with 4 or 8 in registers; without that a GPU waits for its memory most of the time. Both tiles lie in
shared memory as (depth, width), depth being the axis that is summed over, rows a little longer than the tile is wide,
so that neither writing columns nor reading rows meets a bank of the memory twice.

Two ways to multiply: `_fused`, a thread owning rows x columns of the result in groups of 4, and `_tensor`, by the
tensor cores' instruction (cuda/_mma.py). Loops have fixed lengths, or a thread's arrays would not be in registers.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, uint32

from tinyconv_kernels.cuda import _mma
from tinyconv_kernels.cuda._cuda import SIMULATED
from tinyconv_kernels.cuda._instructions import inlined, load4
from tinyconv_kernels.switches import switches


class Tile(NamedTuple):
    """What one block computes: rows x columns, ``depth`` terms of the sum at a time.

    A thread owns high x wide groups of 4 x 4 results, or, if ``tf32``, a warp high x wide groups of 16 x 8.
    """

    rows: int
    columns: int
    depth: int
    high: int
    wide: int
    tf32: bool = False

    @property
    def threads(self) -> int:
        """Threads of the block."""
        if self.tf32:
            return 32 * (self.rows // (16 * self.high)) * (self.columns // (8 * self.wide))
        return (self.rows // (4 * self.high)) * (self.columns // (4 * self.wide))

    @property
    def pitches(self) -> tuple[int, int]:
        """Elements from one row to the next of A's and B's tiles in shared memory."""
        gap = 8 if self.tf32 else 4
        return self.rows + gap, self.columns + gap

    @property
    def stage(self) -> int:
        """Elements of shared memory for a tile of A and one of B."""
        return self.depth * sum(self.pitches)

    @property
    def own(self) -> tuple[int, int]:
        """Rows and columns of the results that a thread owns."""
        return (2 * self.high, 2 * self.wide) if self.tf32 else (4 * self.high, 4 * self.wide)


# What a multiprocessor computes in tiles of each shape, compared to the largest: guesses, from how many numbers are
# read from shared memory for each multiplication.
_FLOAT32 = {
    Tile(128, 128, 8, 2, 2): 1.0, Tile(64, 64, 8, 2, 2): 0.8, Tile(32, 128, 8, 1, 2): 0.7, Tile(128, 32, 8, 2, 1): 0.7,
    Tile(32, 32, 8, 1, 1): 0.5,
}  # fmt: skip
_TF32 = {Tile(128, 128, 16, 4, 4, True): 1.0, Tile(64, 64, 16, 2, 4, True): 0.7}
_FLOAT64 = {Tile(32, 32, 8, 1, 1): 1.0}
if SIMULATED:  # each thread of a block is a thread of Python's
    _FLOAT32 = _FLOAT64 = {Tile(16, 16, 8, 1, 1): 1.0}
    _TF32 = {Tile(32, 16, 8, 2, 2, True): 1.0}

# Multiprocessors of a large GPU. Not asked of the one at hand: how a sum is split shall follow from shapes alone.
_PROCESSORS = 128
# Terms of a sum that are worth a block of their own.
_PART = 256


def choose(rows, columns, batch, dtype):
    """Return the tile by which ``batch`` results of rows x columns are ready soonest; large ones waste their edges."""
    tiles = _FLOAT64 if dtype == np.float64 else _TF32 if switches["tf32"] and _mma.available() else _FLOAT32

    def time(tile):
        blocks = -(-rows // tile.rows) * -(-columns // tile.columns) * batch
        return -(-blocks // _PROCESSORS) * tile.rows * tile.columns / tiles[tile]

    return min(tiles, key=time)


def parts(tile, rows, columns, batch, terms):
    """Return (parts, terms of each) of a sum: several, if there were too few blocks for all multiprocessors."""
    blocks = -(-rows // tile.rows) * -(-columns // tile.columns) * batch
    count = max(1, min(-(-2 * _PROCESSORS // max(1, blocks)), terms // _PART))
    each = -(-terms // count)
    each += -each % 16  # whole tiles, and whole 16-byte loads
    return max(1, -(-terms // each)) if each else 1, each


class Arithmetic(NamedTuple):
    """Device functions of a tile. ``place(t)`` is (y, x) for thread t; its result [i, j] is [row(i, y), column(j, x)].

    ``multiply(shared, start, t, y, x, sums)`` adds a tile of A times a tile of B, which lie at ``start``, to the sums;
    ``rounded(x)`` is what of a number it can multiply.
    """

    place: Any
    multiply: Any
    row: Any
    column: Any
    rounded: Any


@functools.cache
def arithmetic(tile, dtype):
    """Return a tile's device functions."""
    return _tensor(tile) if tile.tf32 else _fused(tile, from_dtype(dtype))


def _fused(tile, real):
    """Multiply and add. A thread's groups of 4 lie half a tile apart: neighbours' 16-byte loads meet all banks once."""
    pitch_a, pitch_b = map(np.uint32, tile.pitches)
    across, down = tile.columns // (4 * tile.wide), tile.rows // (4 * tile.high)
    # A warp is 8 threads wide and 4 high.
    warp_across = np.uint32(min(8, across))
    warp_down = np.uint32(min(32 // warp_across, down))
    warps = np.uint32(across // warp_across)
    lanes = np.uint32(warp_across * warp_down)
    next_row, next_column = np.uint32(tile.rows // tile.high), np.uint32(tile.columns // tile.wide)
    tile_b = np.uint32(tile.depth * tile.pitches[0])
    high, wide, own, depth = map(np.uint32, (tile.high, tile.wide, 4 * tile.wide, tile.depth))
    two, four = np.uint32(2), np.uint32(4)

    @inlined
    def place(t):
        warp, lane = t // lanes, t % lanes
        y = (warp // warps) * warp_down + lane // warp_across
        x = (warp % warps) * warp_across + lane % warp_across
        return uint32(y * four), uint32(x * four)

    @inlined
    def four_columns(sums, at, left, right):
        sums[at] += left * right[0]
        sums[at + uint32(1)] += left * right[1]
        sums[at + uint32(2)] += left * right[2]
        sums[at + uint32(3)] += left * right[3]

    @inlined
    def term(shared, a, b, sums):
        """Add row a of A's tile times row b of B's: every left number times every right one."""
        for i in range(high):
            left = load4(shared, a + i * next_row)
            for j in range(wide):
                right = load4(shared, b + j * next_column)
                at = (i * own + j) * four
                four_columns(sums, at, left[0], right)
                four_columns(sums, at + own, left[1], right)
                four_columns(sums, at + own + own, left[2], right)
                four_columns(sums, at + own + own + own, left[3], right)

    @inlined
    def multiply(shared, start, t, y, x, sums):
        a, b, k = uint32(start + y), uint32(start + tile_b + x), uint32(0)
        while k < depth:
            # Two terms a turn: half the counting, and one is fetched while the other is multiplied.
            term(shared, a, b, sums)
            term(shared, a + pitch_a, b + pitch_b, sums)
            a, b, k = uint32(a + pitch_a + pitch_a), uint32(b + pitch_b + pitch_b), uint32(k + two)

    @inlined
    def row(i, y):
        return uint32(y + (i // four) * next_row + i % four)

    @inlined
    def column(j, x):
        return uint32(x + (j // four) * next_column + j % four)

    return Arithmetic(place, multiply, row, column, inlined(lambda x: x))


def _tensor(tile):
    """Tensor cores: a warp owns high x wide groups of 16 x 8, each thread 2 x 2 of every group (cuda/_mma.py)."""
    pitch_a, pitch_b = map(np.uint32, tile.pitches)
    warps = np.uint32(tile.columns // (8 * tile.wide))
    tile_b = np.uint32(tile.depth * tile.pitches[0])
    high, wide, own, depth = map(np.uint32, (tile.high, tile.wide, 2 * tile.wide, tile.depth))
    two, four, eight, sixteen, warp = map(np.uint32, (2, 4, 8, 16, 32))
    mma = _mma.mma

    @inlined
    def corner(t):
        """First row and column of a warp's results."""
        return uint32(t // warp // warps * high * sixteen), uint32(t // warp % warps * wide * eight)

    @inlined
    def place(t):
        y, x = corner(t)
        return uint32(y + t % warp // four), uint32(x + t % four * two)

    @inlined
    def group(sums, at, a0, a1, a2, a3, b0, b1):
        c = mma(a0, a1, a2, a3, b0, b1, sums[at], sums[at + uint32(1)], sums[at + own], sums[at + own + uint32(1)])
        sums[at], sums[at + uint32(1)], sums[at + own], sums[at + own + uint32(1)] = c

    @inlined
    def multiply(shared, start, t, y, x, sums):
        top, left = corner(t)
        g, q = t % warp // four, t % four
        k = uint32(0)
        while k < depth:
            a = uint32(start + (k + q) * pitch_a + top + g)
            b = uint32(start + tile_b + (k + q) * pitch_b + left + g)
            for i in range(high):
                a0, a1 = shared[a + i * sixteen], shared[a + i * sixteen + eight]
                a2, a3 = shared[a + i * sixteen + four * pitch_a], shared[a + i * sixteen + eight + four * pitch_a]
                for j in range(wide):
                    b0, b1 = shared[b + j * eight], shared[b + j * eight + four * pitch_b]
                    group(sums, uint32((i * own + j) * two), a0, a1, a2, a3, b0, b1)
            k = uint32(k + eight)

    @inlined
    def row(i, y):
        return uint32(y + (i // two) * sixteen + i % two * eight)

    @inlined
    def column(j, x):
        return uint32(x + (j // two) * eight + j % two)

    return Arithmetic(place, multiply, row, column, _mma.tf32)
