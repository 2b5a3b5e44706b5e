"""Convolution kernels: products of patches and filters, without the patches ever being copied into a matrix.

Definition: ``reference/conv.py``. The idea (patches become columns, convolution a matrix product) is Chellapilla et
al. 2006; computing it in tiles that stay in the cache is Chetlur et al. 2014 (cuDNN), sec. 3. Here even the tile is
not copied: the micro-kernel reads pixels where they are. Read on in this order:

- cpu/_micro.py: the vector loop in which nearly all time is spent, and its meaning in NumPy
- cpu/_axes.py: which pixel each tap of a filter sees, forward and backward; cpu/_window.py: where it lies
- cpu/_direct.py: `correlate`, the forward pass, y = W * patches of x, and the gradient with respect to x; and
  `correlate_weight`, dW[k, r] = sum over positions of dy[k, position] * patches of x[r, position]
- cpu/_transforms.py, cpu/_winograd.py, cpu/_winograd_weight.py: the same with fewer multiplications, for 3x3 and 5x5
- cpu/_schedule.py: which of the two, and how the work is shared out

Every sum runs in an order fixed by the shapes, so results do not depend on the number of threads. A padding pixel is a
zero that is multiplied: where a weight (or dy, for dW) is Inf or NaN there, the product is NaN, as IEEE 754 says. So it
is where phases of a stride go side by side (cpu/_axes.py), whose filters have taps of zero: an Inf or NaN in dy reaches
the neighbours of the pixels it belongs to.
"""

import numpy as np

from tinyconv_kernels.cpu import _schedule
from tinyconv_kernels.cpu._axes import correlation, transposed
from tinyconv_kernels.cpu._columns import columns_to_image, image_to_columns
from tinyconv_kernels.cpu._direct import sum_planes
from tinyconv_kernels.cpu._micro import VECTOR_BYTES
from tinyconv_kernels.cpu._share import share, threads_for
from tinyconv_kernels.geometry import output_size


def conv2d_forward(x, weight, bias, y, stride, padding, dilation, groups, activation, workspace):
    """One task owns some filters at one tile of output positions. Writes y."""
    x, weight, y = _simplified(x, weight, y, stride, padding)
    K, C, KH, KW = weight.shape
    plan = correlation(C, K // groups, x.shape[2:], y.shape[2:], (KH, KW), stride, padding, dilation)
    strides = K // groups * C * KH * KW, C * KH * KW, 1
    _schedule.run(plan, strides, x, weight, bias, y, (1, 1), groups, activation == "relu", workspace)


def conv2d_backward_input(dy, weight, dx, stride, padding, dilation, groups, workspace):
    """One task owns some channels at one tile of the pixels of one phase. Writes dx."""
    _transposed(dy, weight, None, dx, stride, padding, dilation, groups, workspace)


def conv2d_backward_weight(dy, x, dweight, stride, padding, dilation, groups, workspace):
    """One task owns some input channels of one group's filters, for one share of the positions. Writes dweight."""
    x, weight, dy = _simplified(x, dweight, dy, stride, padding)
    K, C, KH, KW = weight.shape
    plan = correlation(C, K // groups, x.shape[2:], dy.shape[2:], (KH, KW), stride, padding, dilation)
    _schedule.run_weight(plan, dy, x, weight, groups, workspace)


def conv2d_backward_bias(dy, dbias):
    """One task owns one channel's planes. Writes dbias."""
    N, K, OH, OW = dy.shape
    share(threads_for(dy.size), sum_planes, K, dy.reshape(N, K, OH * OW), dbias)


def conv2d_forward_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv2d_forward: the filters, packed."""
    K, C, KH, KW = weight_shape
    return groups * C * KH * KW * _schedule.padded_bytes(K // groups, dtype)


def conv2d_backward_input_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv2d_backward_input: the filters, packed."""
    K, C, KH, KW = weight_shape
    return K * KH * KW * _schedule.padded_bytes(C, dtype)


def conv2d_backward_weight_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """Bytes of workspace for conv2d_backward_weight: partial sums, or Winograd's squares and sums."""
    return _schedule.weight_workspace(weight_shape, y_shape, dtype, groups)


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
    arguments = x.reshape(-1), cols.reshape(-1), x.shape, out, kernel, stride, padding, dilation
    share(threads_for(cols.size), image_to_columns, x.shape[0] * x.shape[1], *arguments)


def col2im(cols, x, kernel, stride, padding, dilation):
    """One task owns one (n, c) plane: nobody else adds to it, so no atomics. Writes x."""
    out = _output(x, kernel, stride, padding, dilation)
    arguments = cols.reshape(-1), x.reshape(-1), x.shape, out, kernel, stride, padding, dilation
    share(threads_for(cols.size), columns_to_image, x.shape[0] * x.shape[1], *arguments)


def _output(x, kernel, stride, padding, dilation):
    """Output size (OH, OW) of a window over x."""
    sides = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    OH, OW = (output_size(*side) for side in sides)
    return OH, OW


def _simplified(x, weight, y, stride, padding):
    """View a convolution that is a matrix product as one of 1x1 filters over images of a single row.

    That are 1x1 filters at every pixel, and filters as large as the image.
    """
    (N, C, H, W), K = x.shape, y.shape[1]
    if weight.shape[2:] == (1, 1) and stride == (1, 1) and padding == (0, 0):
        return x.reshape(N, C, 1, H * W), weight, y.reshape(N, K, 1, H * W)
    if weight.shape[2:] == (H, W) and padding == (0, 0):
        return x.reshape(N, C * H * W, 1, 1), weight.reshape(len(weight), -1, 1, 1), y
    return x, weight, y


def _transposed(src, weight, bias, dst, stride, padding, dilation, groups, workspace):
    """dst[n, c, h, w] = bias[c] + sum of src[n, k, oh, ow] * weight[k, c, i, j]: tap (i, j) of (oh, ow) is (h, w)."""
    dst, weight, src = _simplified(dst, weight, src, stride, padding)
    if bias is not None:
        bias = np.repeat(bias, dst.shape[1] // bias.size)  # of each pixel, where a pixel is a channel now
    K, C, KH, KW = weight.shape
    unit, sizes, outs = VECTOR_BYTES // dst.itemsize, src.shape[2:], dst.shape[2:]
    strides = K // groups * C * KH * KW, KH * KW, C * KH * KW
    for plan in transposed(K // groups, C, unit, sizes, outs, (KH, KW), stride, padding, dilation):
        _schedule.run(plan, strides, src, weight, bias, dst, stride, groups, False, workspace)
