"""Pooling kernels; one thread owns whole (n, c) planes, so sums run in one order for any number of threads.

Definition: ``reference/pool.py``. Sources: Krizhevsky et al. 2012, sec. 3.4 (overlapping max pooling); Zeiler & Fergus
2014, sec. 2.1 (switches and unpooling); divisors, ceil windows and NaN as in PyTorch.
"""

import numpy as np
from numba import njit

from tinyconv_kernels.cpu._maxima import max_window, row_2x2, row_3x3, row_any
from tinyconv_kernels.cpu._share import share, threads_for
from tinyconv_kernels.geometry import clip_window


def _planes(a):
    """View (N, C, H, W) as (N * C, H, W): every kernel here works plane by plane."""
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2], a.shape[3])


def max_pool2d_forward(x, y, switches, kernel, stride, padding, dilation):
    """One thread owns one plane. Writes y and switches (int64 h * W + w in the unpadded plane).

    First maximum wins; a NaN beats every number and the last NaN is kept. A window without a pixel gives -inf and -1.
    """
    arrays = _planes(x), _planes(y), _planes(switches)
    share(threads_for(x.size), _max_forward, len(arrays[0]), *arrays, kernel, stride, padding, dilation)


@njit(cache=True, nogil=True)
def _max_forward(first, last, x, y, switches, kernel, stride, padding, dilation):
    H, W = x.shape[1:]
    OH, OW = y.shape[1:]
    (KH, KW), (SH, SW), (PH, PW), (DH, DW) = kernel, stride, padding, dilation
    # Constant window and stride let LLVM unroll and vectorise. The papers' windows get such a loop each (it costs half
    # a second of compilation): 3x3 with stride 2 (AlexNet) and 1 (GoogLeNet), 2x2 with stride 2 (VGG).
    special = dilation == (1, 1) and ((kernel == (3, 3) and (SW == 1 or SW == 2)) or (kernel == (2, 2) and SW == 2))
    left = min(OW, -(-PW // SW))  # outputs left .. right - 1 have windows wholly between the left and right edges
    right = max(left, min(OW, (W - KW + PW) // SW + 1)) if W + PW >= KW else left
    for p in range(first, last):
        for oh in range(OH):
            a, b = clip_window(oh, KH, SH, PH, DH, H)
            if not special or b - a < KH or left >= right:
                row_any(x[p], (a, b), oh, (kernel, stride, padding, dilation), y[p, oh], switches[p, oh])
                continue
            h = oh * SH - PH
            for ow in range(OW):
                if left <= ow < right:
                    continue
                c, d = clip_window(ow, KW, SW, PW, DW, W)
                w = ow * SW - PW
                y[p, oh, ow], switches[p, oh, ow] = max_window(
                    x[p], h + a * DH, h + (b - 1) * DH + 1, w + c * DW, w + (d - 1) * DW + 1, DH, DW
                )
            w = left * SW - PW
            best, at, base = y[p, oh, left:right], switches[p, oh, left:right], h * W + w
            r0, r1, r2 = x[p, h, w:], x[p, h + 1, w:], x[p, h + KH - 1, w:]
            if KH == 2:
                row_2x2(r0, r1, W, base, 2, best, at)
            elif SW == 2:
                row_3x3(r0, r1, r2, W, base, 2, best, at)
            else:
                row_3x3(r0, r1, r2, W, base, 1, best, at)


def max_pool2d_backward(dy, switches, dx, kernel, stride, padding, dilation):
    """One thread owns one plane. Writes dx: each output's gradient is ADDED at its switch.

    The definition gathers over the outputs that cover a pixel; with the whole plane in one thread's hands, adding the
    outputs in row-major order gives the same sums in the same order, and touches each output once.
    """
    _add_at_switches(dy, switches, dx)


def _add_at_switches(values, switches, target):
    arrays = _planes(values), _planes(switches), _planes(target)
    share(threads_for(target.size), _scatter, len(arrays[0]), *arrays, True)


@njit(cache=True, nogil=True)
def _scatter(first, last, values, switches, target, accumulate):
    for p in range(first, last):
        flat, source, at = target[p].reshape(-1), values[p].reshape(-1), switches[p].reshape(-1)
        flat[:] = 0
        for o in range(source.size):
            if at[o] >= 0:
                flat[at[o]] = flat[at[o]] + source[o] if accumulate else source[o]


def max_unpool2d_forward(x, switches, y, accumulate):
    """One thread owns one plane. Writes y: zero, except x at its switches; the last (row-major) wins, or all add."""
    arrays = _planes(x), _planes(switches), _planes(y)
    share(threads_for(y.size), _scatter, len(arrays[0]), *arrays, accumulate)


def max_unpool2d_backward(dy, switches, x, dx, accumulate):
    """One thread owns one plane. Writes dx: dy at each switch; where a later value overwrote this one, 0."""
    arrays = _planes(dy), _planes(switches), _planes(dx)
    share(threads_for(dy.size), _unpool_backward, len(arrays[0]), *arrays, accumulate)


@njit(cache=True, nogil=True)
def _unpool_backward(first, last, dy, switches, dx, accumulate):
    writer = np.empty(dy.shape[1] * dy.shape[2], np.int64)  # the output that wrote each pixel last
    for p in range(first, last):
        flat, target, at = dy[p].reshape(-1), dx[p].reshape(-1), switches[p].reshape(-1)
        for o in range(at.size):
            if at[o] >= 0:
                writer[at[o]] = o
        for o in range(at.size):
            survived = at[o] >= 0 and (accumulate or writer[at[o]] == o)
            target[o] = flat[at[o]] if survived else 0


def avg_pool2d_forward(x, y, kernel, stride, padding, count_include_pad, divisor_override):
    """One thread owns one plane. Writes y: the sum over the window's pixels, divided by PyTorch's divisor."""
    work = _planes(x), _planes(y), kernel, stride, padding, count_include_pad, divisor_override
    share(threads_for(x.size), _avg_forward, len(work[0]), *work)


@njit(inline="always")
def _bounds(out, kernel, stride, padding, size):
    """Return the window's first and past-the-last pixel inside the image, and its length with padding counted.

    The padded length ends at size + padding: the part of a ceil window beyond that is never counted (as PyTorch).
    """
    start = out * stride - padding
    padded = min(start + kernel, size + padding) - start
    return max(start, 0), min(start + padded, size), padded


@njit(inline="always")
def _add_strided(out, row, count, stride):
    for o in range(count):
        out[o] += row[stride * o]


@njit(cache=True, nogil=True, error_model="numpy")
def _avg_forward(first, last, x, y, kernel, stride, padding, count_include_pad, divisor_override):
    H, W = x.shape[1:]
    OW = y.shape[2]
    SW, PW = stride[1], padding[1]
    for p in range(first, last):
        for oh in range(y.shape[1]):
            h0, h1, tall = _bounds(oh, kernel[0], stride[0], padding[0], H)
            out = y[p, oh]
            out[:] = 0
            # Tap by tap over the whole row of outputs, in row-major order: side by side, without a test per pixel.
            for h in range(h0, h1):
                for tap in range(kernel[1]):
                    left = max(0, -((tap - PW) // SW))  # outputs left .. right - 1 find this tap inside the image
                    right = min(OW, (W - 1 + PW - tap) // SW + 1)
                    if left < right:
                        row, count = x[p, h, left * SW - PW + tap :], right - left
                        if SW == 1:
                            _add_strided(out[left:right], row, count, 1)
                        elif SW == 2:
                            _add_strided(out[left:right], row, count, 2)
                        else:
                            _add_strided(out[left:right], row, count, SW)
            for ow in range(OW):
                w0, w1, wide = _bounds(ow, kernel[1], SW, PW, W)
                divisor = tall * wide if count_include_pad else (h1 - h0) * (w1 - w0)
                if divisor_override:
                    divisor = divisor_override
                if h1 > h0 and w1 > w0:
                    out[ow] /= x.dtype.type(divisor)


def avg_pool2d_backward(dy, dx, kernel, stride, padding, count_include_pad, divisor_override):
    """One thread owns one plane. Writes dx: each output's gradient over its divisor, ADDED to its window's pixels."""
    work = _planes(dy), _planes(dx), kernel, stride, padding, count_include_pad, divisor_override
    share(threads_for(dx.size), _avg_backward, len(work[0]), *work)


@njit(inline="always")
def _spread_strided(out, row, count, stride):
    for o in range(count):
        out[stride * o] += row[o]


@njit(cache=True, nogil=True, error_model="numpy")
def _avg_backward(first, last, dy, dx, kernel, stride, padding, count_include_pad, divisor_override):
    H, W = dx.shape[1:]
    OW = dy.shape[2]
    SW, PW = stride[1], padding[1]
    share = np.empty(OW, dy.dtype)
    for p in range(first, last):
        dx[p] = 0
        for oh in range(dy.shape[1]):
            h0, h1, tall = _bounds(oh, kernel[0], stride[0], padding[0], H)
            for ow in range(OW):
                w0, w1, wide = _bounds(ow, kernel[1], SW, PW, W)
                divisor = tall * wide if count_include_pad else (h1 - h0) * (w1 - w0)
                if divisor_override:
                    divisor = divisor_override
                share[ow] = dy[p, oh, ow] / dy.dtype.type(divisor)
            for h in range(h0, h1):
                for tap in range(kernel[1]):
                    left = max(0, -((tap - PW) // SW))
                    right = min(OW, (W - 1 + PW - tap) // SW + 1)
                    if left < right:
                        row, count = dx[p, h, left * SW - PW + tap :], right - left
                        if SW == 1:
                            _spread_strided(row, share[left:right], count, 1)
                        elif SW == 2:
                            _spread_strided(row, share[left:right], count, 2)
                        else:
                            _spread_strided(row, share[left:right], count, SW)


def adaptive_avg_pool2d_forward(x, y):
    """One thread owns one plane. Writes y: the mean of rows floor(oh H / OH) .. ceil((oh + 1) H / OH) - 1, columns."""
    share(threads_for(x.size), _adaptive_avg_forward, x.shape[0] * x.shape[1], _planes(x), _planes(y))


@njit(inline="always")
def _adaptive_range(out, size, out_size):
    return out * size // out_size, -(-(out + 1) * size // out_size)


# reassoc lets the sum of a long row use vector lanes; NaN and infinities keep their meaning.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _adaptive_avg_forward(first, last, x, y):
    for p in range(first, last):
        if y.shape[1] == y.shape[2] == 1:  # the mean of the plane is one run: GoogLeNet's and ResNet's last pooling
            total, plane = x.dtype.type(0), x[p].reshape(-1)
            for i in range(plane.size):
                total += plane[i]
            y[p, 0, 0] = total / x.dtype.type(plane.size)
            continue
        for oh in range(y.shape[1]):
            h0, h1 = _adaptive_range(oh, x.shape[1], y.shape[1])
            for ow in range(y.shape[2]):
                w0, w1 = _adaptive_range(ow, x.shape[2], y.shape[2])
                total = x.dtype.type(0)
                for h in range(h0, h1):
                    for w in range(w0, w1):
                        total += x[p, h, w]
                y[p, oh, ow] = total / x.dtype.type((h1 - h0) * (w1 - w0))


def adaptive_avg_pool2d_backward(dy, dx):
    """One thread owns one plane. Writes dx: each output's gradient over its window's area, ADDED to its pixels."""
    share(threads_for(dx.size), _adaptive_avg_backward, dx.shape[0] * dx.shape[1], _planes(dy), _planes(dx))


@njit(cache=True, nogil=True, error_model="numpy")
def _adaptive_avg_backward(first, last, dy, dx):
    for p in range(first, last):
        if dy.shape[1] == dy.shape[2] == 1:
            dx[p] = dy[p, 0, 0] / dy.dtype.type(dx.shape[1] * dx.shape[2])
            continue
        dx[p] = 0
        for oh in range(dy.shape[1]):
            h0, h1 = _adaptive_range(oh, dx.shape[1], dy.shape[1])
            for ow in range(dy.shape[2]):
                w0, w1 = _adaptive_range(ow, dx.shape[2], dy.shape[2])
                share = dy[p, oh, ow] / dy.dtype.type((h1 - h0) * (w1 - w0))
                for h in range(h0, h1):
                    for w in range(w0, w1):
                        dx[p, h, w] += share


def adaptive_max_pool2d_forward(x, y, switches):
    """One thread owns one plane. Writes y and switches over the windows of adaptive_avg_pool2d_forward."""
    arrays = _planes(x), _planes(y), _planes(switches)
    share(threads_for(x.size), _adaptive_max_forward, len(arrays[0]), *arrays)


@njit(cache=True, nogil=True)
def _adaptive_max_forward(first, last, x, y, switches):
    for p in range(first, last):
        for oh in range(y.shape[1]):
            h0, h1 = _adaptive_range(oh, x.shape[1], y.shape[1])
            for ow in range(y.shape[2]):
                w0, w1 = _adaptive_range(ow, x.shape[2], y.shape[2])
                y[p, oh, ow], switches[p, oh, ow] = max_window(x[p], h0, h1, w0, w1, 1, 1)


def adaptive_max_pool2d_backward(dy, switches, dx):
    """One thread owns one plane. Writes dx: each output's gradient ADDED at its switch."""
    _add_at_switches(dy, switches, dx)
