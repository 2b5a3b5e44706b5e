"""Normalisation on the device = reference; batch norm's sums in several parts, far from zero, odd values, empty."""

import numpy as np
import pytest
from compared import assert_close, both, quick_barriers, rubbish  # noqa: F401 (a fixture)
from on_device import home, kernels, moved

from tinyconv_kernels.reference import norm as reference

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("quick_barriers")]

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SHAPES = [(2, 7, 9), (3, 1, 5), (5, 3, 1), (1, 1, 1), (0, 3, 4), (2, 3, 0)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


@shapes
@dtypes
@pytest.mark.parametrize("size,beta", [(5, 0.75), (1, 0.75), (4, 0.75), (3, 0.5), (40, 1.0), (10**12, 0.75)])
def test_lrn(shape, dtype, size, beta):
    rng = np.random.default_rng(0)
    x, dy = 3 * rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    y, scale, dx = (rubbish(shape, dtype) for _ in range(3))
    results = both("norm", "local_response_norm_forward", x, y, scale, size, 0.1, beta, 1.5)
    assert_close(results)
    assert_close(both("norm", "local_response_norm_backward", dy, x, results[0][2], dx, size, 0.1, beta))


def test_lrn_of_infinity_and_nan():
    x = np.random.default_rng(1).choice([np.nan, np.inf, 0.0, 1.0, 2.0], (1, 9, 5))
    scale, y, dx = (rubbish(x.shape) for _ in range(3))
    results = both("norm", "local_response_norm_forward", x, y, scale, 3, 0.5, 0.5, 1.0)
    assert_close(results)
    assert_close(both("norm", "local_response_norm_backward", x + 1, x, results[0][2], dx, 3, 0.5, 0.5))


@shapes
@dtypes
def test_statistics(shape, dtype):
    x = (np.random.default_rng(2).standard_normal(shape) + 3).astype(dtype)
    assert_close(both("norm", "batch_norm_statistics", x, rubbish(shape[1], dtype), rubbish(shape[1], dtype)))


@shapes
@dtypes
@pytest.mark.parametrize("weighted,shifted", [(True, True), (True, False), (False, True), (False, False)])
def test_batch_norm_forward(shape, dtype, weighted, shifted):
    rng = np.random.default_rng(3)
    x, (mean, invstd, weight, bias) = rng.standard_normal(shape), rng.random((4, shape[1])) + 0.5
    arrays = [a.astype(dtype) for a in (x, mean, invstd, weight, bias)]
    arrays[3:] = [a if wanted else None for a, wanted in zip(arrays[3:], (weighted, shifted), strict=True)]
    assert_close(both("norm", "batch_norm_forward", *arrays, rubbish(shape, dtype)))


@shapes
@dtypes
@pytest.mark.parametrize("train,weighted", [(True, True), (True, False), (False, True)])
def test_batch_norm_backward(shape, dtype, train, weighted):
    rng = np.random.default_rng(4)
    (dy, x), (mean, invstd, weight) = rng.standard_normal((2, *shape)), rng.random((3, shape[1])) + 0.5
    arrays = [a.astype(dtype) for a in (dy, x, mean, invstd, weight)]
    arrays[4] = arrays[4] if weighted else None
    outputs = [rubbish(s, dtype) for s in (shape, shape[1], shape[1])]
    assert_close(both("norm", "batch_norm_backward", *arrays, *outputs, train))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True), (False,) * 3])
def test_batch_norm_gradients_that_nobody_wants(wanted, train):
    rng = np.random.default_rng(5)
    (dy, x), (mean, invstd, weight) = rng.standard_normal((2, 3, 2, 4)), rng.random((3, 2)) + 0.5
    outputs = [rubbish(s) if w else None for s, w in zip(((3, 2, 4), 2, 2), wanted, strict=True)]
    assert_close(both("norm", "batch_norm_backward", dy, x, mean, invstd, weight, *outputs, train))


# (N, C, M), values of a part: more parts than threads (then parts grow), rows longer and shorter than a block
PARTS = [((3, 2, 30), 16), ((30, 2, 3), 16), ((7, 1, 37), 100), ((33, 2, 1), 8), ((2, 2, 130), 260), ((1, 1, 70), 7)]


@pytest.mark.parametrize("shape,part", PARTS)
@pytest.mark.parametrize("threads", [2, 8])
def test_channels_in_several_parts(shape, part, threads):
    norm, rng = kernels("norm"), np.random.default_rng(6)
    x, dy = rng.standard_normal((2, *shape))
    mean, var, dweight, dbias = (moved(rubbish(shape[1])) for _ in range(4))
    norm._statistics(moved(x), mean, var, part, threads)
    found_mean, invstd = home(mean), rng.random(shape[1])
    norm._gradient_sums(moved(dy), moved(x), mean, moved(invstd), dweight, dbias, part, threads)
    found = [home(a) for a in (mean, var, dbias, dweight)]
    xhat = (x - found_mean[:, None]) * invstd[:, None]
    assert_close([[x.mean((0, 2)), x.var((0, 2)), dy.sum((0, 2)), (dy * xhat).sum((0, 2))], found])


@pytest.mark.parametrize("centre", [1e4, 1e6])
@pytest.mark.parametrize("part", [1 << 14, 200])
def test_statistics_far_from_zero(centre, part):
    """mean(x^2) - mean(x)^2 in float32 would be off by more than the variance itself."""
    x = np.random.default_rng(7).standard_normal((4, 2, 700)).astype(np.float32) + np.float32(centre)
    mean, var = (moved(rubbish(2, np.float32)) for _ in range(2))
    kernels("norm")._statistics(moved(x), mean, var, part)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(home(mean), exact.mean((0, 2)), rtol=1e-6)
    np.testing.assert_allclose(home(var), exact.var((0, 2)), rtol=1e-5)


@dtypes
@pytest.mark.parametrize("odd", [1e6, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 250, 399])
def test_statistics_with_one_odd_value(odd, dtype, place):
    x = np.random.default_rng(8).standard_normal((2, 2, 200)).astype(dtype)
    x[place // 200, 0, place % 200] = odd
    wanted, mean, var = [rubbish(2, dtype) for _ in range(2)], *(moved(rubbish(2, dtype)) for _ in range(2))
    reference.batch_norm_statistics(x, *wanted)
    kernels("norm")._statistics(moved(x), mean, var, 128)
    for want, got in zip(wanted, (mean, var), strict=True):
        np.testing.assert_allclose(home(got), want, rtol=1e-5 if dtype == np.float32 else 1e-12)


def test_statistics_of_a_constant_and_of_huge_values():
    norm, mean, var = kernels("norm"), moved(rubbish(1, np.float32)), moved(rubbish(1, np.float32))
    norm.batch_norm_statistics(moved(np.full((3, 1, 101), 0.1, np.float32)), mean, var)
    assert 0 <= home(var).item() < 1e-15
    norm.batch_norm_statistics(moved(np.full((3, 1, 101), 2e36, np.float32)), mean, var)  # whose sum is infinite
    assert home(mean).item() == pytest.approx(2e36)
