"""Images that show one and the same digit class somewhere, to be found without labels. See :class:`CoLocalisation`."""

from __future__ import annotations

import numpy as np

from tinyconv.data.dataset import ArrayDataset
from tinyconv.data.digit_sources import check_sources, digit_sources, place_digit
from tinyconv.data.distortion_kinds import check_options
from tinyconv.data.drawn import is_int
from tinyconv.random import generator


class CoLocalisation(ArrayDataset):
    """n images, each with one digit of a class at a random place, between pieces of other digits.

    Image i shows digit i of the class (modulo their number in the split), and is a function of the arguments and
    (seed, split, digit_class, i): not of ``n``. Where the digit is does not depend on the clutter.

    Parameters
    ----------
    digit_class : int
        0..9.
    n : int
        Number of images.
    size : int
        Height and width of an image in pixels.
    digit : int
        Height and width of a digit's frame in pixels, which lies wholly in the image.
    clutter : int
        Number of pieces: windows, with some ink, of other digits of the split, of any class. The paper's is 16 for
        cluttered images. Where things overlap the lighter is seen.
    clutter_side : int
        Height and width of a piece in pixels.
    seed : int
    split : {"train", "val", "test"}
        No source digit is in two of them.

    Attributes
    ----------
    images : array, (n, 1, size, size), float32 in [0, 1]
    labels : array, (n,), int64
        All ``digit_class``.
    boxes : array, (n, 4), float32
        x1 y1 x2 y2 of the digit's frame in pixels, edges (x2 - x1 is the width).
    ink_boxes : array, (n, 4), float32
        The same, exactly around the pixels of the digit that are not 0.

    Raises
    ------
    TypeError
        A number is no int.
    ValueError
        A number is out of its range.

    References
    ----------
    Jaderberg et al. 2015, appendix A.2.

    Examples
    --------
    >>> data = CoLocalisation(3, n=10, clutter=16)
    >>> data.images.shape, data.boxes.shape, (data.boxes[0, 2:] - data.boxes[0, :2]).tolist()
    ((10, 1, 84, 84), (10, 4), [28.0, 28.0])
    """

    def __init__(
        self,
        digit_class: int,
        n: int = 100,
        *,
        size: int = 84,
        digit: int = 28,
        clutter: int = 0,
        clutter_side: int = 6,
        seed: int = 0,
        split: str = "train",
    ) -> None:
        who = "CoLocalisation"
        for name, value in (("digit_class", digit_class), ("n", n), ("seed", seed)):
            if not is_int(value):
                raise TypeError(f"{who}: {name} must be an int, got {value!r}")
        if not 0 <= digit_class <= 9 or n < 0:
            raise ValueError(f"{who}: wanted digit_class in 0..9 and n >= 0, got {digit_class} and {n}")
        every = check_sources(who, split, range(10), digit)
        check_options(who, "tc", {"size": size, "clutter": clutter, "clutter_side": clutter_side}, digit)
        sources = digit_sources(split, every, int(digit))
        mine = np.flatnonzero(sources.labels == digit_class)
        images = np.empty((n, 1, size, size), np.float32)
        corners = np.empty((n, 2))
        shown = mine[np.arange(n) % len(mine)]
        for i, own in enumerate(shown.tolist()):
            rng = generator(seed, f"co-localisation/{split}/{digit_class}", 0, i)
            images[i, 0], top, left = place_digit(sources, own, size, clutter, clutter_side, rng)
            corners[i] = left, top
        super().__init__(images, np.full(n, digit_class), None, [str(d) for d in every])
        self.boxes = np.concatenate([corners, corners + digit], axis=1).astype(np.float32)
        self.ink_boxes = (np.tile(corners + digit / 2, 2) + sources.ink[shown]).astype(np.float32)

    def __repr__(self) -> str:
        return f"CoLocalisation({len(self)} images of {self.images.shape[2]}x{self.images.shape[3]} with a digit)"
