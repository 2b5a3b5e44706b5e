"""Kernels of the matrix product: by tiles, and one thread for each output where tiles would be mostly empty.

A transposed matrix is as fast as one that is not: each factor is read along the axis on which its elements are
neighbours, four at a time, whether that is the axis that is summed over ("k") or the one that stays ("w").
"""

import functools

import numpy as np
from numba import from_dtype, int32, uint32

from tinyconv_kernels.cuda._cuda import SIMULATED, cuda
from tinyconv_kernels.cuda._instructions import inlined, limits, load4_if, load_if, registers, store4, storing
from tinyconv_kernels.cuda._product import Operand, product
from tinyconv_kernels.cuda._strided import place
from tinyconv_kernels.cuda._tile import arithmetic


@functools.cache
def one_by_one(dtype, axes):
    """Return the kernel in which a thread owns one output: for small matrices, and whole numbers."""
    real = int32 if dtype == np.bool_ else from_dtype(dtype)
    at = place(axes)

    @cuda.jit
    def kernel(a, a0, b, b0, out, out0, sizes, a_batch, b_batch, out_batch, matrix, a_steps, b_steps, out_steps, count):
        i = uint32(cuda.grid(1))
        if i < count:
            rows, columns, terms = matrix
            rest, n = uint32(i // columns), uint32(i % columns)
            z, m = uint32(rest // rows), uint32(rest % rows)
            left = uint32(a0 + at(z, sizes, a_batch) + m * a_steps[0])
            right = uint32(b0 + at(z, sizes, b_batch) + n * b_steps[1])
            total, k = real(0), uint32(0)
            while k < terms:
                total += real(a[left]) * real(b[right])
                left, right, k = uint32(left + a_steps[1]), uint32(right + b_steps[0]), uint32(k + uint32(1))
            out[uint32(out0 + at(z, sizes, out_batch) + m * out_steps[0] + n * out_steps[1])] = total

    return kernel


def _matrix(tile, side, along, wide):
    """Return the Operand that reads a matrix of numbers [w, k] along "k" or "w"; ``wide``: by 16-byte loads.

    Its source is (array, first element of the block's part, step of w, step of k, w's that there are).
    """
    width, pitch = (tile.rows, tile.columns)[side], tile.pitches[side]
    quads, threads = width * tile.depth // 4, tile.threads
    count = -(-quads // threads)
    whole, by_k = quads % threads == 0, along == "k"
    quads, threads, width, pitch, rounds = map(np.uint32, (quads, threads, width, pitch, count))
    one, two, three, four = map(np.uint32, (1, 2, 3, 4))

    @inlined
    def spot(v):
        """(w, k) of the first number of quad v."""
        if by_k:  # 2 quads of k side by side, then w: a warp's stores into columns meet every bank once
            return uint32((v >> one) % width), uint32(((v & one) + two * ((v >> one) // width)) * four)
        return uint32(v % (width // four) * four), uint32(v // (width // four))

    @inlined
    def get(source, first, last, t, numbers):
        array, origin, w_step, k_step, limit = source
        for p in range(rounds):
            v, at = uint32(t + p * threads), uint32(p * four)
            w, k = spot(v)
            k = uint32(first + k)
            i = uint32(origin + w * w_step + k * k_step)
            there = (whole or v < quads) and w < limit and k < last
            if wide:
                quad = load4_if(array, i, there)
                numbers[at], numbers[at + one] = quad[0], quad[1]
                numbers[at + two], numbers[at + three] = quad[2], quad[3]
            else:
                left = uint32(last - k) if by_k else uint32(limit - w)
                for j in range(four):
                    numbers[at + j] = load_if(array, uint32(i + j), there and j < left)

    @inlined
    def put(shared, start, t, numbers):
        for p in range(rounds):
            v, at = uint32(t + p * threads), uint32(p * four)
            w, k = spot(v)
            if whole or v < quads:
                to = uint32(start + k * pitch + w)
                if by_k:
                    for j in range(four):
                        shared[to + j * pitch] = numbers[at + j]
                else:
                    store4(shared, to, numbers[at], numbers[at + one], numbers[at + two], numbers[at + three])

    return Operand(get, put, 4 * count)


def _corner(tile):
    """Return a device function: first row and column of a block's tile.

    Blocks with neighbouring numbers run at the same time; along the shorter side, they share what they read.
    """
    height, breadth, one = np.uint32(tile.rows), np.uint32(tile.columns), np.uint32(1)

    @inlined
    def corner(block, rows, columns):
        high, broad = uint32((rows + height - one) // height), uint32((columns + breadth - one) // breadth)
        if broad < high:
            return uint32(block // broad * height), uint32(block % broad * breadth)
        return uint32(block % high * height), uint32(block // high * breadth)

    return corner


def _writer(tile, dtype, wide):
    """Return a device function that writes a thread's sums to ``out``; ``wide``: by 16-byte stores."""
    row, column = arithmetic(tile, dtype).row, arithmetic(tile, dtype).column
    own_rows, own_columns = map(np.uint32, tile.own)
    group = np.uint32(4 if wide else 1)
    groups = np.uint32(own_columns // group)
    store = storing(wide)

    @inlined
    def write(sums, y, x, m0, n0, rows, columns, out, to, steps):
        for i in range(own_rows):
            m = uint32(m0 + row(i, y))
            if m < rows:
                for j in range(groups):
                    n, s = uint32(n0 + column(j * group, x)), uint32(i * own_columns + j * group)
                    place = uint32(to + m * steps[0] + n * steps[1])
                    if n < columns:
                        store(out, place, sums, s)

    return write


@functools.cache
def tiled(tile, dtype, axes, a_along, b_along, wide):
    """Return the kernel in which a block owns a tile. ``wide``: may a, b, out be read and written by 16 bytes?"""
    real, at, corner, place_of = from_dtype(dtype), place(axes), _corner(tile), arithmetic(tile, dtype).place
    left, right = _matrix(tile, 0, a_along, wide[0]), _matrix(tile, 1, b_along, wide[1])
    add_up, write = product(tile, dtype, left, right), _writer(tile, dtype, wide[2])
    results, memory = registers(tile.own[0] * tile.own[1], dtype), 2 * tile.stage

    @cuda.jit(**limits(tile.threads))
    def kernel(a, a0, b, b0, out, out0, sizes, a_batch, b_batch, out_batch, matrix, a_steps, b_steps, out_steps, part):
        """matrix: rows, columns, terms; part: terms of a part, elements of out from part to part, first matrix."""
        if SIMULATED:
            shared = cuda.shared.array(memory, real)
        else:
            shared = cuda.shared.array(memory, real, alignment=16)
        rows, columns, terms = matrix
        t, z = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.z + part[2])
        (y, x), (m0, n0) = place_of(t), corner(uint32(cuda.blockIdx.x), rows, columns)
        first = uint32(cuda.blockIdx.y * part[0])
        last = min(uint32(first + part[0]), terms)
        a_first = uint32(a0 + at(z, sizes, a_batch) + m0 * a_steps[0])
        b_first = uint32(b0 + at(z, sizes, b_batch) + n0 * b_steps[1])
        source_a = a, a_first, a_steps[0], a_steps[1], uint32(rows - m0)
        source_b = b, b_first, b_steps[1], b_steps[0], uint32(columns - n0)
        sums = results()
        add_up(shared, t, y, x, source_a, source_b, first, last, sums)
        to = uint32(out0 + at(z, sizes, out_batch) + cuda.blockIdx.y * part[1])
        write(sums, y, x, m0, n0, rows, columns, out, to, out_steps)

    return kernel
