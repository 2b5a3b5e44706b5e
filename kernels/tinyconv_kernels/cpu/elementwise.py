"""Elementwise kernels as NumPy ufuncs that write straight into ``out``; definition: ``reference/elementwise.py``.

NumPy's loops are vectorised and need no compilation. Exceptions, in Numba: what picks one of two values (NumPy's masked
writes take ten times longer than a compiled select), threads for the ReLU family, which runs over every activation, and
what takes several ufuncs, hence several passes over memory, where the array is large: sigmoid and the derivatives of
sigmoid and tanh (4.6 million elements on one core: 15 ms as four ufuncs, 4 ms as one loop).
"""

import numpy as np
from numba import njit

from tinyconv_kernels.cpu._exp import exp_negative
from tinyconv_kernels.cpu._share import share, threads_for

# log(0), x / 0 and an overflowing exp have IEEE results that are wanted as they are (as in PyTorch).
_quiet = np.errstate(all="ignore")

# Elements from which one compiled loop beats several ufuncs by enough to be worth a second of compiling, once.
_LARGE = 1 << 17


def neg(x, out):
    """Writes out = -x."""
    np.negative(x, out=out)


@_quiet
def exp(x, out):
    """Writes out = e^x."""
    np.exp(x, out=out)


@_quiet
def log(x, out):
    """Writes out = ln x."""
    np.log(x, out=out)


@_quiet
def sqrt(x, out):
    """Writes out = the square root of x."""
    np.sqrt(x, out=out)


def abs(x, out):  # noqa: A001 - the kernel's name is the op's name
    """Writes out = |x|."""
    np.absolute(x, out=out)


@_quiet
def sign(x, out):
    """Writes out = -1, 0 or 1, NaN for NaN."""
    np.sign(x, out=out)


@_quiet
def sin(x, out):
    """Writes out = sin x."""
    np.sin(x, out=out)


@_quiet
def cos(x, out):
    """Writes out = cos x."""
    np.cos(x, out=out)


def tanh(x, out):
    """Writes out = tanh x."""
    np.tanh(x, out=out)


@_quiet
def sigmoid(x, out):
    """One thread owns a run of elements. Writes out = 1 / (1 + e^-x), also used as the accumulator."""
    if x.size >= _LARGE and _one_pass(_sigmoid, x, out):
        return
    np.negative(x, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
    np.reciprocal(out, out=out)


@njit(cache=True, nogil=True, error_model="numpy")
def _sigmoid(start, stop, x, out):
    one, x, out = x.dtype.type(1), x[start:stop], out[start:stop]
    for i in range(x.size):
        small = exp_negative(-np.abs(x[i]))  # cannot overflow
        out[i] = (one if x[i] > 0 else small) / (one + small)


def _one_pass(loop, *arrays, scalars=()):
    """Run a compiled loop over the elements if the arrays lie alike in memory; return whether it was done."""
    first = arrays[0]
    if not all(a.flags.c_contiguous and a.shape == first.shape and a.dtype == first.dtype for a in arrays):
        return False
    share(threads_for(first.size), loop, first.size, *[a.reshape(-1) for a in arrays], *scalars)
    return True


def relu(x, out):
    """One thread owns a run of elements. Writes out = max(x, 0)."""
    if x.size < _LARGE or not _one_pass(_relu, x, out):
        np.maximum(x, 0, out=out)


@njit(cache=True, nogil=True)
def _relu(start, stop, x, out):
    zero, x, out = x.dtype.type(0), x[start:stop], out[start:stop]
    for i in range(x.size):
        out[i] = zero if x[i] <= zero else x[i]  # a NaN is not <= 0 and passes


@_quiet
def softplus(x, out):
    """Writes out = ln(1 + e^x) as max(x, 0) + ln(1 + e^-|x|), which cannot overflow."""
    positive = np.maximum(x, 0)  # np.logaddexp would need no temporary, but is not vectorised: twenty times slower
    np.absolute(x, out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.log1p(out, out=out)
    np.add(out, positive, out=out)


def isnan(x, out):
    """Writes out (bool)."""
    np.isnan(x, out=out)


def floor(x, out):
    """Writes out = the largest whole number not above x."""
    np.floor(x, out=out)


@_quiet
def add(x, y, out):
    """Writes out = x + y."""
    np.add(x, y, out=out)


@_quiet
def sub(x, y, out):
    """Writes out = x - y."""
    np.subtract(x, y, out=out)


@_quiet
def mul(x, y, out):
    """Writes out = x y."""
    np.multiply(x, y, out=out)


@_quiet
def div(x, y, out):
    """Writes out = x / y."""
    np.true_divide(x, y, out=out)


@_quiet
def pow(x, y, out):  # noqa: A001
    """Writes out = x^y."""
    if isinstance(y, (int, float)) and y == 2:  # twenty times faster than the general power
        np.square(x, out=out)
    else:
        np.power(x, y, out=out)


def maximum(x, y, out):
    """Writes out = the larger of x and y, NaN if either is NaN."""
    np.maximum(x, y, out=out)


def minimum(x, y, out):
    """Writes out = the smaller of x and y, NaN if either is NaN."""
    np.minimum(x, y, out=out)


def eq(x, y, out):
    """Writes out (bool) = x == y."""
    np.equal(x, y, out=out)


def ne(x, y, out):
    """Writes out (bool) = x != y."""
    np.not_equal(x, y, out=out)


def lt(x, y, out):
    """Writes out (bool) = x < y."""
    np.less(x, y, out=out)


def le(x, y, out):
    """Writes out (bool) = x <= y."""
    np.less_equal(x, y, out=out)


def gt(x, y, out):
    """Writes out (bool) = x > y."""
    np.greater(x, y, out=out)


def ge(x, y, out):
    """Writes out (bool) = x >= y."""
    np.greater_equal(x, y, out=out)


def logical_and(x, y, out):
    """Writes out (bool)."""
    np.logical_and(x, y, out=out)


def logical_or(x, y, out):
    """Writes out (bool)."""
    np.logical_or(x, y, out=out)


def logical_not(x, out):
    """Writes out (bool)."""
    np.logical_not(x, out=out)


def where(condition, x, y, out):
    """Writes out = x where the condition (bool) holds, y elsewhere; out must not share memory with an input."""
    np.copyto(out, y)
    np.copyto(out, x, where=condition)


@_quiet
def copy(x, out):
    """Writes out = x in out's dtype."""
    np.copyto(out, x, casting="unsafe")


def fill(out, value):
    """Writes out = value."""
    out[...] = value


def clamp(x, out, low, high):
    """Writes out = min(max(x, low), high); a bound may be None."""
    if low is not None:
        np.maximum(x, low, out=out)
        x = out
    if high is not None:
        np.minimum(x, high, out=out)
    elif x is not out:
        np.copyto(out, x)


def relu_backward(dy, y, dx):
    """One thread owns a run of elements. Writes dx = 0 where y <= 0, dy elsewhere."""
    if not _one_pass(_relu_backward, dy, y, dx):
        where(y <= 0, 0, dy, dx)


@njit(cache=True, nogil=True)
def _relu_backward(start, stop, dy, y, dx):
    zero, dy, y, dx = dy.dtype.type(0), dy[start:stop], y[start:stop], dx[start:stop]
    for i in range(dy.size):
        dx[i] = zero if y[i] <= zero else dy[i]


def leaky_relu(x, out, slope):
    """One thread owns a run of elements. Writes out = x where x > 0, slope x elsewhere."""
    _leaky(x, x, out, slope)


def leaky_relu_backward(dy, x, dx, slope):
    """One thread owns a run of elements. Writes dx = dy where x > 0, slope dy elsewhere."""
    _leaky(dy, x, dx, slope)


@_quiet
def _leaky(values, x, out, slope):
    slope = x.dtype.type(slope)
    if not _one_pass(_leaky_loop, values, x, out, scalars=(slope,)):
        out[...] = np.where(x > 0, values, slope * values)


@njit(cache=True, nogil=True)
def _leaky_loop(start, stop, values, x, out, slope):
    values, x, out = values[start:stop], x[start:stop], out[start:stop]
    for i in range(x.size):
        out[i] = values[i] if x[i] > 0 else slope * values[i]


@_quiet
def tanh_backward(dy, y, dx):
    """One thread owns a run of elements. Writes dx = dy (1 - y^2); dx must not share memory with an input."""
    if y.size >= _LARGE and _one_pass(_tanh_backward, dy, y, dx):
        return
    np.multiply(y, y, out=dx)
    np.subtract(1, dx, out=dx)
    np.multiply(dy, dx, out=dx)


@njit(cache=True, nogil=True)
def _tanh_backward(start, stop, dy, y, dx):
    one, dy, y, dx = y.dtype.type(1), dy[start:stop], y[start:stop], dx[start:stop]
    for i in range(y.size):
        dx[i] = dy[i] * (one - y[i] * y[i])


@_quiet
def sigmoid_backward(dy, y, dx):
    """One thread owns a run of elements. Writes dx = dy y (1 - y); dx must not share memory with an input."""
    if y.size >= _LARGE and _one_pass(_sigmoid_backward, dy, y, dx):
        return
    np.subtract(1, y, out=dx)
    np.multiply(y, dx, out=dx)
    np.multiply(dy, dx, out=dx)


@njit(cache=True, nogil=True)
def _sigmoid_backward(start, stop, dy, y, dx):
    one, dy, y, dx = y.dtype.type(1), dy[start:stop], y[start:stop], dx[start:stop]
    for i in range(y.size):
        dx[i] = dy[i] * (y[i] * (one - y[i]))


@_quiet
def softplus_backward(dy, x, dx):
    """Writes dx = dy sigmoid(x); dx must not share memory with dy."""
    sigmoid(x, dx)
    np.multiply(dy, dx, out=dx)
