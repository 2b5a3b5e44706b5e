"""The training loop. See :func:`fit`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyconv import errors, random
from tinyconv.evaluation import Loss
from tinyconv.functional.loss import cross_entropy
from tinyconv.history import History
from tinyconv.progress import Progress
from tinyconv.training_run import Run, Settings
from tinyconv.updates import Update

if TYPE_CHECKING:
    from tinyconv.nn import Module


def fit(
    model: Module,
    train_loader: Iterable[Any],
    *,
    loss: Loss = cross_entropy,
    update: Update | None = None,
    optimizer: Any,
    epochs: int,
    test_loader: Iterable[Any] | None = None,
    schedule: Any = None,
    schedule_per: str = "epoch",
    callbacks: Sequence[Any] = (),
    out: str | Path | None = None,
    checkpoint: str | Path | None = None,
    resume: bool | str | Path = False,
    seed: int | None = None,
    progress: bool = True,
    log_every: int = 50,
    print_every: int = 1,
    checkpoint_every: int | None = None,
    resume_command: str | None = None,
) -> History:
    """Train a model, epoch by epoch, so that an interrupted run goes on exactly where it was.

    One step: outputs of a batch, mean loss, gradients, one optimizer step. The state is saved after every epoch, and on
    Ctrl-C or SIGTERM after the running step; then the command that resumes is printed and the program ends with code
    130 (in a notebook: KeyboardInterrupt). A resumed run ends with the same weights, bit by bit, as one that was never
    interrupted, also after SIGKILL or a power cut, on the same machine with the same number of threads.

    Parameters
    ----------
    model : Module
    train_loader : iterable of (images, labels)
        A ``DataLoader``, or a sequence of batches.
    loss : callable
        (outputs, labels) -> mean loss of the batch, a scalar Tensor.
    update : callable, optional
        What a step does: ``update(model, optimizer, images, labels, step)``, which returns an ``Updated(outputs, loss,
        measures)``; see :class:`tinyconv.updates.Update`. ``loss`` is then only that of the test images. By default
        outputs, loss, gradients and one optimizer step.
    optimizer
        With ``step()``, ``zero_grad()``, ``state_dict()``, ``load_state_dict()``.
    epochs : int
        In all, those before a resume included.
    test_loader : iterable, optional
        Evaluated after every epoch.
    schedule : optional
        From :mod:`tinyconv.optim`; its ``step()`` is called after every epoch, or after every optimizer step with
        ``schedule_per="step"``. ReduceLROnPlateau is given the test loss, or the test accuracy if its mode is "max"
        (those of training without ``test_loader``).
    schedule_per : {"epoch", "step"}
    callbacks : sequence
        Functions ``callback(state)``, called after every epoch with a :class:`tinyconv.training_state.TrainState`; or
        objects with a method ``on_epoch(state)`` or ``on_step(state)`` or both.
    out : str or Path, optional
        Folder for ``train.jsonl`` (one line per epoch and every ``log_every`` steps), ``curves.png`` and
        ``checkpoint.npz``. Nothing is written without it.
    checkpoint : str or Path, optional
        Another place for the checkpoint.
    resume : bool or path
        Go on from the checkpoint, if there is one (True), or from this file. The optimizer's settings, its rate among
        them, are then those of the file.
    seed : int, optional
        Of dropout; by default that of ``tinyconv.manual_seed``. Order and augmentation have the loader's seed.
    progress : bool
        Print one line per epoch, and on a terminal a bar.
    log_every, checkpoint_every : int
        Steps between two lines of the log; steps between two checkpoints within an epoch (None: only at its end).
    print_every : int
        Epochs between two printed lines; the last one's is printed in any case.
    resume_command : str, optional
        What to print on an interruption; found out by itself where it can be.

    Returns
    -------
    History
        A row per epoch, those before a resume included.

    Raises
    ------
    ValueError
        An argument is out of range; the loader is empty; the checkpoint does not belong to this model or this run.
    FloatingPointError
        The loss became infinite or NaN. The last checkpoint is from before.

    Examples
    --------
    >>> history = tinyconv.fit(model, loader, optimizer=SGD(model.parameters(), 0.1), epochs=3)  # doctest: +SKIP
    >>> history.plot("curves.png")  # doctest: +SKIP
    """
    counts = {"epochs": epochs, "log_every": log_every, "print_every": print_every}
    limits: dict[str, int | None] = {**counts, "checkpoint_every": checkpoint_every}
    for name, value in limits.items():
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"fit: {name} must be an int of at least 1, got {value!r}")
    errors.check_choice("fit", "schedule_per", schedule_per, ("epoch", "step"))
    folder = None if out is None else Path(out)
    if checkpoint is None and folder is not None:
        checkpoint = folder / "checkpoint.npz"
    settings = Settings(
        epochs=epochs,
        seed=random.initial_seed() if seed is None else int(seed),
        folder=folder,
        file=None if checkpoint is None else Path(checkpoint),
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        schedule_per_step=schedule_per == "step",
        resume_command=resume_command,
    )
    shown = Progress(progress, epochs, print_every)
    run = Run(model, optimizer, train_loader, test_loader, loss, update, schedule, callbacks, settings, shown)
    run.start(resume)
    return run.train()
