"""Sampling images at other positions than their pixels: resizing."""

from __future__ import annotations

import math
from typing import Any

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.tensor import Tensor


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
