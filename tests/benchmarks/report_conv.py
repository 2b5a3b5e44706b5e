"""Tables and goals of convolution layers: times, and rounding."""

from __future__ import annotations

from typing import Any

from .layers import DIRECTIONS, LAYERS
from .tables import figures, geometric_mean, goal, milliseconds, spread, table

Row = dict[str, Any]
MEAN, WORST, VGG = 0.9, 1.3, 0.75  # goals: tinyconv's time over PyTorch's, at most
GROUPED = "-g2"  # these layers are there a second time without groups: the mean counts each size once
ROUNDING, WINOGRAD = 2.0, 3e-5  # goals: error over PyTorch's of the direct kernels; error of Winograd's algorithm


def _groups(rows: list[Row]) -> dict[str, dict[str, Row]]:
    """Return {layer: {direction: row}} in the order of the tables."""
    found: dict[str, dict[str, Row]] = {}
    for layer in LAYERS:
        group = {row["direction"]: row for row in rows if row["layer"] == layer.key}
        if group:
            found[layer.key] = group
    return found


def layer_table(rows: list[Row], limit: float | None) -> str:
    """One line per layer and direction; ``limit``: operations per second that these threads reach at most."""
    text = {layer.key: f"{layer.key} {layer.text}" for layer in LAYERS}
    lines: list[list[str]] = []
    for key, group in _groups(rows).items():
        for direction, row in group.items():
            rate = row["flop"] / row["ours"][1]
            lines.append([
                "" if lines and lines[-1][-1] == key else text[key], direction, milliseconds(row["ours"][1]),
                milliseconds(row["torch"][1]), spread(row["ratio"]), figures(rate / 1e9),
                f"{100 * rate / limit:.0f} %" if limit else "", key,
            ])  # fmt: skip
    header = ["layer", "direction", "tinyconv ms", "PyTorch ms", "ratio", "GFLOP/s", "of limit"]
    return table(header, [line[:-1] for line in lines], 2)


def totals(rows: list[Row]) -> dict[str, tuple[float, float]]:
    """Return {layer: seconds of all three directions, (tinyconv, PyTorch)} for layers that have all three."""
    return {
        key: (sum(row["ours"][1] for row in group.values()), sum(row["torch"][1] for row in group.values()))
        for key, group in _groups(rows).items()
        if len(group) == len(DIRECTIONS)
    }


def total_table(rows: list[Row]) -> str:
    """One line per layer: the sum of its directions, and each direction's ratio."""
    groups = _groups(rows)
    lines = [
        [
            key,
            milliseconds(a),
            milliseconds(b),
            f"{a / b:.2f}",
            *(f"{groups[key][d]['ratio'][1]:.2f}" for d in DIRECTIONS),
        ]
        for key, (a, b) in totals(rows).items()
    ]
    return table(["layer, all directions", "tinyconv ms", "PyTorch ms", "ratio", *DIRECTIONS], lines)


def goals(rows: list[Row]) -> list[str]:
    """Return the lines that say which goals of speed are reached."""
    ratios = {key: a / b for key, (a, b) in totals(rows).items()}
    if not ratios:
        return []
    worst = max(ratios, key=lambda key: ratios[key])
    mean = [ratio for key, ratio in ratios.items() if not key.endswith(GROUPED)]
    vgg = [ratio for key, ratio in ratios.items() if key.startswith("vgg.")]
    lines = [goal(f"convolution, geometric mean of {len(mean)} layers", geometric_mean(mean), MEAN)] if mean else []
    lines += [goal(f"convolution, slowest layer ({worst})", ratios[worst], WORST)]
    return lines + ([goal(f"convolution, geometric mean of VGG's {len(vgg)}", geometric_mean(vgg), VGG)] if vgg else [])


def accuracy_table(rows: list[Row]) -> str:
    """One line per layer: tinyconv's (with Winograd's algorithm: and without it) and PyTorch's error per direction."""
    lines = []
    for key, group in _groups(rows).items():
        line = [key]
        for row in (group.get(direction) for direction in DIRECTIONS):
            both = f"{row['ours']:.1e} W, {row['direct']:.1e}" if row and row["winograd"] else ""
            line += [both or f"{row['direct']:.1e}", f"{row['torch']:.1e}"] if row else ["", ""]
        lines.append(line)
    header = ["layer", *(f"{d}, {who}" for d in DIRECTIONS for who in ("tinyconv", "PyTorch"))]
    return table(header, lines)


def accuracy_goals(rows: list[Row]) -> list[str]:
    """Return the lines that say which goals of rounding are reached."""
    lines = []
    direct = {f"{r['layer']} {r['direction']}": r["direct"] / r["torch"] for r in rows}
    if direct:
        worst = max(direct, key=lambda key: direct[key])
        lines.append(goal(f"rounding of the direct kernels over PyTorch's, worst ({worst})", direct[worst], ROUNDING))
    wino = {f"{r['layer']} {r['direction']}": r["ours"] for r in rows if r["winograd"]}
    if wino:
        worst = max(wino, key=lambda key: wino[key])
        lines.append(goal(f"rounding of Winograd's algorithm, worst ({worst})", wino[worst], WINOGRAD, "{:.1e}".format))
    return lines
