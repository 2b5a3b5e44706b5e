"""Convolution kernels: products of patches and filters, without the patches ever being copied into a matrix.

Definition: ``reference/conv.py``. The idea (patches become columns, convolution a matrix product) is Chellapilla et
al. 2006; computing it in tiles that stay in the cache is Chetlur et al. 2014 (cuDNN), sec. 3. Here even the tile is
not copied: the micro-kernel reads pixels where they are (cpu/_window.py, cpu/_direct.py). Two kernels do all:

- `correlate` is the forward pass, y = W * patches of x. The gradient with respect to x is the same thing, once for
  each phase of the stride, or for all phases side by side (cpu/_axes.py).
- `correlate_weight` is dW[k, r] = sum over positions of dy[k, position] * patches of x[r, position].

Every sum runs in an order fixed by the shapes, so results do not depend on the number of threads. A padding pixel is a
zero that is multiplied: where a weight (or dy, for dW) is Inf or NaN there, the product is NaN, as IEEE 754 says.
"""

import numpy as np
from numba import get_num_threads

from tinyconv_kernels.cpu._axes import COUNT, LOW, PITCH, SLOTS, SPAN, STEP, correlation, transposed
from tinyconv_kernels.cpu._columns import (
    columns_to_image,
    columns_to_image_parallel,
    image_to_columns,
    image_to_columns_parallel,
)
from tinyconv_kernels.cpu._direct import correlate, correlate_parallel, correlate_weight, correlate_weight_parallel
from tinyconv_kernels.cpu._filters import count_panels, pack_filters, pack_filters_parallel
from tinyconv_kernels.cpu._micro import VECTOR_BYTES
from tinyconv_kernels.cpu._threads import worth_threads
from tinyconv_kernels.cpu._winograd import winograd, winograd_parallel
from tinyconv_kernels.geometry import output_size

# A tile has at most TILE positions, fewer if the pixels they see, of all channels, are more than WINDOW elements: the
# second-level cache holds them.
TILE = 1024
WINDOW = 1 << 17


def conv2d_forward(x, weight, bias, y, stride, padding, dilation, groups, activation, workspace):
    """One task owns some filters at one tile of output positions. Writes y."""
    x, weight, y = _as_rows(x, weight, y, stride, padding)
    K, C, KH, KW = weight.shape
    plan = correlation(C, K // groups, x.shape[2:], y.shape[2:], (KH, KW), stride, padding, dilation)
    strides = K // groups * C * KH * KW, C * KH * KW, 1
    _correlate(plan, strides, x, weight, bias, y, (1, 1), groups, activation == "relu", workspace)


def conv2d_backward_input(dy, weight, dx, stride, padding, dilation, groups, workspace):
    """One task owns some channels at one tile of the pixels of one phase. Writes dx."""
    _transposed(dy, weight, None, dx, stride, padding, dilation, groups, workspace)


def conv2d_backward_weight(dy, x, dweight, stride, padding, dilation, groups, workspace):
    """One task owns some input channels of one group's filters, for one share of the positions. Writes dweight."""
    chunks, blocks, tile = _split_weight(dweight.shape, dy.shape, groups)
    partial = dweight if chunks == 1 else _scratch(workspace, chunks * dweight.nbytes, dweight.dtype)
    x, filters, dy = _as_rows(x, dweight, dy, stride, padding)
    (K, C, KH, KW), sizes, outs = filters.shape, x.shape[2:], dy.shape[2:]
    plan = correlation(C, K // groups, sizes, outs, (KH, KW), stride, padding, dilation)
    axes = plan.axis_h.table, plan.axis_w.table, plan.axis_h.taps, plan.axis_w.taps
    arguments = _flat(dy), _flat(x), _flat(partial), dy.shape, x.shape, *axes, groups, chunks, blocks, tile
    tasks = chunks * groups * blocks
    if worth_threads(dy.size * C * KH * KW // 16):
        correlate_weight_parallel(min(tasks, get_num_threads()), tasks, *arguments)
    else:
        correlate_weight(0, tasks, *arguments)
    if chunks > 1:
        np.add.reduce(partial.reshape(chunks, *dweight.shape), axis=0, out=dweight)


def conv2d_backward_bias(dy, dbias):
    """NumPy sums dy over images and positions. Writes dbias."""
    np.sum(dy, axis=(0, 2, 3), out=dbias)


def conv2d_forward_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv2d_forward: the filters, packed."""
    K, C, KH, KW = weight_shape
    return groups * C * KH * KW * _padded_bytes(K // groups, dtype)


def conv2d_backward_input_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv2d_backward_input: the filters, packed."""
    K, C, KH, KW = weight_shape
    return K * KH * KW * _padded_bytes(C, dtype)


def conv2d_backward_weight_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv2d_backward_weight: one partial sum of the filters per share of the positions."""
    chunks, _, _ = _split_weight(weight_shape, y_shape, groups)
    return chunks * int(np.prod(weight_shape)) * np.dtype(dtype).itemsize if chunks > 1 else 0


def conv_transpose2d_forward(x, weight, bias, y, stride, padding, dilation, groups, workspace):
    """The gradient of conv2d with respect to its input, applied to x. Writes y."""
    _transposed(x, weight, bias, y, stride, padding, dilation, groups, workspace)


def conv_transpose2d_backward_input(dy, weight, dx, stride, padding, dilation, groups, workspace):
    """The correlation of dy with the same filters. Writes dx."""
    conv2d_forward(dy, weight, None, dx, stride, padding, dilation, groups, None, workspace)


def conv_transpose2d_backward_weight(dy, x, dweight, stride, padding, dilation, groups, workspace):
    """conv2d_backward_weight with the roles of input and output exchanged. Writes dweight."""
    conv2d_backward_weight(x, dy, dweight, stride, padding, dilation, groups, workspace)


def conv_transpose2d_forward_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv_transpose2d_forward."""
    return conv2d_backward_input_workspace(y_shape, weight_shape, x_shape, dtype, groups)


def conv_transpose2d_backward_input_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv_transpose2d_backward_input."""
    return conv2d_forward_workspace(y_shape, weight_shape, x_shape, dtype, groups)


def conv_transpose2d_backward_weight_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv_transpose2d_backward_weight."""
    return conv2d_backward_weight_workspace(y_shape, weight_shape, x_shape, dtype, groups)


def im2col(x, cols, kernel, stride, padding, dilation):
    """One task owns the KH * KW rows of one (n, c) plane. Writes cols."""
    out = _output(x, kernel, stride, padding, dilation)
    arguments = _flat(x), _flat(cols), x.shape, out, kernel, stride, padding, dilation
    if worth_threads(cols.size):
        image_to_columns_parallel(*arguments)
    else:
        image_to_columns(0, x.shape[0] * x.shape[1], *arguments)


def col2im(cols, x, kernel, stride, padding, dilation):
    """One task owns one (n, c) plane: nobody else adds to it, so no atomics. Writes x."""
    out = _output(x, kernel, stride, padding, dilation)
    arguments = _flat(cols), _flat(x), x.shape, out, kernel, stride, padding, dilation
    if worth_threads(cols.size):
        columns_to_image_parallel(*arguments)
    else:
        columns_to_image(0, x.shape[0] * x.shape[1], *arguments)


def _output(x, kernel, stride, padding, dilation):
    """Output size (OH, OW) of a window over x."""
    sides = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    OH, OW = (output_size(*side) for side in sides)
    return OH, OW


def _flat(a):
    return a.reshape(-1)


def _as_rows(x, weight, y, stride, padding):
    """View a 1x1 convolution without stride or padding as one over images of a single row: longer runs to copy."""
    if weight.shape[2:] != (1, 1) or stride != (1, 1) or padding != (0, 0):
        return x, weight, y
    (N, C, H, W), K = x.shape, y.shape[1]
    return x.reshape(N, C, 1, H * W), weight, y.reshape(N, K, 1, H * W)


def _scratch(workspace, size, dtype):
    """``size`` bytes of the workspace; of fresh memory when a kernel is called by hand without one."""
    return (np.empty(size, np.uint8) if workspace is None else workspace[:size]).view(dtype)


def _padded_bytes(lanes, dtype):
    """Bytes of one row of packed filters: whole vectors."""
    return -(-lanes * np.dtype(dtype).itemsize // VECTOR_BYTES) * VECTOR_BYTES


def _transposed(src, weight, bias, dst, stride, padding, dilation, groups, workspace):
    """dst[n, c, h, w] = bias[c] + sum of src[n, k, oh, ow] * weight[k, c, i, j]: tap (i, j) of (oh, ow) is (h, w)."""
    K, C, KH, KW = weight.shape
    unit, sizes, outs = VECTOR_BYTES // dst.itemsize, src.shape[2:], dst.shape[2:]
    strides = K // groups * C * KH * KW, KH * KW, C * KH * KW
    for plan in transposed(K // groups, C, unit, sizes, outs, (KH, KW), stride, padding, dilation):
        _correlate(plan, strides, src, weight, bias, dst, stride, groups, False, workspace)


def _correlate(plan, strides, src, weight, bias, dst, dst_step, groups, relu, workspace):
    """Cut the work of `correlate` into tasks, and share them among the threads if they are worth it.

    ``strides`` are the elements of weight from one group, lane and channel of the plan to the next.
    """
    axis_h, axis_w, places, channels, rows, tap_row, tap_lane, phase_lanes = plan
    lanes, depth = len(places), channels * rows
    positions = dst.shape[0] * int(axis_h.table[COUNT] * axis_w.table[COUNT])
    vectors, panels = count_panels.py_func(lanes, dst.itemsize)
    packed = _scratch(workspace, groups * depth * vectors * VECTOR_BYTES, dst.dtype)
    pack = _flat(weight), packed, groups, lanes, phase_lanes, channels, len(tap_row), strides, tap_row, tap_lane, rows
    threads = get_num_threads() if worth_threads(depth * lanes * positions // 16) else 1
    bias = _flat(dst)[:0] if bias is None else bias
    if threads > 1:
        pack_filters_parallel(*pack)
    else:
        pack_filters(0, groups * vectors, *pack)
    if suits_winograd(plan, src, dst, groups):
        _winograd(plan, src, packed, bias, dst, groups, relu, threads)
        return
    tile = _tile(axis_h.table, axis_w.table, src.shape[1] // groups, positions, threads)
    tiles = -(-positions // tile)
    blocks = 1 if groups * tiles >= threads else min(panels, threads)  # few positions: share the filters too
    tasks = groups * tiles * blocks
    axes = axis_h.table, axis_w.table, axis_h.taps, axis_w.taps
    arguments = _flat(src), packed, bias, _flat(dst), src.shape, dst.shape, dst_step, *axes, places
    if threads > 1:
        correlate_parallel(min(tasks, threads), tasks, *arguments, groups, tiles, tile, blocks, relu)
    else:
        correlate(0, tasks, *arguments, groups, tiles, tile, blocks, relu)


def suits_winograd(plan, src, dst, groups):
    import os
    if os.environ.get("WINO")=="0" or src.dtype != np.float32: return False
    C,K=src.shape[1]//groups, dst.shape[1]//groups
    h,w=plan.axis_h, plan.axis_w
    return plan.phase_lanes==len(plan.places) and tuple(h.taps)==(0,1,2)==tuple(w.taps) and h.table[STEP]==w.table[STEP]==1 and C>=16 and K>=16


def _winograd(plan, src, packed, bias, dst, groups, relu, threads):
    import os
    h,w=(np.array([-(-size//4),4,4,axis.table[LOW],6,(-(-size//4)-1)*4+6],np.int64) for size,axis in zip(dst.shape[2:],(plan.axis_h,plan.axis_w)))
    C,K=src.shape[1]//groups, dst.shape[1]//groups
    total=dst.shape[0]*h[0]*w[0]
    _, panels = count_panels.py_func(K, dst.itemsize)
    tile=max(16,int(os.environ.get("VB",str(3<<18)))//(36*C))
    tile=min(tile,int(os.environ.get("WT","128")))
    tiles=-(-total//tile)
    blocks = 1 if groups*tiles>=threads else min(panels,threads)
    if blocks==1: tiles=-(-tiles//threads)*threads
    tile=-(-total//(tiles*8))*8
    tiles=-(-total//tile)
    tasks=tiles*groups*blocks
    args=_flat(src), packed, bias, _flat(dst), src.shape, dst.shape, h, w, groups, tile, blocks, relu
    if threads>1: winograd_parallel(min(tasks,threads),tasks,*args)
    else: winograd(0,tasks,*args)


def _tile(axis_h, axis_w, channels, positions, threads):
    """Positions per tile: as many as the window allows, in as many tiles as share out evenly."""
    tile = TILE
    while tile > 64:
        full_rows = -(-tile // int(axis_w[COUNT])) if axis_h[COUNT] > 1 else 0
        slots = tile * int(axis_w[SLOTS]) + int(axis_w[SPAN])
        if full_rows:
            slots = (full_rows * int(axis_h[SLOTS]) + int(axis_h[SPAN]) - 1) * int(axis_w[PITCH])
        if slots * channels <= WINDOW:
            break
        tile = tile * 3 // 4
    tiles = max(1, -(-positions // tile))
    tiles = -(-tiles // threads) * threads
    return max(16, -(-positions // (tiles * 16)) * 16)


def _split_weight(weight_shape, y_shape, groups):
    """(shares of the positions, blocks of input channels, positions per tile): about 16 tasks, from the shapes alone.

    Each block transposes dy again, which costs as much as about 10 of its rows; each share has sums of its own, to be
    added up, which cost as much as about 100 positions.
    """
    K, C, KH, KW = weight_shape
    N, _, OH, OW = y_shape
    positions = N * OH * OW
    blocks = -(-C // -(-C // max(1, min(C, 16, C * KH * KW // 192))))
    tile = min(max(64, (1 << 16) * groups // K // 16 * 16), 512, -(-positions // 16) * 16)
    return max(1, min(positions // 512, 16 // (groups * blocks))), blocks, max(16, tile)
