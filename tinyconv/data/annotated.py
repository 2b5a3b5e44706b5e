"""Images in files with annotations in others, as a source for detectors. See :class:`AnnotatedImages`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyconv.data.dataset import check_index
from tinyconv.data.image import image_size, read_image
from tinyconv.vision.boxes import clip_boxes
from tinyconv.vision.detections import Truth

_REPORTED = 10  # problems that check() prints


class AnnotatedImages(ABC):
    """What the readers of detection data share; files are read when an item is asked for.

    A subclass defines ``__len__``, ``path(i)`` and ``objects(i, size)``.

    Attributes
    ----------
    classes : list of str
    """

    classes: list[str]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def path(self, i: int) -> Path:
        """Return the file of image i."""

    @abstractmethod
    def objects(self, i: int, size: tuple[int, int]) -> Truth:
        """Return what is annotated in image i, which has ``size`` (height, width) pixels."""

    def read(self, i: int) -> tuple[np.ndarray, Truth]:
        """Return image i, (3, H, W) float32 in [0, 1], and its objects.

        Raises
        ------
        FileNotFoundError
            The image or its annotation is missing.
        ValueError
            One of them is damaged, or they do not fit each other.
        """
        i = check_index(type(self).__name__, i, len(self))
        image = read_image(self.path(i))
        return image, self.objects(i, (image.shape[1], image.shape[2]))

    def truth(self, i: int) -> Truth:
        """Return the objects of image i; of the image only the size is read."""
        i = check_index(type(self).__name__, i, len(self))
        return self.objects(i, image_size(self.path(i)))

    def check(self, pixels: bool = True) -> None:
        """Read every image and annotation; without ``pixels`` only the sizes of the images, which is fast.

        Raises
        ------
        ValueError
            Some cannot be used: how many, and what is wrong with the first ten, a line each.
        """
        problems = []
        for i in range(len(self)):
            try:
                self.read(i) if pixels else self.truth(i)
            except (OSError, ValueError) as problem:
                problems.append(str(problem))
        if problems:
            rest = [f"and {len(problems) - _REPORTED} more"] if len(problems) > _REPORTED else []
            listed = "\n  ".join(problems[:_REPORTED] + rest)
            who = type(self).__name__
            raise ValueError(f"{who}: {len(problems)} of {len(self)} images cannot be used:\n  {listed}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images, {len(self.classes)} classes)"


def check_size(where: str, stated: tuple[float, float], size: tuple[int, int]) -> None:
    """Raise unless the (height, width) that an annotation states, if it states one, is the image's own."""
    if min(stated) > 0 and tuple(stated) != tuple(size):
        raise ValueError(
            f"{where}: the annotation is of an image of {stated[1]:g} x {stated[0]:g} pixels, the file has "
            f"{size[1]} x {size[0]}; the boxes would lie elsewhere: mend one of them"
        )


def fitted(where: str, boxes: np.ndarray, size: tuple[int, int], shown: Sequence[str]) -> np.ndarray:
    """Return boxes (R, 4), each with an area, cut at the borders of an image of ``size`` (height, width) pixels.

    ``shown`` says for each box, in the file's own words, which one it is.

    Raises
    ------
    ValueError
        A box has no area, or reaches out of the image by more than a pixel (less than that is rounding).
    """
    inside = clip_boxes(boxes, size)
    for box, cut, name in zip(boxes, inside, shown, strict=True):
        if not (box[0] < box[2] and box[1] < box[3]):  # also NaN
            raise ValueError(f"{where}: the box of {name} has no area")
        if not (np.abs(box - cut).max() <= 1 and cut[0] < cut[2] and cut[1] < cut[3]):
            raise ValueError(f"{where}: the box of {name} is not inside the image, {size[1]} x {size[0]} pixels")
    return inside
