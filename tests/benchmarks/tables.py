"""Text of tables and figures: what BENCHMARKS.md and the terminal show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up as plain text too; all but the first are set to the right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    return "\n".join([line(cells[0]), f"|{rule}|", *map(line, cells[1:])])


def milliseconds(seconds: float) -> str:
    """Three figures, as many as a measurement has."""
    return figures(1e3 * seconds)


def figures(value: float) -> str:
    """Three significant figures without an exponent: 0.0123, 1.23, 12.3, 1234."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def spread(quartiles: Sequence[float]) -> str:
    """Return `0.87 (0.85-0.90)`: median and interquartile range."""
    low, middle, high = quartiles
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def geometric_mean(values: Iterable[float]) -> float:
    """exp(mean(log v)): doubling here and halving there cancel."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs))


def goal(text: str, value: float, limit: float, digits: int = 2) -> str:
    """Return one line of a list: what was wanted, what was measured, reached or not."""
    return f"- {text}: {value:.{digits}f}, wanted at most {limit:g}: {'reached' if value <= limit else '**not reached**'}"
