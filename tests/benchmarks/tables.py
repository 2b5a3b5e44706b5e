"""Text of tables, figures and goals: what BENCHMARKS.md and the terminal show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table whose columns line up as plain text too; all but the first ``left`` are set right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (w + 2) if i < left else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    return "\n".join([line(cells[0]), f"|{rule}|", *map(line, cells[1:])])


def milliseconds(seconds: float) -> str:
    """Three figures, which is what a measurement has."""
    return figures(1e3 * seconds)


def figures(value: float) -> str:
    """Three significant figures without an exponent: 0.0123, 1.23, 12.3, 1234."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def spread(quartiles: Sequence[float]) -> str:
    """Return `0.87 (0.85-0.90)`: median and quartiles."""
    low, middle, high = quartiles
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def geometric_mean(values: Iterable[float]) -> float:
    """exp(mean(log v)): twice as long here and half as long there cancel."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs))


def goal(text: str, value: float, limit: float, show: Callable[[float], str] = "{:.2f}".format) -> str:
    """Return one line of a list: what was measured, what was wanted, reached or not."""
    verdict = "reached" if value <= limit else "**not reached**"
    return f"- {text}: {show(value)}; wanted at most {limit:g}: {verdict}"


def cores(count: int) -> str:
    """Return `1 thread`, `2 threads`."""
    return f"{count} thread" if count == 1 else f"{count} threads"
