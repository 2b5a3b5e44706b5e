"""Operations of object detection on tensors, with torchvision's names and arguments: nms, box_iou, roi_pool, roi_align.

Nothing else of ``torchvision.ops``; :mod:`tinyconv.vision` has more for NumPy arrays. See :func:`nms`.
"""

from __future__ import annotations

import numpy as np

from tinyconv import device, errors
from tinyconv.functional import clamp, maximum, minimum, roi_align, roi_pool, where
from tinyconv.tensor import Tensor
from tinyconv.vision.nms import best_first, check_scored

__all__ = ["box_iou", "nms", "roi_align", "roi_pool"]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return which boxes stay if each, best first, drops those after it that have IoU > iou_threshold with it.

    Boxes are compared on their device and sorted on the host; of equal scores the earlier one comes first.

    Parameters
    ----------
    boxes : Tensor, (R, 4), float32 or float64
        x1 y1 x2 y2, +0 convention (x2 - x1 is the width).
    scores : Tensor, (R,)
    iou_threshold : float
        In [0, 1]; a box with exactly this IoU stays.

    Returns
    -------
    Tensor of int64, (K,)    numbers of the boxes that stay, best first

    Raises
    ------
    TypeError
        boxes or scores are no Tensors, or iou_threshold is no number.
    ValueError
        Shapes do not fit; a box is not finite, a score NaN; a threshold outside [0, 1].

    Examples
    --------
    >>> import tinyconv
    >>> boxes = tinyconv.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [6.0, 0.0, 16.0, 10.0]])
    >>> nms(boxes, tinyconv.tensor([0.8, 0.9, 0.7]), 0.5).tolist()
    [1, 2]
    """
    errors.check_ndim("nms", "boxes", boxes, 2, "(R, 4)")
    errors.check_float("nms", "boxes", boxes)
    errors.check_tensor("nms", "scores", scores)
    errors.check_same_device("nms", boxes=boxes, scores=scores)
    found, values = check_scored("nms", device.host(boxes.data), device.host(scores.data), iou_threshold, 0.0)
    order = best_first(values)
    here = device.move(np.ascontiguousarray(found[order]), boxes.device)
    keep = device.empty(here, (len(order),), np.bool_)
    device.kernels_for(here).nms.nms(here, keep, float(iou_threshold), 0.0)
    return Tensor(order[device.host(keep)]).to(boxes.device)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return the intersection over union of every box of one set with every box of another; differentiable.

    Boxes without an area have IoU 0 with each other, where torchvision returns NaN.

    Parameters
    ----------
    boxes1 : Tensor, (R, 4), float32 or float64
        x1 y1 x2 y2, +0 convention.
    boxes2 : Tensor, (S, 4)

    Returns
    -------
    Tensor, (R, S)
    """
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        errors.check_ndim("box_iou", name, boxes, 2, "(R, 4)")
        errors.check_float("box_iou", name, boxes)
        errors.check_shape("box_iou", name, boxes, (len(boxes), 4))
    errors.check_same("box_iou", boxes1=boxes1, boxes2=boxes2)
    first, second = boxes1.unsqueeze(1), boxes2.unsqueeze(0)
    inter = _area(maximum(first[..., :2], second[..., :2]), minimum(first[..., 2:], second[..., 2:]))
    union = _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:]) - inter
    return inter / where(union > 0, union, 1.0)


def _area(low: Tensor, high: Tensor) -> Tensor:
    """Return width times height, either at least 0."""
    sides = clamp(high - low, min=0)
    return sides[..., 0] * sides[..., 1]
