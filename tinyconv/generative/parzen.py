"""Parzen windows: a generator judged by Gaussians around its samples. See :func:`parzen`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyconv.explain.layers import batches, check_count
from tinyconv.random import generator

SIGMAS = np.logspace(-1, 0, 10)  # the widths that Goodfellow et al. choose from


@dataclass(frozen=True)
class Parzen:
    """What :func:`parzen` measured; printing it gives a sentence.

    Attributes
    ----------
    mean : float
        Mean log-likelihood of the test images, in nat.
    standard_error : float
        Their standard deviation / sqrt(number of test images), in nat. What other samples would change is not in it.
    sigma : float
        The width chosen on the validation images, in units of a pixel's value.
    sigmas, validation_means : array, (S,)
        The widths to choose from, and the validation images' mean log-likelihood with each.
    """

    mean: float
    standard_error: float
    sigma: float
    sigmas: np.ndarray
    validation_means: np.ndarray

    def __str__(self) -> str:
        return (
            f"log-likelihood {self.mean:.1f} +- {self.standard_error:.1f} nat by Parzen windows of sigma "
            f"{self.sigma:.3g}, chosen on validation images: an estimate of high variance that means little in many "
            "dimensions, so compare it with the same for other images"
        )


def log_likelihood(points: Any, centres: Any, sigma: float, batch: int = 500) -> np.ndarray:
    """Return the log-density of points under equally likely Gaussians of one width around the centres, in nat.

    log p(x) = log (1 / m) sum_j exp(-|x - mu_j|^2 / (2 sigma^2)) - d log(sigma sqrt(2 pi)).

    Parameters
    ----------
    points : array, (n, ...), floating
    centres : array, (m, ...), floating
        Of the points' shape (...), of d numbers in all.
    sigma : float
        In units of the points' values.
    batch : int
        So many points and centres at a time: it bounds the memory (8 batch (2 batch + d) bytes and two numbers for
        each point), and changes the result by rounding only.

    Returns
    -------
    float64 array, (n,)

    Raises
    ------
    ValueError
        There is no centre, a number is not finite, the shapes differ, or sigma is not positive.

    Examples
    --------
    >>> x = np.zeros((1, 784))
    >>> log_likelihood(x, x, 0.2).round(4).tolist()
    [541.3515]
    """
    op = "log_likelihood"
    return _log_densities(op, points, "points", centres, np.atleast_1d(_widths(op, [sigma])), batch)[0]


def choose_sigma(validation: Any, centres: Any, sigmas: Any = SIGMAS, batch: int = 500) -> tuple[float, np.ndarray]:
    """Return the width under which validation images are likeliest, and their mean log-likelihood under each.

    Parameters
    ----------
    validation, centres : array, (n, ...) and (m, ...), floating
    sigmas : sequence of S floats
        The first of equally good ones wins.

    Returns
    -------
    sigma : float
    means : float64 array, (S,)    in nat
    """
    op = "choose_sigma"
    widths = _widths(op, sigmas)
    found = _log_densities(op, validation, "validation", centres, widths, batch)
    if not found.shape[1]:
        raise ValueError(f"{op}: validation must have at least one image, got none")
    means = found.mean(axis=1)
    return float(widths[means.argmax()]), means


def parzen(samples: Any, validation: Any, test: Any, *, sigmas: Any = SIGMAS, batch: int = 500) -> Parzen:
    """Estimate how likely test images are under a generator, from its samples (Goodfellow et al. 2014, sec. 5).

    The density is that of :func:`log_likelihood` around the samples. Its width is chosen on the validation images, not
    on those of the test. The paper takes 10,000 samples and the ten widths that are the default.

    Parameters
    ----------
    samples, validation, test : array, (n, ...), floating
        Images of one shape, in one scale: the paper's numbers are for pixels in [0, 1].
    sigmas : sequence of floats
        Widths to choose from.
    batch : int
        See :func:`log_likelihood`.

    Returns
    -------
    Parzen

    Raises
    ------
    ValueError
        As :func:`log_likelihood`, or there are no validation or test images.
    """
    sigma, means = choose_sigma(validation, samples, sigmas, batch)
    found = log_likelihood(test, samples, sigma, batch)
    if not len(found):
        raise ValueError("parzen: test must have at least one image, got none")
    error = float(found.std() / np.sqrt(len(found)))
    return Parzen(float(found.mean()), error, sigma, _widths("parzen", sigmas), means)


def references(
    train: Any, validation: Any, test: Any, n: int = 10000, seed: int = 0, *, sigmas: Any = SIGMAS, batch: int = 500
) -> dict[str, Parzen]:
    """Judge by :func:`parzen` what a generator must be compared with: it should beat the last two.

    ``"training images"``: n of them, or all if there are fewer, as if they had been generated. ``"Gaussian"``: n
    samples of the normal distribution that has the training images' mean and covariance. Each is the mean plus all
    images' deviations from it, with standard normal weights over sqrt(N): that has exactly this covariance, also where
    pixels never vary and no matrix could be factorised. ``"mean image"``: alone.

    Parameters
    ----------
    train, validation, test : array, (n, ...), floating
    n : int
        How many; as many as the generator's samples, since more are likelier.
    seed : int
        Of the choice and of the normal weights.

    Returns
    -------
    dict of three Parzen
    """
    op = "references"
    check_count(op, "n", n)
    train = _rows(op, "train", train)
    if not len(train):
        raise ValueError(f"{op}: train must have at least one image, got none")
    chosen = np.sort(generator(seed, "parzen/training").permutation(len(train))[:n])
    centres = {
        "training images": train[chosen],
        "Gaussian": _gaussian(train, n, seed, check_count(op, "batch", batch)),
        "mean image": train.mean(axis=0, dtype=np.float64)[None],
    }
    held_out = _rows(op, "validation", validation), _rows(op, "test", test)
    return {name: parzen(found, *held_out, sigmas=sigmas, batch=batch) for name, found in centres.items()}


def _gaussian(train: np.ndarray, n: int, seed: int, batch: int) -> np.ndarray:
    """Return n samples; sample i is drawn by its number, whatever the batch."""
    mean = train.mean(axis=0, dtype=np.float64).astype(train.dtype)
    deviations = (train - mean) / np.sqrt(len(train), dtype=train.dtype)
    samples = np.empty((n, train.shape[1]), train.dtype)
    for part in batches(n, batch):
        draws = [
            generator(seed, "parzen/gaussian", 0, i).standard_normal(len(train)) for i in range(part.start, part.stop)
        ]
        samples[part] = mean + np.asarray(draws, train.dtype) @ deviations
    return samples


def _log_densities(op: str, points: Any, name: str, centres: Any, sigmas: np.ndarray, batch: int) -> np.ndarray:
    """Return the log-densities (S, n) for all widths: the distances, which cost most, are computed once."""
    points, centres, step = _rows(op, name, points), _rows(op, "centres", centres), check_count(op, "batch", batch)
    (n, d), m = points.shape, len(centres)
    if not m:
        raise ValueError(f"{op}: centres must have at least one row, got none")
    if centres.shape[1] != d:
        raise ValueError(f"{op}: {name} and centres must have equally many numbers, got {d} and {centres.shape[1]}")
    # |x - mu|^2 = |x|^2 - 2 x mu + |mu|^2 loses digits where the norms are much larger than the distance: so subtract
    # what all have in common.
    middle = centres.mean(axis=0, dtype=np.float64)
    rates = 1 / (2 * sigmas**2)
    nearest, totals = np.full(n, np.inf), np.zeros((len(sigmas), n))
    for some in batches(m, step):
        mu = centres[some] - middle
        for part in batches(n, step):
            x = points[part] - middle
            distances = x @ mu.T
            distances *= -2
            distances += np.einsum("md,md->m", mu, mu)
            distances += np.einsum("nd,nd->n", x, x)[:, None]
            np.maximum(distances, 0, out=distances)
            # The sum so far is relative to the nearest centre so far, whose term is 1: nothing underflows.
            before, nearest[part] = nearest[part].copy(), np.minimum(nearest[part], distances.min(axis=1))
            distances -= nearest[part, None]
            for k, rate in enumerate(rates):
                rest = np.exp(distances * -rate).sum(axis=1)
                totals[k, part] = totals[k, part] * np.exp((nearest[part] - before) * rate) + rest
    volume = d * np.log(sigmas * np.sqrt(2 * np.pi))
    return np.log(totals / m) - nearest * rates[:, None] - volume[:, None]


def _rows(op: str, name: str, array: Any) -> np.ndarray:
    """Return floating (n, ...) as (n, d) with d of at least 1, all finite, or raise."""
    array = np.asarray(array)
    if array.ndim < 2 or array.dtype.kind != "f" or 0 in array.shape[1:]:
        raise ValueError(
            f"{op}: {name} must be floating (n, ...) with at least one number in each row, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{op}: {name} must be finite, got NaN or infinity")
    return array.reshape(len(array), int(np.prod(array.shape[1:])))


def _widths(op: str, sigmas: Any) -> np.ndarray:
    widths = np.asarray(sigmas)
    if widths.ndim != 1 or not widths.size or widths.dtype.kind not in "fiu":
        raise ValueError(f"{op}: sigmas must be a sequence of at least one number, got {sigmas!r}")
    widths = widths.astype(np.float64)
    if not ((widths > 0) & np.isfinite(widths)).all():
        raise ValueError(
            f"{op}: sigma must be positive and finite, got {widths[~((widths > 0) & np.isfinite(widths))][0]}"
        )
    return widths
