"""Resizing of (N, C, H, W), defined; ``scale`` (h, w) is the step in the source per output pixel (PyTorch's rules).

The gradient of a resize is its transpose: what an output read from a pixel with weight w goes back to it with weight w.
"""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


def _nearest(out_size, size, scale):
    """Source position of every output: floor(out scale), in float32 for either dtype, as PyTorch computes it.

    Equal and doubled sizes copy each pixel once or twice, whatever a scale such as 1 / 2.1 says (PyTorch, too).
    """
    if out_size in (size, 2 * size):
        scale = size / out_size
    position = np.floor(np.arange(out_size, dtype=np.float32) * np.float32(scale)).astype(np.int64)
    return np.minimum(position, size - 1)


def _linear(out_size, size, align_corners, scale, dtype):
    """Return the two neighbouring source positions of every output and the weight of the second.

    The real position is out scale with aligned corners (pixel centres are the points -1 and 1 of the ends), otherwise
    (out + 0.5) scale - 0.5, not below 0 (pixels are squares whose outer edges coincide).
    """
    if out_size == size:
        position = np.arange(size, dtype=dtype)
    elif align_corners:
        position = np.arange(out_size, dtype=dtype) * dtype.type(scale)
    else:
        half = dtype.type(0.5)
        position = np.maximum((np.arange(out_size, dtype=dtype) + half) * dtype.type(scale) - half, 0)
    low = np.minimum(np.floor(position).astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    return low, high, np.clip(position - low, 0, 1).astype(dtype)


def interpolate_nearest_forward(x, y, scale):
    """One output copies one pixel. Writes y[oh, ow] = x[floor(oh scale_h), floor(ow scale_w)]."""
    rows, columns = _nearest(y.shape[2], x.shape[2], scale[0]), _nearest(y.shape[3], x.shape[3], scale[1])
    for oh, h in enumerate(rows):
        for ow, w in enumerate(columns):
            y[:, :, oh, ow] = x[:, :, h, w]


@_quiet
def interpolate_nearest_backward(dy, dx, scale):
    """One pixel sums the gradients of its copies. Writes dx."""
    rows, columns = _nearest(dy.shape[2], dx.shape[2], scale[0]), _nearest(dy.shape[3], dx.shape[3], scale[1])
    dx[...] = 0
    for oh, h in enumerate(rows):
        for ow, w in enumerate(columns):
            dx[:, :, h, w] += dy[:, :, oh, ow]


@_quiet
def interpolate_bilinear_forward(x, y, align_corners, scale):
    """One output mixes the four pixels around its source position. Writes y."""
    tops, bottoms, downs = _linear(y.shape[2], x.shape[2], align_corners, scale[0], x.dtype)
    lefts, rights, acrosses = _linear(y.shape[3], x.shape[3], align_corners, scale[1], x.dtype)
    for oh, (top, bottom, down) in enumerate(zip(tops, bottoms, downs, strict=True)):
        for ow, (left, right, across) in enumerate(zip(lefts, rights, acrosses, strict=True)):
            upper = (1 - across) * x[:, :, top, left] + across * x[:, :, top, right]
            lower = (1 - across) * x[:, :, bottom, left] + across * x[:, :, bottom, right]
            y[:, :, oh, ow] = (1 - down) * upper + down * lower


@_quiet
def interpolate_bilinear_backward(dy, dx, align_corners, scale):
    """One pixel sums what the outputs around it read, weighted alike. Writes dx."""
    tops, bottoms, downs = _linear(dy.shape[2], dx.shape[2], align_corners, scale[0], dx.dtype)
    lefts, rights, acrosses = _linear(dy.shape[3], dx.shape[3], align_corners, scale[1], dx.dtype)
    dx[...] = 0
    for oh, (top, bottom, down) in enumerate(zip(tops, bottoms, downs, strict=True)):
        for ow, (left, right, across) in enumerate(zip(lefts, rights, acrosses, strict=True)):
            g = dy[:, :, oh, ow]
            dx[:, :, top, left] += (1 - down) * (1 - across) * g
            dx[:, :, top, right] += (1 - down) * across * g
            dx[:, :, bottom, left] += down * (1 - across) * g
            dx[:, :, bottom, right] += down * across * g
