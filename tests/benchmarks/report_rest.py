"""Tables and goals of all parts but convolution."""

from __future__ import annotations

from typing import Any

from .networks import ALL
from .startup import GOALS
from .tables import figures, goal, milliseconds, spread, table

Row = dict[str, Any]
MEMORY, STEP = 1.1, 0.85  # goals: tinyconv's peak over PyTorch's, and its training step's time, at most
_TITLES = {network.name: network.title for network in ALL}
_WAITS = {
    "import": "import, median of 5 processes",
    "cold": "first step, no kernel compiled yet",
    "warm": "first step, kernels in the cache",
}


def limit_table(rows: list[Row]) -> str:
    """One line per number of threads."""
    lines = [[str(r["threads"]), figures(r["flops"] / 1e9), figures(r["copy"] / 1e9)] for r in rows]
    return table(["threads", "multiply-adds in registers, GFLOP/s", "copying memory, GB/s (read + written)"], lines)


def ops_table(rows: list[Row]) -> str:
    """One line per operation."""
    lines = [
        [r["op"], milliseconds(r["ours"][1]), milliseconds(r["torch"][1]), spread(r["ratio"]), _wanted(r["goal"])]
        for r in rows
    ]
    return table(["forward + backward", "tinyconv ms", "PyTorch ms", "ratio", "wanted"], lines)


def _wanted(limit: float | None) -> str:
    return "" if limit is None else f"{limit:g}"


def ops_goals(rows: list[Row]) -> list[str]:
    """Return one line per operation that has a goal."""
    return [goal(row["op"], row["ratio"][1], row["goal"]) for row in rows if row["goal"] is not None]


def forward_table(rows: list[Row]) -> str:
    """One line per network."""
    return network_table(rows, "forward pass")


def network_table(rows: list[Row], what: str = "training step") -> str:
    """One line per network."""
    lines = [
        [_TITLES[r["network"]], str(r["batch"]), milliseconds(r["ours"][1]), milliseconds(r["torch"][1]),
         figures(r["batch"] / r["ours"][1]), figures(r["batch"] / r["torch"][1]), spread(r["ratio"])]
        for r in rows
    ]  # fmt: skip
    header = [what, "batch", "tinyconv ms", "PyTorch ms", "tinyconv images/s", "PyTorch images/s", "ratio"]
    return table(header, lines)


def network_goals(rows: list[Row]) -> list[str]:
    """Return one line per network."""
    return [goal(f"training step, {_TITLES[r['network']]}", r["ratio"][1], STEP) for r in rows]


def memory_table(rows: list[Row]) -> str:
    """One line per network."""
    lines = [
        [_TITLES[r["network"]], str(r["batch"]), f"{r['ours'] / 2**20:.0f}", f"{r['torch'] / 2**20:.0f}",
         f"{r['ours'] / r['torch']:.2f}"]
        for r in rows
    ]  # fmt: skip
    return table(["three training steps", "batch", "tinyconv MiB", "PyTorch MiB", "ratio"], lines)


def memory_goals(rows: list[Row]) -> list[str]:
    """Return one line per network."""
    return [goal(f"peak memory, {_TITLES[r['network']]}", r["ours"] / r["torch"], MEMORY) for r in rows]


def startup_table(rows: list[Row]) -> str:
    """One line per wait."""
    lines = [[_wait(r), f"{r['ours']:.2f}", "" if r["torch"] is None else f"{r['torch']:.2f}"] for r in rows]
    return table(["seconds", "tinyconv", "PyTorch"], lines)


def startup_goals(rows: list[Row]) -> list[str]:
    """Return one line per wait."""
    return [goal(f"{_wait(row)}, seconds", row["ours"], GOALS[row["what"]]) for row in rows]


def _wait(row: Row) -> str:
    return ": ".join(filter(None, [_WAITS[row["what"]], _TITLES.get(row["network"])]))
