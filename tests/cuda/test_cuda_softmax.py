"""Softmax and cross-entropy on the device = reference; rows short and long, NaN, infinities, weights, smoothing."""

import numpy as np
import pytest
from compared import assert_close, both, quick_barriers, rubbish  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("quick_barriers")]

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# The third and the fourth have a block for each row.
SHAPES = [(4, 10, 1), (3, 5, 7), (2, 64, 1), (3, 131, 1), (2, 70, 2), (1, 1, 1), (0, 4, 2), (2, 3, 0), (0, 100, 1)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
names = pytest.mark.parametrize("name", ["softmax", "log_softmax"])


@pytest.mark.parametrize("shape", [*SHAPES, (2, 0, 3)], ids=str)
@names
@dtypes
def test_softmax(shape, name, dtype):
    rng = np.random.default_rng(0)
    x, dy = 3 * rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    results = both("softmax", name + "_forward", x, rubbish(shape, dtype))
    assert_close(results)
    assert_close(both("softmax", name + "_backward", dy, results[0][1], rubbish(shape, dtype)))


@names
@pytest.mark.parametrize("n", [5, 67])
def test_large_numbers_masked_classes_infinity_and_nan(name, n):
    x = np.random.default_rng(1).standard_normal((7, n, 1))
    x[0] += 1e4
    x[1] -= 1e4
    x[2, 0], x[2, 1], x[2, 2:] = 1000, 0, -1000
    x[3, ::2] = -np.inf  # masked
    x[4] = -np.inf
    x[5, n // 2] = np.inf
    x[6, n - 1] = np.nan
    results = both("softmax", name + "_forward", x, rubbish(x.shape))
    assert_close(results, 1e-11)
    dy = np.random.default_rng(2).standard_normal(x.shape)
    assert_close(both("softmax", name + "_backward", dy, results[0][1], rubbish(x.shape)), 1e-11)


@shapes
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy(shape, weighted, smoothing, dtype=np.float64):
    rng = np.random.default_rng(2)
    N, K, M = shape
    x, dloss = 3 * rng.standard_normal(shape).astype(dtype), rng.standard_normal((N, M)).astype(dtype)
    target = np.where(rng.random((N, M)) < 0.2, -100, rng.integers(0, K, (N, M)))
    weight = rng.random(K).astype(dtype) if weighted else None
    loss, log_prob = rubbish((N, M), dtype), rubbish(shape, dtype)
    results = both("softmax", "cross_entropy_forward", x, target, weight, loss, log_prob, -100, smoothing)
    assert_close(results)
    log_prob = results[0][-1]
    dx = rubbish(shape, dtype)
    assert_close(both("softmax", "cross_entropy_backward", dloss, log_prob, target, weight, dx, -100, smoothing))


@pytest.mark.parametrize("shape", SHAPES[1:4], ids=str)
@pytest.mark.parametrize("weighted,smoothing", [(False, 0.0), (True, 0.1), (False, 0.1)])
def test_cross_entropy_in_float32(shape, weighted, smoothing):
    test_cross_entropy(shape, weighted, smoothing, np.float32)


@pytest.mark.parametrize("ignored", [-100, 1, 255])
@pytest.mark.parametrize("classes", [4, 66])
def test_ignored_targets(ignored, classes):
    rng = np.random.default_rng(3)
    x, target = rng.standard_normal((4, classes, 1)), np.array([[0], [ignored], [2], [ignored]])
    for smoothing in (0.0, 0.3):
        loss, log_prob, dx = rubbish((4, 1)), rubbish(x.shape), rubbish(x.shape)
        results = both("softmax", "cross_entropy_forward", x, target, None, loss, log_prob, ignored, smoothing)
        assert_close(results)
        assert results[1][2][1] == 0 and results[1][2][3] == 0
        arguments = np.ones((4, 1)), results[0][3], target, None, dx, ignored, smoothing
        assert_close(both("softmax", "cross_entropy_backward", *arguments))


@pytest.mark.parametrize("classes", [3, 80])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_class_of_probability_0_and_weight_0_costs_nothing(classes, smoothing):
    x, weight, target = np.zeros((2, classes, 1)), np.ones(classes), np.array([[0], [2]])
    x[:, 1], weight[1] = -np.inf, 0
    loss, log_prob, dx = rubbish((2, 1)), rubbish(x.shape), rubbish(x.shape)
    results = both("softmax", "cross_entropy_forward", x, target, weight, loss, log_prob, -100, smoothing)
    assert_close(results)
    assert np.isfinite(results[1][3]).all()
    arguments = np.ones((2, 1)), results[0][4], target, weight, dx, -100, smoothing
    assert_close(both("softmax", "cross_entropy_backward", *arguments))


@pytest.mark.parametrize("classes", [3, 80])
def test_an_impossible_target_and_a_nan_score(classes):
    x, target = np.zeros((3, classes, 1)), np.array([[0], [1], [-100]])
    x[0, 0], x[1, 2], x[2, 1] = -np.inf, np.nan, np.nan
    for smoothing in (0.0, 0.2):
        loss, log_prob, dx = rubbish((3, 1)), rubbish(x.shape), rubbish(x.shape)
        results = both("softmax", "cross_entropy_forward", x, target, None, loss, log_prob, -100, smoothing)
        assert_close(results)
        arguments = np.ones((3, 1)), results[0][3], target, None, dx, -100, smoothing
        assert_close(both("softmax", "cross_entropy_backward", *arguments))
