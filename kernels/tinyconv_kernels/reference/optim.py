"""One step of each optimiser, defined with NumPy; parameter and state change in place. lr is per step.

Sources: Krizhevsky et al. 2012, sec. 5 (momentum with the rate inside); Sutskever et al. 2013 (Nesterov); Kingma & Ba
2015, Algorithm 1 (Adam); Loshchilov & Hutter 2019, Algorithm 2 (decoupled decay); Tieleman & Hinton 2012 and Graves
2013 (RMSProp, centred). Except AlexNet's, the forms are PyTorch's.
"""

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")


@_quiet
def sgd_step(param, grad, velocity, lr, momentum, dampening, weight_decay, nesterov, first):
    """One element on its own. Writes param and velocity (None without momentum): w <- w - lr v.

    g' = g + weight_decay w;  v <- g' on the first step, then momentum v + (1 - dampening) g'.  Nesterov steps along
    g' + momentum v instead of v.
    """
    g = grad + weight_decay * param
    if momentum:
        velocity[...] = g if first else momentum * velocity + (1 - dampening) * g
        g = g + momentum * velocity if nesterov else velocity
    param -= lr * g


@_quiet
def alexnet_sgd_step(param, grad, velocity, lr, momentum, weight_decay):
    """One element on its own. Writes velocity and param: v <- momentum v - weight_decay lr w - lr g;  w <- w + v.

    The rate is folded into v, so after a drop of lr the old velocity keeps the old rate; sgd_step's does not.
    """
    velocity[...] = momentum * velocity - weight_decay * lr * param - lr * grad
    param += velocity


@_quiet
def adam_step(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """One element on its own. Writes param, m and v; step counts from 1.

    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  w <- w - lr mhat / (sqrt(vhat) + eps); the hats
    divide by 1 - beta^step. Weight decay joins g, or, decoupled (AdamW), shrinks w by 1 - lr weight_decay first.
    """
    g = grad
    if decoupled:
        param *= 1 - lr * weight_decay
    else:
        g = grad + weight_decay * param
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    param -= lr * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)


@_quiet
def rmsprop_step(
    param, grad, square_avg, velocity, grad_avg, lr, alpha, eps, weight_decay, momentum, centered
):  # fmt: skip
    """One element on its own. Writes param, square_avg, velocity and grad_avg (None without momentum, unless centred).

    s <- alpha s + (1 - alpha) g^2;  r = sqrt(s) + eps, or centred sqrt(s - a^2) + eps with a the running mean of g;
    v <- momentum v + g / r;  w <- w - lr v. Rounding can push s - a^2 below 0, which counts as 0.
    """
    g = grad + weight_decay * param
    square_avg[...] = alpha * square_avg + (1 - alpha) * g * g
    variance = square_avg
    if centered:
        grad_avg[...] = alpha * grad_avg + (1 - alpha) * g
        variance = np.maximum(square_avg - grad_avg * grad_avg, 0)
    update = g / (np.sqrt(variance) + eps)
    if momentum:
        velocity[...] = momentum * velocity + update
        update = velocity
    param -= lr * update
