"""Convolution kernels: matrix products of filters and patches, without the matrix of patches; no atomics.

Definition: ``reference/conv.py``. Every sum runs in an order fixed by the shapes. Read on in this order:

- cuda/_taps.py: which pixel each tap of a filter sees, forward and backward
- cuda/_tile.py, cuda/_product.py: how a block multiplies two tiles, and the loop around that
- cuda/_gather.py, cuda/_correlate.py: how pixels get into a tile, and the kernels

A padding pixel is a zero that is multiplied, in the gradient of the input too: where a weight is Inf or NaN there, the
product is NaN, as IEEE 754 says.
"""

import math

import numpy as np

from tinyconv_kernels.cuda import _columns, _correlate, _taps, elementwise, launch, memory, reduce
from tinyconv_kernels.cuda._tile import choose, parts
from tinyconv_kernels.cuda.matmul import matmul
from tinyconv_kernels.geometry import output_size

# Multiplications up to which, and channels of a group below which, a thread computes a result of its own; threads that
# fill a GPU; the limit of the division by reciprocals (cuda/_taps.py).
_FEW, _NARROW, _THREADS, _POSITIONS = 1 << 15, 5, 1 << 16, 1 << 31


def conv2d_forward(x, weight, bias, y, stride, padding, dilation, groups, activation, workspace):
    """One block owns some filters at some positions. Writes y."""
    if y.size == 0:
        return
    if _is_product(x, weight, y, padding, groups):
        matmul(_matrix(x), _matrix(weight).T, _matrix(y))
        return _finish(y, bias, activation)
    (_, C, H, W), (K, _, KH, KW), (OH, OW) = x.shape, weight.shape, y.shape[2:]
    table = _taps.forward(C // groups, (H, W), (OH, OW), (KH, KW), dilation)
    steps = K // groups * table.taps, table.taps
    result = K * OH * OW, OH * OW, OW, 1
    _correlate_with(table, x, weight, bias, y, K // groups, groups, steps, (*stride, *padding), result, activation)


def conv2d_backward_input(dy, weight, dx, stride, padding, dilation, groups, workspace):
    """One block owns some channels at some pixels of one phase of the stride. Writes dx."""
    _transposed(dy, weight, None, dx, stride, padding, dilation, groups)


def conv2d_backward_weight(dy, x, dweight, stride, padding, dilation, groups, workspace):
    """One block owns some taps of some filters, for some of the positions; then one thread a weight. Writes dweight."""
    if dweight.size == 0:
        return
    if _is_product(x, dweight, dy, padding, groups):
        return matmul(_matrix(dy).T, _matrix(x), _matrix(dweight))
    (N, C, H, W), (K, _, KH, KW), (OH, OW) = x.shape, dweight.shape, dy.shape[2:]
    table = _taps.forward(C // groups, (H, W), (OH, OW), (KH, KW), dilation)
    counts, image = (N, K // groups, groups), (C * H * W, C // groups * H * W, H, W)
    _weights(table, dy, x, dweight, counts, K * OH * OW, image, (*stride, *padding))


def conv2d_backward_bias(dy, dbias):
    """One thread, or some blocks, own one channel. Writes dbias."""
    reduce.reduce_sum(dy, dbias, (0, 2, 3))


def conv_transpose2d_forward(x, weight, bias, y, stride, padding, dilation, groups, workspace):
    """The gradient of conv2d with respect to its input, applied to x. Writes y."""
    _transposed(x, weight, bias, y, stride, padding, dilation, groups)


def conv_transpose2d_backward_input(dy, weight, dx, stride, padding, dilation, groups, workspace):
    """The correlation of dy with the same filters. Writes dx."""
    conv2d_forward(dy, weight, None, dx, stride, padding, dilation, groups, None, workspace)


def conv_transpose2d_backward_weight(dy, x, dweight, stride, padding, dilation, groups, workspace):
    """conv2d_backward_weight with the roles of input and output exchanged. Writes dweight."""
    conv2d_backward_weight(x, dy, dweight, stride, padding, dilation, groups, workspace)


def im2col(x, cols, kernel, stride, padding, dilation):
    """One thread owns one element of cols. Writes cols."""
    window = _window(x, kernel, stride, padding, dilation)
    arrays = memory.flat(x), x.offset, memory.flat(cols), cols.offset
    launch.each(_columns.image_to_columns(x.dtype), cols.size, *arrays, *window, cols.size)


def col2im(cols, x, kernel, stride, padding, dilation):
    """One thread owns one pixel, and collects from the columns that hold it. Writes x."""
    window = _window(x, kernel, stride, padding, dilation)
    arrays = memory.flat(cols), cols.offset, memory.flat(x), x.offset
    launch.each(_columns.columns_to_image(x.dtype), x.size, *arrays, *window, x.size)


def _window(x, kernel, stride, padding, dilation):
    """Return (image size, output size, kernel, stride, padding, dilation)."""
    sides = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    return x.shape[2:], tuple(output_size(*side) for side in sides), kernel, stride, padding, dilation


def _is_product(x, weight, y, padding, groups):
    """Whether filters are as large as the image: a linear layer, whose long sums cuda/matmul.py shares out."""
    return weight.shape[2:] == x.shape[2:] and y.shape[2:] == (1, 1) and padding == (0, 0) and groups == 1


def _matrix(x):
    """View an array as one row for each index of its first axis."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _finish(y, bias, activation):
    """Add the bias, apply the activation, in place."""
    if bias is not None:
        elementwise.add(y, bias.reshape(1, bias.size, 1, 1), y)
    if activation == "relu":
        elementwise.relu(y, y)


def _transposed(src, weight, bias, dst, stride, padding, dilation, groups):
    """dst[n, c, h, w] = bias[c] + sum of src[n, k, oh, ow] * weight[k, c, i, j]: tap (i, j) of (oh, ow) is (h, w)."""
    if dst.size == 0:
        return
    if _is_product(dst, weight, src, padding, groups):
        matmul(_matrix(src), _matrix(weight), _matrix(dst))
        return _finish(dst, bias, None)
    (K, C, KH, KW), (H, W) = weight.shape, dst.shape[2:]
    table = _taps.backward(K // groups, C, src.shape[2:], (H, W), (KH, KW), stride, padding, dilation)
    steps = K // groups * C * KH * KW, KH * KW
    result = groups * C * H * W, H * W, stride[0] * W, stride[1]
    _correlate_with(table, src, weight, bias, dst, C, groups, steps, (1, 1, 0, 0), result, None)


def _correlate_with(table, x, weight, bias, out, rows, groups, steps, window, result, activation):
    """Launch filters times patches: ``rows`` channels of the result in each group."""
    N, C, H, W = x.shape
    positions = N * table.positions
    _check(positions)
    bias_ = weight if bias is None else bias
    arrays = [value for a in (x, out, bias_) for value in (memory.flat(a), a.offset)]
    image, flags = (C * H * W, C // groups * H * W, H, W), (int(bias is not None), int(activation == "relu"))
    arguments = memory.flat(weight), weight.offset, *arrays, memory.flat(table.rows), table.first, (N, rows, groups)
    arguments = *arguments, steps, image, window, result, flags
    if out.size * table.taps <= _FEW or rows < _NARROW or max(groups, table.phases) > launch.GRID:
        blocks = -(-positions * rows * groups // launch.THREADS)  # of one phase
        grid = (blocks * table.phases,)
        return launch.blocks(_correlate.by_threads(out.dtype), grid, launch.THREADS, *arguments, blocks)
    tile = choose(rows, positions, groups * table.phases, out.dtype)
    wide = _neighbours(out, table, result) and not tile.tf32
    grid = -(-rows // tile.rows) * -(-positions // tile.columns), groups, table.phases
    launch.blocks(_correlate.by_tiles(tile, out.dtype, wide, table.phases > 1), grid, tile.threads, *arguments)


def _neighbours(out, table, result):
    """Whether positions 4 n to 4 n + 3 are of one image, and neighbours in ``out``, on a 16-byte boundary."""
    contiguous = table.phases == 1 and result[1] == table.positions and result[3] == 1
    return out.dtype == np.float32 and contiguous and table.positions % 4 == 0 and out.offset % 4 == 0


def _weights(table, dy, x, dweight, counts, step, image, window):
    """Launch gradients times patches, by parts of the positions, and the sum over the parts."""
    N, rows, groups = counts
    positions = N * table.positions
    _check(positions)
    few = dweight.size * positions <= _FEW or rows < _NARROW or groups > launch.GRID
    tile = None if few else choose(rows, table.taps, groups, dweight.dtype)
    count, each = _thread_parts(dweight.size, positions) if few else parts(tile, rows, table.taps, groups, positions)
    sums = dweight if count == 1 else memory.empty((count, *dweight.shape), dweight.dtype)
    arrays = [value for a in (dy, x, sums) for value in (memory.flat(a), a.offset)]
    arguments = *arrays, memory.flat(table.rows), table.first, counts, step, image, window, (each, dweight.size)
    if few:
        grid = -(-dweight.size // launch.THREADS), count
        launch.blocks(_correlate.weights_by_threads(dweight.dtype), grid, launch.THREADS, *arguments)
    else:
        grid = -(-rows // tile.rows) * -(-table.taps // tile.columns), groups, count
        launch.blocks(_correlate.weights_by_tiles(tile, dweight.dtype), grid, tile.threads, *arguments)
    if count > 1:
        reduce.reduce_sum(sums, dweight, (0,))


def _thread_parts(weights, positions):
    """Return (parts, positions of each) such that one thread for each weight and part fills a GPU."""
    count = max(1, min(-(-_THREADS // weights), positions // 256, launch.GRID))
    each = -(-positions // count)
    return max(1, -(-positions // max(1, each))), each


def _check(positions):
    if positions >= _POSITIONS:
        raise ValueError(f"conv2d: kernels count positions up to 2^31, got {positions}; use a smaller batch")


def conv2d_forward_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: sums in parts take their memory from the pool."""
    return 0


def conv2d_backward_input_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: every phase is summed up in registers."""
    return 0


def conv2d_backward_weight_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: sums in parts take their memory from the pool."""
    return 0


def conv_transpose2d_forward_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: every phase is summed up in registers."""
    return 0


def conv_transpose2d_backward_input_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: sums in parts take their memory from the pool."""
    return 0


def conv_transpose2d_backward_weight_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: sums in parts take their memory from the pool."""
    return 0
