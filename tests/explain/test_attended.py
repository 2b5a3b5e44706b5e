"""What a transformer looks at, as numbers: outlines, centres, pixels, angles, scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinyconv import Tensor
from tinyconv.explain.attended import centre, outline, rotation, scale, to_pixels
from tinyconv.functional.grids import target_grid
from tinyconv.nn import functional as F


def turned(degrees: float, size: float = 1.0) -> np.ndarray:
    """Return the map (1, 2, 3) of a frame turned counter-clockwise on the screen, where y grows downwards."""
    c, s = size * np.cos(np.radians(degrees)), size * np.sin(np.radians(degrees))
    return np.array([[[c, s, 0], [-s, c, 0]]])


# ------------------------------------------------------------------------------------------------ outlines
def test_outline_of_the_identity_is_the_images_border_clockwise_and_closed() -> None:
    line = to_pixels(outline(target_grid((3, 4), True)[None])[0], (3, 4))
    right, left = [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1], [3, 2]], [[2, 2], [1, 2], [0, 2], [0, 1], [0, 0]]
    np.testing.assert_allclose(line, right + left, rtol=0, atol=1e-14)


@pytest.mark.parametrize("height,width", [(2, 2), (5, 5), (2, 7), (9, 3)])
def test_outline_goes_once_over_every_border_position(height: int, width: int) -> None:
    grid = np.random.default_rng(0).standard_normal((2, height, width, 2))
    lines = outline(grid)
    assert lines.shape == (2, 2 * (height + width) - 3, 2)
    inner = np.zeros((height, width), bool)
    inner[1:-1, 1:-1] = True
    for line, positions in zip(lines, grid, strict=True):
        assert {tuple(p) for p in line} == {tuple(p) for p in positions[~inner]}
        assert len({tuple(p) for p in line[:-1]}) == len(line) - 1 and (line[0] == line[-1]).all()


@pytest.mark.parametrize("height,width", [(1, 1), (1, 2), (1, 5), (2, 1), (6, 1)])
def test_outline_of_one_row_or_column_goes_there_and_back(height: int, width: int) -> None:
    grid = np.random.default_rng(1).standard_normal((3, height, width, 2))
    lines = outline(grid)
    there = grid.reshape(3, -1, 2)
    np.testing.assert_array_equal(lines[:, : height * width], there)
    np.testing.assert_array_equal(lines[:, [0, -1]], there[:, [0, 0]])
    for line, positions in zip(lines, there, strict=True):
        assert {tuple(p) for p in line} == {tuple(p) for p in positions}


def test_outline_of_a_turned_and_of_a_mirrored_frame() -> None:
    """A frame turned by 90 degrees begins at the lower left; a mirrored one goes the other way round."""
    quarter = F.affine_grid(Tensor(turned(90)), (1, 1, 2, 2), True)
    np.testing.assert_allclose(outline(quarter)[0], [[-1, 1], [-1, -1], [1, -1], [1, 1], [-1, 1]], atol=1e-15)
    mirrored = F.affine_grid(Tensor(np.array([[[-1.0, 0, 0], [0, 1, 0]]])), (1, 1, 2, 2), True)
    assert outline(mirrored)[0].tolist() == [[1, -1], [-1, -1], [-1, 1], [1, 1], [1, -1]]


def test_centre_is_the_shift_of_an_affine_map() -> None:
    theta = np.random.default_rng(2).standard_normal((4, 2, 3))
    grid = F.affine_grid(Tensor(theta), (4, 1, 5, 6), True)
    np.testing.assert_allclose(centre(grid), theta[:, :, 2], rtol=0, atol=1e-14)


def test_to_pixels() -> None:
    points = [[-1, -1], [1, 1], [0, 0], [0.5, -0.5], [3, 1]]
    assert to_pixels(np.array(points), (5, 9)).tolist() == [[0, 0], [8, 4], [4, 2], [6, 1], [16, 4]]
    assert to_pixels(np.zeros((2, 3, 2)), (1, 1)).tolist() == [[[0, 0]] * 3] * 2
    assert to_pixels(np.zeros((0, 2)), (5, 9)).shape == (0, 2)


# ------------------------------------------------------------------------------------------------ angles and scales
@pytest.mark.parametrize("degrees", [0, 30, -30, 90, -90, 135, 179, -179, 180])
@pytest.mark.parametrize("size", [1.0, 0.3, 2.0])
def test_rotation_and_scale_of_known_maps(degrees: float, size: float) -> None:
    theta = turned(degrees, size)
    np.testing.assert_allclose(rotation(theta), [degrees], rtol=0, atol=1e-12)
    np.testing.assert_allclose(scale(theta), [size], rtol=1e-14)


def test_thirty_degrees_turn_the_frame_counter_clockwise_on_the_screen() -> None:
    """The middle of the frame's right side, (1, 0), goes to the right and up, that is to negative y."""
    x, y = F.affine_grid(Tensor(turned(30)), (1, 1, 3, 3), True).numpy()[0, 1, 2]
    np.testing.assert_allclose([x, y], [np.sqrt(3) / 2, -0.5], rtol=1e-14)
    assert rotation(turned(30))[0] == pytest.approx(30, abs=1e-12)


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2])
def test_what_comes_out_is_turned_the_other_way(quarters: int) -> None:
    """np.rot90 turns counter-clockwise: a frame turned by r sees the image turned by -r, and undoes a turn by r."""
    x = np.random.default_rng(3).random((1, 1, 5, 5))
    theta = turned(90 * quarters)
    grid = F.affine_grid(Tensor(theta), (1, 1, 5, 5), True)
    seen = F.grid_sample(Tensor(x), grid, align_corners=True).numpy()
    np.testing.assert_allclose(seen, np.rot90(x, -quarters, (2, 3)), rtol=0, atol=1e-12)
    undone = F.grid_sample(Tensor(np.rot90(x, quarters, (2, 3)).copy()), grid, align_corners=True).numpy()
    np.testing.assert_allclose(undone, x, rtol=0, atol=1e-12)
    assert round(rotation(theta)[0]) == 90 * quarters


def test_rotation_is_the_polar_parts() -> None:
    """Against the rotation nearest to the map, by its singular value decomposition."""
    theta = np.random.default_rng(4).standard_normal((50, 2, 3))
    theta = theta[np.linalg.det(theta[:, :, :2]) > 0]
    assert len(theta) > 10
    for found, matrix in zip(rotation(theta), theta[:, :, :2], strict=True):
        u, _, vt = np.linalg.svd(matrix)
        np.testing.assert_allclose(turned(found)[0, :, :2], u @ vt, rtol=0, atol=1e-12)


def test_a_half_turn_is_180_whatever_the_signs_of_zeros() -> None:
    for a, b in ((0.0, 0.0), (-0.0, 0.0), (0.0, -0.0), (-0.0, -0.0)):
        assert rotation(np.array([[-1.0, a, 0, b, -1, 0]])).tolist() == [180]


def test_scale_squared_is_the_share_of_the_area() -> None:
    theta = np.array(
        [[[0.5, 0, 0.9], [0, 0.5, -3]], [[2, 1, 0], [1, 2, 0]], [[0, 1, 0], [1, 0, 0]], [[0, 0, 1], [0, 0, 1.0]]]
    )
    np.testing.assert_allclose(scale(theta) ** 2, [0.25, 3, 1, 0], rtol=1e-14)  # the third one mirrors


def test_six_numbers_tensors_ints_nan_and_none() -> None:
    theta = np.concatenate([turned(40, 0.5), turned(-70, 2)])
    for given in (theta.reshape(2, 6), Tensor(theta), Tensor(theta.reshape(2, 6).astype(np.float32))):
        np.testing.assert_allclose(rotation(given), [40, -70], atol=1e-5)
        np.testing.assert_allclose(scale(given), [0.5, 2], atol=1e-6)
    assert rotation([[0, 1, 0, -1, 0, 0]]).tolist() == [90]
    assert np.isnan(rotation(np.full((1, 6), np.nan))).all() and np.isnan(scale(np.full((1, 6), np.nan))).all()
    assert rotation(np.zeros((0, 6))).shape == scale(np.zeros((0, 2, 3))).shape == (0,)
    assert outline(np.zeros((0, 3, 3, 2))).shape == (0, 9, 2)


@pytest.mark.parametrize("function", [outline, centre])
@pytest.mark.parametrize("shape", [(3, 3, 2), (1, 2, 3, 3), (1, 0, 3, 2), (1, 3, 0, 2), (2,), ()])
def test_no_grid(function: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"{function.__name__}: grid must be \(N, OH, OW, 2\), got shape \("):
        function(np.zeros(shape))


@pytest.mark.parametrize("function", [rotation, scale])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 3), (1, 8), (1, 32), (1, 3, 2), ()])
def test_no_affine_map(function: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"{function.__name__}: theta must be \(N, 2, 3\) or \(N, 6\), got shape \("):
        function(np.zeros(shape))


def test_what_a_layer_says_needs_no_detaching(rng):
    theta = Tensor(rng.standard_normal((3, 6)), requires_grad=True)
    grid = F.affine_grid(theta.reshape(3, 2, 3), (3, 1, 4, 5), align_corners=True)
    assert (rotation(theta) == rotation(theta.data)).all() and (scale(theta) == scale(theta.data)).all()
    assert (outline(grid) == outline(grid.data)).all() and (centre(grid) == centre(grid.data)).all()
