"""Statistics for batch normalisation, averaged over batches after training. See :func:`average_statistics`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinyconv.function import no_grad
from tinyconv.nn.module import Module
from tinyconv.nn.norm import BatchNorm1d, BatchNorm2d


@no_grad()
def average_statistics(model: Module, batches: Iterable[Any]) -> int:
    """Replace the running statistics of batch normalisation by their mean over some batches.

    Moving averages favour the last batches, and lag behind weights that still move. The released ResNets have true
    averages over a large part of the training images instead (He et al. 2015, their code's notes). The images run
    through the model in training mode; nothing else of it changes.

    Parameters
    ----------
    model : Module
    batches : iterable of Tensor (N, ...), or of tuples that begin with one
        Training images, as the model takes them; large batches are better.

    Returns
    -------
    int
        How many batches there were.

    Raises
    ------
    ValueError
        The model has no batch normalisation with running statistics, or there was no batch.
    """
    layers: list[Any] = [
        m for m in model.modules() if isinstance(m, (BatchNorm1d, BatchNorm2d)) and m.running_mean is not None
    ]
    if not layers:
        raise ValueError("average_statistics: the model must have batch normalisation with running statistics")
    before = [(module, module.training) for module in model.modules()]
    kept = [(layer.momentum, layer.num_batches_tracked.item()) for layer in layers]
    count = 0
    try:
        for module in model.modules():
            module.training = module in layers  # dropout stays off
        for layer in layers:
            layer.num_batches_tracked.fill_(0)
            layer.momentum = None  # all batches count alike, and the first replaces what was there
        for batch in batches:
            model(batch[0] if isinstance(batch, tuple) else batch)
            count += 1
    finally:
        for layer, (momentum, batches_before) in zip(layers, kept, strict=True):
            layer.momentum = momentum
            if not count:
                layer.num_batches_tracked.fill_(batches_before)
        for module, training in before:
            module.training = training
    if not count:
        raise ValueError("average_statistics: wanted at least one batch, got none")
    return count
