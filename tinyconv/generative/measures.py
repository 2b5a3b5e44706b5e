"""Numbers about a generator's images, and words for a training that went wrong. See :func:`verdict`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinyconv import device
from tinyconv.tensor import Tensor

# What verdict() calls bad.
LAST = 3  # epochs in a row: one may be chance
NEARLY_ALWAYS = 0.97  # mean share of right answers of D in these
COLLAPSED = 0.1  # of the data's spread: less than that are small changes of one picture
# A D that is always right harms only a G that has something left to learn: when the rates of a DCGAN that worked had
# fallen to 0, D's share went on rising. So the samples must be poorer than the data, too. Trials with the lesson's
# networks: by the paper's SGD their spread was at most .6 of the data's, by the DCGAN .9.
POOR = 0.75
ONE_GREY = 1 / 255  # a spread below one grey level is no spread, whatever the data's is
_WATCHED = ("sample_spread", "discriminator_accuracy")
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

    It looks at the last ``LAST`` epochs that have a ``sample_spread`` or a ``discriminator_accuracy`` (share of right
    answers of D, real and generated images counted the same); with fewer it only says if one of these is no number.

    - The generator has collapsed, whatever D does: the samples' spread is less than a tenth of the data's.
    - The training has diverged: one of both is NaN or infinite.
    - The discriminator is too far ahead: right in 97 % of its answers on average, while the samples' spread, where it
      is known with the data's, is below 3/4 of that.

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
    known = [row for row in rows if any(row.get(name) is not None for name in _WATCHED)]
    spreads, shares = ([float(row[name]) for row in known if row.get(name) is not None] for name in _WATCHED)
    found, last = spreads[-1] if spreads else None, shares[-LAST:]
    share = float(np.mean(last)) if last else 0.0
    ahead = len(last) == LAST and share >= NEARLY_ALWAYS
    right = f"in the last {LAST} epochs the discriminator was right in {100 * share:.1f} % of its answers"
    least = ONE_GREY if data_spread is None else COLLAPSED * data_spread
    if len(known) >= LAST and found is not None and found < least:
        wanted = "" if data_spread is None else f", that of the data {data_spread:.3f}"
        clause, whose = (f", and {right}", " for the discriminator") if ahead else ("", "")
        return (
            f"the generator has collapsed: the samples' spread is {found:.3f}{wanted}{clause}; "
            f"start again with a lower learning rate{whose}, or with another seed"
        )
    for name, number in (("the samples' spread", found), ("the discriminator's share of right answers", share)):
        if number is not None and not np.isfinite(number):
            return f"the training has diverged: {name} is {number}; start again with lower learning rates"
    if ahead and (found is None or data_spread is None or found < POOR * data_spread):
        return (
            f"the discriminator is too far ahead: {right}, which leaves the generator little to learn from; lower its "
            "learning rate, make it smaller, or give it more dropout"
        )
    return None
