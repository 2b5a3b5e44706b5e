"""Normalisation kernels: reference = cpu, the LRN vectors of three sources, batch norm's accuracy and gradients."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import norm as cpu
from tinyconv_kernels.reference import norm as reference

modules = pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SHAPES = [(2, 7, 30), (3, 1, 5), (1, 12, 1300), (2, 3, 1), (1, 1, 1), (0, 3, 4), (2, 3, 0)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def close(dtype):
    return {"rtol": 5e-6 if dtype == np.float32 else 1e-12, "atol": 5e-6 if dtype == np.float32 else 1e-13}


def lrn(module, x, size, alpha, beta, k, dy=None):
    y, scale, dx = (np.full_like(x, 77) for _ in range(3))
    module.local_response_norm_forward(x, y, scale, size, alpha, beta, k)
    if dy is not None:
        module.local_response_norm_backward(dy, x, scale, dx, size, alpha, beta)
    return y, scale, dx


@shapes
@dtypes
@pytest.mark.parametrize("size,beta", [(5, 0.75), (1, 0.75), (4, 0.75), (9, 0.5), (5, 1.0), (40, 0.75)])
def test_lrn(shape, dtype, size, beta):
    rng = np.random.default_rng(0)
    x, dy = 3 * rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    for want, got in zip(
        lrn(reference, x, size, 0.1, beta, 1.5, dy), lrn(cpu, x, size, 0.1, beta, 1.5, dy), strict=True
    ):
        np.testing.assert_allclose(got, want, **close(dtype))


@modules
@pytest.mark.parametrize(
    "value,channels,alpha,k,want",
    [
        (10, 7, 1e-4, 2, [5.8800087, 5.8583778, 5.8369316, 5.8369316, 5.8369316, 5.8583778, 5.8800087]),  # the paper
        (10, 7, 1e-4 / 5, 1, [9.9552350, 9.9404169, 9.9256503, 9.9256503, 9.9256503, 9.9404169, 9.9552350]),  # Caffe
        (1, 5, 1e-4, 2, [0.5945367, 0.5945144, 0.5944921, 0.5945144, 0.5945367]),
    ],
)
def test_lrn_published_scalings(module, value, channels, alpha, k, want):
    y, _, _ = lrn(module, np.full((1, channels, 1), float(value)), 5, alpha, 0.75, k)
    np.testing.assert_allclose(y[0, :, 0], want, atol=5e-8)


def test_lrn_over_more_channels_than_there_are():
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 2, 3, 5))
    for want, got in zip(*(lrn(cpu, x, size, 0.1, 0.75, 1.5, dy) for size in (7, 10**12)), strict=True):
        np.testing.assert_array_equal(got, want)


@modules
@pytest.mark.parametrize("size", [3, 4, 5])
def test_lrn_gradient_is_the_slope(module, size):
    """The whole Jacobian of one pixel against central differences."""
    rng = np.random.default_rng(1)
    x, step = rng.standard_normal((1, 6, 1)), 1e-6
    for i in range(6):
        dy = np.zeros_like(x)
        dy[0, i] = 1
        dx = lrn(module, x, size, 0.3, 0.75, 2.0, dy)[2]
        for j in range(6):
            moved = np.zeros_like(x)
            moved[0, j] = step
            high, low = (lrn(module, x + sign * moved, size, 0.3, 0.75, 2.0)[0][0, i, 0] for sign in (1, -1))
            assert dx[0, j, 0] == pytest.approx((high - low) / (2 * step), abs=1e-8)


@modules
def test_lrn_nan_stays_in_its_pixel(module):
    x = np.ones((1, 7, 3))
    x[0, 3, 1] = np.nan
    y, _, _ = lrn(module, x, 5, 1e-4, 0.75, 2.0)
    np.testing.assert_array_equal(np.isnan(y[0, :, 1]), [False, True, True, True, True, True, False])
    assert not np.isnan(y[0][:, [0, 2]]).any()


def batch_norm(module, x, dy, weight, bias, train):
    mean, var, dweight, dbias = (np.full(x.shape[1], 77, x.dtype) for _ in range(4))
    y, dx = np.full_like(x, 77), np.full_like(x, 77)
    module.batch_norm_statistics(x, mean, var)
    invstd = 1 / np.sqrt(var + x.dtype.type(1e-5))
    module.batch_norm_forward(x, mean, invstd, weight, bias, y)
    module.batch_norm_backward(dy, x, mean, invstd, weight, dx, dweight, dbias, train)
    return mean, var, y, dx, dweight, dbias


@shapes
@dtypes
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(shape, dtype, train, affine):
    rng = np.random.default_rng(2)
    x, dy = (rng.standard_normal(shape) + 3).astype(dtype), rng.standard_normal(shape).astype(dtype)
    weight, bias = (rng.standard_normal(shape[1]).astype(dtype) if affine else None for _ in range(2))
    want, got = (batch_norm(module, x, dy, weight, bias, train) for module in (reference, cpu))
    # dx of a few values in training is a difference of nearly equal numbers: judged against the size of its terms.
    size = 1 + (300 if shape[0] * shape[2] < 6 else 0)
    for a, b in zip(want, got, strict=True):
        np.testing.assert_allclose(b, a, rtol=close(dtype)["rtol"] * 4, atol=size * close(dtype)["atol"])


@modules
@dtypes
def test_statistics_far_from_zero(module, dtype):
    """mean(x^2) - mean(x)^2 in float32 would be off by more than the variance itself."""
    x = np.random.default_rng(3).standard_normal((8, 2, 500)).astype(dtype) + dtype(1e4)
    mean, var = np.empty(2, dtype), np.empty(2, dtype)
    module.batch_norm_statistics(x, mean, var)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var(axis=(0, 2)), rtol=1e-6)
    y = np.empty_like(x)
    module.batch_norm_forward(x, mean, 1 / np.sqrt(var), None, None, y)
    assert np.abs(y.mean(axis=(0, 2), dtype=np.float64)).max() < 1e-3
    np.testing.assert_allclose(y.std(axis=(0, 2), dtype=np.float64), 1, rtol=1e-5)


@modules
def test_batch_norm_gradient_in_training(module):
    """Normalised data cannot move along a shift or a stretch of x: dx is at right angles to 1 and to xhat."""
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((4, 3, 5)), rng.standard_normal((4, 3, 5))
    _, _, y, dx, dweight, dbias = batch_norm(module, x, dy, None, None, True)
    np.testing.assert_allclose(dbias, dy.sum(axis=(0, 2)))
    np.testing.assert_allclose(dweight, (dy * y).sum(axis=(0, 2)))
    np.testing.assert_allclose(dx.sum(axis=(0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose((dx * y).sum(axis=(0, 2)), 0, atol=1e-3)  # eps in the standard deviation: not quite 0
    step = 1e-6 * rng.standard_normal(x.shape)
    high, low = (batch_norm(module, x + sign * step, dy, None, None, True)[2] for sign in (1, -1))
    assert (dx * step).sum() == pytest.approx(((high - low) / 2 * dy).sum(), rel=1e-6)


@modules
def test_batch_norm_outputs_may_be_none(module):
    rng = np.random.default_rng(5)
    x, dy, weight = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4)), rng.standard_normal(3)
    mean, _, _, want_dx, want_dweight, want_dbias = batch_norm(module, x, dy, weight, None, True)
    invstd = 1 / np.sqrt(x.var(axis=(0, 2)) + 1e-5)
    dx, dweight, dbias = np.empty_like(x), np.empty(3), np.empty(3)
    module.batch_norm_backward(dy, x, mean, invstd, weight, dx, None, None, True)
    module.batch_norm_backward(dy, x, mean, invstd, weight, None, dweight, None, True)
    module.batch_norm_backward(dy, x, mean, invstd, weight, None, None, dbias, True)
    np.testing.assert_allclose(dx, want_dx)
    np.testing.assert_allclose(dweight, want_dweight)
    np.testing.assert_allclose(dbias, want_dbias)


@modules
def test_statistics_of_an_empty_batch(module):
    mean, var = np.full(3, 77.0), np.full(3, 77.0)
    module.batch_norm_statistics(np.empty((0, 3, 4)), mean, var)
    assert mean.tolist() == var.tolist() == [0, 0, 0]


@pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
@pytest.mark.parametrize("first", [1e6, np.inf, np.nan])
def test_statistics_do_not_hang_on_the_first_pixels(module, first):
    """The CPU kernel sums differences from the first pixels' mean: an outlier there must cost no digits."""
    x = np.random.default_rng(0).standard_normal((3, 2, 700)).astype(np.float32)
    x[0, 0, 0] = first
    mean, var = np.empty(2, np.float32), np.empty(2, np.float32)
    module.batch_norm_statistics(x, mean, var)
    wide = x.astype(np.float64)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(mean, wide.mean((0, 2)), rtol=1e-6)
        np.testing.assert_allclose(var, wide.var((0, 2)), rtol=1e-6)


@pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
def test_a_constant_channel_has_no_negative_variance(module):
    x, mean, var = np.full((3, 1, 301), 0.1, np.float32), np.empty(1, np.float32), np.empty(1, np.float32)
    module.batch_norm_statistics(x, mean, var)
    assert 0 <= var[0] < 1e-15
