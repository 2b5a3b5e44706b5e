"""Maxout kernels: reference = cpu over shapes, ties, NaN, empty ones, and hand-made values."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import maxout as cpu
from tinyconv_kernels.reference import maxout as reference

# (N, U, P, M); the first are linear layers' units, whose pieces are neighbours
SHAPES = [(100, 24, 5, 1), (3, 4, 2, 1), (2, 3, 1, 1), (2, 3, 1, 7), (2, 5, 2, 49), (1, 2, 4, 3), (1, 1, 3, 2)]
EMPTY = [(0, 4, 5, 1), (0, 4, 5, 3), (2, 0, 3, 4), (2, 3, 4, 0)]
modules = pytest.mark.parametrize("module", [reference, cpu])


def forward(module, x):
    """Forward into outputs filled with rubbish: a kernel must overwrite them completely."""
    N, U, _, M = x.shape
    y, switches = np.full((N, U, M), 77, x.dtype), np.full((N, U, M), 77)
    module.maxout_forward(x, y, switches)
    return y, switches


@pytest.mark.parametrize("shape", SHAPES + EMPTY, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cpu_equals_reference(shape, dtype):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal((*shape[:2], shape[3])).astype(dtype)
    results = []
    for module in (reference, cpu):
        y, switches = forward(module, x)
        dx = np.full(shape, 77, dtype)
        module.maxout_backward(dy, switches, dx)
        results.append((y, switches, dx))
    for want, got in zip(*results, strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(results[1][0], x.max(axis=2))
    np.testing.assert_array_equal(results[1][1], x.argmax(axis=2))
    np.testing.assert_array_equal(results[1][2].sum(axis=2), dy)  # all of it, and to one piece each


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "values", [(0.0,), (-0.0, 0.0), (0.0, 1.0), (np.nan, 0.0, 1.0), (-np.inf,), (-np.inf, np.nan), (np.inf, 1.0)]
)
def test_ties_and_nan(shape, values):
    x = np.random.default_rng(1).choice(values, shape).astype(np.float32)
    for want, got in zip(forward(reference, x), forward(cpu, x), strict=True):
        np.testing.assert_array_equal(got, want)
    if not np.isnan(values).any():
        np.testing.assert_array_equal(got, x.argmax(axis=2))


@modules
@pytest.mark.parametrize("wide", [1, 3])
def test_by_hand(module, wide):
    """The same units once as a linear layer's, and as three places of one map."""
    nan = np.nan
    pieces = np.array([[1, 5, 5, 0], [nan, 9, nan, 2], [-2, -1, -3, -1]], float)  # a row for each unit
    x = pieces.reshape(1, 3, 4, 1) if wide == 1 else np.ascontiguousarray(pieces.T).reshape(1, 1, 4, 3)
    y, switches = forward(module, x)
    np.testing.assert_array_equal(y.ravel(), [5, nan, -1])
    np.testing.assert_array_equal(switches.ravel(), [1, 2, 1])  # the first 5, the last NaN, the first -1
    dx = np.full_like(x, 77)
    module.maxout_backward(np.array([10.0, 20, 30]).reshape(y.shape), switches, dx)
    found = dx.reshape(3, 4) if wide == 1 else dx.reshape(4, 3).T
    np.testing.assert_array_equal(found, [[0, 10, 0, 0], [0, 0, 20, 0], [0, 30, 0, 0]])


@modules
def test_losers_get_zero_even_where_the_gradient_is_not_finite(module):
    for shape in ((1, 2, 2, 1), (1, 1, 2, 2)):
        x = np.array([1.0, 0, 0, 1]).reshape(shape)
        y, switches = forward(module, x)
        dx = np.full_like(x, 77)
        module.maxout_backward(np.array([np.nan, np.inf]).reshape(y.shape), switches, dx)
        assert np.isnan(dx.ravel()[0]) and dx.ravel()[3] == np.inf and (dx.ravel()[1:3] == 0).all()
