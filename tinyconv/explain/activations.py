"""What a layer's maps respond to in a set of images. See :func:`top_activations`, :func:`correspondence`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinyconv import device
from tinyconv.explain.layers import as_images, batches, check_count, check_model, evaluating, numbers, outputs_of
from tinyconv.tensor import Tensor


class TopActivations(NamedTuple):
    """The k images in which each map responds most, strongest first.

    Attributes
    ----------
    values : array, (maps, k)
    images : int64 array, (maps, k)
        Which image.
    positions : int64 array, (maps, k, 2)
        Row and column of that response in the map; 0, 0 for fully connected layers.
    """

    values: np.ndarray
    images: np.ndarray
    positions: np.ndarray


def top_activations(
    model: Any, images: Any, layer: str, k: int = 9, maps: Any = None, batch_size: int = 100
) -> TopActivations:
    """Find, for each map of a layer, the k images with the largest single activation (Zeiler & Fergus 2014, sec. 4).

    An image counts once, with its strongest position (the first of equal ones); of equal images the earlier is first.

    Parameters
    ----------
    model : Module
        Run in evaluation mode.
    images : array or Tensor, (N, C, H, W)
    layer : str
        Name of a layer that gives (N, K, OH, OW) or (N, K).
    k : int
        At most N.
    maps : sequence of int, optional
        Which maps, in the order of the result; all by default.
    batch_size : int
        Images at a time: it changes the memory needed, not the result.

    Raises
    ------
    ValueError
        There is no such layer or map, or k is larger than the number of images.
    """
    op = "top_activations"
    check_model(op, model)
    everything, size = _pixels(op, model, images), check_count(op, "k", k)
    if size > len(everything):
        raise ValueError(f"{op}: k must be at most the number of images, {len(everything)}, got {k}")
    step = check_count(op, "batch_size", batch_size)
    best: tuple[np.ndarray, ...] = ()
    width = 1
    with evaluating(model):
        for part in batches(max(len(everything), 1), step):
            output = outputs_of(op, model, [layer], as_images(op, model, everything[part]))[layer]
            if output.ndim not in (2, 4):
                raise ValueError(f"{op}: layer {layer!r} must give (N, K, OH, OW) or (N, K), got {output.shape}")
            width = output.shape[3] if output.ndim == 4 else 1
            planes = output.reshape(*output.shape[:2], -1)
            if maps is not None:
                wanted = np.atleast_1d(np.asarray(maps))
                planes = planes[:, numbers(op, f"maps of {layer!r}", wanted, len(wanted), planes.shape[1])]
            where = planes.argmax(axis=2)
            strength = np.take_along_axis(planes, where[:, :, None], 2)[:, :, 0].T  # (maps, B)
            indices = np.tile(np.arange(part.start, part.stop), (len(strength), 1))
            best = _better(best, (strength, indices, where.T), size)
    values, chosen, flat = best
    return TopActivations(values, chosen, np.stack(np.divmod(flat, width), axis=-1).astype(np.int64))


def _better(best: tuple[np.ndarray, ...], more: tuple[np.ndarray, ...], k: int) -> tuple[np.ndarray, ...]:
    """Return the k strongest of each map among those kept so far and those of one more batch.

    Each is (values, images, places), arrays (maps, any number). The images kept come before those of the batch, and the
    sorting is stable: of equal values the earlier image stays first.
    """
    both = [np.concatenate(parts, axis=1) for parts in zip(best, more, strict=True)] if best else list(more)
    order = np.argsort(-both[0], axis=1, kind="stable")[:, :k]
    return tuple(np.take_along_axis(part, order, 1) for part in both)


def _pixels(op: str, model: Any, images: Any) -> Any:
    """Return the images' array, which is checked batch by batch; here only that it has batches."""
    array = images.data if isinstance(images, Tensor) else np.asarray(images)
    return array if array.ndim else as_images(op, model, images)  # of no axes: it raises


def features(model: Any, images: Any, layer: str, batch_size: int = 100) -> np.ndarray:
    """Return a layer's outputs for all images as vectors, (N, values); evaluation mode, in batches."""
    op = "features"
    check_model(op, model)
    everything = _pixels(op, model, images)
    step, parts = check_count(op, "batch_size", batch_size), []
    with evaluating(model):
        for part in batches(max(len(everything), 1), step):
            output = outputs_of(op, model, [layer], as_images(op, model, everything[part]))[layer]
            parts.append(output.reshape(len(output), -1))
    return np.concatenate(parts)


def correspondence(features: Any, masked: Any) -> float:
    """Measure how alike a layer's features change when the same part is masked in several images (sec. 4.2).

    e_i = features_i - masked_i, and Delta = sum over i != j of Hamming(sign(e_i), sign(e_j)), divided by the number of
    ordered pairs and of features: the share of features in which the change of two images differs in sign. Lower means
    more consistent: the network treats the part alike in all of them. The sign has three values, -1, 0, 1, and 1 is
    counted wherever two differ (the paper does not define sign(0), and many features do not change at all).

    Parameters
    ----------
    features, masked : array or Tensor, (N, ...)
        A layer's outputs for N >= 2 images as they are, and with the part masked; see :func:`features`.

    Returns
    -------
    float in [0, 1]

    Examples
    --------
    >>> correspondence([[3, 1, 5], [4, 1, 0]], [[1, 1, 6], [2, 0, 1]])  # signs + 0 - and + + -: they differ in 1 of 3
    0.3333333333333333
    """
    op = "correspondence"
    pair = [device.host(a.data) if isinstance(a, Tensor) else np.asarray(a) for a in (features, masked)]
    if pair[0].shape != pair[1].shape or pair[0].ndim < 2 or len(pair[0]) < 2:
        raise ValueError(
            f"{op}: features and masked must have one shape (N, ...) with N of at least 2, "
            f"got {pair[0].shape} and {pair[1].shape}"
        )
    n = len(pair[0])
    signs = np.sign(pair[0].astype(np.float64) - pair[1].astype(np.float64)).reshape(n, -1)
    differ = [np.count_nonzero(signs[i] != signs[j]) for i in range(n) for j in range(n) if i != j]
    return float(sum(differ) / (n * (n - 1) * signs.shape[1]))
