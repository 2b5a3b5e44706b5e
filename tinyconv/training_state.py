"""What a training run was asked for, and what its callbacks see. See :class:`TrainState`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyconv.history import History, Row

if TYPE_CHECKING:
    from tinyconv.nn import Module


@dataclass
class Settings:
    """What :func:`tinyconv.fit` was asked for, checked."""

    epochs: int
    seed: int
    folder: Path | None
    file: Path | None
    log_every: int
    checkpoint_every: int | None
    schedule_per_step: bool
    resume_command: str | None


@dataclass
class TrainState:
    """What a callback sees.

    Attributes
    ----------
    model, optimizer, history
        As given to ``fit``; ``history`` ends with the epoch just done in ``on_epoch``.
    epoch : int
        The running epoch, from 1.
    step : int
        Optimizer steps done so far, over all epochs.
    loss : float
        Of the last batch.
    batch : Batch
        The last one: ``images, labels = state.batch``.
    outputs
        What the model gave for it.
    evaluation : dict
        In ``on_epoch``: what :func:`tinyconv.evaluate` found on the test loader; empty without one.
    row : dict
        In ``on_epoch``: the epoch's row of the history; what is added to it is logged.
    stop : bool
        Set it to True to end training after this step (``on_step``) or this epoch (``on_epoch``).
    """

    model: Module
    optimizer: Any
    history: History
    epoch: int = 1
    step: int = 0
    loss: float = math.nan
    batch: Any = None
    outputs: Any = None
    evaluation: dict[str, Any] = field(default_factory=dict)
    row: Row = field(default_factory=dict)
    stop: bool = False
