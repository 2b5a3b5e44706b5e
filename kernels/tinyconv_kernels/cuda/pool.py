"""Pooling kernels; definition and sources: ``reference/pool.py``.

Forward, one thread per output reads its window; backward, one thread per pixel gathers from the windows that hold it,
in the order in which the reference adds. No two threads write to one place: nothing depends on which comes first.

Where a position may lie before the image it is computed in uint32, where -1 is 2^32 - 1: one comparison with the size
finds both ends.
"""

import functools
from collections import namedtuple

import numpy as np
from numba import from_dtype, int64, uint32, uint64

from tinyconv_kernels.cuda import elementwise, launch, memory, reduce
from tinyconv_kernels.cuda._blocks import places, split
from tinyconv_kernels.cuda._cuda import cuda, device

_NOWHERE = np.uint32(0xFFFFFFFF)  # the switch of a window without a pixel, until it is written as -1
_NOTHING = (0, 0)  # stands for what adaptive windows do not have

# ---------------------------------------------------------------------------------------------------- windows, one axis
# window: output -> its first position (wrapped below 0) and its number of taps. length: output -> its part of the
# divisor of an average. readers: pixel -> the half-open range of outputs whose windows may hold it.
_Windows = namedtuple("_Windows", "window length readers")


@device
def _window(o, size, outs, kernel, stride, padding):
    return uint32(o * stride - padding), kernel


@device
def _length(o, size, outs, kernel, stride, padding, include):
    start = uint32(o * stride)  # in padded positions: the image is padding .. padding + size - 1
    end = min(uint32(start + kernel), uint32(size + 2 * padding))  # a ceil window's part beyond is never counted
    if include:
        return uint32(end - start)
    start, end = max(start, padding), min(end, uint32(size + padding))
    return uint32(end - start) if end > start else uint32(0)


@device
def _readers(position, size, outs, reach, stride, padding):
    padded = uint32(position + padding)
    first = uint32(uint32(padded - reach + stride - 1) // stride) if padded > reach else uint32(0)
    return first, min(uint32(padded // stride + 1), outs)


# 64 bits: output times size may not fit into 32, even if the image does.
@device
def _adaptive_window(o, size, outs, kernel, stride, padding):
    start = uint32(uint64(o) * size // outs)
    return start, uint32((uint64(o + 1) * size + uint64(outs - 1)) // outs - start)


@device
def _adaptive_length(o, size, outs, kernel, stride, padding, include):
    return _adaptive_window(o, size, outs, kernel, stride, padding)[1]


@device
def _adaptive_readers(position, size, outs, reach, stride, padding):
    first = uint32(uint64(position) * outs // size)
    return first, uint32((uint64(position + 1) * outs - uint64(1)) // size + uint64(1))


_SLIDING = _Windows(_window, _length, _readers)
_ADAPTIVE = _Windows(_adaptive_window, _adaptive_length, _adaptive_readers)


# -------------------------------------------------------------------------------------------------------------- maximum
def max_pool2d_forward(x, y, switches, kernel, stride, padding, dilation):
    """One thread owns one output. Writes y and switches (int64 h * W + w in the unpadded plane).

    First maximum wins; a NaN beats every number and the last NaN is kept. A window without a pixel gives -inf and -1.
    """
    _maxima(x, y, switches, False, kernel, stride, padding, dilation)


def adaptive_max_pool2d_forward(x, y, switches):
    """One thread owns one output. Writes y and switches over the windows of adaptive_avg_pool2d_forward."""
    _maxima(x, y, switches, True, _NOTHING, _NOTHING, _NOTHING, (1, 1))


def _maxima(x, y, switches, adaptive, *geometry):
    memory.written(switches)
    arrays = places(x, y, switches)
    launch.each(_max_kernel(y.dtype, adaptive), y.size, *arrays, x.shape[2:], y.shape[2:], *geometry, y.size)


@functools.cache
def _max_kernel(dtype, adaptive):
    least = dtype.type(-np.inf)
    window = (_ADAPTIVE if adaptive else _SLIDING).window

    @cuda.jit
    def kernel(x, x0, y, y0, switches, s0, size, out, kernel, stride, padding, dilation, count):
        i = uint32(cuda.grid(1))
        if i < count:
            H, W = size
            plane, oh, ow = split(i, out[0], out[1])
            h, rows = window(oh, H, out[0], kernel[0], stride[0], padding[0])
            left, columns = window(ow, W, out[1], kernel[1], stride[1], padding[1])
            image = uint32(x0 + plane * H * W)
            best, at = least, _NOWHERE
            while rows > 0:
                if h < H:
                    w, taps = left, columns
                    while taps > 0:
                        if w < W:
                            place = uint32(h * W + w)
                            value = x[image + place]
                            # > and not >=: the first maximum wins
                            if value > best or value != value or at == _NOWHERE:
                                best, at = value, place
                        w, taps = uint32(w + dilation[1]), uint32(taps - 1)
                h, rows = uint32(h + dilation[0]), uint32(rows - 1)
            y[y0 + i] = best
            switches[s0 + i] = int64(-1) if at == _NOWHERE else int64(at)

    return kernel


def max_pool2d_backward(dy, switches, dx, kernel, stride, padding, dilation):
    """One thread owns one pixel. Writes dx: the sum of dy over the windows whose maximum it was."""
    reach = tuple((k - 1) * d for k, d in zip(kernel, dilation, strict=True))
    _chosen(dy, switches, dx, False, reach, stride, padding)


def adaptive_max_pool2d_backward(dy, switches, dx):
    """One thread owns one pixel. Writes dx: the sum of dy over the windows whose maximum it was."""
    _chosen(dy, switches, dx, True, _NOTHING, _NOTHING, _NOTHING)


def _chosen(dy, switches, dx, adaptive, *geometry):
    arrays = places(dy, switches, dx)
    launch.each(_chosen_kernel(dx.dtype, adaptive), dx.size, *arrays, dx.shape[2:], dy.shape[2:], *geometry, dx.size)


@functools.cache
def _chosen_kernel(dtype, adaptive):
    zero = dtype.type(0)
    readers = (_ADAPTIVE if adaptive else _SLIDING).readers

    @cuda.jit
    def kernel(dy, dy0, switches, s0, dx, dx0, size, out, reach, stride, padding, count):
        i = uint32(cuda.grid(1))
        if i < count:
            plane, h, w = split(i, size[0], size[1])
            own = int64(uint32(h * size[1] + w))
            oh, bottom = readers(h, size[0], out[0], reach[0], stride[0], padding[0])
            left, right = readers(w, size[1], out[1], reach[1], stride[1], padding[1])
            total = zero
            while oh < bottom:
                line = uint32((plane * out[0] + oh) * out[1])
                ow = left
                while ow < right:
                    if switches[uint32(s0 + line + ow)] == own:  # which no window says that misses it by dilation
                        total += dy[uint32(dy0 + line + ow)]
                    ow = uint32(ow + 1)
                oh = uint32(oh + 1)
            dx[dx0 + i] = total

    return kernel


# ------------------------------------------------------------------------------------------------------------ unpooling
def max_unpool2d_forward(x, switches, y, accumulate):
    """One thread owns one pixel of y; one plane, to accumulate. Writes y: zero, except x at its switches."""
    pixels = y.shape[2] * y.shape[3]
    if accumulate:
        # Values that share a pixel must be added in one order, and which do only the switches know. A plane's values in
        # one thread's hands are slow, but keep the reference's order.
        elementwise.fill(y, 0)
        planes = x.shape[0] * x.shape[1]
        launch.each(_add_at_switches, planes, *places(x, switches, y), x.shape[2] * x.shape[3], pixels, planes)
    else:
        winners = _last_writers(switches, y.shape)
        launch.each(_written_kernel(y.dtype), y.size, *places(x, winners, y), y.size)


def max_unpool2d_backward(dy, switches, x, dx, accumulate):
    """One thread owns one value. Writes dx: dy at its switch; where a later value overwrote this one, 0."""
    # Without winners every value counts: switches stand in for an array that is not read.
    winners = switches if accumulate else _last_writers(switches, dy.shape)
    sizes = dx.shape[2] * dx.shape[3], dy.shape[2] * dy.shape[3]
    launch.each(_kept_kernel(dx.dtype, accumulate), dx.size, *places(dy, switches, winners, dx), sizes, dx.size)


def _last_writers(switches, shape):
    """Return, for every pixel, 1 + the number of the last value (in row-major order) whose switch it is, or 0."""
    winners = memory.empty(shape, np.uint32)
    elementwise.fill(winners, 0)
    sizes = switches.shape[2] * switches.shape[3], shape[2] * shape[3]
    launch.each(_claim, switches.size, *places(switches, winners), sizes, switches.size)
    return winners


@cuda.jit
def _claim(switches, s0, winners, w0, sizes, count):
    i = uint32(cuda.grid(1))
    if i < count:
        at = switches[s0 + i]
        if at >= 0:
            pixel = uint32(w0 + (i // sizes[0]) * sizes[1] + uint32(at))
            # The backend's one atomic: of whole numbers, whose maximum is the same in whatever order threads come.
            cuda.atomic.max(winners, pixel, uint32(i + 1))


@functools.cache
def _written_kernel(dtype):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(x, x0, winners, w0, y, y0, count):
        i = uint32(cuda.grid(1))
        if i < count:
            winner = winners[w0 + i]
            y[y0 + i] = x[uint32(x0 + winner - 1)] if winner > 0 else zero

    return kernel


@functools.cache
def _kept_kernel(dtype, accumulate):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(dy, dy0, switches, s0, winners, w0, dx, dx0, sizes, count):
        i = uint32(cuda.grid(1))
        if i < count:
            at, value = switches[s0 + i], zero
            if at >= 0:
                pixel = uint32((i // sizes[0]) * sizes[1] + uint32(at))
                if accumulate or winners[w0 + pixel] == uint32(i + 1):
                    value = dy[dy0 + pixel]
            dx[dx0 + i] = value

    return kernel


@cuda.jit
def _add_at_switches(x, x0, switches, s0, y, y0, values, pixels, count):
    plane = uint32(cuda.grid(1))
    if plane < count:
        o, end, image = uint32(plane * values), uint32((plane + 1) * values), uint32(y0 + plane * pixels)
        while o < end:
            at = switches[s0 + o]
            if at >= 0:
                y[uint32(image + uint32(at))] += x[x0 + o]
            o = uint32(o + 1)


# ------------------------------------------------------------------------------------------------------------- averages
def avg_pool2d_forward(x, y, kernel, stride, padding, count_include_pad, divisor_override):
    """One thread owns one output. Writes y: the sum over the window's pixels, divided by PyTorch's divisor."""
    rule = kernel, stride, padding, bool(count_include_pad), int(divisor_override or 0)
    _averages(x, y, False, *rule)


def adaptive_avg_pool2d_forward(x, y):
    """One thread, or some blocks, own one output. Writes y: the mean of its window."""
    pixels = x.shape[2] * x.shape[3]
    if y.shape[2:] == (1, 1) and pixels > reduce.SERIAL:  # few long sums: blocks of threads share them
        reduce.reduce_sum(x.reshape(x.shape[0] * x.shape[1], pixels), y, (1,))
        elementwise.div(y, pixels, y)
        return
    _averages(x, y, True, _NOTHING, _NOTHING, _NOTHING, True, 0)


def _averages(x, y, adaptive, *rule):
    kernel = _average_kernel(y.dtype, adaptive)
    launch.each(kernel, y.size, *places(x, y), x.shape[2:], y.shape[2:], *rule, y.size)


@functools.cache
def _average_kernel(dtype, adaptive):
    zero, real = dtype.type(0), from_dtype(dtype)
    window, length, _ = _ADAPTIVE if adaptive else _SLIDING

    @cuda.jit
    def kernel(x, x0, y, y0, size, out, kernel, stride, padding, include, override, count):
        i = uint32(cuda.grid(1))
        if i < count:
            H, W = size
            plane, oh, ow = split(i, out[0], out[1])
            h, rows = window(oh, H, out[0], kernel[0], stride[0], padding[0])
            left, columns = window(ow, W, out[1], kernel[1], stride[1], padding[1])
            image = uint32(x0 + plane * H * W)
            total = zero
            while rows > 0:
                if h < H:
                    line, w, taps = uint32(image + h * W), left, columns
                    while taps > 0:
                        if w < W:
                            total += x[line + w]
                        w, taps = uint32(w + 1), uint32(taps - 1)
                h, rows = uint32(h + 1), uint32(rows - 1)
            tall = length(oh, H, out[0], kernel[0], stride[0], padding[0], include)
            wide = length(ow, W, out[1], kernel[1], stride[1], padding[1], include)
            divisor = override if override > 0 else uint32(tall * wide)
            y[y0 + i] = total / real(divisor) if divisor > 0 else zero  # a window without a pixel gives 0

    return kernel


def avg_pool2d_backward(dy, dx, kernel, stride, padding, count_include_pad, divisor_override):
    """One thread owns one pixel. Writes dx: the sum over its windows of dy over the window's divisor."""
    rule = kernel, stride, padding, bool(count_include_pad), int(divisor_override or 0)
    _shares(dy, dx, False, *rule)


def adaptive_avg_pool2d_backward(dy, dx):
    """One thread owns one pixel. Writes dx: the sum over its windows of dy over the window's area."""
    _shares(dy, dx, True, _NOTHING, _NOTHING, _NOTHING, True, 0)


def _shares(dy, dx, adaptive, *rule):
    kernel = _share_kernel(dx.dtype, adaptive)
    launch.each(kernel, dx.size, *places(dy, dx), dx.shape[2:], dy.shape[2:], *rule, dx.size)


@functools.cache
def _share_kernel(dtype, adaptive):
    zero, real = dtype.type(0), from_dtype(dtype)
    _, length, readers = _ADAPTIVE if adaptive else _SLIDING

    @cuda.jit
    def kernel(dy, dy0, dx, dx0, size, out, kernel, stride, padding, include, override, count):
        i = uint32(cuda.grid(1))
        if i < count:
            H, W = size
            plane, h, w = split(i, H, W)
            oh, bottom = readers(h, H, out[0], uint32(kernel[0] - 1), stride[0], padding[0])
            left, right = readers(w, W, out[1], uint32(kernel[1] - 1), stride[1], padding[1])
            total = zero
            while oh < bottom:
                line = uint32(dy0 + (plane * out[0] + oh) * out[1])
                tall = length(oh, H, out[0], kernel[0], stride[0], padding[0], include)
                ow = left
                while ow < right:
                    wide = length(ow, W, out[1], kernel[1], stride[1], padding[1], include)
                    divisor = override if override > 0 else uint32(tall * wide)
                    total += dy[line + ow] / real(divisor)
                    ow = uint32(ow + 1)
                oh = uint32(oh + 1)
            dx[dx0 + i] = total

    return kernel
