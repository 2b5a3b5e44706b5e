"""Sampling: reference = cpu, positions that have no pixel, are NaN or infinite, and numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyconv_kernels.cpu import sampler as cpu
from tinyconv_kernels.geometry import BORDER, REFLECTION, ZEROS
from tinyconv_kernels.reference import sampler as reference

modules = pytest.mark.parametrize("module", [reference, cpu])
paddings = pytest.mark.parametrize("padding", [ZEROS, BORDER, REFLECTION])
corners = pytest.mark.parametrize("align_corners", [False, True])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
DEGENERATE = (0.0, -1.0, 1.0, 1e-30, -1e-30, -3.0, 1e30, -1e30, np.inf, -np.inf, np.nan)


def everything(module, x, grid, dy, *rule):
    """All five kernels into outputs filled with rubbish: a kernel must overwrite them completely."""
    y, near = np.full(dy.shape, 77, x.dtype), np.full(dy.shape, 77, x.dtype)
    dx, spread, dgrid = np.full(x.shape, 77, x.dtype), np.full(x.shape, 77, x.dtype), np.full(grid.shape, 77, x.dtype)
    module.grid_sample_bilinear_forward(x, grid, y, *rule)
    module.grid_sample_bilinear_backward_input(dy, grid, dx, *rule)
    module.grid_sample_bilinear_backward_grid(dy, x, grid, dgrid, *rule)
    module.grid_sample_nearest_forward(x, grid, near, *rule)
    module.grid_sample_nearest_backward_input(dy, grid, spread, *rule)
    return {"y": y, "dx": dx, "dgrid": dgrid, "near": near, "spread": spread}


def assert_same(x, grid, dy, *rule):
    """Reference and cpu agree, NaN too: bit for bit, but for the gradient of the grid, which is a sum over channels."""
    with np.errstate(all="ignore"):
        want, got = everything(reference, x, grid, dy, *rule), everything(cpu, x, grid, dy, *rule)
    near = 2e-5 if x.dtype == np.float32 else 1e-11
    for name, value in want.items():
        largest = np.abs(value[np.isfinite(value)]).max(initial=0)
        tolerance = near if name == "dgrid" else 0
        np.testing.assert_allclose(got[name], value, rtol=tolerance, atol=tolerance * largest, err_msg=name)


def drawn(seed, shape, out, dtype, spread=1.5):
    rng = np.random.default_rng(seed)
    grid = rng.uniform(-spread, spread, (shape[0], *out, 2))
    return (a.astype(dtype) for a in (rng.standard_normal(shape), grid, rng.standard_normal((*shape[:2], *out))))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 70), st.integers(1, 9), st.integers(1, 9)),
    out=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    padding=st.sampled_from([ZEROS, BORDER, REFLECTION]),
    align_corners=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    spread=st.sampled_from([0.9, 1.5, 20.0]),
    seed=st.integers(0, 1000),
)
def test_cpu_is_the_reference(shape, out, padding, align_corners, dtype, spread, seed):
    assert_same(*drawn(seed, shape, out, dtype, spread), padding, align_corners)


@paddings
@corners
@dtypes
@pytest.mark.parametrize("shape", [(1, 2, 4, 5), (1, 40, 3, 6), (1, 1, 1, 1), (1, 2, 1, 4)])
def test_degenerate_positions_are_the_same(padding, align_corners, dtype, shape):
    x, _, dy = drawn(3, shape, (11, 11), dtype)
    grid = np.stack(np.meshgrid(DEGENERATE, DEGENERATE), -1)[None].astype(dtype)
    assert_same(x, grid, dy, padding, align_corners)


@paddings
@corners
@dtypes
def test_nan_and_infinite_pixels_and_nan_gradients_are_the_same(padding, align_corners, dtype):
    x, grid, dy = drawn(4, (2, 20, 5, 4), (9, 10), dtype)
    x[0, 3, 2, 1], x[0, 3, 0, 0], x[1, 19, 4, 3] = np.nan, np.nan, np.inf
    dy[0, 5, 3, 3], dy[1, 0, 0, 0] = np.nan, np.nan
    grid[0, :2] = np.round(grid[0, :2])  # whole positions too, which read a neighbour with weight 0
    assert_same(x, grid, dy, padding, align_corners)


@modules
@dtypes
@corners
@pytest.mark.parametrize("position", [(np.nan, 0.3), (0.3, np.nan), (np.nan, np.nan), (np.nan, 1e30), (np.inf, np.nan)])
@paddings
def test_a_nan_position_is_seen_in_every_channel(module, dtype, align_corners, position, padding):
    x, _, dy = drawn(5, (1, 14, 3, 4), (1, 2), dtype)
    grid = np.array([[[position, (0.2, -0.1)]]], dtype)
    with np.errstate(all="ignore"):
        found = everything(module, x, grid, dy, padding, align_corners)
        alone = everything(module, x, grid[:, :, 1:], dy[..., 1:].copy(), padding, align_corners)
    assert np.isnan(found["y"][..., 0]).all() and np.isnan(found["near"][..., 0]).all()
    assert np.isnan(found["dgrid"][0, 0, 0]).all()
    np.testing.assert_array_equal(found["y"][..., 1:], alone["y"])
    np.testing.assert_array_equal(found["dgrid"][:, :, 1:], alone["dgrid"])
    for name in ("dx", "spread"):
        np.testing.assert_array_equal(found[name], alone[name], name)


@modules
@dtypes
@corners
@pytest.mark.parametrize("far", [7.0, 1e30, np.inf])
@pytest.mark.parametrize("channels", [1, 33])
def test_far_outside(module, dtype, align_corners, far, channels):
    """Zeros read nothing and give nothing; the border is read and gives the grid nothing."""
    x, _, dy = drawn(6, (1, channels, 3, 4), (2, 2), dtype)
    signs = np.array([[(-1, -1), (1, -1)], [(-1, 1), (1, 1)]])
    grid = (signs * far).astype(dtype)[None]
    with np.errstate(all="ignore"):
        zeros = everything(module, x, grid, dy, ZEROS, align_corners)
        border = everything(module, x, grid, dy, BORDER, align_corners)
    for name, found in zeros.items():
        assert not found.any(), name
    ends = x[:, :, ::2, ::3]
    np.testing.assert_array_equal(border["y"], ends)
    np.testing.assert_array_equal(border["near"], ends)
    assert not border["dgrid"].any()
    for name in ("dx", "spread"):
        np.testing.assert_array_equal(border[name][:, :, ::2, ::3], dy)
        assert border[name].sum() == pytest.approx(dy.sum(), rel=1e-4, abs=1e-4)


@modules
@corners
@dtypes
def test_reflection_of_an_infinite_position_is_nan_of_a_huge_one_inside(module, align_corners, dtype):
    x, _, dy = drawn(7, (1, 2, 3, 4), (1, 3), dtype)
    x = abs(x) + dtype(1)
    grid = np.array([[[(np.inf, 0.1), (0.1, -np.inf), (1e30, -1e30)]]], dtype)
    with np.errstate(all="ignore"):
        found = everything(module, x, grid, dy, REFLECTION, align_corners)
    assert np.isnan(found["y"][..., :2]).all() and np.isnan(found["dgrid"][:, :, :2]).all()
    assert (x.min() <= found["y"][..., 2]).all() and (found["y"][..., 2] <= x.max()).all()
    assert np.isfinite(found["dx"]).all() and np.isfinite(found["dgrid"][:, :, 2]).all()


@modules
@paddings
@dtypes
def test_one_pixel_is_everywhere_with_aligned_corners(module, padding, dtype):
    """All of -1 to 1, and beyond, is its centre, whatever the padding; but NaN is NaN."""
    x, grid = np.array([[[[3.0]]]], dtype), np.array([[[(v, v) for v in DEGENERATE]]], dtype)
    with np.errstate(all="ignore"):
        found = everything(module, x, grid, np.ones((1, 1, 1, len(DEGENERATE)), dtype), padding, True)
    np.testing.assert_array_equal(found["y"].ravel(), [3.0] * (len(DEGENERATE) - 1) + [np.nan])
    assert found["dx"].ravel() == len(DEGENERATE) - 1
    assert not found["dgrid"][..., :-1, :].any()


@modules
@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (2, 40, 4, 5)])
@dtypes
@pytest.mark.parametrize("padding", [ZEROS, BORDER, REFLECTION])
def test_all_positions_at_one_place(module, shape, dtype, padding):
    """A transform of scale 0: every output is one mixture, whose gradients add up in its four pixels."""
    x, _, dy = drawn(8, shape, (3, 3), dtype)
    grid = np.zeros((shape[0], 3, 3, 2), dtype)  # position (1.5, 2) of (4, 5) pixels
    found = everything(module, x, grid, dy, padding, True)
    middle = (x[:, :, 1, 2] + x[:, :, 2, 2]) / 2
    np.testing.assert_allclose(found["y"], np.broadcast_to(middle[..., None, None], dy.shape), rtol=1e-6)
    total, near = dy.sum((2, 3)), 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found["dx"][:, :, 1, 2], total / 2, rtol=near, atol=near)
    np.testing.assert_allclose(found["dx"][:, :, 2, 2], total / 2, rtol=near, atol=near)
    found["dx"][:, :, 1:3, 2] = 0
    assert not found["dx"].any()


@modules
def test_halves_go_to_the_even_pixel(module):
    x = np.arange(10.0, 15.0).reshape(1, 1, 1, 5)
    positions = np.array([-0.5, 0.5, 1.5, 2.5, 3.5, 4.5, -0.51, 4.51, 0.49, 0.51])
    grid = np.stack([positions / 2 - 1, np.zeros(10)], -1)[None, None]
    y = np.empty((1, 1, 1, 10))
    module.grid_sample_nearest_forward(x, grid, y, ZEROS, True)
    assert y.ravel().tolist() == [10, 10, 12, 12, 14, 14, 0, 0, 10, 11]


@modules
def test_a_pixel_outside_is_not_read_one_inside_with_weight_0_is(module):
    """As PyTorch: 0 times the NaN beside a whole position is NaN; the last pixel has nothing beside it."""
    x = np.array([[[[np.nan, 5.0, np.nan, 7.0]]]])
    grid = np.array([[[(-1 / 3, -1.0), (1.0, -1.0), (1 / 3 + 1, -1.0)]]])  # at 1, at 3, at 3.5
    y = np.empty((1, 1, 1, 3))
    module.grid_sample_bilinear_forward(x, grid, y, ZEROS, True)
    assert np.isnan(y[0, 0, 0, 0]) and y[0, 0, 0, 1] == 7
    module.grid_sample_bilinear_forward(x, grid, y, BORDER, True)
    assert y[0, 0, 0, 1] == y[0, 0, 0, 2] == 7
