"""Grids of transformations: the spec's numbers, closed forms, gradients, degenerate theta, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor, gradcheck
from tinyconv.functional.grids import control_points, target_grid, thin_plate_spline
from tinyconv.nn import functional as F

corners = pytest.mark.parametrize("align", [True, False])
floats = pytest.mark.parametrize("dtype", [np.float32, np.float64])
P = control_points(4)
IDENTITY = {
    "affine_grid": [[1.0, 0, 0], [0, 1, 0]],
    "attention_grid": [1.0, 0, 0],
    "projective_grid": [1.0, 0, 0, 0, 1, 0, 0, 0],
    "thin_plate_spline_grid": P,
}
every_grid = pytest.mark.parametrize("op", IDENTITY)


def grid(
    op: str, theta: Any, h: int, w: int, align: bool = True, dtype: Any = np.float64, **options: Any
) -> np.ndarray:
    """Return the grid (h, w, 2) of one theta."""
    made = getattr(F, op)(Tensor(np.array(theta, dtype)[None]), (1, 1, h, w), align, **options)
    assert made.dtype == dtype and made.shape == (1, h, w, 2)
    return made.numpy()[0]


# -------------------------------------------------------------------------------------------------- the spec's numbers
def test_corners_by_hand() -> None:
    """The window is half as large, moved to the right and up: y grows downwards."""
    found = grid("affine_grid", [[0.5, 0, 0.25], [0, 0.5, -0.25]], 4, 6)
    assert found[0, 0].tolist() == [-0.25, -0.75] and found[0, -1].tolist() == [0.75, -0.75]
    assert found[-1, 0].tolist() == [-0.25, 0.25] and found[-1, -1].tolist() == [0.75, 0.25]


@floats
@pytest.mark.parametrize("align,want", [(True, [-1, 0, 1]), (False, [-2 / 3, 0, 2 / 3]), (None, [-2 / 3, 0, 2 / 3])])
@every_grid
def test_identity_of_three(op: str, align: bool | None, want: list[float], dtype: Any) -> None:
    near = 1e-14 if dtype == np.float64 else 1e-6
    found = grid(op, IDENTITY[op], 3, 3, align, dtype)  # type: ignore[arg-type]
    np.testing.assert_allclose(found[..., 0], [want] * 3, rtol=0, atol=near)
    np.testing.assert_allclose(found[..., 1], np.transpose([want] * 3), rtol=0, atol=near)


@corners
def test_target_grid_is_what_the_definitions_say(align: bool) -> None:
    """In pixels, px = (x + 1) / 2 (W - 1) or ((x + 1) W - 1) / 2, it is 0, 1, 2 and so on."""
    found = target_grid((5, 8), align)
    assert found.shape == (5, 8, 2) and found.dtype == np.float64
    sizes = np.array([8, 5])
    pixels = (found + 1) / 2 * (sizes - 1) if align else ((found + 1) * sizes - 1) / 2
    np.testing.assert_allclose(pixels[..., 0], np.tile(np.arange(8), (5, 1)), rtol=0, atol=1e-14)
    np.testing.assert_allclose(pixels[..., 1], np.tile(np.arange(5)[:, None], (1, 8)), rtol=0, atol=1e-14)
    assert target_grid((1, 1), align).tolist() == [[[0, 0]]]  # the middle


def test_control_points_are_row_by_row_x_first() -> None:
    third = 1 / 3
    np.testing.assert_allclose(P[:5], [[-1, -1], [-third, -1], [third, -1], [1, -1], [-1, -third]], atol=1e-15)
    assert P.shape == (16, 2) and P[-1].tolist() == [1, 1]


@pytest.mark.parametrize(
    "op,theta", [("affine_grid", [[0, -1, 0], [1, 0, 0]]), ("projective_grid", [0, -1, 0, 1, 0, 0, 0, 0])]
)
@corners
def test_a_quarter_turn(op: str, theta: Any, align: bool) -> None:
    u = np.arange(9.0).reshape(1, 1, 3, 3)
    seen = F.grid_sample(Tensor(u), Tensor(grid(op, theta, 3, 3, align)[None]), align_corners=align).numpy()[0, 0]
    np.testing.assert_allclose(seen, [[2, 5, 8], [1, 4, 7], [0, 3, 6]], rtol=0, atol=1e-12)


@corners
@every_grid
def test_identity_sees_the_image(op: str, align: bool) -> None:
    x = np.random.default_rng(0).random((1, 2, 28, 28))
    seen = F.grid_sample(Tensor(x), Tensor(grid(op, IDENTITY[op], 28, 28, align)[None]), align_corners=align)
    np.testing.assert_allclose(seen.numpy(), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size,align", [(3, True), (5, True), (9, True), (17, True), (32, False), (64, False)])
@pytest.mark.parametrize("op", ["affine_grid", "attention_grid", "projective_grid"])
@floats
def test_identity_bit_for_bit_where_positions_are_exact(op: str, size: int, align: bool, dtype: Any) -> None:
    x = np.random.default_rng(1).standard_normal((1, 1, size, size)).astype(dtype)
    look = Tensor(grid(op, IDENTITY[op], size, size, align, dtype)[None])
    np.testing.assert_array_equal(F.grid_sample(Tensor(x), look, align_corners=align).numpy(), x)


# ------------------------------------------------------------------------------------------ families contain each other
@corners
@floats
def test_projective_without_a_denominator_is_affine(align: bool, dtype: Any) -> None:
    theta = np.random.default_rng(2).standard_normal((3, 6)).astype(dtype)
    affine = F.affine_grid(Tensor(theta.reshape(3, 2, 3)), (3, 1, 7, 5), align).numpy()
    wider = np.concatenate([theta, np.zeros((3, 2), dtype)], axis=1)
    np.testing.assert_array_equal(F.projective_grid(Tensor(wider), (3, 1, 7, 5), align).numpy(), affine)


@corners
def test_attention_is_affine_with_one_scale(align: bool) -> None:
    s, tx, ty = 0.7, -0.2, 0.35
    affine = grid("affine_grid", [[s, 0, tx], [0, s, ty]], 6, 9, align)
    np.testing.assert_allclose(grid("attention_grid", [s, tx, ty], 6, 9, align), affine, rtol=0, atol=1e-15)


def test_attention_of_a_half_shows_a_quarter() -> None:
    """By the frame's sides; and a white square of a quarter of the area fills what is seen."""
    frame = grid("attention_grid", [0.5, 0, 0], 9, 9)
    (width, height), whole = frame[-1, -1] - frame[0, 0], 2.0 * 2.0
    assert width * height / whole == 0.25
    square = np.zeros((1, 1, 9, 9))
    square[..., 2:7, 2:7] = 1
    assert F.grid_sample(Tensor(square), Tensor(frame[None]), align_corners=True).numpy().min() == 1


def test_projective_by_hand() -> None:
    """At (1, -1), (x_s, y_s) = (1 - 2 + 3, 4 - 5 + 6) / (.5 - .25 + 1)."""
    found = grid("projective_grid", [1, 2, 3, 4, 5, 6, 0.5, 0.25], 2, 2)
    np.testing.assert_allclose(found[0, 1], [2 / 1.25, 5 / 1.25], rtol=1e-15)


def test_projective_maps_lines_to_lines() -> None:
    rng = np.random.default_rng(3)
    found = grid("projective_grid", [*rng.standard_normal(6), 0.3, -0.4], 5, 6)
    for line in (*found, *found.transpose(1, 0, 2)):
        along = line[1:] - line[0]
        np.testing.assert_allclose(along[:, 0] * along[-1, 1], along[:, 1] * along[-1, 0], rtol=0, atol=1e-12)


# -------------------------------------------------------------------------------------------------- thin-plate splines
def test_spline_of_the_control_points_is_the_identity_without_bending() -> None:
    w, a = thin_plate_spline(P, P)
    assert np.abs(w).max() < 5e-15
    np.testing.assert_allclose(a, [[0, 0], [1, 0], [0, 1]], rtol=0, atol=5e-15)
    for align in (True, False):
        found = grid("thin_plate_spline_grid", P, 13, 9, align)
        np.testing.assert_allclose(found, target_grid((13, 9), align), rtol=0, atol=1e-14)


@corners
def test_spline_of_an_affine_map_is_that_map_everywhere(align: bool) -> None:
    matrix, shift = np.array([[0.3, -0.7], [1.1, 0.4]]), np.array([0.2, -0.1])  # the rows are what x and y become
    sources = P @ matrix.T + shift
    w, a = thin_plate_spline(P, sources)
    assert np.abs(w).max() < 5e-15
    np.testing.assert_allclose(a, [shift, *matrix.T], rtol=0, atol=5e-15)
    affine = grid("affine_grid", np.c_[matrix, shift], 11, 8, align)
    np.testing.assert_allclose(grid("thin_plate_spline_grid", sources, 11, 8, align), affine, rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_any_spline_goes_through_its_points_and_has_no_force_at_infinity(seed: int) -> None:
    sources = P + 0.5 * np.random.default_rng(seed).standard_normal((16, 2))
    found = grid("thin_plate_spline_grid", sources, 4, 4)  # the positions of a 4x4 output are the control points
    np.testing.assert_allclose(found.reshape(16, 2), sources, rtol=0, atol=2e-14)
    w, _ = thin_plate_spline(P, sources)
    assert np.abs(w).max() > 0.01
    np.testing.assert_allclose([w.sum(0), P[:, 0] @ w, P[:, 1] @ w], 0, rtol=0, atol=1e-14)


def test_spline_by_its_formula() -> None:
    """T(p) = a_1 + a_x x + a_y y + sum w_k r^2 log r^2, point by point, with U(0) = 0."""
    sources = P + 0.3 * np.random.default_rng(6).standard_normal((16, 2))
    w, (a1, ax, ay) = thin_plate_spline(P, sources)
    want = np.empty((5, 4, 2))
    for i, j in np.ndindex(5, 4):
        x, y = target_grid((5, 4), True)[i, j]
        squares = [(x - px) ** 2 + (y - py) ** 2 for px, py in P]
        bends = [r2 * np.log(r2) if r2 > 0 else 0.0 for r2 in squares]
        want[i, j] = a1 + ax * x + ay * y + sum(b * wk for b, wk in zip(bends, w, strict=True))
    np.testing.assert_allclose(grid("thin_plate_spline_grid", sources, 5, 4), want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("side", [2, 3, 5, 10])
def test_other_regular_control_points(side: int) -> None:
    points = control_points(side)
    assert points.shape == (side * side, 2)
    sources = points + 0.2 * np.random.default_rng(side).standard_normal(points.shape)
    found = grid("thin_plate_spline_grid", sources, side, side, control=points)
    np.testing.assert_allclose(found.reshape(-1, 2), sources, rtol=0, atol=1e-12)
    if side == 2:  # four points and three conditions leave one bend
        w, _ = thin_plate_spline(points, sources)
        np.testing.assert_allclose(w * [[1], [-1], [-1], [1]], np.tile(w[0], (4, 1)), rtol=0, atol=1e-14)


def test_control_points_anywhere_and_three_of_them_are_affine() -> None:
    triangle = [[-1.0, -1], [1, -1], [0, 1]]
    sources = [[-0.5, -0.5], [0.5, -0.5], [0, 0.5]]
    half = grid("attention_grid", [0.5, 0, 0], 6, 5)
    found = grid("thin_plate_spline_grid", sources, 6, 5, control=triangle)
    np.testing.assert_allclose(found, half, rtol=0, atol=1e-14)
    strided = np.array([triangle, triangle]).transpose(1, 2, 0)[..., 0]  # not contiguous
    np.testing.assert_array_equal(grid("thin_plate_spline_grid", sources, 6, 5, control=strided), found)


@every_grid
def test_images_of_a_batch_have_their_own_theta_and_channels_do_not_matter(op: str) -> None:
    start = np.array(IDENTITY[op])
    thetas = start + 0.1 * np.random.default_rng(7).standard_normal((3, *start.shape))
    together = getattr(F, op)(Tensor(thetas), (3, 5, 4, 6), True).numpy()
    for n in range(3):
        np.testing.assert_allclose(together[n], grid(op, thetas[n], 4, 6), rtol=0, atol=1e-14)


def test_constants_are_not_spoilt_by_what_is_done_to_a_grid() -> None:
    for op, start in IDENTITY.items():
        first = getattr(F, op)(Tensor(np.array(start)[None]), (1, 1, 3, 3), True)
        kept = first.numpy().copy()
        first.data[:] = 77
        np.testing.assert_array_equal(grid(op, start, 3, 3), kept[0])


# ------------------------------------------------------------------------------------------------------------ gradients
@corners
@every_grid
def test_gradients_of_every_number_through_the_sampler(op: str, align: bool) -> None:
    """Of an image, too. Positions stay off the pixels, where the sampler has kinks; some lie outside."""
    rng = np.random.default_rng(8)
    start = np.array(IDENTITY[op])
    theta = start * 0.83 + 0.07 * rng.standard_normal((2, *start.shape))
    x = rng.standard_normal((2, 2, 6, 5))
    looks = getattr(F, op)(Tensor(theta), (2, 2, 3, 4), align).numpy()
    pixels = (looks + 1) / 2 * (4, 5) if align else ((looks + 1) * (5, 6) - 1) / 2
    assert np.abs(pixels - np.rint(pixels)).min() > 2e-3  # more than a step of gradcheck moves them
    assert theta[0].size == {"affine_grid": 6, "attention_grid": 3, "projective_grid": 8}.get(op, 32)

    def seen(theta: Tensor, x: Tensor) -> Tensor:
        return F.grid_sample(x, getattr(F, op)(theta, (2, 2, 3, 4), align), align_corners=align)

    assert gradcheck(seen, [theta, x])


def test_chain_rule_by_hand() -> None:
    """U = [[1, 2], [3, 5]] at px = .25, py = .5 has slopes 1.5 and 2.25 a pixel, half of that for x, y in [-1, 1]."""
    theta = Tensor(
        np.array([[[1.0, 0, -0.5], [0, 1, 0]]]), requires_grad=True
    )  # one position, the middle: x_t = y_t = 0
    y = F.grid_sample(
        Tensor(np.array([[[[1.0, 2], [3, 5]]]])), F.affine_grid(theta, (1, 1, 1, 1), True), align_corners=True
    )
    assert y.item() == 2.375
    y.backward()
    assert theta.grad.tolist() == [[[0, 0, 0.75], [0, 0, 1.125]]]
    theta.grad = None
    made = F.affine_grid(theta, (1, 1, 2, 2), True)
    made[0, 0, 1].sum().backward()  # at x_t = 1, y_t = -1
    assert theta.grad.tolist() == [[[1, -1, 1], [1, -1, 1]]]


# ----------------------------------------------------------------------------------------------------------- degenerate
@corners
def test_a_scale_of_zero_looks_at_one_place_and_learns(align: bool) -> None:
    x = Tensor(np.random.default_rng(9).random((1, 1, 6, 6)))
    for op, theta in (("attention_grid", [0, 0.1, -0.3]), ("affine_grid", [[0, 0, 0.1], [0, 0, -0.3]])):
        numbers = Tensor(np.array(theta, float)[None], requires_grad=True)
        made = getattr(F, op)(numbers, (1, 1, 4, 4), align)
        np.testing.assert_array_equal(made.detach().numpy(), np.broadcast_to([0.1, -0.3], (1, 4, 4, 2)))
        y = F.grid_sample(x, made, align_corners=align)
        assert np.ptp(y.detach().numpy()) == 0
        (y * Tensor(np.random.default_rng(1).random(y.shape))).sum().backward()
        assert np.isfinite(numbers.grad.numpy()).all() and numbers.grad.numpy().all(where=np.array(theta) != 0)


def test_a_projective_denominator_of_0_is_finite_on_both_sides() -> None:
    """With t7 = -1 / x_t it is 0 there, positive on the near side, negative beyond."""
    theta = Tensor(np.array([[1.0, 0, 0, 0, 1, 0.5, -2, 0]]), requires_grad=True)
    made = F.projective_grid(theta, (1, 1, 2, 5), True)  # x_t = -1, -.5, 0, .5, 1: denominators 3, 2, 1, 0, -1
    rows = made.detach().numpy()[0]
    np.testing.assert_allclose(rows[0, :, 0], [-1 / 3, -0.25, 0, 0.5e6, -1], rtol=1e-15)
    np.testing.assert_allclose(rows[1, :, 1], [0.5, 0.75, 1.5, 1.5e6, -1.5], rtol=1e-15)
    made[0, 1, 3].sum().backward()  # the clamped one, at (.5, 1)
    np.testing.assert_allclose(theta.grad.numpy(), [[0.5e6, 1e6, 1e6, 0.5e6, 1e6, 1e6, 0, 0]], rtol=1e-15)
    theta.grad = None
    F.projective_grid(theta, (1, 1, 2, 5), True)[0, 1, 4].sum().backward()  # x = 1, y = 1.5, over -1: negative
    assert theta.grad.tolist() == [[-1, -1, -1, -1, -1, -1, -2.5, -2.5]]


@pytest.mark.parametrize("near,want", [(0.5e-6, 1e6), (-0.5e-6, -1e6), (0, 1e6), (4e-6, 0.25e6), (-4e-6, -0.25e6)])
def test_the_sign_of_a_small_denominator_is_kept(near: float, want: float) -> None:
    theta = Tensor(np.array([[0, 0, 1.0, 0, 0, 1, near - 1, 0]]), requires_grad=True)
    made = F.projective_grid(theta, (1, 1, 1, 2), True)[0, 0, 1]  # x_t = 1
    np.testing.assert_allclose(made.detach().numpy(), [want, want], rtol=1e-9)
    made.sum().backward()
    slope = 0 if abs(near) < 1e-6 else -2 * want**2
    np.testing.assert_allclose(theta.grad.numpy()[0, 6], slope, rtol=1e-9)


@floats
def test_a_sample_beyond_the_horizon_sees_nothing_and_moves_nothing(dtype: Any) -> None:
    theta = Tensor(np.array([[1, 0, 0.5, 0, 1, 0.5, 0, -1]], dtype), requires_grad=True)
    x = Tensor(np.ones((1, 1, 4, 4), dtype), requires_grad=True)
    y = F.grid_sample(x, F.projective_grid(theta, (1, 1, 3, 3), True), align_corners=True)
    y.sum().backward()
    assert not y.detach().numpy()[0, 0, 2].any()  # denominator 0: some 10^5 images away
    assert np.isfinite(theta.grad.numpy()).all() and np.isfinite(x.grad.numpy()).all()


@floats
@every_grid
def test_nan_and_the_infinite_stay_and_do_not_reach_other_images(op: str, dtype: Any) -> None:
    start = np.array(IDENTITY[op], dtype)
    for bad in (np.nan, np.inf):
        thetas = np.stack([start, np.full_like(start, bad), start])
        made = getattr(F, op)(Tensor(thetas), (3, 1, 2, 2), False).numpy()
        assert not np.isfinite(made[1]).any()
        np.testing.assert_array_equal(made[[0, 2]], getattr(F, op)(Tensor(thetas[[0, 2]]), (2, 1, 2, 2), False).numpy())
    one = Tensor(np.full_like(start, np.nan)[None], requires_grad=True)
    y = F.grid_sample(Tensor(np.ones((1, 1, 3, 3), dtype)), getattr(F, op)(one, (1, 1, 2, 2), False))
    y.sum().backward()
    assert np.isnan(y.detach().numpy()).all() and np.isnan(one.grad.numpy()).any()


def test_one_nan_number_spoils_only_its_coordinate() -> None:
    found = grid("affine_grid", [[1, np.nan, 0], [0, 1, 0]], 3, 3)
    assert np.isnan(found[..., 0]).all() and np.isfinite(found[..., 1]).all()
    found = grid("projective_grid", [1, 0, np.nan, 0, 1, 0, 0, 0], 3, 3)
    assert np.isnan(found[..., 0]).all() and np.isfinite(found[..., 1]).all()
    assert np.isnan(grid("projective_grid", [1, 0, 0, 0, 1, 0, np.nan, 0], 3, 3)).all()


# --------------------------------------------------------------------------------------------------- devices and errors
@floats
@every_grid
def test_on_meta(op: str, dtype: Any) -> None:
    theta = tc.zeros(2, *np.shape(IDENTITY[op]), device="meta", dtype=dtype)
    made = getattr(F, op)(theta, (2, 3, 5, 6))
    assert (made.shape, made.device, made.dtype) == ((2, 5, 6, 2), "meta", dtype)


SHAPES = {"affine_grid": "2, 3", "attention_grid": "3", "projective_grid": "8", "thin_plate_spline_grid": "16, 2"}


@every_grid
def test_what_every_grid_refuses(op: str) -> None:
    function, theta = getattr(F, op), np.array([IDENTITY[op]] * 2, np.float32)
    for wrong in (theta[0], theta[:, :-1], theta[..., None], theta.reshape(-1), np.float32(1)):
        with pytest.raises(ValueError, match=rf"^{op}: theta must be \(N, {SHAPES[op]}\), got shape \("):
            function(Tensor(np.array(wrong)), (2, 1, 4, 4))
    with pytest.raises(TypeError, match=f"^{op}: theta must be float32 or float64, got int64"):
        function(Tensor(np.zeros(theta.shape, np.int64)), (2, 1, 4, 4))
    with pytest.raises(TypeError, match=f"^{op}: theta must be a Tensor, got ndarray"):
        function(theta, (2, 1, 4, 4))
    for size in ((2, 1, 4), (2, 1, 4, 4, 4), (2, 1, 4.0, 4), (2, 1, True, 4), (2, 1, (4, 4), 4), 4, None, "2144"):
        with pytest.raises(ValueError, match=rf"^{op}: size must be the ints \(N, C, H, W\) of the output, got "):
            function(Tensor(theta), size)
    for size in ((3, 1, 4, 4), (1, 1, 4, 4), (2, 1, 0, 4), (2, 1, 4, -1)):
        with pytest.raises(ValueError, match=f"^{op}: size must have N = 2 as theta has, and H, W of 1 or more, got "):
            function(Tensor(theta), size)
    for size in ([2, 1, 4, 4], np.array([2, 1, 4, 4]), tuple(np.int64([2, 1, 4, 4]))):
        assert function(Tensor(theta), size).shape == (2, 4, 4, 2)


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 2)),
        [[0.0, 0], [1, 1]],
        [[-1.0, -1], [0, 0], [0.5, 0.5], [1, 1]],  # one line
        [[0.0, 0], [1, 0], [0, 1], [1, 0]],  # two the same
        [[0.0, 0], [1, 0], [0, 1], [1, 1e-9]],  # nearly
        [[0.0, 0], [1, 0], [0, np.nan]],
        [[0.0, 0], [1, 0], [0, np.inf]],
    ],
)
def test_control_points_that_determine_no_spline(points: Any) -> None:
    theta = Tensor(np.zeros((1, len(points), 2)))
    message = f"control points must be at least 3, not all on one line, no two the same, .* got {len(points)} from"
    with pytest.raises(ValueError, match=message):
        F.thin_plate_spline_grid(theta, (1, 1, 4, 4), control=points)
    with pytest.raises(ValueError, match=message):
        thin_plate_spline(points, points)


def test_control_points_of_wrong_shapes() -> None:
    theta = Tensor(np.zeros((1, 16, 2)))
    for points in (np.zeros(16), np.zeros((16, 3)), np.zeros((1, 16, 2)), 4):
        with pytest.raises(ValueError, match=r"thin_plate_spline_grid: control must be points \(K, 2\), x first, got"):
            F.thin_plate_spline_grid(theta, (1, 1, 4, 4), control=points)
    with pytest.raises(ValueError, match=r"theta must be \(N, 9, 2\), got shape \(1, 16, 2\)"):
        F.thin_plate_spline_grid(theta, (1, 1, 4, 4), control=control_points(3))
    with pytest.raises(ValueError, match="thin_plate_spline: sources must be as many as the 16 control points, got 9"):
        thin_plate_spline(P, control_points(3))
