"""Optimiser steps on the device = reference, over several steps; None for an unused state; NaN where nobody wrote."""

import numpy as np
import pytest
from on_device import home, kernels, moved

from tinyconv_kernels.reference import optim as reference

pytestmark = pytest.mark.cuda

# name: (arrays of state, which the first step may find uninitialised; options before the step's number)
STEPS = {
    "sgd": ("sgd_step", (None,), (0.1, 0.0, 0.0, 0.0, False)),
    "sgd decay": ("sgd_step", (None,), (0.1, 0.0, 0.0, 0.1, False)),
    "momentum": ("sgd_step", (np.nan,), (0.1, 0.9, 0.0, 0.0, False)),
    "dampening": ("sgd_step", (np.nan,), (0.1, 0.9, 0.3, 0.1, False)),
    "nesterov": ("sgd_step", (np.nan,), (0.1, 0.9, 0.0, 0.1, True)),
    "alexnet": ("alexnet_sgd_step", (0,), (0.1, 0.9, 5e-4)),
    "adam": ("adam_step", (0, 0), (0.01, 0.8, 0.99, 1e-8, 0.0, False)),
    "adam decay": ("adam_step", (0, 0), (0.01, 0.8, 0.99, 1e-8, 0.1, False)),
    "adamw": ("adam_step", (0, 0), (0.01, 0.8, 0.99, 1e-8, 0.1, True)),
    "rmsprop": ("rmsprop_step", (0, None, None), (0.01, 0.95, 1e-8, 0.0, 0.0, False)),
    "rmsprop momentum": ("rmsprop_step", (0, 0, None), (0.01, 0.95, 1e-8, 0.1, 0.9, False)),
    "centred": ("rmsprop_step", (0, 0, 0), (0.01, 0.95, 1e-8, 0.0, 0.9, True)),
    "centred plain": ("rmsprop_step", (0, None, 0), (0.01, 0.95, 1e-8, 0.0, 0.0, True)),
}


def run(module, to, back, name, start, gradients):
    """Return the parameter and the states after a step for each gradient."""
    kernel, states, options = STEPS[name]
    param = to(start.copy())
    arrays = [None if s is None else to(np.full_like(start, s)) for s in states]
    for i, grad in enumerate(gradients):
        last = {"sgd_step": (i == 0,), "adam_step": (i + 1,)}.get(kernel, ())
        getattr(module, kernel)(param, to(grad), *arrays, *options, *last)
    return [back(a) for a in (param, *arrays) if a is not None]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("shape", [(3, 5), (), (0,), (70,)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_device_equals_reference(name, shape, dtype):
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal(shape), rng.standard_normal((3, *shape)).astype(dtype)
    start = np.asarray(start, dtype)
    gradients = [np.asarray(g, dtype) for g in gradients]
    wanted = run(reference, lambda a: a, lambda a: a, name, start, gradients)
    found = run(kernels("optim"), moved, home, name, start, gradients)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for want, got in zip(wanted, found, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["momentum", "alexnet", "adam", "centred"])
def test_infinity_and_nan_go_where_the_reference_sends_them(name):
    start, gradient = np.array([1.0, np.nan, 1, np.inf]), np.array([np.inf, 1, np.nan, 1])
    wanted = run(reference, lambda a: a, lambda a: a, name, start, [gradient] * 2)
    found = run(kernels("optim"), moved, home, name, start, [gradient] * 2)
    for want, got in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_centred_rmsprop_survives_a_constant_gradient(dtype):
    """E[g^2] - E[g]^2 is 0 there, and rounding may make it negative."""
    start, gradient = np.ones(20, dtype), np.linspace(0.1, 3, 20).astype(dtype)
    found = run(kernels("optim"), moved, home, "centred plain", start, [gradient] * 60)
    assert all(np.isfinite(a).all() for a in found)


def test_neighbours_in_the_same_memory_stay():
    optim, memory = kernels("optim"), kernels("memory")
    whole = memory.to_device(np.ones(12))
    optim.sgd_step(whole[4:8], whole[:4], None, 0.5, 0.0, 0.0, 0.0, False, True)
    assert home(whole).tolist() == [1] * 4 + [0.5] * 4 + [1] * 4
