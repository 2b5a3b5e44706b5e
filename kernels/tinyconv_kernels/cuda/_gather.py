"""Operands of a convolution that is computed as a matrix product (cuda/_product.py): filters, gradients, and pixels.

The matrix of patches is nowhere stored: its element (tap, position) is a pixel that the table of cuda/_taps.py leads
to, or a zero. Neighbouring threads fetch what are neighbours in memory: positions, where those are the columns of the
matrix (`pixels`, forward and backward to the input), and 8 terms of the sum elsewhere. Sums like ``row + j * lines``
are not cut to 32 bits, so that the compiler makes the constant a part of the instruction.
"""

import numpy as np
from numba import uint32, uint64

from tinyconv_kernels.cuda._instructions import inlined, load4, load_if
from tinyconv_kernels.cuda._product import Operand
from tinyconv_kernels.cuda._taps import TAP

# h of a position that is not there: whatever tap is added, no image is so high.
NOWHERE = np.uint32(1 << 31)
_TAP, _THREE, _EIGHT = np.uint32(TAP), np.uint32(3), np.uint32(8)


@inlined
def divided(n, multiplier, shift):
    """Return n // d by the reciprocal of d (cuda/_taps.py)."""
    return uint32((uint64(n) * uint64(multiplier)) >> uint64(shift))


@inlined
def spot(c, grid):
    """Return (image, row, column) of position c; ``grid``: positions of an image, of a row, their reciprocals."""
    n = divided(c, grid[2], grid[3])
    q = uint32(c - n * grid[0])
    u = divided(q, grid[4], grid[5])
    return n, u, uint32(q - u * grid[1])


@inlined
def corner(c, grid, window, image):
    """Return (h, w) of a position's first pixel, and where it lies; ``window``: step and padding by axis."""
    n, u, v = spot(c, grid)
    h, w = uint32(u * window[0] - window[2]), uint32(v * window[1] - window[3])
    return h, w, uint32(n * image[0] + h * image[3] + w)


def _by_terms(tile, side, value):
    """Return an Operand whose threads fetch 8 neighbouring terms for each row of its tile.

    ``value`` is a pair of device functions: ``term(source, k)``, what depends on the term alone, and ``number(source,
    term, w, there)``, the element, or 0 if not ``there``. A warp's store, 8 rows of 4 neighbours, meets every bank of
    the shared memory once.
    """
    width, pitch = (tile.rows, tile.columns)[side], np.uint32(tile.pitches[side])
    lines = np.uint32(tile.threads // 8)
    each, rounds = map(np.uint32, (width * 8 // tile.threads, tile.depth // 8))
    assert each * tile.threads == width * 8, tile
    term, number = value

    @inlined
    def get(source, first, last, t, numbers):
        for s in range(rounds):
            k = uint32(first + t % _EIGHT + s * _EIGHT)
            found = term(source, k)
            for j in range(each):
                numbers[s * each + j] = number(source, found, uint32(t // _EIGHT + j * lines), k < last)

    @inlined
    def put(shared, start, t, numbers):
        for s in range(rounds):
            row = uint32(start + (t % _EIGHT + s * _EIGHT) * pitch + t // _EIGHT)
            for j in range(each):
                shared[row + j * lines] = numbers[s * each + j]

    return Operand(get, put, int(each * rounds))


def filters(tile):
    """Weights by rows. Source: (weights, first of the block, from row to row, rows left, table, its first tap)."""

    @inlined
    def term(source, k):
        return source[4][uint32(source[5] + k * _TAP) + _THREE]

    @inlined
    def number(source, place, w, there):
        return load_if(source[0], uint32(source[1] + w * source[2] + place), there and w < source[3])

    return _by_terms(tile, 0, (term, number))


def gradients(tile):
    """Output gradients by rows.

    Source: (dy, first of the block, from channel to channel, rows left, from image to image, grid).
    """

    @inlined
    def term(source, k):
        grid = source[5]
        n = divided(k, grid[2], grid[3])
        return uint32(n * source[4] + k - n * grid[0])

    @inlined
    def number(source, place, w, there):
        return load_if(source[0], uint32(source[1] + w * source[2] + place), there and w < source[3])

    return _by_terms(tile, 0, (term, number))


def patches(tile):
    """Pixels, positions being the terms.

    Source: (x, first of the group, table, first tap of the block, grid, window, image).
    """

    @inlined
    def term(source, k):
        return corner(k, source[4], source[5], source[6])

    @inlined
    def number(source, place, w, there):
        tap = load4(source[2], uint32(source[3] + w * _TAP))
        inside = uint32(place[0] + tap[1]) < source[6][2] and uint32(place[1] + tap[2]) < source[6][3]
        return load_if(source[0], uint32(source[1] + place[2] + tap[0]), there and inside)

    return _by_terms(tile, 1, (term, number))


def pixels(tile):
    """Pixels, positions being the columns, one for each thread.

    Source: (x, the position's first pixel, its h, its w, height, width, table, first tap).
    """
    pitch = np.uint32(tile.pitches[1])
    assert tile.threads % tile.columns == 0, tile
    columns, lines = np.uint32(tile.columns), np.uint32(tile.threads // tile.columns)
    count = tile.depth * tile.columns // tile.threads
    rounds = np.uint32(count)

    @inlined
    def get(source, first, last, t, numbers):
        x, origin, h, w, height, width, table, tap0 = source
        at = uint32(tap0 + (first + t // columns) * _TAP)
        for p in range(rounds):
            tap = load4(table, at + p * (lines * _TAP))
            inside = uint32(h + tap[1]) < height and uint32(w + tap[2]) < width
            numbers[p] = load_if(x, uint32(origin + tap[0]), inside)

    @inlined
    def put(shared, start, t, numbers):
        row = uint32(start + (t // columns) * pitch + t % columns)
        for p in range(rounds):
            shared[row + p * (lines * pitch)] = numbers[p]

    return Operand(get, put, count)
