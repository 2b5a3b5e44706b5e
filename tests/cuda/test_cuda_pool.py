"""Pooling on the device = reference: geometries, ties, NaN, shared switches, empty batches."""

import numpy as np
import pytest
from compared import assert_close, assert_equal, both, rubbish

from tinyconv_kernels.geometry import output_size

pytestmark = pytest.mark.cuda

# shape (N, C, H, W), kernel, stride, padding, dilation, ceil_mode
GEOMETRIES = {
    "2x2": ((2, 2, 6, 5), (2, 2), (2, 2), (0, 0), (1, 1), False),
    "overlap": ((1, 2, 9, 8), (3, 3), (2, 2), (0, 0), (1, 1), False),
    "overlap stride 1": ((1, 2, 5, 6), (3, 3), (1, 1), (1, 1), (1, 1), False),
    "ceil padding": ((1, 2, 8, 7), (3, 3), (2, 2), (1, 1), (1, 1), True),
    "dilation": ((1, 2, 11, 12), (3, 2), (2, 1), (1, 1), (2, 3), False),
    "non-square": ((2, 1, 7, 10), (3, 2), (1, 3), (1, 0), (1, 1), False),
    "stride over kernel ceil": ((1, 2, 9, 9), (2, 2), (4, 4), (0, 0), (1, 1), True),
    "5x5": ((1, 1, 7, 7), (5, 5), (2, 2), (2, 2), (1, 1), False),
    "window of the image": ((1, 2, 4, 3), (4, 3), (1, 1), (0, 0), (1, 1), False),
    "one pixel": ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0), (1, 1), False),
    "window in the holes": ((1, 1, 4, 4), (2, 2), (1, 1), (1, 1), (5, 5), False),
    "empty batch": ((0, 2, 6, 6), (2, 2), (2, 2), (0, 0), (1, 1), False),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def pool(name, *arguments):
    return both("pool", name, *arguments)


def y_shape(geometry):
    shape, kernel, stride, padding, dilation, ceil = geometry
    sides = zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    return shape[:2] + tuple(output_size(*side, ceil) for side in sides)


@geometries
@dtypes
def test_max_pool(geometry, dtype):
    rng = np.random.default_rng(0)
    x, shape = rng.standard_normal(geometry[0]).astype(dtype), y_shape(geometry)
    results = pool("max_pool2d_forward", x, rubbish(shape, dtype), rubbish(shape, np.int64), *geometry[1:5])
    assert_equal(results)
    dy = rng.standard_normal(shape).astype(dtype)
    assert_equal(pool("max_pool2d_backward", dy, results[0][2], rubbish(x.shape, dtype), *geometry[1:5]))


@pytest.mark.parametrize("name", ["overlap", "ceil padding", "dilation", "window in the holes"])
@pytest.mark.parametrize("values", [(0.0, 1.0), (np.nan, 0.0, 1.0), (-np.inf,), (-np.inf, np.nan), (np.inf, 1.0)])
def test_max_pool_ties_and_nan(name, values):
    geometry = GEOMETRIES[name]
    x, shape = np.random.default_rng(1).choice(values, geometry[0]), y_shape(geometry)
    assert_equal(pool("max_pool2d_forward", x, rubbish(shape, x.dtype), rubbish(shape, np.int64), *geometry[1:5]))


def test_infinite_and_nan_gradients_stay_at_their_switches():
    geometry = GEOMETRIES["overlap"]
    x, shape = np.random.default_rng(2).standard_normal(geometry[0]), y_shape(geometry)
    switches = pool("max_pool2d_forward", x, rubbish(shape, x.dtype), rubbish(shape, np.int64), *geometry[1:5])[0][2]
    dy = np.random.default_rng(3).choice([np.nan, np.inf, -np.inf, 1.0, 1.0, -0.0], shape)
    assert_equal(pool("max_pool2d_backward", dy, switches, rubbish(x.shape, x.dtype), *geometry[1:5]))


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("shape,out", [((2, 3, 4, 4), (5, 6)), ((1, 2, 6, 5), (2, 2)), ((0, 2, 3, 3), (6, 6))])
@dtypes
def test_max_unpool(shape, out, accumulate, dtype):
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal((*shape[:2], *out)).astype(dtype)
    switches = rng.integers(-1, out[0] * out[1], shape)  # shared switches, and windows without a pixel
    assert_equal(pool("max_unpool2d_forward", x, switches, rubbish(dy.shape, dtype), accumulate))
    assert_equal(pool("max_unpool2d_backward", dy, switches, x, rubbish(shape, dtype), accumulate))


@geometries
@pytest.mark.parametrize("count_include_pad,divisor", [(False, 0), (True, 0), (False, 3), (True, None)])
def test_avg_pool(geometry, count_include_pad, divisor):
    shape, kernel, stride, padding, _, ceil = geometry
    rng, out = np.random.default_rng(3), y_shape((*geometry[:4], (1, 1), ceil))
    rule = kernel, stride, padding, count_include_pad, divisor
    assert_equal(pool("avg_pool2d_forward", rng.standard_normal(shape), rubbish(out, np.float64), *rule))
    assert_equal(pool("avg_pool2d_backward", rng.standard_normal(out), rubbish(shape, np.float64), *rule))


@dtypes
def test_avg_pool_dtypes_and_nan(dtype):
    x = np.random.default_rng(4).choice([np.nan, np.inf, 1.0, 2.0, 2.5], (1, 2, 7, 7)).astype(dtype)
    rule = (3, 3), (2, 2), (1, 1), True, 0
    assert_equal(pool("avg_pool2d_forward", x, rubbish((1, 2, 4, 4), dtype), *rule))
    assert_equal(pool("avg_pool2d_backward", x[..., :4, :4].copy(), rubbish(x.shape, dtype), *rule))


@pytest.mark.parametrize("shape", [(2, 2, 7, 5), (1, 2, 6, 6), (1, 1, 1, 1), (0, 2, 5, 5)])
@pytest.mark.parametrize("out", [(1, 1), (3, 2), (6, 6), (9, 4)])
def test_adaptive(shape, out):
    rng, dtype = np.random.default_rng(4), np.float64
    x, dy = rng.standard_normal(shape), rng.standard_normal(shape[:2] + out)
    assert_close(pool("adaptive_avg_pool2d_forward", x, rubbish(dy.shape, dtype)))
    assert_equal(pool("adaptive_avg_pool2d_backward", dy, rubbish(shape, dtype)))
    results = pool("adaptive_max_pool2d_forward", x, rubbish(dy.shape, dtype), rubbish(dy.shape, np.int64))
    assert_equal(results)
    assert_equal(pool("adaptive_max_pool2d_backward", dy, results[0][2], rubbish(shape, dtype)))


@dtypes
def test_adaptive_average_of_large_planes(dtype):
    x = np.random.default_rng(5).standard_normal((1, 2, 37, 31)).astype(dtype)
    assert_close(pool("adaptive_avg_pool2d_forward", x, rubbish((1, 2, 1, 1), dtype)))


def test_adaptive_max_of_nan():
    x = np.random.default_rng(6).choice([np.nan, 0.0, 1.0], (1, 3, 7, 5))
    y, switches = rubbish((1, 3, 3, 4), x.dtype), rubbish((1, 3, 3, 4), np.int64)
    assert_equal(pool("adaptive_max_pool2d_forward", x, y, switches))
