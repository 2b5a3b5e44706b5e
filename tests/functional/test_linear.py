"""The fully connected layer: with few rows and a large weight the product is computed the other way round."""

import sys

import numpy as np
import pytest

import tinyconv
from tinyconv.nn import functional as F

module = sys.modules["tinyconv.functional.linear"]  # the function has the same name


@pytest.fixture
def products(monkeypatch):
    """The shapes that were multiplied."""
    kernels, shapes = tinyconv.device.kernels_for(np.empty(0)).matmul, []
    matmul = kernels.matmul

    def called(a, b, out):
        shapes.append((a.shape, b.shape))
        matmul(a, b, out)

    monkeypatch.setattr(kernels, "matmul", called)
    return shapes


@pytest.mark.parametrize("shape", [(1, 7), (2, 7), (5, 7), (0, 7), (2, 3, 7), (7,)])
@pytest.mark.parametrize("bias", [True, False])
def test_both_ways_give_the_same(shape, bias, rng, monkeypatch, products):
    arrays = [rng.standard_normal(s) for s in (shape, (11, 7), (11,))][: 2 + bias]
    dy = rng.standard_normal((*shape[:-1], 11))
    rows = int(np.prod(shape[:-1]))
    results = []
    for large, first in ((1 << 20, ((rows, 7), (7, 11))), (0, ((11, 7), (7, rows)))):
        monkeypatch.setattr(module, "_LARGE", large)
        products.clear()
        tensors = [tinyconv.tensor(a, requires_grad=True) for a in arrays]
        y = F.linear(*tensors)
        assert products == [first]
        y.backward(tinyconv.tensor(dy))
        results.append([y.data, *(t.grad.numpy() for t in tensors)])
    expected = arrays[0] @ arrays[1].T + (arrays[2] if bias else 0)
    for a, b in zip(*results, strict=True):
        assert a.flags.c_contiguous and b.flags.c_contiguous
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    np.testing.assert_allclose(results[1][0], expected, rtol=0, atol=1e-12)


def test_many_rows_are_never_turned(rng, monkeypatch, products):
    monkeypatch.setattr(module, "_LARGE", 0)
    F.linear(tinyconv.tensor(rng.standard_normal((module._FEW + 1, 3))), tinyconv.tensor(rng.standard_normal((2, 3))))
    assert products == [((module._FEW + 1, 3), (3, 2))]
