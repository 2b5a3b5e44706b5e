"""Convolution, defined: an output is a sum over a patch of the zero-padded image; each gradient follows from that sum.

    y[n, k, oh, ow] = bias[k] + sum over c, i, j of weight[k, c, i, j] * x[n, c, oh stride - padding + i dilation, ...]

("Convolution" is, as everywhere in this field, a correlation: the filter is not turned.) With ``groups`` > 1, filter k
sees only the channels of its own group (Krizhevsky et al. 2012, sec. 3.5). Source: LeCun et al. 1998, sec. II.A;
LeCun et al. 1989. The transposed pass is "deconvolution" in Zeiler & Fergus 2014, sec. 2.1.
"""

import numpy as np

from tinyconv_kernels.geometry import output_size

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


def _patches(x, kernel, stride, padding, dilation):
    """Pad x with zeros; return it, and a function of (oh, ow) that gives the slices of one patch of it."""
    (PH, PW), (KH, KW), (SH, SW), (DH, DW) = padding, kernel, stride, dilation
    padded = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW)))

    def patch(oh, ow):
        h, w = oh * SH, ow * SW
        return slice(h, h + DH * (KH - 1) + 1, DH), slice(w, w + DW * (KW - 1) + 1, DW)

    return padded, patch


def _unpadded(padded, padding):
    """What is left of an image when its padding is cut off."""
    (PH, PW), (H, W) = padding, padded.shape[2:]
    return padded[:, :, PH : H - PH, PW : W - PW]


def _pairs(y, channels, groups):
    """Every (n, k, channels of the group of k): who talks to whom. y has the K channels of the filters."""
    N, K = y.shape[:2]
    size = channels // groups
    for n in range(N):
        for k in range(K):
            group = k // (K // groups)
            yield n, k, slice(group * size, (group + 1) * size)


def _positions(y):
    """Every output position (oh, ow), row by row."""
    return [(oh, ow) for oh in range(y.shape[2]) for ow in range(y.shape[3])]


@_quiet
def conv2d_forward(x, weight, bias, y, stride, padding, dilation, groups, activation, workspace):
    """One output is the sum of a patch times a filter. Writes y."""
    padded, patch = _patches(x, weight.shape[2:], stride, padding, dilation)
    for n, k, channels in _pairs(y, x.shape[1], groups):
        for oh, ow in _positions(y):
            y[n, k, oh, ow] = np.sum(padded[n, channels][:, *patch(oh, ow)] * weight[k])
            if bias is not None:
                y[n, k, oh, ow] += bias[k]
    if activation == "relu":
        np.maximum(y, 0, out=y)


@_quiet
def conv2d_backward_input(dy, weight, dx, stride, padding, dilation, groups, workspace):
    """An output sends its gradient times the filter back to its patch; where patches overlap it adds up. Writes dx."""
    padded, patch = _patches(np.zeros_like(dx), weight.shape[2:], stride, padding, dilation)
    for n, k, channels in _pairs(dy, dx.shape[1], groups):
        for oh, ow in _positions(dy):
            padded[n, channels][:, *patch(oh, ow)] += dy[n, k, oh, ow] * weight[k]
    dx[...] = _unpadded(padded, padding)


@_quiet
def conv2d_backward_weight(dy, x, dweight, stride, padding, dilation, groups, workspace):
    """A filter's gradient is the sum of the patches it saw, each times the gradient of its answer. Writes dweight."""
    padded, patch = _patches(x, dweight.shape[2:], stride, padding, dilation)
    dweight[...] = 0
    for n, k, channels in _pairs(dy, x.shape[1], groups):
        for oh, ow in _positions(dy):
            dweight[k] += dy[n, k, oh, ow] * padded[n, channels][:, *patch(oh, ow)]


def conv2d_backward_bias(dy, dbias):
    """The bias is added to every output of its channel. Writes dbias."""
    dbias[...] = dy.sum(axis=(0, 2, 3))


@_quiet
def conv_transpose2d_forward(x, weight, bias, y, stride, padding, dilation, groups, workspace):
    """Each pixel of x stamps its filter, times its value, onto y; where stamps overlap they add up. Writes y."""
    padded, stamp = _patches(np.zeros_like(y), weight.shape[2:], stride, padding, dilation)
    for n, c, channels in _pairs(x, y.shape[1], groups):
        for h, w in _positions(x):
            padded[n, channels][:, *stamp(h, w)] += x[n, c, h, w] * weight[c]
    y[...] = _unpadded(padded, padding)
    if bias is not None:
        y += bias[:, None, None]


@_quiet
def conv_transpose2d_backward_input(dy, weight, dx, stride, padding, dilation, groups, workspace):
    """A pixel's gradient is the sum over the filter of the gradients where it was stamped. Writes dx."""
    padded, stamp = _patches(dy, weight.shape[2:], stride, padding, dilation)
    for n, c, channels in _pairs(dx, dy.shape[1], groups):
        for h, w in _positions(dx):
            dx[n, c, h, w] = np.sum(padded[n, channels][:, *stamp(h, w)] * weight[c])


@_quiet
def conv_transpose2d_backward_weight(dy, x, dweight, stride, padding, dilation, groups, workspace):
    """A filter's gradient is the sum of the gradients where it was stamped, each times the pixel. Writes dweight."""
    padded, stamp = _patches(dy, dweight.shape[2:], stride, padding, dilation)
    dweight[...] = 0
    for n, c, channels in _pairs(x, dy.shape[1], groups):
        for h, w in _positions(x):
            dweight[c] += x[n, c, h, w] * padded[n, channels][:, *stamp(h, w)]


def im2col(x, cols, kernel, stride, padding, dilation):
    """Column (oh, ow) of cols is the patch at that position, written as one vector. Writes cols."""
    padded, patch = _patches(x, kernel, stride, padding, dilation)
    for column, (oh, ow) in enumerate(_outputs(x, kernel, stride, padding, dilation)):
        cols[:, :, column] = padded[:, :, *patch(oh, ow)].reshape(len(x), cols.shape[1])


def col2im(cols, x, kernel, stride, padding, dilation):
    """Every column is added back where im2col took it from. Writes x."""
    padded, patch = _patches(np.zeros_like(x), kernel, stride, padding, dilation)
    for column, (oh, ow) in enumerate(_outputs(x, kernel, stride, padding, dilation)):
        padded[:, :, *patch(oh, ow)] += cols[:, :, column].reshape(*x.shape[:2], *kernel)
    x[...] = _unpadded(padded, padding)


def _outputs(x, kernel, stride, padding, dilation):
    """Every position (oh, ow) at which the window lies inside the padded image, row by row."""
    sides = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    OH, OW = (output_size(*side) for side in sides)
    return [(oh, ow) for oh in range(OH) for ow in range(OW)]


def conv2d_forward_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: plain loops need none."""
    return 0


def conv2d_backward_input_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: plain loops need none."""
    return 0


def conv2d_backward_weight_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: plain loops need none."""
    return 0


def conv_transpose2d_forward_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: plain loops need none."""
    return 0


def conv_transpose2d_backward_input_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: plain loops need none."""
    return 0


def conv_transpose2d_backward_weight_workspace(x_shape, weight_shape, y_shape, dtype, groups):
    """No workspace: plain loops need none."""
    return 0
