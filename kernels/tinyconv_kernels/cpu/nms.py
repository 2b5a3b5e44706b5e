"""Non-maximum suppression by one thread; definition: ``reference/nms.py``.

A box is compared with the boxes kept before it, side by side in vectors, and no further than the first that drops it.
"""

import numpy as np
from numba import njit

_RUN = 128  # kept boxes that a box is compared with before it looks whether one of them drops it


@np.errstate(all="ignore")  # as plain Python, 0 / 0 would warn
def nms(boxes, keep, threshold, offset):
    """One thread owns all boxes. Writes keep: False if a kept box before it has IoU > threshold with it."""
    real = boxes.dtype.type
    _keep_best(boxes, keep, real(threshold), real(offset))


@njit(inline="always")
def _any_over(x1, y1, x2, y2, areas, box, area, threshold):
    """Whether one of several boxes has IoU > threshold with the box; 0 / 0 is NaN, and not more."""
    over, zero = 0, areas.dtype.type(0)
    for i in range(areas.size):
        wide = max(min(box[2], x2[i]) - max(box[0], x1[i]), zero)
        tall = max(min(box[3], y2[i]) - max(box[1], y1[i]), zero)
        inter = wide * tall
        over |= inter / (areas[i] + area - inter) > threshold
    return over


@njit(cache=True, nogil=True, error_model="numpy")
def _keep_best(boxes, keep, threshold, offset):
    zero, count = boxes.dtype.type(0), 0
    x1, y1, x2, y2, areas = np.empty((5, boxes.shape[0]), boxes.dtype)  # of the kept ones, each side in one piece
    for j in range(boxes.shape[0]):
        box = boxes[j, 0], boxes[j, 1], boxes[j, 2] + offset, boxes[j, 3] + offset
        area = max(box[2] - box[0], zero) * max(box[3] - box[1], zero)
        first, dropped = 0, False
        while first < count and not dropped:
            run = slice(first, min(first + _RUN, count))  # whose positions count from 0, which vectors need
            dropped = _any_over(x1[run], y1[run], x2[run], y2[run], areas[run], box, area, threshold) > 0
            first += _RUN
        keep[j] = not dropped
        if not dropped:
            x1[count], y1[count], x2[count], y2[count], areas[count] = box[0], box[1], box[2], box[3], area
            count += 1
