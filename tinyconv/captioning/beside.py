"""An image with numbered regions and an area for text beside it, in one coordinate system. See :func:`canvas`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinyconv import device
from tinyconv.detection.draw import draw_box, show_picture
from tinyconv.tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = 9.0  # points of a letter
LETTER = 0.602 * SIZE / 72  # inches from one letter of a monospaced font to the next
WHOLE = "whole image"
SILENT = "(no word)"  # an empty sentence
_SIDE, _GAP, _EDGE, _TITLE = 3.2, 0.9, 0.1, 0.3  # inches: the image's longer side, space for lines, border, title
_COLOURS = [f"C{i}" for i in (0, 1, 2, 3, 4, 5, 6, 8, 9)]  # C7 is the grey of regions that nobody chose


class Canvas(NamedTuple):
    """One axes: an image in its own pixels, y downwards, and the text area right of it."""

    figure: Figure
    axes: Axes
    inch: float  # pixels of the image that an inch has
    left: float  # where the text area begins
    top: float


def canvas(image: np.ndarray, width: float, height: float, title: str = "") -> Canvas:
    """Draw an image and leave an area of this many inches for text at its right, both centred to each other."""
    from matplotlib.figure import Figure  # not pyplot: works in any thread and needs no display

    rows, columns = image.shape[1:]
    inch = max(rows, columns) / _SIDE
    left = columns - 0.5 + _GAP * inch
    middle, half = (rows - 1) / 2, max(rows, height * inch) / 2 + _EDGE * inch
    right = left + (width + _EDGE) * inch
    size = ((right + 0.5) / inch + _EDGE, 2 * half / inch + (_TITLE if title else 0))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    show_picture(axes, image)
    axes.set(xlim=(-0.5 - _EDGE * inch, right), ylim=(middle + half, middle - half), aspect="equal")
    if title:
        axes.set_title(title, fontsize=SIZE + 1, parse_math=False)
    return Canvas(figure, axes, inch, left, middle - height * inch / 2)


def draw_regions(axes: Axes, boxes: np.ndarray, chosen: Sequence[int]) -> dict[int, Any]:
    """Draw the regions and return the colour of each chosen one: numbered, the others thin and grey.

    Region 0 is the whole image: the frame, without a number. Boxes without an area are fillings and are left out.
    """
    colours = {k: "black" if k == 0 else _COLOURS[(k - 1) % len(_COLOURS)] for k in sorted(set(chosen))}
    for k, box in enumerate(boxes):
        if k not in colours and k > 0 and (box[2:] > box[:2]).all():
            draw_box(axes, box, "0.75", ":")
    for k, colour in colours.items():
        draw_box(axes, boxes[k], colour)
        if k > 0:
            axes.text(
                float(boxes[k, 0]) - 0.5, float(boxes[k, 1]) - 0.5, str(k), fontsize=SIZE - 2, va="top", ha="left",
                color="white", bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip
    return colours


def name_of(region: int) -> str:
    """Return what a region is called in words."""
    return WHOLE if region == 0 else f"region {region}"


def join(panel: Canvas, box: np.ndarray, y: float, colour: Any, alpha: float) -> None:
    """Draw a line from the box's right edge, at the height nearest to y, to the text area's left edge at y."""
    from matplotlib.patheffects import withStroke

    start = min(max(y, float(box[1]) - 0.5), float(box[3]) - 0.5)
    ends = [float(box[2]) - 0.5, panel.left - 0.06 * panel.inch]
    (line,) = panel.axes.plot(ends, [start, y], color=colour, alpha=alpha, lw=1.2)
    line.set_path_effects([withStroke(linewidth=2.2, foreground="white", alpha=0.6)])  # to be seen on dark pictures


def write(panel: Canvas, x: float, y: float, text: str, **how: Any) -> None:
    """Write in the text area, x and y in inches from its upper left corner; y is the middle of the line."""
    where = panel.left + x * panel.inch, panel.top + y * panel.inch
    usual: dict[str, Any] = {"fontsize": SIZE, "family": "monospace", "ha": "left", "va": "center"}
    usual |= {"parse_math": False}  # a dollar is a dollar
    panel.axes.text(*where, text, **usual | how)


# ------------------------------------------------------------------------------------------------------------- checks


def check_image(op: str, image: Any) -> np.ndarray:
    """Return the image as an array (C, H, W) of finite values, C one or three, or raise."""
    found = device.host(image.data) if isinstance(image, Tensor) else np.asarray(image)
    if found.ndim != 3 or found.shape[0] not in (1, 3) or 0 in found.shape:
        raise ValueError(f"{op}: image must be (1, H, W) or (3, H, W), got shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{op}: image must be finite, got NaN or infinite pixels")
    return found


def check_boxes(op: str, boxes: Any) -> np.ndarray:
    """Return boxes (R, 4), the whole image first, or raise."""
    found = np.asarray(boxes, float)
    if found.ndim != 2 or found.shape[1:] != (4,) or len(found) < 1:
        raise ValueError(f"{op}: boxes must be (R, 4), the whole image first, got shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{op}: boxes must be finite, got NaN or infinite edges")
    return found


def check_regions(op: str, regions: Sequence[int], count: int, wanted: int, of: str = "word") -> list[int]:
    """Return one region for each word, all from 0 to count - 1, or raise."""
    found = np.asarray(regions)
    if found.shape != (wanted,) or found.dtype.kind not in "iu":
        raise ValueError(f"{op}: regions must be {wanted} ints, one for each {of}, got {regions!r}")
    if wanted and not (found.min() >= 0 and found.max() < count):
        raise ValueError(f"{op}: regions must be from 0 to {count - 1}, got {regions!r}")
    return [int(k) for k in found]


def check_numbers(op: str, name: str, values: Any, wanted: int, of: str = "word") -> np.ndarray:
    """Return one finite number for each word, or raise."""
    found = np.asarray(values, float)
    if found.shape != (wanted,):
        raise ValueError(f"{op}: {name} must be {wanted} numbers, one for each {of}, got shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{op}: {name} must be finite, got {found[~np.isfinite(found)][0]}")
    return found


def check_words(op: str, name: str, words: Any) -> list[str]:
    """Return a list of at least one str, or raise."""
    found = [words] if isinstance(words, str) else list(words)
    if isinstance(words, str) or not found or not all(isinstance(word, str) for word in found):
        raise ValueError(f"{op}: {name} must be a list of at least one str, got {words!r}")
    return found
