"""A beam search as a tree, as a matplotlib Figure. See :func:`beam_tree`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinyconv.text.beam import Beam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = 8.0  # points of a letter
_LETTER, _ROW = 0.62 * _SIZE / 72, 0.24  # inches of a letter and from one row to the next
_START, _END = "START", "END"
_PALE = "0.55"  # what was dropped


def beam_tree(beam: Beam, words: Sequence[str], most: int = 60, title: str = "") -> Figure:
    """Draw what a beam search weighed: from START at the left, a node for each hypothesis, a column for each word.

    A node has its word and the sum of log probabilities up to it. The best hypothesis is bold and lies in the first
    row; what the search ended with is numbered by rank; what it dropped is pale, its line dashed. If there are more
    than ``most`` nodes, the hypotheses that it ended with come first, then those that it kept for a while, then the
    dropped ones, the most probable first; "+5" behind a node says how many of its continuations are left out, and the
    line below the tree how many there are in all.

    Parameters
    ----------
    beam : Beam
        What :func:`tinyconv.text.beam.beam_search` returned.
    words : sequence of str
        The vocabulary, ``words[0]`` for the end.
    most : int
        Nodes that are drawn. The paths of all final hypotheses are drawn even if they have more.
    title : str

    Raises
    ------
    ValueError
        The vocabulary has fewer words than the search used, or ``most`` is less than 1.

    Notes
    -----
    Karpathy & Fei-Fei 2015, sec. 3.2 and 4.2: a beam of 7.
    """
    if isinstance(most, bool) or not isinstance(most, (int, np.integer)) or most < 1:
        raise ValueError(f"beam_tree: most must be an int of at least 1, got {most!r}")
    highest = max(node.word for node in beam.nodes)
    if highest >= len(words):
        raise ValueError(f"beam_tree: words must be all {highest + 1} or more of the search, got {len(words)}")
    from matplotlib.figure import Figure  # not pyplot: works in any thread and needs no display

    shown = chosen_nodes(beam, most)
    rows, hidden = _rows(beam, shown)
    texts = {k: _label(beam, k, words) for k in shown}
    ranks = {hypothesis.node: i for i, hypothesis in enumerate(beam.hypotheses, 1)}
    best = set(beam.path(beam.best.node))
    step = (max(map(len, texts.values())) + 5) * _LETTER  # inches of a column
    columns, height = 1 + max(beam.nodes[k].step for k in shown), 1 + max(rows.values())
    figure = Figure(figsize=(step * columns + 0.3, _ROW * height + (0.75 if title else 0.5)), layout="constrained")
    axes = figure.subplots()
    for k in shown:
        node, x, y = beam.nodes[k], beam.nodes[k].step * step, rows[k]
        if node.parent >= 0:
            start = node.parent, (node.step - 1) * step + len(texts[node.parent]) * _LETTER
            axes.plot(
                [start[1], x - 2.5 * _LETTER, x - 0.5 * _LETTER], [rows[start[0]], y, y],
                color="black" if k in best else "0.4" if node.kept else _PALE, lw=2.0 if k in best else 0.8,
                linestyle="-" if node.kept else "--", zorder=2 if k in best else 1,
            )  # fmt: skip
        weight, colour = "bold" if k in best else "normal", "black" if node.kept else _PALE
        note = f"  {ranks[k]}." if k in ranks else f" +{hidden[k]}" if hidden.get(k) else ""
        axes.text(
            x, y, texts[k] + note, fontsize=_SIZE, family="monospace", va="center", weight=weight, color=colour,
            parse_math=False,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5}, zorder=3,
        )  # fmt: skip
    axes.set(xlim=(-0.1, step * columns), ylim=(height - 0.3, -0.7), xticks=[], yticks=[])
    axes.set_frame_on(False)
    axes.set_xlabel(_summary(beam, shown), fontsize=_SIZE)
    if title:
        axes.set_title(title, fontsize=_SIZE + 2, parse_math=False)
    return figure


def chosen_nodes(beam: Beam, most: int) -> list[int]:
    """Return the nodes to draw, in their order: whole paths, as :func:`beam_tree` says which."""
    chosen = {k for hypothesis in beam.hypotheses for k in beam.path(hypothesis.node)}
    others = [k for k in range(len(beam.nodes)) if k not in chosen]
    others.sort(key=lambda k: (not beam.nodes[k].kept, -beam.nodes[k].total, k))  # a parent is no less probable
    for k in others:
        if len(chosen) >= most:
            break
        if beam.nodes[k].parent in chosen:
            chosen.add(k)
    return sorted(chosen)


def _rows(beam: Beam, shown: list[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Return the row of each node, and how many continuations of each are not shown.

    A node lies in the row of its first continuation; that which leads to the most probable hypothesis is the first.
    """
    reach = {k: beam.nodes[k].total if beam.nodes[k].finished else -np.inf for k in shown}
    reach |= {hypothesis.node: hypothesis.log_probability for hypothesis in beam.hypotheses}
    inside, hidden = set(shown), dict.fromkeys(shown, 0)
    below: dict[int, list[int]] = {k: [] for k in shown}
    for k in range(len(beam.nodes) - 1, 0, -1):
        parent = beam.nodes[k].parent
        if k in inside:
            below[parent].append(k)
            reach[parent] = max(reach[parent], reach[k])
        elif parent in inside:
            hidden[parent] += 1
    final = {k for hypothesis in beam.hypotheses for k in beam.path(hypothesis.node)}
    rows: dict[int, int] = {}
    waiting, row = [0], 0
    first = {0}
    while waiting:
        k = waiting.pop()
        row += k not in first
        rows[k] = row
        children = sorted(below[k], key=lambda c: (c not in final, -reach[c], -beam.nodes[c].total, c))
        first.update(children[:1])
        waiting.extend(reversed(children))
    return rows, hidden


def _label(beam: Beam, k: int, words: Sequence[str]) -> str:
    node = beam.nodes[k]
    if node.parent < 0:
        return _START
    return f"{_END if node.finished else words[node.word]} {node.total:.2f}"


def _summary(beam: Beam, shown: list[int]) -> str:
    """Return how much of the search is drawn."""
    left = len(beam.nodes) - len(shown)
    kept = sum(node.kept for node in beam.nodes) - sum(beam.nodes[k].kept for k in shown)
    text = f"{len(shown)} of {len(beam.nodes)} nodes"
    if left:
        text += f"; left out: {left - kept} that were dropped at once, {kept} that were kept for a while"
    return text
