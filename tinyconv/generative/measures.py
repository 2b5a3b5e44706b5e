"""Numbers about a generator's images, and words for a training that went wrong. See :func:`verdict`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinyconv import device
from tinyconv.tensor import Tensor

# What verdict() calls bad. The lesson's GAN on 5,000 digits: in a training that works D's share of right answers, with
# its dropout, peaks at .96 and falls to .7, while the samples' spread grows to .17 (data: .19); with the paper's SGD
# the share stays around .985, the spread falls to .01 and comes back to .1 at most, and the images are specks.
LAST = 3  # epochs in a row: one may be chance, and at the first D wins in all trainings
NEARLY_ALWAYS = 0.97  # mean share of right answers of D in these
COLLAPSED = 0.1  # of the data's spread: less than that are small changes of one picture
ONE_GREY = 1 / 255  # a spread below one grey level is no spread, whatever the data's is
_BLOCK = 4096  # images at a time, which bounds the memory


def check_images(who: str, images: Any, least: int = 1, name: str = "images") -> np.ndarray:
    """Return images (N, C, H, W) as an array on the host, or raise if they are something else, too few or not finite.

    Raises
    ------
    TypeError
        They are no numbers.
    ValueError
        Another shape, no pixel, fewer than ``least`` images, NaN or infinity.
    """
    pixels = device.host(images.data) if isinstance(images, Tensor) else np.asarray(images)
    if pixels.dtype.kind not in "buif":
        raise TypeError(f"{who}: {name} must be an array (N, C, H, W) of numbers, got {pixels.dtype}")
    if pixels.ndim != 4 or not all(pixels.shape[1:]):
        raise ValueError(f"{who}: {name} must be (N, C, H, W) with at least one pixel, got shape {pixels.shape}")
    if len(pixels) < least:
        raise ValueError(f"{who}: {name} must hold at least {least} image{'s' * (least > 1)}, got {len(pixels)}")
    if not np.isfinite(pixels).all():
        raise ValueError(f"{who}: {name} must be finite, got NaN or infinity; was the training's loss finite?")
    return pixels


def spread(images: Any) -> float:
    """Return how much images differ from each other: a pixel's standard deviation over the images, averaged.

        spread = mean over c, y, x of sqrt(mean over n of (image[n, c, y, x] - mean[c, y, x])^2)

    0 for one picture drawn N times: a generator that has collapsed. Compare it with the data's.

    Parameters
    ----------
    images : array or Tensor, (N, C, H, W)
        At least two.

    Raises
    ------
    TypeError, ValueError
        See :func:`check_images`.

    Examples
    --------
    >>> spread(np.array([0.0, 1.0]).reshape(2, 1, 1, 1))
    0.5
    """
    pixels = check_images("spread", images, least=2)
    middle = pixels.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(middle)
    for first in range(0, len(pixels), _BLOCK):
        squares += np.square(pixels[first : first + _BLOCK] - middle).sum(axis=0)
    return float(np.sqrt(squares / len(pixels)).mean())


def sharpness(images: Any) -> float:
    """Return the mean gradient energy: the mean squared difference of two neighbours, side by side or above each other.

    Blurred images have less of it than the data, noisy ones more.

    Parameters
    ----------
    images : array or Tensor, (N, C, H, W)
        Of at least two pixels.

    Raises
    ------
    TypeError, ValueError
        See :func:`check_images`.

    Examples
    --------
    >>> sharpness(np.indices((4, 4)).sum(0)[None, None] % 2)  # black and white squares of one pixel
    1.0
    """
    pixels = check_images("sharpness", images)
    total, pairs = 0.0, 0
    for first in range(0, len(pixels), _BLOCK):
        block = pixels[first : first + _BLOCK].astype(np.float64)
        for axis in (2, 3):
            steps = np.diff(block, axis=axis)
            total, pairs = total + float(np.square(steps).sum()), pairs + steps.size
    if not pairs:
        raise ValueError(f"sharpness: images must have at least two pixels, got shape {pixels.shape}")
    return total / pairs


def closest(images: Any, training: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's nearest training image by Euclidean distance: (indices, distances), (N,) both.

    Of several at the same distance it is the first. An image far from all others is no copy; that it is a good one,
    this does not say.

    Parameters
    ----------
    images, training : array or Tensor, (N, C, H, W) and (M, C, H, W)

    Raises
    ------
    TypeError, ValueError
        See :func:`check_images`; the images have different sizes.
    """
    pixels, known = check_images("closest", images), check_images("closest", training, name="training")
    if pixels.shape[1:] != known.shape[1:]:
        raise ValueError(f"closest: training must have images of shape {pixels.shape[1:]}, got {known.shape[1:]}")
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    indices, best = np.zeros(len(flat), np.int64), np.full(len(flat), np.inf)
    for first in range(0, len(known), _BLOCK):
        block = known[first : first + _BLOCK].reshape(-1, flat.shape[1]).astype(np.float64)
        norms = np.square(block).sum(axis=1)
        rough = norms - 2 * flat @ block.T  # the squared distance, less the image's own norm; rounded
        for i, row in enumerate(rough):
            near = np.flatnonzero(row <= row.min() + 1e-9 * (norms.max() + flat[i] @ flat[i]))
            exact = np.square(block[near] - flat[i]).sum(axis=1)
            if exact.min() < best[i]:
                indices[i], best[i] = first + near[exact.argmin()], exact.min()
    return indices, np.sqrt(best)


def nearest_distance(images: Any, training: Any) -> np.ndarray:
    """Return each image's Euclidean distance to the nearest training image, (N,); see :func:`closest`."""
    return closest(images, training)[1]


def verdict(rows: Iterable[Mapping[str, Any]], data_spread: float | None = None) -> str | None:
    """Return what went wrong in a training, in words that begin with it and a colon; None if all is well.

    It needs ``LAST`` epochs with a ``discriminator_accuracy`` (share of right answers of D, real and generated images
    counted the same) and looks at the last of them. If D was nearly always right (97 % of its answers), G learns little
    that helps. Then ``sample_spread`` tells whether G draws one picture only: less than a tenth of the data's spread.

    Parameters
    ----------
    rows : iterable of dict
        A :class:`tinyconv.History` or its rows. Not all need a ``sample_spread``: the last known one counts.
    data_spread : float, optional
        :func:`spread` of the training images. Without it a generator has collapsed if its images differ by less than
        one grey level of 255.

    Raises
    ------
    ValueError
        ``data_spread`` is not positive.

    Examples
    --------
    >>> rows = 3 * [{"discriminator_accuracy": 1.0, "sample_spread": 0.001}]
    >>> verdict(rows, 0.19).partition(":")[0]
    'the generator has collapsed'
    """
    if data_spread is not None and not 0 < data_spread < np.inf:
        raise ValueError(f"verdict: data_spread must be a positive number, got {data_spread!r}")
    known = [row for row in rows if row.get("discriminator_accuracy") is not None]
    last = [float(row["discriminator_accuracy"]) for row in known[-LAST:]]
    share = float(np.mean(last)) if len(last) == LAST else 0.0
    if not share >= NEARLY_ALWAYS:  # NaN is no reason either
        return None
    right = f"in the last {LAST} epochs the discriminator was right in {100 * share:.1f} % of its answers"
    found = next((row["sample_spread"] for row in reversed(known) if row.get("sample_spread") is not None), None)
    least = ONE_GREY if data_spread is None else COLLAPSED * data_spread
    if found is not None and found < least:
        wanted = "" if data_spread is None else f", that of the data {data_spread:.3f}"
        return (
            f"the generator has collapsed: {right}, and the samples' spread is {found:.3f}{wanted}; "
            "start again with a lower learning rate for the discriminator, or with another seed"
        )
    return (
        f"the discriminator is too far ahead: {right}, which leaves the generator little to learn from; lower its "
        "learning rate, make it smaller, or give it more dropout"
    )
