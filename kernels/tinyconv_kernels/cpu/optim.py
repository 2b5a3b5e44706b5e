"""One step of each optimiser in one pass over memory; definition and sources: ``reference/optim.py``.

NumPy would go over the arrays once per operation. All scalars are converted to the parameter's dtype before the loop: a
float64 constant would turn every float32 operation into a float64 one. In the compiled function, since a conversion in
Python takes as long as 200 elements do: a network's many small vectors cost what is called for each of them.

A loop counts from 0 over slices, not from start to stop: Numba lets a negative index count from the end, and where it
cannot see that there is none, it tests every one, in a loop without vectors. SGD with momentum over 19 million weights
takes 47 ms so and 17 ms with slices, Adam 67 and 23 ms (one AVX-512 core).
"""

import numpy as np
from numba import njit

from tinyconv_kernels.cpu._share import share, threads_for


def _launch(kernel, arrays, scalars):
    """Run over flat views; an absent array (None) becomes an empty one, which the flags keep from being read."""
    param = arrays[0]
    flat = [param.reshape(-1)[:0] if a is None else a.reshape(-1) for a in arrays]
    share(threads_for(param.size), kernel, param.size, *flat, *scalars)


def sgd_step(param, grad, velocity, lr, momentum, dampening, weight_decay, nesterov, first):
    """One thread owns a run of elements. Writes param and velocity (None without momentum)."""
    scalars = float(lr), float(momentum), float(1 - dampening), float(weight_decay), bool(nesterov), bool(first)
    _launch(_sgd, (param, grad, velocity), scalars)


@njit(cache=True, nogil=True)
def _sgd(start, stop, param, grad, velocity, lr, momentum, share, weight_decay, nesterov, first):
    real = param.dtype.type
    lr, momentum, share, weight_decay = real(lr), real(momentum), real(share), real(weight_decay)
    param, grad, velocity = param[start:stop], grad[start:stop], velocity[start:stop]
    for i in range(param.size):
        g = grad[i] + weight_decay * param[i]
        if momentum != 0:
            v = g if first else momentum * velocity[i] + share * g
            velocity[i] = v
            g = g + momentum * v if nesterov else v
        param[i] -= lr * g


def alexnet_sgd_step(param, grad, velocity, lr, momentum, weight_decay):
    """One thread owns a run of elements. Writes velocity and param."""
    scalars = float(lr), float(momentum), float(weight_decay * lr)
    _launch(_alexnet, (param, grad, velocity), scalars)


@njit(cache=True, nogil=True)
def _alexnet(start, stop, param, grad, velocity, lr, momentum, decay):
    real = param.dtype.type
    lr, momentum, decay = real(lr), real(momentum), real(decay)
    param, grad, velocity = param[start:stop], grad[start:stop], velocity[start:stop]
    for i in range(param.size):
        v = momentum * velocity[i] - decay * param[i] - lr * grad[i]
        velocity[i] = v
        param[i] += v


def adam_step(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """One thread owns a run of elements. Writes param, m and v; step counts from 1."""
    shrink = 1 - lr * weight_decay if decoupled else 1
    into_gradient = 0 if decoupled else weight_decay
    # lr mhat / (sqrt(vhat) + eps) with both corrections taken out of the loop.
    rate, correction = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    numbers = beta1, 1 - beta1, beta2, 1 - beta2, eps, shrink, into_gradient, rate, correction
    _launch(_adam, (param, grad, m, v), [float(s) for s in numbers])


@njit(cache=True, nogil=True, error_model="numpy")
def _adam(start, stop, param, grad, m, v, beta1, rest1, beta2, rest2, eps, shrink, decay, rate, correction):
    real = param.dtype.type
    beta1, rest1, beta2, rest2, eps = real(beta1), real(rest1), real(beta2), real(rest2), real(eps)
    shrink, decay, rate, correction = real(shrink), real(decay), real(rate), real(correction)
    param, grad, m, v = param[start:stop], grad[start:stop], m[start:stop], v[start:stop]
    for i in range(param.size):
        w = param[i] * shrink
        g = grad[i] + decay * w
        mean = beta1 * m[i] + rest1 * g
        square = beta2 * v[i] + rest2 * g * g
        m[i], v[i] = mean, square
        param[i] = w - rate * mean / (np.sqrt(square) * correction + eps)


def rmsprop_step(
    param, grad, square_avg, velocity, grad_avg, lr, alpha, eps, weight_decay, momentum, centered
):  # fmt: skip
    """One thread owns a run of elements. Writes param, square_avg, velocity and grad_avg (None where unused)."""
    numbers = lr, alpha, 1 - alpha, eps, weight_decay, momentum
    arrays = param, grad, square_avg, velocity, grad_avg
    _launch(_rmsprop, arrays, [float(s) for s in numbers] + [bool(centered)])


@njit(cache=True, nogil=True, error_model="numpy")
def _rmsprop(
    start, stop, param, grad, square_avg, velocity, grad_avg, lr, alpha, rest, eps, decay, momentum, centered
):  # fmt: skip
    real = param.dtype.type
    lr, alpha, rest, eps, decay, momentum = real(lr), real(alpha), real(rest), real(eps), real(decay), real(momentum)
    zero = real(0)
    param, grad, square_avg = param[start:stop], grad[start:stop], square_avg[start:stop]
    velocity, grad_avg = velocity[start:stop], grad_avg[start:stop]
    for i in range(param.size):
        g = grad[i] + decay * param[i]
        square = alpha * square_avg[i] + rest * g * g
        square_avg[i] = square
        if centered:
            mean = alpha * grad_avg[i] + rest * g
            grad_avg[i] = mean
            square -= mean * mean
            square = zero if square < zero else square  # rounding; a NaN stays
        update = g / (np.sqrt(square) + eps)
        if momentum != 0:
            update += momentum * velocity[i]
            velocity[i] = update
        param[i] -= lr * update
