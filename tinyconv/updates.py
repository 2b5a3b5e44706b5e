"""What one step of training does with a batch. See :class:`Update`; :class:`Descent` is the usual one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tinyconv.tensor import Tensor

if TYPE_CHECKING:
    from tinyconv.evaluation import Loss
    from tinyconv.nn import Module


class Updated(NamedTuple):
    """What a step found.

    Attributes
    ----------
    outputs
        Of the model; class scores (N, K) are counted as right or wrong, anything else (None too) is not.
    loss : float
        Of the batch, before the weights changed.
    measures : dict of float
        More numbers of this batch; their means over the epoch stand in its row. Names of the row itself are taken.
    """

    outputs: Any
    loss: float
    measures: dict[str, float] = {}  # noqa: RUF012  (never written to)


class Update(Protocol):
    """One step: look at a batch, change the model's weights through its optimizer.

    An update that finds a loss which is not finite takes no step by it and returns it: training then ends. Random draws
    follow ``step``, or :mod:`tinyconv.random`, so that a resumed run repeats them. An attribute ``settings`` (JSON
    values) is kept in checkpoints: a run can only be resumed with the same ones.

    Examples
    --------
    >>> def update(model, optimizer, images, labels, step):
    ...     outputs = model(images)
    ...     loss = cross_entropy(outputs, labels)
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return Updated(outputs, loss.item())
    """

    def __call__(self, model: Any, optimizer: Any, images: Tensor, labels: Tensor, step: int) -> Updated:
        """Do step number ``step`` (from 0)."""
        ...


@dataclass
class Descent:
    """Mean loss of the batch, its gradients, one step of the optimizer."""

    loss: Loss
    settings: None = field(default=None, init=False)

    def __call__(self, model: Module, optimizer: Any, images: Tensor, labels: Tensor, step: int) -> Updated:
        outputs = self.outputs(model, images, labels)
        loss = self.loss(outputs, labels)
        value = float(loss.item())
        if math.isfinite(value):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return Updated(outputs, value)

    def outputs(self, model: Module, images: Tensor, labels: Tensor) -> Any:
        """Return what the model makes of a batch."""
        return model(images)


@dataclass
class PairedDescent(Descent):
    """Descent of a model that is given both sides of a pair: an image and its sentence, ``model(images, labels)``."""

    def outputs(self, model: Module, images: Tensor, labels: Tensor) -> Any:
        """Return what the model makes of a batch of pairs."""
        return model(images, labels)
