"""Lesson 09, steps 1 to 5: what they write by hand is what the library computes; what they show is so."""

from __future__ import annotations

import re

import numpy as np
import pytest
from _exercises import LESSONS
from _steps import imported, run_step, script_of

import tinyconv
from tinyconv.functional.grids import control_points, target_grid, thin_plate_spline
from tinyconv.nn import functional as F
from tinyconv_kernels import reference

LESSON = LESSONS / "09_spatial_transformer"
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A step by its number: imported as with --smoke, and what it prints as a program; both once."""
    folder, found = tmp_path_factory.mktemp("lesson09"), {}

    def of(number: int):
        if number not in found:
            script = script_of(LESSON, number)
            found[number] = imported(script, folder)[0], run_step(script, folder)
        return found[number]

    return of


@slow
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_step_runs(ran, number):
    text = ran(number)[1]
    assert "next: " in text and ": False" not in text and " False" not in text


def grids(rng, *shape):
    """Return normalised positions that see past all ends."""
    return rng.uniform(-1.6, 1.6, (*shape, 2))


# -------------------------------------------------------------------------------------------------------------- step 1


@slow
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(3, 5), (1, 4), (28, 28)])
def test_grids_by_hand(ran, size, align_corners):
    step, _ = ran(1)
    np.testing.assert_allclose(step.targets(*size, align_corners), target_grid(size, align_corners), atol=1e-14)
    theta = np.random.default_rng(0).standard_normal((2, 3))
    wanted = F.affine_grid(tinyconv.tensor(theta[None]), (1, 1, *size), align_corners).numpy()[0]
    np.testing.assert_allclose(step.affine(theta, *size, align_corners), wanted, atol=1e-13)


@slow
def test_step_1_prints_the_corners(ran):
    _, text = ran(1)
    assert (
        "align_corners=True: x = [-1.  0.  1.]" in text and "align_corners=False: x = [-0.6667  0.      0.6667]" in text
    )
    found = [
        line.split("[")[1].rstrip("]").split() for line in text.splitlines() if re.match(r"  (upper|lower) ", line)
    ]
    assert np.array(found, float).tolist() == [[-0.25, -0.75], [0.75, -0.75], [-0.25, 0.25], [0.75, 0.25]]


@slow
def test_a_positive_shift_of_the_grid_moves_what_is_seen_to_the_left(ran):
    step, _ = ran(1)
    dot = np.zeros((9, 9))
    dot[4, 6] = 1
    assert np.argwhere(step.look(dot, step.affine(step.turn(0, x=0.5), 9, 9))).tolist() == [[4, 4]]
    turned = step.look(dot, step.affine(step.turn(90), 9, 9))  # clockwise: what was on the right is now above
    assert np.argwhere(turned > 0.5).tolist() == [[2, 4]]


@slow
def test_forwards_leaves_holes(ran):
    """A picture made twice as large has a quarter of its pixels; the identity none less."""
    step, _ = ran(1)
    image = np.random.default_rng(1).random((9, 9))
    np.testing.assert_array_equal(step.forwards(image, step.turn(0)), image)
    large = step.forwards(image, step.turn(0, 0.5))
    np.testing.assert_array_equal(large[::2, ::2], image[2:7, 2:7])
    assert np.isnan(large).sum() == 81 - 25


# -------------------------------------------------------------------------------------------------------------- step 2


@slow
def test_the_sampler_by_hand(ran):
    step, text = ran(2)
    rng = np.random.default_rng(2)
    image, grid = rng.standard_normal((3, 4, 6)), grids(rng, 5, 7)
    wanted = np.empty((1, 3, 5, 7))
    reference.sampler.grid_sample_bilinear_forward(image[None], grid[None], wanted, 0, True)
    np.testing.assert_allclose(step.sample(image, grid), wanted[0], atol=1e-12)
    assert "weights [0.375 0.125 0.375 0.125], V = 2.375" in text
    assert "sum of the weights: 1.0 inside, 0.75 a quarter" in text


@slow
def test_outside_is_what_the_paddings_say(ran):
    """1 2 3 4 at -2, -.5, 0, 2.5, 3.5 and 5, by hand; the mirrors stand at the 1 and at the 4."""
    _, text = ran(2)
    rows = dict(re.findall(r"^  (zeros|border|reflection) +\[(.*)\]$", text, re.MULTILINE))
    assert {name: [float(v) for v in row.split()] for name, row in rows.items()} == {
        "zeros": [0, 0.5, 1, 3.5, 2, 0],
        "border": [1, 1, 1, 3.5, 4, 4],
        "reflection": [3, 1.5, 1, 3.5, 3.5, 2],
    }


@slow
def test_shrinking_reads_few_pixels(ran):
    """Nine positions 5.5 pixels apart read 5 whole and 4 half columns: 13 of 45, both ways."""
    _, text = ran(2)
    assert f"{(13 / 45) ** 2:.1%} are read" in text


# -------------------------------------------------------------------------------------------------------------- step 3


@slow
def test_gradients_by_hand(ran):
    step, text = ran(3)
    rng = np.random.default_rng(3)
    image, grid, dy = rng.standard_normal((2, 4, 5)), grids(rng, 30), rng.standard_normal((2, 30))
    dimage, dgrid = np.empty((1, 2, 4, 5)), np.empty((1, 1, 30, 2))
    batch = dy[None, :, None]
    reference.sampler.grid_sample_bilinear_backward_input(batch, grid[None, None], dimage, 0, True)
    reference.sampler.grid_sample_bilinear_backward_grid(batch, image[None], grid[None, None], dgrid, 0, True)
    for found, wanted in zip(step.backward(dy, image, grid), (dimage[0], dgrid[0, 0]), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-11)
    assert "dV/dU [0.375 0.125 0.375 0.125], dV/dpx 1.5, dV/dpy 2.25" in text


@slow
def test_slips_are_caught(ran):
    _, text = ran(3)
    assert re.findall(r"^gradient check, .*: (\w+)$", text, re.MULTILINE) == ["passes", "caught", "caught", "caught"]


@slow
def test_the_papers_formula_is_right_between_pixels_only(ran):
    step, _ = ran(3)
    between, whole = np.array([0.3, 1.7, -0.4, 2.6]), np.array([0.0, 1, 2])
    np.testing.assert_array_equal(step.paper(between, 3), step.floor_form(between, 3))
    np.testing.assert_array_equal(step.paper(whole, 3), np.eye(3))
    np.testing.assert_array_equal(step.floor_form(whole, 3), [[-1, 1, 0], [0, -1, 1], [0, 0, -1]])


@slow
def test_the_formula_says_the_same_for_left_and_right(ran):
    _, text = ran(3)
    rows = dict(re.findall(r"^  (paper|with floor|measured, \w+) {8,}(-?[\d.]+ +-?[\d.]+)$", text, re.MULTILINE))
    found = {name: [float(v) for v in row.split()] for name, row in rows.items()}
    assert found["paper"][0] == found["paper"][1]
    assert found["with floor"] == found["measured, right"] and found["with floor"][0] > 0 > found["with floor"][1]


# -------------------------------------------------------------------------------------------------------------- step 4


@slow
def test_projective_maps_and_splines_by_hand(ran):
    step, text = ran(4)
    rng = np.random.default_rng(4)
    theta = np.append(rng.standard_normal(6), [0.3, -0.4])
    targets = target_grid((5, 6), True)
    grid = F.projective_grid(tinyconv.tensor(theta[None]), (1, 1, 5, 6), True).numpy()[0]
    np.testing.assert_allclose(step.projective(theta, targets.reshape(-1, 2)), grid.reshape(-1, 2), atol=1e-12)
    control, sources = control_points(4), rng.standard_normal((16, 2))
    for found, wanted in zip(step.spline(control, sources), thin_plate_spline(control, sources), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-10)
    np.testing.assert_allclose(step.bend(control, control, sources), sources, atol=1e-10)
    assert "gradient check of the quotient: passes" in text
    assert float(re.search(r"misses them by (\S+);", text)[1]) < 1e-12


@slow
def test_what_is_degenerate_says_so(ran):
    _, text = ran(4)
    rows = re.findall(r"^  (\S.*\S) {2,}(\S+) +(\S+) +(\S+)$", text.split("positions up to")[1], re.MULTILINE)
    found = {name: tuple(map(float, rest)) for name, *rest in rows}
    assert set(found) == {
        "identity", "scale 0", "far outside", "denominator through 0", "denominator 0 at the edge", "NaN",
    }  # fmt: skip
    assert found["identity"][0] == 1 and found["identity"][2] > 0
    assert found["scale 0"][0] == 0 and found["far outside"][1:] == (0, 0)
    assert found["denominator 0 at the edge"][0] == pytest.approx(1e6, rel=0.01)
    assert np.isnan(found["NaN"]).all()


# -------------------------------------------------------------------------------------------------------------- step 5


@slow
@pytest.mark.parametrize("way", ["loops", "by_tables", "the_kernel"])
def test_three_ways_are_the_definition(ran, way):
    step, _ = ran(5)
    rng = np.random.default_rng(5)
    x, grid = rng.standard_normal((2, 3, 4, 6)), grids(rng, 2, 4, 6)
    y, wanted = np.full_like(x, np.nan), np.empty_like(x)
    reference.sampler.grid_sample_bilinear_forward(x, grid, wanted, 0, True)
    getattr(step, way)(x, grid, y)
    np.testing.assert_allclose(y, wanted, atol=1e-12)


@slow
def test_a_sum_depends_on_its_order_and_the_gather_does_not(ran):
    _, text = ran(5)
    assert int(re.search(r"in 200 orders: (\d+) different", text)[1]) > 10
    assert float(re.search(r"difference from the CPU's: (\S+)", text)[1]) < 1e-12
    assert "scale 0.25: of 784 outputs 0 to 64 read a pixel" in text
