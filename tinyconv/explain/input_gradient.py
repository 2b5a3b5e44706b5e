"""The derivative of each image's loss by its pixels, what attacks are made of. See :func:`input_gradient`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import device, errors, functional, nn
from tinyconv.autograd import grad
from tinyconv.evaluation import Loss, as_tensor, home
from tinyconv.explain.layers import as_images, batches, check_model, evaluating
from tinyconv.function import enable_grad, no_grad
from tinyconv.functional.loss import cross_entropy
from tinyconv.models.lenet import EuclideanRBF
from tinyconv.tensor import Tensor

_PIXELS = 2**18  # of a batch: enough that no call waits for Python, little enough for what backward keeps


def as_inputs(op: str, model: Any, images: Any, name: str = "images") -> np.ndarray:
    """Return images (N, C, H, W) or (N, F) as an array of the model's dtype on the host, or raise; it may be a view."""
    check_model(op, model)
    array = device.host(images.data) if isinstance(images, Tensor) else np.asarray(images)
    if array.ndim != 2:
        array = device.host(as_images(op, model, array, name).data)
    else:
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{op}: {name} must hold numbers, got {array.dtype}")
        if 0 in array.shape:
            raise ValueError(f"{op}: {name} must be (N, F) with at least one image, got shape {array.shape}")
        array = np.ascontiguousarray(array, next((p.dtype for p in model.parameters()), np.dtype(np.float32)))
    if not np.isfinite(array).all():
        raise ValueError(f"{op}: {name} must be finite, got NaN or infinity")
    return array


def batch_size(images: np.ndarray) -> int:
    """Return how many of these images go through a network at once: 2^18 pixels of one channel, at least 8 images."""
    return max(_PIXELS // int(np.prod(images.shape[2:] if images.ndim == 4 else images.shape[1:])), 8)


def scores_tensor(op: str, model: nn.Module, result: Any) -> Tensor:
    """Return what a classifier put out as scores (N, K) of which the largest is the answer.

    Of several outputs it is the first (GoogLeNet in training); distances (LeNet-5's) become their negatives.
    """
    main = result[0] if isinstance(result, (tuple, list)) else result
    if not isinstance(main, Tensor) or main.ndim != 2:
        shape = getattr(main, "shape", type(main).__name__)
        raise ValueError(f"{op}: the model must give class scores (N, K), got {shape}")
    return -main if isinstance(list(model.modules())[-1], EuclideanRBF) else main


def scores(model: Any, images: Any) -> np.ndarray:
    """Return the class scores (N, K) of images (N, C, H, W) or (N, F), in evaluation mode; the largest is the answer.

    Distances (LeNet-5's) are turned into their negatives.
    """
    op = "scores"
    x, where = as_inputs(op, model, images), home(model)
    with evaluating(model), no_grad():
        found = [
            device.host(scores_tensor(op, model, model(as_tensor(x[part], where))).data)
            for part in batches(len(x), batch_size(x))
        ]
    return np.concatenate(found)


def model_loss(op: str, name: str, model: nn.Module, result: Any, labels: Tensor, loss: Loss) -> Tensor:
    """Return the mean loss of a batch, or raise: cross_entropy sees class scores, a loss of one's own all outputs."""
    if loss is cross_entropy:
        result = scores_tensor(op, model, result)
        errors.check_range(op, name, device.host(labels.data), result.shape[1])
    value = loss(result, labels)
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ValueError(f"{op}: loss must give one number, the batch's mean, got {getattr(value, 'shape', value)}")
    return value


def input_gradient(op: str, name: str, model: nn.Module, x: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """Return d J_n / d x_n for each image n of a batch, where J_n is its own loss: the mean's derivative times N.

    For cross-entropy and classes it is divided by 1 - p_n, where p_n is the probability of the label:

        J = softplus(m),   m = log sum_{k != y} exp(z_k) - z_y,   dJ/dx = (1 - p) dm/dx

    and dm/dx is returned. It has the same direction, and does not underflow: in float32, dJ/dx is 0 as soon as the
    label's score leads by 104.

    Call it within ``evaluating``, where images do not influence each other, and ``frozen``.
    """
    with enable_grad():
        images = Tensor(x.data, requires_grad=True)
        result, seed = model(images), None
        if loss is cross_entropy and labels.dtype.kind in "iu":
            value = scores_tensor(op, model, result)
            seed = _pull(op, name, value, labels)
        else:
            # N / N is 1 without rounding, so the result does not depend on how many images are in the batch.
            value = (model_loss(op, name, model, result, labels, loss) * float(len(x))).sum()
        if not value.requires_grad:
            raise ValueError(f"{op}: the loss must depend on the images, this one is a constant of them")
        return grad(value, images, seed)


def _pull(op: str, name: str, scores: Tensor, labels: Tensor) -> Tensor:
    """Return dm/dz (N, K): the softmax of the other classes among themselves, -1 for the label."""
    classes = scores.shape[1]
    if classes < 2:
        raise ValueError(f"{op}: the model must have at least two classes, got scores of shape {scores.shape}")
    errors.check_range(op, name, device.host(labels.data), classes)
    with no_grad():
        numbers = as_tensor(np.arange(classes), scores.device)
        own = labels.long().unsqueeze(1) == numbers
        return functional.where(own, -1.0, functional.softmax(functional.where(own, -np.inf, scores.detach()), 1))
