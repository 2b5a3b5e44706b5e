"""Which method computes a convolution, and cut into how many tasks for how many threads.

The direct method (cpu/_direct.py) does everything. Winograd's (cpu/_winograd.py) is for float32, stride 1, no dilation,
3x3 or 5x5, and at least 16 channels and filters; where `_suits_winograd` expects it to be faster.
"""

import numpy as np

from tinyconv_kernels.cpu._axes import COUNT, LOW, PITCH, SLOTS, SPAN
from tinyconv_kernels.cpu._direct import correlate, correlate_weight
from tinyconv_kernels.cpu._filters import count_panels, pack_filters
from tinyconv_kernels.cpu._micro import ROWS, VECTOR_BYTES
from tinyconv_kernels.cpu._share import share, threads_for
from tinyconv_kernels.cpu._window import spread
from tinyconv_kernels.cpu._winograd import POINTS, SEEN, winograd
from tinyconv_kernels.cpu._winograd_weight import SQUARES, finish_taps, multiply_points, transform_squares
from tinyconv_kernels.switches import switches

# A tile has at most TILE positions, fewer if the pixels they see, of all channels, are more than WINDOW elements: the
# second-level cache holds them.
TILE = 1024
WINDOW = 1 << 17
# Elements of transformed pixels (and gradients) that are made before they are multiplied.
TRANSFORMED = 3 << 18
TRANSFORMED_WEIGHT = 2 << 20
# Sums of the gradient of filters that one thread holds at a time.
SUMS = 1 << 22

# Called once per convolution, the Python versions need no compiling (under NUMBA_DISABLE_JIT=1 there are no others).
count_panels, spread = (getattr(f, "py_func", f) for f in (count_panels, spread))


def scratch(workspace, size, dtype):
    """``size`` bytes of the workspace; of fresh memory when a kernel is called by hand without one."""
    assert workspace is None or workspace.size >= size, f"a workspace of {workspace.size} bytes, {size} are needed"
    return (np.empty(size, np.uint8) if workspace is None else workspace[:size]).view(dtype)


def padded_bytes(lanes, dtype):
    """Bytes of one row of packed filters: whole vectors."""
    return -(-lanes * np.dtype(dtype).itemsize // VECTOR_BYTES) * VECTOR_BYTES


def flat(a):
    return a.reshape(-1)


def _threads(products):
    """How many threads so many multiplications are worth."""
    return threads_for(products // 64)  # 2**24 products take 0.2 ms


def _squares(size, terms):
    """Squares of outputs that cover (height, width), for ``terms`` x ``terms`` taps."""
    square = SEEN + 1 - terms
    return -(-size[0] // square) * -(-size[1] // square)


def _suits_winograd(terms, channels, lanes, size, dtype, transforms):
    """Whether Winograd's method applies and is faster; ``transforms`` are products' worth of work per square."""
    if not switches["winograd"] or terms not in (3, 5) or dtype != np.float32 or min(channels, lanes) < 16:
        return False
    products = POINTS * channels * lanes + transforms
    return products * _squares(size, terms) < terms**2 * channels * lanes * size[0] * size[1]


def run(plan, strides, src, weight, bias, dst, dst_step, groups, relu, workspace):
    """Compute a pass (cpu/_axes.py) of the images ``src`` with ``weight``, into ``dst``.

    ``strides`` are the elements of weight from one group, lane and channel of the plan to the next.
    """
    places, channels, rows, tap_row, tap_lane, phase_lanes = plan[2:8]
    lanes, depth = len(places), channels * rows
    positions = dst.shape[0] * int(plan.axis_h.table[COUNT] * plan.axis_w.table[COUNT])
    vectors, _ = count_panels(lanes, dst.itemsize)
    packed = scratch(workspace, groups * depth * vectors * VECTOR_BYTES, dst.dtype)
    pack = flat(weight), packed, groups, lanes, phase_lanes, channels, len(tap_row), strides, tap_row, tap_lane, rows
    threads = _threads(depth * lanes * positions)
    share(threads, pack_filters, groups * vectors, *pack)
    bias = flat(dst)[:0] if bias is None else bias
    # A channel's pixels are transformed in the time of 700 products, a lane's outputs in that of 500.
    transforms = 700 * (src.shape[1] // groups) + 500 * lanes
    if _suits_winograd(plan.terms, src.shape[1] // groups, lanes, dst.shape[2:], dst.dtype, transforms):
        _run_winograd(plan, src, packed, bias, dst, groups, relu, threads)
    else:
        _run_direct(plan, positions, src, packed, bias, dst, dst_step, groups, relu, threads)


def _run_direct(plan, positions, src, packed, bias, dst, dst_step, groups, relu, threads):
    axis_h, axis_w, places, *_ = plan
    tile = _tile(axis_h.table, axis_w.table, src.shape[1] // groups, positions, threads)
    tiles = -(-positions // tile)
    blocks = _blocks(len(places), dst.itemsize, groups * tiles, threads)
    tasks = groups * tiles * blocks
    axes = axis_h.table, axis_w.table, axis_h.taps, axis_w.taps
    arguments = flat(src), packed, bias, flat(dst), src.shape, dst.shape, dst_step, *axes, places
    share(threads, correlate, tasks, *arguments, groups, tiles, tile, blocks, relu)


def _blocks(lanes, itemsize, tasks, threads):
    """Shares of the filters, where there are fewer tiles than threads; each share copies the same pixels."""
    return 1 if tasks >= threads else min(count_panels(lanes, itemsize)[1], threads)


def _tile(axis_h, axis_w, channels, positions, threads):
    """Positions per tile: as many as the window allows, in as many tiles as share out evenly."""
    tile = TILE
    while tile > 64:
        slots = tile * int(axis_w[SLOTS]) + int(axis_w[SPAN])
        if axis_h[COUNT] > 1:
            full_rows = -(-tile // int(axis_w[COUNT]))
            slots = (full_rows * int(axis_h[SLOTS]) + int(axis_h[SPAN]) - 1) * int(axis_w[PITCH])
        if slots * channels <= WINDOW:
            break
        tile = tile * 3 // 4
    tiles = max(1, -(-positions // tile))
    tiles = -(-tiles // threads) * threads
    return max(16, -(-positions // (tiles * 16)) * 16)


def _square_axes(sizes, lows, square, span):
    """Tables of axes whose positions are squares of ``square`` outputs that see ``span`` pixels."""
    counts = [-(-size // square) for size in sizes]
    rows = zip(counts, lows, strict=True)
    return tuple(
        np.array([n, square, min(square, span), low, span, (n - 1) * min(square, span) + span]) for n, low in rows
    )


def _run_winograd(plan, src, packed, bias, dst, groups, relu, threads):
    channels, square = src.shape[1] // groups, SEEN + 1 - plan.terms
    lows = plan.axis_h.table[LOW], plan.axis_w.table[LOW]
    axes = _square_axes(dst.shape[2:], lows, square, SEEN)
    total = dst.shape[0] * int(axes[0][COUNT] * axes[1][COUNT])
    tiles = max(1, -(-total // min(128, max(16, TRANSFORMED // (POINTS * channels)))))
    blocks = _blocks(len(plan.places), dst.itemsize, groups * tiles, threads)
    if blocks == 1:
        tiles = -(-tiles // threads) * threads
    tile = max(1, -(-total // (tiles * ROWS))) * ROWS
    tasks = -(-total // tile) * groups * blocks
    arguments = flat(src), packed, bias, flat(dst), src.shape, dst.shape, *axes, groups, tile, blocks, relu
    share(threads, winograd, tasks, *arguments)


def run_weight(plan, dy, x, dweight, groups, workspace):
    """Compute the gradient of the filters of a forward pass."""
    threads = _threads(dy.size * plan.rows)
    if plan.terms and _weight_suits_winograd(dweight.shape, dy.shape, x.dtype, groups):
        _weight_winograd(plan, dy, x, dweight, groups, workspace, threads)
        return
    chunks, tile = split_weight(dweight.shape, dy.shape, groups)
    partial = dweight if chunks == 1 else scratch(workspace, chunks * dweight.nbytes, dweight.dtype)
    # A 1x1 filter that goes pixel by pixel may exchange x and dy: the smaller one is to be transposed.
    exchanged = plan.terms == 1 and x.shape[2:] == dy.shape[2:] and dy.shape[1] > x.shape[1]
    if exchanged:
        dy, x = x, dy
    # Blocks change no sum, but each transposes dy again, which costs as much as about 30 of its rows: one block,
    # unless threads need more, or its sums would fill more than SUMS elements.
    blocks = -(-dweight.size // (groups * SUMS))
    if threads > 1:
        blocks = max(blocks, -(-2 * threads // (groups * chunks)))
    blocks = min(x.shape[1] // groups, blocks)
    axes = plan.axis_h.table, plan.axis_w.table, plan.axis_h.taps, plan.axis_w.taps
    arguments = flat(dy), flat(x), flat(partial), dy.shape, x.shape, *axes, groups, chunks, blocks, tile, exchanged
    share(threads, correlate_weight, chunks * groups * blocks, *arguments)
    if chunks > 1:
        np.add.reduce(partial.reshape(chunks, *dweight.shape), axis=0, out=dweight)


def split_weight(weight_shape, y_shape, groups):
    """(shares of the positions, positions per tile), from the shapes alone: bits must not depend on threads.

    A share has sums of its own, to be added up, which costs as much as about 80 positions; without shares, four threads
    would need four blocks of channels.
    """
    K, C, KH, KW = weight_shape
    positions = y_shape[0] * y_shape[2] * y_shape[3]
    shares = [n for n in (1, 2, 4, 8, 16) if n == 1 or positions // n >= 256]
    rows = C * KH * KW
    costs = {n: 80 * n / max(1, positions) + 30 * -(-4 // (n * groups)) / rows for n in shares}
    chunks = min(costs, key=lambda n: costs[n])
    tile = min(max(128, (1 << 16) * groups // K // 16 * 16), 512, -(-positions // 16) * 16)
    return chunks, max(16, tile)


def _weight_suits_winograd(weight_shape, y_shape, dtype, groups):
    """Whether it is faster, and there are enough squares to pay for transforming the sums back."""
    K, C, KH, KW = weight_shape
    if KH != KW or KH not in (3, 5):
        return False
    K //= groups
    enough = y_shape[0] * _squares(y_shape[2:], KH) >= 100
    return enough and _suits_winograd(KH, C, K, y_shape[2:], dtype, 1000 * (C + K))


def _weight_sizes(weight_shape, y_shape, groups):
    """(squares in all, squares at a time; elements from one point to the next of pixels and gradients, of all sums)."""
    K, C, KH, _ = weight_shape
    unit = VECTOR_BYTES // 4
    lanes = count_panels(K // groups, 4)[0] * unit
    channels, rows = -(-C // unit) * unit, -(-C // ROWS) * ROWS
    total = y_shape[0] * _squares(y_shape[2:], KH)
    chunk = max(64, min(1024, TRANSFORMED_WEIGHT // (POINTS * (channels + lanes))))
    chunk = -(-total // (-(-total // chunk) * SQUARES)) * SQUARES
    by_point = (spread(chunk * width) for width in (channels, lanes))
    return total, chunk, *by_point, POINTS * lanes * rows


def weight_workspace(weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for run_weight, whichever method it takes."""
    chunks, _ = split_weight(weight_shape, y_shape, groups)
    size = chunks * int(np.prod(weight_shape)) * np.dtype(dtype).itemsize if chunks > 1 else 0
    if _weight_suits_winograd(weight_shape, y_shape, dtype, groups):
        _, _, by_pixel, by_grad, sums = _weight_sizes(weight_shape, y_shape, groups)
        size = max(size, 4 * (POINTS * (by_pixel + by_grad) + sums))
    return size


def _weight_winograd(plan, dy, x, dweight, groups, workspace, threads):
    C, K, square = dweight.shape[1], dy.shape[1] // groups, SEEN + 1 - plan.terms
    lows = plan.axis_h.table[LOW], plan.axis_w.table[LOW]
    axes_x = _square_axes(dy.shape[2:], lows, square, SEEN)
    axes_y = _square_axes(dy.shape[2:], (0, 0), square, square)
    total, chunk, by_pixel, by_grad, n_sums = _weight_sizes(dweight.shape, dy.shape, groups)
    cuts = np.cumsum([POINTS * by_pixel, POINTS * by_grad, n_sums])
    pixels, grads, sums = np.split(scratch(workspace, 4 * int(cuts[-1]), x.dtype), cuts[:2])
    vectors_x, _ = count_panels(C, 4)
    vectors, panels = count_panels(K, 4)
    for group in range(groups):
        for first in range(0, total, chunk):
            count = min(chunk, total - first)
            tiles = -(-count // SQUARES)
            of_x = flat(x), x.shape, axes_x, group * C, C, first, count, 1, pixels, by_pixel
            of_dy = flat(dy), dy.shape, axes_y, group * K, K, first, count, panels, grads, by_grad
            product = pixels, grads, sums, by_pixel, by_grad, C, K, count, first > 0
            share(threads, transform_squares, tiles * vectors_x, *of_x)
            share(threads, transform_squares, tiles * vectors, *of_dy)
            share(threads, multiply_points, POINTS * panels, *product)
        share(threads, finish_taps, vectors, plan.terms, sums, C, K, group * K, flat(dweight))
