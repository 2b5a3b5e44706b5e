"""What a training run prints: bars on a terminal, one line per epoch elsewhere. See :class:`Progress`."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from tinyconv.history import Row, describe

_PATIENCE = 2.0  # seconds of a first step after which the reader is told what takes so long


class Progress:
    """Prints a run's progress; ``shown`` False prints nothing.

    A bar with an ETA needs a terminal: where standard error is a pipe or a file, or in CI, each epoch is one line.
    """

    def __init__(self, shown: bool, epochs: int, every: int = 1) -> None:
        self.shown, self.epochs, self.every = shown, epochs, every
        self.bars = shown and sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("CI")
        self._bar: Any = None

    def say(self, text: str) -> None:
        """Print one line, above the bar if there is one."""
        if not self.shown:
            return
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, flush=True)

    def epoch(self, number: int, steps: int | None, done: int) -> None:
        """Begin the bar of epoch ``number`` (from 1); ``steps`` None: nobody knows how many there are."""
        if self.bars:
            from tqdm import tqdm

            title = f"epoch {number}/{self.epochs}"
            self._bar = tqdm(total=steps, initial=done, desc=title, unit="step", leave=False, dynamic_ncols=True)

    def step(self, loss: float) -> None:
        """Advance the bar by one step."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            self._bar.update()

    def evaluating(self) -> None:
        """Say on the bar that the test set is being run."""
        if self._bar is not None:
            self._bar.set_postfix_str("evaluating")

    def end_epoch(self, row: Row) -> None:
        """End the bar and print the epoch's line."""
        self.close()
        if row["epoch"] % self.every == 0 or row["epoch"] >= self.epochs:
            self.say(describe(row, self.epochs))

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class CompileNotice:
    """Inside, a line says that kernels are being compiled if the work takes longer than two seconds.

    Numba compiles a kernel when it is first called, and keeps it on the disk: without a word, the first minute of a
    first run looks like a hang.
    """

    def __init__(self, progress: Progress) -> None:
        self._timer = threading.Timer(_PATIENCE, progress.say, ["compiling kernels (once)..."])
        self._timer.daemon = True

    def __enter__(self) -> CompileNotice:
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        self._timer.join()
