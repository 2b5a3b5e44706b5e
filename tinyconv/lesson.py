"""What every lesson step begins with: arguments, random numbers, output folder, figures. See :func:`lesson_step`."""

from __future__ import annotations

import argparse
import atexit
import datetime
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyconv import interrupt, random
from tinyconv.files import atomic_write, read_json, writable_folder, write_text

if TYPE_CHECKING:
    from tinyconv.nn import Module

OUTPUT = "tinyconv-output"
_STEP = re.compile(r"step(\d+)_")


def lesson_step(name: str) -> Lesson:
    """Return the helper of a lesson step; its first line: ``lesson = tinyconv.lesson_step(__name__)``.

    Reads ``--smoke`` (a run of seconds, to see that it works), ``--out DIR``, ``--seed N`` and ``--resume`` from the
    command line, if the step is the program that runs, and passes over what else stands there. In a notebook, or when
    imported, it reads nothing. ``TINYCONV_SMOKE=1`` in the environment is ``--smoke`` for notebooks.

    Parameters
    ----------
    name : str
        The step's ``__name__``.
    """
    # A notebook has no __file__; its kernel runs in the notebook's folder.
    file = sys._getframe(1).f_globals.get("__file__")
    script = Path(file).resolve() if file and not _in_notebook() else None
    arguments = sys.argv[1:] if name == "__main__" and script and not _in_notebook() else []
    lesson = Lesson(script, _parse(script, arguments))
    random.manual_seed(lesson.seed)
    if "matplotlib" not in sys.modules and not _in_notebook() and _headless():
        os.environ.setdefault("MPLBACKEND", "Agg")
    if name == "__main__" and script and not _in_notebook():
        try:
            lesson.out  # noqa: B018  (a folder that cannot be written to is found now, not after the work)
        except OSError as problem:
            raise SystemExit(str(problem)) from None
        atexit.register(lesson._mark_done_at_exit)
        sys.excepthook = _quiet_interruption(script.stem, sys.excepthook)
    return lesson


class Lesson:
    """A running step of a lesson.

    Attributes
    ----------
    smoke : bool
        Whether the step shall only show that it works, in under 5 seconds.
    seed : int
        Given by ``--seed``, 0 by default; ``tinyconv.manual_seed`` has been called with it.
    rng : np.random.Generator
        For the step's own draws.
    name, number : str
        Of the lesson, such as "01_alexnet" and "01".
    """

    def __init__(self, script: Path | None, options: argparse.Namespace) -> None:
        self.script = script
        folder = script.parent if script else Path.cwd()
        self.name = folder.name
        numbered = re.match(r"\d+", folder.name)
        self.number = numbered.group() if numbered else folder.name
        self.smoke: bool = options.smoke
        self.seed: int = options.seed
        self._resume: bool = options.resume
        self.rng = random.generator(self.seed, "lesson")
        # A smoke run has a folder of its own: what it trains for a second must not pass for a trained model later.
        self._out = Path(options.out) if options.out else Path(OUTPUT) / self.number / ("smoke" if self.smoke else "")

    @property
    def resume(self) -> bool:
        """Whether ``--resume`` was given; a training step passes it to ``tinyconv.fit``, which may then offer it."""
        interrupt.offer_resume("--resume")
        return self._resume

    @property
    def out(self) -> Path:
        """The folder for what the step writes, ``./tinyconv-output/NN``; it exists."""
        return writable_folder(self._out, "lesson", "choose one: --out DIR")

    # ------------------------------------------------------------------------------------------------------- figures
    def save(self, fig: Any, name: str, *, alt: str) -> Path:
        """Save a figure as ``out/name.png``, with its description, and print where it is.

        Parameters
        ----------
        fig : matplotlib Figure
        name : str
            File name without folder and ending.
        alt : str
            What the figure shows, in a sentence, for those who cannot see it. It is stored in the PNG's metadata and,
            with all figures of the lesson, in ``out/figures.md``.

        Returns
        -------
        Path
            Of the PNG.
        """
        name = name.removesuffix(".png")
        if not alt or not alt.strip():
            raise ValueError(f"lesson.save: alt must say in a sentence what the figure {name!r} shows, got {alt!r}")
        if not re.fullmatch(r"[\w.-]+", name):
            raise ValueError(f"lesson.save: name must be a plain file name such as 'filters', got {name!r}")
        if not hasattr(fig, "savefig"):
            raise TypeError(f"lesson.save: fig must be a matplotlib Figure, got {type(fig).__name__}")
        alt = " ".join(alt.split())
        path = self.out / f"{name}.png"
        atomic_write(path, lambda file: fig.savefig(file, format="png", dpi=120, metadata={"Description": alt}))
        self._list_figure(path.name, alt)
        if "matplotlib.pyplot" in sys.modules and not _in_notebook():  # a notebook shows the figures left open
            sys.modules["matplotlib.pyplot"].close(fig)
        print(f"figure: {path}")
        return path

    def _list_figure(self, file: str, alt: str) -> None:
        index = self.out / "figures.md"
        lines = index.read_text("utf-8").splitlines() if index.exists() else [f"# Figures of lesson {self.name}"]
        entries = [line for line in lines if line and not line.endswith(f"]({file})")]
        entries.append(f"![{alt.replace('[', '(').replace(']', ')')}]({file})")
        write_text(index, "\n\n".join(entries) + "\n")

    # -------------------------------------------------------------------------------------------------------- models
    def checkpoint(self, name: str = "model") -> Path:
        """Return where the lesson's training step leaves its model: ``out/model.npz``."""
        return self.out / f"{name}.npz"

    def load_or_train(
        self,
        build: Callable[[], Module],
        train: Callable[[Module], Any],
        *,
        name: str = "model",
        short: str = "a short training",
        step: str | None = None,
    ) -> Module:
        """Return the lesson's trained model, in evaluation mode.

        It comes from the checkpoint that ``stepK_train.py`` left in the output folder. Without one, ``train(build())``
        runs now, once: its result is kept as ``name-short.npz`` until the real one is there.

        Parameters
        ----------
        build : callable
            () -> Module, untrained.
        train : callable
            (Module) -> anything; trains it in place, briefly.
        name : str
            Of the checkpoint, see :meth:`checkpoint`.
        short : str
            What ``train`` does and how long it takes, for the line that is printed: "2 epochs of 2,000 images, 20 s".
        step : str, optional
            File name of the step that leaves the checkpoint, if it is not the training step. "": none does, ``train``
            is the whole training.
        """
        from tinyconv.checkpoint import Checkpoint, CheckpointError, save

        step, model = self._training_step() if step is None else step, build()
        full, brief = self.checkpoint(name), self.out / f"{name}-short.npz"
        found = [Checkpoint.read(path) for path in (full, brief) if path.exists()]
        # A training that was interrupted in its first epoch has left a file, but no trained model.
        found = [checkpoint for checkpoint in found if checkpoint.meta.get("epoch") != 0]
        if found:
            path, meta = found[0].path, found[0].meta
            try:
                found[0].into(model)
            except CheckpointError as problem:
                raise CheckpointError(f"{problem}. If the lesson has changed since, delete {path}") from None
            epochs = f", {meta['epoch']} epochs" if "epoch" in meta else ""
            whole = path == full or not step
            print(f"model: {path}{epochs}" if whole else f"model: {path}: {short}; {step} trains in full")
        else:
            print(f"model: no {full} yet{f' ({step} makes it)' if step else ''}, so now {short}", flush=True)
            train(model)
            save(brief if step else full, model)
        model.eval()
        return model

    def _training_step(self) -> str:
        steps = sorted(self.script.parent.glob("step*_train.py")) if self.script else []
        return steps[0].name if steps else "the lesson's training step"

    # ------------------------------------------------------------------------------------------------------ the end
    def next(self, step: str | None = None, why: str = "") -> None:
        """Print which step comes next, and note that this one is done.

        Parameters
        ----------
        step : str, optional
            File name of the next step; by default the one with the next number in this folder.
        why : str
            What it is about, in a few words.
        """
        if step is None and self.script is not None:
            steps = steps_of(self.script.parent)
            later = steps[steps.index(self.script) + 1 :] if self.script in steps else []
            step = later[0].name if later else None
        self._mark_done()
        print(f"next: {step or 'the lesson ends here'}{f', {why}' if why else ''}")

    def _mark_done(self) -> None:
        if self.smoke or self.script is None:
            return
        done = done_steps()
        done.setdefault(self.name, {})[self.script.stem] = datetime.date.today().isoformat()
        write_text(Path(OUTPUT) / "done.json", json.dumps(done, indent=1, sort_keys=True) + "\n")

    def _mark_done_at_exit(self) -> None:
        """Note the step as done if the script came to its end (no exception, no interrupted training)."""
        if interrupt.left:
            if interrupt.COMMAND in os.environ and not interrupt.advised and self.script is not None:
                print(interrupt.farewell(self.script.stem), file=sys.stderr)
        elif getattr(sys, "last_value", None) is None:
            try:
                self._mark_done()
            except OSError as problem:
                print(f"lesson: could not note that this step is done ({problem})", file=sys.stderr)


# -------------------------------------------------------------------------------------------- what a step's file says


@dataclass
class Header:
    """The first cell of a step: its title and its line ``minutes | needs | next``."""

    title: str
    minutes: float | None
    needs: str
    next: str


def read_header(script: Path) -> Header:
    """Return what a step's first markdown cell says about it."""
    cell: list[str] = []
    for line in script.read_text("utf-8").splitlines()[:40]:
        if line.startswith("# %%") and cell:
            break
        if line.startswith("#") and not line.startswith("# %%"):
            cell.append(line.removeprefix("#").strip())
    title = next((line.lstrip("# ") for line in cell if line.startswith("#")), script.stem)
    fields = {"minutes": "", "needs": "", "next": ""}
    for part in next((line for line in cell if line.count("|") >= 2), "").split("|"):
        for name in fields:
            if name in part and not fields[name]:
                fields[name] = part.replace(name, "", 1).strip(" :*")
    minutes = re.search(r"\d+(\.\d+)?", fields["minutes"])
    return Header(title, float(minutes.group()) if minutes else None, fields["needs"], fields["next"])


def steps_of(folder: Path) -> list[Path]:
    """Return the step scripts of a lesson in the order of their numbers."""
    numbered = [(int(found.group(1)), path) for path in folder.glob("step*.py") if (found := _STEP.match(path.name))]
    return [path for _, path in sorted(numbered)]


def done_steps(root: Path | None = None) -> dict[str, dict[str, str]]:
    """Return the steps that came to their end: {lesson: {step: ISO date}}, from ``tinyconv-output/done.json``."""
    found = read_json((root or Path()) / OUTPUT / "done.json", {})
    return {name: steps for name, steps in found.items() if isinstance(steps, dict)} if isinstance(found, dict) else {}


def _parse(script: Path | None, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=script.name if script else "lesson",
        description=read_header(script).title if script and script.suffix == ".py" else None,
        allow_abbrev=False,
    )
    smoke = os.environ.get("TINYCONV_SMOKE", "") not in ("", "0")
    parser.add_argument("--smoke", action="store_true", default=smoke, help="only show that it works, in seconds")
    parser.add_argument("--out", metavar="DIR", help=f"folder for figures and models (./{OUTPUT}/NN)")
    parser.add_argument("--seed", type=int, default=0, help="of every random number (0)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    return parser.parse_known_args(arguments)[0]


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


def _quiet_interruption(step: str, others: Callable[..., Any]) -> Callable[..., None]:
    """Return what prints a line for Ctrl-C where Python would print a traceback, and ends the program in order."""

    def hook(kind: type[BaseException], value: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(f"\n{interrupt.farewell(step)}", file=sys.stderr)
            raise SystemExit(interrupt.EXIT_CODE)
        else:
            others(kind, value, trace)

    return hook


def _headless() -> bool:
    return sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
