"""Training and judging detectors: what stands beside :mod:`tinyconv.models` and :mod:`tinyconv.vision`.

See :func:`train_detector`, :func:`train_rcnn`, :func:`train_in_four_steps`, :func:`evaluate_detector`,
:func:`draw_detections`.
"""

from tinyconv.detection.alternating import proposals_of, train_in_four_steps
from tinyconv.detection.draw import draw_detections
from tinyconv.detection.evaluation import Precision, detect_all, detect_in, evaluate_detector
from tinyconv.detection.rcnn_training import train_rcnn
from tinyconv.detection.training import train_detector

__all__ = [
    "Precision", "detect_all", "detect_in", "draw_detections", "evaluate_detector", "proposals_of", "train_detector",
    "train_in_four_steps", "train_rcnn",
]  # fmt: skip
