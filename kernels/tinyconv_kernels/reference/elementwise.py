"""Elementwise kernels, defined: one formula each, under NumPy's broadcasting; x or y may be a Python number.

NaN in gives NaN out. The IEEE results log(0) = -inf, 1 / 0 = inf, sqrt(-1) = NaN come without a warning, as in PyTorch.
"""

import numpy as np

_quiet = np.errstate(all="ignore")


def neg(x, out):
    """Each element on its own. Writes out = -x."""
    out[...] = -x


@_quiet
def exp(x, out):
    """Each element on its own. Writes out = e^x."""
    out[...] = np.exp(x)


@_quiet
def log(x, out):
    """Each element on its own. Writes out = ln x: -inf at 0, NaN below."""
    out[...] = np.log(x)


@_quiet
def sqrt(x, out):
    """Each element on its own. Writes out = the square root of x, NaN below 0."""
    out[...] = np.sqrt(x)


def abs(x, out):  # noqa: A001 - the kernel's name is the op's name
    """Each element on its own. Writes out = |x|."""
    out[...] = np.abs(x)


@_quiet
def sign(x, out):
    """Each element on its own. Writes out = -1, 0 or 1; NaN stays NaN (PyTorch gives 0)."""
    out[...] = np.sign(x)


@_quiet
def sin(x, out):
    """Each element on its own. Writes out = sin x, x in radians."""
    out[...] = np.sin(x)


@_quiet
def cos(x, out):
    """Each element on its own. Writes out = cos x, x in radians."""
    out[...] = np.cos(x)


def tanh(x, out):
    """Each element on its own. Writes out = tanh x."""
    out[...] = np.tanh(x)


@_quiet
def sigmoid(x, out):
    """Each element on its own. Writes out = 1 / (1 + e^-x); e^1000 = inf gives the right 0."""
    out[...] = 1 / (1 + np.exp(-x))


def relu(x, out):
    """Each element on its own. Writes out = max(x, 0) (Krizhevsky et al. 2012, sec. 3.1)."""
    out[...] = np.maximum(x, 0)


def softplus(x, out):
    """Each element on its own. Writes out = ln(1 + e^x) as max(x, 0) + ln(1 + e^-|x|), which cannot overflow."""
    out[...] = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def isnan(x, out):
    """Each element on its own. Writes out (bool) = whether x is NaN."""
    out[...] = np.isnan(x)


def floor(x, out):
    """Each element on its own. Writes out = the largest whole number not above x."""
    out[...] = np.floor(x)


@_quiet
def add(x, y, out):
    """Each element on its own. Writes out = x + y."""
    out[...] = x + y


@_quiet
def sub(x, y, out):
    """Each element on its own. Writes out = x - y."""
    out[...] = x - y


@_quiet
def mul(x, y, out):
    """Each element on its own. Writes out = x y."""
    out[...] = x * y


@_quiet
def div(x, y, out):
    """Each element on its own. Writes out = x / y; 1 / 0 is inf, 0 / 0 NaN."""
    out[...] = x / y


@_quiet
def pow(x, y, out):  # noqa: A001
    """Each element on its own. Writes out = x^y; NaN for a negative x and a fractional y."""
    out[...] = x**y


def maximum(x, y, out):
    """Each element on its own. Writes out = the larger of x and y, NaN if either is NaN."""
    out[...] = np.maximum(x, y)


def minimum(x, y, out):
    """Each element on its own. Writes out = the smaller of x and y, NaN if either is NaN."""
    out[...] = np.minimum(x, y)


def eq(x, y, out):
    """Each element on its own. Writes out (bool) = whether x equals y; NaN equals nothing."""
    out[...] = np.equal(x, y)


def ne(x, y, out):
    """Each element on its own. Writes out (bool) = whether x differs from y."""
    out[...] = np.not_equal(x, y)


def lt(x, y, out):
    """Each element on its own. Writes out (bool) = whether x < y."""
    out[...] = np.less(x, y)


def le(x, y, out):
    """Each element on its own. Writes out (bool) = whether x <= y."""
    out[...] = np.less_equal(x, y)


def gt(x, y, out):
    """Each element on its own. Writes out (bool) = whether x > y."""
    out[...] = np.greater(x, y)


def ge(x, y, out):
    """Each element on its own. Writes out (bool) = whether x >= y."""
    out[...] = np.greater_equal(x, y)


def logical_and(x, y, out):
    """Each element on its own. Writes out (bool) = whether both are true (not zero)."""
    out[...] = np.logical_and(x, y)


def logical_or(x, y, out):
    """Each element on its own. Writes out (bool) = whether one is true (not zero)."""
    out[...] = np.logical_or(x, y)


def logical_not(x, out):
    """Each element on its own. Writes out (bool) = whether x is false (zero)."""
    out[...] = np.logical_not(x)


def where(condition, x, y, out):
    """Each element on its own. Writes out = x where the condition (bool) holds, y elsewhere."""
    out[...] = np.where(condition, x, y)


@_quiet
def copy(x, out):
    """Each element on its own. Writes out = x in out's dtype (floats are cut to whole numbers for an integer out)."""
    out[...] = np.asarray(x).astype(out.dtype)


def fill(out, value):
    """Each element on its own. Writes out = value."""
    out[...] = value


def clamp(x, out, low, high):
    """Each element on its own. Writes out = min(max(x, low), high); a bound may be None."""
    out[...] = x
    if low is not None:
        out[...] = np.maximum(out, low)
    if high is not None:
        out[...] = np.minimum(out, high)


def relu_backward(dy, y, dx):
    """Each element on its own. Writes dx = 0 where y <= 0 (relu'(0) = 0), dy elsewhere, also at NaN, as PyTorch."""
    dx[...] = np.where(y <= 0, 0, dy)


@_quiet
def leaky_relu(x, out, slope):
    """Each element on its own. Writes out = x where x > 0, slope x elsewhere (Maas et al. 2013, eq. 2)."""
    out[...] = np.where(x > 0, x, slope * x)


@_quiet
def leaky_relu_backward(dy, x, dx, slope):
    """Each element on its own. Writes dx = dy where x > 0, slope dy elsewhere."""
    dx[...] = np.where(x > 0, dy, slope * dy)


@_quiet
def tanh_backward(dy, y, dx):
    """Each element on its own. Writes dx = dy (1 - y^2), y = tanh x."""
    dx[...] = dy * (1 - y * y)


@_quiet
def sigmoid_backward(dy, y, dx):
    """Each element on its own. Writes dx = dy y (1 - y), y = sigmoid x."""
    dx[...] = dy * y * (1 - y)


@_quiet
def softplus_backward(dy, x, dx):
    """Each element on its own. Writes dx = dy sigmoid(x)."""
    dx[...] = dy / (1 + np.exp(-x))
