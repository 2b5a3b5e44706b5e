"""Pooling kernels: reference = cpu over a geometry table, ties, NaN, empty batches, threads, and hand-made values."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import pool as cpu
from tinyconv_kernels.geometry import output_size
from tinyconv_kernels.reference import pool as reference

DTYPES = [np.float32, np.float64]
# shape (N, C, H, W), kernel, stride, padding, dilation, ceil_mode
GEOMETRIES = {
    "2x2": ((2, 3, 8, 8), (2, 2), (2, 2), (0, 0), (1, 1), False),
    "2x2 stride 1": ((1, 2, 5, 20), (2, 2), (1, 1), (0, 0), (1, 1), False),
    "overlap": ((2, 2, 27, 27), (3, 3), (2, 2), (0, 0), (1, 1), False),
    "overlap stride 1": ((1, 2, 9, 18), (3, 3), (1, 1), (1, 1), (1, 1), False),
    "padding": ((2, 2, 14, 13), (3, 3), (2, 2), (1, 1), (1, 1), False),
    "ceil": ((2, 2, 14, 28), (3, 3), (2, 2), (0, 0), (1, 1), True),
    "ceil padding": ((1, 2, 8, 7), (3, 3), (2, 2), (1, 1), (1, 1), True),
    "3x3 narrow": ((1, 2, 9, 2), (3, 3), (2, 2), (1, 1), (1, 1), False),
    "dilation": ((1, 2, 11, 12), (3, 2), (2, 1), (1, 1), (2, 3), False),
    "non-square": ((2, 1, 7, 10), (3, 2), (1, 3), (1, 0), (1, 1), False),
    "stride over kernel": ((1, 2, 11, 10), (2, 2), (3, 4), (0, 0), (1, 1), False),
    "stride over kernel ceil": ((1, 2, 9, 9), (2, 2), (4, 4), (0, 0), (1, 1), True),
    "5x5": ((1, 2, 9, 9), (5, 5), (2, 2), (2, 2), (1, 1), False),
    "window of the image": ((1, 2, 4, 3), (4, 3), (1, 1), (0, 0), (1, 1), False),
    "one pixel": ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0), (1, 1), False),
    "window in the holes": ((1, 1, 4, 4), (2, 2), (1, 1), (1, 1), (5, 5), False),
    "empty batch": ((0, 2, 6, 6), (2, 2), (2, 2), (0, 0), (1, 1), False),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def y_shape(shape, kernel, stride, padding, dilation, ceil):
    sides = zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    return shape[:2] + tuple(output_size(*side, ceil) for side in sides)


def max_pool(module, x, geometry):
    """Forward into outputs filled with rubbish: a kernel must overwrite them completely."""
    _, kernel, stride, padding, dilation, ceil = geometry
    shape = y_shape(x.shape, kernel, stride, padding, dilation, ceil)
    y, switches = np.full(shape, 77, x.dtype), np.full(shape, 77)
    module.max_pool2d_forward(x, y, switches, kernel, stride, padding, dilation)
    return y, switches


def close(dtype):
    return {"rtol": 2e-6 if dtype == np.float32 else 1e-14, "atol": 1e-6 if dtype == np.float32 else 1e-14}


@geometries
@dtypes
def test_max_pool(geometry, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(geometry[0]).astype(dtype)
    y, switches = max_pool(cpu, x, geometry)
    want_y, want_switches = max_pool(reference, x, geometry)
    np.testing.assert_array_equal(y, want_y)
    np.testing.assert_array_equal(switches, want_switches)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx, want_dx = np.full_like(x, 77), np.full_like(x, 77)
    cpu.max_pool2d_backward(dy, switches, dx, *geometry[1:5])
    reference.max_pool2d_backward(dy, switches, want_dx, *geometry[1:5])
    np.testing.assert_array_equal(dx, want_dx)  # same sums in the same order


@geometries
@pytest.mark.parametrize(
    "values", [(0.0,), (0.0, 1.0), (np.nan, 0.0, 1.0), (-np.inf,), (-np.inf, np.nan), (np.inf, 1.0)]
)
def test_max_pool_ties_and_nan(geometry, values):
    x = np.random.default_rng(1).choice(values, geometry[0]).astype(np.float32)
    got, want = max_pool(cpu, x, geometry), max_pool(reference, x, geometry)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])


@pytest.mark.parametrize("module", [reference, cpu])
def test_max_pool_by_hand(module):
    nan = np.nan
    x = np.array([[[[1, 5, 5, 0], [4, 5, nan, 2], [nan, 3, 1, 1], [0, 0, 9, 9]]]], np.float64)
    y, switches = max_pool(module, x, (x.shape, (2, 2), (2, 2), (0, 0), (1, 1), False))
    np.testing.assert_array_equal(y, [[[[5, nan], [nan, 9]]]])
    np.testing.assert_array_equal(switches, [[[[1, 6], [8, 14]]]])  # the first 5, the first 9
    x = np.array([[[[nan, 1, nan]]]], np.float64)
    y, switches = max_pool(module, x, (x.shape, (1, 3), (1, 1), (0, 0), (1, 1), False))
    assert np.isnan(y).all() and switches.item() == 2  # the last NaN


@pytest.mark.parametrize("module", [reference, cpu])
def test_padding_never_wins(module):
    x = np.full((1, 1, 3, 3), -5, np.float32)
    y, switches = max_pool(module, x, (x.shape, (3, 3), (2, 2), (1, 1), (1, 1), False))
    assert (y == -5).all()
    np.testing.assert_array_equal(switches, [[[[0, 1], [3, 4]]]])


@pytest.mark.parametrize("module", [reference, cpu])
def test_gradients_add_where_windows_overlap(module):
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1  # the maximum of all four 2x2 windows
    y, switches = max_pool(module, x, (x.shape, (2, 2), (1, 1), (0, 0), (1, 1), False))
    dx = np.full_like(x, 77)
    module.max_pool2d_backward(np.array([[[[1.0, 2], [3, 4]]]]), switches, dx, (2, 2), (1, 1), (0, 0), (1, 1))
    np.testing.assert_array_equal(dx[0, 0], [[0, 0, 0], [0, 10, 0], [0, 0, 0]])


@pytest.mark.parametrize("accumulate", [False, True])
@dtypes
def test_max_unpool(dtype, accumulate):
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, 3, 4, 4)).astype(dtype), rng.standard_normal((2, 3, 5, 6)).astype(dtype)
    switches = rng.integers(-1, 30, x.shape)  # shared switches, and windows without a pixel
    results = []
    for module in (reference, cpu):
        y, dx = np.full_like(dy, 77), np.full_like(x, 77)
        module.max_unpool2d_forward(x, switches, y, accumulate)
        module.max_unpool2d_backward(dy, switches, x, dx, accumulate)
        results.append((y, dx))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("module", [reference, cpu])
def test_max_unpool_by_hand(module):
    x, switches = np.array([[[[1.0, 2], [3, 4]]]]), np.array([[[[4, 4], [0, 8]]]])
    y, dx = np.full((1, 1, 3, 3), 77.0), np.empty_like(x)
    module.max_unpool2d_forward(x, switches, y, False)
    np.testing.assert_array_equal(y[0, 0], [[3, 0, 0], [0, 2, 0], [0, 0, 4]])
    module.max_unpool2d_forward(x, switches, y, True)
    np.testing.assert_array_equal(y[0, 0], [[3, 0, 0], [0, 3, 0], [0, 0, 4]])
    dy = np.arange(9.0).reshape(1, 1, 3, 3)
    module.max_unpool2d_backward(dy, switches, x, dx, False)
    np.testing.assert_array_equal(dx[0, 0], [[0, 4], [0, 8]])  # the first value of pixel 4 was overwritten
    module.max_unpool2d_backward(dy, switches, x, dx, True)
    np.testing.assert_array_equal(dx[0, 0], [[4, 4], [0, 8]])


@geometries
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("divisor", [0, 3])
@dtypes
def test_avg_pool(geometry, dtype, count_include_pad, divisor):
    shape, kernel, stride, padding, _, ceil = geometry
    rng = np.random.default_rng(3)
    x = rng.standard_normal(shape).astype(dtype)
    dy = rng.standard_normal(y_shape(shape, kernel, stride, padding, (1, 1), ceil)).astype(dtype)
    results = []
    for module in (reference, cpu):
        y, dx = np.full_like(dy, 77), np.full_like(x, 77)
        module.avg_pool2d_forward(x, y, kernel, stride, padding, count_include_pad, divisor)
        module.avg_pool2d_backward(dy, dx, kernel, stride, padding, count_include_pad, divisor)
        results.append((y, dx))
    np.testing.assert_allclose(results[1][0], results[0][0], **close(dtype))
    np.testing.assert_allclose(results[1][1], results[0][1], **close(dtype))


@pytest.mark.parametrize("module", [reference, cpu])
def test_avg_pool_divisors_by_hand(module):
    x = np.ones((1, 1, 4, 4))

    def corner(size, kernel, stride, padding, include, divisor):
        y = np.empty((1, 1, size, size))
        module.avg_pool2d_forward(x, y, (kernel,) * 2, (stride,) * 2, (padding,) * 2, include, divisor)
        return y[0, 0]

    assert corner(2, 3, 2, 1, True, 0)[0, 0] == pytest.approx(4 / 9)  # padding counts
    assert corner(2, 3, 2, 1, False, 0)[0, 0] == 1
    assert corner(2, 3, 2, 1, False, 8)[0, 0] == 4 / 8
    assert corner(2, 3, 2, 0, True, 0)[1, 1] == 1  # the ceil part of a window never counts


@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 2, 6, 6), (1, 1, 1, 1), (0, 2, 5, 5)])
@pytest.mark.parametrize("out", [(1, 1), (3, 2), (6, 6), (9, 4)])
@dtypes
def test_adaptive(shape, out, dtype):
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape[:2] + out).astype(dtype)
    results = []
    for module in (reference, cpu):
        y, dx, maximum, switches, dmax = (
            np.full(s, 77, t)
            for s, t in [(dy.shape, dtype), (x.shape, dtype), (dy.shape, dtype), (dy.shape, np.int64), (x.shape, dtype)]
        )
        module.adaptive_avg_pool2d_forward(x, y)
        module.adaptive_avg_pool2d_backward(dy, dx)
        module.adaptive_max_pool2d_forward(x, maximum, switches)
        module.adaptive_max_pool2d_backward(dy, switches, dmax)
        results.append((y, dx, maximum, switches, dmax))
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, **close(dtype))


def test_global_average_is_the_mean():
    x = np.random.default_rng(5).standard_normal((2, 3, 7, 9))
    y = np.empty((2, 3, 1, 1))
    cpu.adaptive_avg_pool2d_forward(x, y)
    np.testing.assert_allclose(y[..., 0, 0], x.mean(axis=(2, 3)), rtol=1e-13)
