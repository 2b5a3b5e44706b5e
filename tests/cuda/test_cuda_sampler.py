"""Sampling on the device = reference: modes, paddings, corners; degenerate positions are rows of tests/cases."""

import numpy as np
import pytest
from compared import assert_close, assert_equal, both, quick_barriers, rubbish  # noqa: F401 (a fixture)

from tinyconv_kernels.geometry import BORDER, REFLECTION, ZEROS

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("quick_barriers")]

paddings = pytest.mark.parametrize("padding", [ZEROS, BORDER, REFLECTION])
corners = pytest.mark.parametrize("align_corners", [False, True])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def inputs(dtype, shape=(2, 5, 4, 7), out=(5, 6)):
    """An image, positions inside and far outside of it, and an upstream gradient."""
    rng = np.random.default_rng(len(shape) + out[0])
    grid = rng.uniform(-1.6, 1.6, (shape[0], *out, 2))
    grid[:, 0] *= 5
    x, dy = rng.standard_normal(shape), rng.standard_normal((*shape[:2], *out))
    return x.astype(dtype), grid.astype(dtype), dy.astype(dtype)


@paddings
@corners
@dtypes
def test_bilinear(padding, align_corners, dtype):
    x, grid, dy = inputs(dtype)
    rule = padding, align_corners
    assert_close(both("sampler", "grid_sample_bilinear_forward", x, grid, rubbish(dy.shape, dtype), *rule))
    assert_close(both("sampler", "grid_sample_bilinear_backward_input", dy, grid, rubbish(x.shape, dtype), *rule))
    results = both("sampler", "grid_sample_bilinear_backward_grid", dy, x, grid, rubbish(grid.shape, dtype), *rule)
    assert_close(results)


@paddings
@corners
@dtypes
def test_nearest(padding, align_corners, dtype):
    x, grid, dy = inputs(dtype)
    rule = padding, align_corners
    assert_equal(both("sampler", "grid_sample_nearest_forward", x, grid, rubbish(dy.shape, dtype), *rule))
    assert_equal(both("sampler", "grid_sample_nearest_backward_input", dy, grid, rubbish(x.shape, dtype), *rule))
