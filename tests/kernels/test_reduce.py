"""Reductions: reference = cpu over axes, layouts and dtypes; NaN and ties."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import reduce as cpu
from tinyconv_kernels.reference import reduce as reference

modules = pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
AXES = [(0,), (1,), (-1,), (0, 2), (0, 1, 2, 3), ()]


@pytest.mark.parametrize("name", ["reduce_sum", "reduce_max", "reduce_min"])
@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_reductions(name, axes, dtype):
    x = (10 * np.random.default_rng(0).standard_normal((2, 3, 4, 5))).astype(dtype)
    for view in (x, x.transpose(3, 1, 0, 2), x[:, ::2, ::-1]):
        shape = [1 if i in axes or i - 4 in axes else n for i, n in enumerate(view.shape)]
        want, got = np.full(shape, 77, dtype), np.full(shape, 77, dtype)
        getattr(reference, name)(view, want, axes)
        getattr(cpu, name)(view, got, axes)
        np.testing.assert_allclose(got, want, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-4)
        loops = {"reduce_sum": sum, "reduce_max": max, "reduce_min": min}[name]
        if axes == (0,):  # the same in plain Python
            for i in np.ndindex(view.shape[1:]):
                assert got[0][i] == pytest.approx(loops(float(v) for v in view[(slice(None), *i)]), abs=1e-4)


@modules
def test_counting_and_empty(module):
    out = np.empty((1, 1), np.int64)
    module.reduce_sum(np.array([[True, True], [False, True]]), out, (0, 1))
    assert out.item() == 3
    empty = np.full((1, 3), 77.0)
    module.reduce_sum(np.empty((0, 3)), empty, (0,))
    assert empty.tolist() == [[0, 0, 0]]
    scalar = np.empty(())
    module.reduce_sum(np.array(2.5), scalar, ())
    assert scalar == 2.5


@modules
@pytest.mark.parametrize("name", ["reduce_max", "reduce_min", "reduce_sum"])
def test_nan_and_infinity_do_not_warn(module, name):
    out = np.empty((3, 1))
    getattr(module, name)(np.array([[1, np.nan, 2], [np.inf, np.nan, -np.inf], [np.nan, np.nan, np.nan]]), out, (1,))
    assert np.isnan(out).all()
    getattr(module, name)(np.array([[np.inf, -np.inf]] * 3), out, (1,))
    assert out[0, 0] == {"reduce_max": np.inf, "reduce_min": -np.inf}.get(name, 0) or np.isnan(out[0, 0])


@modules
def test_arg(module):
    x = np.array([[3, 1, 3], [np.nan, 0, np.nan], [2, 1, 1]])
    out = np.empty(3, np.int64)
    module.argmax(x, out, 1)
    assert out.tolist() == [0, 0, 0]  # the first 3, the first NaN
    module.argmin(x, out, 1)
    assert out.tolist() == [1, 0, 1]
    module.argmax(np.array([[1, np.nan, np.inf]]), out[:1], -1)
    assert out[0] == 1
    grid = np.empty((2, 4), np.int64)
    y = np.random.default_rng(1).standard_normal((2, 3, 4))
    module.argmax(y, grid, 1)
    assert all(y[n, grid[n, m], m] == max(y[n, :, m]) for n in range(2) for m in range(4))
