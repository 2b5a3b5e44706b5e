"""Pictures of which region of an image a word or snippet belongs to, as matplotlib Figures. See :func:`grounding`.

Boxes are (R, 4) in pixels of the image, +0 convention; box 0 is the whole image and is drawn as its frame. Whatever a
colour says is also written: regions have numbers, and every word names the one it won.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.captioning.beside import (
    LETTER,
    SILENT,
    SIZE,
    canvas,
    check_boxes,
    check_image,
    check_numbers,
    check_regions,
    check_words,
    draw_regions,
    join,
    name_of,
    write,
)
from tinyconv.text.segments import segments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PITCH, _STACK = 0.24, 0.62  # inches from one word to the next, from one beta to the next
_PALE = 0.25  # opacity of a word whose score is 0 or less
_BARS = 40  # words of word_norms at most


def grounding(
    image: Any, boxes: Any, words: Sequence[str], regions: Sequence[int], scores: Sequence[float], title: str = ""
) -> Figure:
    """Draw an image with its regions, and each word of a sentence joined to the region that it won.

    The words stand below each other, each with its score v_i^T s_t and the region's number. The nearer its score is to
    0, the paler a word and its line are; what has 0 or less is palest. Regions without a word are thin and grey.

    Parameters
    ----------
    image : array or Tensor, (C, H, W)
        Values in [0, 1] are drawn as they are, others from the darkest to the brightest.
    boxes : array, (R, 4)
    words : list of T str
    regions : list of T ints
        Of each word, 0 to R - 1.
    scores : list of T floats
    title : str

    Raises
    ------
    ValueError
        A shape does not fit, a region does not exist, no words, or a number is not finite.

    Notes
    -----
    Karpathy & Fei-Fei 2015, sec. 3.1.3; their fig. 5 shows the same for whole segments.
    """
    pixels, edges = check_image("grounding", image), check_boxes("grounding", boxes)
    texts = check_words("grounding", "words", words)
    won = check_regions("grounding", regions, len(edges), len(texts))
    values = check_numbers("grounding", "scores", scores, len(texts))
    share = (values / max(float(values.max()), 1e-12)).clip(0, 1)
    notes = [f"{value:6.2f}  {name_of(k)}" for value, k in zip(values, won, strict=True)]
    return _listed(pixels, edges, texts, won, notes, _PALE + (1 - _PALE) * share, title)


def regions_described(
    image: Any,
    boxes: Any,
    snippets: Sequence[str],
    log_probabilities: Sequence[float] | None = None,
    title: str = "",
) -> Figure:
    """Draw an image with its regions, and beside it what was generated for each.

    Parameters
    ----------
    image, title
        As for :func:`grounding`.
    boxes : array, (R, 4)
        The described regions; here the first one is a region like the others. R may be 0.
    snippets : list of R str
    log_probabilities : list of R floats, optional

    Raises
    ------
    ValueError
        As :func:`grounding`.
    """
    op = "regions_described"
    pixels = check_image(op, image)
    rows, columns = pixels.shape[1:]
    given = np.asarray(boxes, float)
    if len(given) != len(snippets):
        raise ValueError(f"{op}: snippets must be as many as the {len(given)} boxes, got {len(snippets)}")
    edges = check_boxes(op, [[0, 0, columns, rows]] if not len(given) else np.vstack([[0, 0, columns, rows], given]))
    texts = [text or SILENT for text in check_words(op, "snippets", snippets)] if len(snippets) else []
    won = list(range(1, len(texts) + 1))
    notes = ["" for _ in texts]
    if log_probabilities is not None:
        values = check_numbers(op, "log_probabilities", log_probabilities, len(texts), "box")
        notes = [f"{value:7.2f}" for value in values]
    named = [f"{k} {text}" for k, text in zip(won, texts, strict=True)]
    return _listed(pixels, edges, named, won, notes, np.ones(len(texts)), title or ("" if texts else "no regions"))


def segments_figure(
    image: Any, boxes: Any, words: Sequence[str], found: Mapping[float, Sequence[int]], title: str = ""
) -> Figure:
    """Draw an image with its regions, and the sentence once for each beta, its segments underlined.

    A segment is a run of words of one region; its bar has the region's colour and under it stands the region's number.
    The larger beta, the longer the segments.

    Parameters
    ----------
    image, boxes, words, title
        As for :func:`grounding`.
    found : {beta: list of T regions}
        What :func:`tinyconv.text.segments.viterbi` found for some values of beta.

    Raises
    ------
    ValueError
        As :func:`grounding`; or ``found`` is empty.
    """
    op = "segments_figure"
    pixels, edges, texts = check_image(op, image), check_boxes(op, boxes), check_words(op, "words", words)
    rows = {beta: check_regions(op, regions, len(edges), len(texts)) for beta, regions in found.items()}
    if not rows:
        raise ValueError(f"{op}: found must have at least one beta, got none")
    labels = [f"beta {beta:g}  " for beta in rows]
    indent = max(map(len, labels))
    starts = indent + np.cumsum([0, *(len(word) + 1 for word in texts)])
    panel = canvas(pixels, float(starts[-1]) * LETTER, _STACK * len(rows), title)
    colours = draw_regions(panel.axes, edges, [k for regions in rows.values() for k in regions])
    for row, (label, regions) in enumerate(zip(labels, rows.values(), strict=True)):
        y = _STACK * (row + 0.25)
        write(panel, 0, y, label)
        for start, word in zip(starts, texts, strict=False):
            write(panel, float(start) * LETTER, y, word)
        for region, first, stop in segments(np.array(regions)):
            left, right = float(starts[first]) * LETTER, float(starts[stop] - 1) * LETTER
            height = panel.top + (y + 0.13) * panel.inch
            ends = [panel.left + x * panel.inch for x in (left, right)]
            panel.axes.plot(ends, [height, height], color=colours[region], lw=2.5, solid_capstyle="butt")
            name = "whole" if region == 0 else str(region)
            write(panel, (left + right) / 2, y + 0.25, name, ha="center", fontsize=SIZE - 2, color="0.3")
    return panel.figure


def word_norms(words: Sequence[str], norms: Sequence[float], title: str = "") -> Figure:
    """Draw the norm of each word's vector as a bar, the longest first: words that are seen have long vectors.

    Of more than 40 words the first 20 and the last 20 are drawn, and the figure says how many lie between.

    Parameters
    ----------
    words : list of str
    norms : list of floats, at least 0

    Raises
    ------
    ValueError
        No words, or not one finite norm of at least 0 for each.
    """
    from matplotlib.figure import Figure  # not pyplot: works in any thread and needs no display

    texts = check_words("word_norms", "words", words)
    values = check_numbers("word_norms", "norms", norms, len(texts))
    if values.min() < 0:
        raise ValueError(f"word_norms: norms must be at least 0, got {values.min():g}")
    order = np.lexsort((np.array(texts), -values))
    between = len(order) - _BARS
    if between > 0:
        order = np.concatenate([order[: _BARS // 2], order[-_BARS // 2 :]])
    figure = Figure(figsize=(4.6, 0.2 * len(order) + 0.9), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(order)) + (np.arange(len(order)) >= _BARS // 2 if between > 0 else 0)
    axes.barh(places, values[order], color="C0", height=0.7)
    for place, k in zip(places, order, strict=True):
        axes.text(float(values[k]), float(place), f" {values[k]:.2f}", va="center", fontsize=SIZE - 2)
    axes.set_yticks(places, [texts[k] for k in order], fontsize=SIZE - 1, parse_math=False)
    if between > 0:
        axes.text(0, _BARS // 2, f" {between} words between", va="center", fontsize=SIZE - 1, color="0.3")
    axes.set(ylim=(places[-1] + 0.6, -0.6), xlim=(0, 1.15 * max(float(values.max()), 1e-12)), xlabel="norm of s_t")
    axes.set_title(title, fontsize=SIZE + 1, parse_math=False)
    return figure


def _listed(
    image: np.ndarray,
    boxes: np.ndarray,
    texts: list[str],
    regions: list[int],
    notes: list[str],
    opacity: np.ndarray,
    title: str,
) -> Figure:
    """Draw lines of text, each joined to its region, with a note after it."""
    wide = max(map(len, texts), default=0) + 1
    letters = wide + max(map(len, notes), default=0)
    panel = canvas(image, letters * LETTER, _PITCH * len(texts), title)
    colours = draw_regions(panel.axes, boxes, regions)
    for row, (text, region, note, alpha) in enumerate(zip(texts, regions, notes, opacity, strict=True)):
        y = _PITCH * (row + 0.5)
        join(panel, boxes[region], panel.top + y * panel.inch, colours[region], float(alpha))
        write(panel, 0, y, text, alpha=float(alpha))
        if note:
            write(panel, wide * LETTER, y, note, alpha=float(alpha), color="0.3")
    return panel.figure
