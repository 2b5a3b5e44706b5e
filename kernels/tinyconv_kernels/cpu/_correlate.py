"""The two loops of convolution that cpu/conv.py calls: `correlate` (forward, input gradient) and `correlate_weight`."""

import numpy as np
from numba import int64, njit, prange
from numba import uint64 as u64

from tinyconv_kernels.cpu._micro import (
    DOT_COLS,
    DOT_ROWS,
    OUTER_ROWS,
    OUTER_VECTORS,
    VECTOR_BYTES,
    dot_tile,
    outer_tile,
)
from tinyconv_kernels.cpu._patches import (
    BEFORE,
    COLUMN,
    COUNT,
    FIRST,
    IMAGE,
    LENGTH,
    PITCH,
    PLANES,
    ROW,
    RUN_FIELDS,
    SLOT,
    START,
    TAPS,
    clear_columns,
    fill_shifts,
    fill_window,
    find_runs,
    pack_columns,
    pack_planes,
    window_stride,
)

# A tile is TILE columns wide and about DEPTH patch elements deep, from a window of at most WINDOW slots (unless one
# channel needs more): the second-level cache holds it. 240 is a multiple of every OUTER_VECTORS * lanes, and an odd
# number of cache lines, which spreads rows evenly.
TILE = 240
DEPTH = 256
WINDOW = 1 << 15
# Copying a patch element costs as much as about this many multiply-adds: below, computing slots that are no position
# is cheaper than leaving them out.
PACKING = 20
# The weight gradient sums over positions, WIDE at a time, for blocks of COLUMNS patch elements and ROWS filters.
WIDE = 480
COLUMNS = 144
ROWS = 48


@njit(parallel=True, cache=True, error_model="numpy")
def correlate_parallel(
    tasks, src, weight, bias, dst, src_shape, dst_shape, src_step, dst_step, axes_h, axes_w,
    groups, tiles, blocks, block, dense, relu,
):  # fmt: skip
    """One thread owns some tasks of `correlate`."""
    for task in prange(tasks):
        correlate(
            int64(task), int64(task) + 1, src, weight, bias, dst, src_shape, dst_shape, src_step, dst_step,
            axes_h, axes_w, groups, tiles, blocks, block, dense, relu,
        )  # fmt: skip


@njit(cache=True, error_model="numpy")
def correlate(
    first_task, last_task, src, weight, bias, dst, src_shape, dst_shape, src_step, dst_step, axes_h, axes_w,
    groups, tiles, blocks, block, dense, relu,
):  # fmt: skip
    """A task is (group, tile of positions, block of filters, phase). Writes that part of dst.

    dst[n, k, start + u * dst_step] = bias[k] + sum over c, i of weight[k, c, i] * src[n, c, pixel of tap i at u], both
    axes alike, and 0 for pixels outside the image.
    """
    N, K, H, W = dst_shape
    C, rows = src_shape[1] // groups, K // groups
    lanes = OUTER_VECTORS * VECTOR_BYTES // dst.itemsize
    tile = np.empty(-(-min(block, rows) // OUTER_ROWS) * OUTER_ROWS * TILE, dst.dtype)
    runs = np.empty((TILE, RUN_FIELDS), np.int64)
    cols, window = tile[:0], tile[:0]
    previous = -1
    for task in range(first_task, last_task):
        rest, phase = divmod(task, len(axes_h) * len(axes_w))
        rest, b = divmod(rest, blocks)
        group, t = divmod(rest, tiles)
        axis_h, axis_w = axes_h[phase // len(axes_w)], axes_w[phase % len(axes_w)]
        taps = axis_h[TAPS] * axis_w[TAPS]
        if dense:
            columns = N * axis_h[COUNT] * axis_w[COUNT]
        else:
            columns = N * axis_h[PITCH] * axis_w[PITCH]
        count = min(TILE, columns - t * TILE)
        m0, m1 = b * block, min(rows, (b + 1) * block)
        if count <= 0 or m0 >= m1:
            continue
        n_runs, slots = find_runs(t * TILE, count, axis_h, axis_w, dense, runs)
        if n_runs == 0:
            continue
        if phase != previous:
            # Scratch for as many channels at a time as make the sums about DEPTH long.
            previous = phase
            stride = window_stride(TILE, axis_h, axis_w, dense, lanes)
            planes = axis_h[PLANES] * axis_w[PLANES]
            step = max(1, min(C, DEPTH // max(1, taps), WINDOW // (stride * max(1, planes))))
            window = np.zeros(step * planes * stride, dst.dtype)
            shifts = np.empty(step * taps, np.uint64)
            if taps:
                fill_shifts(axis_h, axis_w, 0, stride, shifts)
            if dense:
                cols = np.zeros(step * taps * TILE + lanes, dst.dtype)
                cols_shifts = np.empty(step * taps, np.uint64)
                for r in range(step * taps):
                    cols_shifts[r] = u64(r * TILE)
        # weight is [phase][group][filter][channel][tap]; the phases before have taps_before of all taps.
        taps_before = axis_h[BEFORE] * (axes_w[-1, BEFORE] + axes_w[-1, TAPS]) + axis_h[TAPS] * axis_w[BEFORE]
        w0 = K * C * taps_before + group * rows * C * taps
        if taps == 0:
            tile[:] = 0
        first_slot = runs[0, SLOT] if dense else t * TILE
        for c0 in range(0, C if taps else 0, step):
            c1 = min(C, c0 + step)
            depth = (c1 - c0) * taps
            g0, g1 = group * C + c0, group * C + c1
            fill_window(src, src_shape, src_step, axis_h, axis_w, first_slot, slots, g0, g1, window, stride)
            if dense:
                pack_columns(window, shifts[:depth], runs, n_runs, cols, TILE)
            for q in range(0, count, lanes):
                for m in range(m0, m1, OUTER_ROWS):
                    outer_tile(
                        weight, u64(w0 + m * C * taps + c0 * taps), u64(C * taps), u64(min(OUTER_ROWS, m1 - m)),
                        cols if dense else window, u64(q), cols_shifts if dense else shifts,
                        tile, u64((m - m0) * TILE + q), u64(TILE), u64(depth), c0 > 0,
                    )  # fmt: skip
        for m in range(m0, m1):
            k = group * rows + m
            add = bias[k] if bias.size else dst.dtype.type(0)
            for run in range(n_runs):
                h = axis_h[START] + runs[run, ROW] * dst_step[0]
                w = axis_w[START] + runs[run, FIRST] * dst_step[1]
                at, jump = u64(((runs[run, IMAGE] * K + k) * H + h) * W + w), u64(dst_step[1])
                q = u64((m - m0) * TILE + runs[run, COLUMN])
                for e in range(u64(runs[run, LENGTH])):
                    value = tile[q + e] + add  # a NaN is not < 0, and stays
                    dst[at + e * jump] = dst.dtype.type(0) if relu and value < 0 else value


@njit(parallel=True, cache=True, error_model="numpy")
def correlate_weight_parallel(tasks, dy, x, partial, y_shape, x_shape, step, axis_h, axis_w, groups, chunks, blocks):
    """One thread owns some tasks of `correlate_weight`."""
    for task in prange(tasks):
        correlate_weight(
            int64(task), int64(task) + 1, dy, x, partial, y_shape, x_shape, step, axis_h, axis_w, groups, chunks, blocks
        )


@njit(cache=True, error_model="numpy")
def correlate_weight(
    first_task, last_task, dy, x, partial, y_shape, x_shape, step, axis_h, axis_w, groups, chunks, blocks
):
    """A task is (share of the positions, group, block of columns). Writes that part of partial[share, k, r]."""
    N, K, OH, OW = y_shape
    rows, taps = K // groups, axis_h[TAPS] * axis_w[TAPS]
    C = x_shape[1] // groups
    depth = C * taps
    lanes = VECTOR_BYTES // x.itemsize
    stride = window_stride(WIDE, axis_h, axis_w, True, lanes)
    window = np.zeros(min(C, COLUMNS // taps + 2) * axis_h[PLANES] * axis_w[PLANES] * stride, x.dtype)
    cols = np.zeros(min(COLUMNS, -(-depth // DOT_COLS) * DOT_COLS) * WIDE + lanes, x.dtype)
    grads = np.zeros(min(ROWS, -(-rows // DOT_ROWS) * DOT_ROWS) * WIDE + lanes, x.dtype)
    shifts = np.empty(COLUMNS, np.uint64)
    runs = np.empty((WIDE, RUN_FIELDS), np.int64)
    room = -(-DOT_ROWS * DOT_COLS // lanes) * lanes  # what dot_tile writes
    tiles_m, tiles_r = -(-rows // DOT_ROWS), COLUMNS // DOT_COLS
    sums = np.empty(tiles_m * tiles_r * room, x.dtype)
    n_tiles = -(-N * OH * OW // WIDE)
    for task in range(first_task, last_task):
        rest, b = divmod(task, blocks)
        chunk, group = divmod(rest, groups)
        r0, r1 = b * COLUMNS, min(depth, (b + 1) * COLUMNS)
        g0, g1 = group * C + r0 // taps, group * C + (r1 - 1) // taps + 1
        fill_shifts(axis_h, axis_w, r0, stride, shifts[: r1 - r0])
        sums[:] = 0
        for t in range(n_tiles * chunk // chunks, n_tiles * (chunk + 1) // chunks):
            count = min(WIDE, N * OH * OW - t * WIDE)
            wide = -(-count // lanes) * lanes
            n_runs, slots = find_runs(t * WIDE, count, axis_h, axis_w, True, runs)
            first_slot = runs[0, SLOT]
            fill_window(x, x_shape, step, axis_h, axis_w, first_slot, slots, g0, g1, window, stride)
            pack_columns(window, shifts[: r1 - r0], runs, n_runs, cols, WIDE)
            clear_columns(cols, r1 - r0, count, wide, WIDE)
            for m0 in range(0, rows, ROWS):
                m1 = min(rows, m0 + ROWS)
                pack_planes(dy, y_shape, group * rows + m0, group * rows + m1, t * WIDE, count, grads, WIDE)
                clear_columns(grads, m1 - m0, count, wide, WIDE)
                for r in range(0, r1 - r0, DOT_COLS):
                    for m in range(0, m1 - m0, DOT_ROWS):
                        at = ((m0 + m) // DOT_ROWS * tiles_r + r // DOT_COLS) * room
                        dot_tile(grads, u64(m * WIDE), cols, u64(r * WIDE), u64(WIDE), u64(wide), sums, u64(at))
        for m in range(rows):
            at = (chunk * K + group * rows + m) * depth
            for r in range(r0, r1):
                tile = (m // DOT_ROWS) * tiles_r + (r - r0) // DOT_COLS
                partial[at + r] = sums[tile * room + (m % DOT_ROWS) * DOT_COLS + (r - r0) % DOT_COLS]
