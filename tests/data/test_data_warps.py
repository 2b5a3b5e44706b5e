"""Where warped digits' pixels look: turns by eye, corners and control points exactly, the identity."""

import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv
from distorted_tools import bilinear
from tinyconv.data import warps
from tinyconv.functional import grids
from tinyconv.nn import functional as F

SQUARE = np.array([[-1.0, -1], [1, -1], [-1, 1], [1, 1]])
POINTS = np.stack(np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-1, 1, 4)), axis=-1).reshape(16, 2)


def pixels(size):
    """Return the positions (size, size, 2) of all pixels."""
    return np.stack(np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size)), axis=-1)


def theta(angle, scale=1.0, x=0.0, y=0.0):
    a, b, c, d = warps.turn(angle, scale)
    return np.array([[a, b, x], [c, d, y]])


def test_a_positive_angle_turns_counter_clockwise_on_the_screen():
    a, b, c, d = warps.turn(90, 2.0)
    np.testing.assert_allclose([[a, b], [c, d]] @ np.array([1, 0]), [0, -2], atol=1e-15)  # right goes up
    np.testing.assert_allclose([[a, b], [c, d]] @ np.array([0, -1]), [-2, 0], atol=1e-15)  # up goes left


@pytest.mark.parametrize(("angle", "quarters"), [(90, 1), (180, 2), (-90, 3), (270, 3), (0, 0)])
@pytest.mark.parametrize("size", [5, 28])
def test_quarter_turns_are_numpys(angle, quarters, size, rng):
    image = rng.random((1, 1, size, size), dtype=np.float32)
    found = warps.warp(image, warps.affine_positions(theta(angle), size))
    assert found.shape == (1, size, size) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], np.rot90(image[0, 0], quarters), atol=5e-6)


@given(st.floats(-180, 180), st.floats(0.5, 1.5), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.integers(8, 40))
def test_an_affine_warp_is_undone_by_its_theta(angle, scale, x, y, size):
    """Theta maps positions in the old image to the new one's; the grid has its inverse at every pixel."""
    given = theta(angle, scale, x, y)
    grid = warps.affine_positions(given, size)[0].astype(np.float64)
    np.testing.assert_allclose(grid @ given[:, :2].T + given[:, 2], pixels(size), atol=1e-5)


def test_a_warp_is_the_bilinear_sum(rng):
    image = rng.random((1, 1, 9, 12), dtype=np.float32)
    grid = rng.uniform(-1.4, 1.4, (1, 15, 11, 2)).astype(np.float32)
    x, y = np.moveaxis((grid[0].astype(np.float64) + 1) / 2 * [11, 8], -1, 0)
    wanted = bilinear(image[0, 0], x, y)
    np.testing.assert_allclose(warps.warp(image, grid)[0], wanted, atol=1e-6)


# -------------------------------------------------------------------------------------------------------- projective


def test_the_corners_of_a_projective_map_are_exact(rng):
    for _ in range(50):
        corners = SQUARE + rng.uniform(-0.4, 0.4, (4, 2))
        matrix = warps.homography(corners)
        moved = np.concatenate([SQUARE, np.ones((4, 1))], axis=1) @ matrix.T
        np.testing.assert_allclose(moved[:, :2] / moved[:, 2:], corners, atol=1e-13)
        assert matrix[2, 2] == 1


def test_a_projective_map_of_a_parallelogram_is_affine():
    linear = np.array([[0.6, 0.2], [-0.1, 0.8]])
    matrix = warps.homography(SQUARE @ linear.T + [0.1, -0.2])
    np.testing.assert_allclose(matrix, [[0.6, 0.2, 0.1], [-0.1, 0.8, -0.2], [0, 0, 1]], atol=1e-15)


def test_moved_corners_look_at_the_old_ones():
    """The corners lie on pixels of a 9 x 9 image; those pixels look at the old corners, others where lines go."""
    places = np.array([[1, 0], [7, 2], [0, 8], [6, 7]])  # x, y
    grid = warps.projective_positions(places / 4 - 1, 9)[0]
    np.testing.assert_allclose(grid[places[:, 1], places[:, 0]], SQUARE, atol=1e-6)
    matrix = warps.homography(places / 4 - 1)
    back = np.concatenate([grid.reshape(-1, 2), np.ones((81, 1))], axis=1) @ matrix.T
    np.testing.assert_allclose(back[:, :2] / back[:, 2:], pixels(9).reshape(-1, 2), atol=2e-5)


def test_the_horizon_is_outside_of_the_old_image():
    """A trapezoid whose slanted sides meet in the image, on the row of pixels that looks at infinity."""
    corners = np.array([[-0.25, 0], [0.25, 0], [-0.5, 0.5], [0.5, 0.5]])
    grid = warps.projective_positions(corners, 9)
    assert np.isfinite(grid).all()
    assert abs(grid[0, 2]).max(axis=-1).min() > 1e6  # y = -0.5: where the sides meet
    image = warps.warp(np.ones((1, 1, 28, 28), np.float32), grid)
    assert (image[0, :4] == 0).all() and image[0, 5, 4] == pytest.approx(1)


@pytest.mark.parametrize(
    ("corners", "wanted"),
    [
        (SQUARE, True),
        (0.49 * SQUARE, False),  # folded as little as any, but small
        (0.51 * SQUARE, True),
        (SQUARE[[2, 0, 3, 1]], True),  # turned by a quarter
        (SQUARE[[1, 0, 3, 2]], False),  # its mirror image
        (SQUARE[[0, 1, 3, 2]], False),  # crossed
        (np.array([[0.2, 0.2], [1, -1], [-1, 1], [1, 1]]), False),  # a corner beyond the diagonal
        (np.array([[-0.1, -0.1], [1, -1], [-1, 1], [1, 1]]), False),  # nearly there
        (np.array([[-0.5, -0.5], [1, -1], [-1, 1], [1, 1]]), True),
        (0 * SQUARE, False),
    ],
)
def test_which_corners_fold_the_frame(corners, wanted):
    assert warps.is_open(corners, 0.25 * 4) is wanted


# ----------------------------------------------------------------------------------------------------------- elastic


def test_control_points_look_exactly_where_they_are_told(rng):
    """At 28 px the 4 x 4 regular points are pixels 0, 9, 18, 27 of each axis."""
    looks = POINTS + rng.normal(0, 0.1, (16, 2))
    grid = warps.elastic_positions(looks, 28)
    assert grid.shape == (1, 28, 28, 2) and grid.dtype == np.float32
    np.testing.assert_allclose(grid[0, ::9, ::9].reshape(16, 2), looks, atol=1e-6)


def test_splines_through_affine_points_are_affine():
    linear = np.array([[0.6, 0.2], [-0.1, 0.8]])
    np.testing.assert_allclose(warps.elastic_positions(POINTS, 13)[0], pixels(13), atol=1e-6)
    grid = warps.elastic_positions(POINTS @ linear.T + [0.1, -0.2], 13)[0]
    np.testing.assert_allclose(grid, pixels(13) @ linear.T + [0.1, -0.2], atol=1e-6)


def test_a_spline_moved_at_one_point_is_the_formula(rng):
    """Solved anew: T(p) = a + A p + sum of w_i U(|p - P_i|), U(r) = r^2 log r^2, with the 19 equations of the paper."""
    looks = POINTS + rng.normal(0, 0.1, (16, 2))

    def u(squared):
        return np.where(squared > 0, squared * np.log(np.maximum(squared, 1e-300)), 0)

    ones = np.column_stack([np.ones(16), POINTS])
    kernel = u(((POINTS[:, None] - POINTS) ** 2).sum(-1))
    system = np.block([[kernel, ones], [ones.T, np.zeros((3, 3))]])
    weights = np.linalg.solve(system, np.concatenate([looks, np.zeros((3, 2))]))
    places = pixels(11).reshape(-1, 2)
    basis = np.column_stack([u(((places[:, None] - POINTS) ** 2).sum(-1)), np.ones(121), places])
    np.testing.assert_allclose(warps.elastic_positions(looks, 11).reshape(-1, 2), basis @ weights, atol=1e-6)


def test_a_students_kernels_change_no_image():
    """What bends digits is computed beside the engine: a wrong kernel that is being tried must not reach the data."""

    def nothing(a, b, out):
        out[...] = 0

    mine = types.ModuleType("mine")
    mine.matmul = nothing
    grids.spline_matrix.cache_clear()
    with tinyconv.backend(mine):
        ones = tinyconv.tensor(np.ones((3, 3)))
        assert not F.matmul(ones, ones).numpy().any()  # it is the one that is used
        during = warps.elastic_positions(POINTS, 27)
    for found in (during, warps.elastic_positions(POINTS, 27)):  # and nothing wrong is kept
        np.testing.assert_allclose(found[0], pixels(27), atol=1e-6)
