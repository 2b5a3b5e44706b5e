"""What locating objects needs beyond layers: boxes, and their regression. See :mod:`tinyconv.vision.localisation`."""

from tinyconv.vision.boxes import box_area, box_iou, clip_boxes, paired_iou, to_centre, to_corners
from tinyconv.vision.localisation import (
    EuclideanLoss,
    box_network,
    dense_boxes,
    localisation_error,
    merge_boxes,
    predict_boxes,
)

__all__ = [
    "EuclideanLoss", "box_area", "box_iou", "box_network", "clip_boxes", "dense_boxes", "localisation_error",
    "merge_boxes", "paired_iou", "predict_boxes", "to_centre", "to_corners",
]  # fmt: skip
