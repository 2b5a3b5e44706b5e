"""Recurrent layers; definition and sources: ``reference/recurrent.py``. One block owns one sample, all its steps.

A thread owns every ``threads``-th unit: it adds up the unit's product with the state before, which its block wrote in
the last step, and the barrier at a step's end makes it readable. Neighbouring threads read neighbouring columns of a
weight (H, units); forward it is turned round first, once for all steps.
"""

import functools

from numba import uint32

from tinyconv_kernels import scalar
from tinyconv_kernels.cuda import elementwise, launch, memory
from tinyconv_kernels.cuda._blocks import TEAM, places, split
from tinyconv_kernels.cuda._cuda import cuda, device


def _samples(kernel, y, *arguments):
    """Run one block for each sample of y (N, T, H)."""
    launch.blocks(kernel, y.shape[:1], min(TEAM, -(-y.shape[2] // 32) * 32), *arguments, y.shape[1:])


def _turned(weight):
    """Return the transposed matrix in a memory of its own."""
    turned = memory.empty(weight.shape[::-1], weight.dtype)
    elementwise.copy(weight.T, turned)
    return turned


@device
def _step(s, length, reverse):
    """Return which step is a sample's s-th."""
    return uint32(length - 1 - s) if reverse else s


@functools.cache
def _product(dtype):
    zero = dtype.type(0)

    @device
    def product(vector, place, weight, column, count, step):
        """Return the product of ``count`` numbers that lie side by side and a column of a weight, ``step`` apart."""
        total = zero
        while count > 0:
            total += vector[place] * weight[column]
            place, column, count = uint32(place + 1), uint32(column + step), uint32(count - 1)
        return total

    return product


@functools.cache
def _clear(dtype):
    zero = dtype.type(0)

    @device
    def clear(array, first, last):
        """Write 0, all threads of a block together."""
        place, threads = uint32(first + uint32(cuda.threadIdx.x)), uint32(cuda.blockDim.x)
        while place < last:
            array[place] = zero
            place = uint32(place + threads)

    return clear


# --------------------------------------------------------------------------------------------------------------- states
def states_before(h0, y, lengths, reverse, before):
    """One thread owns one element: h0, or the output of the step before. Writes before (N, T, H), 0 behind the end."""
    launch.each(_before(y.dtype), y.size, *places(h0, y, lengths, before), reverse, y.shape[1:], y.size)


@functools.cache
def _before(dtype):
    zero = dtype.type(0)

    @cuda.jit
    def kernel(h0, h00, y, y0, lengths, l0, before, b0, reverse, shape, count):
        i = uint32(cuda.grid(1))
        if i < count:
            T, H = shape
            n, t, j = split(i, T, H)
            length, value = uint32(lengths[l0 + n]), zero
            if t < length:
                if t == _step(uint32(0), length, reverse):
                    value = h0[h00 + n * H + j]
                else:
                    value = y[uint32(y0 + i + H)] if reverse else y[uint32(y0 + i - H)]
            before[b0 + i] = value

    return kernel


# ------------------------------------------------------------------------------------------------------------------ RNN
def rnn_forward(x, weight, h0, lengths, reverse, relu, y):
    """One block owns one sample: h = f(x[t] + weight h), with f = ReLU or tanh. Writes y (N, T, H), all states."""
    _samples(_rnn_forward(x.dtype, relu), y, *places(x, _turned(weight), h0, lengths, y), reverse)


@functools.cache
def _rnn_forward(dtype, relu):
    product, clear, bent = _product(dtype), _clear(dtype), device((scalar.relu if relu else scalar.tanh)(dtype.type))

    @cuda.jit
    def kernel(x, x0, turned, w0, h0, h00, lengths, l0, y, y0, reverse, shape):
        T, H = shape
        n, threads = uint32(cuda.blockIdx.x), uint32(cuda.blockDim.x)
        length, sample, s = uint32(lengths[l0 + n]), uint32(n * T * H), uint32(0)
        before = uint32(0)
        while s < length:
            here = uint32(sample + _step(s, length, reverse) * H)
            j = uint32(cuda.threadIdx.x)
            while j < H:
                if s == 0:
                    a = product(h0, uint32(h00 + n * H), turned, uint32(w0 + j), H, H)
                else:
                    a = product(y, before, turned, uint32(w0 + j), H, H)
                y[uint32(y0 + here + j)] = bent(x[uint32(x0 + here + j)] + a)
                j = uint32(j + threads)
            cuda.syncthreads()
            before, s = uint32(y0 + here), uint32(s + 1)
        clear(y, uint32(y0 + sample + length * H), uint32(y0 + sample + T * H))

    return kernel


def rnn_backward(dy, y, weight, lengths, reverse, relu, dx, dh0):
    """One block owns one sample, from its last step to the first. Writes dx (N, T, H) and dh0 (N, H)."""
    _samples(_rnn_backward(y.dtype, relu), y, *places(dy, y, weight, lengths, dx, dh0), reverse)


@functools.cache
def _rnn_backward(dtype, relu):
    product, clear, zero = _product(dtype), _clear(dtype), dtype.type(0)
    slope = device((scalar.relu_backward if relu else scalar.tanh_backward)(dtype.type))

    @cuda.jit
    def kernel(dy, dy0, y, y0, weight, w0, lengths, l0, dx, dx0, dh0, dh00, reverse, shape):
        T, H = shape
        n, threads = uint32(cuda.blockIdx.x), uint32(cuda.blockDim.x)
        length, sample = uint32(lengths[l0 + n]), uint32(n * T * H)
        s, after = length, uint32(0)
        while s > 0:
            here = uint32(sample + _step(uint32(s - 1), length, reverse) * H)
            j = uint32(cuda.threadIdx.x)
            while j < H:
                dh = dy[uint32(dy0 + here + j)]
                if s < length:
                    dh += product(dx, after, weight, uint32(w0 + j), H, H)
                dx[uint32(dx0 + here + j)] = slope(dh, y[uint32(y0 + here + j)])
                j = uint32(j + threads)
            cuda.syncthreads()
            after, s = uint32(dx0 + here), uint32(s - 1)
        j = uint32(cuda.threadIdx.x)
        while j < H:
            dh0[dh00 + n * H + j] = product(dx, after, weight, uint32(w0 + j), H, H) if length > 0 else zero
            j = uint32(j + threads)
        clear(dx, uint32(dx0 + sample + length * H), uint32(dx0 + sample + T * H))

    return kernel


# ----------------------------------------------------------------------------------------------------------------- LSTM
def lstm_forward(x, weight, h0, c0, lengths, reverse, gates, c, y):
    """One block owns one sample, a thread all four gates of its units. Writes gates (N, T, 4 H), c and y (N, T, H)."""
    _samples(_lstm_forward(x.dtype), y, *places(x, _turned(weight), h0, c0, lengths, gates, c, y), reverse)


@functools.cache
def _lstm_forward(dtype):
    product, clear = _product(dtype), _clear(dtype)
    sigmoid, tanh = device(scalar.sigmoid(dtype.type)), device(scalar.tanh(dtype.type))

    @cuda.jit
    def kernel(
        x, x0, turned, w0, h0, h00, c0, c00, lengths, l0, gates, g0, c, cells, y, y0, reverse, shape,
    ):  # fmt: skip
        T, H = shape
        n, threads, wide = uint32(cuda.blockIdx.x), uint32(cuda.blockDim.x), uint32(4 * H)
        length, sample, s = uint32(lengths[l0 + n]), uint32(n * T * H), uint32(0)
        before = uint32(0)
        while s < length:
            here = uint32(sample + _step(s, length, reverse) * H)
            j = uint32(cuda.threadIdx.x)
            while j < H:
                cell = c0[c00 + n * H + j] if s == 0 else c[uint32(cells + before + j)]
                # Each gate's product in turn: the gate is at once where backward wants it, and no register is.
                q = uint32(0)
                while q < 4:
                    unit = uint32(q * H + j)
                    if s == 0:
                        a = product(h0, uint32(h00 + n * H), turned, uint32(w0 + unit), H, wide)
                    else:
                        a = product(y, uint32(y0 + before), turned, uint32(w0 + unit), H, wide)
                    a += x[uint32(x0 + 4 * here + unit)]
                    gates[uint32(g0 + 4 * here + unit)] = tanh(a) if q == 2 else sigmoid(a)
                    q = uint32(q + 1)
                place = uint32(g0 + 4 * here + j)
                i, f = gates[place], gates[uint32(place + H)]
                g, o = gates[uint32(place + 2 * H)], gates[uint32(place + 3 * H)]
                cell = f * cell + i * g
                c[uint32(cells + here + j)] = cell
                y[uint32(y0 + here + j)] = o * tanh(cell)
                j = uint32(j + threads)
            cuda.syncthreads()
            before, s = here, uint32(s + 1)
        behind, end = uint32(sample + length * H), uint32(sample + T * H)
        clear(gates, uint32(g0 + 4 * behind), uint32(g0 + 4 * end))
        clear(c, uint32(cells + behind), uint32(cells + end))
        clear(y, uint32(y0 + behind), uint32(y0 + end))

    return kernel


def lstm_backward(dy, dc, gates, c, c0, weight, lengths, reverse, dx, dh0, dc0):
    """One block owns one sample, from its last step to the first. Writes dx (N, T, 4 H), dh0 and dc0 (N, H)."""
    arrays = places(dy, dc, gates, c, c0, weight, lengths, dx, dh0, dc0)
    _samples(_lstm_backward(dy.dtype), dy, *arrays, reverse)


@functools.cache
def _lstm_backward(dtype):
    product, clear, zero, one = _product(dtype), _clear(dtype), dtype.type(0), dtype.type(1)
    tanh = device(scalar.tanh(dtype.type))

    @cuda.jit
    def kernel(
        dy, dy0, dc, dc0, gates, g0, c, cells, c0, c00, weight, w0, lengths, l0, dx, dx0, dh0, dh00, dcell0, dcell00,
        reverse, shape,
    ):  # fmt: skip
        T, H = shape
        n, threads, wide = uint32(cuda.blockIdx.x), uint32(cuda.blockDim.x), uint32(4 * H)
        length, sample = uint32(lengths[l0 + n]), uint32(n * T * H)
        s, after = length, uint32(0)
        while s > 0:
            s = uint32(s - 1)
            here = uint32(sample + _step(s, length, reverse) * H)
            j = uint32(cuda.threadIdx.x)
            while j < H:
                kept = uint32(dcell00 + n * H + j)  # what reaches the cell from the step after waits there
                dh, dcell = dy[uint32(dy0 + here + j)], dc[uint32(dc0 + here + j)]
                if s + 1 < length:
                    dh += product(dx, after, weight, uint32(w0 + j), wide, H)
                    dcell += dcell0[kept]
                place = uint32(g0 + 4 * here + j)
                i, f = gates[place], gates[uint32(place + H)]
                g, o = gates[uint32(place + 2 * H)], gates[uint32(place + 3 * H)]
                if s == 0:
                    before = c0[c00 + n * H + j]
                else:
                    before = c[uint32(cells + sample + _step(uint32(s - 1), length, reverse) * H + j)]
                bent = tanh(c[uint32(cells + here + j)])
                dcell += dh * o * (one - bent * bent)
                place = uint32(dx0 + 4 * here + j)
                dx[place] = dcell * g * (i * (one - i))
                dx[uint32(place + H)] = dcell * before * (f * (one - f))
                dx[uint32(place + 2 * H)] = dcell * i * (one - g * g)
                dx[uint32(place + 3 * H)] = dh * bent * (o * (one - o))
                dcell0[kept] = dcell * f
                j = uint32(j + threads)
            cuda.syncthreads()
            after = uint32(dx0 + 4 * here)
        j = uint32(cuda.threadIdx.x)
        while j < H:
            dh0[dh00 + n * H + j] = product(dx, after, weight, uint32(w0 + j), wide, H) if length > 0 else zero
            if length == 0:
                dcell0[dcell00 + n * H + j] = zero
            j = uint32(j + threads)
        clear(dx, uint32(dx0 + 4 * (sample + length * H)), uint32(dx0 + 4 * (sample + T * H)))

    return kernel
