"""Indexing kernels: reference = cpu, repeated positions add, nothing else is touched."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import index as cpu
from tinyconv_kernels.reference import index as reference

modules = pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, bool])
@pytest.mark.parametrize("shape", [(7,), (3, 4), (), (0, 2)])
def test_gather(dtype, shape):
    rng = np.random.default_rng(0)
    x, positions = rng.integers(0, 2, 10).astype(dtype), rng.integers(0, 10, shape)
    want, got = np.empty(shape, dtype), np.empty(shape, dtype)
    reference.gather(x, np.asarray(positions), want)
    cpu.gather(x, np.asarray(positions), got)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(50,), (3, 4), (0,)])
def test_scatter_add(dtype, shape):
    rng = np.random.default_rng(1)
    dy, positions = rng.standard_normal(shape).astype(dtype), rng.integers(0, 10, shape)
    want = np.ones(10, dtype)
    got = want.copy()
    reference.scatter_add(dy, positions, want)
    cpu.scatter_add(dy, positions, got)
    np.testing.assert_array_equal(got, want)  # same order, same bits


@modules
def test_by_hand(module):
    x = np.zeros(4)
    module.scatter_add(np.array([1.0, 2, 4]), np.array([3, 0, 3]), x)
    assert x.tolist() == [2, 0, 0, 5]
    module.scatter_add(np.array([[1.0, 2], [3, 4]]).T, np.array([[0, 1], [2, 3]]), x)  # a strided gradient
    assert x.tolist() == [3, 3, 2, 9]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (0, 3)])
def test_embedding(dtype, shape):
    rng = np.random.default_rng(2)
    weight, index = rng.standard_normal((5, 3)).astype(dtype), rng.integers(0, 4, shape)
    dy = rng.standard_normal((*shape, 3)).astype(dtype)
    results = []
    for module in (reference, cpu):
        out, dweight = np.full((*shape, 3), 77, dtype), np.full_like(weight, 77)
        module.embedding_forward(weight, index, out)
        module.embedding_backward(dy, index, dweight)
        np.testing.assert_array_equal(out, weight[index])
        assert (dweight[4] == 0).all()  # never taken
        np.testing.assert_allclose(dweight.sum(axis=0), dy.reshape(-1, 3).sum(axis=0), atol=1e-5)
        results.append(dweight)
    np.testing.assert_array_equal(*results)
