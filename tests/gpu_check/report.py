"""What the checks found: printed as it comes, and written to BENCHMARKS.md if asked."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tinyconv

ROOT = Path(__file__).resolve().parents[2]
# BENCHMARKS.md is made of notes.md and of measurements; a section in only one of them would be lost with the next run.
FILES = ROOT / "BENCHMARKS.md", ROOT / "tests" / "benchmarks" / "notes.md"
TITLE = "## On a GPU"
Row = dict[str, Any]


class StoppedError(Exception):
    """The GPU answers every call with the error of an earlier kernel: nothing more can be found out."""


class Report:
    """Failures and figures; whatever is added is on the screen at once."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.lines: list[str] = []
        self.figures: list[Row] = []

    def say(self, line: str) -> None:
        """Print a line and keep it."""
        print(line, flush=True)
        self.lines.append(line)

    def fail(self, what: str, line: str) -> None:
        """Print a failure and keep it."""
        self.failures.append(f"{what}: {line}")
        print(f"FAILED {what}: {line}", flush=True)

    def add(self, row: Row) -> None:
        """Print a figure and keep it."""
        self.figures.append(row)
        print(f"  {text_of(row)}", flush=True)

    @contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """Inside, an error is a failure of ``what``, and the checks go on; unless the GPU is lost to this process."""
        try:
            yield
        except Exception as problem:  # whatever it is: one row must not hide the others
            self.fail(what, f"{type(problem).__name__}: {str(problem).strip()[:600]}")
            try:
                tinyconv.cuda.synchronize()
            except Exception as second:
                line = str(second).strip().partition("\n")[0]
                raise StoppedError(
                    f"stopped at {what}: after this error the GPU answers every call with {line}; nothing that "
                    "follows was checked. Run what failed alone, in a process of its own (--rows WORD)"
                ) from None


def text_of(row: Row) -> str:
    """Return one figure as a line."""
    share = f"   {row['share']:4.0%} of {row['of']}" if "share" in row else ""
    beside = f"   PyTorch {row['torch']:.4g}   time ratio {row['ratio']:.2f}" if row.get("torch") else ""
    return f"{row['what']:<52} {row['ours']:.4g} {row['unit']}{share}{beside}"


def table(figures: list[Row]) -> str:
    """Return the figures as a table of Markdown."""
    lines = ["| what | tinyconv | unit | share of the limit | PyTorch | time, tinyconv / PyTorch |", "|---" * 6 + "|"]
    for row in figures:
        share = f"{row['share']:.0%} of {row['of']}" if "share" in row else ""
        beside = f"{row['torch']:.4g} | {row['ratio']:.2f}" if row.get("torch") else " | "
        lines.append(f"| {row['what']} | {row['ours']:.4g} | {row['unit']} | {share} | {beside} |")
    return "\n".join(lines)


def section(report: Report, machine: str) -> str:
    """Return the section of BENCHMARKS.md."""
    told = "\n".join(f"- {line}" for line in report.lines)
    wrong = "\n".join(f"- FAILED {line}" for line in report.failures)
    count = len(report.failures)
    found = f"{count} failures:\n\n{wrong}" if count else "No difference from the CPU was found."
    limits = (
        "Limits are measured, too: copying is the fastest copy here, GEMM the fastest product of two matrices of "
        "4096 x 4096 in the same arithmetic, PyTorch's or ours. Floating-point operations are those of the layers' "
        "definitions, bytes those of every array once."
    )
    parts = [TITLE, f"`make gpu-check`, {time.strftime('%Y-%m-%d')}: {machine}.", told, found]
    return "\n\n".join(filter(None, [*parts, *([limits, table(report.figures)] if report.figures else [])])) + "\n"


def write(text: str, files: tuple[Path, ...] = FILES) -> None:
    """Put the section in place of the one that is there, or at the end."""
    for file in files:
        old = file.read_text(encoding="utf-8")
        pattern = re.compile(rf"^{re.escape(TITLE)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
        if not pattern.search(old):
            old = f"{old.rstrip()}\n\n{TITLE}\n"
        new = pattern.sub(lambda _: f"{text.rstrip()}\n\n", old, count=1)
        file.write_text(new.rstrip() + "\n", encoding="utf-8")
