"""Sampling at a grid: the spec's numbers, the trap at whole positions, identity, degenerate grids, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor, gradcheck
from tinyconv.nn import functional as F

MODES = "bilinear", "nearest"
PADDINGS = "zeros", "border", "reflection"
modes, paddings = pytest.mark.parametrize("mode", MODES), pytest.mark.parametrize("padding", PADDINGS)
corners = pytest.mark.parametrize("align", [True, False])


def coordinates(pixels: Any, size: int, align: bool = True) -> np.ndarray:
    """Return the coordinates of positions in pixels."""
    pixels = np.asarray(pixels, float)
    return 2 * pixels / (size - 1) - 1 if align else (2 * pixels + 1) / size - 1


def affine(theta: Any, h: int, w: int, align: bool, dtype: Any = np.float64) -> Tensor:
    """Return the positions (1, h, w, 2) of a 2x3 matrix."""
    y, x = np.meshgrid(*(coordinates(np.arange(n), n, align) for n in (h, w)), indexing="ij")
    return Tensor((np.stack([x, y, np.ones_like(x)], -1) @ np.array(theta, float).T)[None].astype(dtype))


def at(image: Any, px: float, py: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Return V, dV/dU and (dV/dpx, dV/dpy) of an image at a position in pixels; its sides less 1 are powers of two."""
    u = Tensor(np.array(image, float)[None, None], requires_grad=True)
    h, w = u.shape[2:]
    place = [float(coordinates(p, n)) if n > 1 else 0.0 for p, n in ((px, w), (py, h))]
    grid = Tensor(np.array([[[place]]]), requires_grad=True)
    y = F.grid_sample(u, grid, align_corners=True)
    y.sum().backward()
    return y.item(), u.grad.numpy()[0, 0], grid.grad.numpy().ravel() / [max(n - 1, 1) / 2 for n in (w, h)]


def test_between_four_pixels_by_hand() -> None:
    value, weights, slopes = at([[1, 2], [3, 5]], 0.25, 0.5)
    assert value == 2.375
    assert weights.tolist() == [[0.375, 0.125], [0.375, 0.125]]
    assert slopes.tolist() == [1.5, 2.25]


def test_the_gradient_at_a_whole_position_is_the_derivative_to_the_right() -> None:
    """Eq. 7 as it is written would give 5 here, the derivative to the left is 3, and at 1.3 there is only 6."""
    assert at([[2, 5, 11]], 1, 0)[2][0] == 6
    assert at([[2, 5, 11]], 1.3, 0)[2][0] == pytest.approx(6, abs=1e-12)
    assert at([[2, 5, 11]], 0.7, 0)[2][0] == pytest.approx(3, abs=1e-12)
    assert at([[2], [5], [11]], 0, 1)[2][1] == 6


@paddings
@corners
def test_whole_positions_have_the_one_sided_difference_to_the_right(padding: str, align: bool) -> None:
    """Along each axis V is a straight line from a whole position to the next, so the difference is no estimate."""
    size, step = (5, 9) if align else (4, 8), 0.25
    u = np.random.default_rng(0).standard_normal((1, 3, *size))
    rows, columns = np.meshgrid(np.arange(1, size[0] - 1), np.arange(1, size[1] - 1), indexing="ij")

    def sampled(right: float = 0.0, down: float = 0.0) -> tuple[Tensor, Tensor]:
        px, py = coordinates(columns + right, size[1], align), coordinates(rows + down, size[0], align)
        grid = Tensor(np.stack([px, py], -1)[None], requires_grad=True)
        return F.grid_sample(Tensor(u), grid, padding_mode=padding, align_corners=align), grid

    y, grid = sampled()
    y.sum().backward()
    for axis, moved in enumerate((sampled(right=step)[0], sampled(down=step)[0])):
        per_pixel = (size[1 - axis] - align) / 2
        want = (moved.detach().numpy() - y.detach().numpy()).sum(1) / step * per_pixel
        np.testing.assert_allclose(grid.grad.numpy()[..., axis], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("px,zeros", [(-2, 0), (-1, 2), (0, 3), (2, -11), (3, 0)])
def test_whole_positions_at_and_beyond_the_ends(px: int, zeros: float) -> None:
    """Zeros outside are pixels like others. At an end that holds a position it has no gradient, as in PyTorch."""
    assert at([[2, 5, 11]], px, 0)[2][0] == zeros
    grid = Tensor(np.array([[[[float(coordinates(px, 3)), 0.0]]]]), requires_grad=True)
    for padding in ("border", "reflection") if px in (0, 2) else ("border",):
        F.grid_sample(Tensor(np.array([[[[2.0, 5, 11]]]])), grid, padding_mode=padding, align_corners=True).backward()
        assert grid.grad.numpy().ravel()[0] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size,align", [(3, True), (5, True), (9, True), (17, True), (32, False), (64, False)])
@modes
@paddings
def test_identity_bit_for_bit_where_coordinates_are_exact(
    dtype: Any, size: int, align: bool, mode: str, padding: str
) -> None:
    x = np.random.default_rng(size).standard_normal((1, 2, size, size)).astype(dtype)
    grid = affine([[1, 0, 0], [0, 1, 0]], size, size, align, dtype)
    np.testing.assert_array_equal(F.grid_sample(Tensor(x), grid, mode, padding, align).numpy(), x)


@pytest.mark.parametrize("dtype,near", [(np.float32, 1e-5), (np.float64, 1e-12)])
@corners
def test_identity_nearly_where_they_are_not(dtype: Any, near: float, align: bool) -> None:
    x = np.random.default_rng(28).random((2, 3, 28, 28)).astype(dtype)
    grid = affine([[1, 0, 0], [0, 1, 0]], 28, 28, align, dtype).expand(2, 28, 28, 2)
    np.testing.assert_allclose(F.grid_sample(Tensor(x), grid, align_corners=align).numpy(), x, rtol=0, atol=near)


@corners
def test_a_quarter_turn_counter_clockwise(align: bool) -> None:
    u = np.arange(9.0).reshape(3, 3)
    grid = affine([[0, -1, 0], [1, 0, 0]], 3, 3, align)
    y = F.grid_sample(Tensor(u[None, None]), grid, align_corners=align).numpy()[0, 0]
    np.testing.assert_allclose(y, [[2, 5, 8], [1, 4, 7], [0, 3, 6]], rtol=0, atol=1e-12)
    np.testing.assert_allclose(y, np.rot90(u), rtol=0, atol=1e-12)


def test_corners_of_none_is_false() -> None:
    x, grid = Tensor(np.arange(4.0).reshape(1, 1, 1, 4)), Tensor(np.array([[[[-1.0, 0.0], [0.5, 0.0]]]]))
    assert F.grid_sample(x, grid).tolist() == F.grid_sample(x, grid, align_corners=False).tolist() == [[[[0, 2.5]]]]
    assert F.grid_sample(x, grid, align_corners=True).tolist() == [[[[0, 2.25]]]]


@modes
def test_channels_share_the_grid(mode: str) -> None:
    rng = np.random.default_rng(1)
    x, grid = rng.standard_normal((2, 45, 6, 7)), Tensor(rng.uniform(-1.2, 1.2, (2, 5, 4, 2)))
    together = F.grid_sample(Tensor(x), grid, mode, align_corners=True).numpy()
    for c in (0, 31, 32, 44):
        alone = F.grid_sample(Tensor(x[:, c : c + 1].copy()), grid, mode, align_corners=True).numpy()
        np.testing.assert_array_equal(together[:, c : c + 1], alone)


@corners
def test_weights_sum_to_1_inside_and_to_less_beyond_the_border(align: bool) -> None:
    ones = Tensor(np.ones((1, 1, 8, 6)))
    rng = np.random.default_rng(2)
    pixels = rng.uniform(-0.99, (5.99, 7.99), (1, 20, 20, 2))
    inside = ((pixels >= 0) & (pixels <= (5, 7))).all(-1)
    grid = Tensor(np.stack([coordinates(pixels[..., a], (6, 8)[a], align) for a in (0, 1)], -1))
    total = F.grid_sample(ones, grid, align_corners=align).numpy()[:, 0]
    np.testing.assert_allclose(total[inside], 1, rtol=0, atol=1e-12)
    assert (~inside).any() and (total[~inside] < 1).all() and (total[~inside] > 0).all()
    for padding in ("border", "reflection"):
        padded = F.grid_sample(ones, grid, padding_mode=padding, align_corners=align).numpy()
        np.testing.assert_allclose(padded, 1, rtol=0, atol=1e-12)


@paddings
@corners
def test_gradients_between_the_pixels(padding: str, align: bool) -> None:
    """Numerically, in x and the grid: positions in the middle half of cells, some outside the image."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(-3, 8, (2, 4, 5, 2)) + rng.uniform(0.3, 0.7, (2, 4, 5, 2))
    grid = np.stack([coordinates(pixels[..., a], (6, 5)[a], align) for a in (0, 1)], -1)
    x = rng.standard_normal((2, 3, 5, 6))
    assert gradcheck(lambda x, g: F.grid_sample(x, g, padding_mode=padding, align_corners=align), [x, grid])


@modes
@paddings
def test_a_nan_position_is_seen_and_spoils_nothing_else(mode: str, padding: str) -> None:
    rng = np.random.default_rng(4)
    x = Tensor(rng.standard_normal((2, 3, 5, 4)), requires_grad=True)
    grid = Tensor(rng.uniform(-1, 1, (2, 3, 3, 2)), requires_grad=True)
    grid.data[0, 1, 2, 0] = np.nan
    y = F.grid_sample(x, grid, mode, padding)
    y.sum().backward()
    wrong = np.zeros((2, 3, 3), bool)
    wrong[0, 1, 2] = True
    assert (np.isnan(y.detach().numpy()) == wrong[:, None]).all()
    assert np.isfinite(x.grad.numpy()).all()
    if padding == "border":  # every position that is a number gives its image 1 in each channel
        np.testing.assert_allclose(x.grad.numpy().sum((2, 3)), [[8.0] * 3, [9.0] * 3])
    assert (np.isnan(grid.grad.numpy()).all(-1) == (wrong if mode == "bilinear" else False)).all()


@modes
def test_positions_without_end(mode: str) -> None:
    x = Tensor(np.arange(1.0, 13).reshape(1, 1, 3, 4), requires_grad=True)
    far = [[-math.inf, -math.inf], [math.inf, 1e30], [1e30, math.inf], [-1e30, 1e30]]
    grid = Tensor(np.array([[far]]), requires_grad=True)
    for padding, want in (("zeros", [0, 0, 0, 0]), ("border", [1, 12, 12, 9])):
        y = F.grid_sample(x, grid, mode, padding, True)
        assert y.detach().numpy().ravel().tolist() == want
        grid.grad = None
        y.sum().backward()
        assert not grid.grad.numpy().any()
    reflected = F.grid_sample(x, grid, mode, "reflection", True).detach().numpy().ravel()
    assert np.isnan(reflected[:3]).all() and 1 <= reflected[3] <= 12


def test_nearest_has_no_gradient_for_the_grid_and_only_what_is_wanted_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tinyconv_kernels.cpu import sampler

    called: list[str] = []
    for name in [name for name in vars(sampler) if name.startswith("grid_sample") and "backward" in name]:
        whole = getattr(sampler, name)
        monkeypatch.setattr(sampler, name, lambda *a, name=name, whole=whole: (called.append(name), whole(*a)))
    rng = np.random.default_rng(5)
    x, grid = rng.standard_normal((1, 2, 4, 4)), rng.uniform(-1, 1, (1, 3, 3, 2))
    wanted = {
        ("bilinear", True, False): ["grid_sample_bilinear_backward_input"],
        ("bilinear", False, True): ["grid_sample_bilinear_backward_grid"],
        ("nearest", True, False): ["grid_sample_nearest_backward_input"],
        ("nearest", False, True): [],
    }
    for (mode, of_x, of_grid), kernels in wanted.items():
        called.clear()
        a, g = Tensor(x.copy(), requires_grad=of_x), Tensor(grid.copy(), requires_grad=of_grid)
        F.grid_sample(a, g, mode).sum().backward()
        assert called == kernels
        assert (a.grad is not None) == of_x and (g.grad is not None) == of_grid
        if mode == "nearest" and of_grid:
            assert not g.grad.numpy().any() and g.grad.shape == g.shape


@modes
@pytest.mark.parametrize("of_grid", [False, True])
def test_the_image_is_kept_only_where_the_grid_learns_from_it(mode: str, of_grid: bool) -> None:
    """A localisation network that is fixed would otherwise hold every image until backward."""
    x = Tensor(np.ones((1, 2, 4, 4)), requires_grad=True)
    y = F.grid_sample(x, Tensor(np.zeros((1, 3, 3, 2)), requires_grad=of_grid), mode)
    kept = [array for array in y.node.ctx.saved if array is not None]
    assert any(array.shape == (1, 3, 3, 2) for array in kept)
    assert any(array.shape == x.shape for array in kept) == (of_grid and mode == "bilinear")


def test_images_of_one_batch_have_their_own_grids() -> None:
    x = Tensor(np.arange(18.0).reshape(2, 1, 3, 3))
    grid = Tensor(np.array([[[[-1.0, -1.0]]], [[[1.0, 1.0]]]]))
    assert F.grid_sample(x, grid, align_corners=True).numpy().ravel().tolist() == [0, 17]


def test_a_grid_that_is_a_view_and_no_images() -> None:
    rng = np.random.default_rng(6)
    x, grid = Tensor(rng.standard_normal((2, 2, 4, 4))), rng.uniform(-1, 1, (2, 2, 5, 3))
    turned = Tensor(grid).permute(0, 3, 2, 1)  # (2, 3, 5, 2)
    want = F.grid_sample(x, Tensor(np.ascontiguousarray(turned.numpy())))
    np.testing.assert_array_equal(F.grid_sample(x, turned).numpy(), want.numpy())
    nobody = Tensor(np.zeros((0, 3, 4, 4)), requires_grad=True)
    y = F.grid_sample(nobody, Tensor(np.zeros((0, 2, 5, 2)), requires_grad=True))
    assert y.shape == (0, 3, 2, 5)
    y.sum().backward()
    assert nobody.grad.shape == (0, 3, 4, 4)


def test_on_meta() -> None:
    x, grid = tc.zeros(2, 3, 8, 8, device="meta"), tc.zeros(2, 5, 6, 2, device="meta")
    y = F.grid_sample(x, grid)
    assert y.shape == (2, 3, 5, 6) and y.device == "meta"


IMAGE, GRID = np.zeros((2, 3, 4, 4), np.float32), np.zeros((2, 5, 5, 2), np.float32)


@pytest.mark.parametrize(
    "x,grid,options,error,message",
    [
        (IMAGE[0], GRID, {}, ValueError, r"x must be \(N, C, H, W\), got shape \(3, 4, 4\)"),
        (IMAGE.reshape(2, 3, 4, 2, 2), GRID, {}, ValueError, r"x must be \(N, C, H, W\)"),
        (IMAGE, GRID[0], {}, ValueError, r"grid must be \(N, OH, OW, 2\), x before y, got shape \(5, 5, 2\)"),
        (IMAGE, np.zeros((2, 2, 5, 5), np.float32), {}, ValueError, r"grid must be .* got shape \(2, 2, 5, 5\)"),
        (IMAGE, GRID[:1], {}, ValueError, "a grid for each of 2 images, got 1"),
        (IMAGE, GRID.astype(np.float64), {}, TypeError, "x and grid must have one dtype, got float32 and float64"),
        (IMAGE.astype(np.int64), GRID, {}, TypeError, "x must be float32 or float64, got int64"),
        (IMAGE[:, :, :0], GRID, {}, ValueError, "x must have at least one pixel"),
        (IMAGE, GRID[:, :0], {}, ValueError, "grid one position, got shapes"),
        (IMAGE, GRID, {"mode": "bicubic"}, ValueError, "mode must be one of 'bilinear', 'nearest', got 'bicubic'"),
        (IMAGE, GRID, {"padding_mode": "wrap"}, ValueError, "padding_mode must be one of 'zeros', 'border', 'refl"),
    ],
)
def test_what_is_refused(x: Any, grid: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=f"grid_sample: .*{message}"):
        F.grid_sample(Tensor(x), Tensor(grid), **options)


def test_no_tensor_and_another_device_are_refused() -> None:
    with pytest.raises(TypeError, match="grid_sample: grid must be a Tensor, got ndarray"):
        F.grid_sample(Tensor(IMAGE), GRID)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="grid_sample: x must be a Tensor, got ndarray"):
        F.grid_sample(IMAGE, Tensor(GRID))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="grid_sample: x and grid must be on one device"):
        F.grid_sample(Tensor(IMAGE), Tensor(GRID).to("meta"))
