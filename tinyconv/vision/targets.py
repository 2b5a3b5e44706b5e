"""What a detector learns from, as one array for each image. See :func:`pack_targets`, :func:`unpack_targets`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyconv.vision.boxes import check_boxes

# The first number of a row; 0 or more is the class of an object.
PROPOSAL = -1  # a box that may hold an object
NOTHING = -2  # fills the arrays of a batch up to one length
EXTENT = -3  # the image itself


class ImageTargets(NamedTuple):
    """What is known of one image of a batch.

    Attributes
    ----------
    size : (int, int)
        Height and width in pixels, without what was added to make the images of the batch equally large.
    boxes : array, (R, 4), float32
        Objects: x1 y1 x2 y2 in pixels, +0 convention.
    labels : array, (R,), int64
        Classes 0..K-1.
    proposals : array, (P, 4), float32
    """

    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    proposals: np.ndarray


def pack_targets(
    size: tuple[int, int], boxes: np.ndarray, labels: np.ndarray, proposals: np.ndarray | None = None
) -> np.ndarray:
    """Return the targets of one image: rows (kind, x1, y1, x2, y2).

    The first row is (EXTENT, 0, 0, width, height). Then come the objects, whose kind is their class, and the proposals,
    whose kind is PROPOSAL.

    Parameters
    ----------
    size : (int, int)
        Height and width of the image in pixels.
    boxes : array, (R, 4)
        Objects: x1 y1 x2 y2 in pixels, +0 convention. R may be 0.
    labels : array, (R,), integers
    proposals : array, (P, 4), optional

    Returns
    -------
    array, (1 + R + P, 5), float32

    Raises
    ------
    ValueError
        The image or a box has no area, a number is not finite, a label is negative, or the shapes do not fit.

    Examples
    --------
    >>> pack_targets((30, 40), np.array([[1, 2, 11, 22]]), np.array([7])).tolist()
    [[-3.0, 0.0, 0.0, 40.0, 30.0], [7.0, 1.0, 2.0, 11.0, 22.0]]
    """
    height, width = size
    if not (height >= 1 and width >= 1):
        raise ValueError(f"pack_targets: size must be (height, width) of at least 1 pixel, got {tuple(size)}")
    boxes, labels = _checked("boxes", boxes), np.asarray(labels)
    if labels.shape != boxes.shape[:1] or (labels.size and labels.dtype.kind not in "ui"):
        raise ValueError(
            f"pack_targets: labels must be {len(boxes)} integers, one per box, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    if labels.size and labels.min() < 0:
        raise ValueError(f"pack_targets: labels must be at least 0, got {labels.min()}; the background is no object")
    proposals = np.empty((0, 4)) if proposals is None else _checked("proposals", proposals)
    targets = np.empty((1 + len(boxes) + len(proposals), 5), np.float32)
    targets[0] = EXTENT, 0, 0, width, height
    objects, rest = targets[1 : 1 + len(boxes)], targets[1 + len(boxes) :]
    objects[:, 0], objects[:, 1:] = labels, boxes
    rest[:, 0], rest[:, 1:] = PROPOSAL, proposals
    return targets


def unpack_targets(targets: np.ndarray) -> list[ImageTargets]:
    """Return what the targets of a batch say, an element for each image; the inverse of :func:`pack_targets`.

    Parameters
    ----------
    targets : array, (N, M, 5)
        Rows (kind, x1, y1, x2, y2), filled up with rows of the kind NOTHING.

    Raises
    ------
    ValueError
        The shape is another, an image does not begin with its extent, or a kind is none.

    Examples
    --------
    >>> (found,) = unpack_targets(pack_targets((30, 40), np.array([[1, 2, 11, 22]]), np.array([7]))[None])
    >>> found.size, found.boxes.tolist(), found.labels.tolist(), found.proposals.shape
    ((30, 40), [[1.0, 2.0, 11.0, 22.0]], [7], (0, 4))
    """
    targets = np.asarray(targets)
    if targets.ndim != 3 or targets.shape[2] != 5 or not targets.shape[1]:
        raise ValueError(f"unpack_targets: targets must be (N, M, 5) with M >= 1, got shape {targets.shape}")
    kinds = targets[:, :, 0]
    strange = ~((kinds >= EXTENT) & (kinds == np.floor(kinds)))  # also NaN
    if strange.any():
        raise ValueError(f"unpack_targets: a kind must be a whole number of at least {EXTENT}, got {kinds[strange][0]}")
    if not ((kinds == EXTENT) == (np.arange(kinds.shape[1]) == 0)).all():
        raise ValueError(
            f"unpack_targets: the first row of each image, and no other, must be its extent (kind {EXTENT}); "
            "are the targets from pack_targets?"
        )
    return [_image(rows) for rows in targets]


def _image(rows: np.ndarray) -> ImageTargets:
    kinds, boxes = rows[:, 0], rows[:, 1:].astype(np.float32, copy=False)
    objects = kinds >= 0
    size = int(rows[0, 4]), int(rows[0, 3])
    return ImageTargets(size, boxes[objects], kinds[objects].astype(np.int64), boxes[kinds == PROPOSAL])


def _checked(name: str, boxes: np.ndarray) -> np.ndarray:
    """Return boxes as (R, 4); ValueError unless each is finite and has an area."""
    boxes = np.asarray(boxes)
    boxes = check_boxes("pack_targets", boxes.reshape(0, 4) if not boxes.size else boxes)
    if boxes.ndim != 2:
        raise ValueError(f"pack_targets: {name} must be (R, 4), got shape {boxes.shape}")
    whole = np.isfinite(boxes).all(1) & (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    if not whole.all():
        i = int(whole.argmin())
        raise ValueError(f"pack_targets: {name} must have x1 < x2 and y1 < y2, got {boxes[i].tolist()} in row {i}")
    return boxes
