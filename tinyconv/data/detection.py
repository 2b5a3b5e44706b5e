"""Images with objects to find: sources of them, the dataset a detector learns from. See :class:`DetectionDataset`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tinyconv.data.dataset import ImageDataset, ImageTransform, check_index
from tinyconv.data.geometric import CenterCrop, Pad, RandomCrop, RandomMirror, RandomResizedCrop, TenCrop
from tinyconv.vision.detections import Truth, truth
from tinyconv.vision.targets import EXTENT, NOTHING, PROPOSAL, pack_targets

if TYPE_CHECKING:
    from tinyconv.data.scenes import Scene, Scenes

__all__ = [
    "EXTENT", "NOTHING", "PROPOSAL", "DetectionDataset", "DetectionSource", "SceneDetection", "collate", "pack_targets",
]  # fmt: skip

_CROPS = (CenterCrop, Pad, RandomCrop, RandomMirror, RandomResizedCrop, TenCrop)


class DetectionSource(Protocol):
    """Anything with class names and a length whose ``read(i)`` gives an image and what is in it.

    The image is (C, H, W) float32 in [0, 1]; the boxes are in its pixels. A source whose annotations can be had without
    the images also has ``truth(i)``, which gives the second alone.
    """

    classes: list[str]

    def __len__(self) -> int: ...

    def read(self, i: int) -> tuple[np.ndarray, Truth]: ...


class SceneDetection:
    """Scenes as a source, drawn once and kept.

    Parameters
    ----------
    scenes : Scenes
        1000 of 64 x 64 pixels take 49 MB.
    visit : callable, optional
        visit(i, scene) is called with every scene when it is drawn.

    Attributes
    ----------
    classes : list of str
    images : array, (N, 3, size, size), float32

    Examples
    --------
    >>> from tinyconv.data.scenes import Scenes
    >>> image, found = SceneDetection(Scenes(2, objects=3)).read(1)
    >>> image.shape, found.boxes.shape, found.difficult.any()
    ((3, 64, 64), (3, 4), np.False_)
    """

    def __init__(self, scenes: Scenes, visit: Callable[[int, Scene], None] = lambda i, scene: None) -> None:
        self.classes = list(scenes.classes)
        self.images = np.empty((len(scenes), 3, scenes.size, scenes.size), np.float32)
        self._truths: list[Truth] = []
        for i in range(len(scenes)):
            scene = scenes[i]
            self.images[i] = scene.image
            self._truths.append(truth(scene.boxes, scene.labels))
            visit(i, scene)

    def __len__(self) -> int:
        return len(self.images)

    def truth(self, i: int) -> Truth:
        """Return the objects of scene i."""
        return self._truths[check_index("SceneDetection", i, len(self))]

    def read(self, i: int) -> tuple[np.ndarray, Truth]:
        """Return the image of scene i, and its objects."""
        return self.images[check_index("SceneDetection", i, len(self))], self.truth(i)


class DetectionDataset(ImageDataset):
    """Images with the targets of a detector; item i is (image, targets), see :func:`~tinyconv.vision.pack_targets`.

    Objects marked as difficult are not among the targets. For batches give the loader ``collate_fn=collate``.

    Parameters
    ----------
    source : DetectionSource
    transform : callable, optional
        (image, rng) -> image. It may change the size, and boxes and proposals then change with it, each axis by the
        ratio of the sizes; it must not crop, pad or mirror.
    proposals : list of arrays (P, 4), optional
        Region proposals for each image, best first, in the source's pixels.
    mirror : bool
        Swap left and right of an image and its boxes with probability one half.

    Raises
    ------
    TypeError
        The transform cannot be called.
    ValueError
        The transform moves pixels otherwise than by resizing, or the proposals are not an array (P, 4) for each image.

    Examples
    --------
    >>> from tinyconv.data.scenes import Scenes
    >>> image, targets = DetectionDataset(SceneDetection(Scenes(3, objects=2)))[0]
    >>> image.shape, targets.shape, targets[0].tolist()
    ((3, 64, 64), (3, 5), [-3.0, 0.0, 0.0, 64.0, 64.0])
    """

    def __init__(
        self,
        source: DetectionSource,
        transform: ImageTransform | None = None,
        *,
        proposals: Sequence[np.ndarray] | None = None,
        mirror: bool = False,
    ) -> None:
        super().__init__(transform, source.classes)
        check_transform("DetectionDataset", transform)
        if proposals is not None and len(proposals) != len(source):
            raise ValueError(
                f"DetectionDataset: proposals must be {len(source)} arrays (P, 4), one per image, got {len(proposals)}"
            )
        self.source, self.mirror = source, bool(mirror)
        self.proposals = None if proposals is None else [_regions(p) for p in proposals]

    def __len__(self) -> int:
        return len(self.source)

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image i before transform and mirroring, and its targets in the source's pixels."""
        image, found = self.source.read(i)
        kept = ~found.difficult
        return image, pack_targets(image.shape[1:], found.boxes[kept], found.labels[kept], self._proposals_of(i))

    def sample(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return item i; whether it is mirrored, and the transform's random choices, are drawn from ``rng``."""
        image, found = self.source.read(i)
        height, width = image.shape[1:]
        kept = ~found.difficult
        boxes = np.asarray(found.boxes[kept], np.float64)  # scaled in float64, so that each number is rounded once
        regions = np.asarray(self._proposals_of(i), np.float64)
        if self.mirror and rng.random() < 0.5:
            image, boxes, regions = image[..., ::-1], mirrored(boxes, width), mirrored(regions, width)
        if self.transform is not None:
            image = self.transform(image, rng)
            rows, columns = image.shape[1:]
            scale = np.array([columns / width, rows / height] * 2)
            boxes, regions = boxes * scale, regions * scale
        return image, pack_targets(image.shape[1:], boxes, found.labels[kept], regions)

    def truths(self) -> list[Truth]:
        """Return the objects of every image, difficult ones too, in the source's pixels."""
        one = getattr(self.source, "truth", None) or (lambda i: self.source.read(i)[1])
        return [one(i) for i in range(len(self))]

    def _proposals_of(self, i: int) -> np.ndarray:
        return np.empty((0, 4)) if self.proposals is None else self.proposals[i]


def check_transform(who: str, transform: Any) -> None:
    """Raise ValueError if a transform is known to move pixels otherwise than by resizing the whole image."""
    moving = [part for part in _parts(transform) if isinstance(part, _CROPS)]
    if moving:
        raise ValueError(
            f"{who}: the transform must leave every pixel in the image and on its side, as Resize does, got "
            f"{type(moving[0]).__name__}; boxes would not follow (to mirror, say mirror=True to the dataset)"
        )


def mirrored(boxes: np.ndarray, width: int) -> np.ndarray:
    """Return boxes (R, 4) of an image ``width`` pixels wide, left and right swapped.

    Examples
    --------
    >>> mirrored(np.array([[0, 5, 10, 6]]), 64).tolist()
    [[54, 5, 64, 6]]
    """
    x1, y1, x2, y2 = np.asarray(boxes).T
    return np.stack([width - x2, y1, width - x1, y2], axis=1)


def collate(items: list[tuple[np.ndarray, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Make a batch of the items of a :class:`DetectionDataset`; a ``collate_fn`` of the loader.

    Returns
    -------
    images : array, (N, C, H, W), float32
        H and W are the largest of the images'; zeros are added below and on the right.
    targets : array, (N, M, 5), float32
        M is the largest number of rows; rows of the kind NOTHING are added.

    Raises
    ------
    ValueError
        There is no item, an item's targets are not those of an image of its size, or the channels differ.
    """
    if not items:
        raise ValueError("collate: wanted at least one item, got none")
    for image, target in items:
        if image.ndim != 3 or target.ndim != 2 or target.shape[1:] != (5,) or not len(target):
            raise ValueError(
                f"collate: an item must be an image (C, H, W) and targets (M, 5), got shapes {image.shape} and "
                f"{target.shape}; is the dataset a DetectionDataset?"
            )
        if target[0].tolist() != [EXTENT, 0, 0, image.shape[2], image.shape[1]]:
            raise ValueError(
                f"collate: targets must begin with the image's extent, (-3, 0, 0, {image.shape[2]}, {image.shape[1]}), "
                f"got {target[0].tolist()}; give the transform to the DetectionDataset, not to the loader"
            )
    channels = {image.shape[0] for image, _ in items}
    if len(channels) > 1:
        raise ValueError(f"collate: the images of a batch must have as many channels, got {sorted(channels)}")
    height, width = (max(image.shape[axis] for image, _ in items) for axis in (1, 2))
    images = np.zeros((len(items), channels.pop(), height, width), np.float32)
    targets = np.zeros((len(items), max(len(target) for _, target in items), 5), np.float32)
    targets[..., 0] = NOTHING
    for i, (image, target) in enumerate(items):
        images[i, :, : image.shape[1], : image.shape[2]] = image
        targets[i, : len(target)] = target
    return images, targets


def _regions(proposals: Any) -> np.ndarray:
    """Return the proposals of an image as (P, 4); an empty list has no shape of its own."""
    found = np.asarray(proposals)
    found = found.reshape(0, 4) if not found.size else found
    if found.ndim != 2 or found.shape[1] != 4:
        raise ValueError(f"DetectionDataset: proposals of an image must be (P, 4), got shape {found.shape}")
    return found


def _parts(transform: Any) -> list[Any]:
    """Return the transforms that a transform is composed of."""
    return [part for inner in getattr(transform, "transforms", ()) for part in _parts(inner)] or [transform]
