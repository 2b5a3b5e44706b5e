"""The tables and goals of convolution layers, from the rows that `conv.measure` yields."""

from __future__ import annotations

from typing import Any

from .layers import DIRECTIONS, LAYERS
from .tables import figures, geometric_mean, goal, milliseconds, spread, table

Row = dict[str, Any]


def layer_table(rows: list[Row], limit: float) -> str:
    """One line per layer and direction; ``limit``: operations per second that these threads reach at most."""
    text = {layer.key: layer.text for layer in LAYERS}
    lines = []
    for row in rows:
        rate = row["flop"] / row["ours"][1]
        first = row["direction"] == DIRECTIONS[0]
        lines.append([
            f"{row['layer']} {text.get(row['layer'], '')}" if first else "",
            row["direction"], milliseconds(row["ours"][1]), milliseconds(row["torch"][1]), spread(row["ratio"]),
            figures(rate / 1e9), f"{100 * rate / limit:.0f} %",
        ])  # fmt: skip
    return table(["layer", "", "tinyconv ms", "PyTorch ms", "ratio", "GFLOP/s", "of limit"], lines)


def totals(rows: list[Row]) -> dict[str, tuple[float, float]]:
    """Return {layer: seconds of all three directions, (tinyconv, PyTorch)} of the layers that have all three."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["layer"], []).append(row)
    whole = {key: group for key, group in found.items() if len(group) == len(DIRECTIONS)}
    return {key: (sum(r["ours"][1] for r in g), sum(r["torch"][1] for r in g)) for key, g in whole.items()}


def total_table(rows: list[Row]) -> str:
    """One line per layer: the sum of its three directions, and each direction's ratio."""
    ratio = {(row["layer"], row["direction"]): row["ratio"][1] for row in rows}
    lines = [
        [key, milliseconds(a), milliseconds(b), f"{a / b:.2f}", *(f"{ratio[key, d]:.2f}" for d in DIRECTIONS)]
        for key, (a, b) in totals(rows).items()
    ]
    return table(["layer, all three", "tinyconv ms", "PyTorch ms", "ratio", *DIRECTIONS], lines)


def goals(rows: list[Row]) -> list[str]:
    """Return the lines that say which goals are reached."""
    ratios = {key: a / b for key, (a, b) in totals(rows).items()}
    if not ratios:
        return []
    worst = max(ratios, key=lambda key: ratios[key])
    lines = [
        goal(f"geometric mean over {len(ratios)} convolution layers, tinyconv / PyTorch", geometric_mean(ratios.values()), 0.9),
        goal(f"slowest layer, {worst}", ratios[worst], 1.3),
    ]
    vgg = [ratio for key, ratio in ratios.items() if key.startswith("vgg.")]
    return lines + ([goal(f"geometric mean over VGG's {len(vgg)} layers", geometric_mean(vgg), 0.75)] if vgg else [])
