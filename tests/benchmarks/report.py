"""BENCHMARKS.md from the results, and the same tables on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from . import report_conv, report_rest
from .isa import TITLES
from .tables import cores

Row = dict[str, Any]
FILE = Path(__file__).resolve().parents[2] / "BENCHMARKS.md"
NOTES = Path(__file__).parent / "notes.md"
ABOUT = Path(__file__).parent / "about.md"
ORDER = ("limit", "conv", "ops", "networks", "forward", "memory", "accuracy", "startup")

_PLAIN: dict[str, tuple[str, Callable[[list[Row]], str]]] = {
    "limit": ("What the machine can do at most", report_rest.limit_table),
    "memory": ("Peak memory", report_rest.memory_table),
    "accuracy": ("Rounding: largest error over largest value, against float64", report_conv.accuracy_table),
    "startup": ("Import and first steps", report_rest.startup_table),
}
_BY_THREADS: dict[str, tuple[str, Callable[[list[Row]], str]]] = {
    "ops": ("Operations", report_rest.ops_table),
    "networks": ("Networks", report_rest.network_table),
    "forward": ("Networks, forward only", report_rest.forward_table),
}
_TIME_GOALS: dict[str, Callable[[list[Row]], list[str]]] = {
    "conv": report_conv.goals,
    "ops": report_rest.ops_goals,
    "networks": report_rest.network_goals,
}
_GOALS: dict[str, Callable[[list[Row]], list[str]]] = {
    "memory": report_rest.memory_goals,
    "accuracy": report_conv.accuracy_goals,
    "startup": report_rest.startup_goals,
}


def render(results: Iterable[dict[str, Any]]) -> str:
    """Return BENCHMARKS.md: goals, machine and tables for each instruction set and processor, then the notes."""
    sections = [ABOUT.read_text(encoding="utf-8").strip()]
    for result in results:
        title = f"{result['machine']['processor']}: {TITLES[result['isa']]}"
        sections += [f"## {title}", "### Goals", goals(result["parts"]), "### Machine", machine(result["machine"])]
        sections += [section(name, result["parts"]) for name in ORDER if name in result["parts"]]
    sections += [NOTES.read_text(encoding="utf-8").strip()]
    return "\n\n".join(filter(None, sections)) + "\n"


def section(name: str, parts: dict[str, list[Row]]) -> str:
    """Return heading and tables of one part."""
    rows = parts[name]
    if name == "conv":
        return _conv(rows, parts.get("limit", []))
    if name in _PLAIN:
        title, show = _PLAIN[name]
        return "\n\n".join(filter(None, [f"### {title}", _stamp(rows), show(rows)]))
    title, show = _BY_THREADS[name]
    blocks = []
    for count, group in _by_threads(rows):
        blocks += [f"### {title}, {cores(count)}", _stamp(group), show(group)]
    return "\n\n".join(filter(None, blocks))


def _conv(rows: list[Row], limits: list[Row]) -> str:
    most = {row["threads"]: row["flops"] for row in limits}
    blocks = []
    for count, group in _by_threads(rows):
        blocks += [f"### Convolution layers, {cores(count)}", _stamp(group)]
        blocks += [report_conv.total_table(group), report_conv.layer_table(group, most.get(count))]
    return "\n\n".join(filter(None, blocks))


def goals(parts: dict[str, list[Row]]) -> str:
    """Return the list of all goals, under headings."""
    blocks = []
    for count in sorted({row["threads"] for name in _TIME_GOALS for row in parts.get(name, [])}):
        here = {name: [row for row in parts.get(name, []) if row["threads"] == count] for name in _TIME_GOALS}
        lines = [line for name, found in _TIME_GOALS.items() for line in found(here[name])]
        blocks += [f"Time, tinyconv / PyTorch, {cores(count)}:", "\n".join(lines)]
    lines = [line for name, found in _GOALS.items() for line in found(parts.get(name, []))]
    return "\n\n".join(filter(None, [*blocks, "Other:" if lines else "", "\n".join(lines)]))


def machine(found: dict[str, Any]) -> str:
    """Return the list of what was measured on."""
    lines = []
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        lines += [f"- {name}: {'; '.join(value) if isinstance(value, list) else value}"]
    return "\n".join(lines)


def _by_threads(rows: list[Row]) -> list[tuple[int, list[Row]]]:
    counts = sorted({row["threads"] for row in rows})
    return [(count, [row for row in rows if row["threads"] == count]) for count in counts]


def _stamp(rows: list[Row]) -> str:
    """Return when the rows were measured, and with which kernels: one line, more parts if they are of several runs."""
    stamps = dict.fromkeys((row["date"], row["kernels"]) for row in rows if "date" in row)
    return "; ".join(f"Measured {date}, kernels {kernels}" for date, kernels in stamps) + ("." if stamps else "")
