"""Kernels of convolution: filters times patches, and gradients times patches, for arrays of any offset.

By tiles, as a matrix product whose matrix of patches is never stored (Chetlur et al. 2014, sec. 3), or, where tiles
would be mostly empty (few filters in a group, tiny arrays), by one thread for each result.

What kernels get as tuples of whole numbers:

- phase: a row of cuda/_taps.py: (first tap, taps, first pixel's place), (the grid: positions of an image, of a row,
  the reciprocals of both)
- image: elements from image to image, from group to group, height, width of what is read
- window: step and padding of the positions, by axis
- result: elements from image to image, channel to channel, row to row, column to column of what is written
"""

import functools

import numpy as np
from numba import from_dtype, uint32

from tinyconv_kernels import scalar
from tinyconv_kernels.cuda import _gather
from tinyconv_kernels.cuda._cuda import SIMULATED, cuda
from tinyconv_kernels.cuda._gather import NOWHERE, corner, spot
from tinyconv_kernels.cuda._instructions import inlined, limits, load4, registers, storing
from tinyconv_kernels.cuda._product import product
from tinyconv_kernels.cuda._taps import PHASE, TAP
from tinyconv_kernels.cuda._tile import arithmetic

_PHASE, _TAP = np.uint32(PHASE), np.uint32(TAP)


@inlined
def phase_of(table, number):
    """Return (first tap, taps, first pixel's place) of a phase, and the grid of its positions."""
    at = uint32(number * _PHASE)
    first, taps, positions, wide = load4(table, at)
    reciprocals = load4(table, uint32(at + uint32(4)))
    start = table[uint32(at + uint32(8))]
    return (first, taps, start), (positions, wide, *reciprocals)


def _finisher(tile, dtype):
    """Return a device function: bias and ReLU, where a thread's sums are still in registers."""
    relu, row = inlined(scalar.relu(dtype.type)), arithmetic(tile, dtype).row
    rows, columns = map(np.uint32, tile.own)

    @inlined
    def finish(sums, y, bias, at, left, flags):
        if flags[0]:
            for i in range(rows):
                if row(i, y) < left:
                    b = bias[uint32(at + row(i, y))]
                    for j in range(columns):
                        sums[i * columns + j] += b
        if flags[1]:
            for i in range(rows * columns):
                sums[i] = relu(sums[i])

    return finish


def _writer(tile, dtype, wide):
    """Return a device function that writes a thread's sums; ``wide``: 4 positions at once, which are neighbours."""
    row, column = arithmetic(tile, dtype).row, arithmetic(tile, dtype).column
    own_rows, own_columns = map(np.uint32, tile.own)
    group = np.uint32(4 if wide else 1)
    groups = np.uint32(own_columns // group)
    store = storing(wide)

    @inlined
    def write(sums, y, x, c0, count, left, out, to, grid, result):
        for j in range(groups):
            c = uint32(c0 + column(j * group, x))
            if c < count:
                n, u, v = spot(c, grid)
                first = uint32(to + n * result[0] + u * result[2] + v * result[3])
                for i in range(own_rows):
                    if row(i, y) < left:
                        place, s = uint32(first + row(i, y) * result[1]), uint32(i * own_columns + j * group)
                        store(out, place, sums, s)

    return write


@functools.cache
def by_tiles(tile, dtype, wide, several):
    """Return the kernel in which a block owns some channels at some positions of one phase, for one group.

    Without ``several`` phases the only one's numbers are arguments: then the compiler knows that they are the same for
    all threads of a warp, and so is the end of the loop over taps.
    """
    add_up = product(tile, dtype, _gather.filters(tile), _gather.pixels(tile))
    finish, write, place_of = _finisher(tile, dtype), _writer(tile, dtype, wide), arithmetic(tile, dtype).place
    results, real, memory = registers(tile.own[0] * tile.own[1], dtype), from_dtype(dtype), 2 * tile.stage
    height, breadth, one = np.uint32(tile.rows), np.uint32(tile.columns), np.uint32(1)

    @cuda.jit(**limits(tile.threads))
    def kernel(weight, w0, x, x0, out, out0, bias, bias0, table, phase, counts, steps, image, window, result, flags):
        """counts: images, channels of a group, groups; steps: weights from group to group, channel to channel."""
        if SIMULATED:
            shared = cuda.shared.array(memory, real)
        else:
            shared = cuda.shared.array(memory, real, alignment=16)
        images, rows = counts[0], counts[1]
        t, g = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.y)
        (tap0, taps, start), grid = phase
        if several:
            (tap0, taps, start), grid = phase_of(table, uint32(cuda.blockIdx.z))
        # Channels first: blocks that run at the same time share the pixels, of which there are more than weights.
        high = uint32((rows + height - one) // height)
        block = uint32(cuda.blockIdx.x)  # Numba's is signed, and would be divided in 64 bits
        m0, c0 = uint32(block % high * height), uint32(block // high * breadth)
        count = uint32(images * grid[0])
        if several and c0 >= count:  # phases differ in size
            return
        y, x_ = place_of(t)
        channel, left, c = uint32(g * rows + m0), uint32(rows - m0), uint32(c0 + t % breadth)
        h, w, origin = corner(c, grid, window, image)
        h = h if c < count else NOWHERE
        source_w = weight, uint32(w0 + g * steps[0] + m0 * steps[1]), steps[1], left, table, tap0
        source_x = x, uint32(x0 + g * image[1] + origin), h, w, image[2], image[3], table, tap0
        sums = results()
        add_up(shared, t, y, x_, source_w, source_x, uint32(0), taps, sums)
        finish(sums, y, bias, uint32(bias0 + channel), left, flags)
        write(sums, y, x_, c0, count, left, out, uint32(out0 + start + channel * result[1]), grid, result)

    return kernel


@functools.cache
def by_threads(dtype):
    """Return the kernel in which a thread owns one result of one phase; each phase has so many blocks."""
    relu, real = inlined(scalar.relu(dtype.type)), from_dtype(dtype)

    @cuda.jit
    def kernel(
        weight, w0, x, x0, out, out0, bias, bias0, table, phase, counts, steps, image, window, result, flags, blocks
    ):  # fmt: skip
        images, rows, groups = counts
        block = uint32(cuda.blockIdx.x)
        number = uint32(block // blocks)
        (tap, taps, start), grid = phase_of(table, number)
        count = uint32(images * grid[0])
        i = uint32((block - number * blocks) * uint32(cuda.blockDim.x) + cuda.threadIdx.x)
        if count > 0 and uint32(i // count) < rows * groups:
            channel, c = uint32(i // count), uint32(i % count)
            g = uint32(channel // rows)
            h0, w0_, origin = corner(c, grid, window, image)
            first = uint32(w0 + g * steps[0] + uint32(channel - g * rows) * steps[1])
            origin = uint32(x0 + g * image[1] + origin)
            total, last = real(0), uint32(tap + taps * _TAP)
            while tap < last:
                offset, dh, dw, place = load4(table, tap)
                pixel = real(0)
                if uint32(h0 + dh) < image[2] and uint32(w0_ + dw) < image[3]:
                    pixel = x[uint32(origin + offset)]
                total += weight[uint32(first + place)] * pixel
                tap = uint32(tap + _TAP)
            if flags[0]:
                total += bias[uint32(bias0 + channel)]
            if flags[1]:
                total = relu(total)
            n, u, v = spot(c, grid)
            out[uint32(out0 + start + n * result[0] + channel * result[1] + u * result[2] + v * result[3])] = total

    return kernel


@functools.cache
def weights_by_tiles(tile, dtype):
    """Return the kernel in which a block owns some taps of some filters of a group, for one part of the positions."""
    add_up = product(tile, dtype, _gather.gradients(tile), _gather.patches(tile))
    row, column, place_of = arithmetic(tile, dtype).row, arithmetic(tile, dtype).column, arithmetic(tile, dtype).place
    results, real, memory = registers(tile.own[0] * tile.own[1], dtype), from_dtype(dtype), 2 * tile.stage
    height, breadth, one = np.uint32(tile.rows), np.uint32(tile.columns), np.uint32(1)
    own_rows, own_columns = map(np.uint32, tile.own)

    @cuda.jit(**limits(tile.threads))
    def kernel(dy, dy0, x, x0, out, out0, table, phase, counts, steps, image, window, part):
        """counts: images, filters of a group, groups; steps: of dy, from image to image; part: positions, weights."""
        if SIMULATED:
            shared = cuda.shared.array(memory, real)
        else:
            shared = cuda.shared.array(memory, real, alignment=16)
        images, rows = counts[0], counts[1]
        t, g, p = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.y), uint32(cuda.blockIdx.z)
        (tap0, taps, _), grid = phase
        high = uint32((rows + height - one) // height)
        block = uint32(cuda.blockIdx.x)
        m0, r0 = uint32(block % high * height), uint32(block // high * breadth)
        first, channel = uint32(p * part[0]), uint32(g * rows + m0)
        last = min(uint32(first + part[0]), uint32(images * grid[0]))
        y, x_ = place_of(t)
        source_dy = dy, uint32(dy0 + channel * grid[0]), grid[0], uint32(rows - m0), steps, grid
        table0 = uint32(tap0 + r0 * _TAP)
        source_x = x, uint32(x0 + g * image[1]), table, table0, grid, window, image
        sums = results()
        add_up(shared, t, y, x_, source_dy, source_x, first, last, sums)
        to = uint32(out0 + p * part[1])
        for i in range(own_rows):
            m = uint32(m0 + row(i, y))
            for j in range(own_columns):
                r = uint32(r0 + column(j, x_))
                if m < rows and r < taps:
                    out[uint32(to + (g * rows + m) * taps + r)] = sums[i * own_columns + j]

    return kernel


@functools.cache
def weights_by_threads(dtype):
    """Return the kernel in which a thread owns one weight's gradient, for one part of the positions."""
    real = from_dtype(dtype)

    @cuda.jit
    def kernel(dy, dy0, x, x0, out, out0, table, phase, counts, steps, image, window, part):
        images, rows, groups = counts
        i, p = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x), uint32(cuda.blockIdx.y)
        (tap0, taps, _), grid = phase
        if i < part[1]:
            channel = uint32(i // taps)
            offset, dh, dw, _ = load4(table, uint32(tap0 + uint32(i - channel * taps) * _TAP))
            origin = uint32(x0 + uint32(channel // rows) * image[1] + offset)
            k, total = uint32(p * part[0]), real(0)
            last = min(uint32(k + part[0]), uint32(images * grid[0]))
            while k < last:
                n, u, v = spot(k, grid)
                h, w, place = corner(k, grid, window, image)
                pixel = real(0)
                if uint32(h + dh) < image[2] and uint32(w + dw) < image[3]:
                    pixel = x[uint32(origin + place)]
                total += dy[uint32(dy0 + n * steps + channel * grid[0] + u * grid[1] + v)] * pixel
                k = uint32(k + uint32(1))
            out[uint32(out0 + p * part[1] + i)] = total

    return kernel
