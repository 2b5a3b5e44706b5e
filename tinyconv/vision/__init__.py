"""What detecting objects needs beyond layers, on NumPy arrays: boxes, what is found and true of an image, SVMs."""

from tinyconv.vision.box_regression import BoxRegressor
from tinyconv.vision.boxes import (
    box_area,
    box_iou,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    paired_iou,
    to_centre,
    to_corners,
)
from tinyconv.vision.detections import Detections, Truth, truth
from tinyconv.vision.svm import LinearSVM
from tinyconv.vision.targets import ImageTargets, pack_targets, unpack_targets

__all__ = [
    "BoxRegressor", "Detections", "ImageTargets", "LinearSVM", "Truth", "box_area", "box_iou", "clip_boxes",
    "decode_boxes", "encode_boxes", "pack_targets", "paired_iou", "to_centre", "to_corners", "truth", "unpack_targets",
]  # fmt: skip
