"""Handwritten digits that other images are made of, and pieces of them as clutter. See :func:`digit_sources`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tinyconv import errors
from tinyconv.data.bundled import mnist
from tinyconv.data.drawn import is_int
from tinyconv.data.image import resize_image
from tinyconv.data.scene_parts import SPLITS, ink_boxes, source

_INK = 0.1  # grey value from which on a pixel of a piece counts as ink


@dataclass(frozen=True, eq=False)
class DigitSources:
    """Digits of one split, d x d pixels each.

    Attributes
    ----------
    images : array, (M, 1, d, d), float32 in [0, 1]
        Shared by all that use them: not to be written to.
    labels : array, (M,), int64
        Places in ``digits``.
    digits : tuple of int
    ink : array, (M, 4), float64
        x1 y1 x2 y2 in pixels from the middle of the frame: the edges of the pixels that are not 0.
    """

    images: np.ndarray
    labels: np.ndarray
    digits: tuple[int, ...]
    ink: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def check_sources(who: str, split: str, digits: Sequence[int], side: int) -> tuple[int, ...]:
    """Return the digits as a tuple, or raise."""
    errors.check_choice(who, "split", split, SPLITS)
    given = list(digits) if isinstance(digits, (Sequence, np.ndarray)) else [digits]
    whole = isinstance(digits, (Sequence, np.ndarray)) and all(map(is_int, given))
    if not whole or not given or len(set(given)) != len(given) or not set(given) <= set(range(10)):
        raise ValueError(f"{who}: digits must be one or more of 0, ..., 9, each once, got {digits!r}")
    if not is_int(side):
        raise TypeError(f"{who}: digit must be an int, the side of a digit in pixels, got {side!r}")
    if not 8 <= side <= 112:
        raise ValueError(f"{who}: digit must lie in 8..112 pixels, got {side}")
    return tuple(int(digit) for digit in given)


@lru_cache(maxsize=8)
def digit_sources(split: str, digits: tuple[int, ...], side: int = 28, hold_out: bool = True) -> DigitSources:
    """Return the bundled MNIST digits of a split, of the given classes, in the order of the file.

    Parameters
    ----------
    split : {"train", "val", "test"}
        "val" is the last tenth of every class's training images.
    digits : tuple of int
        Classes; label k is ``digits[k]``.
    side : int
        Height and width. Other sizes than 28 are resized once, averaging (see :func:`~tinyconv.data.resize_image`).
    hold_out : bool
        Whether "train" leaves out those of "val".
    """
    if split == "train" and not hold_out:
        data = mnist("train")
        images, values = data.images[:, 0], data.labels
    else:
        found = source(("mnist",), split)
        images, values = found.images, np.empty(len(found.images), np.int64)
        for value, members in enumerate(found.members):
            values[members] = value
    kept = np.isin(values, digits)
    images, values = images[kept].astype(np.float32) / np.float32(255), values[kept]
    if side != 28:
        images = np.stack([np.clip(resize_image(image[None], (side, side)), 0, 1)[0] for image in images])
    place = np.full(10, -1)
    place[list(digits)] = np.arange(len(digits))
    ink = ink_boxes(images > 0)[:, [1, 0, 3, 2]] - side / 2
    return DigitSources(images[:, None], place[values], digits, ink)


@lru_cache(maxsize=8)
def _windows(sources: DigitSources, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows with ink: upper left corners (K, 2) of all digits, and where each digit's begin (M + 1,)."""
    sums = np.pad((sources.images[:, 0] >= _INK).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    inside = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    which, top, left = np.nonzero(inside)
    first = np.concatenate([[0], np.bincount(which, minlength=len(sources)).cumsum()])
    return np.stack([top, left], axis=1).astype(np.int16), first


def scatter(
    image: np.ndarray, sources: DigitSources, own: int, count: int, side: int, rng: np.random.Generator
) -> None:
    """Put ``count`` pieces of digits other than ``own`` at random places of an image (H, W).

    A piece is a random side x side window of a random digit, among those with a pixel of at least 0.1. Where it lies
    over something the lighter of the two is seen.
    """
    corners, first = _windows(sources, side)
    draws = rng.random((count, 4))
    others = (draws[:, 0] * (len(sources) - 1)).astype(np.int64)
    others += others >= own
    begin = first[others]
    cut = corners[begin + (draws[:, 1] * (first[others + 1] - begin)).astype(np.int64)].tolist()
    room = np.array(image.shape) - side + 1
    places = (draws[:, 2:] * room).astype(np.int64).tolist()
    for other, (top, left), (row, column) in zip(others.tolist(), cut, places, strict=True):
        under = image[row : row + side, column : column + side]
        np.maximum(under, sources.images[other, 0, top : top + side, left : left + side], out=under)


def place_digit(
    sources: DigitSources, own: int, size: int, clutter: int, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, int, int]:
    """Return a black image (size, size) with digit ``own`` at a random place, between clutter, and its top and left."""
    image, d = np.zeros((size, size), np.float32), sources.images.shape[2]
    top, left = (rng.random(2) * (size - d + 1)).astype(np.int64).tolist()
    image[top : top + d, left : left + d] = sources.images[own, 0]
    if clutter:
        scatter(image, sources, own, clutter, side, rng)
    return image, top, left


def place_ink(
    ink: np.ndarray, matrix: tuple[float, float, float, float], size: int, across: float, down: float
) -> tuple[float, float]:
    """Return x, y of a warped digit's middle in an image (size, size), so that no pixel with ink lies outside of it.

    The box of the ink (see :class:`DigitSources`), warped, reaches from the pixel before the image's first to the one
    after its last at most: ink fades to 0 at the centre of the pixel beside it. ``across`` and ``down``, in [0, 1],
    choose among the places, (0, 0) the upper left one.
    """
    (x1, y1, x2, y2), (a, b, c, d) = ink.tolist(), matrix
    x, y, half, high = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1 + 1) / 2, (y2 - y1 + 1) / 2
    reach, rise = abs(a) * half + abs(b) * high, abs(c) * half + abs(d) * high
    return (
        between(reach - 1, size - reach, across) - (a * x + b * y),
        between(rise - 1, size - rise, down) - (c * x + d * y),
    )


def between(low: float, high: float, part: float) -> float:
    """Return what lies a part of the way from low to high."""
    return low + (high - low) * part
