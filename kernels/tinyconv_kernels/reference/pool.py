"""Pooling, defined: loops over the outputs and the pixels of their windows, all (n, c) planes at once.

Sources: LeCun et al. 1998, sec. II.B (average pooling); Krizhevsky et al. 2012, sec. 3.4 (overlapping max pooling);
Zeiler & Fergus 2014, sec. 2.1 (switches and unpooling). Divisors, ceil windows, ties and NaN are PyTorch's.
"""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


def _pixels(out, kernel, stride, padding, dilation, size):
    """Positions that output ``out`` reads along one axis; those in the padding are left out."""
    start = out * stride - padding
    return [start + k * dilation for k in range(kernel) if 0 <= start + k * dilation < size]


def _adaptive_pixels(out, size, out_size):
    """Positions of the adaptive window ``out``: floor(out size / out_size) up to ceil((out + 1) size / out_size)."""
    return list(range(out * size // out_size, -(-(out + 1) * size // out_size)))


def _outputs(y):
    """Every output position (oh, ow), row by row."""
    return [(oh, ow) for oh in range(y.shape[2]) for ow in range(y.shape[3])]


def _max_of_windows(x, y, switches, rows, columns):
    """Write maximum and switch of every window; ``rows(oh)`` and ``columns(ow)`` list the window's pixels."""
    W = x.shape[3]
    for oh, ow in _outputs(y):
        best = np.full(x.shape[:2], -np.inf, x.dtype)
        at = np.full(x.shape[:2], -1)
        for h in rows(oh):
            for w in columns(ow):
                value = x[:, :, h, w]
                take = (value > best) | np.isnan(value) | (at < 0)  # > and not >=: the first maximum wins
                best[take], at[take] = value[take], h * W + w
        y[:, :, oh, ow], switches[:, :, oh, ow] = best, at


def max_pool2d_forward(x, y, switches, kernel, stride, padding, dilation):
    """One output is the maximum of its window. Writes y and switches (int64 h * W + w in the unpadded plane).

    First maximum wins; a NaN beats every number and the last NaN is kept. A window without a pixel gives -inf and -1.
    """
    _max_of_windows(
        x, y, switches,
        lambda oh: _pixels(oh, kernel[0], stride[0], padding[0], dilation[0], x.shape[2]),
        lambda ow: _pixels(ow, kernel[1], stride[1], padding[1], dilation[1], x.shape[3]),
    )  # fmt: skip


def _gather_from_switches(dy, switches, dx, rows, columns):
    """Each pixel collects the gradients of the windows that cover it and chose it: no two writers meet."""
    H, W = dx.shape[2:]
    dx[...] = 0
    covered_by_rows = [[oh for oh in range(dy.shape[2]) if h in rows(oh)] for h in range(H)]
    covered_by_columns = [[ow for ow in range(dy.shape[3]) if w in columns(ow)] for w in range(W)]
    for h in range(H):
        for w in range(W):
            for oh in covered_by_rows[h]:
                for ow in covered_by_columns[w]:
                    chosen = switches[:, :, oh, ow] == h * W + w
                    dx[:, :, h, w] += np.where(chosen, dy[:, :, oh, ow], 0)


@_quiet
def max_pool2d_backward(dy, switches, dx, kernel, stride, padding, dilation):
    """One pixel sums dy over the windows whose maximum it was. Writes dx: overlapping windows ADD."""
    _gather_from_switches(
        dy, switches, dx,
        lambda oh: _pixels(oh, kernel[0], stride[0], padding[0], dilation[0], dx.shape[2]),
        lambda ow: _pixels(ow, kernel[1], stride[1], padding[1], dilation[1], dx.shape[3]),
    )  # fmt: skip


@_quiet
def max_unpool2d_forward(x, switches, y, accumulate):
    """One value goes to its switch. Writes y, else zero; on a shared switch the last (row-major) wins, or all add."""
    y[...] = 0
    planes = y.reshape(y.shape[0], y.shape[1], y.shape[2] * y.shape[3])
    for n, c, oh, ow in np.ndindex(x.shape):
        at = switches[n, c, oh, ow]
        if at < 0:  # the switch of a window without a pixel
            continue
        if accumulate:
            planes[n, c, at] += x[n, c, oh, ow]
        else:
            planes[n, c, at] = x[n, c, oh, ow]


def max_unpool2d_backward(dy, switches, x, dx, accumulate):
    """One value takes dy at its switch. Writes dx: where a later value overwrote this one, 0."""
    planes = dy.reshape(dy.shape[0], dy.shape[1], dy.shape[2] * dy.shape[3])
    dx[...] = 0
    for n, c in np.ndindex(x.shape[:2]):
        at, target = switches[n, c].reshape(-1), dx[n, c].reshape(-1)
        for o in range(at.size):
            overwritten = not accumulate and at[o] in at[o + 1 :]
            if at[o] >= 0 and not overwritten:
                target[o] = planes[n, c, at[o]]


def _padded_length(out, kernel, stride, padding, size):
    """Length of a window with its padding; the part of a ceil window beyond the padding is never counted."""
    start = out * stride - padding
    return min(start + kernel, size + padding) - start


def _divisor(output, kernel, stride, padding, shape, rows, columns, count_include_pad, divisor_override):
    if divisor_override:
        return divisor_override
    if count_include_pad:
        return np.prod([_padded_length(output[i], kernel[i], stride[i], padding[i], shape[2 + i]) for i in (0, 1)])
    return len(rows) * len(columns)


@_quiet
def avg_pool2d_forward(x, y, kernel, stride, padding, count_include_pad, divisor_override):
    """One output is the sum over its window's pixels over the divisor. Writes y (0 for a window without a pixel)."""
    for oh, ow in _outputs(y):
        rows = _pixels(oh, kernel[0], stride[0], padding[0], 1, x.shape[2])
        columns = _pixels(ow, kernel[1], stride[1], padding[1], 1, x.shape[3])
        if not rows or not columns:
            y[:, :, oh, ow] = 0
            continue
        divisor = _divisor(
            (oh, ow), kernel, stride, padding, x.shape, rows, columns, count_include_pad, divisor_override
        )
        total = np.zeros(x.shape[:2], x.dtype)
        for h in rows:
            for w in columns:
                total += x[:, :, h, w]
        y[:, :, oh, ow] = total / x.dtype.type(divisor)


@_quiet
def avg_pool2d_backward(dy, dx, kernel, stride, padding, count_include_pad, divisor_override):
    """One output's gradient over its divisor goes to every pixel of its window. Writes dx: overlapping windows ADD."""
    dx[...] = 0
    for oh, ow in _outputs(dy):
        rows = _pixels(oh, kernel[0], stride[0], padding[0], 1, dx.shape[2])
        columns = _pixels(ow, kernel[1], stride[1], padding[1], 1, dx.shape[3])
        if rows and columns:
            divisor = _divisor(
                (oh, ow), kernel, stride, padding, dx.shape, rows, columns, count_include_pad, divisor_override
            )
            for h in rows:
                for w in columns:
                    dx[:, :, h, w] += dy[:, :, oh, ow] / dy.dtype.type(divisor)


@_quiet
def adaptive_avg_pool2d_forward(x, y):
    """One output is its window's mean. Writes y; windows share the image evenly and may overlap by one pixel."""
    for oh, ow in _outputs(y):
        rows = _adaptive_pixels(oh, x.shape[2], y.shape[2])
        columns = _adaptive_pixels(ow, x.shape[3], y.shape[3])
        y[:, :, oh, ow] = x[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean(axis=(2, 3))


@_quiet
def adaptive_avg_pool2d_backward(dy, dx):
    """One output's gradient over its window's area goes to the window's pixels. Writes dx: overlapping windows ADD."""
    dx[...] = 0
    for oh, ow in _outputs(dy):
        rows = _adaptive_pixels(oh, dx.shape[2], dy.shape[2])
        columns = _adaptive_pixels(ow, dx.shape[3], dy.shape[3])
        for h in rows:
            for w in columns:
                dx[:, :, h, w] += dy[:, :, oh, ow] / dy.dtype.type(len(rows) * len(columns))


def adaptive_max_pool2d_forward(x, y, switches):
    """One output is the maximum of its adaptive window. Writes y and switches."""
    _max_of_windows(
        x, y, switches,
        lambda oh: _adaptive_pixels(oh, x.shape[2], y.shape[2]),
        lambda ow: _adaptive_pixels(ow, x.shape[3], y.shape[3]),
    )  # fmt: skip


@_quiet
def adaptive_max_pool2d_backward(dy, switches, dx):
    """One pixel sums dy over the adaptive windows whose maximum it was. Writes dx."""
    _gather_from_switches(
        dy, switches, dx,
        lambda oh: _adaptive_pixels(oh, dx.shape[2], dy.shape[2]),
        lambda ow: _adaptive_pixels(ow, dx.shape[3], dy.shape[3]),
    )  # fmt: skip
