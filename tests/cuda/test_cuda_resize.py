"""Resizing on the device = reference: sizes up and down, both modes and dtypes, infinities and NaN."""

import numpy as np
import pytest
from compared import assert_close, assert_equal, both, rubbish
from on_device import kernels

pytestmark = pytest.mark.cuda

SIZES = [
    ((5, 4), (10, 8)), ((5, 7), (3, 4)), ((4, 3), (9, 8)), ((1, 1), (3, 3)), ((6, 5), (6, 5)), ((5, 5), (1, 1)),
    ((3, 3), (7, 2)), ((9, 2), (4, 19)), ((40, 1), (7, 1)),
]  # fmt: skip
sizes = pytest.mark.parametrize("size,out", SIZES)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
batches = pytest.mark.parametrize("batch", [2, 0])


def steps(size, out, aligned=False):
    """Source pixels per output pixel."""
    if aligned:
        return tuple((n - 1) / (m - 1) if m > 1 else 0.0 for n, m in zip(size, out, strict=True))
    return tuple(n / m for n, m in zip(size, out, strict=True))


def planes(rng, batch, size, dtype):
    return rng.standard_normal((batch, 1, *size)).astype(dtype)


@sizes
@dtypes
@batches
def test_nearest(size, out, dtype, batch):
    x, dy = (planes(np.random.default_rng(i), batch, s, dtype) for i, s in enumerate((size, out)))
    assert_equal(both("resize", "interpolate_nearest_forward", x, rubbish(dy.shape, dtype), steps(size, out)))
    assert_equal(both("resize", "interpolate_nearest_backward", dy, rubbish(x.shape, dtype), steps(size, out)))


@pytest.mark.parametrize("aligned", [False, True])
@sizes
@dtypes
@batches
def test_bilinear(size, out, dtype, batch, aligned):
    x, dy = (planes(np.random.default_rng(i), batch, s, dtype) for i, s in enumerate((size, out)))
    rule = aligned, steps(size, out, aligned)
    assert_close(both("resize", "interpolate_bilinear_forward", x, rubbish(dy.shape, dtype), *rule))
    assert_close(both("resize", "interpolate_bilinear_backward", dy, rubbish(x.shape, dtype), *rule))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("size,out", SIZES[:3])
def test_infinity_and_nan_reach_what_the_reference_says(mode, size, out):
    rng = np.random.default_rng(2)
    x, dy = (rng.choice([np.nan, np.inf, *np.arange(9.0)], (1, 2, *s)) for s in (size, out))
    rule = (steps(size, out),) if mode == "nearest" else (False, steps(size, out))
    assert_close(both("resize", f"interpolate_{mode}_forward", x, rubbish(dy.shape), *rule))
    assert_close(both("resize", f"interpolate_{mode}_backward", dy, rubbish(x.shape), *rule))


def test_a_scale_that_is_not_the_ratio_of_the_sizes():
    x, dy = planes(np.random.default_rng(0), 1, (4, 5), float), planes(np.random.default_rng(1), 1, (8, 7), float)
    for scale in ((1 / 2.1, 1 / 1.5), (0.9, 0.1)):
        assert_equal(both("resize", "interpolate_nearest_forward", x, rubbish(dy.shape), scale))
        assert_equal(both("resize", "interpolate_nearest_backward", dy, rubbish(x.shape), scale))
        assert_close(both("resize", "interpolate_bilinear_forward", x, rubbish(dy.shape), False, scale))
        assert_close(both("resize", "interpolate_bilinear_backward", dy, rubbish(x.shape), False, scale))


def test_tables_are_made_once_and_stay_on_the_device():
    """A table whose memory went back to the pool would be overwritten by the next array of its size."""
    resize, memory = kernels("resize"), kernels("memory")
    x, y = memory.to_device(np.arange(6.0).reshape(1, 1, 1, 6)), memory.empty((1, 1, 1, 3), np.float64)
    for _ in range(2):
        resize.interpolate_nearest_forward(x, y, (1.0, 2.0))
        assert memory.to_host(y).ravel().tolist() == [0, 2, 4]
        for n in (3, 7, 10):  # sizes of the tables, in arrays of as many bytes
            memory.to_device(np.full(n, 2**32 - 1, np.uint32))
    assert resize._nearest(3, 6, 2.0) is resize._nearest(3, 6, 2.0)
