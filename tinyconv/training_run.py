"""One run of training: its steps, its state in a checkpoint, its end. :func:`tinyconv.fit` is the way to use it."""

from __future__ import annotations

import inspect
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import closing, nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tinyconv import evaluation, interrupt, random
from tinyconv.checkpoint import Checkpoint, CheckpointError, save
from tinyconv.checkpoint_file import pack, plain, unpack
from tinyconv.evaluation import Loss, Meter, as_tensor, home
from tinyconv.files import writable_folder
from tinyconv.history import History, Log, Row
from tinyconv.nn.modes import kept_modes
from tinyconv.progress import CompileNotice, Progress
from tinyconv.threads import limited_threads
from tinyconv.training_state import Settings, TrainState
from tinyconv.updates import Descent, Update, Updated

if TYPE_CHECKING:
    from tinyconv.nn import Module


class Run:
    """A training run: the state of :class:`TrainState`, where it is in the data, and what it writes."""

    def __init__(
        self,
        model: Module,
        optimizer: Any,
        train_loader: Iterable[Any],
        test_loader: Iterable[Any] | None,
        loss: Loss,
        update: Update | None,
        schedule: Any,
        callbacks: Sequence[Any],
        settings: Settings,
        progress: Progress,
    ) -> None:
        own = {id(p) for p in model.parameters()}
        if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
            raise ValueError(
                "fit: the optimizer must hold parameters of the model, got none of them; "
                "make it from model.parameters() of this very model"
            )
        self.model, self.optimizer, self.loss, self.schedule = model, optimizer, loss, schedule
        self.update = Descent(loss) if update is None else update
        self.train_loader, self.test_loader = train_loader, test_loader
        self.settings, self.progress = settings, progress
        self.on_step = [c.on_step for c in callbacks if hasattr(c, "on_step")]
        both = [c for c in callbacks if hasattr(c, "on_epoch") or not hasattr(c, "on_step")]
        self.on_epoch = [c.on_epoch if hasattr(c, "on_epoch") else c for c in both]
        self.state = TrainState(model, optimizer, History())
        self.batch = 0  # batches of this epoch that are done
        self.meter, self.seconds = Meter(), 0.0  # of this epoch
        self.first = True  # step of this process
        self.log = Log(None)
        self.interrupts = interrupt.Interrupts(saving=settings.file is not None)

    # -------------------------------------------------------------------------------------------------- where to begin
    def start(self, resume: bool | str | Path) -> None:
        """Take up the state of a checkpoint, or begin anew; open the log."""
        file = self.settings.file
        if resume is True and file is None:
            raise ValueError("fit: resume=True needs to know where the checkpoint is; give out= or checkpoint=")
        source = file if resume is True else Path(resume) if resume else None
        plain(getattr(self.model, "config", None))  # what cannot be saved shall fail now and not after an epoch
        if file is not None:
            writable_folder(file.parent, "fit", "choose another: out=, or --out of tinyconv train")
        here = False  # whether the run goes on in the file it was in
        if source is not None and (source.exists() or resume is not True):
            self._take_up(source)
            here = file is not None and file.exists() and file.samefile(source)
        if not here and file is not None and file.exists():
            kept = file.with_name(f"{file.stem}.previous{file.suffix}")
            if source is not None and kept.exists() and kept.samefile(source):  # going back to it: not over the source
                kept = file.with_name(f"{file.stem}.abandoned{file.suffix}")
            os.replace(file, kept)
            self.progress.say(f"an earlier run's checkpoint is kept as {kept}")
        elif resume is True and not here:
            self.progress.say(f"nothing to resume: there is no {file}; training from the beginning")
        if self.settings.folder is not None:
            done = (len(self.state.history), self.state.step)
            self.log = Log(self.settings.folder / "train.jsonl", done if here else None)
            if not here:  # gone on with from another folder: its epochs belong to this run too
                for row in self.state.history:
                    self.log.write("epoch", row)

    def _take_up(self, source: Path) -> None:
        checkpoint = Checkpoint.read(source)
        meta = checkpoint.meta
        record = meta.get("training")
        if not isinstance(record, dict):
            raise CheckpointError(f"fit: resume needs a checkpoint that fit wrote, got {source}, with a model only")
        wanted, found = self._identity(), record["identity"]
        differing = [
            f"{name}: now {value!r}, in the file {found.get(name)!r}"
            for name, value in wanted.items()
            if value != found.get(name)
        ]
        if differing:
            raise CheckpointError(
                f"fit: {source} is of another run ({'; '.join(differing)}); "
                "resume with the arguments it began with, or start anew with resume=False"
            )
        checkpoint.into(self.model, self.optimizer)
        if self.schedule is not None:
            self.schedule.load_state_dict(unpack(record["schedule"], checkpoint.arrays))
        self.state.history.rows[:] = record["history"]
        self.state.step, self.batch = meta["step"], meta["position"]["batch"]
        self.state.epoch = meta["position"]["epoch"] + 1
        self.meter, self.seconds = Meter(**record["meter"]), record["seconds"]
        done, most = meta["epoch"], self.settings.epochs
        if done >= most:
            self.progress.say(f"{source} has {done} epochs already, and {most} are wanted: ask for more to go on")
        else:
            self.progress.say(f"resuming {source}: {done} of {most} epochs, {self.state.step} steps are done")

    def _identity(self) -> dict[str, Any]:
        """Return what must be equal in a resumed run."""
        loader = self.train_loader
        names = ("batch_size", "shuffle", "drop_last", "seed", "world_size")
        found = {f"loader's {name}": getattr(loader, name) for name in names if hasattr(loader, name)}
        if hasattr(loader, "dataset"):
            found["training images"] = len(loader.dataset)
        kinds: dict[str, Any] = {"optimizer": type(self.optimizer).__name__, "update": None}
        kinds |= {"schedule": None, "schedule's unit": None}
        if type(self.update) is not Descent:
            kinds["update"] = [type(self.update).__name__, getattr(self.update, "settings", None)]
        if self.schedule is not None:
            kinds["schedule"] = type(self.schedule).__name__
            kinds["schedule's unit"] = "step" if self.settings.schedule_per_step else "epoch"
        return plain({"seed": self.settings.seed, **kinds, **found})

    # ------------------------------------------------------------------------------------------------------- training
    def train(self) -> History:
        """Run the epochs that are left."""
        with self.interrupts, closing(self.log), closing(self.progress), random.seeded(self.settings.seed):
            self.model.train()
            with limited_threads(self.model):
                while self.state.epoch <= self.settings.epochs and not self.state.stop:
                    self._epoch()
        self._plot()
        return self.state.history

    def _epoch(self) -> None:
        state = self.state
        steps = len(self.train_loader) if isinstance(self.train_loader, Sized) else None
        if steps is None or self.batch < steps:
            self.progress.epoch(state.epoch, steps, self.batch)
            for batch in self._batches():
                self._step(batch)
                if self.interrupts.requested:
                    self._leave()
                if state.stop:
                    self.save()
                    return
                if self.settings.checkpoint_every and state.step % self.settings.checkpoint_every == 0:
                    self.save()
        if self.meter.images == 0:
            raise ValueError(
                "fit: the training loader must give at least one batch, got none; "
                "with drop_last=True the batch size must not exceed the number of images"
            )
        row = self._evaluated_row()
        if row is None:
            self._leave()
        state.row = row
        state.history.rows.append(row)
        self._call_schedule(row)
        self._call(self.on_epoch)
        try:
            row.update(plain(row))
        except TypeError as problem:
            raise TypeError(f"fit: callbacks may add numbers and texts to state.row, got {problem}") from None
        self.log.write("epoch", row)
        self.progress.end_epoch(row)
        state.epoch, self.batch, self.meter, self.seconds = state.epoch + 1, 0, Meter(), 0.0
        self.save()
        if self.interrupts.requested and state.epoch <= self.settings.epochs:  # after the last one nothing is left
            self._leave()

    def _batches(self) -> Iterator[Any]:
        """Yield the epoch's batches from ``self.batch`` on."""
        loader = self.train_loader
        if hasattr(loader, "start_at"):
            loader.start_at(self.state.epoch - 1, self.batch)
            batches = iter(loader)
        else:
            batches = islice(iter(loader), self.batch, None)
        try:
            yield from batches
        finally:
            if hasattr(batches, "close"):
                batches.close()  # ends the loader's threads

    def _step(self, batch: Any) -> None:
        state, began = self.state, time.perf_counter()
        where = home(self.model)
        images, labels = as_tensor(batch[0], where), as_tensor(batch[1], where)
        samples = getattr(batch, "indices", None)
        notice = CompileNotice(self.progress) if self.first else nullcontext()
        with notice, random.training_step(state.step, samples):
            found = self.update(self.model, self.optimizer, images, labels, state.step)
            if not isinstance(found, Updated) or not isinstance(found.loss, (int, float)):
                right = isinstance(found, Updated)
                what = f"a loss of type {type(found.loss).__name__}" if right else type(found).__name__
                raise TypeError(
                    "fit: update must return tinyconv.updates.Updated(outputs, loss, measures), whose loss is a number "
                    f"(loss.item()), got {what}"
                )
            outputs, state.loss, measures = found
            if not math.isfinite(state.loss):
                self._diverged()
        self.first = False
        state.step, self.batch = state.step + 1, self.batch + 1
        if self.schedule is not None and self.settings.schedule_per_step:
            self.schedule.step()
        self.meter.add(state.loss, labels, evaluation.confusion(outputs, labels), measures)
        self.seconds += time.perf_counter() - began
        state.batch, state.outputs = batch, outputs
        self.progress.step(state.loss)
        if state.step % self.settings.log_every == 0:
            row = {"epoch": state.epoch, "step": state.step, "loss": state.loss, "lr": self._lr()}
            self.log.write("step", row | {"seconds": round(self.seconds, 3)})
        self._call(self.on_step)

    def _call(self, callbacks: Sequence[Callable[[TrainState], Any]]) -> None:
        """Run callbacks; a figure made in evaluation mode must not leave dropout off for the next step."""
        if callbacks:
            with kept_modes(self.model):
                for callback in callbacks:
                    callback(self.state)

    def _diverged(self) -> None:
        lr, file = self._lr(), self.settings.file
        saved = f" The checkpoint {file} is from before." if file is not None and file.exists() else ""
        advice = f"lower the learning rate (now {lr:g}; try {lr / 10:g})" if lr else "lower the learning rate"
        raise FloatingPointError(
            f"fit: wanted a finite loss, got {self.state.loss} at step {self.state.step + 1} "
            f"(epoch {self.state.epoch}); {advice}, and see that images and initial weights are finite.{saved}"
        )

    def _lr(self) -> float | None:
        lr = self.optimizer.param_groups[0].get("lr")
        return None if lr is None else float(lr)

    def _evaluated_row(self) -> Row | None:
        """Return the epoch's row; None if the evaluation was interrupted."""
        state, meter = self.state, self.meter
        row: Row = {"epoch": state.epoch, "step": state.step, "lr": self._lr()}
        row |= {"train_loss": meter.loss, "train_accuracy": meter.accuracy}
        taken = sorted(meter.measures.keys() & (row.keys() | {"test_loss", "test_accuracy", "seconds"}))
        if taken:
            raise ValueError(f"fit: an update's measures must not be named like the row's own, got {', '.join(taken)}")
        row |= meter.measures
        if self.test_loader is not None:
            self.progress.evaluating()
            found = evaluation.run(self.model, self.test_loader, self.loss, lambda: self.interrupts.requested)
            if not found:
                return None
            row |= {"test_loss": found["loss"], "test_accuracy": found["accuracy"]}
            state.evaluation = found
        return row | {"seconds": round(self.seconds, 3)}

    def _call_schedule(self, row: Row) -> None:
        if self.schedule is None or self.settings.schedule_per_step:
            return
        if inspect.signature(self.schedule.step).parameters:  # ReduceLROnPlateau's step(value)
            name = "accuracy" if getattr(self.schedule, "mode", "min") == "max" else "loss"
            self.schedule.step(row.get(f"test_{name}", row[f"train_{name}"]))
        else:
            self.schedule.step()

    # ------------------------------------------------------------------------------------------------- what is written
    def save(self) -> None:
        """Write the checkpoint, if there is a place for it."""
        file, state = self.settings.file, self.state
        if file is None:
            return
        arrays: dict[str, Any] = {}
        schedule = None if self.schedule is None else pack(self.schedule.state_dict(), "schedule", arrays)
        assert not arrays, "a schedule's state holds numbers only"
        record = {
            "identity": self._identity(),
            "epochs": self.settings.epochs,
            "history": state.history.rows,
            "meter": asdict(self.meter),
            "seconds": self.seconds,
            "schedule": schedule,
        }
        save(
            file, self.model, self.optimizer,
            classes=getattr(getattr(self.train_loader, "dataset", None), "classes", None),
            transform=input_transform(self.test_loader if self.test_loader is not None else self.train_loader),
            epoch=len(state.history),
            step=state.step,
            seed=self.settings.seed,
            position={"epoch": state.epoch - 1, "batch": self.batch},
            training=record,
        )  # fmt: skip

    def _plot(self) -> None:
        if self.settings.folder is not None and self.state.history.rows:
            config = getattr(self.model, "config", None) or {}
            name = config.get("builder", type(self.model).__name__)
            self.state.history.plot(self.settings.folder / "curves.png", title=f"Training of {name}")

    def _leave(self) -> NoReturn:
        """Save, say how to go on, and end the program."""
        state, file = self.state, self.settings.file
        self.save()
        self.progress.close()
        where = f"saved as {file}" if file is not None else "nothing was saved, this training has no place for it"
        at = f"in epoch {state.epoch} after training step {state.step}"
        print(f"\nstopped by {self.interrupts.requested} {at}; {where}")
        if file is not None:
            print(f"resume with: {self.settings.resume_command or interrupt.resume_command(file)}", flush=True)
        interrupt.leave()


def input_transform(loader: Any) -> dict[str, Any] | None:
    """Return the description of what a loader's images went through, innermost first.

    None if it cannot be written down, or is random: of a training's images without test images.
    """
    found: list[Any] = []
    part = loader
    while part is not None:
        if getattr(part, "transform", None) is not None:
            found.insert(0, part.transform)
        part = getattr(part, "dataset", None)
    if any(getattr(transform, "random", False) for transform in found):
        return None
    try:
        described = [transform.describe() for transform in found]
    except (AttributeError, TypeError):  # a function of the user's own
        return None
    return described[0] if len(described) == 1 else {"kind": "Compose", "transforms": described} if described else None
