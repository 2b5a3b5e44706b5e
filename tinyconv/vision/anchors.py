"""Anchors: the boxes that a region proposal network judges and moves. See :func:`grid_anchors`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyconv.vision.boxes import box_iou, check_boxes


def faithful_anchors(
    base_size: int = 16, ratios: Sequence[float] = (0.5, 1, 2), scales: Sequence[float] = (8, 16, 32)
) -> np.ndarray:
    """Return the anchors of the paper's Python code: +1 convention, rounded, centred at (base_size - 1) / 2.

    For ratio r = height / width the base of area A has width round(sqrt(A / r)) and height round(width r); then both
    are scaled. For networks of this library see :func:`anchor_boxes`.

    Parameters
    ----------
    base_size : int
        Side of the base in pixels: the network's stride.
    ratios, scales : sequence of float

    Returns
    -------
    array, (len(ratios) * len(scales), 4)
        Ratio-major: all scales of the first ratio come first.

    References
    ----------
    Ren et al. 2015, sec. 3.1.1.

    Examples
    --------
    >>> faithful_anchors()[0].tolist()
    [-84.0, -40.0, 99.0, 55.0]
    """
    ratio, scale = _sizes_and_ratios("faithful_anchors", scales, ratios)
    if base_size < 1:
        raise ValueError(f"faithful_anchors: base_size must be at least 1, got {base_size}")
    width = np.round(np.sqrt(base_size**2 / ratio))
    size = np.stack([width, np.round(width * ratio)], axis=-1)[:, None] * scale[:, None]
    half = (size.reshape(-1, 2) - 1) / 2
    centre = (base_size - 1) / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def anchor_boxes(sizes: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
    """Return boxes of given sizes and shapes around the point (0, 0), +0 convention.

    For size s and ratio r = height / width: width s / sqrt(r), height s sqrt(r), so the area is s^2.

    Parameters
    ----------
    sizes, ratios : sequence of float
        In pixels; greater than 0.

    Returns
    -------
    array, (len(ratios) * len(sizes), 4), float64
        Ratio-major: all sizes of the first ratio come first.

    Raises
    ------
    ValueError
        There is no size or no ratio, or one is not greater than 0.

    Examples
    --------
    >>> anchor_boxes([8], [0.25, 1]).tolist()
    [[-8.0, -2.0, 8.0, 2.0], [-4.0, -4.0, 4.0, 4.0]]
    """
    ratio, size = _sizes_and_ratios("anchor_boxes", sizes, ratios)
    root = np.sqrt(ratio)[:, None]
    half = np.stack([size / root, size * root], axis=-1).reshape(-1, 2) / 2
    return np.concatenate([-half, half], axis=-1)


def _sizes_and_ratios(who: str, sizes: Sequence[float], ratios: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 arrays, ratios first; ValueError unless all are finite and greater than 0."""
    size, ratio = np.array(sizes, np.float64).reshape(-1), np.array(ratios, np.float64).reshape(-1)
    both = np.concatenate([size, ratio])
    if not size.size or not ratio.size or not (np.isfinite(both) & (both > 0)).all():
        raise ValueError(f"{who}: wanted one or more sizes and ratios, all above 0, got {sizes} and {ratios}")
    return ratio, size


def grid_anchors(base: np.ndarray, shape: tuple[int, int], stride: float, *, centre: bool = True) -> np.ndarray:
    """Return the anchors of every cell of a feature map.

    Anchor (row, col, a) is base[a] shifted by stride (col, row), with ``centre`` by stride (col + 1/2, row + 1/2).

    Parameters
    ----------
    base : array, (k, 4)
    shape : (int, int)
        Rows and columns of the feature map.
    stride : float
        Pixels of the image per cell.
    centre : bool
        True for bases around (0, 0), as :func:`anchor_boxes` gives them: they end up around the middle of their cell.
        False for those of :func:`faithful_anchors`, which are around the middle of the first cell already.

    Returns
    -------
    array, (rows * columns * k, 4)
        In the order (row, column, anchor): that of a score map (N, k, rows, columns) moved to (N, rows, columns, k).

    Examples
    --------
    >>> grid_anchors(anchor_boxes([8], [1]), (1, 2), 4).tolist()
    [[-2.0, -2.0, 6.0, 6.0], [2.0, -2.0, 10.0, 6.0]]
    """
    base = check_boxes("grid_anchors", base)
    if base.ndim != 2 or len(shape) != 2 or min(shape) < 0 or not stride > 0:
        raise ValueError(
            f"grid_anchors: wanted base (k, 4), shape (rows, columns) and stride > 0, "
            f"got {base.shape}, {tuple(shape)} and {stride}"
        )
    down, across = ((np.arange(length) + (0.5 if centre else 0)) * stride for length in shape)
    y, x = np.meshgrid(down, across, indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
    return (shifts + base).reshape(-1, 4).astype(base.dtype)


def label_anchors(
    anchors: np.ndarray,
    truth_boxes: np.ndarray,
    size: tuple[int, int],
    *,
    positive: float = 0.7,
    negative: float = 0.3,
    border: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Say of every anchor whether it is an object, background, or neither.

    An anchor is an object (1) if its IoU with any object is at least ``positive``, or if no other anchor has a larger
    IoU with some object: the best anchors of an object are positive, all that tie, however small their IoU (but 0). It
    is background (0) if its IoU with every object is below ``negative`` and it is no object's best. All others are
    ignored (-1), and so is every anchor that crosses the image's border.

    Parameters
    ----------
    anchors : array, (A, 4)
        +0 convention, in pixels.
    truth_boxes : array, (G, 4)
        The objects; without any, all anchors inside the image are background.
    size : (int, int)
        Height and width of the image.
    positive, negative : float
        Bounds of the IoU, 0 <= negative <= positive <= 1.
    border : float
        How many pixels an anchor may reach beyond the image. Infinity ignores no anchor.

    Returns
    -------
    labels : array, (A,), int8
    matched : array, (A,), int64
        The object with which the anchor has the largest IoU, the first of those that tie; -1 if there is no object.

    Raises
    ------
    ValueError
        Boxes are no (A, 4) and (G, 4), or not finite; the bounds are out of order.

    References
    ----------
    Ren et al. 2015, sec. 3.1.2 and 3.1.3. The guard against an IoU of 0 is ours: an object that no anchor meets would
    tie with all of them and make every anchor positive.

    Examples
    --------
    >>> anchors = np.array([[0, 0, 8, 8], [4, 0, 12, 8], [20, 20, 28, 28], [-1, 0, 7, 8]])
    >>> label_anchors(anchors, np.array([[0, 0, 9, 8]]), (32, 32))[0].tolist()
    [1, -1, 0, -1]
    """
    anchors, truth_boxes = _finite_boxes(anchors), _finite_boxes(truth_boxes)
    if not 0 <= negative <= positive <= 1:
        raise ValueError(f"label_anchors: wanted 0 <= negative <= positive <= 1, got {negative} and {positive}")
    height, width = size
    low, high = anchors[:, :2], anchors[:, 2:]
    inside = np.all((low >= -border) & (high <= np.array([width, height]) + border), axis=1)
    labels = np.where(inside, 0, -1).astype(np.int8)
    if not len(truth_boxes) or not len(anchors):
        return labels, np.full(len(anchors), -1, np.int64)
    overlap = box_iou(anchors, truth_boxes)
    matched = overlap.argmax(1)
    largest = overlap.max(1)
    labels[inside & (largest >= negative)] = -1
    best = np.where(inside[:, None], overlap, 0).max(0)
    # Anchors that overlap equally by symmetry may differ by a rounding.
    ties = (overlap >= best - 1e-9) & (overlap > 0)
    labels[inside & ((largest >= positive) | ties.any(1))] = 1
    return labels, matched


def _finite_boxes(boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, np.float64)
    boxes = check_boxes("label_anchors", boxes.reshape(-1, 4) if not boxes.size else boxes)
    if boxes.ndim != 2 or not np.isfinite(boxes).all():
        raise ValueError(f"label_anchors: wanted finite boxes (A, 4) and (G, 4), got shape {boxes.shape} or not finite")
    return boxes


def sample_labels(labels: np.ndarray, count: int, most_positive: int, rng: np.random.Generator) -> np.ndarray:
    """Return labels of which at most ``count`` are not -1: at most ``most_positive`` ones, the rest zeros.

    Which ones are kept is drawn, each with the same probability. Zeros make up for missing ones, not the other way
    round.

    Parameters
    ----------
    labels : array, (A,)
        1 object, 0 background, -1 ignored. It is not changed.
    count, most_positive : int
        0 <= most_positive <= count; the paper has 256 and 128.
    rng : numpy.random.Generator

    References
    ----------
    Ren et al. 2015, sec. 3.1.3.
    """
    if not 0 <= most_positive <= count:
        raise ValueError(f"sample_labels: wanted 0 <= most_positive <= count, got {most_positive} and {count}")
    labels = np.array(labels)
    positive, negative = rng.permutation(np.flatnonzero(labels == 1)), rng.permutation(np.flatnonzero(labels == 0))
    labels[positive[most_positive:]] = -1
    labels[negative[count - min(len(positive), most_positive) :]] = -1
    return labels
