"""Training on each image and on what an attack makes of it. See :class:`AdversarialUpdate`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import device, functional
from tinyconv.evaluation import Loss, confusion
from tinyconv.explain.adversarial import Clip, as_box, as_size, check_clip, check_size
from tinyconv.explain.input_gradient import input_gradient, model_loss
from tinyconv.explain.layers import evaluating
from tinyconv.function import no_grad
from tinyconv.functional.loss import cross_entropy
from tinyconv.nn.modes import frozen
from tinyconv.tensor import Tensor
from tinyconv.updates import Updated

_OP = "AdversarialUpdate"


class AdversarialUpdate:
    """A step of training that mixes the loss of the images with that of their attacked copies, for ``fit(update=...)``.

        J~(x, y) = alpha J(x, y) + (1 - alpha) J(x + eps sign(dJ(x, y) / dx), y)

    (Goodfellow et al. 2014, sec. 6). The attack is made anew in every step, against the weights of that step, and is a
    constant for the weights' gradient: nothing flows back through the sign. It looks at the network in evaluation mode
    (no dropout, running statistics), as :func:`fgsm` does; both losses are then computed in training mode, one after
    the other, each with dropout masks and batch statistics of its own. For a linear logistic model with alpha = 0 the
    loss is E softplus(eps |w|_1 - y (w.x + b)), y = -1 or 1 (sec. 5). A network resists attacks made by the rule it
    was trained with: attack it with the same eps and the same clip, or say so.

    Parameters
    ----------
    eps : float or array that broadcasts to a batch
        At least 0, in the scale of the images that the loader gives.
    alpha : float
        In [0, 1]: how much the unchanged images count.
    clip : (low, high) or None
        The box of the attacked images, as for :func:`fgsm`; None (the default, and the paper's): no clipping. Images
        that lie outside it themselves are an error on the CPU. On a GPU they are not looked for, since the look would
        have to wait for all work before it, and their copies are silently clipped: try a batch on the CPU first.
    loss : callable
        (outputs, labels) -> mean loss of the batch, as for :func:`fgsm`.

    Its ``settings``, with which alone a run can be resumed, are all four; of the loss it is the name.

    Its measures are ``clean_loss``, ``adversarial_loss`` and, for class scores, ``adversarial_accuracy``.

    Examples
    --------
    >>> update = AdversarialUpdate(eps=0.25)
    >>> tinyconv.fit(model, loader, optimizer=SGD(...), epochs=20, update=update)  # doctest: +SKIP
    """

    def __init__(self, eps: Any, alpha: float = 0.5, clip: Clip = None, loss: Loss = cross_entropy) -> None:
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
            raise ValueError(f"{_OP}: alpha must be a number in [0, 1], got {alpha!r}")
        self.eps, self.alpha, self.loss = check_size(_OP, eps), float(alpha), loss
        self.clip = check_clip(_OP, clip)
        limits = None if self.clip is None else [limit.tolist() for limit in self.clip]
        name = getattr(loss, "__qualname__", type(loss).__qualname__)
        self.settings = {"kind": _OP, "eps": self.eps.tolist(), "alpha": self.alpha, "clip": limits, "loss": name}

    def __call__(self, model: Any, optimizer: Any, images: Tensor, labels: Tensor, step: int) -> Updated:
        attacked = self.attack(model, images, labels)
        outputs = model(images)
        clean = model_loss(_OP, "labels", model, outputs, labels, self.loss)
        fooled = model(attacked)
        adversarial = model_loss(_OP, "labels", model, fooled, labels, self.loss)
        measures = {"clean_loss": float(clean.item()), "adversarial_loss": float(adversarial.item())}
        value = self.alpha * measures["clean_loss"] + (1 - self.alpha) * measures["adversarial_loss"]
        if math.isfinite(value):
            optimizer.zero_grad()
            (clean * self.alpha + adversarial * (1 - self.alpha)).sum().backward()
            optimizer.step()
        counts = confusion(fooled, labels)
        if counts is not None and counts.any():
            measures["adversarial_accuracy"] = float(np.trace(counts) / counts.sum())
        return Updated(outputs, value, measures)

    def attack(self, model: Any, images: Tensor, labels: Tensor) -> Tensor:
        """Return a batch's attacked copies, where the batch is; the model's modes and gradients stay as they are."""
        x = images.detach()
        as_size(_OP, self.eps, np.broadcast_to(np.zeros((), x.dtype), x.shape))
        if x.device == "cpu":  # on a GPU the look at the images would have to wait for all work before it
            as_box(_OP, self.clip, x.data)
        with evaluating(model), frozen(model):
            slope = input_gradient(_OP, "labels", model, x, labels, self.loss)
        with no_grad():
            changed = x + functional.sign(slope) * _operand(self.eps, x)
            if self.clip is None:
                return changed
            low, high = (_operand(limit, x) for limit in self.clip)
            return functional.minimum(functional.maximum(changed, low), high)


def _operand(value: np.ndarray, x: Tensor) -> Any:
    """Return a number as a float, an array as a Tensor where x is."""
    return value.item() if value.ndim == 0 else Tensor(device.move(value.astype(x.dtype), x.device))
