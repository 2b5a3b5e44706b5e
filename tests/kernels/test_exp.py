"""The exponential that compiled loops share: against NumPy's in extended precision, and what is no number."""

import numpy as np
import pytest
from numba import njit

from tinyconv_kernels.cpu._exp import exp_negative


@njit
def _over(x, out):
    for i in range(x.size):
        out[i] = exp_negative(x[i])


@pytest.mark.parametrize(("dtype", "lowest"), [(np.float32, -103.9), (np.float64, -745.0)])
def test_within_one_unit_in_the_last_place(dtype, lowest):
    x = np.linspace(lowest, 0, 20_001).astype(dtype)
    out = np.empty_like(x)
    _over(x, out)
    exact = np.exp(x.astype(np.longdouble))
    assert np.max(np.abs(out - exact) / np.spacing(exact.astype(dtype))) <= 1
    assert out[-1] == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_numbers_and_what_is_too_small(dtype):
    x = np.array([np.nan, -np.inf, -1e30, -800, -0.0], dtype)
    out = np.empty_like(x)
    _over(x, out)
    np.testing.assert_array_equal(out, np.array([np.nan, 0, 0, 0, 1], dtype))


def test_plain_python_gives_the_same():
    for x in (np.float32(-1.5), np.float64(-1.5), -1.5):
        assert exp_negative(x) == pytest.approx(np.exp(-1.5), rel=1e-6)
