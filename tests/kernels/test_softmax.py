"""Softmax and cross-entropy: reference = cpu, hand-made values, stability, ignored targets, weights, smoothing."""

import math

import numpy as np
import pytest

from tinyconv_kernels.cpu import softmax as cpu
from tinyconv_kernels.reference import softmax as reference

modules = pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SHAPES = [(4, 10, 1), (3, 5, 7), (1, 1, 1), (0, 4, 2), (2, 3, 0)]


def close(dtype):
    return {"rtol": 1e-5 if dtype == np.float32 else 1e-12, "atol": 2e-6 if dtype == np.float32 else 1e-14}


@pytest.mark.parametrize("shape", [*SHAPES, (2, 0, 3)], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@dtypes
def test_softmax(shape, name, dtype):
    rng = np.random.default_rng(0)
    x, dy = 3 * rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    results = []
    for module in (reference, cpu):
        y, dx = np.full_like(x, 77), np.full_like(x, 77)
        getattr(module, name + "_forward")(x, y)
        getattr(module, name + "_backward")(dy, y, dx)
        results.append((y, dx))
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, **close(dtype))
    if shape[1] == 0:
        return
    probability = np.exp(results[1][0]) if name == "log_softmax" else results[1][0]
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)


@modules
def test_values_and_stability(module):
    x = np.log(np.array([[[1.0], [2], [5]]]))
    y = np.empty_like(x)
    for shift in (0, 1e4, -1e4):
        module.softmax_forward(x + shift, y)
        np.testing.assert_allclose(y[0, :, 0], [0.125, 0.25, 0.625], rtol=1e-11)
        module.log_softmax_forward(x + shift, y)
        np.testing.assert_allclose(np.exp(y[0, :, 0]), [0.125, 0.25, 0.625], rtol=1e-11)
    module.softmax_forward(np.array([[[-np.inf], [0], [0]]]), y)  # a masked class
    assert y[0, :, 0].tolist() == [0, 0.5, 0.5]
    module.log_softmax_forward(np.array([[[1000.0], [0], [-1000]]]), y)
    assert y[0, :, 0].tolist() == [0, -1000, -2000]
    module.softmax_forward(np.array([[[np.nan], [0], [0]]]), y)
    assert np.isnan(y).all()


@modules
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_gradient_is_the_slope(module, name):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 4, 3))
    step = 1e-6 * rng.standard_normal(x.shape)
    y, high, low, dx = (np.empty_like(x) for _ in range(4))
    forward = getattr(module, name + "_forward")
    forward(x, y)
    forward(x + step, high)
    forward(x - step, low)
    getattr(module, name + "_backward")(dy, y, dx)
    assert (dx * step).sum() == pytest.approx(((high - low) / 2 * dy).sum(), rel=1e-7)


def cross_entropy(module, x, target, weight, smoothing, dloss):
    loss, log_prob, dx = np.full(target.shape, 77, x.dtype), np.full_like(x, 77), np.full_like(x, 77)
    module.cross_entropy_forward(x, target, weight, loss, log_prob, -100, smoothing)
    module.cross_entropy_backward(dloss, log_prob, target, weight, dx, -100, smoothing)
    return loss, log_prob, dx


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@dtypes
def test_cross_entropy(shape, weighted, smoothing, dtype):
    rng = np.random.default_rng(2)
    N, K, M = shape
    x, dloss = 3 * rng.standard_normal(shape).astype(dtype), rng.standard_normal((N, M)).astype(dtype)
    target = np.where(rng.random((N, M)) < 0.2, -100, rng.integers(0, K, (N, M)))
    weight = rng.random(K).astype(dtype) if weighted else None
    want = cross_entropy(reference, x, target, weight, smoothing, dloss)
    got = cross_entropy(cpu, x, target, weight, smoothing, dloss)
    for a, b in zip(want, got, strict=True):
        np.testing.assert_allclose(b, a, **close(dtype))


@modules
def test_cross_entropy_by_hand(module):
    x = np.log(np.array([[[1.0], [2], [5]]])).repeat(3, axis=2)  # probabilities 1/8, 1/4, 5/8
    target, ones = np.array([[0, -100, 2]]), np.ones((1, 3))
    loss, _, dx = cross_entropy(module, x, target, None, 0.0, ones)
    np.testing.assert_allclose(loss, [[math.log(8), 0, math.log(8 / 5)]], atol=1e-12)
    np.testing.assert_allclose(dx[0].T, [[-7 / 8, 1 / 4, 5 / 8], [0, 0, 0], [1 / 8, 1 / 4, -3 / 8]], atol=1e-12)
    loss, _, dx = cross_entropy(module, x, target, np.array([2.0, 1, 0]), 0.0, ones)
    np.testing.assert_allclose(loss, [[2 * math.log(8), 0, 0]], atol=1e-12)
    assert (dx[0, :, 2] == 0).all()
    loss, _, _ = cross_entropy(module, x, target, None, 0.3, ones)
    spread = 0.1 * (math.log(8) + math.log(4) + math.log(8 / 5))
    np.testing.assert_allclose(loss, [[0.7 * math.log(8) + spread, 0, 0.7 * math.log(8 / 5) + spread]], atol=1e-12)


@modules
def test_cross_entropy_with_a_masked_class(module):
    """A class of probability 0 costs nothing as long as it is not the target."""
    x = np.array([[[0.0], [-np.inf], [0.0]]])
    loss, _, dx = cross_entropy(module, x, np.array([[0]]), None, 0.0, np.ones((1, 1)))
    assert loss.item() == pytest.approx(math.log(2))
    np.testing.assert_allclose(dx[0, :, 0], [-0.5, 0, 0.5])


@modules
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_gradient_is_the_slope(module, smoothing):
    rng = np.random.default_rng(3)
    x, weight, dloss = rng.standard_normal((3, 4, 2)), rng.random(4), rng.standard_normal((3, 2))
    target = np.array([[0, 3], [-100, 2], [1, 1]])
    step = 1e-6 * rng.standard_normal(x.shape)
    high, low = (cross_entropy(module, x + s * step, target, weight, smoothing, dloss)[0] for s in (1, -1))
    dx = cross_entropy(module, x, target, weight, smoothing, dloss)[2]
    assert (dx * step).sum() == pytest.approx(((high - low) / 2 * dloss).sum(), rel=1e-7)
