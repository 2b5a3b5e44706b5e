"""Images drawn from a seed: the same ones always, or new ones every epoch. See :class:`DrawnImages`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from tinyconv.data.dataset import ImageDataset, ImageTransform, check_index
from tinyconv.random import generator, stream_id


class DrawnImages(ImageDataset):
    """n images, each a function of (seed, stream, i): not of ``n``, nor of which images were drawn before.

    A subclass defines ``make(i, rng) -> (image (C, H, W) float32, label)``.

    Parameters
    ----------
    n : int
        Number of images.
    seed : int
    stream : str
        Name of the draws: data sets of other names share none.
    fresh : bool
        Whether ``sample(i, rng)``, which ``DataLoader`` calls, draws item i anew: its ``rng`` is a function of (the
        loader's seed, epoch, i), so every epoch has other images, and a resumed training the same ones. Item i by
        index, ``dataset[i]``, is the fixed draw all the same.
    transform : callable, optional
        (image, rng) -> image.
    classes : sequence of str
        Name of each label.

    Raises
    ------
    TypeError
        n or seed is no int, or fresh no bool.
    ValueError
        n is negative.
    """

    def __init__(
        self, n: int, seed: int, stream: str, fresh: bool, transform: ImageTransform | None, classes: Sequence[str]
    ) -> None:
        super().__init__(transform, classes)
        who = type(self).__name__
        for name, value in (("n", n), ("seed", seed)):
            if not is_int(value):
                raise TypeError(f"{who}: {name} must be an int, got {value!r}")
        if n < 0:
            raise ValueError(f"{who}: n must be at least 0, got {n}")
        if not isinstance(fresh, (bool, np.bool_)):
            raise TypeError(f"{who}: fresh must be True or False, got {fresh!r}")
        self.n, self.seed, self.fresh = int(n), int(seed), bool(fresh)
        self._stream = stream_id(stream)

    def __len__(self) -> int:
        return self.n

    @abstractmethod
    def make(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Return item i as drawn from ``rng``, before the transform."""

    def draws(self, i: int) -> np.random.Generator:
        """Return the generator of the fixed draw of item i."""
        return generator(self.seed, self._stream, 0, i)

    def read(self, i: int) -> tuple[np.ndarray, int]:
        """Return the fixed draw of item i before the transform, and its label."""
        return self.make(i, self.draws(i))

    def sample(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Return item i, drawn anew from ``rng`` if the set is fresh, and transformed."""
        image, label = self.make(i, rng) if self.fresh else self.read(i)
        return (image if self.transform is None else self.transform(image, rng)), label

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        """Return the fixed draw of item i; a random transform gives the same draw every time here."""
        i = check_index(type(self).__name__, i, self.n)
        image, label = self.read(i)
        return (image if self.transform is None else self.transform(image, generator(0, "augment", 0, i))), label

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """All fixed draws before the transform, drawn when first asked for and kept: images (n, C, H, W), labels."""
        items = [self.read(i) for i in range(self.n)]
        labels = np.array([label for _, label in items], np.int64)
        return np.stack([image for image, _ in items]) if items else np.empty((0, 0, 0, 0), np.float32), labels

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return many fixed draws at once, or None if the set is fresh or has a transform."""
        if self.fresh or self.transform is not None:
            return None
        images, labels = self.arrays
        return images[indices], labels[indices]


def is_int(value: object) -> bool:
    """Return whether a value is a whole number and no truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Return whether a value is a finite real number and no truth value."""
    return is_int(value) or (isinstance(value, (float, np.floating)) and bool(np.isfinite(value)))
