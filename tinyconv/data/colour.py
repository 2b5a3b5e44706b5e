"""Transforms that change pixel values: scaling, centring, AlexNet's colour shift. See :class:`PCAColor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyconv.data.dataset import Dataset
from tinyconv.data.image import to_float
from tinyconv.data.transform import Transform, check_image, check_rng


@dataclass(frozen=True, eq=False)
class ToFloat(Transform):
    """Make the image float32: integers are divided by ``maximum``, floats keep their values.

    The datasets of this package hand out float32 already; this is for a dataset of your own.
    """

    maximum: float = 255.0

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        return to_float(np.asarray(image), self.maximum)


@dataclass(frozen=True, eq=False)
class Normalize(Transform):
    """Subtract each channel's mean and divide by its standard deviation: (x - mean) / std.

    Parameters
    ----------
    mean, std : sequence of C floats, or one float for all channels
        In the units of the image, [0, 1].

    Raises
    ------
    ValueError
        A std is not positive, or the numbers do not fit the image's channels.
    """

    mean: tuple[float, ...] | float
    std: tuple[float, ...] | float

    def __post_init__(self) -> None:
        mean, std = (tuple(np.atleast_1d(np.asarray(v, np.float64)).tolist()) for v in (self.mean, self.std))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)
        if not all(value > 0 for value in std):  # NaN too
            raise ValueError(f"Normalize: std must be positive, got {std}; a channel of one value cannot be scaled")

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        check_image("Normalize", image, crops=True)
        channels, means, stds = image.shape[-3], np.size(self.mean), np.size(self.std)
        if not {means, stds} <= {1, channels}:
            raise ValueError(f"Normalize: the image has {channels} channels, got {means} means and {stds} stds")
        return (image - _per_channel(self.mean)) / _per_channel(self.std)

    @classmethod
    def fit(cls, dataset: Dataset) -> Normalize:
        """Return the transform with the mean and standard deviation per channel over all pixels of a dataset."""
        count, total, products = _moments("Normalize.fit", dataset)
        mean, square = total / count, np.diag(products) / count
        variance = square - mean**2
        # Of a constant channel the difference leaves rounding, of either sign: that is no deviation to divide by.
        return cls(tuple(mean), tuple(np.sqrt(np.where(variance > 1e-12 * square, variance, 0.0))))


@dataclass(frozen=True, eq=False)
class SubtractMean(Transform):
    """Subtract the mean image of the training set, pixel by pixel (Krizhevsky et al. 2012, sec. 2).

    Comes before random crops, since the mean has the size of the whole image.

    Parameters
    ----------
    mean : array, (C, H, W), float32

    Examples
    --------
    >>> from tinyconv.data import ArrayDataset
    >>> training = ArrayDataset(np.array([0.0, 0.5], np.float32).reshape(2, 1, 1, 1), [0, 1])
    >>> SubtractMean.fit(training)(training[1][0]).item()
    0.25
    """

    mean: np.ndarray

    def __post_init__(self) -> None:
        mean = np.asarray(self.mean, np.float32)
        if mean.ndim != 3:
            raise ValueError(f"SubtractMean: mean must be an image (C, H, W), got shape {mean.shape}")
        object.__setattr__(self, "mean", mean)

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        check_image("SubtractMean", image)
        if image.shape != self.mean.shape:
            raise ValueError(
                f"SubtractMean: the image must be {self.mean.shape} as the mean, got {image.shape}; "
                "resize it before and crop after"
            )
        return image - self.mean

    @classmethod
    def fit(cls, dataset: Dataset) -> SubtractMean:
        """Return the transform with the mean of all images of a dataset, which must have one size."""
        total, count = np.zeros(()), 0
        for images in _chunks("SubtractMean.fit", dataset):
            if count and images.shape[1:] != total.shape:
                raise ValueError(
                    f"SubtractMean.fit: all images must have one size, got {images.shape[1:]} after {total.shape}; "
                    "give the dataset a transform of Resize and CenterCrop"
                )
            total = total + images.sum(0, dtype=np.float64)
            count += len(images)
        return cls((total / count).astype(np.float32))


@dataclass(frozen=True, eq=False)
class PCAColor(Transform):
    """Shift all pixels by one random colour along the data's main colour axes (Krizhevsky et al. 2012, sec. 4.1).

    The shift is ``[p1 p2 p3] [a1 l1, a2 l2, a3 l3]^T`` with eigenvectors p and eigenvalues l of the 3x3 covariance of
    RGB over the training pixels, and a ~ N(0, std^2) drawn once per image and use. So its covariance is
    P diag((std l)^2) P^T. Since l grows with the square of the pixel range, the formula wants pixels in [0, 1]; there
    photographs have l of about .2, .02 and .005. Pixels may leave [0, 1]: the paper does not clip.

    Parameters
    ----------
    eigenvalues : array, (C,)
        Largest first.
    eigenvectors : array, (C, C)
        Column j belongs to eigenvalue j.
    std : float
        Standard deviation of a.
    """

    random: ClassVar[bool] = True

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    std: float = 0.1

    def __post_init__(self) -> None:
        values, vectors = np.asarray(self.eigenvalues, np.float64), np.asarray(self.eigenvectors, np.float64)
        if values.ndim != 1 or vectors.shape != 2 * values.shape:
            raise ValueError(
                f"PCAColor: wanted C eigenvalues and C x C eigenvectors, got shapes {values.shape} and {vectors.shape}"
            )
        object.__setattr__(self, "eigenvalues", values)
        object.__setattr__(self, "eigenvectors", vectors)

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        check_image("PCAColor", image, crops=True)
        channels = len(self.eigenvalues)
        if image.shape[-3] != channels:
            raise ValueError(f"PCAColor: was fitted to {channels} channels, got an image of shape {image.shape}")
        alpha = self.std * check_rng("PCAColor", rng).standard_normal(channels)
        return image + _per_channel(self.eigenvectors @ (alpha * self.eigenvalues))

    @classmethod
    def fit(cls, dataset: Dataset, std: float = 0.1) -> PCAColor:
        """Return the transform for the colours of a dataset's pixels, which must lie in a range of about 1.

        Raises
        ------
        ValueError
            The dataset is empty or its pixels look like 0..255.
        """
        count, total, products = _moments("PCAColor.fit", dataset, largest=2.0)
        mean = total / count
        values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
        # eigh leaves each vector's sign open: fix it, so that a seed gives the same colours with every LAPACK
        strongest = vectors[np.argmax(np.abs(vectors), axis=0), np.arange(len(values))]
        return cls(values, vectors * np.sign(strongest), std)


def _per_channel(values: np.ndarray | tuple[float, ...] | float) -> np.ndarray:
    """Return C numbers as float32 (C, 1, 1)."""
    return np.asarray(values, np.float32).reshape(-1, 1, 1)


def _chunks(who: str, dataset: Dataset, size: int = 256) -> Iterator[np.ndarray]:
    """Yield all images as float32 arrays (n, C, H, W): many at once if the dataset can, else one by one."""
    if len(dataset) == 0:
        raise ValueError(f"{who}: the dataset must hold images, got an empty one")
    batch = getattr(dataset, "batch", None)
    for start in range(0, len(dataset), size):
        indices = np.arange(start, min(start + size, len(dataset)))
        at_once = None if batch is None else batch(indices)
        if at_once is not None:
            yield at_once[0]
        else:
            for i in indices:
                image = to_float(np.asarray(dataset[int(i)][0]))
                check_image(who, image)
                yield image[None]


def _moments(who: str, dataset: Dataset, largest: float = np.inf) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the number of pixels, their sum (C,) and the sum of their outer products (C, C), in float64."""
    count, total, products = 0, np.zeros(()), np.zeros(())
    for images in _chunks(who, dataset):
        pixels = images.transpose(1, 0, 2, 3).reshape(images.shape[1], -1).astype(np.float64)
        if total.ndim and len(pixels) != len(total):
            raise ValueError(f"{who}: all images must have {len(total)} channels, got one with {len(pixels)}")
        if pixels.size and np.abs(pixels).max() > largest:
            raise ValueError(
                f"{who}: pixels must lie in [0, 1], got {pixels.min():g} to {pixels.max():g}; divide them by 255"
            )
        count += pixels.shape[1]
        total = total + pixels.sum(1)
        products = products + pixels @ pixels.T
    return count, total, products
