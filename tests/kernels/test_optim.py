"""Optimiser steps: reference = cpu over several steps, published and hand-made updates, None for an unused state."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import optim as cpu
from tinyconv_kernels.reference import optim as reference

modules = pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
GRADIENTS = [0.3, -0.2, 0.5, 0.1]


def sgd(momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    def step(module, param, grad, state, i):
        velocity = state[0] if momentum else None
        module.sgd_step(param, grad, velocity, 0.1, momentum, dampening, weight_decay, nesterov, i == 0)

    return step


def alexnet(module, param, grad, state, i):
    module.alexnet_sgd_step(param, grad, state[0], 0.1, 0.9, 5e-4)


def adam(weight_decay=0.0, decoupled=False):
    def step(module, param, grad, state, i):
        module.adam_step(param, grad, state[0], state[1], 0.01, 0.8, 0.99, 1e-8, weight_decay, decoupled, i + 1)

    return step


def rmsprop(momentum=0.0, centered=False, weight_decay=0.0):
    def step(module, param, grad, state, i):
        velocity, average = state[1] if momentum else None, state[2] if centered else None
        module.rmsprop_step(
            param, grad, state[0], velocity, average, 0.01, 0.95, 1e-8, weight_decay, momentum, centered
        )

    return step


STEPS = {
    "sgd": sgd(), "sgd decay": sgd(0, 0, 0.1), "momentum": sgd(0.9), "dampening": sgd(0.9, 0.3, 0.1),
    "nesterov": sgd(0.9, 0, 0.1, True), "alexnet": alexnet,
    "adam": adam(), "adam decay": adam(0.1), "adamw": adam(0.1, True),
    "rmsprop": rmsprop(), "rmsprop momentum": rmsprop(0.9, False, 0.1), "centred": rmsprop(0.9, True),
    "centred plain": rmsprop(0, True),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
@pytest.mark.parametrize("shape", [(3, 5), (), (0,)], ids=str)
@dtypes
def test_backends_agree(step, shape, dtype):
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal(shape), rng.standard_normal((4, *shape)).astype(dtype)
    results = []
    for module in (reference, cpu):
        param = np.array(start, dtype)
        state = [np.zeros_like(param) for _ in range(3)]
        for i, grad in enumerate(gradients):
            step(module, param, np.asarray(grad, dtype), state, i)
        results.append([param, *state])
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@modules
def test_alexnet_form_keeps_the_old_rate(module):
    """After a drop of the rate AlexNet's form (Krizhevsky et al. 2012, sec. 5) and PyTorch's part. Starts at w = 1."""
    dropped = [0.01, 0.01, 0.001, 0.001]

    def run(rates, torch_form):
        w, v = np.array([1.0]), np.zeros(1)
        for i, (g, lr) in enumerate(zip(GRADIENTS, rates, strict=True)):
            if torch_form:
                module.sgd_step(w, np.array([g]), v, lr, 0.9, 0.0, 0.0005, False, i == 0)
            else:
                module.alexnet_sgd_step(w, np.array([g]), v, lr, 0.9, 0.0005)
        return w.item()

    assert run([0.01] * 4, False) == pytest.approx(0.9845578777953716, rel=1e-14)
    assert run([0.01] * 4, True) == pytest.approx(0.9845578777953716, rel=1e-14)
    assert run(dropped, False) == pytest.approx(0.9940208516732705, rel=1e-14)
    assert run(dropped, True) == pytest.approx(0.995112748762454, rel=1e-14)


@modules
def test_first_steps_by_hand(module):
    g = np.array([4.0, -0.25])
    w, v = np.array([1.0, 1.0]), np.full(2, np.nan)  # the first step must not read the velocity
    module.sgd_step(w, g, v, 0.5, 0.9, 0.7, 0.0, False, True)
    assert v.tolist() == g.tolist() and w.tolist() == [-1, 1.125]
    w, m, s = np.array([1.0, 1.0]), np.zeros(2), np.zeros(2)
    module.adam_step(w, g, m, s, 0.1, 0.9, 0.999, 0.0, 0.0, False, 1)
    np.testing.assert_allclose(w, [0.9, 1.1])  # the first step is lr sign(g), whatever the scale
    w, s = np.array([1.0, 1.0]), np.zeros(2)
    module.rmsprop_step(w, g, s, None, None, 0.1, 0.75, 0.0, 0.0, 0.0, False)
    np.testing.assert_allclose(w, [0.8, 1.2])  # g / sqrt(0.25 g^2) = 2 sign(g)
    w = np.array([2.0, 2.0])
    module.adam_step(w, np.zeros(2), np.zeros(2), np.zeros(2), 0.1, 0.9, 0.999, 1e-8, 0.5, True, 1)
    np.testing.assert_allclose(w, [1.9, 1.9])  # decoupled decay alone


@modules
@dtypes
def test_centred_rmsprop_survives_a_constant_gradient(module, dtype):
    """E[g^2] - E[g]^2 is 0 there, and rounding may make it negative."""
    w, g = np.ones(1000, dtype), np.linspace(0.1, 3, 1000).astype(dtype)
    state = [np.zeros_like(w) for _ in range(3)]
    for i in range(300):
        rmsprop(0.0, True)(module, w, g, state, i)
    assert np.isfinite(w).all()
