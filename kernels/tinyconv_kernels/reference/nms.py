"""Non-maximum suppression, defined: the best box stays, and drops those after it that overlap it too much.

Source: Girshick et al. 2014, sec. 2.2 (greedy, per class); Ren et al. 2015, sec. 3.3 (of proposals).
"""

import numpy as np


@np.errstate(all="ignore")
def nms(boxes, keep, threshold, offset):
    """One box after the other, best first. Writes keep: False if a kept box before it has IoU > threshold with it.

    boxes (R, 4) x1 y1 x2 y2 are sorted, their sides x2 - x1 + offset; boxes of no area have IoU 0. An IoU of exactly
    the threshold drops nothing, and neither does a box that was dropped. All is computed in the boxes' dtype.
    """
    real = boxes.dtype.type
    low, high = boxes[:, :2], boxes[:, 2:] + real(offset)
    areas = np.maximum(high - low, 0).prod(1)
    keep[...] = True
    for i in range(len(boxes)):
        if keep[i]:
            inter = np.maximum(np.minimum(high[i], high) - np.maximum(low[i], low), 0).prod(1)
            iou = inter / (areas[i] + areas - inter)  # 0 / 0 is NaN, and no more than any threshold
            keep[i + 1 :] &= ~(iou[i + 1 :] > real(threshold))
