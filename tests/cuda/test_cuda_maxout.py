"""Maxout on the device = reference: units of linear layers and of maps, ties, NaN, empty ones, switches."""

import numpy as np
import pytest
from compared import assert_equal, both, quick_barriers, rubbish  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("quick_barriers")]

SHAPES = [(3, 11, 5, 1), (2, 3, 2, 7), (2, 3, 1, 4), (1, 2, 4, 49), (0, 4, 5, 1), (2, 3, 4, 0)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maxout(shape, dtype):
    rng = np.random.default_rng(0)
    out = (*shape[:2], shape[3])
    x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal(out).astype(dtype)
    results = both("maxout", "maxout_forward", x, rubbish(out, dtype), rubbish(out, np.int64))
    assert_equal(results)
    assert_equal(both("maxout", "maxout_backward", dy, results[0][2], rubbish(shape, dtype)))


@pytest.mark.parametrize("values", [(0.0, 1.0), (np.nan, 0.0, 1.0), (-np.inf,), (-np.inf, np.nan)])
@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_ties_and_nan(shape, values):
    rng = np.random.default_rng(1)
    out = (*shape[:2], shape[3])
    x, dy = rng.choice(values, shape), rng.choice([np.nan, np.inf, 1.0], out)
    results = both("maxout", "maxout_forward", x, rubbish(out), rubbish(out, np.int64))
    assert_equal(results)
    assert_equal(both("maxout", "maxout_backward", dy, results[0][2], rubbish(shape)))
