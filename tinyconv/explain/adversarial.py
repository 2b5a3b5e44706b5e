"""Images that a network gets wrong though they look the same: one step along the gradient's signs. See :func:`fgsm`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.evaluation import Loss, as_tensor, home
from tinyconv.explain.input_gradient import as_inputs, batch_size, input_gradient, scores
from tinyconv.explain.layers import batches, evaluating
from tinyconv.explain.pixel_model import PixelModel, pixel_model
from tinyconv.functional.loss import cross_entropy
from tinyconv.nn.modes import frozen
from tinyconv.random import generator
from tinyconv.tensor import Tensor

__all__ = ["PixelModel", "distortion", "fgsm", "pixel_model", "random_signs", "scores", "transfer_matrix"]

Clip = tuple[Any, Any] | None
_ROUNDING = 1e-5  # of the box's width: by so much an image may lie outside


def fgsm(
    model: Any,
    images: Any,
    labels: Any,
    eps: Any,
    *,
    target: Any = None,
    clip: Clip = (0.0, 1.0),
    loss: Loss = cross_entropy,
) -> np.ndarray:
    """Move every pixel by eps in the direction that makes the loss grow (Goodfellow et al. 2014, sec. 4).

        x' = clip(x + eps sign(dJ(x, label) / dx)),   with a target   x' = clip(x - eps sign(dJ(x, target) / dx))

    the "fast gradient sign method": of all changes of at most eps per pixel the one that a linear loss likes least.
    sign(0) = 0: pixels on which nothing depends stay. The gradient is that of evaluation mode, of each image's own
    loss; the result does not depend on which images come together. A linear score w.x changes by eps |w|_1 without
    clipping, by less with it: state which one an experiment used.

    A network that is sure of itself is not safe for that: cross-entropy's signs are found however far the right class
    leads, where softmax would round its gradient to 0. A loss of one's own may underflow, and such images then stay.

    Parameters
    ----------
    model : Module
        Any classifier; its modes and its parameters' gradients are afterwards what they were.
    images : array or Tensor, (N, C, H, W) or (N, F)
        In the scale of the model's inputs. Where that is not [0, 1], wrap the model in a :class:`PixelModel`.
    labels : int or N ints
        The right classes; not looked at with ``target``. For a loss of one's own, any array of N entries.
    eps : float or array that broadcasts to the images
        At least 0, in the images' units.
    target : int or N ints, optional
        Step towards this class instead of away from ``labels``.
    clip : (low, high) or None
        The box of allowed values: numbers, or arrays that broadcast to the images. None: no clipping.
    loss : callable
        (outputs, labels) -> mean loss of the batch. :func:`cross_entropy` is given class scores: the first of several
        outputs, the negatives of LeNet-5's distances. Any other is given the outputs as they are.

    Returns
    -------
    array like images, in the model's dtype

    Raises
    ------
    TypeError, IndexError
        Labels are no ints; there is no such class.
    ValueError
        Shapes do not fit; eps is negative, or too large for the dtype; images are not finite or lie outside the box;
        there is only one class.
    FloatingPointError
        The gradient is not finite.
    """
    op = "fgsm"
    x = as_inputs(op, model, images)
    name, wanted = ("labels", labels) if target is None else ("target", target)
    classes = as_labels(op, name, wanted, len(x), loss)
    size = as_size(op, eps, x) * (1 if target is None else -1)
    box = as_box(op, clip, x)
    where, changed = home(model), np.empty_like(x)
    with evaluating(model), frozen(model):
        for part in batches(len(x), batch_size(x)):
            batch = as_tensor(x[part], where)
            slope = device.host(input_gradient(op, name, model, batch, as_tensor(classes[part], where), loss).data)
            if not np.isfinite(slope).all():
                raise FloatingPointError(f"{op}: the gradient must be finite, got NaN or infinity; check the weights")
            changed[part] = x[part] + size[part] * np.sign(slope)
    return within(changed, box)


def random_signs(images: Any, eps: Any, *, clip: Clip = (0.0, 1.0), seed: int = 0) -> np.ndarray:
    """Move every pixel by eps up or down at random: the control for :func:`fgsm`, as large but without direction.

    Image i gets the signs of (seed, i), however many others there are. Arguments as for :func:`fgsm`; the result has
    the images' dtype, float32 for whole numbers.
    """
    op = "random_signs"
    x = _floats(op, "images", images)
    size, box = as_size(op, eps, x), as_box(op, clip, x)
    draws = [generator(seed, op, index=i).integers(0, 2, x.shape[1:], np.int8) for i in range(len(x))]
    return within(x + size * (2 * np.stack(draws) - 1).astype(x.dtype), box)


def distortion(images: Any, changed: Any) -> np.ndarray:
    """Return each image's root mean square change, sqrt(mean_i (x'_i - x_i)^2) (N,) (Szegedy et al. 2013, sec. 4.2)."""
    op = "distortion"
    x, y = _floats(op, "images", images), _floats(op, "changed", changed)
    if x.shape != y.shape:
        raise ValueError(f"{op}: changed must have the images' shape {x.shape}, got {y.shape}")
    difference = y.astype(np.float64) - x
    return np.sqrt((difference * difference).reshape(len(x), -1).mean(axis=1))


def transfer_matrix(models: dict[str, Any], made: dict[str, Any], labels: Any) -> np.ndarray:
    """Return how often each network errs on the images made for each (Szegedy et al. 2013, table 2).

    Parameters
    ----------
    models : {name: Module}
    made : {name: array (N, ...)}
        The changed images, made for the model of this name. Other names, such as "noise", are rows of their own.
    labels : N ints
        The right classes.

    Returns
    -------
    array, (len(made), len(models))
        Share of wrong answers in [0, 1]. A row is what the images were made for: the models' names in their order,
        then the others; a column is who judged them.

    Raises
    ------
    TypeError, IndexError
        Labels are no ints; one of the networks has no such class.
    """
    op = "transfer_matrix"
    if not models or not made:
        raise ValueError(f"{op}: wanted at least one model and one set of images, got {len(models)} and {len(made)}")
    names = [*(name for name in models if name in made), *(name for name in made if name not in models)]
    wrong = np.empty((len(names), len(models)))
    for row, name in zip(wrong, names, strict=True):
        classes = as_labels(op, "labels", labels, len(made[name]), cross_entropy)
        for column, model in enumerate(models.values()):
            found = scores(model, made[name])
            errors.check_range(op, "labels", classes, found.shape[1])
            row[column] = (found.argmax(axis=1) != classes).mean()
    return wrong


# ------------------------------------------------------------------------------------------- arguments of all attacks


def as_labels(op: str, name: str, labels: Any, count: int, loss: Loss) -> np.ndarray:
    """Return one label for each image, ints for cross-entropy (their range is checked when scores are there)."""
    array = device.host(labels.data) if isinstance(labels, Tensor) else np.asarray(labels)
    if labels is None or array.dtype.kind not in ("iu" if loss is cross_entropy else "fiu"):
        raise TypeError(f"{op}: {name} must be an int, or one int per image, got {labels!r}")
    if (array.ndim > 0 and len(array) != count) or (array.ndim > 1 and loss is cross_entropy):
        raise ValueError(f"{op}: {name} must be one, or one for each of the {count} images, got shape {array.shape}")
    return np.array(np.broadcast_to(array, (count,)) if array.ndim == 0 else array)


def as_size(op: str, eps: Any, x: np.ndarray) -> np.ndarray:
    """Return eps as a view of the images' shape and dtype, or raise, also where a step so large would overflow."""
    size, most = _broadcast(op, "eps", check_size(op, eps), x), float(np.finfo(x.dtype).max)
    if x.size and float(size.max()) > most - max(float(x.max()), -float(x.min())):
        raise ValueError(f"{op}: eps must be at most what {x.dtype} holds, {most:.3g} less the pixels, got {eps!r}")
    return size


def check_size(op: str, eps: Any) -> np.ndarray:
    """Return eps as an array, or raise unless it is finite and at least 0."""
    array = _array(op, "eps", eps)
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{op}: eps must be finite and at least 0, got {eps!r}")
    return array


def as_box(op: str, clip: Clip, x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the lowest and highest values as views of the images' shape and dtype; the images must lie between."""
    limits = check_clip(op, clip)
    if limits is None:
        return None
    low, high = (_broadcast(op, "clip", limit, x) for limit in limits)
    room = _ROUNDING * (high - low)
    if not ((low - room <= x) & (x <= high + room)).all():
        raise ValueError(
            f"{op}: images must lie within clip, got values from {x.min():.4g} to {x.max():.4g}; give the range of "
            "these inputs as clip=(low, high), or wrap the model in a PixelModel and give images in [0, 1]"
        )
    return low, high


def check_clip(op: str, clip: Clip) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (low, high) as arrays, None for None, or raise."""
    if clip is None:
        return None
    if not isinstance(clip, (tuple, list)) or len(clip) != 2:
        raise TypeError(f"{op}: clip must be a pair (low, high) or None, got {clip!r}")
    low, high = (_array(op, "clip", limit) for limit in clip)
    if not np.all(low <= high):  # NaN too
        raise ValueError(f"{op}: clip must be (low, high) with low at most high, got {clip!r}")
    return low, high


def within(x: np.ndarray, box: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """Return x with what lies outside the box moved to its border."""
    return x if box is None else np.clip(x, *box)


def _array(op: str, name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{op}: {name} must be a number or an array of numbers, got {value!r}")
    return array


def _broadcast(op: str, name: str, array: np.ndarray, x: np.ndarray) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            return np.broadcast_to(array.astype(x.dtype), x.shape)
    except ValueError:
        raise ValueError(f"{op}: {name} must broadcast to the images' shape {x.shape}, got {array.shape}") from None


def _floats(op: str, name: str, images: Any) -> np.ndarray:
    array = device.host(images.data) if isinstance(images, Tensor) else np.asarray(images)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{op}: {name} must hold numbers, got {array.dtype}")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"{op}: {name} must be (N, ...) with at least one image, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{op}: {name} must be finite, got NaN or infinity")
    return array if array.dtype.kind == "f" else array.astype(np.float32)
