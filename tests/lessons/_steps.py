"""What must hold of every lesson's step scripts, without running them. See :class:`StepFiles`."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from _exercises import load

import tinyconv
from tinyconv.lesson import read_header, steps_of

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "lessons"


def script_of(lesson: Path, number: int) -> Path:
    """Return a step's file."""
    (script,) = lesson.glob(f"step{number}_*.py")
    return script


def run_step(script: Path, folder: Path, *arguments: str) -> str:
    """Run a script with --smoke in a folder, warnings as errors; return what it printed."""
    return _run(folder, "-W", "error", str(script), "--smoke", *arguments)


def run_in_full(script: Path, folder: Path, timeout: int = 120) -> str:
    """Run a script in a folder; return what it printed."""
    return _run(folder, str(script), timeout=timeout)


def _run(folder: Path, *arguments: str, timeout: int = 120) -> str:
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
        timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported(script: Path, folder: Path) -> tuple[Any, io.StringIO]:
    """Import a step in this process as with --smoke, in a folder; return it, and where its prints went."""
    threads, text = tinyconv.get_num_threads(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(text):
        patch.chdir(folder)
        patch.setenv("TINYCONV_SMOKE", "1")
        patch.setenv("MPLBACKEND", "Agg")
        patch.syspath_prepend(str(script.parent))
        try:
            return load(script, f"lesson_{script.parent.name[:2]}_{script.stem}_run"), text
        finally:
            tinyconv.set_num_threads(threads)


def check_step(step: Path, last: str = "exercises.py") -> None:
    """Check that a step says what it needs, names the one after it (``last`` after the last), and is in the README."""
    steps, header, source = steps_of(step.parent), read_header(step), step.read_text("utf-8")
    assert header.title and header.minutes and header.needs
    later = steps[steps.index(step) + 1 :]
    assert header.next == (later[0].name if later else last)
    assert f"]({step.name})" in (step.parent / "README.md").read_text("utf-8")
    assert 20 <= len(source.splitlines()) <= 150
    assert source.index("lesson = tinyconv.lesson_step(__name__)") < source.index("lesson.next(")


class StepFiles:
    """Derive a class ``Test...`` from it and set ``lesson``, the lesson's folder in ``lessons/``."""

    lesson: str

    @property
    def folder(self) -> Path:
        """The lesson's folder."""
        return LESSONS / self.lesson

    @property
    def steps(self) -> list[Path]:
        """The steps, in order."""
        return steps_of(self.folder)

    def test_every_step_says_minutes_needs_and_next(self) -> None:
        assert self.steps
        for step in self.steps:
            header = read_header(step)
            assert header.title != step.stem, step.name
            assert header.minutes, step.name
            assert header.needs, step.name
            assert (self.folder / header.next).is_file(), f"{step.name}: next is {header.next!r}"

    def test_every_step_leads_to_the_one_after_it(self) -> None:
        for step, after in zip(self.steps, self.steps[1:], strict=False):
            assert read_header(step).next == after.name, step.name

    def test_every_step_has_20_to_150_lines(self) -> None:
        assert {s.name: n for s in self.steps if not 20 <= (n := len(s.read_text("utf-8").splitlines())) <= 150} == {}

    def test_every_step_begins_with_lesson_step_and_ends_with_the_next(self) -> None:
        for step in self.steps:
            tree = ast.parse(step.read_text("utf-8"))
            first = next(node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom)))
            assert ast.unparse(first) == "lesson = tinyconv.lesson_step(__name__)", step.name
            assert ast.unparse(tree.body[-1]).startswith("lesson.next("), step.name

    def test_the_readme_lists_every_step(self) -> None:
        text = (self.folder / "README.md").read_text("utf-8")
        assert [step.name for step in self.steps if step.name not in text] == []
