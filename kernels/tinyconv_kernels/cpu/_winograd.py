"""3x3 and 5x5 convolutions by Winograd's method: fewer multiplications, in three steps (cpu/_transforms.py).

Outputs are cut into squares of 4x4 (2x2 for 5x5 filters). Of the 6x6 pixels a square sees and of each filter, 36 sums
are formed, the values at 36 points; at each point there is then an ordinary matrix product over channels, done by
`outer_tile`; and the 36 results give back 16 outputs. Everything is kept with channels side by side, so that each
transform works on whole vectors. The gradient of the filter is in cpu/_winograd_weight.py.

The transforms' coefficients go up to 8, and sums of products cancel: BENCHMARKS.md has each layer's relative error, up
to 1e-5 in float32, where the direct product has 1e-6. An Inf or NaN pixel may reach every output of its squares.
"""

import numpy as np
from numba import njit
from numba import uint64 as u64

from tinyconv_kernels.cpu._axes import COUNT, PITCH, SPAN, STEP
from tinyconv_kernels.cpu._filters import count_panels, find_panel
from tinyconv_kernels.cpu._micro import ROWS, VECTOR_BYTES, VECTORS, copy_row, outer_tile, transpose_block
from tinyconv_kernels.cpu._transforms import transform_filter, transform_output, transform_pixels
from tinyconv_kernels.cpu._window import fill_window, find_slots, spread

SEEN, POINTS = 6, 36  # pixels along a side of what a square sees; points
# So many channels at a time: their transformed filters and the sums of a tile stay in the second-level cache.
CHANNELS = 64


@njit(cache=True, error_model="numpy")
def gather_squares(
    src, shape, axis_h, axis_w, begin, length, slots, count, c0, c1, window, stride, turned, out, out_at, by_square,
    by_point,
):  # fmt: skip
    """Transform channels c0 to c1 (a vector of them) of ``count`` squares into out[point, square, channel].

    Squares that see 6x6 are pixels; smaller ones are gradients of outputs.
    """
    unit = VECTOR_BYTES // src.itemsize
    fill_window(src, shape, axis_h, axis_w, begin, length, c0, c1, window, stride)
    for c in range(c1 - c0, unit):
        for s in range(u64(length)):
            window[u64(c * stride) + s] = 0
    for s in range(0, length, unit):
        transpose_block(window, u64(s), u64(stride), turned, u64(s * unit), u64(unit))
    row, column = u64(axis_w[PITCH] * unit), u64(unit)
    for t in range(count):
        at = u64(out_at + t * by_square)
        here = slots[t] * u64(unit)
        if axis_h[SPAN] == SEEN:
            transform_pixels(turned, here, row, column, out, at, u64(SEEN * by_point), u64(by_point))
        else:
            transform_filter(axis_h[SPAN], turned, here, row, column, out, at, u64(SEEN * by_point), u64(by_point))


@njit(cache=True, nogil=True, error_model="numpy")
def winograd(
    first_task, last_task, src, packed, bias, dst, src_shape, dst_shape, axis_h, axis_w, groups, tile, blocks, relu
):
    """A task is (tile of squares, group, block of its panels of filters). Writes that part of dst.

    The axes are those of squares: STEP 4 or 2, SPAN 6. ``packed`` are the filters as for cpu/_direct.py's `correlate`.
    """
    N, K, H, W = dst_shape
    C, lanes, squares_h, squares_w = src_shape[1] // groups, K // groups, axis_h[COUNT], axis_w[COUNT]
    unit, square = VECTOR_BYTES // dst.itemsize, axis_h[STEP]
    terms = SEEN + 1 - square  # taps along a side of a filter
    vectors, panels = count_panels(lanes, dst.itemsize)
    total = N * squares_h * squares_w
    by_square = -(-C // unit) * unit
    seen = spread(tile * by_square)
    wide_row = -(-squares_w * square // unit) * unit
    slots, squares, channels = np.empty(tile, np.uint64), np.empty(POINTS * tile, np.uint64), np.empty(C, np.uint64)
    for point in range(POINTS):
        for t in range(tile):
            squares[point * tile + t] = point * seen + t * by_square
    for c in range(C):
        channels[c] = c
    pixels = np.zeros(POINTS * seen, dst.dtype)
    filters = np.empty(POINTS * spread(CHANNELS * VECTORS * unit), dst.dtype)
    sums = np.empty(POINTS * spread(tile * VECTORS * unit), dst.dtype)
    outputs = np.empty(square * wide_row * unit, dst.dtype)
    planes = np.empty(square * wide_row * unit, dst.dtype)
    window, turned = np.empty(0, dst.dtype), np.empty(0, dst.dtype)
    filled = -1
    floor = dst.dtype.type(0) if relu else dst.dtype.type(-np.inf)
    for task in range(first_task, last_task):
        rest, b = divmod(task, blocks)
        t, group = divmod(rest, groups)
        first = t * tile
        count = min(tile, total - first)
        if count <= 0:
            continue
        if rest != filled:
            filled = rest
            begin, length = find_slots(first, count, tile, axis_h, axis_w, slots)
            stride = spread(length)
            if unit * stride > window.size:
                window, turned = np.empty(unit * stride, dst.dtype), np.empty(unit * stride, dst.dtype)
            for c0 in range(0, C, unit):
                g0, g1 = group * C + c0, group * C + min(C, c0 + unit)
                gather_squares(
                    src, src_shape, axis_h, axis_w, begin, length, slots, count, g0, g1, window, stride, turned,
                    pixels, c0, by_square, seen,
                )  # fmt: skip
        for panel in range(panels * b // blocks, panels * (b + 1) // blocks):
            begin_vector, wide = find_panel(panel, vectors, panels)
            width = wide * unit
            base = (group * vectors + begin_vector) * unit * C * terms * terms
            by_filter, by_sum = spread(CHANNELS * width), spread(tile * width)
            for c0 in range(0, C, CHANNELS):
                c1 = min(C, c0 + CHANNELS)
                for c in range(c0, c1):
                    for vector in range(0, width, unit):
                        transform_filter(
                            terms, packed, u64(base + c * terms * terms * width + vector), u64(terms * width),
                            u64(width),
                            filters, u64((c - c0) * width + vector), u64(SEEN * by_filter), u64(by_filter),
                        )  # fmt: skip
                for point in range(POINTS):
                    for q in range(0, count, ROWS):
                        outer_tile(
                            pixels, squares, u64(point * tile + q), channels, u64(c0),
                            filters, u64(point * by_filter), u64(width),
                            sums, u64(point * by_sum + q * width), u64(width), u64(c1 - c0), u64(wide), c0 > 0,
                        )  # fmt: skip
            q = 0
            while q < count:  # squares q to q + n_run lie in one row of squares of image n
                n, at = divmod(first + q, squares_h * squares_w)
                row, column = divmod(at, squares_w)
                n_run = min(squares_w - column, count - q)
                for vector in range(0, width, unit):
                    for e in range(n_run):
                        transform_output(
                            square, sums, u64((q + e) * width + vector), u64(SEEN * by_sum), u64(by_sum),
                            outputs, u64(e * square * unit), u64(wide_row * unit), u64(unit),
                        )  # fmt: skip
                    for i in range(square):
                        for e in range(0, n_run * square, unit):
                            transpose_block(
                                outputs, u64((i * wide_row + e) * unit), u64(unit),
                                planes, u64(i * wide_row + e), u64(square * wide_row),
                            )  # fmt: skip
                    l0 = begin_vector * unit + vector
                    extent = u64(min(n_run * square, W - column * square))
                    for lane in range(l0, min(l0 + unit, lanes)):
                        k = group * lanes + lane
                        add = bias[k] if bias.size else dst.dtype.type(0)
                        for i in range(min(square, H - row * square)):
                            s = u64(((lane - l0) * square + i) * wide_row)
                            d = u64(((n * K + k) * H + row * square + i) * W + column * square)
                            copy_row(planes, s, dst, d, extent, add, floor)
                q += n_run
