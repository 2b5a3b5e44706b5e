"""Stopping a long run politely: Ctrl-C and SIGTERM become a request that the run answers between two steps."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

EXIT_CODE = 130  # 128 + SIGINT, what a shell reports for Ctrl-C
left = False  # whether leave() ended the program: then a lesson's step is not done
COMMAND = "TINYCONV_COMMAND"  # in the environment: what the reader typed, if a command of ours runs this program
advised = False  # whether the reader has been told how to go on
_resume_option: str | None = None


class Interrupts:
    """Inside, the first SIGINT or SIGTERM only sets ``requested``; a second one stops at once (KeyboardInterrupt).

    Signals that the process was started to ignore (``nohup``, a shell's background job) stay ignored. Python delivers
    signals to the main thread only, so elsewhere this does nothing. ``saving``: whether the run has a place to save to.
    """

    def __init__(self, saving: bool = True) -> None:
        self.requested: str | None = None
        self.saving = saving
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number).name
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # RuntimeError: the signal came inside a print
            then = ", then saving" if self.saving else ""
            print(f"\nstopping after this batch{then} (once more: stop at once)", file=sys.stderr, flush=True)


def leave() -> NoReturn:
    """End the program with exit code 130; in an interactive session only the cell, by KeyboardInterrupt."""
    global left
    left = True
    if hasattr(sys, "ps1") or "ipykernel" in sys.modules:
        raise KeyboardInterrupt("training was interrupted; its state is saved")
    raise SystemExit(EXIT_CODE)


def offer_resume(option: str) -> None:
    """Say that this program, run again with ``option``, resumes (a lesson's ``--resume``)."""
    global _resume_option
    _resume_option = option


def resume_command(file: Path) -> str:
    """Return what resumes a training whose checkpoint is ``file``."""
    global advised
    if _resume_option is None:
        return f'the same program, with fit(..., resume="{file}")'
    advised = True
    return _with_resume(shlex.split(os.environ[COMMAND]) if COMMAND in os.environ else sys.orig_argv)


def farewell(program: str) -> str:
    """Return the line for the reader who has stopped ``program``: how to go on, if that is known."""
    global advised
    advised = True
    command = os.environ.get(COMMAND)
    if command is None:
        return f"{program} was interrupted"
    if _resume_option is None:
        return f"{program} was interrupted; run it again with: {command}"
    return f"{program} was interrupted; go on with: {_with_resume(shlex.split(command))}"


def _with_resume(command: list[str]) -> str:
    assert _resume_option is not None
    return shlex.join(command if _resume_option in command else [*command, _resume_option])
