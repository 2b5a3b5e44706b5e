"""The two loops of a direct convolution: `correlate` (forward, gradient of the input) and `correlate_weight`.

Both are `outer_tile`: scalars of one operand, read straight out of the window of pixels (cpu/_window.py), times vectors
of output channels. So every stride, dilation and map size costs the same, vectors are always aligned, and no patch is
ever copied into a column. The price is that results come out position by position, with channels side by side, and
must be transposed into planes: 0.1 ns per element, where a product of depth 64 takes 0.8.

Measured on one AVX-512 core: `outer_tile` runs at 160 GFLOP/s this way, at any depth from 72 on (OpenBLAS: 145, square
matrices of 1024). Layers computed with vectors of positions stayed at 85 to 125: their ends of rows are computed for
nothing, strides must be undone first, and vectors cannot be aligned for every tap.
"""

import numpy as np
from numba import njit
from numba import uint64 as u64

from tinyconv_kernels.cpu._axes import COUNT, PITCH
from tinyconv_kernels.cpu._filters import count_panels, find_panel
from tinyconv_kernels.cpu._micro import ROWS, SHORT, VECTOR_BYTES, VECTORS, copy_row, outer_tile, transpose_block
from tinyconv_kernels.cpu._window import (
    COLUMN,
    IMAGE,
    LENGTH,
    POSITION,
    ROW,
    RUN_FIELDS,
    fill_window,
    find_runs,
    find_slots,
    spread,
)


@njit(cache=True, nogil=True, error_model="numpy")
def correlate(
    first_task, last_task, src, packed, bias, dst, src_shape, dst_shape, dst_step, axis_h, axis_w, taps_h, taps_w,
    places, groups, tiles, tile, blocks, relu,
):  # fmt: skip
    """A task is (tile of positions, group, block of its panels). Writes that part of dst.

    Lane l at position (n, u, v) is  sum over c, t of packed[c, t, l] * window[c, slot(n, u, v) + taps[t]]  and goes to
    dst[n, k, h + u * dst_step[0], w + v * dst_step[1]] with (k, h, w) = places[l], if that is inside.
    """
    N, K, H, W = dst_shape
    C, lanes, U, V = src_shape[1] // groups, len(places), axis_h[COUNT], axis_w[COUNT]
    unit = VECTOR_BYTES // dst.itemsize
    vectors, panels = count_panels(lanes, dst.itemsize)
    taps = taps_h.size * taps_w.size
    depth = C * taps
    whole = dst_step[0] == 1 and dst_step[1] == 1 and U == H and V == W
    slots, columns = np.empty(tile, np.uint64), np.empty(depth, np.uint64)
    runs = np.empty((tile, RUN_FIELDS), np.int64)
    sums = np.empty(tile * VECTORS * unit, dst.dtype)
    planes = np.empty(unit * tile, dst.dtype)
    window = np.empty(0, dst.dtype)
    filled, previous = -1, -1
    floor = dst.dtype.type(0) if relu else dst.dtype.type(-np.inf)
    for task in range(first_task, last_task):
        rest, b = divmod(task, blocks)
        t, group = divmod(rest, groups)
        first = t * tile
        count = min(tile, N * U * V - first)
        if rest != filled:
            filled = rest
            begin, length = find_slots(first, count, tile, axis_h, axis_w, slots)
            stride = spread(length)
            if C * stride > window.size:
                window = np.empty(C * stride, dst.dtype)
            if stride != previous:
                previous = stride
                at = 0
                for c in range(C):
                    for i in taps_h:
                        for j in taps_w:
                            columns[at] = c * stride + i * axis_w[PITCH] + j
                            at += 1
            fill_window(src, src_shape, axis_h, axis_w, begin, length, group * C, group * C + C, window, stride)
            n_runs = find_runs(first, count, U, V, whole, runs)
        for panel in range(panels * b // blocks, panels * (b + 1) // blocks):
            begin_vector, wide = find_panel(panel, vectors, panels)
            width = wide * unit
            base = (group * vectors + begin_vector) * unit * depth
            if depth == 0:
                sums[:] = 0
            for d in range(0, depth, SHORT):
                for q in range(0, count, ROWS):
                    outer_tile(
                        window, slots, u64(q), columns, u64(d), packed, u64(base + d * width), u64(width),
                        sums, u64(q * width), u64(width), u64(min(SHORT, depth - d)), u64(wide), d > 0,
                    )  # fmt: skip
            for vector in range(wide):
                for q in range(0, count, unit):
                    transpose_block(sums, u64(q * width + vector * unit), u64(width), planes, u64(q), u64(tile))
                l0 = (begin_vector + vector) * unit
                for lane in range(l0, min(l0 + unit, lanes)):
                    k, h, w = group * (K // groups) + places[lane, 0], places[lane, 1], places[lane, 2]
                    add = bias[k] if bias.size else dst.dtype.type(0)
                    for run in range(n_runs):
                        y = h + runs[run, ROW] * dst_step[0]
                        x = w + runs[run, COLUMN] * dst_step[1]
                        extent = runs[run, LENGTH]
                        if not whole:
                            extent = 0 if y >= H else min(extent, (W - x + dst_step[1] - 1) // dst_step[1])
                        s = u64((lane - l0) * tile + runs[run, POSITION])
                        d = u64(((runs[run, IMAGE] * K + k) * H + y) * W + x)
                        if extent > 0 and dst_step[1] == 1:
                            copy_row(planes, s, dst, d, u64(extent), add, floor)
                        else:
                            for e in range(u64(max(0, extent))):
                                value = planes[s + e] + add
                                dst[d + e * u64(dst_step[1])] = floor if value < floor else value


@njit(cache=True, nogil=True, error_model="numpy")
def correlate_weight(
    first_task, last_task, dy, x, partial, y_shape, x_shape, axis_h, axis_w, taps_h, taps_w, groups, chunks, blocks,
    tile, exchanged,
):  # fmt: skip
    """A task is (share of the positions, group, block of input channels). Writes partial[share, k, c, tap] of them.

    It is the sum over positions of window[c, slot(position) + taps[t]] * dy[position, k], vectors being filters. With
    1x1 filters x and dy may be ``exchanged``, to transpose the smaller one: then it writes partial[share, c, k].
    """
    N, K, OH, OW = y_shape
    lanes, C, taps = K // groups, x_shape[1] // groups, taps_h.size * taps_w.size
    unit = VECTOR_BYTES // x.itemsize
    vectors, panels = count_panels(lanes, x.itemsize)
    block = -(-C // blocks)
    unit_rows = max(unit, ROWS)
    rows = -(-block * taps // unit_rows) * unit_rows
    total = N * OH * OW
    tiles = -(-total // tile)
    row_slots, slots = np.zeros(rows, np.uint64), np.empty(tile, np.uint64)
    runs = np.empty((tile, RUN_FIELDS), np.int64)
    planes = np.zeros(unit * tile, x.dtype)
    zero, lowest = x.dtype.type(0), x.dtype.type(-np.inf)
    grads = np.empty(vectors * unit * tile, x.dtype)
    sums = np.empty(vectors * unit * rows, x.dtype)
    turned = np.empty(unit * unit, x.dtype)
    window = np.empty(0, x.dtype)
    for task in range(first_task, last_task):
        rest, b = divmod(task, blocks)
        chunk, group = divmod(rest, groups)
        c0, c1 = b * block, min(C, (b + 1) * block)
        if c0 >= c1:
            continue
        t0, t1 = tiles * chunk // chunks, tiles * (chunk + 1) // chunks
        if t0 == t1:
            sums[:] = 0
        previous = -1
        for t in range(t0, t1):
            first = t * tile
            count = min(tile, total - first)
            begin, length = find_slots(first, count, tile, axis_h, axis_w, slots)
            stride = spread(length)
            if block * stride > window.size:
                window = np.empty(block * stride, x.dtype)
            if stride != previous:
                previous = stride
                at = 0
                for c in range(c1 - c0):
                    for i in taps_h:
                        for j in taps_w:
                            row_slots[at] = c * stride + i * axis_w[PITCH] + j
                            at += 1
                row_slots[at:] = row_slots[at - 1]
            fill_window(x, x_shape, axis_h, axis_w, begin, length, group * C + c0, group * C + c1, window, stride)
            n_runs = find_runs(first, count, OH, OW, True, runs)
            for panel in range(panels):
                begin_vector, wide = find_panel(panel, vectors, panels)
                width = wide * unit
                base = begin_vector * unit * tile
                for vector in range(wide):
                    l0 = (begin_vector + vector) * unit
                    for lane in range(l0, l0 + unit):
                        at = (lane - l0) * tile
                        if lane >= lanes:
                            for q in range(u64(count)):
                                planes[u64(at) + q] = 0
                            continue
                        for run in range(n_runs):
                            p = runs[run, ROW] * OW + runs[run, COLUMN]
                            s = u64((runs[run, IMAGE] * K + group * lanes + lane) * OH * OW + p)
                            d = u64(at + runs[run, POSITION])
                            copy_row(dy, s, planes, d, u64(runs[run, LENGTH]), zero, lowest)
                    for q in range(0, count, unit):
                        transpose_block(
                            planes, u64(q), u64(tile), grads, u64(base + q * width + vector * unit), u64(width)
                        )
                for r in range(0, (c1 - c0) * taps, ROWS):
                    outer_tile(
                        window, row_slots, u64(r), slots, u64(0), grads, u64(base), u64(width),
                        sums, u64(begin_vector * unit * rows + r * width), u64(width), u64(count), u64(wide), t > t0,
                    )  # fmt: skip
        depth = (c1 - c0) * taps
        for panel in range(panels):
            begin_vector, wide = find_panel(panel, vectors, panels)
            width = wide * unit
            for vector in range(wide):
                l0 = (begin_vector + vector) * unit
                if exchanged:
                    for r in range(depth):
                        at = begin_vector * unit * rows + r * width + vector * unit
                        d = ((chunk * groups + group) * C + c0 + r) * lanes + l0
                        copy_row(sums, u64(at), partial, u64(d), u64(min(unit, lanes - l0)), zero, lowest)
                    continue
                for r0 in range(0, depth, unit):
                    at = begin_vector * unit * rows + r0 * width + vector * unit
                    transpose_block(sums, u64(at), u64(width), turned, u64(0), u64(unit))
                    for l in range(min(unit, lanes - l0)):
                        d = ((chunk * K + group * lanes + l0 + l) * C + c0) * taps + r0
                        for r in range(u64(min(unit, depth - r0))):
                            partial[u64(d) + r] = turned[u64(l * unit) + r]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def sum_planes(first, last, dy, dbias):
    """A task is a channel: the sum of its planes, each summed in vectors (NumPy takes twice as long)."""
    for k in range(first, last):
        total = 0.0
        for n in range(dy.shape[0]):
            plane = dy[n, k]
            some = plane.dtype.type(0)
            for m in range(plane.size):
                some += plane[m]
            total += some
        dbias[k] = total
