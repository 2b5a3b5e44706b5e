"""Tests of tasks 9.6 to 9.8: ``pytest lessons/09_spatial_transformer``, or one task with ``-k 9_6_``."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import nn
from tinyconv.nn import functional as F

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_09_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


def quietly(function, *given):
    """Call a function with warnings as errors, and check that it leaves its arrays as they were."""
    kept = [np.array(v, copy=True) for v in given if isinstance(v, np.ndarray)]
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        found = function(*given)
    for before, after in zip(kept, [v for v in given if isinstance(v, np.ndarray)], strict=True):
        np.testing.assert_array_equal(after, before, err_msg="an argument was changed")
    return found


def result(function, *given):
    """Return what a function of the student's returns."""
    found = quietly(function, *given)
    assert found is not None, f"{function.__name__} returns nothing yet"
    return found


# ------------------------------------------------------------------------------------------------ 9.6: where one begins

begin = pytest.mark.task(
    id="9.6", points=1, minutes=15, difficulty=1, hint="the last Linear: weights 0, biases the numbers; write into them"
)
NUMBERS = [0.5, 0.25, -0.125, 3, -4, 0.75]


def network(seed=0, dtype=np.float32):
    """Return a localisation network whose last Linear lies deep, with a layer after it; the first is as wide."""
    tinyconv.manual_seed(seed)
    head = nn.Sequential(nn.Linear(8, 6, dtype=dtype), nn.Identity())
    body = [nn.Flatten(), nn.Linear(16, 6, dtype=dtype), nn.ReLU(), nn.Linear(6, 8, dtype=dtype), nn.ReLU()]
    return nn.Sequential(*body, head)


def values(p):
    """Return a Parameter's numbers."""
    return p.detach().numpy()


def images(seed=1, dtype=np.float32):
    """Return five images."""
    return tinyconv.tensor(np.random.default_rng(seed).random((5, 1, 4, 4)).astype(dtype))


@begin
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_9_6_all_images_begin_alike(dtype):
    net = network(dtype=dtype)
    exercises.start_with(net, NUMBERS)
    found = net(images(dtype=dtype)).detach().numpy()
    np.testing.assert_array_equal(found, np.tile(NUMBERS, (5, 1)))
    assert found.dtype == dtype


@begin
def test_9_6_only_the_last_layer_is_changed():
    net, before = network(), [values(p).copy() for p in network().parameters()]
    kept = list(net.parameters())
    exercises.start_with(net, tuple(NUMBERS))
    after = list(net.parameters())
    assert len(after) == 6 and all(a is b for a, b in zip(after, kept, strict=True)), "the Parameters are other ones"
    assert all(p.requires_grad and p.node is None for p in after), "a Parameter does not learn any more"
    for p, value in zip(after[:-2], before, strict=False):
        np.testing.assert_array_equal(values(p), value, err_msg="a layer below was changed")
    np.testing.assert_array_equal(values(after[-2]), 0)
    np.testing.assert_array_equal(values(after[-1]), NUMBERS)


@begin
def test_9_6_it_learns_from_the_first_step_on():
    """Only the last layer has a gradient in the first step, all have one in the second."""
    net, x = network(2), images(3)
    exercises.start_with(net, NUMBERS)
    sizes = []
    for _ in range(2):
        net.zero_grad()
        ((net(x) - 1) ** 2).sum().backward()
        sizes.append([float(np.abs(p.grad.numpy()).max()) for p in net.parameters()])
        with tinyconv.no_grad():
            for p in net.parameters():
                p.sub_(p.grad * 0.01)
    below, last = sizes[0][:4], sizes[0][4:]
    assert max(below) == 0 and min(last) > 0
    assert min(sizes[1]) > 0


@begin
@pytest.mark.parametrize("count", [5, 7, 0])
def test_9_6_other_counts_raise_and_change_nothing(count):
    net = network()
    before = [values(p).copy() for p in net.parameters()]
    with pytest.raises(ValueError):
        exercises.start_with(net, [1.0] * count)
    for p, value in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(values(p), value)


@begin
def test_9_6_without_a_linear_it_raises():
    with pytest.raises(ValueError):
        exercises.start_with(nn.Sequential(nn.Conv2d(1, 6, 4), nn.Flatten()), NUMBERS)


@begin
def test_9_6_without_biases_it_raises_and_changes_nothing():
    """Though a layer below has biases, and as many outputs."""
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6, bias=False))
    before = [values(p).copy() for p in net.parameters()]
    with pytest.raises(ValueError):
        exercises.start_with(net, NUMBERS)
    for p, value in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(values(p), value)


@begin
def test_9_6_tiles_by_hand():
    np.testing.assert_array_equal(result(exercises.tiles, 1), [[1, 0, 0]])
    four = [[0.5, -0.5, -0.5], [0.5, 0.5, -0.5], [0.5, -0.5, 0.5], [0.5, 0.5, 0.5]]
    np.testing.assert_array_equal(result(exercises.tiles, 2), four)


@begin
@pytest.mark.parametrize("side", [2, 3, 5])
def test_9_6_tiles_meet_at_their_edges_and_cover_all(side):
    found = result(exercises.tiles, side)
    assert found.shape == (side * side, 3)
    edges = np.linspace(-1, 1, side + 1)
    for k, (s, x, y) in enumerate(found):
        row, column = divmod(k, side)
        np.testing.assert_allclose([x - s, x + s], edges[column : column + 2], atol=1e-12)
        np.testing.assert_allclose([y - s, y + s], edges[row : row + 2], atol=1e-12)


# ------------------------------------------------------------------------------------------------ 9.7: projective grids

project = pytest.mark.task(
    id="9.7", points=2, minutes=30, difficulty=2, hint="a d near 0 becomes 1e-6 of its sign, and has no gradient then"
)
PLAIN = [1, 0, 0, 0, 1, 0, 0, 0]


def grid(theta, height=3, width=3):
    """Return the student's grid."""
    return result(exercises.projective_grid, np.array(theta, float), height, width)


def slopes(dgrid, theta):
    """Return the student's gradient."""
    return result(exercises.projective_grid_backward, np.array(dgrid, float), np.array(theta, float))


@project
def test_9_7_the_identity_has_x_first_and_rows_below_each_other():
    found = grid([PLAIN], 2, 5)
    assert found.shape == (1, 2, 5, 2)
    np.testing.assert_allclose(found[0, :, :, 0], [[-1, -0.5, 0, 0.5, 1]] * 2, atol=1e-12)
    np.testing.assert_allclose(found[0, :, :, 1], [[-1] * 5, [1] * 5], atol=1e-12)


@project
def test_9_7_without_t7_and_t8_it_is_affine():
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((3, 8))
    theta[:, 6:] = 0
    x, y = np.meshgrid(np.linspace(-1, 1, 6), np.linspace(-1, 1, 4))
    wanted = np.einsum("nij,hwj->nhwi", theta[:, :6].reshape(3, 2, 3), np.stack([x, y, np.ones_like(x)], 2))
    np.testing.assert_allclose(grid(theta, 4, 6), wanted, atol=1e-12)


@project
def test_9_7_by_hand():
    """t7 = .5 makes d = .5, 1, 1.5 by columns; t8 = .5 the same by rows."""
    found = grid([[1, 0, 0, 0, 1, 0, 0.5, 0], [1, 0, 0, 0, 1, 0, 0, 0.5]])
    np.testing.assert_allclose(found[0, :, :, 0], [[-2, 0, 2 / 3]] * 3, atol=1e-12)
    np.testing.assert_allclose(found[0, :, :, 1], [[-2, -1, -2 / 3], [0, 0, 0], [2, 1, 2 / 3]], atol=1e-12)
    np.testing.assert_allclose(found[1, :, :, 0], found[0, :, :, 1].T, atol=1e-12)
    np.testing.assert_allclose(found[1, :, :, 1], found[0, :, :, 0].T, atol=1e-12)
    full = grid([[2, 3, 5, 7, 11, 13, 0.25, 0.5]])[0]
    np.testing.assert_allclose(full[0, 2], [(2 - 3 + 5) / 0.75, (7 - 11 + 13) / 0.75], atol=1e-12)


@project
@pytest.mark.parametrize(
    ("t7", "d"),
    [(1, 1e-6), (1 + 2.0**-30, -1e-6), (1 - 2.0**-30, 1e-6), (0.5, 0.5), (3, -2), (1 + 2.0**-18, -(2.0**-18))],
)
def test_9_7_a_small_denominator_keeps_its_sign(t7, d):
    """In the first column d is 1 - t7."""
    found = grid([[1, 0, 0, 0, 1, 0, t7, 0]])[0]
    np.testing.assert_allclose(found[:, 0, 0], -1 / d, rtol=1e-9)
    np.testing.assert_allclose(found[:, 0, 1], np.array([-1, 0, 1]) / d, rtol=1e-9)


def measured_slopes(dgrid, theta, step=1e-6):
    """Return the gradient by differences of the student's grid."""
    found = np.zeros_like(theta)
    for k in np.ndindex(theta.shape):
        there, here = theta.copy(), theta.copy()
        there[k] += step
        here[k] -= step
        ahead, back = (grid(t, *dgrid.shape[1:3]) for t in (there, here))
        found[k] = ((ahead - back) * dgrid).sum() / (2 * step)
    return found


@project
def test_9_7_gradient_is_that_of_differences():
    rng = np.random.default_rng(1)
    theta = rng.standard_normal((3, 8)) * 0.3 + PLAIN
    dgrid = rng.standard_normal((3, 4, 5, 2))
    found = slopes(dgrid, theta)
    assert found.shape == (3, 8)
    np.testing.assert_allclose(found, measured_slopes(dgrid, theta), rtol=1e-5, atol=1e-5)


@project
def test_9_7_gradient_by_hand():
    """One position, x = 1, y = -1, d = .75: d x_s / d t1 = x / d, d x_s / d t7 = - x_s x / d."""
    theta = [[2, 3, 5, 7, 11, 13, 0.25, 0.5]]
    dgrid = np.zeros((1, 3, 3, 2))
    dgrid[0, 0, 2] = 1, 10
    xs, ys, d = 4 / 0.75, 9 / 0.75, 0.75
    fall = -(xs + 10 * ys) / d
    wanted = np.array([1 / d, -1 / d, 1 / d, 10 / d, -10 / d, 10 / d, fall, -fall])
    np.testing.assert_allclose(slopes(dgrid, theta)[0], wanted, rtol=1e-12)


@project
@pytest.mark.parametrize(("t7", "d"), [(1, 1e-6), (1 + 2.0**-30, -1e-6)])
def test_9_7_no_gradient_through_what_was_replaced(t7, d):
    """The first column's d was replaced; the others' were not."""
    theta, dgrid = [[1, 0, 0, 0, 1, 0, t7, 0]], np.zeros((1, 3, 3, 2))
    dgrid[0, 2, 0] = 2, 3
    first = slopes(dgrid, theta)[0]
    np.testing.assert_array_equal(first[6:], 0)
    np.testing.assert_allclose(first[:6], np.array([-2, 2, 2, -3, 3, 3]) / d, rtol=1e-9)
    dgrid[0, 1, 2] = 1, 1
    xs = 1 / (t7 + 1)
    np.testing.assert_allclose((slopes(dgrid, theta)[0] - first)[6:], [-xs / (t7 + 1), 0], rtol=1e-9)


@project
def test_9_7_is_the_librarys():
    rng = np.random.default_rng(2)
    theta = rng.standard_normal((2, 8)) * 0.4 + PLAIN
    dgrid = rng.standard_normal((2, 5, 4, 2))
    given = tinyconv.tensor(theta, requires_grad=True)
    wanted = F.projective_grid(given, (2, 1, 5, 4), align_corners=True)
    wanted.backward(tinyconv.tensor(dgrid))
    np.testing.assert_allclose(grid(theta, 5, 4), wanted.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(slopes(dgrid, theta), given.grad.numpy(), rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------------------------------------- 9.8: thin-plate splines

bend = pytest.mark.task(
    id="9.8", points=3, minutes=35, difficulty=3, hint="[[U, P], [P^T, 0]] [w; a] = [Q; 0]; put 1 into log where r is 0"
)
REGULAR = np.array([(x, y) for y in np.linspace(-1, 1, 4) for x in np.linspace(-1, 1, 4)])
CORNERS = np.array([(-1.0, -1), (1, -1), (-1, 1), (1, 1)])


def scattered(k, seed=0):
    """Return control points that are not regular."""
    return np.random.default_rng(seed).uniform(-2, 3, (k, 2))


def solved(control, positions):
    """Return the student's w and a."""
    w, a = result(exercises.spline_weights, np.array(control), np.array(positions))
    assert (w.shape, a.shape) == ((len(control), 2), (3, 2))
    return w, a


def bent(points, control, w, a):
    """Return the student's T."""
    return result(exercises.spline, np.array(points, float), np.array(control), np.array(w), np.array(a))


@bend
def test_9_8_radial_by_hand():
    found = result(exercises.radial, np.array([[0, 1, np.e], [4, 0.25, 0]]))
    np.testing.assert_allclose(found, [[0, 0, np.e], [8 * np.log(2), -0.5 * np.log(2), 0]], atol=1e-15)


@bend
@pytest.mark.parametrize("control", [REGULAR, CORNERS, scattered(9)], ids=["4x4", "corners", "scattered"])
def test_9_8_an_affine_map_needs_no_weights(control):
    """The identity and another one: w = 0, and T is affine everywhere, also far outside."""
    rng = np.random.default_rng(3)
    for matrix, shift in ((np.eye(2), np.zeros(2)), (rng.standard_normal((2, 2)), rng.standard_normal(2))):
        w, a = solved(control, control @ matrix + shift)
        np.testing.assert_allclose(w, 0, atol=1e-11)
        np.testing.assert_allclose(a, [shift, *matrix], atol=1e-11)
        points = rng.uniform(-10, 10, (20, 2))
        np.testing.assert_allclose(bent(points, control, w, a), points @ matrix + shift, atol=1e-8)


@bend
@pytest.mark.parametrize("control", [REGULAR, scattered(7), scattered(4, 1)], ids=["4x4", "seven", "four"])
def test_9_8_it_goes_where_it_is_told_and_does_not_bend_far_away(control):
    positions = np.random.default_rng(4).standard_normal((len(control), 2))
    w, a = solved(control, positions)
    np.testing.assert_allclose(bent(control, control, w, a), positions, atol=1e-9)
    np.testing.assert_allclose(w.sum(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(control.T @ w, 0, atol=1e-10)
    assert np.abs(w).max() > 1e-3


@bend
def test_9_8_four_corners_by_hand():
    """In x all move by +-1 with the sign of x y: w = +-1 / (8 log 2), and nothing is tilted."""
    sign = CORNERS[:, 0] * CORNERS[:, 1]
    w, a = solved(CORNERS, CORNERS + np.stack([sign, np.zeros(4)], axis=1))
    np.testing.assert_allclose(w, np.stack([sign / (8 * np.log(2)), np.zeros(4)], axis=1), atol=1e-12)
    np.testing.assert_allclose(a, [[0, 0], [1, 0], [0, 1]], atol=1e-12)
    inside = 0.5 + (0.5 * np.log(0.5) + 4.5 * np.log(4.5) - 5 * np.log(2.5)) / (8 * np.log(2))
    found = bent([[0, 0], [1, 0], [0.5, 0.5], [1, 1]], CORNERS, w, a)
    np.testing.assert_allclose(found, [[0, 0], [1, 0], [inside, 0.5], [2, 1]], atol=1e-12)


@bend
def test_9_8_the_spline_is_its_formula():
    """One weight alone, beside numbers a that all differ."""
    control, w, a = np.array([[1.0, 2], [0, 0]]), np.array([[1.0, 10], [0, 0]]), np.array([[3.0, 5], [7, 11], [13, 17]])
    found = bent([[1, 2], [2, 2], [1, 0]], control, w, a)
    bump = 4 * np.log(4)
    wanted = [[3 + 7 + 26, 5 + 11 + 34], [3 + 14 + 26, 5 + 22 + 34], [3 + 7 + bump, 5 + 11 + 10 * bump]]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@bend
def test_9_8_is_the_librarys():
    rng = np.random.default_rng(5)
    positions = REGULAR + 0.3 * rng.standard_normal((16, 2))
    wanted = F.thin_plate_spline_grid(tinyconv.tensor(positions[None]), (1, 1, 6, 5), align_corners=True).numpy()[0]
    points = np.array([(x, y) for y in np.linspace(-1, 1, 6) for x in np.linspace(-1, 1, 5)])
    found = bent(points, REGULAR, *solved(REGULAR, positions))
    np.testing.assert_allclose(found.reshape(6, 5, 2), wanted, atol=1e-9)
