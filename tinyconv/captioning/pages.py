"""Pages of images with sentences, generated or found, as matplotlib Figures. See :func:`described`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.captioning.beside import SILENT, SIZE, check_image, check_words
from tinyconv.detection.draw import show_picture
from tinyconv.text.retrieval import rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL, _LINE = 2.3, 0.16  # inches of an image and of a line of text
_LETTERS = 14  # of a line, for each inch of the image under it
_WIDE, _ROW = 1.85, 2.0  # inches of a column and a row of a page of answers
_LONG, _BROAD, _SMALL = 82, 5.0, 0.14  # letters and inches of a line beside an image, and its height


def described(
    images: Any,
    sentences: Sequence[str],
    truths: Sequence[str | Sequence[str]] | None = None,
    *,
    notes: Sequence[str] | None = None,
    columns: int = 4,
    side: float = _CELL,
    title: str = "",
) -> Figure:
    """Draw images, the sentence generated for each above it and a true one below.

    Parameters
    ----------
    images : array or Tensor, (N, C, H, W), or a list of images of any sizes
        Values in [0, 1] are drawn as they are, others from the darkest to the brightest.
    sentences : list of N str
        What was generated; an empty one is said to be empty.
    truths : list of N str or of N lists of str, optional
        Of a list the first is shown.
    notes : list of N str, optional
        A line under the generated sentence, such as its log probability.
    columns : int
        Images of a row.
    side : float
        Inches of an image.
    title : str

    Raises
    ------
    ValueError
        No images, one that is none, or not one sentence for each.
    """
    pixels = _images("described", images)
    if isinstance(columns, bool) or not isinstance(columns, (int, np.integer)) or columns < 1:
        raise ValueError(f"described: columns must be an int of at least 1, got {columns!r}")
    letters = int(_LETTERS * side)
    said = _one_each("described", "sentences", sentences, len(pixels))
    above = [_wrapped(text or SILENT, letters) for text in said]
    if notes is not None:
        added = _one_each("described", "notes", notes, len(pixels))
        above = [f"{text}\n{note}" for text, note in zip(above, added, strict=True)]
    below = ["" for _ in pixels]
    if truths is not None:
        firsts = [text if isinstance(text, str) else next(iter(text), "(none)") for text in truths]
        below = [_wrapped(f"true: {text}", letters) for text in _one_each("described", "truths", firsts, len(pixels))]
    across = min(columns, len(pixels))
    down = -(-len(pixels) // across)
    lines = max(a.count("\n") + b.count("\n") + 2 for a, b in zip(above, below, strict=True))
    figure = _figure(side * across, (side + _LINE * lines) * down + (0.3 if title else 0))
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for panel, image, text, truth in zip(axes, pixels, above, below, strict=False):
        show_picture(panel, image)
        panel.set_title(text, fontsize=SIZE - 1, parse_math=False)  # a dollar is a dollar
        panel.set_xlabel(truth, fontsize=SIZE - 1, color="0.3", parse_math=False)
    for panel in axes[len(pixels) :]:
        panel.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=SIZE + 1, parse_math=False)
    return figure


def retrieval_page(
    images: Any,
    sentences: Sequence[str],
    scores: Any,
    image_of: Any,
    queries: Sequence[int],
    top: int = 5,
    title: str = "",
) -> Figure:
    """Draw what images find among sentences, and what a sentence of each finds among the images.

    For each query two rows: the image with its best sentences, then its first sentence with the best images. What
    belongs to the query is marked by the word "right"; if nothing right is among the best, the row says at which rank
    it is.

    Parameters
    ----------
    images : array or Tensor, (I, C, H, W), or a list of I images
    sentences : list of S str
    scores : array, (I, S)
        S_kl of every image with every sentence.
    image_of : array of int, (S,)
        The image of each sentence.
    queries : list of int
        Images that ask.
    top : int
        Answers that are drawn.
    title : str

    Raises
    ------
    ValueError
        A shape does not fit, a query does not exist, or as :func:`tinyconv.text.retrieval.rank`.
    """
    op = "retrieval_page"
    pixels, texts = _images(op, images), check_words(op, "sentences", sentences)
    values, owner = np.asarray(scores, float), np.asarray(image_of)
    if values.shape != (len(pixels), len(texts)):
        raise ValueError(f"{op}: scores must be {(len(pixels), len(texts))}, images x sentences, got {values.shape}")
    ranks = rank(values, owner)
    asked = [int(k) for k in queries]
    if not asked or min(asked) < 0 or max(asked) >= len(pixels):
        raise ValueError(f"{op}: queries must be at least one, from 0 to {len(pixels) - 1}, got {list(queries)!r}")
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or top < 1:
        raise ValueError(f"{op}: top must be an int of at least 1, got {top!r}")
    shown = min(top, len(pixels))
    answers = [_answers(values[k], texts, owner == k, top, int(ranks.annotation.ranks[k])) for k in asked]
    heights = [x for text in answers for x in (max(_ROW, _SMALL * (text.count("\n") + 2)), _ROW)]
    figure = _figure(max(_WIDE, _BROAD / shown) * (1 + shown), sum(heights) + (0.3 if title else 0))
    grid = figure.add_gridspec(len(heights), 1 + shown, height_ratios=heights)
    for row, (k, answer) in enumerate(zip(asked, answers, strict=True)):
        query = figure.add_subplot(grid[2 * row, 0])
        show_picture(query, pixels[k])
        query.set_title(f"image {k} asks", fontsize=SIZE - 1)
        _text(figure.add_subplot(grid[2 * row, 1:]), answer)
        own = int(np.flatnonzero(owner == k)[0])
        found = np.argsort(-values[:, own], kind="stable")[:shown]
        asks = f'"{_wrapped(texts[own], 22)}"\nasks'
        if k not in found:
            asks += f"\n(right one: rank {ranks.search.ranks[own]})"
        _text(figure.add_subplot(grid[2 * row + 1, 0]), asks)
        for place, i in enumerate(found, 1):
            panel = figure.add_subplot(grid[2 * row + 1, place])
            show_picture(panel, pixels[i])
            panel.set_title(
                f"{place}: {values[i, own]:.2f}{', right' if i == k else ''}",
                fontsize=SIZE - 1, weight="bold" if i == k else "normal",
            )  # fmt: skip
    if title:
        figure.suptitle(title, fontsize=SIZE + 1, parse_math=False)
    return figure


def _answers(scores: np.ndarray, texts: list[str], right: np.ndarray, top: int, rank: int) -> str:
    """Return a paragraph for each of an image's best sentences; if none of them is right, the rank of the first."""
    best = np.argsort(-scores, kind="stable")[:top]
    marks = ["right" if right[j] else "     " for j in best]
    lines = [
        textwrap.fill(f"{i:2}. {scores[j]:8.2f}  {mark}  {texts[j]}", _LONG, subsequent_indent=" " * 21)
        for i, (j, mark) in enumerate(zip(best, marks, strict=True), 1)
    ]
    return "\n".join(lines if right[best].any() else [*lines, f"the first right one has rank {rank}"])


def _text(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    drawn = axes.text(
        0, 0.5, text, fontsize=SIZE - 2, va="center", family="monospace", transform=axes.transAxes, parse_math=False
    )  # fmt: skip
    drawn.set_in_layout(False)  # the figure is made as large as it needs


def _wrapped(text: str, letters: int) -> str:
    return textwrap.fill(" ".join(text.split()), letters)


def _images(op: str, images: Any) -> list[np.ndarray]:
    found = [check_image(op, image) for image in images]
    if not found:
        raise ValueError(f"{op}: images must be at least one, got none")
    return found


def _one_each(op: str, name: str, texts: Sequence[str], count: int) -> list[str]:
    found = check_words(op, name, texts)
    if len(found) != count:
        raise ValueError(f"{op}: {name} must be as many as the {count} images, got {len(found)}")
    return found


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: works in any thread and needs no display

    return Figure(figsize=(width, height), layout="constrained")
