"""Tests of tasks 9.9 and 9.10: ``pytest lessons/09_spatial_transformer``, or one task with ``-k 9_9_``."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv.explain.attended import rotation, scale
from tinyconv.nn import functional as F

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_09_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


def quietly(function, *given):
    """Call a function with warnings as errors, and check that it leaves its arrays as they were."""
    kept = [np.array(v, copy=True) for v in given]
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        found = function(*given)
    for before, after in zip(kept, given, strict=True):
        np.testing.assert_array_equal(after, before, err_msg="an argument was changed")
    assert found is not None and len(found) == 3, f"{function.__name__} must return three results"
    return found


# ------------------------------------------------------------------------------------------- 9.9: co-localisation hinge

hinge = pytest.mark.task(
    id="9.9", points=3, minutes=30, difficulty=2, hint="N x N terms; e_n stands in its row and in its column"
)


def features(seed, count, numbers, spread=1.0):
    """Return e and beside, random."""
    rng = np.random.default_rng(seed)
    return spread * rng.standard_normal((count, numbers)), spread * rng.standard_normal((count, numbers))


@hinge
def test_9_9_by_hand():
    """At 0 and 2: 4 apart. The first window is 1 away, 4 - 1 + 1 = 4; the second is 3 away, 4 - 9 + 1 < 0."""
    loss, de, dbeside = quietly(exercises.triplet_hinge, np.array([[0.0], [2]]), np.array([[1.0], [5]]))
    assert loss == 4
    np.testing.assert_array_equal(dbeside, [[-2], [0]])  # 2 (0 - 1)
    np.testing.assert_array_equal(de, [[-4 + 2], [4]])  # 2 (0 - 2) - 2 (0 - 1), and 2 (2 - 0)


@hinge
def test_9_9_both_orders_of_a_pair_count():
    """Three alike, and beside them the same: six terms of 1, and no direction to go."""
    loss, de, dbeside = quietly(exercises.triplet_hinge, np.ones((3, 2)), np.ones((3, 2)))
    assert loss == 6
    np.testing.assert_array_equal(de, np.zeros((3, 2)))
    np.testing.assert_array_equal(dbeside, np.zeros((3, 2)))


@hinge
def test_9_9_an_image_is_no_partner_of_its_own():
    """With itself it would be 0 - |e - beside|^2 + 1, here 0.75, were it there."""
    loss, de, _ = quietly(exercises.triplet_hinge, np.array([[0.0], [0]]), np.array([[0.5], [0.5]]))
    assert loss == 1.5
    np.testing.assert_array_equal(de, [[1], [1]])


@hinge
def test_9_9_pairs_that_are_alike_enough_are_left_alone():
    """4 - 25 + 1 and 4 - 5 + 1: below 0, and exactly 0."""
    found = quietly(exercises.triplet_hinge, np.array([[0.0, 0], [2, 0]]), np.array([[5.0, 0], [3, 2]]))
    for part in found:
        np.testing.assert_array_equal(part, np.zeros_like(part))


@hinge
@pytest.mark.parametrize("count", [0, 1])
def test_9_9_without_a_pair_there_is_nothing(count):
    loss, de, dbeside = quietly(exercises.triplet_hinge, *features(0, count, 3))
    assert loss == 0
    for part in (de, dbeside):
        np.testing.assert_array_equal(part, np.zeros((count, 3)))


@hinge
@pytest.mark.parametrize(("count", "numbers", "spread"), [(2, 1, 1), (5, 3, 0.4), (8, 4, 2), (6, 2, 30)])
def test_9_9_is_what_the_engine_makes_of_it(count, numbers, spread):
    e, beside = features(count, count, numbers, spread)
    loss, de, dbeside = quietly(exercises.triplet_hinge, e, beside)
    given = [tinyconv.tensor(v, requires_grad=True) for v in (e, beside)]
    near = ((given[0].reshape(count, 1, numbers) - given[0].reshape(1, count, numbers)) ** 2).sum(2)
    away = ((given[0] - given[1]) ** 2).sum(1).reshape(count, 1)
    total = (F.relu(near - away + 1.0) * tinyconv.tensor(1 - np.eye(count))).sum()
    wanted = tinyconv.grad(total, given)
    assert loss == pytest.approx(total.item(), rel=1e-9)
    for found, gradient in zip((de, dbeside), wanted, strict=True):
        np.testing.assert_allclose(found, gradient.numpy(), rtol=1e-9, atol=1e-9)
    active = F.relu(near - away + 1.0).detach().numpy() > 0
    assert 0 < active.sum() < active.size, "the case tests both sides of the hinge"


@hinge
def test_9_9_gradient_by_small_steps():
    e, beside = features(7, 4, 2)
    _, de, dbeside = quietly(exercises.triplet_hinge, e, beside)
    for array, gradient in ((e, de), (beside, dbeside)):
        measured = np.empty_like(array)
        for place in np.ndindex(array.shape):
            kept, sides = array[place], []
            for step in (1e-6, -1e-6):
                array[place] = kept + step
                sides.append(exercises.triplet_hinge(e, beside)[0])
            array[place] = kept
            measured[place] = (sides[0] - sides[1]) / 2e-6
        np.testing.assert_allclose(gradient, measured, atol=1e-6)


# ------------------------------------------------------------------------------------------------ 9.10: angle and scale

turned = pytest.mark.task(
    id="9.10", points=2, minutes=20, difficulty=2, hint="arctan2 of what is skew and of the trace; flip a column first"
)


def turn(degrees, by=1.0):
    """Return a map (2, 3) that turns counter-clockwise on the screen and scales, with some shift."""
    c, s = by * np.cos(np.radians(degrees)), by * np.sin(np.radians(degrees))
    return np.array([[c, s, 0.3], [-s, c, -5]])


@turned
@pytest.mark.parametrize("degrees", [0, 30, -30, 90, -90, 135, -179.5, 180])
@pytest.mark.parametrize("by", [1, 0.25, 3])
def test_9_10_turns_and_scales(degrees, by):
    angle, size, flipped = quietly(exercises.polar, turn(degrees, by)[None])
    assert angle[0] == pytest.approx(degrees, abs=1e-9)
    assert size[0] == pytest.approx(by)
    assert not flipped[0] and flipped.dtype == bool and angle.shape == size.shape == flipped.shape == (1,)


@turned
def test_9_10_half_a_turn_is_180_whatever_the_sign_of_zero():
    theta = np.array([[[-1.0, zero, 0], [other, -1, 0]] for zero in (0.0, -0.0) for other in (0.0, -0.0)])
    np.testing.assert_array_equal(quietly(exercises.polar, theta)[0], [180] * 4)


@turned
def test_9_10_counter_clockwise_on_the_screen():
    """At 90 degrees the target's right end looks at the source's upper end: (1, 0) -> (0, -1), y grows downwards."""
    quarter = np.array([[[0.0, 1, 0], [-1, 0, 0]]])
    np.testing.assert_array_equal(quarter[0, :, :2] @ [1, 0], [0, -1])
    assert quietly(exercises.polar, quarter)[0][0] == 90


@turned
@pytest.mark.parametrize("seed", range(4))
def test_9_10_the_nearest_rotation(seed):
    """No other of 3,600 angles gives a rotation that is nearer to a plain map."""
    matrix = np.random.default_rng(seed).standard_normal((2, 2))
    matrix[:, 0] *= np.sign(np.linalg.det(matrix))
    angle, size, flipped = (v[0] for v in quietly(exercises.polar, np.c_[matrix, [7.0, 8]][None]))
    tried = np.radians(np.arange(-1800, 1800) / 10)
    away = [((np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) - matrix) ** 2).sum() for t in tried]
    apart = (angle - np.degrees(tried[int(np.argmin(away))]) + 180) % 360 - 180
    assert abs(apart) <= 0.051
    assert size == pytest.approx(np.sqrt(np.linalg.det(matrix))) and not flipped


@turned
def test_9_10_stretching_along_any_axes_turns_nothing():
    """A symmetric matrix of positive eigenvalues: R is the identity; areas stay as they are, 2 * 0.5 = 1."""
    axes = turn(25)[:, :2]
    matrix = axes @ np.diag([2, 0.5]) @ axes.T
    angle, size, flipped = quietly(exercises.polar, np.c_[matrix, [0, 0]][None])
    np.testing.assert_allclose([angle[0], size[0]], [0, 1], atol=1e-9)
    both = np.c_[turn(40)[:, :2] @ matrix, [0, 0]][None]
    assert quietly(exercises.polar, both)[0][0] == pytest.approx(40)
    assert not flipped[0]


@turned
@pytest.mark.parametrize("degrees", [0, 20, -110])
def test_9_10_mirrored_maps(degrees):
    """The first column has the other sign; what is left is a turn by the angle."""
    theta = turn(degrees, 0.5)
    theta[:, 0] *= -1
    angle, size, flipped = quietly(exercises.polar, theta[None])
    np.testing.assert_allclose([angle[0], size[0]], [degrees, 0.5], atol=1e-9)
    assert flipped[0]


@turned
def test_9_10_each_image_by_itself():
    mirrored = turn(10, 2) * [-1, 1, 1]
    theta = np.stack([turn(10, 2), mirrored, turn(-50, 0.1), np.array([[1.0, 0, 0], [0, 0, 0]])])
    angle, size, flipped = quietly(exercises.polar, theta)
    np.testing.assert_allclose(angle, [10, 10, -50, 0], atol=1e-9)
    np.testing.assert_allclose(size, [2, 2, 0.1, 0], atol=1e-9)
    np.testing.assert_array_equal(flipped, [False, True, False, False])
    assert all(len(part) == 0 for part in quietly(exercises.polar, np.zeros((0, 2, 3))))


@turned
def test_9_10_are_the_librarys_where_nothing_is_mirrored():
    theta = np.random.default_rng(9).standard_normal((200, 2, 3))
    plain = np.linalg.det(theta[:, :, :2]) > 0
    angle, size, flipped = quietly(exercises.polar, theta)
    np.testing.assert_allclose(angle[plain], rotation(theta)[plain], atol=1e-9)
    np.testing.assert_allclose(size, scale(theta), atol=1e-12)
    np.testing.assert_array_equal(flipped, ~plain)
