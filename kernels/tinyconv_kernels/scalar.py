"""What an elementwise kernel does with one element: ``FUNCTION(real)`` returns a function of numbers of that dtype.

A constant must have the elements' dtype, or float32 arithmetic would become float64; hence the outer function. NumPy's
functions are used, not math's, which raise in Python where a GPU gives infinity or NaN. For devices that compile them
(``cuda/elementwise.py``); on the CPU NumPy's own loops are faster.
"""

import numpy as np


def neg(real):
    return lambda x: -x


def exp(real):
    return lambda x: np.exp(x)


def log(real):
    return lambda x: np.log(x)


def sqrt(real):
    return lambda x: np.sqrt(x)


def sin(real):
    return lambda x: np.sin(x)


def cos(real):
    return lambda x: np.cos(x)


def tanh(real):
    return lambda x: np.tanh(x)


def floor(real):
    return lambda x: np.floor(x)


def same(real):
    return lambda x: x


def isnan(real):
    return lambda x: x != x


def abs(real):  # noqa: A001
    zero = real(0)
    return lambda x: x if x > zero else zero - x  # |-0.0| is 0.0


def sign(real):
    zero, one = real(0), real(1)
    return lambda x: one if x > zero else (zero - one if x < zero else x)  # 0 and NaN stay


def relu(real):
    zero = real(0)
    return lambda x: zero if x <= zero else x


def sigmoid(real):
    one = real(1)
    return lambda x: one / (one + np.exp(-x))


def softplus(real):
    zero = real(0)
    return lambda x: (x if x > zero else zero) + np.log1p(np.exp(-x if x > zero else x)) if x == x else x


def nonzero(real):
    zero = real(0)
    return lambda x: x != zero


def logical_not(real):
    zero = real(0)
    return lambda x: x == zero


def add(real):
    return lambda x, y: x + y


def sub(real):
    return lambda x, y: x - y


def mul(real):
    return lambda x, y: x * y


def div(real):
    return lambda x, y: x / y


def pow(real):  # noqa: A001
    return lambda x, y: x**y


def maximum(real):
    return lambda x, y: x if x != x or x > y else y


def minimum(real):
    return lambda x, y: x if x != x or x < y else y


def eq(real):
    return lambda x, y: x == y


def ne(real):
    return lambda x, y: x != y


def lt(real):
    return lambda x, y: x < y


def le(real):
    return lambda x, y: x <= y


def gt(real):
    return lambda x, y: x > y


def ge(real):
    return lambda x, y: x >= y


def logical_and(real):
    zero = real(0)
    return lambda x, y: x != zero and y != zero


def logical_or(real):
    zero = real(0)
    return lambda x, y: x != zero or y != zero


def relu_backward(real):
    zero = real(0)
    return lambda dy, y: zero if y <= zero else dy


def tanh_backward(real):
    one = real(1)
    return lambda dy, y: dy * (one - y * y)


def sigmoid_backward(real):
    one = real(1)
    return lambda dy, y: dy * (y * (one - y))


def softplus_backward(real):
    one = real(1)
    return lambda dy, x: dy / (one + np.exp(-x))


def leaky_relu(real):
    zero = real(0)
    return lambda x, slope: x if x > zero else slope * x


def leaky_relu_backward(real):
    zero = real(0)
    return lambda dy, x, slope: dy if x > zero else slope * dy


def where(real):
    return lambda condition, x, y: x if condition else y
