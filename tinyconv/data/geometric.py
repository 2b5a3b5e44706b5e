"""Transforms that move pixels: resizing, cropping, mirroring, padding. See :mod:`tinyconv.data.transforms`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyconv.data.image import METHODS, resize_image
from tinyconv.data.transform import Pair, Transform, as_pair, check_image, check_rng, freeze_pair


@dataclass(frozen=True, eq=False)
class Resize(Transform):
    """Change the size of the image.

    Parameters
    ----------
    size : int or (int, int)
        An int is the new length of the shorter side, the other side keeps its proportion (rounded down); a pair is the
        exact (height, width), in pixels.
    method : {"bilinear", "nearest", "bicubic"}
        Shrinking averages over the area that an output pixel covers.
    """

    size: int | tuple[int, int]
    method: str = "bilinear"

    def __post_init__(self) -> None:
        if isinstance(self.size, (int, np.integer)):
            if self.size < 1:
                raise ValueError(f"Resize: size must be at least 1, got {self.size}")
            object.__setattr__(self, "size", int(self.size))
        else:
            freeze_pair(self, "size")
        if self.method not in METHODS:
            raise ValueError(f"Resize: method must be one of {', '.join(METHODS)}, got {self.method!r}")

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        check_image("Resize", image)
        size = _short_side(image, self.size) if isinstance(self.size, int) else self.size
        return resize_image(image, size, self.method)


@dataclass(frozen=True, eq=False)
class ResizeWithin(Transform):
    """Give the shorter side a length unless the longer one would exceed a limit: detectors' (Girshick 2015, sec. 5.2).

    The proportion is kept, each side rounded to whole pixels.

    Parameters
    ----------
    short : int
        New length of the shorter side, in pixels.
    longest : int
        If the longer side would be longer than this, it is made just this long instead.
    """

    short: int = 600
    longest: int = 1000

    def __post_init__(self) -> None:
        for name in ("short", "longest"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
                raise TypeError(f"ResizeWithin: {name} must be an int, got {value!r}")
        if not 1 <= self.short <= self.longest:
            raise ValueError(f"ResizeWithin: wanted 1 <= short <= longest, got {self.short} and {self.longest}")

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        check_image("ResizeWithin", image)
        height, width = image.shape[1:]
        scale = min(self.short / min(height, width), self.longest / max(height, width))
        return resize_image(image, (max(1, round(height * scale)), max(1, round(width * scale))))


@dataclass(frozen=True, eq=False)
class RandomResize(Transform):
    """Give the shorter side a random length: VGG's scale jittering, S in 256..512 (Simonyan 2014, sec. 3.1).

    Parameters
    ----------
    low, high : int
        The new length is uniform on low, low + 1, ..., high pixels.
    """

    random: ClassVar[bool] = True

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high:
            raise ValueError(f"RandomResize: wanted 1 <= low <= high, got {self.low} and {self.high}")

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        check_image("RandomResize", image)
        side = int(check_rng("RandomResize", rng).integers(self.low, self.high + 1))
        return resize_image(image, _short_side(image, side))


@dataclass(frozen=True, eq=False)
class CenterCrop(Transform):
    """Cut out the middle; of an odd rest the larger half is left below and to the right.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the window, in pixels.
    """

    size: Pair

    def __post_init__(self) -> None:
        freeze_pair(self, "size")

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        rows, columns = _room("CenterCrop", image, self.size)
        return _window(image, rows // 2, columns // 2, self.size)


@dataclass(frozen=True, eq=False)
class RandomCrop(Transform):
    """Cut out a window at a random place, every place equally likely (Krizhevsky et al. 2012, sec. 4.1).

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the window, in pixels.
    padding : int or (int, int)
        Zeros added on each side first, (top and bottom, left and right); 4 in ResNet's CIFAR recipe.
    """

    random: ClassVar[bool] = True

    size: Pair
    padding: Pair = 0

    def __post_init__(self) -> None:
        freeze_pair(self, "size")
        freeze_pair(self, "padding", minimum=0)

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        check_image("RandomCrop", image)
        image = Pad(self.padding)(image)
        rows, columns = _room("RandomCrop", image, self.size)
        rng = check_rng("RandomCrop", rng)
        return _window(image, int(rng.integers(rows + 1)), int(rng.integers(columns + 1)), self.size)


@dataclass(frozen=True, eq=False)
class RandomResizedCrop(Transform):
    """Cut out a random part of the area and resize it: GoogLeNet's training crops (Szegedy et al. 2014, sec. 6).

    Ten tries at an area and a proportion that fit into the image; then the largest fitting window in the middle.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result, in pixels.
    scale : (float, float)
        The part of the image's area is uniform between these.
    ratio : (float, float)
        Width / height; its logarithm is uniform between these.
    """

    random: ClassVar[bool] = True

    size: Pair
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        freeze_pair(self, "size")
        for name, highest in (("scale", 1.0), ("ratio", math.inf)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= highest:
                raise ValueError(f"RandomResizedCrop: {name} must be 0 < low <= high <= {highest}, got ({low}, {high})")

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        check_image("RandomResizedCrop", image)
        rng = check_rng("RandomResizedCrop", rng)
        height, width = image.shape[1:]
        for _ in range(10):
            area = height * width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 1 <= h <= height and 1 <= w <= width:
                top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
                break
        else:
            ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
            h, w = min(height, max(1, round(width / ratio))), min(width, max(1, round(height * ratio)))
            top, left = (height - h) // 2, (width - w) // 2
        return resize_image(_window(image, top, left, (h, w)), as_pair(self.size))


@dataclass(frozen=True, eq=False)
class TenCrop(Transform):
    """Four corners and the middle, then the mirror image of each: AlexNet's test views (Krizhevsky 2012, sec. 4.1).

    The result is (10, C, h, w): upper left, upper right, lower left, lower right, middle, and the same five mirrored. A
    batch of them is (N, 10, C, h, w): average the network's softmax over the ten.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of each crop, in pixels.
    """

    size: Pair

    def __post_init__(self) -> None:
        freeze_pair(self, "size")

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        rows, columns = _room("TenCrop", image, self.size)
        corners = [(0, 0), (0, columns), (rows, 0), (rows, columns), (rows // 2, columns // 2)]
        five = np.stack([_window(image, top, left, self.size) for top, left in corners])
        return np.concatenate([five, five[..., ::-1]])


@dataclass(frozen=True, eq=False)
class RandomMirror(Transform):
    """Swap left and right with probability ``p``."""

    random: ClassVar[bool] = True

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"RandomMirror: p must lie in [0, 1], got {self.p}")

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        check_image("RandomMirror", image)
        return image[..., ::-1] if check_rng("RandomMirror", rng).random() < self.p else image


@dataclass(frozen=True, eq=False)
class Pad(Transform):
    """Add a border.

    Parameters
    ----------
    padding : int or (int, int)
        Pixels on each side: (top and bottom, left and right).
    value : float
        What the border holds.
    """

    padding: Pair
    value: float = 0.0

    def __post_init__(self) -> None:
        freeze_pair(self, "padding", minimum=0)

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        check_image("Pad", image)
        rows, columns = as_pair(self.padding)
        if rows == columns == 0:
            return image
        channels, height, width = image.shape
        result = np.full((channels, height + 2 * rows, width + 2 * columns), self.value, image.dtype)
        result[:, rows : rows + height, columns : columns + width] = image
        return result


def _short_side(image: np.ndarray, side: int) -> tuple[int, int]:
    """Return the (height, width) that gives the shorter side this length."""
    height, width = image.shape[1:]
    return (side, side * width // height) if height <= width else (side * height // width, side)


def _room(who: str, image: np.ndarray, size: Pair) -> tuple[int, int]:
    """Return by how many rows and columns the image exceeds the window; ValueError if it does not hold it."""
    check_image(who, image)
    height, width = as_pair(size)
    rows, columns = image.shape[1] - height, image.shape[2] - width
    if min(rows, columns) < 0:
        raise ValueError(
            f"{who}: the window {height}x{width} must fit into the image, got {image.shape[1]}x{image.shape[2]}; "
            "put Resize or Pad before it"
        )
    return rows, columns


def _window(image: np.ndarray, top: int, left: int, size: Pair) -> np.ndarray:
    height, width = as_pair(size)
    return image[:, top : top + height, left : left + width]
