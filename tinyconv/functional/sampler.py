"""Sampling images at other positions than their pixels: resizing, and at the positions of a grid."""

from __future__ import annotations

import math
from typing import Any

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.tensor import Tensor
from tinyconv_kernels.geometry import BORDER, REFLECTION, ZEROS

_PADDINGS = {"zeros": ZEROS, "border": BORDER, "reflection": REFLECTION}


class Interpolate(Function):
    """Resize every map with one kernel pair; see :func:`interpolate`."""

    @staticmethod
    def forward(ctx: Any, x: Any, out: tuple[int, int], mode: str, rule: tuple) -> Any:
        ctx.shape, ctx.mode, ctx.rule = x.shape, mode, rule
        y = device.empty(x, (*x.shape[:2], *out))
        kernel = getattr(device.kernels_for(x).resize, f"interpolate_{mode}_forward")
        kernel(device.contiguous(x), y, *rule)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = device.empty(dy, ctx.shape)
        kernel = getattr(device.kernels_for(dy).resize, f"interpolate_{ctx.mode}_backward")
        kernel(device.contiguous(dy), dx, *ctx.rule)
        return dx, None, None, None


class GridSample(Function):
    """Sample every map at the positions of a grid; see :func:`grid_sample`."""

    @staticmethod
    def forward(ctx: Any, x: Any, grid: Any, mode: str, padding: int, align_corners: bool) -> Any:
        x, grid = device.contiguous(x), device.contiguous(grid)
        y = device.empty(x, (*x.shape[:2], *grid.shape[1:3]))
        kernel = getattr(device.kernels_for(x).sampler, f"grid_sample_{mode}_forward")
        kernel(x, grid, y, padding, align_corners)
        ctx.shape, ctx.mode, ctx.rule = x.shape, mode, (padding, align_corners)
        needs_x = ctx.needs_input_grad[1] and mode == "bilinear"  # the nearest pixel does not depend on the grid
        ctx.save(grid, x if needs_x else None)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        (grid, x), dy = ctx.saved, device.contiguous(dy)
        kernels, dx, dgrid = device.kernels_for(dy).sampler, None, None
        if ctx.needs_input_grad[0]:
            dx = device.empty(dy, ctx.shape)
            getattr(kernels, f"grid_sample_{ctx.mode}_backward_input")(dy, grid, dx, *ctx.rule)
        if ctx.needs_input_grad[1] and ctx.mode == "nearest":
            dgrid = device.zeros(dy, grid.shape)
        elif ctx.needs_input_grad[1]:
            dgrid = device.empty(dy, grid.shape)
            kernels.grid_sample_bilinear_backward_grid(dy, x, grid, dgrid, *ctx.rule)
        return dx, dgrid, None, None, None


def interpolate(
    x: Tensor,
    size: int | tuple[int, int] | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Resize every map to another height and width.

    Parameters
    ----------
    x : Tensor, (N, C, H, W), float32 or float64
    size : int or (int, int)
        Output height and width in pixels; or else
    scale_factor : float or (float, float)
        Output size = floor(input size * factor); source positions are stepped by exactly 1 / factor, as in PyTorch.
    mode : "nearest" or "bilinear"
        Copy the pixel at floor(position), or mix the four around the position. A shrinking image is not smoothed first.
    align_corners : bool, bilinear only (None is False)
        True: the centres of the corner pixels stay in place, step (H - 1) / (OH - 1).
        False: the outer edges do, position (oh + 0.5) H / OH - 0.5.

    Raises
    ------
    ValueError
        x is not 4-D; neither or both of size and scale_factor; a size below 1; align_corners with "nearest".
    """
    op = "interpolate"
    errors.check_ndim(op, "x", x, 4, "(N, C, H, W)")
    errors.check_float(op, "x", x)
    errors.check_choice(op, "mode", mode, ("nearest", "bilinear"))
    if mode == "nearest" and align_corners is not None:
        raise ValueError(f'{op}: align_corners is for mode="bilinear"; leave it out with mode="nearest"')
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{op}: give either size or scale_factor, got size={size!r} and scale_factor={scale_factor!r}")
    given = x.shape[2], x.shape[3]
    if min(given) < 1:
        raise ValueError(f"{op}: x must have at least one pixel, got shape {x.shape}")
    if scale_factor is None:
        out = errors.pair(op, "size", size, 1)  # type: ignore[arg-type]
        steps = given[0] / out[0], given[1] / out[1]
    else:
        factors = _factors(op, scale_factor)
        out = math.floor(given[0] * factors[0]), math.floor(given[1] * factors[1])
        if min(out) < 1:
            raise ValueError(f"{op}: scale_factor {scale_factor} leaves no pixel of {given}; use a larger one")
        steps = 1 / factors[0], 1 / factors[1]
    if align_corners:
        steps = _between_corners(given[0], out[0]), _between_corners(given[1], out[1])
    return Interpolate.apply(x, out, mode, (steps,) if mode == "nearest" else (bool(align_corners), steps))


def _factors(op: str, scale_factor: Any) -> tuple[float, float]:
    both = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
    if len(both) != 2 or not all(math.isfinite(f) and f > 0 for f in both):
        raise ValueError(f"{op}: scale_factor must be a positive number or two (height, width), got {scale_factor!r}")
    return float(both[0]), float(both[1])


def _between_corners(size: int, out: int) -> float:
    return (size - 1) / (out - 1) if out > 1 else 0.0


def grid_sample(
    x: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Sample every map at the positions of a grid, the same for all channels (Jaderberg et al. 2015, sec. 3.3).

    With px, py the position in pixels, x0 = floor(px), a = px - x0, and y0, b likewise, eq. 5 in floor's form is

        V = (1 - b) ((1 - a) U[y0, x0] + a U[y0, x0 + 1]) + b ((1 - a) U[y0 + 1, x0] + a U[y0 + 1, x0 + 1])
        dV/dpx = (1 - b) (U[y0, x0 + 1] - U[y0, x0]) + b (U[y0 + 1, x0 + 1] - U[y0 + 1, x0])

    and dV/dpy likewise. At a whole position this is the derivative to the right, where the paper's eq. 7 gives neither
    side's. A NaN in a position makes the output and the position's gradient NaN and gives the image no gradient, so
    that a network that has diverged is seen. A pixel outside the image is not read.

    Parameters
    ----------
    x : Tensor, (N, C, H, W), float32 or float64
    grid : Tensor, (N, OH, OW, 2), of x's dtype
        Positions, x before y, in coordinates that have -1 and 1 at the image's ends.
    mode : "bilinear" or "nearest"
        Mix the four pixels around a position, or copy the nearest one (of two, that of even index). The nearest has a
        gradient of 0 with respect to the grid.
    padding_mode : "zeros", "border" or "reflection"
        Outside the image there are zeros; or the position is moved to the nearest end; or mirrored at the ends until it
        is inside, which of an infinite one makes NaN. A position that rests at an end has a gradient of 0, as in
        PyTorch at the very end, too.
    align_corners : bool (None is False)
        True: -1 and 1 are the centres of the corner pixels, px = (x + 1) / 2 (W - 1).
        False: they are the outer edges, px = ((x + 1) W - 1) / 2.

    Returns
    -------
    Tensor, (N, C, OH, OW)

    Raises
    ------
    ValueError
        x is not 4-D or has no pixel; grid is not (N, OH, OW, 2) with x's N, or has no position; an unknown mode.
    TypeError
        x and grid have different dtypes.
    RuntimeError
        x and grid are on different devices.
    """
    op = "grid_sample"
    errors.check_ndim(op, "x", x, 4, "(N, C, H, W)")
    errors.check_float(op, "x", x)
    errors.check_tensor(op, "grid", grid)
    if grid.ndim != 4 or grid.shape[3] != 2:
        raise ValueError(f"{op}: grid must be (N, OH, OW, 2), x before y, got shape {grid.shape}")
    errors.check_same(op, x=x, grid=grid)
    if grid.shape[0] != x.shape[0]:
        raise ValueError(f"{op}: grid must have a grid for each of {x.shape[0]} images, got {grid.shape[0]}")
    if min(x.shape[2:]) < 1 or min(grid.shape[1:3]) < 1:
        raise ValueError(
            f"{op}: x must have at least one pixel and grid one position, got shapes {x.shape} and {grid.shape}"
        )
    errors.check_choice(op, "mode", mode, ("bilinear", "nearest"))
    errors.check_choice(op, "padding_mode", padding_mode, tuple(_PADDINGS))
    return GridSample.apply(x, grid, mode, _PADDINGS[padding_mode], bool(align_corners))
