"""Elementwise kernels: one thread per element, under broadcasting; definition: ``reference/elementwise.py``.

One kernel is made for each function of ``scalar.py``, dtype and number of axes; those that follow each other in memory
are joined first (``cuda/_strided.py``). An operand is an array or a Python number. Where all arrays have one shape and
no gaps, as nearly always in training, another kernel takes no sizes and steps: Numba spends more time on a launch's
arguments than a GPU on a small array.
"""

import functools

import numpy as np
from numba import from_dtype, uint32

from tinyconv_kernels import scalar
from tinyconv_kernels.cuda import launch, memory
from tinyconv_kernels.cuda._cuda import cuda, device
from tinyconv_kernels.cuda._strided import is_array, joined, number, overlapping, place, steps_in


def _run(name, operands, out, compute=None):
    """Write out = the function of ``scalar.py`` of the operands, which are converted to ``compute`` (out's) first."""
    if out.size == 0:
        return
    memory.written(out)
    compute = out.dtype if compute is None else np.dtype(compute)
    kinds = tuple(map(is_array, operands))
    if all(_beside(a, out) for a, kind in zip(operands, kinds, strict=True) if kind) and out.is_dense():
        values = [part for a in operands for part in _place(a, compute)]
        kernel = _dense_kernel(name, compute, kinds)
        return launch.each(kernel, out.size, *values, memory.flat(out), out.offset, out.size)
    operands, steps = _readable(operands, out)
    sizes, steps = joined(out.shape, *steps, out.steps)
    kernel = _kernel(name, compute, kinds, len(sizes))
    values = [part for a, step in zip(operands, steps, strict=False) for part in (*_place(a, compute), step)]
    launch.each(kernel, out.size, *values, memory.flat(out), out.offset, steps[-1], sizes, out.size)


def _beside(x, out):
    """Whether x has out's shape, no gaps, and no element that is another one of out."""
    return x.shape == out.shape and x.is_dense() and (x.block is not out.block or x.offset == out.offset)


def _place(operand, compute):
    """Return (memory, number of the first element) of an array, (number, 0) of a number."""
    if is_array(operand):
        return memory.flat(operand), operand.offset
    return number(operand, compute), 0


def _readable(operands, out):
    """Return the operands and their steps; a copy of one that another thread might overwrite first (x[1:] = x[:-1])."""
    steps = [steps_in(a, out.shape) for a in operands]
    if any(is_array(a) and overlapping(a, s, out) for a, s in zip(operands, steps, strict=True)):
        operands = [a.copy() if is_array(a) and a.block is out.block else a for a in operands]
        steps = [steps_in(a, out.shape) for a in operands]
    return operands, steps


@functools.cache
def _kernel(name, compute, kinds, axes):
    function, real, at = device(getattr(scalar, name)(compute.type)), from_dtype(compute), place(axes)
    return _ARITY[len(kinds)](function, at, *(_reader(kind, real) for kind in kinds))


@functools.cache
def _dense_kernel(name, compute, kinds):
    function, real = device(getattr(scalar, name)(compute.type)), from_dtype(compute)
    return _DENSE[len(kinds)](function, *(_reader(kind, real) for kind in kinds))


def _reader(kind, real):
    """Return how a kernel gets an operand: out of an array, or as it is."""
    if not kind:
        return device(lambda x, i: x)
    return device(lambda x, i: real(x[i]))


def _one(function, at, get):
    @cuda.jit
    def kernel(x, x0, xs, out, out0, outs, sizes, count):
        i = uint32(cuda.grid(1))
        if i < count:
            out[uint32(out0 + at(i, sizes, outs))] = function(get(x, uint32(x0 + at(i, sizes, xs))))

    return kernel


def _two(function, at, get_x, get_y):
    @cuda.jit
    def kernel(x, x0, xs, y, y0, ys, out, out0, outs, sizes, count):
        i = uint32(cuda.grid(1))
        if i < count:
            first, second = get_x(x, uint32(x0 + at(i, sizes, xs))), get_y(y, uint32(y0 + at(i, sizes, ys)))
            out[uint32(out0 + at(i, sizes, outs))] = function(first, second)

    return kernel


def _three(function, at, get_x, get_y, get_z):
    @cuda.jit
    def kernel(x, x0, xs, y, y0, ys, z, z0, zs, out, out0, outs, sizes, count):
        i = uint32(cuda.grid(1))
        if i < count:
            first, second = get_x(x, uint32(x0 + at(i, sizes, xs))), get_y(y, uint32(y0 + at(i, sizes, ys)))
            out[uint32(out0 + at(i, sizes, outs))] = function(first, second, get_z(z, uint32(z0 + at(i, sizes, zs))))

    return kernel


_ARITY = {1: _one, 2: _two, 3: _three}


def _dense_one(function, get):
    @cuda.jit
    def kernel(x, x0, out, out0, count):
        i = uint32(cuda.grid(1))
        if i < count:
            out[uint32(out0 + i)] = function(get(x, uint32(x0 + i)))

    return kernel


def _dense_two(function, get_x, get_y):
    @cuda.jit
    def kernel(x, x0, y, y0, out, out0, count):
        i = uint32(cuda.grid(1))
        if i < count:
            out[uint32(out0 + i)] = function(get_x(x, uint32(x0 + i)), get_y(y, uint32(y0 + i)))

    return kernel


def _dense_three(function, get_x, get_y, get_z):
    @cuda.jit
    def kernel(x, x0, y, y0, z, z0, out, out0, count):
        i = uint32(cuda.grid(1))
        if i < count:
            first, second = get_x(x, uint32(x0 + i)), get_y(y, uint32(y0 + i))
            out[uint32(out0 + i)] = function(first, second, get_z(z, uint32(z0 + i)))

    return kernel


_DENSE = {1: _dense_one, 2: _dense_two, 3: _dense_three}


def _common(*operands):
    """Return the dtype in which operands are compared."""
    return np.result_type(*(a.dtype if is_array(a) else a for a in operands))


def neg(x, out):
    """One thread owns one element. Writes out = -x."""
    _run("neg", (x,), out)


def exp(x, out):
    """One thread owns one element. Writes out = e^x."""
    _run("exp", (x,), out)


def log(x, out):
    """One thread owns one element. Writes out = ln x: -inf at 0, NaN below."""
    _run("log", (x,), out)


def sqrt(x, out):
    """One thread owns one element. Writes out = the square root of x, NaN below 0."""
    _run("sqrt", (x,), out)


def abs(x, out):  # noqa: A001
    """One thread owns one element. Writes out = |x|."""
    _run("abs", (x,), out)


def sign(x, out):
    """One thread owns one element. Writes out = -1, 0 or 1; NaN stays NaN (PyTorch gives 0)."""
    _run("sign", (x,), out)


def sin(x, out):
    """One thread owns one element. Writes out = sin x, x in radians."""
    _run("sin", (x,), out)


def cos(x, out):
    """One thread owns one element. Writes out = cos x, x in radians."""
    _run("cos", (x,), out)


def tanh(x, out):
    """One thread owns one element. Writes out = tanh x."""
    _run("tanh", (x,), out)


def sigmoid(x, out):
    """One thread owns one element. Writes out = 1 / (1 + e^-x); e^1000 = inf gives the right 0."""
    _run("sigmoid", (x,), out)


def relu(x, out):
    """One thread owns one element. Writes out = max(x, 0) (Krizhevsky et al. 2012, sec. 3.1)."""
    _run("relu", (x,), out)


def softplus(x, out):
    """One thread owns one element. Writes out = ln(1 + e^x) as max(x, 0) + ln(1 + e^-|x|), which cannot overflow."""
    _run("softplus", (x,), out)


def isnan(x, out):
    """One thread owns one element. Writes out (bool) = whether x is NaN."""
    _run("isnan", (x,), out, x.dtype)


def floor(x, out):
    """One thread owns one element. Writes out = the largest whole number not above x."""
    _run("floor", (x,), out)


def add(x, y, out):
    """One thread owns one element. Writes out = x + y."""
    _run("add", (x, y), out)


def sub(x, y, out):
    """One thread owns one element. Writes out = x - y."""
    _run("sub", (x, y), out)


def mul(x, y, out):
    """One thread owns one element. Writes out = x y."""
    _run("mul", (x, y), out)


def div(x, y, out):
    """One thread owns one element. Writes out = x / y; 1 / 0 is inf, 0 / 0 NaN."""
    _run("div", (x, y), out)


def pow(x, y, out):  # noqa: A001
    """One thread owns one element. Writes out = x^y; NaN for a negative x and a fractional y."""
    _run("whole_pow" if out.dtype.kind in "iu" else "pow", (x, y), out)


def maximum(x, y, out):
    """One thread owns one element. Writes out = the larger of x and y, NaN if either is NaN."""
    _run("maximum", (x, y), out)


def minimum(x, y, out):
    """One thread owns one element. Writes out = the smaller of x and y, NaN if either is NaN."""
    _run("minimum", (x, y), out)


def eq(x, y, out):
    """One thread owns one element. Writes out (bool) = whether x equals y; NaN equals nothing."""
    _run("eq", (x, y), out, _common(x, y))


def ne(x, y, out):
    """One thread owns one element. Writes out (bool) = whether x differs from y."""
    _run("ne", (x, y), out, _common(x, y))


def lt(x, y, out):
    """One thread owns one element. Writes out (bool) = whether x < y."""
    _run("lt", (x, y), out, _common(x, y))


def le(x, y, out):
    """One thread owns one element. Writes out (bool) = whether x <= y."""
    _run("le", (x, y), out, _common(x, y))


def gt(x, y, out):
    """One thread owns one element. Writes out (bool) = whether x > y."""
    _run("gt", (x, y), out, _common(x, y))


def ge(x, y, out):
    """One thread owns one element. Writes out (bool) = whether x >= y."""
    _run("ge", (x, y), out, _common(x, y))


def logical_and(x, y, out):
    """One thread owns one element. Writes out (bool) = whether both are true (not zero)."""
    _run("logical_and", (x, y), out, _common(x, y))


def logical_or(x, y, out):
    """One thread owns one element. Writes out (bool) = whether one is true (not zero)."""
    _run("logical_or", (x, y), out, _common(x, y))


def logical_not(x, out):
    """One thread owns one element. Writes out (bool) = whether x is false (zero)."""
    _run("logical_not", (x,), out, x.dtype)


def where(condition, x, y, out):
    """One thread owns one element. Writes out = x where the condition (bool) holds, y elsewhere."""
    _run("where", (condition, x, y), out)


def copy(x, out):
    """One thread owns one element. Writes out = x in out's dtype (floats are cut to whole numbers for integers)."""
    boolean = out.dtype == np.bool_
    _run("nonzero" if boolean else "same", (x,), out, _common(x))


def fill(out, value):
    """One thread owns one element. Writes out = value."""
    _run("same", (value,), out)


def clamp(x, out, low, high):
    """One thread owns one element. Writes out = min(max(x, low), high); a bound may be None."""
    if low is None and high is None:
        copy(x, out)
    if low is not None:
        maximum(x, low, out)
        x = out
    if high is not None:
        minimum(x, high, out)


def relu_backward(dy, y, dx):
    """One thread owns one element. Writes dx = 0 where y <= 0 (relu'(0) = 0), dy elsewhere, also at NaN, as PyTorch."""
    _run("relu_backward", (dy, y), dx)


def leaky_relu(x, out, slope):
    """One thread owns one element. Writes out = x where x > 0, slope x elsewhere (Maas et al. 2013, eq. 2)."""
    _run("leaky_relu", (x, slope), out)


def leaky_relu_backward(dy, x, dx, slope):
    """One thread owns one element. Writes dx = dy where x > 0, slope dy elsewhere."""
    _run("leaky_relu_backward", (dy, x, slope), dx)


def tanh_backward(dy, y, dx):
    """One thread owns one element. Writes dx = dy (1 - y^2), y = tanh x."""
    _run("tanh_backward", (dy, y), dx)


def sigmoid_backward(dy, y, dx):
    """One thread owns one element. Writes dx = dy y (1 - y), y = sigmoid x."""
    _run("sigmoid_backward", (dy, y), dx)


def softplus_backward(dy, x, dx):
    """One thread owns one element. Writes dx = dy sigmoid(x)."""
    _run("softplus_backward", (dy, x), dx)
