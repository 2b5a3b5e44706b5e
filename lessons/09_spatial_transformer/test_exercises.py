"""Tests of tasks 9.2 to 9.4: ``pytest lessons/09_spatial_transformer``, or one task with ``-k 9_3_``."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv.nn import functional as F
from tinyconv_kernels import reference

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_09_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

BOTH = pytest.mark.parametrize("align_corners", [True, False])
SHAPES = [((2, 3, 4, 5), (3, 2)), ((1, 1, 2, 7), (4, 4)), ((3, 2, 6, 2), (1, 5))]  # of the images; of the targets
IDENTITY = np.array([[[1.0, 0, 0], [0, 1, 0]]])


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


def drawn(shape, target, align_corners, seed=0):
    """Return images and a grid that sees up to two pixels past all of their ends."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(-2, np.array(shape[:1:-1]) + 1, (shape[0], *target, 2))
    return rng.standard_normal(shape), at(pixels, shape[2:], align_corners)


def written(function, shape, *given, dtype=float):
    """Return what a kernel writes over NaN; None in ``given`` is where the output stands."""
    out = np.full(shape, np.nan, dtype)
    found = quietly(lambda *rest: function(*[out if v is None else v for v in rest]), *given)
    assert found is None, "a kernel returns nothing"
    return out


# ------------------------------------------------------------------------------------------------ 9.2: sampler, forward

sampling = pytest.mark.task(
    id="9.2",
    points=3,
    minutes=30,
    difficulty=2,
    hint="floor gives the pixel before, the rest is the weight of the one after; leave out what is not there",
)


def sampled(x, grid, align_corners=True, dtype=float):
    x, grid = np.asarray(x, dtype), np.asarray(grid, dtype)
    y = written(exercises.grid_sample_bilinear_forward, (*x.shape[:2], *grid.shape[1:3]), x, grid, None, 0,
                align_corners, dtype=dtype)  # fmt: skip
    return y


@sampling
@BOTH
def test_9_2_by_hand(align_corners):
    """.375 of 1, .125 of 2, .375 of 3 and .125 of 5."""
    y = sampled([[[[1, 2], [3, 5]]]], at([[[[0.25, 0.5]]]], (2, 2), align_corners), align_corners)
    np.testing.assert_allclose(y, [[[[2.375]]]], rtol=1e-14)


@sampling
@BOTH
def test_9_2_a_quarter_turn_is_rot90(align_corners):
    x, theta = np.arange(9.0).reshape(1, 1, 3, 3), np.array([[[0.0, -1, 0], [1, 0, 0]]])
    grid = F.affine_grid(tinyconv.tensor(theta), x.shape, align_corners).numpy()
    np.testing.assert_allclose(sampled(x, grid, align_corners)[0, 0], [[2, 5, 8], [1, 4, 7], [0, 3, 6]], atol=1e-12)


@sampling
def test_9_2_the_identity_changes_no_bit():
    """The coordinates of five and three pixels are exact in binary."""
    x = np.random.default_rng(2).standard_normal((2, 3, 5, 3))
    grid = F.affine_grid(tinyconv.tensor(np.repeat(IDENTITY, 2, 0)), x.shape, True).numpy()
    np.testing.assert_array_equal(sampled(x, grid), x)


@sampling
@BOTH
def test_9_2_past_the_ends_the_image_fades(align_corners):
    """In a row of ones, 0.25 px past an end leaves .75, nearly a pixel .001, one whole pixel nothing."""
    pixels = [[[(p, 0) for p in (-1.5, -1, -0.999, -0.25, 0, 2, 2.25, 2.999, 3, 3.5)]]]
    y = sampled(np.ones((1, 1, 2, 3)), at(pixels, (2, 3), align_corners), align_corners)
    np.testing.assert_allclose(y[0, 0, 0], [0, 0, 0.001, 0.75, 1, 1, 0.75, 0.001, 0, 0], atol=1e-12)


@sampling
@BOTH
@pytest.mark.parametrize(("shape", "target"), SHAPES)
def test_9_2_is_the_definition(shape, target, align_corners):
    x, grid = drawn(shape, target, align_corners)
    y = np.empty((*shape[:2], *target))
    reference.sampler.grid_sample_bilinear_forward(x, grid, y, 0, align_corners)
    np.testing.assert_allclose(sampled(x, grid, align_corners), y, atol=1e-12)
    np.testing.assert_allclose(sampled(x, grid, align_corners, np.float32), y, atol=2e-5)


@sampling
@BOTH
def test_9_2_nowhere_is_not_a_place(align_corners):
    """NaN is seen in all channels of its output only; infinitely far there is nothing."""
    grid = np.zeros((1, 2, 3, 2))
    grid[0, 0] = [(np.nan, 0), (0, np.nan), (np.nan, np.inf)]
    grid[0, 1] = [(np.inf, 0), (0, -np.inf), (1e30, -1e30)]
    y = sampled(np.ones((1, 2, 3, 4)), grid, align_corners)
    assert np.isnan(y[0, :, 0]).all()
    np.testing.assert_array_equal(y[0, :, 1], 0)


@sampling
@BOTH
def test_9_2_what_is_not_there_is_not_read(align_corners):
    """Past the left end there are zeros, whatever stands at the right end of the row."""
    x = np.ones((1, 1, 3, 3))
    x[..., -1], x[..., -1, :] = np.nan, np.nan
    y = sampled(x, at([[[(-0.5, 0.5), (0.5, -0.5)]]], (3, 3), align_corners), align_corners)
    np.testing.assert_allclose(y, [[[[0.5, 0.5]]]], rtol=1e-12)


@sampling
@pytest.mark.parametrize(("shape", "target"), [((0, 1, 3, 3), (2, 2)), ((2, 0, 3, 3), (2, 2)), ((2, 1, 3, 3), (0, 2))])
def test_9_2_nothing(shape, target):
    assert sampled(np.ones(shape), np.zeros((shape[0], *target, 2))).shape == (*shape[:2], *target)


# ----------------------------------------------------------------------------------- 9.3: the gradient to the positions

moving = pytest.mark.task(
    id="9.3",
    points=4,
    minutes=35,
    difficulty=3,
    hint="each of the four pixels has two weights and two changes of them, -1 before the position and 1 after",
)


def pulled(x, grid, align_corners=True, dy=None):
    """Return dgrid; dy is all ones by default."""
    x, grid = np.asarray(x, float), np.asarray(grid, float)
    dy = np.ones((*x.shape[:2], *grid.shape[1:3])) if dy is None else dy
    return written(exercises.grid_sample_bilinear_backward_grid, grid.shape, dy, x, grid, None, 0, align_corners)


@moving
@pytest.mark.parametrize(("align_corners", "worth"), [(True, 0.5), (False, 1.0)])
def test_9_3_by_hand(align_corners, worth):
    """Per pixel 1.5 and 2.25; the coordinate of two pixels is worth half a pixel, or one."""
    found = pulled([[[[1, 2], [3, 5]]]], at([[[[0.25, 0.5]]]], (2, 2), align_corners), align_corners)
    np.testing.assert_allclose(found, [[[[1.5 * worth, 2.25 * worth]]]], rtol=1e-13)


@moving
def test_9_3_at_a_whole_position_it_is_the_derivative_to_the_right():
    """2, 5, 11: at 5 the left derivative is 3, the right one 6; the paper's formula says 5. At 11 it falls to 0."""
    pixels = [[[(1, 0), (1.25, 0), (0.75, 0), (2, 0), (-1, 0)]]]
    row = [[[[2.0, 5, 11], [2, 5, 11]]]]
    np.testing.assert_allclose(pulled(row, at(pixels, (2, 3)))[0, 0, :, 0], [6, 6, 3, -11, 2])
    column = np.swapaxes(row, 2, 3)
    np.testing.assert_allclose(pulled(column, at(np.flip(pixels, -1), (3, 2)))[0, 0, :, 1], [6, 6, 3, -11, 2])


@moving
@BOTH
def test_9_3_a_whole_pixel_past_the_image_it_is_0(align_corners):
    pixels = [[[(3, 0.5), (0.5, 2), (-1.5, 0.5), (0.5, -1.25), (7, 9)]]]
    grid = at(pixels, (2, 3), align_corners) + 1e-9
    grid[..., 2:, :] -= 1e-9
    np.testing.assert_array_equal(pulled(np.ones((1, 1, 2, 3)), grid, align_corners), 0)


@moving
@BOTH
@pytest.mark.parametrize(("shape", "target"), SHAPES)
def test_9_3_is_the_definition(shape, target, align_corners):
    x, grid = drawn(shape, target, align_corners, seed=3)
    dy, wanted = np.random.default_rng(4).standard_normal((*shape[:2], *target)), np.empty_like(grid)
    reference.sampler.grid_sample_bilinear_backward_grid(dy, x, grid, wanted, 0, align_corners)
    np.testing.assert_allclose(pulled(x, grid, align_corners, dy), wanted, atol=1e-11)


@moving
@BOTH
def test_9_3_nowhere_has_no_gradient(align_corners):
    """Where one number is NaN both gradients are; infinitely far they are 0."""
    grid = np.zeros((1, 2, 3, 2))
    grid[0, 0] = [(np.nan, 0), (0, np.nan), (np.nan, np.inf)]
    grid[0, 1] = [(np.inf, 0), (0, -np.inf), (1e30, -1e30)]
    found = pulled(np.ones((1, 2, 3, 4)), grid, align_corners)
    assert np.isnan(found[0, 0]).all()
    np.testing.assert_array_equal(found[0, 1], 0)


@moving
@BOTH
def test_9_3_the_gradient_check(align_corners):
    """Of the library's forward kernel, between whole positions."""
    x, _ = drawn((2, 2, 3, 4), (3, 3), align_corners)
    pixels = np.random.default_rng(5).integers(-1, 3, (2, 3, 3, 2)) + np.random.default_rng(6).uniform(0.2, 0.8, 2)
    grid = at(pixels, (3, 4), align_corners)
    pulled(x, grid, align_corners)  # a task that is not written says so

    class Sample(tinyconv.Function):
        @staticmethod
        def forward(ctx, grid):
            y = np.empty((2, 2, 3, 3))
            reference.sampler.grid_sample_bilinear_forward(x, grid, y, 0, align_corners)
            ctx.save(grid)
            return y

        @staticmethod
        def backward(ctx, dy):
            return pulled(x, ctx.saved[0], align_corners, dy)

    tinyconv.gradcheck(Sample.apply, [grid])


@moving
def test_9_3_no_channel_pulls():
    np.testing.assert_array_equal(pulled(np.ones((2, 0, 3, 3)), np.zeros((2, 2, 2, 2))), 0)


# -------------------------------------------------------------------------------------- 9.4: the gradient to the images

returning = pytest.mark.task(
    id="9.4",
    points=2,
    minutes=20,
    difficulty=2,
    hint="the loops of task 9.2 with the arrow turned round; add, and begin with zeros",
)


def returned(dy, grid, shape, align_corners=True):
    dy, grid = np.asarray(dy, float), np.asarray(grid, float)
    return written(exercises.grid_sample_bilinear_backward_input, shape, dy, grid, None, 0, align_corners)


@returning
@BOTH
def test_9_4_by_hand(align_corners):
    grid = at([[[[0.25, 0.5]]]], (2, 2), align_corners)
    dx = returned([[[[8.0]]]], grid, (1, 1, 2, 2), align_corners)
    np.testing.assert_allclose(dx, [[[[3, 1], [3, 1]]]], rtol=1e-13)


@returning
def test_9_4_what_two_outputs_read_gets_from_both():
    grid = at([[[(1, 0), (1, 0), (1.5, 0)]]], (2, 3))
    dx = returned([[[[1.0, 10, 100]]]], grid, (1, 1, 2, 3))
    np.testing.assert_allclose(dx, [[[[0, 61, 50], [0, 0, 0]]]])


@returning
@BOTH
@pytest.mark.parametrize(("shape", "target"), SHAPES)
def test_9_4_is_the_definition(shape, target, align_corners):
    _, grid = drawn(shape, target, align_corners, seed=7)
    dy, wanted = np.random.default_rng(8).standard_normal((*shape[:2], *target)), np.empty(shape)
    reference.sampler.grid_sample_bilinear_backward_input(dy, grid, wanted, 0, align_corners)
    np.testing.assert_allclose(returned(dy, grid, shape, align_corners), wanted, atol=1e-12)


@returning
@BOTH
def test_9_4_nowhere_gives_nothing_back(align_corners):
    far = [(np.nan, 0), (0, np.nan), (np.inf, 0), (0, -np.inf), (1e30, 0)]
    dx = returned(np.ones((1, 2, 1, 5)), [[far]], (1, 2, 3, 4), align_corners)
    np.testing.assert_array_equal(dx, 0)


@returning
def test_9_4_nothing():
    np.testing.assert_array_equal(returned(np.ones((2, 1, 0, 3)), np.ones((2, 0, 3, 2)), (2, 1, 3, 3)), 0)
