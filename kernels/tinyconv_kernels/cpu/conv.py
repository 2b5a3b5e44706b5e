"""Convolution kernels: matrix products over tiles of image patches; the full column matrix never exists.

Definition: ``reference/conv.py``. The idea (patches become columns, convolution a matrix product) is Chellapilla et
al. 2006; cutting it into tiles that stay in the cache is Chetlur et al. 2014 (cuDNN), sec. 3. Two kernels do all:

- `correlate` is the forward pass, y = W * patches of x. The gradient with respect to x is the same thing: pixel h of x
  met tap i in output (h + p - i d) / s, where that is whole. So the pixels with equal (h + p) mod s, a *phase*, form an
  ordinary stride-1 correlation of dy with the taps i that fit the phase; `transposed_axis` lists them.
- `correlate_weight` is dW[k, r] = sum over positions of dy[k, position] * patches of x[r, position].

Every sum runs in an order fixed by the shapes, so results do not depend on the number of threads. A padding pixel is a
zero that is multiplied: where a weight (or dy, for dW) is Inf or NaN there, the product is NaN, as IEEE 754 says.
"""

import numpy as np
from numba import get_num_threads

from tinyconv_kernels.cpu._columns import (
    columns_to_image,
    columns_to_image_parallel,
    image_to_columns,
    image_to_columns_parallel,
)
from tinyconv_kernels.cpu._correlate import (
    COLUMNS,
    PACKING,
    TILE,
    WIDE,
    correlate,
    correlate_parallel,
    correlate_weight,
    correlate_weight_parallel,
)
from tinyconv_kernels.cpu._micro import OUTER_ROWS
from tinyconv_kernels.cpu._patches import COUNT, PITCH, correlation_axis, sort_filters, transposed_axis
from tinyconv_kernels.cpu._threads import worth_threads
from tinyconv_kernels.geometry import output_size


def conv2d_forward(x, weight, bias, y, stride, padding, dilation, groups, activation, workspace):
    """One task owns some filters at one tile of output positions. Writes y."""
    x, weight, y = _as_rows(x, weight, y, stride, padding)
    axes = _axes(correlation_axis, x, y, weight, stride, padding, dilation)
    _run(x, weight, bias, y, stride, (1, 1), axes, groups, activation == "relu")


def conv2d_backward_input(dy, weight, dx, stride, padding, dilation, groups, workspace):
    """One task owns some channels at one tile of the pixels of one phase. Writes dx."""
    _transposed(dy, weight, None, dx, stride, padding, dilation, groups, workspace)


def conv2d_backward_weight(dy, x, dweight, stride, padding, dilation, groups, workspace):
    """One task owns some columns of one group's filters, for one share of the positions. Writes dweight."""
    chunks, blocks = _split_weight(dweight.shape, dy.shape, groups)
    partial = dweight if chunks == 1 else workspace[: chunks * dweight.nbytes].view(dweight.dtype)
    x, dweight, dy = _as_rows(x, dweight, dy, stride, padding)
    axis_h, axis_w = _axes(correlation_axis, x, dy, dweight, stride, padding, dilation)
    arrays = _flat(dy), _flat(x), _flat(partial)
    arguments = *arrays, dy.shape, x.shape, stride, axis_h[0], axis_w[0], groups, chunks, blocks
    tasks = chunks * groups * blocks
    if worth_threads(dy.size * (dweight.size // dweight.shape[0]) // 16):
        correlate_weight_parallel(tasks, *arguments)
    else:
        correlate_weight(0, tasks, *arguments)
    if chunks > 1:
        np.add.reduce(partial.reshape(chunks, *dweight.shape), axis=0, out=dweight)


def conv2d_backward_bias(dy, dbias):
    """NumPy sums dy over images and positions. Writes dbias."""
    np.sum(dy, axis=(0, 2, 3), out=dbias)


def conv2d_forward_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv2d_forward."""
    return 0


def conv2d_backward_input_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv2d_backward_input: the filters, sorted by phase."""
    return int(np.prod(weight_shape)) * np.dtype(dtype).itemsize


def conv2d_backward_weight_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv2d_backward_weight: one partial sum of the filters per share of the positions."""
    chunks, _ = _split_weight(weight_shape, y_shape, groups)
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


def _axes(table, src, dst, weight, stride, padding, dilation):
    """Tables of both axes, see cpu/_patches.py."""
    (H, W), (OH, OW), (KH, KW) = src.shape[2:], dst.shape[2:], weight.shape[2:]
    return (
        table(H, OH, KH, stride[0], padding[0], dilation[0]),
        table(W, OW, KW, stride[1], padding[1], dilation[1]),
    )


def _transposed(src, weight, bias, dst, stride, padding, dilation, groups, workspace):
    """dst[n, c, h, w] = bias[c] + sum of src[n, k, oh, ow] * weight[k, c, i, j]: tap (i, j) of (oh, ow) is (h, w)."""
    axes = _axes(transposed_axis, src, dst, weight, stride, padding, dilation)
    by_phase = workspace[: weight.nbytes].view(weight.dtype)
    sort_filters(weight, *axes, groups, by_phase)
    _run(src, by_phase, bias, dst, (1, 1), stride, axes, groups, False)


def _run(src, weight, bias, dst, src_step, dst_step, axes, groups, relu):
    """Cut the work of `correlate` into tasks, and share them among the threads if they are worth it."""
    N, rows = dst.shape[0], dst.shape[1] // groups
    axis_h, axis_w = axes
    phases = len(axis_h) * len(axis_w)
    if bias is None:
        bias = dst.reshape(-1)[:0]
    U, V = int(axis_h[:, COUNT].max()), int(axis_w[:, COUNT].max())
    slots = int(axis_h[:, PITCH].max()) * int(axis_w[:, PITCH].max())
    dense = (slots - U * V) * rows > PACKING * U * V
    tiles = -(-N * (U * V if dense else slots) // TILE)
    arguments = _flat(src), _flat(weight), bias, _flat(dst), src.shape, dst.shape, src_step, dst_step, axis_h, axis_w
    fixed = groups * tiles * phases
    if not worth_threads(weight.size * N * U * V // 16):
        correlate(0, fixed, *arguments, groups, tiles, 1, rows, dense, relu)
        return
    # Few positions: share the filters too, although each share then copies the same pixels.
    blocks = max(1, min(-(-4 * get_num_threads() // fixed), rows // (4 * OUTER_ROWS)))
    block = -(-rows // (blocks * OUTER_ROWS)) * OUTER_ROWS
    correlate_parallel(fixed * blocks, *arguments, groups, tiles, blocks, block, dense, relu)


def _split_weight(weight_shape, y_shape, groups):
    """(shares of the positions, blocks of columns): about 16 tasks in all, from the shapes alone."""
    K, C, KH, KW = weight_shape
    N, _, OH, OW = y_shape
    blocks = -(-C * KH * KW // COLUMNS)
    tiles = -(-N * OH * OW // WIDE)
    return max(1, min(tiles, 16 // (groups * blocks))), blocks
