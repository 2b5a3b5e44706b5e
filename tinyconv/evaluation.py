"""How good a classifier is on a set of images. See :func:`evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import device
from tinyconv.function import no_grad
from tinyconv.functional.loss import cross_entropy
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor
from tinyconv.threads import limited_threads

if TYPE_CHECKING:
    from tinyconv.nn import Module

Loss = Callable[[Any, Tensor], Tensor]


def evaluate(model: Module, loader: Iterable[Any], loss: Loss = cross_entropy) -> dict[str, Any]:
    """Run the model over all batches in evaluation mode, without recording gradients.

    Parameters
    ----------
    model : Module
        Its mode (training or not, module by module) is afterwards what it was.
    loader : iterable of (images, labels)
        Such as a ``DataLoader``, which is started at its first epoch.
    loss : callable
        (outputs, labels) -> mean loss of the batch, a scalar Tensor.

    Returns
    -------
    dict
        ``loss``: mean over the images. ``accuracy``: share of images whose largest score is that of their label, in
        [0, 1]. ``confusion``: int64 array (K, K), row = label, column = largest score. ``images``: how many. The middle
        two are None where the outputs are no class scores (N, K) with integer labels.

    Raises
    ------
    ValueError
        The loader is empty.
    """
    return run(model, loader, loss, lambda: False)


def run(model: Module, loader: Iterable[Any], loss: Loss, stop: Callable[[], Any]) -> dict[str, Any]:
    """Evaluate, as :func:`evaluate` does; an empty dict if ``stop()`` was true before the end."""
    if hasattr(loader, "start_at"):
        loader.start_at(0)
    meter, table, where = Meter(), None, home(model)
    with kept_modes(model), no_grad(), limited_threads(model):
        model.eval()
        for batch in loader:
            if stop():
                return {}
            images, labels = (as_tensor(part, where) for part in batch[:2])
            outputs = model(images)
            value = float(loss(outputs, labels).item())
            counts = confusion(outputs, labels)
            meter.add(value, labels, counts)
            if counts is not None:
                table = counts if table is None else table + counts
    if meter.images == 0:
        raise ValueError("evaluate: the loader must give at least one image, got none")
    return {"loss": meter.loss, "accuracy": meter.accuracy, "confusion": table, "images": meter.images}


@dataclass
class Meter:
    """Running means over images: of the loss, of whether the largest score was the label's, and of other measures."""

    images: int = 0
    total: float = 0.0
    counted: int = 0
    right: int = 0
    others: dict[str, list[float]] = field(default_factory=dict)  # name: [sum, images]

    def add(
        self, loss: float, labels: Tensor, counts: np.ndarray | None, measures: Mapping[str, float] | None = None
    ) -> None:
        """Add a batch: its mean loss, its labels, its :func:`confusion` and what else was measured."""
        self.images += len(labels)
        self.total += loss * len(labels)
        if counts is not None:
            self.counted += int(counts.sum())
            self.right += int(np.trace(counts))
        for name, value in (measures or {}).items():
            total, images = self.others.get(name, (0.0, 0))
            self.others[name] = [total + value * len(labels), images + len(labels)]

    @property
    def loss(self) -> float:
        """Mean loss per image."""
        return self.total / self.images if self.images else float("nan")

    @property
    def accuracy(self) -> float | None:
        """Share of right images in [0, 1]; None if outputs are no class scores."""
        return self.right / self.counted if self.counted else None

    @property
    def measures(self) -> dict[str, float]:
        """Means of the other measures, each over the images of the batches that had it."""
        return {name: total / images for name, (total, images) in self.others.items() if images}


def confusion(outputs: Any, labels: Tensor) -> np.ndarray | None:
    """Return the (K, K) counts of (label, largest score); None unless outputs are scores (N, K) and labels ints (N,).

    Of several outputs the first counts (GoogLeNet's main classifier); labels outside 0..K-1 are passed over
    (``ignore_index``).
    """
    scores = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
    if getattr(scores, "ndim", 0) != 2 or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return None
    n, k = scores.shape
    truth = device.host(labels.data).astype(np.int64)
    valid = (truth >= 0) & (truth < k)
    guess = device.host(scores.data).argmax(axis=1) if k else truth
    return np.bincount(truth[valid] * k + guess[valid], minlength=k * k).reshape(k, k)


def home(model: Module) -> str:
    """Return the device of a model's parameters, to which batches go; "cpu" if it has none."""
    return next((p.device for p in model.parameters()), "cpu")


def as_tensor(value: Any, where: str = "cpu") -> Any:
    """Return an array or a Tensor as a Tensor on a device, anything else as it is."""
    if isinstance(value, np.ndarray):
        return Tensor(device.move(value, where))
    return value.to(where) if isinstance(value, Tensor) else value
