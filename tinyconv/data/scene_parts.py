"""What scenes are composed of: coloured items cut out of images, and backgrounds. See :mod:`tinyconv.data.scenes`."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinyconv.data.bundled import fashion_mnist, mnist, photographs
from tinyconv.data.image import resize_image

#: Every colour an item can have, RGB in [0, 1]: bright, since the drawn backgrounds are dark.
PALETTE = {
    "red": (0.95, 0.20, 0.20),
    "green": (0.20, 0.85, 0.30),
    "blue": (0.30, 0.50, 1.00),
    "yellow": (1.00, 0.90, 0.20),
    "purple": (0.80, 0.35, 0.90),
    "white": (1.00, 1.00, 1.00),
}
BACKGROUNDS = ("black", "plain", "gradient", "textured", "photograph")
SPLITS = ("train", "val", "test")
_SETS = {"mnist": mnist, "fashion": fashion_mnist}
ITEMS = tuple(_SETS)
_DARKEST, _LIGHTEST = 0.0, 0.45  # of a drawn background's channels
_DIMMED = 0.7  # photographs, so that a white item shows in front of a sky
_INK = 0.1  # grey value from which on a source pixel belongs to the item
_OPACITY = 3.0  # an item's opacity is this times its grey value, at most 1: dark cloth hides what is behind it
_FAINT = 0.05  # less opacity than this is none


class Source(NamedTuple):
    """The images items are cut from, of one split; label k is ``classes[k]``."""

    images: np.ndarray  # (M, 28, 28) uint8
    boxes: np.ndarray  # (M, 4) int: top, left, bottom, right of the ink, half open
    members: tuple[np.ndarray, ...]  # per label, the indices of its images
    classes: tuple[str, ...]


class Sprite(NamedTuple):
    """An item ready to be pasted."""

    pixels: np.ndarray  # (3, h, w), its colours
    alpha: np.ndarray  # (h, w), its opacity in [0, 1]; the first and last row and column are not all 0


@lru_cache(maxsize=8)
def source(items: tuple[str, ...], split: str) -> Source:
    """Return the images of a split; "val" is the last tenth of every class's training images, not in "train"."""
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    classes: list[str] = []
    for name in items:
        data = _SETS[name]("test" if split == "test" else "train")
        if split != "test":
            later = np.zeros(len(data), bool)
            for k in range(len(data.classes or ())):
                mine = np.flatnonzero(data.labels == k)
                later[mine[len(mine) - len(mine) // 10 :]] = True
            keep = later if split == "val" else ~later
            data.images, data.labels = data.images[keep], data.labels[keep]
        images.append(data.images[:, 0])
        labels.append(data.labels + len(classes))
        classes += data.classes or []
    every, label = np.concatenate(images), np.concatenate(labels)
    members = tuple(np.flatnonzero(label == k) for k in range(len(classes)))
    return Source(every, ink_boxes(every >= 255 * _INK), members, tuple(classes))


def ink_boxes(ink: np.ndarray) -> np.ndarray:
    """Return top, left, bottom, right of the true pixels of each mask (M, H, W); the whole of an empty one."""
    edges = []
    for axis in (2, 1):
        line = np.asarray(ink.any(axis=axis))
        edges.append((line.argmax(1), line.shape[1] - line[:, ::-1].argmax(1)))
    (top, bottom), (left, right) = edges
    return np.stack([top, left, bottom, right], axis=1)


def cut_sprite(source: Source, index: int, side: int, colour: str) -> Sprite:
    """Return image ``index`` cut to its ink, its longer side resized to ``side`` pixels, in a colour.

    A faint border that resizing leaves is cut away, so the sprite may be a pixel smaller.
    """
    top, left, bottom, right = source.boxes[index]
    grey = source.images[index, top:bottom, left:right].astype(np.float32) / np.float32(255)
    scale = side / max(grey.shape)
    height, width = (max(1, round(length * scale)) for length in grey.shape)
    grey = resize_image(grey[None], (height, width))[0]
    grey = grey / max(grey.max(), np.float32(1e-6))
    alpha = np.minimum(np.float32(_OPACITY) * grey, 1)
    alpha[alpha < _FAINT] = 0
    top, left, bottom, right = ink_boxes(alpha[None] > 0)[0]
    grey, alpha = grey[top:bottom, left:right], alpha[top:bottom, left:right]
    shade = np.float32(0.4) + np.float32(0.6) * grey  # the item's own light and dark
    return Sprite(np.asarray(PALETTE[colour], np.float32)[:, None, None] * shade, alpha)


def paste(image: np.ndarray, sprite: Sprite, top: int, left: int) -> None:
    """Paint a sprite over part of an image (3, H, W); what sticks out of the image is lost."""
    height, width = sprite.alpha.shape
    rows = slice(max(0, -top), min(height, image.shape[1] - top))
    columns = slice(max(0, -left), min(width, image.shape[2] - left))
    alpha, pixels = sprite.alpha[rows, columns], sprite.pixels[:, rows, columns]
    under = image[:, top + rows.start : top + rows.stop, left + columns.start : left + columns.stop]
    under += alpha * (pixels - under)


# --------------------------------------------------------------------------------------------------- the backgrounds


def draw_background(kind: str, size: int, split: str, rng: np.random.Generator) -> np.ndarray:
    """Return a background (3, size, size), float32 in [0, 1]."""
    if kind == "black":
        return np.zeros((3, size, size), np.float32)
    if kind == "photograph":
        return _photograph(size, split, rng)
    one, two = rng.uniform(_DARKEST, _LIGHTEST, (2, 3, 1, 1)).astype(np.float32)
    if kind == "plain":
        return np.broadcast_to(one, (3, size, size)).copy()
    return one + (two - one) * (_ramp(size, rng) if kind == "gradient" else _texture(size, rng))


def _axes(size: int, angle: float) -> np.ndarray:
    """Return the coordinate of each pixel along a direction, 0 in the middle, half the size near an edge."""
    offset = np.arange(size, dtype=np.float32) + np.float32(0.5 - size / 2)
    return np.float32(np.cos(angle)) * offset[None, :] + np.float32(np.sin(angle)) * offset[:, None]


def _ramp(size: int, rng: np.random.Generator) -> np.ndarray:
    along = _axes(size, rng.uniform(0, 2 * np.pi))
    return (along - along.min()) / max(float(np.ptp(along)), 1e-6)


def _texture(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return one of: stripes, checks, blotches; (size, size) in [0, 1]."""
    kind, angle, period = rng.integers(3), rng.uniform(0, np.pi), rng.uniform(0.06, 0.25) * size
    if kind == 2:
        cells = max(2, round(size / period))
        return np.clip(resize_image(rng.random((1, cells, cells), np.float32), (size, size), "bicubic")[0], 0, 1)
    waves = [np.sin(np.float32(2 * np.pi / period) * _axes(size, angle + turn)) for turn in (0, np.pi / 2)]
    return (1 + (waves[0] if kind == 0 else waves[0] * waves[1])) / 2


def _photograph(size: int, split: str, rng: np.random.Generator) -> np.ndarray:
    """Return a random square of a photograph; training squares lie left of where the others' begin."""
    images = _photographs()
    picture = images[int(rng.integers(len(images)))]
    cut = picture.shape[2] * 3 // 5
    picture = picture[:, :, :cut] if split == "train" else picture[:, :, cut:]
    largest = min(picture.shape[1:])
    side = int(rng.integers(min(size, largest), min(3 * size, largest) + 1))
    top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[1:])
    return _DIMMED * resize_image(picture[:, top : top + side, left : left + side], (size, size))


@lru_cache(maxsize=1)
def _photographs() -> tuple[np.ndarray, ...]:
    data = photographs()
    return tuple(data[i][0] for i in range(len(data)))
