"""Tests of tasks 9.1 and 9.5: ``pytest lessons/09_spatial_transformer``, or one task with ``-k 9_5_``."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv.nn import functional as F

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_09_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

BOTH = pytest.mark.parametrize("align_corners", [True, False])


def quietly(function, *given):
    """Call a function with warnings as errors, and check that it leaves its arrays as they were."""
    kept = [np.array(v, copy=True) for v in given if isinstance(v, np.ndarray)]
    with warnings.catch_warnings(), np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"):
        warnings.simplefilter("error")
        found = function(*given)
    for before, after in zip(kept, [v for v in given if isinstance(v, np.ndarray)], strict=True):
        np.testing.assert_array_equal(after, before, err_msg="an argument was changed")
    return found


def at(pixels, size, align_corners=True):
    """Return the normalised coordinates (..., 2), x first, of positions in pixels; ``size`` is (H, W)."""
    count = np.array(size[::-1], float)
    pixels = np.asarray(pixels, float)
    return 2 * pixels / (count - 1) - 1 if align_corners else (2 * pixels + 1) / count - 1


# ----------------------------------------------------------------------------------------------------- 9.1: affine grid

mapping = pytest.mark.task(
    id="9.1",
    points=2,
    minutes=20,
    difficulty=1,
    hint="positions along one axis first; then theta's left part, plus its last column",
)
IDENTITY = np.array([[[1.0, 0, 0], [0, 1, 0]]])


def grid_of(theta, size, align_corners):
    return quietly(exercises.affine_grid, np.asarray(theta, float), size, align_corners)


@mapping
@pytest.mark.parametrize(("align_corners", "wanted"), [(True, [-1, 0, 1]), (False, [-2 / 3, 0, 2 / 3])])
def test_9_1_the_identity_of_three_pixels(align_corners, wanted):
    np.testing.assert_allclose(grid_of(IDENTITY, (1, 3), align_corners)[0, 0, :, 0], wanted, atol=1e-15)
    np.testing.assert_allclose(grid_of(IDENTITY, (3, 1), align_corners)[0, :, 0, 1], wanted, atol=1e-15)


@mapping
def test_9_1_corners_by_hand():
    """Half the size, the window a quarter to the right and a quarter up."""
    grid = grid_of([[[0.5, 0, 0.25], [0, 0.5, -0.25]]], (4, 6), True)[0]
    corners = grid[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners, [(-0.25, -0.75), (0.75, -0.75), (-0.25, 0.25), (0.75, 0.25)], atol=1e-15)


@mapping
def test_9_1_every_number_of_theta_has_its_place():
    """At the target's lower right corner, (1, 1): 1 + 20 + 300 and 4000 + 50000 + 600000; at (-1, 1) with signs."""
    grid = grid_of([[[1, 20, 300], [4e3, 5e4, 6e5]]], (2, 3), True)[0]
    np.testing.assert_allclose(grid[1, 2], [321, 654000])
    np.testing.assert_allclose(grid[1, 0], [319, 646000])


@mapping
@BOTH
def test_9_1_one_pixel_looks_from_the_middle(align_corners):
    np.testing.assert_allclose(grid_of([[[3, 4, 0.5], [6, 7, -0.5]]], (1, 1), align_corners), [[[[0.5, -0.5]]]])


@mapping
@BOTH
@pytest.mark.parametrize("size", [(3, 5), (1, 4), (4, 1), (28, 28)])
def test_9_1_is_the_librarys(size, align_corners):
    theta = np.random.default_rng(1).standard_normal((3, 2, 3))
    wanted = F.affine_grid(tinyconv.tensor(theta), (3, 1, *size), align_corners).numpy()
    np.testing.assert_allclose(grid_of(theta, size, align_corners), wanted, atol=1e-13)


@mapping
def test_9_1_no_images():
    assert grid_of(np.zeros((0, 2, 3)), (3, 4), True).shape == (0, 3, 4, 2)


# ------------------------------------------------------------------------------------------------------ 9.5: reflection

mirroring = pytest.mark.task(
    id="9.5",
    points=3,
    minutes=25,
    difficulty=2,
    hint="unfold the mirrors: twice their distance is back at the same place; in its second half one walks backwards",
)


def mirrored(position, size, align_corners):
    found = quietly(exercises.reflect, np.asarray(position, float), size, align_corners)
    return [np.asarray(part) for part in found]


@mirroring
def test_9_5_mirrors_at_the_centres_by_hand():
    """Four pixels, mirrors at 0 and 3: back at the same place after 6."""
    position = np.array([1.25, -1.25, 3.5, 4.75, 6.25, 7.25, -4.5, -5.5, 100.25])
    found, slope = mirrored(position, 4, True)
    np.testing.assert_allclose(found, [1.25, 1.25, 2.5, 1.25, 0.25, 1.25, 1.5, 0.5, 1.75])
    np.testing.assert_array_equal(slope, [1, -1, -1, -1, 1, 1, 1, 1, -1])


@mirroring
def test_9_5_mirrors_at_the_edges_by_hand():
    """Four pixels, mirrors at -.5 and 3.5: back at the same place after 8; past a centre one rests."""
    position = np.array([1.25, -1.25, -2.5, 4.5, 6.75, 8.25, 9.5, -6.5, -0.25, 3.25, 3.75, -0.75])
    found, slope = mirrored(position, 4, False)
    np.testing.assert_allclose(found, [1.25, 0.25, 1.5, 2.5, 0.25, 0.25, 1.5, 1.5, 0, 3, 3, 0])
    np.testing.assert_array_equal(slope, [1, -1, -1, -1, -1, 1, 1, 1, 0, 0, 0, 0])


@mirroring
@BOTH
def test_9_5_the_ends_have_no_slope(align_corners):
    found, slope = mirrored([0, 4], 5, align_corners)
    np.testing.assert_array_equal(found, [0, 4])
    np.testing.assert_array_equal(slope, [0, 0])


@mirroring
@BOTH
def test_9_5_one_pixel_is_everywhere(align_corners):
    found, slope = mirrored([[-3.2, 0], [0.4, 17]], 1, align_corners)
    np.testing.assert_array_equal(found, np.zeros((2, 2)))
    np.testing.assert_array_equal(slope, np.zeros((2, 2)))


@mirroring
@BOTH
def test_9_5_nowhere_is_nowhere(align_corners):
    for size in (1, 4):
        found, slope = mirrored([np.nan, np.inf, -np.inf], size, align_corners)
        assert np.isnan(found).all() and np.isnan(slope).all()


@mirroring
@BOTH
@pytest.mark.parametrize("size", [2, 5, 8])
def test_9_5_is_what_the_library_sees(size, align_corners):
    """On a ramp whose pixels say where they are, what is seen is the place, and its gradient the slope."""
    position = np.random.default_rng(9).uniform(-40, 40, 300)
    grid = at(np.stack([position, np.zeros(300)], -1), (2, size), align_corners)[None, None]
    ramp = np.broadcast_to(np.arange(float(size)), (1, 1, 2, size)).copy()
    positions = tinyconv.tensor(grid, requires_grad=True)
    seen = F.grid_sample(tinyconv.tensor(ramp), positions, "bilinear", "reflection", align_corners)
    seen.sum().backward()
    found, slope = mirrored(position, size, align_corners)
    np.testing.assert_allclose(found, seen.detach().numpy()[0, 0, 0], atol=1e-9)
    worth = (size - 1) / 2 if align_corners else size / 2
    np.testing.assert_allclose(slope * worth, positions.grad.numpy()[0, 0, :, 0], atol=1e-9)


@mirroring
def test_9_5_shapes_stay():
    for shape in ((), (0,), (2, 0), (2, 3)):
        assert [part.shape for part in mirrored(np.full(shape, 1.5), 4, True)] == [shape, shape]
