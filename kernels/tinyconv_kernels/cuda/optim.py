"""One step of each optimiser in one pass over memory; definition and sources: ``reference/optim.py``.

A step does a few operations for each number it reads: every array is read and written once, whatever the options. These
are arguments, not kernels of their own, since all threads take the same branch. Scalars get the parameter's dtype on
the host: a float64 among them would make the kernel compute in float64.
"""

import numpy as np
from numba import uint32

from tinyconv_kernels.cuda import launch, memory
from tinyconv_kernels.cuda._cuda import cuda
from tinyconv_kernels.scalar import sqrt_of as sqrt


@np.errstate(all="ignore")  # a number above float32's largest becomes infinite without a warning, as in a kernel
def _launch(kernel, arrays, scalars, flags=()):
    """Run one thread per element. The parameter stands in for an absent array (None), which the flags keep unread."""
    param = arrays[0]
    places = [part for a in arrays for part in _place(param if a is None else a)]
    launch.each(kernel, param.size, *places, *map(param.dtype.type, scalars), *map(bool, flags), param.size)


def _place(array):
    return memory.flat(array), array.offset


def sgd_step(param, grad, velocity, lr, momentum, dampening, weight_decay, nesterov, first):
    """One thread owns one element. Writes param and velocity (None without momentum)."""
    scalars = lr, momentum, 1 - dampening, weight_decay
    _launch(_sgd, (param, grad, velocity), scalars, (momentum, nesterov, first))


@cuda.jit
def _sgd(param, p0, grad, g0, velocity, v0, lr, momentum, share, decay, moving, nesterov, first, count):
    i = uint32(cuda.grid(1))
    if i < count:
        w = param[p0 + i]
        g = grad[g0 + i] + decay * w
        if moving:
            # The first step may not read the velocity: memory that nobody has written yet can hold a NaN.
            v = g if first else momentum * velocity[v0 + i] + share * g
            velocity[v0 + i] = v
            g = g + momentum * v if nesterov else v
        param[p0 + i] = w - lr * g


def alexnet_sgd_step(param, grad, velocity, lr, momentum, weight_decay):
    """One thread owns one element. Writes velocity and param."""
    _launch(_alexnet, (param, grad, velocity), (lr, momentum, weight_decay * lr))


@cuda.jit
def _alexnet(param, p0, grad, g0, velocity, v0, lr, momentum, decay, count):
    i = uint32(cuda.grid(1))
    if i < count:
        w = param[p0 + i]
        v = momentum * velocity[v0 + i] - decay * w - lr * grad[g0 + i]
        velocity[v0 + i] = v
        param[p0 + i] = w + v


def adam_step(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """One thread owns one element. Writes param, m and v; step counts from 1."""
    shrink = 1 - lr * weight_decay if decoupled else 1
    into_gradient = 0 if decoupled else weight_decay
    # lr mhat / (sqrt(vhat) + eps) with both corrections worked out once, on the host.
    rate, correction = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    numbers = beta1, 1 - beta1, beta2, 1 - beta2, eps, shrink, into_gradient, rate, correction
    _launch(_adam, (param, grad, m, v), numbers)


@cuda.jit
def _adam(
    param, p0, grad, g0, m, m0, v, v0, beta1, rest1, beta2, rest2, eps, shrink, decay, rate, correction, count
):  # fmt: skip
    i = uint32(cuda.grid(1))
    if i < count:
        w = param[p0 + i] * shrink
        g = grad[g0 + i] + decay * w
        mean = beta1 * m[m0 + i] + rest1 * g
        square = beta2 * v[v0 + i] + rest2 * g * g
        m[m0 + i] = mean
        v[v0 + i] = square
        param[p0 + i] = w - rate * mean / (sqrt(square) * correction + eps)


def rmsprop_step(
    param, grad, square_avg, velocity, grad_avg, lr, alpha, eps, weight_decay, momentum, centered
):  # fmt: skip
    """One thread owns one element. Writes param, square_avg, velocity and grad_avg (None where unused)."""
    arrays = param, grad, square_avg, velocity, grad_avg
    scalars = lr, alpha, 1 - alpha, eps, weight_decay, momentum, 0  # 0 in the parameter's dtype, too
    _launch(_rmsprop, arrays, scalars, (momentum, centered))


@cuda.jit
def _rmsprop(
    param, p0, grad, g0, squares, s0, velocity, v0, means, m0, lr, alpha, rest, eps, decay, momentum,
    zero, moving, centered, count,
):  # fmt: skip
    i = uint32(cuda.grid(1))
    if i < count:
        w = param[p0 + i]
        g = grad[g0 + i] + decay * w
        square = alpha * squares[s0 + i] + rest * g * g
        squares[s0 + i] = square
        if centered:
            mean = alpha * means[m0 + i] + rest * g
            means[m0 + i] = mean
            square = square - mean * mean
            square = zero if square < zero else square  # rounding; a NaN stays
        update = g / (sqrt(square) + eps)
        if moving:
            update = update + momentum * velocity[v0 + i]
            velocity[v0 + i] = update
        param[p0 + i] = w - lr * update
