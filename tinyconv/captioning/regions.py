"""What a caption model sees of an image: features of the whole and of its regions. See :func:`detected_regions`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import device
from tinyconv.detection.evaluation import detect_in, scale_between
from tinyconv.function import no_grad
from tinyconv.models.fast_rcnn import FastRCNN
from tinyconv.models.rcnn import RCNN
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor
from tinyconv.threads import limited_threads
from tinyconv.vision.boxes import check_boxes, to_centre
from tinyconv.vision.detections import Detections
from tinyconv.vision.nms import distinct

_PLACES = 2000  # tries at a place for one distractor


class Regions(NamedTuple):
    """Boxes of N images and their features; of an image with fewer regions than R the last rows are 0.

    Attributes
    ----------
    boxes : array, (N, R, 4), float32
        x1 y1 x2 y2 in pixels of the image, +0 convention. Region 0 is the whole image.
    features : array, (N, R, F)
    counts : array, (N,), int64
        How many regions an image has: 1 to R.
    """

    boxes: np.ndarray
    features: np.ndarray
    counts: np.ndarray


def given_regions(
    detector: Any,
    images: Sequence[np.ndarray] | np.ndarray,
    boxes: Sequence[np.ndarray],
    *,
    transform: Any = None,
    batch: int = 32,
    progress: Callable[[], Any] = lambda: None,
) -> Regions:
    """Return the features of given boxes, behind those of the whole image.

    Features are the hidden units that a detector's scores are computed from: of FastRCNN and FasterRCNN the head's, of
    RCNN those of the warped crop. The detector works in evaluation mode and keeps its own.

    Parameters
    ----------
    detector : FastRCNN, FasterRCNN or RCNN
    images : array (N, C, H, W), or sequence of N arrays (C, H, W)
        As they are in their files: values in [0, 1].
    boxes : sequence of N arrays (r, 4)
        In pixels of ``images``; an image may have none.
    transform : callable, optional
        What the detector's training images went through; it may resize.
    batch : int
        Images of one size that go through the convolutions together.
    progress : callable
        Called after each image.

    Raises
    ------
    TypeError
        The detector is none of these.
    ValueError
        No image; not as many arrays of boxes; boxes that are not finite with x1 < x2 and y1 < y2; features that are
        not finite, as those of an image with NaN.
    """
    who = "given_regions"
    if not isinstance(detector, (FastRCNN, RCNN)):
        raise TypeError(f"{who}: detector must be a FastRCNN, FasterRCNN or RCNN, got {type(detector).__name__}")
    if not len(images) or len(images) != len(boxes) or batch < 1:
        raise ValueError(
            f"{who}: wanted images, as many arrays of boxes and batch >= 1, got {len(images)}, {len(boxes)}, {batch}"
        )
    shapes = [np.shape(image) for image in images]
    wrong = [i for i, shape in enumerate(shapes) if len(shape) != 3]
    if wrong:
        raise ValueError(f"{who}: images must be (C, H, W), got shape {shapes[wrong[0]]} for image {wrong[0]}")
    every = [_behind_whole(who, i, shape, boxes[i]) for i, shape in enumerate(shapes)]
    found: list[np.ndarray] = []
    with kept_modes(detector), no_grad(), limited_threads(detector):
        detector.eval()
        for first, prepared in _runs(images, transform, batch):
            places = range(first, first + len(prepared))
            scaled = [every[i] * scale_between(shapes[i][1:], prepared.shape[2:]) for i in places]
            found += _look(detector, prepared, scaled)
            for _ in places:
                progress()
    broken = [i for i, rows in enumerate(found) if not np.isfinite(rows).all()]
    if broken:
        raise ValueError(f"{who}: features must be finite, got NaN or inf for image {broken[0]}; look at its pixels")
    counts = np.array([len(part) for part in every], np.int64)
    return Regions(_padded(every), _padded(found), counts)


def detected_regions(
    detector: Any,
    images: Sequence[np.ndarray] | np.ndarray,
    top: int = 19,
    *,
    same: float = 0.7,
    transform: Any = None,
    proposals: Sequence[np.ndarray] | None = None,
    batch: int = 32,
    progress: Callable[[], Any] = lambda: None,
    **how: Any,
) -> Regions:
    """Return the features of the whole image and of the best detections (Karpathy, Fei-Fei 2015, sec. 3.1.1).

    Region 0 is the whole image; then come at most ``top`` detections of all classes, best first. An image in which
    nothing is found has one region.

    Parameters
    ----------
    detector, images, transform, batch
        As for :func:`given_regions`.
    top : int
        19 in the paper.
    same : float
        Of two detections whose IoU is larger, whatever their classes, the worse is left out: they are one thing that
        was named twice. (Not in the paper; 1 keeps them all.)
    proposals : sequence of N arrays (P, 4), optional
        In pixels of ``images``; by default the detector finds its own.
    progress : callable
        Called after each image is searched.
    **how
        For ``detector.detect``: least, iou ...
    """
    if proposals is not None and len(proposals) != len(images):
        raise ValueError(
            f"detected_regions: proposals must be {len(images)} arrays (P, 4), one per image, got {len(proposals)}"
        )
    boxes = []
    for i, image in enumerate(images):
        given = None if proposals is None else proposals[i]
        found = best_detections(detector, image, top, same=same, transform=transform, proposals=given, **how)
        boxes.append(found.boxes)
        progress()
    return given_regions(detector, images, boxes, transform=transform, batch=batch)


def best_detections(
    detector: Any, image: np.ndarray, top: int, *, same: float = 0.7, transform: Any = None,
    proposals: np.ndarray | None = None, **how: Any,
) -> Detections:  # fmt: skip
    """Return the best detections with an area in an image (C, H, W), at most ``top`` of all classes, best first.

    See :func:`detected_regions`.
    """
    if type(top) is not int or top < 1:
        raise ValueError(f"best_detections: top must be an int of at least 1, got {top!r}")
    return distinct(detect_in(image, detector, transform, proposals, top=top, **how), same, top)


def with_places(regions: Regions, size: tuple[int, int], weight: float = 8.0) -> Regions:
    """Return the regions with four more features: where each is and how large, for words such as "left" and "big".

    They are the centre's x, y, the width and the height, over those of the image, less a half, times ``weight``; 0
    where an image has no more regions. (Not in the paper, whose features of warped regions know neither.)

    Parameters
    ----------
    size : (int, int)
        Height and width of all images, in pixels.
    weight : float
        Places of objects differ by tenths of an image: 8 makes of that what other features of about 1 differ by.
    """
    places = (to_centre(regions.boxes) / np.array([size[1], size[0]] * 2, np.float32) - 0.5) * weight
    places *= (np.arange(places.shape[1]) < regions.counts[:, None])[..., None]
    features = np.concatenate([regions.features, places.astype(regions.features.dtype)], axis=2)
    return regions._replace(features=features)


def distractors(
    boxes: np.ndarray,
    size: tuple[int, int],
    count: int,
    rng: np.random.Generator,
    *,
    sides: tuple[int, int] | None = None,
    covered: float = 0.3,
) -> np.ndarray:
    """Return random boxes, as large as objects, none of which shows much of an object.

    A distractor's intersection with an object, over the object's area, is less than ``covered``. (An IoU below 0.3 is
    not enough: a large box may then hold a whole small object.)

    Parameters
    ----------
    boxes : array, (R, 4)
        The objects; there may be none.
    size : (int, int)
        Height and width of the image, in pixels.
    count : int
    rng : numpy.random.Generator
    sides : (int, int), optional
        Range of the height; by default 22 to 44 % of the image's shorter side, as in ``Scenes``. The width is 50 to
        100 % of the height. Where that finds no place, boxes are taken as small as they may be.
    covered : float

    Returns
    -------
    array, (count, 4), float32
        Whole numbers, inside the image.

    Raises
    ------
    ValueError
        An argument is out of its range, or no place was found: the objects fill the image.
    """
    who = "distractors"
    objects = np.asarray(_checked(who, boxes), np.float64)
    height, width = size
    usual = max(1, round(0.22 * min(size))), max(1, round(0.44 * min(size)))
    low, high = usual if sides is None else sides
    if not 1 <= low <= high <= min(size) or count < 0 or not 0 < covered <= 1:
        raise ValueError(
            f"{who}: wanted 1 <= sides <= {min(size)}, count >= 0 and 0 < covered <= 1, got {(low, high)}, {count}, "
            f"{covered}"
        )
    areas = (objects[:, 2:] - objects[:, :2]).prod(1)
    found: list[list[int]] = []
    for _ in range(count):
        for attempt in range(_PLACES):
            tall = int(rng.integers(low, (high if attempt < _PLACES // 2 else low) + 1))
            wide = max(1, round(tall * rng.uniform(0.5, 1)))
            left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - tall + 1))
            box = np.array([left, top, left + wide, top + tall])
            shared = np.maximum(np.minimum(objects[:, 2:], box[2:]) - np.maximum(objects[:, :2], box[:2]), 0).prod(1)
            if (shared < covered * areas).all():
                found.append(box.tolist())
                break
        else:
            raise ValueError(
                f"{who}: no place for a box of {low} px that covers less than {covered:g} of each of {len(objects)} "
                f"objects in {height} x {width} pixels; smaller sides, or fewer objects"
            )
    return np.array(found, np.float32).reshape(-1, 4)


# ------------------------------------------------------------------------------------------------------- on the way
def _checked(who: str, boxes: np.ndarray) -> np.ndarray:
    """Return boxes as (r, 4), those of an empty list too; ValueError unless they are finite and have an area."""
    found = check_boxes(who, np.zeros((0, 4)) if np.size(boxes) == 0 else boxes)
    if found.ndim != 2 or not (np.isfinite(found).all() and (found[:, :2] < found[:, 2:]).all()):
        raise ValueError(f"{who}: boxes must be finite (r, 4) with x1 < x2 and y1 < y2, got shape {found.shape}")
    return found


def _behind_whole(who: str, i: int, shape: tuple[int, ...], boxes: np.ndarray) -> np.ndarray:
    """Return the box of the whole image i, and the given ones behind it."""
    whole = np.array([[0, 0, shape[2], shape[1]]], np.float32)
    return np.concatenate([whole, _checked(f"{who}: image {i}", boxes).astype(np.float32)])


def _runs(images: Sequence[np.ndarray] | np.ndarray, transform: Any, batch: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of a first image, and it and its next ones as the detector sees them: (B, C, H, W)."""
    first, held = 0, list[np.ndarray]()
    for i, image in enumerate(images):
        prepared = np.asarray(image if transform is None else transform(image, None))
        if held and (len(held) == batch or held[0].shape != prepared.shape):
            yield first, np.stack(held)
            first, held = i, []
        held.append(prepared)
    yield first, np.stack(held)


def _look(detector: Any, images: np.ndarray, boxes: list[np.ndarray]) -> list[np.ndarray]:
    """Return the features (r, F) of the boxes of each of the images (B, C, H, W)."""
    if isinstance(detector, RCNN):
        return [detector.look(image, part).top for image, part in zip(images, boxes, strict=True)]
    where = next(detector.parameters())
    outputs = detector(Tensor(device.move(images.astype(where.dtype, copy=False), where.device)))
    rows = device.host(detector.features(detector.maps(outputs), boxes).data)
    return np.split(rows, np.cumsum([len(part) for part in boxes])[:-1])


def _padded(parts: list[np.ndarray]) -> np.ndarray:
    """Return arrays (r, D) as one (N, R, D), with zeros behind the shorter ones."""
    found = np.zeros((len(parts), max(map(len, parts)), parts[0].shape[1]), parts[0].dtype)
    for row, part in zip(found, parts, strict=True):
        row[: len(part)] = part
    return found
