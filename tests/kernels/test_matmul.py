"""Matrix product: reference = cpu = NumPy's rules over ranks, broadcasting, views and empty sides."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import matmul as cpu
from tinyconv_kernels.reference import matmul as reference

modules = pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
SHAPES = [
    ((3, 4), (4, 5)), ((1, 1), (1, 1)), ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((2, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (6, 4, 5)), ((2, 3, 4), (4,)), ((4,), (2, 4, 5)), ((0, 4), (4, 5)), ((3, 0), (0, 5)),
    ((0, 3, 4), (4, 2)),
]  # fmt: skip


@modules
@pytest.mark.parametrize("a_shape,b_shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_ranks(module, a_shape, b_shape, dtype):
    rng = np.random.default_rng(0)
    a, b = (10 * rng.standard_normal(a_shape)).astype(dtype), (10 * rng.standard_normal(b_shape)).astype(dtype)
    want = a @ b
    out = np.full(want.shape, 77, dtype)
    module.matmul(a, b, out)
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-4)


@modules
def test_views(module):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((4, 6)), rng.standard_normal((10, 4))
    wide = np.full((6, 10), 77.0)
    module.matmul(a.T, b.T[:, ::2], wide[:, 1::2])
    np.testing.assert_allclose(wide[:, 1::2], a.T @ b.T[:, ::2])
    assert (wide[:, ::2] == 77).all()
    vector = np.full(12, 77.0)
    module.matmul(a.T, b[0], vector[::2])
    np.testing.assert_allclose(vector[::2], a.T @ b[0])


@modules
def test_by_hand(module):
    out = np.empty((2, 2))
    module.matmul(np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6], [7, 8]]), out)
    assert out.tolist() == [[19, 22], [43, 50]]
    module.matmul(np.array([[np.inf, 0], [1, 1]]), np.array([[-1.0, 0], [0, 1]]), out)  # inf * 0: NaN, no warning
    assert out[0, 0] == -np.inf and np.isnan(out[0, 1])
