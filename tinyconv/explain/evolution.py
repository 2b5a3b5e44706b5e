"""How what a map responds to changes while the network trains. See :class:`Evolution`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyconv import device
from tinyconv.explain.activations import top_activations
from tinyconv.explain.deconvnet import deconvnet
from tinyconv.explain.layers import check_count
from tinyconv.tensor import Tensor

EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)  # Zeiler & Fergus 2014, fig. 4


@dataclass(frozen=True)
class Snapshot:
    """What the maps of a layer showed at the end of an epoch.

    Attributes
    ----------
    epoch : int
    values : array, (maps,)
        Each map's strongest activation in the whole set.
    images : int64 array, (maps,)
        In which image; where it changes from one snapshot to the next, the projection jumps.
    positions : int64 array, (maps, 2)
    projections : array, (maps, C, H, W)
    """

    epoch: int
    values: np.ndarray
    images: np.ndarray
    positions: np.ndarray
    projections: np.ndarray


class Evolution:
    """A callback for ``tinyconv.fit`` that projects each map's strongest activation at chosen epochs.

    Parameters
    ----------
    images : array or Tensor, (N, C, H, W)
        In which the strongest activation is looked for, prepared as the network takes them: in the paper the training
        set; some hundreds do.
    layers : {name: maps} or sequence of str
        Which maps of which layers; the first eight where only names are given.
    epochs : sequence of int
        After which; the paper's by default.
    unpool : {"write", "add"}
        See :func:`deconvnet`.

    Attributes
    ----------
    snapshots : {layer: list of Snapshot}

    Notes
    -----
    A run that is resumed has the snapshots from there on only: they are not part of a checkpoint.

    Examples
    --------
    >>> watch = Evolution(images, ["pool1", "pool5"], epochs=(1, 2, 5))  # doctest: +SKIP
    >>> tinyconv.fit(model, loader, optimizer=optimizer, epochs=5, callbacks=[watch])  # doctest: +SKIP
    """

    def __init__(
        self, images: Any, layers: Any, *, epochs: Sequence[int] = EPOCHS, unpool: str = "write", batch_size: int = 100
    ) -> None:
        named = dict(layers) if isinstance(layers, dict) else dict.fromkeys(layers)
        if not named:
            raise ValueError("Evolution: layers must name at least one layer, got none")
        self.images, self.layers, self.unpool, self.batch_size = images, named, unpool, batch_size
        self.epochs = {check_count("Evolution", "epochs", epoch) for epoch in epochs}
        self.snapshots: dict[str, list[Snapshot]] = {name: [] for name in named}

    def on_epoch(self, state: Any) -> None:
        """Keep what the maps show now, if this epoch is one of those chosen."""
        if state.epoch in self.epochs:
            self.record(state.model, state.epoch)

    def record(self, model: Any, epoch: int) -> None:
        """Keep what the maps of this model show, under this epoch (0: before training)."""
        for layer, maps in self.layers.items():
            top = top_activations(model, self.images, layer, 1, maps, self.batch_size)
            shown = np.arange(len(top.values))[:8] if maps is None else np.asarray(maps)
            values, images, positions = (part[: len(shown), 0] for part in top)
            pixels = self.images.data if isinstance(self.images, Tensor) else np.asarray(self.images)
            # The strongest position of each map in its image, which deconvnet takes by itself, is that of ``top``.
            projections = deconvnet(model, device.host(pixels)[images], layer, shown, unpool=self.unpool)
            self.snapshots[layer].append(Snapshot(epoch, values, images, positions, projections))
