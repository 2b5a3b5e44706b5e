"""Pooling of regions of interest (RoIs): maximum over cells, or averages of samples. See :func:`roi_pool`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.functional.shape import cat
from tinyconv.tensor import Tensor

Pair = int | tuple[int, int]
Boxes = Tensor | Sequence[Tensor]


class RoiPool(Function):
    """Maximum of each bin, and where it was; see :func:`roi_pool`."""

    @staticmethod
    def forward(ctx: Any, x: Any, rois: Any, out: tuple[int, int], scale: float) -> Any:
        x, rois = device.contiguous(x), device.contiguous(rois)
        y = device.empty(x, (len(rois), x.shape[1], *out))
        switches = device.empty(x, y.shape, np.int64)
        device.kernels_for(x).roi.roi_pool_forward(x, rois, y, switches, scale)
        ctx.save(rois, switches)
        ctx.shape, ctx.scale = x.shape, scale
        ctx.mark_non_differentiable(1)
        return y, switches

    @staticmethod
    def backward(ctx: Any, dy: Any, _: Any) -> Any:
        dx = device.empty(dy, ctx.shape)
        device.kernels_for(dy).roi.roi_pool_backward(device.contiguous(dy), *ctx.saved, dx, ctx.scale)
        return dx, None, None, None


class RoiAlign(Function):
    """Mean of each bin's samples; see :func:`roi_align`."""

    @staticmethod
    def forward(ctx: Any, x: Any, rois: Any, out: tuple[int, int], *rule: Any) -> Any:
        x, rois = device.contiguous(x), device.contiguous(rois)
        y = device.empty(x, (len(rois), x.shape[1], *out))
        device.kernels_for(x).roi.roi_align_forward(x, rois, y, *rule)
        ctx.save(rois)
        ctx.shape, ctx.rule = x.shape, rule
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = device.empty(dy, ctx.shape)
        device.kernels_for(dy).roi.roi_align_backward(device.contiguous(dy), *ctx.saved, dx, *ctx.rule)
        return (dx,) + (None,) * (2 + len(ctx.rule))


def roi_pool(x: Tensor, boxes: Boxes, output_size: Pair, spatial_scale: float = 1.0) -> Tensor:
    """Maximum over each of PH x PW bins of every region of interest (Girshick 2015, sec. 2.1).

    A region's corners are rounded to cells of the map (halves away from zero), and both belong to it: it has
    length = max(last - first + 1, 1) rows, of which bin i takes first + floor(i length / PH) up to
    first + ceil((i + 1) length / PH) - 1, cut at the border of the map; columns likewise. Bins may share a row. The
    first of equal maxima wins, and a NaN over all numbers. A bin outside the map is 0 and has no gradient; neither have
    the boxes. torchvision differs in two things: it passes over NaN, where :func:`max_pool2d` does not; and it works
    out edges in floats, which give the last of 7 bins in 57 cells a 58th.

    Parameters
    ----------
    x : Tensor, (N, C, H, W), float32 or float64
    boxes : Tensor, (R, 5), or sequence of N Tensors, (L, 4)
        Of x's dtype: index of the image in the batch, x1 y1 x2 y2; or x1 y1 x2 y2 for each image. In pixels of the
        image. They may stay on the CPU wherever x is: what lies on a GPU is copied back to be checked.
    output_size : int or (int, int)
        PH, PW: 7 x 7 for VGG16, 6 x 6 for AlexNet.
    spatial_scale : float
        Cells per pixel: 1 / 16 behind four poolings of stride 2.

    Returns
    -------
    Tensor, (R, C, PH, PW)    the regions in the order of the boxes

    Raises
    ------
    ValueError
        x or boxes have another shape; a coordinate is NaN or infinite; an index is no whole number; scale <= 0.
    IndexError
        An index of an image that is not in the batch.
    """
    x, rois, out, scale = _checked("roi_pool", x, boxes, output_size, spatial_scale)
    return RoiPool.apply(x, rois, out, scale)[0]


def roi_align(
    x: Tensor,
    boxes: Boxes,
    output_size: Pair,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Mean of samples in each of PH x PW bins of every region of interest, nothing rounded (He et al. 2017, sec. 3).

    A bin has a grid of samples, each mixed of the four cells around it as in bilinear interpolation; one that lies more
    than a cell outside the map counts as 0. The boxes have no gradient.

    Parameters
    ----------
    x, boxes, output_size, spatial_scale
        As for :func:`roi_pool`.
    sampling_ratio : int
        Samples of a bin along each axis; 0 or less: as many as the bin is long in cells, rounded up.
    aligned : bool
        False: coordinate 0 is the centre of the first cell, and a region is at least one cell long (torchvision's first
        form, He's released code). True: coordinate 0 is the outer edge of the first cell, half a cell before it.

    Returns
    -------
    Tensor, (R, C, PH, PW)    the regions in the order of the boxes

    Raises
    ------
    ValueError, IndexError
        As :func:`roi_pool` does.
    """
    op = "roi_align"
    x, rois, out, scale = _checked(op, x, boxes, output_size, spatial_scale)
    if isinstance(sampling_ratio, bool) or not isinstance(sampling_ratio, (int, np.integer)):
        raise TypeError(f"{op}: sampling_ratio must be an int, got {sampling_ratio!r}")
    return RoiAlign.apply(x, rois, out, scale, int(sampling_ratio), bool(aligned))


def _checked(op: str, x: Tensor, boxes: Any, output_size: Any, spatial_scale: Any) -> tuple[Any, ...]:
    """Return x, the regions (R, 5) on x's device, the output size and the scale, all as the kernels want them."""
    errors.check_ndim(op, "x", x, 4, "(N, C, H, W)")
    errors.check_float(op, "x", x)
    if min(x.shape[2:]) < 1:
        raise ValueError(f"{op}: x must have at least one pixel, got shape {x.shape}")
    out = errors.pair(op, "output_size", output_size, 1)
    if isinstance(spatial_scale, bool) or not isinstance(spatial_scale, (int, float, np.number)):
        raise TypeError(f"{op}: spatial_scale must be a number, got {spatial_scale!r}")
    if not (math.isfinite(spatial_scale) and spatial_scale > 0):
        raise ValueError(f"{op}: spatial_scale must be more than 0, got {spatial_scale}")
    rois = _indexed(op, x, boxes) if isinstance(boxes, (list, tuple)) else boxes
    errors.check_tensor(op, "boxes", rois)
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(
            f"{op}: boxes must be (R, 5), index and x1 y1 x2 y2, or a list of (L, 4) for each image, got {rois.shape}"
        )
    if rois.dtype != x.dtype:
        raise TypeError(f"{op}: x and boxes must have one dtype, got {x.dtype} and {rois.dtype}; convert the boxes")
    if rois.device != "meta":
        _check_values(op, device.host(rois.data), x.shape[0])
    if rois.device != x.device:
        if rois.device != "cpu":
            errors.check_same_device(op, x=x, boxes=rois)
        rois = rois.detach().to(x.device)
    return x, rois.detach(), out, float(spatial_scale)


def _indexed(op: str, x: Tensor, boxes: Sequence[Any]) -> Tensor:
    """Return the boxes of all images, each behind its image's index."""
    if len(boxes) != x.shape[0]:
        raise ValueError(f"{op}: wanted boxes for each of {x.shape[0]} images, got a list of {len(boxes)}")
    parts = []
    for i, part in enumerate(boxes):
        errors.check_tensor(op, f"boxes[{i}]", part)
        if part.ndim != 2 or part.shape[1] != 4:
            raise ValueError(f"{op}: boxes[{i}] must be (L, 4), x1 y1 x2 y2, got shape {part.shape}")
        errors.check_float(op, f"boxes[{i}]", part)
        index = device.move(np.full((len(part), 1), i, part.dtype), part.device)
        parts.append(cat([Tensor(index), part.detach()], 1))
    return cat(parts) if parts else Tensor(device.empty(x.data, (0, 5)))


def _check_values(op: str, rois: np.ndarray, images: int) -> None:
    """Raise unless every number is finite and every index belongs to an image."""
    if not np.isfinite(rois).all():
        row = int(np.flatnonzero(~np.isfinite(rois).all(1))[0])
        raise ValueError(f"{op}: boxes must be finite, got {rois[row].tolist()} in row {row}")
    if (rois[:, 0] != np.floor(rois[:, 0])).any():
        raise ValueError(f"{op}: the first column of boxes must be the image's index, got {rois[:, 0].tolist()[:8]}")
    errors.check_range(op, "the images' indices in boxes", rois[:, 0].astype(np.int64), images)
