"""How good are detections: average precision as in the PASCAL VOC challenge. See :func:`evaluate_detections`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyconv import errors
from tinyconv.vision.boxes import box_iou, check_boxes
from tinyconv.vision.detections import Detections, Truth

METRICS = ("11-point", "all-point")


class Curve(NamedTuple):
    """Precision against recall of one class, one entry per detection that counts, best score first.

    Attributes
    ----------
    recall, precision, scores : array, (D,)
    """

    recall: np.ndarray
    precision: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Average precision per class and in the mean; printed, it is a table.

    Attributes
    ----------
    classes : tuple of K str
    eleven_point, all_point : array, (K,)
        Average precision by either metric, in [0, 1]; NaN for a class of which there is no object that counts.
    curves : tuple of K Curve
    objects : array, (K,), int64
        How many objects there are, without the difficult ones.
    """

    classes: tuple[str, ...]
    eleven_point: np.ndarray
    all_point: np.ndarray
    curves: tuple[Curve, ...]
    objects: np.ndarray

    @property
    def mean_eleven_point(self) -> float:
        """Mean over the classes that have an object; NaN if none has."""
        return _mean(self.eleven_point)

    @property
    def mean_all_point(self) -> float:
        """Mean over the classes that have an object; NaN if none has."""
        return _mean(self.all_point)

    def __str__(self) -> str:
        wide = max(map(len, (*self.classes, "class")))
        lines = [f"{'class':<{wide}}  objects  detections  11-point  all-point"]
        rows = zip(self.classes, self.objects, self.curves, self.eleven_point, self.all_point, strict=True)
        left_out = 0
        for name, objects, curve, *points in rows:
            if objects == len(curve.scores) == 0:
                left_out += 1
                continue
            eleven, every = ("-" if np.isnan(point) else f"{point:.3f}" for point in points)
            lines.append(f"{name:<{wide}}  {objects:>7}  {len(curve.scores):>10}  {eleven:>8}  {every:>9}")
        found = sum(len(curve.scores) for curve in self.curves)
        means = f"{self.mean_eleven_point:>8.3f}  {self.mean_all_point:>9.3f}"
        lines.append(f"{'mean':<{wide}}  {self.objects.sum():>7}  {found:>10}  {means}")
        if left_out:
            lines.append(f"({left_out} classes without objects and detections left out)")
        return "\n".join(lines)


def _mean(values: np.ndarray) -> float:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else float("nan")


def precision_recall(flags: np.ndarray, positives: int) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision after each detection.

    recall = TP / positives, precision = TP / (TP + FP), where TP counts the true flags up to and with this one.

    Parameters
    ----------
    flags : array, (D,), bool
        Best score first: true for a detection that found an object, false for a false positive.
    positives : int
        Number of objects that can be found. If it is 0 the recall is NaN.

    Returns
    -------
    recall, precision : array, (D,), float64

    Raises
    ------
    ValueError
        Flags are not (D,), or more of them are true than there are objects.
    """
    flags = np.asarray(flags, bool)
    if flags.ndim != 1 or np.count_nonzero(flags) > positives or positives < 0:
        raise ValueError(
            f"precision_recall: wanted flags (D,), at most positives={positives} of them true, "
            f"got shape {flags.shape} with {np.count_nonzero(flags)}"
        )
    true = np.cumsum(flags)
    recall = true / positives if positives else np.full(len(flags), np.nan)
    return recall, true / np.arange(1, len(flags) + 1)


def average_precision(flags: np.ndarray, positives: int, metric: str = "11-point") -> float:
    """Return the average precision of one class.

    "11-point" (VOC until 2009): the mean over t in 0, 0.1, ..., 1 of the largest precision at a recall of at least t,
    or 0 where no recall is that high. "all-point" (from 2010): the area under the curve, where at each recall the
    precision is the largest at that recall or a higher one.

    Parameters
    ----------
    flags : array, (D,), bool
        See :func:`precision_recall`.
    positives : int
    metric : {"11-point", "all-point"}

    Returns
    -------
    float
        In [0, 1]; 0 without detections, NaN without positives.

    Notes
    -----
    A recall of exactly 3/10 counts for t = 0.3. The Python script that many papers used takes its thresholds from
    ``arange(0, 1.1, 0.1)``, where three of them are a rounding too large (0.30000000000000004), and misses it; its
    result may be lower by up to 3/11.

    References
    ----------
    Everingham et al. 2010, sec. 4.2.

    Examples
    --------
    >>> average_precision([True, True, False, True], 4, "all-point")
    0.6875
    """
    errors.check_choice("average_precision", "metric", metric, METRICS)
    recall, precision = precision_recall(flags, positives)
    if not positives:
        return float("nan")
    if metric == "11-point":
        reached = [precision[recall >= t / 10 - 1e-12] for t in range(11)]
        return float(sum(values.max() for values in reached if len(values)) / 11)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * highest).sum())


def evaluate_detections(
    detections: Sequence[Detections],
    truths: Sequence[Truth],
    classes: Sequence[str],
    *,
    threshold: float = 0.5,
    offset: float = 0,
) -> Evaluation:
    """Compare what a detector found in some images with what is there.

    The detections of a class, of all images together, are taken in order of score (equal ones in order of image and
    place). Each looks at the object of its image and class with which it has the largest IoU, and at no other. It is a
    true positive if that IoU is above ``threshold`` and no detection before it found the same object; otherwise it is a
    false positive. A detection that finds a difficult object does not count. A box without area overlaps nothing.

    Parameters
    ----------
    detections, truths : sequence of N Detections and Truth
        Those of image i at place i, in any order within an image.
    classes : sequence of K str
        Names of the labels 0..K-1.
    threshold : float
        The IoU must be above it.
    offset : {0, 1}
        1: the +1 convention, sides of boxes are x2 - x1 + 1 pixels, as in the challenge's own code.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError
        classes are no names.
    ValueError
        There are not as many detections as truths, or in an image not as many labels or scores as boxes; a score is
        NaN; a label is not in 0..K-1.

    References
    ----------
    Everingham et al. 2010, sec. 4.2, and the challenge's development kit.
    """
    who = "evaluate_detections"
    if len(detections) != len(truths):
        raise ValueError(f"{who}: wanted detections and truth of the same images, got {len(detections)}, {len(truths)}")
    if np.ndim(classes) != 1 or not all(isinstance(name, str) for name in classes):
        raise TypeError(f"{who}: classes must be a sequence of names, one for each label, got {classes!r}")
    detections = [Detections(*_checked(i, "detection", *each, len(classes))) for i, each in enumerate(detections)]
    truths = [Truth(*_checked(i, "object", *each, len(classes))) for i, each in enumerate(truths)]
    objects = [sum(int(((true.labels == k) & ~true.difficult).sum()) for true in truths) for k in range(len(classes))]
    judged = [_judge(detections, truths, k, threshold, offset) for k in range(len(classes))]
    curves = [Curve(*precision_recall(flags, n), scores) for (flags, scores), n in zip(judged, objects, strict=True)]
    eleven, every = (
        np.array([average_precision(flags, n, metric) for (flags, _), n in zip(judged, objects, strict=True)])
        for metric in METRICS
    )
    return Evaluation(tuple(classes), eleven, every, tuple(curves), np.array(objects, np.int64))


def _checked(
    image: int, kind: str, boxes: np.ndarray, labels: np.ndarray, values: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes, labels and scores or flags of an image as arrays, or raise as :func:`evaluate_detections` does."""
    who, word = "evaluate_detections", "scores" if kind == "detection" else "flags"
    boxes = check_boxes(who, np.asarray(boxes).reshape(-1, 4) if np.size(boxes) == 0 else boxes)
    labels, values = np.asarray(labels), np.asarray(values, np.float64 if kind == "detection" else bool)
    if boxes.ndim != 2 or not boxes.shape[:1] == labels.shape == values.shape:
        raise ValueError(
            f"{who}: wanted boxes (R, 4), R labels and R {word}, "
            f"image {image} has {boxes.shape}, {labels.shape} and {values.shape}"
        )
    if not np.isin(labels, np.arange(classes)).all():
        raise ValueError(f"{who}: labels must be in 0..{classes - 1}, image {image} has another {kind}")
    if np.isnan(values).any():
        raise ValueError(f"{who}: scores must be numbers, image {image} has NaN")
    return boxes, labels, values


def _judge(
    detections: Sequence[Detections], truths: Sequence[Truth], label: int, threshold: float, offset: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return flags and scores of the detections of one class that count, best score first."""
    scores, hits = [], []  # a hit: (image, object), the object -1 for none
    for i, (found, true) in enumerate(zip(detections, truths, strict=True)):
        mine, there = np.flatnonzero(found.labels == label), np.flatnonzero(true.labels == label)
        if not len(mine):
            continue
        scores += found.scores[mine].tolist()
        mine_boxes, there_boxes = (
            boxes[which] + np.array([0, 0, offset, offset])
            for boxes, which in ((found.boxes, mine), (true.boxes, there))
        )
        overlap = box_iou(mine_boxes, there_boxes)
        hits += [(i, int(there[row.argmax()]) if len(there) and row.max() > threshold else -1) for row in overlap]
    used: set[tuple[int, int]] = set()
    flags, kept = [], []
    for place in np.argsort(-np.array(scores, np.float64), kind="stable").tolist():
        image, hit = hits[place]
        if hit >= 0 and truths[image].difficult[hit]:
            continue
        flags.append(hit >= 0 and (image, hit) not in used)
        used.add((image, hit))
        kept.append(scores[place])
    return np.array(flags, bool), np.array(kept, np.float64)


def recall_and_mabo(
    proposals: Sequence[np.ndarray], truths: Sequence[np.ndarray], threshold: float = 0.5, top: int | None = None
) -> tuple[float, float]:
    """Return how well proposals cover objects: the recall, and the mean of each object's best overlap.

    Parameters
    ----------
    proposals : sequence of N arrays, (P, 4)
        Those of image i at place i, best first.
    truths : sequence of N arrays, (G, 4)
        Boxes of the objects.
    threshold : float
        An object is found if its IoU with some proposal is at least this.
    top : int, optional
        Look at the first so many proposals of each image only.

    Returns
    -------
    recall, mabo : float
        In [0, 1], over the objects of all images together; NaN if there is none.

    References
    ----------
    Uijlings et al. 2013, sec. 5: MABO. There the mean is first taken within each class, then over classes.

    Examples
    --------
    >>> recall_and_mabo([np.array([[0, 0, 10, 8]])], [np.array([[0, 0, 10, 10], [20, 20, 30, 30]])])
    (0.5, 0.4)
    """
    if len(proposals) != len(truths):
        raise ValueError(
            f"recall_and_mabo: wanted proposals and objects of the same images, got {len(proposals)}, {len(truths)}"
        )
    best = [np.zeros(0)]
    for boxes, objects in zip(proposals, truths, strict=True):
        if len(objects):
            best.append(box_iou(boxes[:top], objects).max(0, initial=0) if len(boxes) else np.zeros(len(objects)))
    overlaps = np.concatenate(best)
    if not len(overlaps):
        return float("nan"), float("nan")
    return float((overlaps >= threshold).mean()), float(overlaps.mean())
