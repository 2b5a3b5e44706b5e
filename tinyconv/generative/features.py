"""A discriminator's features, and linear machines that judge them. See :func:`discriminator_features`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import device, nn
from tinyconv.explain.layers import as_images, batches, check_count, check_model, evaluating, outputs_of, sequence
from tinyconv.functional.pool import adaptive_max_pool2d
from tinyconv.tensor import Tensor
from tinyconv.vision.svm import LinearSVM, Plane, feature_scale

COSTS = (1e-3, 1e-2, 3e-2, 1e-1)
TOLERANCE = 1e-2  # share of the objective that may lie above its minimum
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.Maxout)


def discriminator_features(
    model: Any, images: Any, layers: Sequence[str] | None = None, size: int = 4, batch: int = 100
) -> np.ndarray:
    """Return what a discriminator's convolutions make of images, as vectors (Radford et al. 2015, sec. 5.1).

    Every layer's maps are max-pooled to size x size, flattened and joined. The network is in evaluation mode: batch
    normalisation takes the statistics of its training, so an image's features do not depend on the others'.

    Parameters
    ----------
    model : Module
        A GAN, whose discriminator is taken, or a discriminator (an nn.Sequential unless ``layers`` are named).
    images : array or Tensor, (N, C, H, W)
        For a GAN in [0, 1]: it scales them itself. For a discriminator in the scale that it was trained in.
    layers : sequence of str, optional
        Names of layers that give maps (N, K, OH, OW). By default all activation functions that do.
    size : int
        Cells along each side; a side of fewer pixels stays as it is.
    batch : int
        Images at a time: it changes the memory needed, not the result.

    Returns
    -------
    array, (N, F)
        F = size^2 times the number of maps: 7168 for widths 64, 128, 256.

    Raises
    ------
    TypeError
        model is no Module, or no nn.Sequential and no layers are named.
    ValueError
        A named layer gives no maps, there is none that does, there are no images, or a GAN's are not in [0, 1].
    """
    op = "discriminator_features"
    judge = getattr(model, "discriminator", model)
    check_model(op, judge)
    count, step = check_count(op, "size", size), check_count(op, "batch", batch)
    if layers is None:
        found = [name for name, module in sequence(op, judge) if isinstance(module, _ACTIVATIONS)]
    else:
        found = [layers] if isinstance(layers, str) else list(layers)
    everything, parts = as_images(op, judge, images), []
    if judge is not model and hasattr(model, "scaled"):
        _check_unit(op, everything)
        everything = model.scaled(everything)
    with evaluating(judge):
        for part in batches(len(everything), step):
            outputs = outputs_of(op, judge, found, everything[part])
            if layers is None:
                found = [name for name in found if outputs[name].ndim == 4]
            parts.append(_pooled(op, [(name, outputs[name]) for name in found], count))
    return np.concatenate(parts)


def _check_unit(op: str, images: Tensor) -> None:
    """Raise unless a GAN's images are in [0, 1]."""
    pixels = device.host(images.data)
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise ValueError(
            f"{op}: a GAN's images must be in [0, 1], which it scales itself, got {low:g} to {high:g}; "
            "bytes are to be divided by 255"
        )


def _pooled(op: str, outputs: list[tuple[str, np.ndarray]], size: int) -> np.ndarray:
    """Return the layers' outputs as one array (N, F)."""
    rows = []
    for name, maps in outputs:
        if maps.ndim != 4:
            raise ValueError(f"{op}: layer {name!r} must give maps (N, K, OH, OW), got shape {maps.shape}")
        cells = min(size, maps.shape[2]), min(size, maps.shape[3])
        rows.append(adaptive_max_pool2d(Tensor(maps), cells).numpy().reshape(len(maps), -1))
    if not rows:
        raise ValueError(f"{op}: wanted a layer that gives maps (N, K, OH, OW), got none; name some in layers")
    return np.concatenate(rows, axis=1)


class SVMError(NamedTuple):
    """How well linear machines tell classes by features.

    Attributes
    ----------
    error : float
        Share of test examples of which another class has the largest score, in [0, 1].
    cost : float
        The cost C chosen on the validation examples.
    """

    error: float
    cost: float


def svm_error(
    train: np.ndarray,
    labels: np.ndarray,
    validation: np.ndarray,
    validation_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    costs: Sequence[float] = COSTS,
) -> SVMError:
    """Measure features by one-against-all linear machines, the class with the largest score winning.

    Features are scaled by the factor that gives those of ``train`` the mean norm 20, which the costs are meant for. The
    loss is the hinge of :class:`~tinyconv.vision.svm.LinearSVM`; the paper's machines square it (Radford et al. 2015,
    sec. 5.1), so its costs are not ours. What a machine minimises is at most 1 % above its minimum.

    Parameters
    ----------
    train, validation, test : array, (n, F), float32 or float64
    labels, validation_labels, test_labels : array, (n,), ints
        Machines are trained for the classes in ``labels``, of which there must be at least two.
    costs : sequence of floats
        To choose from by the error on the validation examples; of equally good ones the smallest. Large ones take more
        time: their machines need more passes over the examples.

    Returns
    -------
    SVMError

    Raises
    ------
    ValueError
        A set is empty, shapes do not fit, a feature is not finite, or ``labels`` are all of one class.
    """
    op = "svm_error"
    width = np.shape(train)[-1] if np.ndim(train) else 0
    sets = {"train": (train, labels), "validation": (validation, validation_labels), "test": (test, test_labels)}
    (x, y), held_out, judged = (_examples(op, name, *one, width) for name, one in sets.items())
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(f"{op}: labels must be of at least two classes, got only {classes.tolist()}")
    if not len(costs):
        raise ValueError(f"{op}: costs must have at least one number, got none")
    scale = x.dtype.type(feature_scale(x))
    least, chosen, machines = np.inf, 0.0, []
    for cost in sorted(costs):
        svm = LinearSVM(C=cost, positive_weight=1.0, tolerance=TOLERANCE)
        planes = [svm.fit(x * scale, y == k) for k in classes]
        error = _error(planes, classes, held_out, scale)
        if error < least:
            least, chosen, machines = error, float(cost), planes
        if all(plane.dual.max() < cost for plane in planes):
            break  # no example lies inside the margin: at larger costs neither
    return SVMError(_error(machines, classes, judged, scale), chosen)


def _error(planes: list[Plane], classes: np.ndarray, examples: tuple[np.ndarray, np.ndarray], scale: Any) -> float:
    features, truth = examples
    scores = np.stack([plane.scores(features * scale) for plane in planes], axis=1)
    return float((classes[scores.argmax(axis=1)] != truth).mean())


def _examples(op: str, name: str, features: Any, labels: Any, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (n, width) and labels (n,) of at least one example, or raise."""
    x, y = np.asarray(features), np.asarray(labels)
    if x.ndim != 2 or x.dtype not in (np.float32, np.float64) or x.shape[1] != width or not len(x):
        raise ValueError(
            f"{op}: {name} must be float32 or float64 (n, {width}) of at least one example, "
            f"got {x.dtype} of shape {x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{op}: {name} must be finite, got NaN or infinity")
    if y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise ValueError(
            f"{op}: labels of {name} must be {len(x)} ints, one for each example, got {y.dtype} of shape {y.shape}"
        )
    return x, y
