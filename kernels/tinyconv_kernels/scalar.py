"""What an elementwise kernel does with one element: ``FUNCTION(real)`` returns a function of numbers of that dtype.

A constant must have the elements' dtype, or float32 arithmetic would become float64; hence the outer function. For
devices that compile them (``cuda/elementwise.py``); on the CPU NumPy's own loops are faster.
"""

import math

import numpy as np
from numba import config

# Numba CUDA compiles math's functions only. In the simulator, that is in Python, those raise where a GPU gives infinity
# or NaN; NumPy's do not.
_from = np if config.ENABLE_CUDASIM else math
exp_of, log_of, sqrt_of, sin_of, cos_of = _from.exp, _from.log, _from.sqrt, _from.sin, _from.cos
tanh_of, floor_of, log1p_of = _from.tanh, _from.floor, _from.log1p


def neg(real):
    return lambda x: -x


def exp(real):
    return lambda x: exp_of(x)


def log(real):
    return lambda x: log_of(x)


def sqrt(real):
    return lambda x: sqrt_of(x)


def sin(real):
    return lambda x: sin_of(x)


def cos(real):
    return lambda x: cos_of(x)


def tanh(real):
    return lambda x: tanh_of(x)


def floor(real):
    return lambda x: floor_of(x)


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
    return lambda x: one / (one + exp_of(-x))


def softplus(real):
    zero = real(0)
    return lambda x: (x if x > zero else zero) + log1p_of(exp_of(-x if x > zero else x)) if x == x else x


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


def whole_pow(real):
    """By squaring: for x**y of whole numbers Numba CUDA computes in float64, which is wrong above 2^53."""
    one, none = real(1), real(0)

    def power(x, y):
        result = one
        while y > none:
            if y & one:
                result = real(result * x)
            x, y = real(x * x), real(y >> one)
        return result

    return power


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
    return lambda dy, x: dy / (one + exp_of(-x))


def leaky_relu(real):
    zero = real(0)
    return lambda x, slope: x if x > zero else slope * x


def leaky_relu_backward(real):
    zero = real(0)
    return lambda dy, x, slope: dy if x > zero else slope * dy


def where(real):
    return lambda condition, x, y: x if condition else y
