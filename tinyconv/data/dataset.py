"""What a dataset is, and datasets made of arrays or of parts of other datasets. See :class:`ArrayDataset`."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from tinyconv.data.image import to_float
from tinyconv.random import generator

#: (image (C, H, W) float32, random generator) -> image
ImageTransform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Dataset(Protocol):
    """Anything with a length whose item i is a pair (image, label).

    The image is a (C, H, W) array, float32 in [0, 1] or uint8 in 0..255; the label is an int. A dataset of your own
    needs only these two methods. The loader also uses two more if they are there: ``sample(i, rng)``, item i with
    random transforms drawn from ``rng``; and ``batch(indices)``, many items at once (or None if it cannot).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]: ...


class ImageDataset(ABC):
    """What the datasets of this package share: class names, a transform, item i by index.

    A subclass defines ``__len__`` and ``read(i) -> (image (C, H, W) float32, label)``.

    Attributes
    ----------
    classes : list of str or None
        Name of each label, if known.
    transform : callable or None
        Applied to every image: (image, rng) -> image.
    """

    def __init__(self, transform: ImageTransform | None, classes: Sequence[str] | None) -> None:
        if transform is not None and not callable(transform):
            raise TypeError(
                f"{type(self).__name__}: transform must be callable as transform(image, rng), got {transform!r}"
            )
        self.transform = transform
        self.classes = None if classes is None else [str(name) for name in classes]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, i: int) -> tuple[np.ndarray, Any]:
        """Return image i as stored, before the transform, and its label."""

    def sample(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        """Return item i, its random transforms drawn from ``rng``."""
        image, label = self.read(i)
        return (image if self.transform is None else self.transform(image, rng)), label

    def __getitem__(self, i: int) -> tuple[np.ndarray, Any]:
        """Return item i; a random transform gives the same draw every time here, fresh ones come from the loader."""
        i = check_index(type(self).__name__, i, len(self))
        return self.sample(i, generator(0, "augment", 0, i))

    def __repr__(self) -> str:
        classes = "" if self.classes is None else f", {len(self.classes)} classes"
        return f"{type(self).__name__}({len(self)} images{classes})"


class ArrayDataset(ImageDataset):
    """Images and labels held in memory.

    Parameters
    ----------
    images : array, (N, C, H, W) or (N, H, W) (then C = 1)
        Kept as they are, so that uint8 takes a quarter of the memory; handed out as float32.
    labels : sequence of N ints
    transform : callable, optional
        (image, rng) -> image, see :mod:`tinyconv.data.transforms`.
    classes : sequence of str, optional
        Name of each label.
    maximum : float
        Integer images are divided by it: 255 gives [0, 1]. Float images keep their values.

    Attributes
    ----------
    images : array, (N, C, H, W)
    labels : array, (N,), int64

    Raises
    ------
    ValueError
        The shapes do not fit each other, or a label has no class name.

    Examples
    --------
    >>> data = ArrayDataset(np.full((2, 1, 4, 4), 255, np.uint8), [0, 1], classes=["cat", "dog"])
    >>> image, label = data[1]
    >>> image.shape, image.dtype.name, float(image.max()), data.classes[label]
    ((1, 4, 4), 'float32', 1.0, 'dog')
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: Sequence[int] | np.ndarray,
        transform: ImageTransform | None = None,
        classes: Sequence[str] | None = None,
        maximum: float = 255.0,
    ) -> None:
        super().__init__(transform, classes)
        images, labels = np.asarray(images), np.asarray(labels)
        if images.ndim == 3:
            images = images[:, None]
        if images.ndim != 4 or images.dtype.kind not in "uif":
            raise ValueError(
                "ArrayDataset: images must be numbers of shape (N, C, H, W) or (N, H, W), "
                f"got {images.dtype} of shape {images.shape}"
            )
        if labels.shape != images.shape[:1] or (labels.size and labels.dtype.kind not in "ui"):
            raise ValueError(
                f"ArrayDataset: labels must be {len(images)} integers, one per image, "
                f"got {labels.dtype} of shape {labels.shape}"
            )
        labels = labels.astype(np.int64)
        if self.classes is not None and labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise ValueError(
                f"ArrayDataset: labels must lie in 0..{len(self.classes) - 1}, one per class name, "
                f"got {labels.min()}..{labels.max()}"
            )
        self.images, self.labels, self.maximum = images, labels, float(maximum)

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, i: int) -> tuple[np.ndarray, int]:
        """Return image i as float32 before the transform, and its label."""
        return to_float(self.images[i], self.maximum), int(self.labels[i])

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return (images (B, C, H, W) float32, labels (B,) int64) at once, or None if there is a transform."""
        if self.transform is not None:
            return None
        return to_float(self.images[indices], self.maximum), self.labels[indices]


class Subset(ImageDataset):
    """Some items of another dataset, in the given order.

    Parameters
    ----------
    dataset : Dataset
    indices : sequence of int
        Which items; one may be named twice.
    transform : callable, optional
        Applied after the dataset's own transform.

    Examples
    --------
    >>> first = Subset(ArrayDataset(np.zeros((5, 1, 2, 2)), range(5)), [4, 0])
    >>> len(first), first[0][1]
    (2, 4)
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int] | np.ndarray, transform: ImageTransform | None = None):
        super().__init__(transform, getattr(dataset, "classes", None))
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "ui"):
            raise ValueError(
                f"Subset: indices must be a list of integers, got {chosen.dtype} of shape {chosen.shape}"
                + ("; np.flatnonzero turns a mask into indices" if chosen.dtype.kind == "b" else "")
            )
        chosen = chosen.astype(np.int64)
        if chosen.size and not 0 <= chosen.min() <= chosen.max() < len(dataset):
            raise ValueError(f"Subset: indices must lie in 0..{len(dataset) - 1}, got {chosen.min()}..{chosen.max()}")
        self.dataset, self.indices = dataset, chosen

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, i: int) -> tuple[np.ndarray, Any]:
        """Return item i without this subset's transform."""
        return self.dataset[int(self.indices[i])]

    def sample(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        """Return item i; the random transforms of both datasets are drawn from ``rng``."""
        image, label = draw_sample(self.dataset, int(self.indices[i]), rng)
        return (image if self.transform is None else self.transform(image, rng)), label

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return many items at once, or None if a transform or the dataset below does not allow it."""
        below = getattr(self.dataset, "batch", None)
        return None if below is None or self.transform is not None else below(self.indices[indices])


def random_split(dataset: Dataset, lengths: Sequence[int] | Sequence[float], seed: int = 0) -> list[Subset]:
    """Split a dataset at random into parts that share no item.

    Parameters
    ----------
    dataset : Dataset
    lengths : sequence of int or of float
        Sizes that sum to ``len(dataset)``, or fractions that sum to 1 (rounded down, the rest goes to the first parts).
    seed : int
        The same seed gives the same parts on every machine.

    Raises
    ------
    ValueError
        The lengths do not sum to the whole.

    Examples
    --------
    >>> train, valid = random_split(ArrayDataset(np.zeros((10, 1, 2, 2)), range(10)), [0.8, 0.2])
    >>> len(train), len(valid)
    (8, 2)
    """
    total = len(dataset)
    sizes: list[Any] = list(lengths)  # Any: ints or floats, checked below
    if all(isinstance(size, float) for size in sizes) and abs(sum(sizes) - 1) < 1e-6:
        # 1e-9 lifts 0.29 * 100 = 28.999999999999996 to the 29 that is meant
        sizes = [int(size * total + 1e-9) for size in sizes]
        for part in range(total - sum(sizes)):
            sizes[part % len(sizes)] += 1
    if not all(isinstance(size, (int, np.integer)) and size >= 0 for size in sizes) or sum(sizes) != total:
        raise ValueError(
            f"random_split: lengths must be sizes that sum to {total} or fractions that sum to 1, got {lengths!r}"
        )
    order = shuffled(total, generator(seed, "split"))
    ends = np.cumsum(sizes)
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def shuffled(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return 0..n-1 in random order, int64.

    NumPy promises the raw words of a bit generator for ever, but not the stream of ``permutation``; so the order is
    that of n raw words, and a checkpoint resumes with the same shuffling on a later NumPy.
    """
    return np.argsort(rng.bit_generator.random_raw(n), kind="stable").astype(np.int64)


def draw_sample(dataset: Dataset, i: int, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
    """Return item i of any dataset, with ``rng`` for its transform if it takes one."""
    sample = getattr(dataset, "sample", None)
    return dataset[i] if sample is None else sample(i, rng)


def check_index(who: str, i: int, length: int) -> int:
    """Return i as 0..length-1, counting from the end if negative; IndexError outside."""
    position = operator.index(i)
    if not -length <= position < length:
        raise IndexError(f"{who}: index must lie in 0..{length - 1}, got {position}")
    return position % length
