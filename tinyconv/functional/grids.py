"""Sampling grids of Jaderberg et al. 2015, sec. 3.2: where in the input an output looks. See :func:`affine_grid`.

Every one maps positions of the output to positions of the input, x first, in [-1, 1]; y grows downwards.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.functional.activation import clamp
from tinyconv.functional.arithmetic import where
from tinyconv.functional.linear import matmul
from tinyconv.tensor import Tensor

_LEAST = 1e-6  # the projective denominator is kept this far from 0


def target_grid(size: tuple[int, int], align_corners: bool = False) -> np.ndarray:
    """Return the positions (H, W, 2), x first, of an output's pixels, float64.

    align_corners: -1 and 1 are the centres of the first and the last pixel; otherwise the outer edges of the image.
    """
    y, x = (_axis(count, align_corners) for count in size)
    return np.stack(np.meshgrid(x, y), axis=-1)


def _axis(count: int, align_corners: bool) -> np.ndarray:
    steps = 2.0 * np.arange(count) - (count - 1)  # whole numbers: what follows is rounded once, and 0 for one pixel
    return steps / (max(count - 1, 1) if align_corners else count)


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Return the grid of affine maps: (x_s, y_s) = theta (x_t, y_t, 1) (Jaderberg et al. 2015, eq. 1).

    Parameters
    ----------
    theta : Tensor, (N, 2, 3), float32 or float64
        A positive theta[:, 0, 2] moves what is looked at to the right, and so what is seen to the left.
    size : four ints
        N, C, H, W of the output.
    align_corners : bool (None is False)
        Whether -1 and 1 are the centres of the corner pixels, or the outer edges; the sampler must be told the same.

    Returns
    -------
    Tensor, (N, H, W, 2)

    Raises
    ------
    ValueError
        Shapes do not fit.
    """
    op = "affine_grid"
    _check(op, theta, (2, 3), size)
    return _shaped(matmul(_positions(size, align_corners, theta), theta.transpose(1, 2)), size)


def attention_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Return the grid of a scale and a shift: (x_s, y_s) = s (x_t, y_t) + (t_x, t_y) (Jaderberg et al. 2015, eq. 2).

    Parameters
    ----------
    theta : Tensor, (N, 3)
        s, t_x, t_y. Others as in :func:`affine_grid`.
    """
    op = "attention_grid"
    _check(op, theta, (3,), size)
    positions = _positions(size, align_corners, theta)[:, :, :2]
    return _shaped(positions * theta[:, :1].reshape(-1, 1, 1) + theta[:, 1:].reshape(-1, 1, 2), size)


def projective_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Return the grid of projective maps: (t1 x + t2 y + t3, t4 x + t5 y + t6) / (t7 x + t8 y + 1).

    Where the denominator is nearer to 0 than 1e-6 it is taken for 1e-6 with its sign, without a gradient; beyond, it is
    negative, and what is seen there is upside down.

    Parameters
    ----------
    theta : Tensor, (N, 8)
        t1 to t8. Others as in :func:`affine_grid`.
    """
    op = "projective_grid"
    _check(op, theta, (8,), size)
    positions = _positions(size, align_corners, theta)
    above = matmul(positions, theta[:, :6].reshape(-1, 2, 3).transpose(1, 2))
    below = matmul(positions[:, :, :2], theta[:, 6:].reshape(-1, 2, 1)) + 1.0
    below = where(below >= 0.0, clamp(below, min=_LEAST), clamp(below, max=-_LEAST))
    return _shaped(above / below, size)


def control_points(side: int) -> np.ndarray:
    """Return a regular grid of points (side^2, 2) on [-1, 1]^2, row by row, x first, float64."""
    return target_grid((side, side), True).reshape(-1, 2)


def thin_plate_spline_grid(
    theta: Tensor, size: Sequence[int], align_corners: bool | None = None, control: np.ndarray | None = None
) -> Tensor:
    """Return the grid of thin-plate splines, which send control point P_k to theta[:, k], and bend least in between.

    T(p) = a_1 + a_x x + a_y y + sum_k w_k U(|p - P_k|), U(r) = r^2 log r^2

    As w and a are linear in the K positions that theta holds, the grid is one constant matrix (H W, K) times theta.

    Parameters
    ----------
    theta : Tensor, (N, K, 2)
        Where in the input each control point looks, x first.
    control : array, (K, 2), optional
        The control points in the output; by default 4 x 4 regular ones (:func:`control_points`). Others as in
        :func:`affine_grid`.

    Raises
    ------
    ValueError
        Shapes do not fit, or the control points lie on one line or upon each other.
    """
    op = "thin_plate_spline_grid"
    points = _points(op, "control", control_points(4) if control is None else control)
    _check(op, theta, points.shape, size)
    matrix = spline_matrix(points.tobytes(), (size[2], size[3]), bool(align_corners), theta.dtype)
    return _shaped(matmul(_beside(matrix, theta), theta), size)


def thin_plate_spline(control: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return w (K, 2) and a (3, 2) of the spline that sends the control points (K, 2) to the sources (K, 2).

    They solve [[K, P], [P^T, 0]] [w; a] = [Q; 0] with K_ij = U(|P_i - P_j|) and P = [1, x, y].

    Raises
    ------
    ValueError
        Shapes do not fit, or the control points lie on one line or upon each other.
    """
    op = "thin_plate_spline"
    points, sources = _points(op, "control", control), _points(op, "sources", sources)
    if len(points) != len(sources):
        raise ValueError(f"{op}: sources must be as many as the {len(points)} control points, got {len(sources)}")
    solved = _inverse(points)[:, : len(points)] @ sources
    return solved[: len(points)], solved[len(points) :]


def _points(op: str, name: str, points: Any) -> np.ndarray:
    found = np.asarray(points, np.float64)
    if found.ndim != 2 or found.shape[1] != 2:
        raise ValueError(f"{op}: {name} must be points (K, 2), x first, got shape {found.shape}")
    return found


def _bends(points: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Return the basis of the spline at points (M, 2): U(|p - P_k|) of every control point, 1, x, y; (M, K + 3)."""
    squared = ((points[:, None] - control[None]) ** 2).sum(-1)
    bends = squared * np.log(np.where(squared > 0, squared, 1.0))
    return np.concatenate([bends, np.ones((len(points), 1)), points], axis=1)


def _inverse(control: np.ndarray) -> np.ndarray:
    count, finite = len(control), np.isfinite(control).all()
    system = np.zeros((count + 3, count + 3))
    if finite:
        system[:count] = _bends(control, control)
        system[count:, :count] = system[:count, count:].T
    if count < 3 or not finite or np.linalg.cond(system) > 1e12:
        raise ValueError(
            "thin_plate_spline: control points must be at least 3, not all on one line, no two the same, in about "
            f"[-1, 1], got {count} from {control.min(initial=np.inf):g} to {control.max(initial=-np.inf):g}"
        )
    return np.linalg.inv(system)


@functools.lru_cache(64)
def spline_matrix(control: bytes, size: tuple[int, int], align_corners: bool, dtype: np.dtype) -> np.ndarray:
    """Return the matrix (H W, K) that makes the grid of theta (K, 2); ``control`` are the points' float64, as bytes."""
    points = np.frombuffer(control).reshape(-1, 2)
    matrix = _bends(target_grid(size, align_corners).reshape(-1, 2), points) @ _inverse(points)[:, : len(points)]
    return matrix.astype(dtype)


@functools.lru_cache(64)
def _homogeneous(size: tuple[int, int], align_corners: bool, dtype: np.dtype) -> np.ndarray:
    """Return (x, y, 1) of every output position (1, H W, 3)."""
    positions = target_grid(size, align_corners).reshape(-1, 2)
    return np.concatenate([positions, np.ones((len(positions), 1))], axis=1)[None].astype(dtype)


def _positions(size: Sequence[int], align_corners: bool | None, theta: Tensor) -> Tensor:
    """Return (x, y, 1) of every output position (1, H W, 3), as theta is."""
    return _beside(_homogeneous((size[2], size[3]), bool(align_corners), theta.dtype), theta)


def _beside(constant: np.ndarray, theta: Tensor) -> Tensor:
    return Tensor(device.beside(constant, theta.data))  # to a GPU once, not in every step


def _shaped(grid: Tensor, size: Sequence[int]) -> Tensor:
    return grid.reshape(grid.shape[0], size[2], size[3], 2)


def _check(op: str, theta: Tensor, shape: tuple[int, ...], size: Sequence[int]) -> None:
    errors.check_tensor(op, "theta", theta)
    errors.check_float(op, "theta", theta)
    if theta.shape[1:] != shape or theta.ndim != len(shape) + 1:
        raise ValueError(f"{op}: theta must be (N, {', '.join(map(str, shape))}), got shape {theta.shape}")
    numbers = list(size) if isinstance(size, (Sequence, np.ndarray)) else []
    if len(numbers) != 4 or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) for n in numbers):
        raise ValueError(f"{op}: size must be the ints (N, C, H, W) of the output, got {size!r}")
    if size[0] != theta.shape[0] or min(size[2:]) < 1:
        raise ValueError(f"{op}: size must have N = {theta.shape[0]} as theta has, and H, W of 1 or more, got {size!r}")
