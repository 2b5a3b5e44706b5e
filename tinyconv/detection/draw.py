"""Pictures with boxes: what a detector found and what is there. See :func:`draw_detections`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.explain.figures import plain
from tinyconv.vision.detections import Detections, Truth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE = 6.0  # inches of the picture's longer side
_INSTEAD_OF_GREY = {14: "white", 15: "deeppink"}  # which is hard to see on photographs
_LETTER = 0.62, 1.5  # width and height of a letter and its line, as multiples of the font's size


def draw_detections(
    image: np.ndarray,
    detections: Detections,
    classes: Sequence[str] | None,
    *,
    truth: Truth | None = None,
    least: float = 0.5,
    ax: Axes | None = None,
) -> Figure:
    """Draw a picture with the boxes of what was found in it, each with its class and score.

    A class has one colour. Of boxes that cover each other the better one is on top.

    Parameters
    ----------
    image : array, (C, H, W)
        One or three channels. Values in [0, 1] are drawn as they are, others from the darkest to the brightest.
    detections : Detections
        In pixels of ``image``, +0 convention.
    classes : sequence of str, optional
        Name of each label; "class k" without.
    truth : Truth, optional
        What is there, drawn in dashed lines, the difficult objects in dotted ones.
    least : float
        Detections with a lower score are left out.
    ax : Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    Figure
        The new one, or that of ``ax``.

    Raises
    ------
    ValueError
        The image has another shape, or a label has no name.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"draw_detections: image must be (1, H, W) or (3, H, W), got shape {image.shape}")
    known = [detections.labels] if truth is None else [detections.labels, truth.labels]
    highest = max((int(labels.max()) for labels in known if len(labels)), default=-1)
    if classes is not None and highest >= len(classes):
        raise ValueError(f"draw_detections: classes must name every label up to {highest}, got {len(classes)} names")
    names = [f"class {k}" for k in range(highest + 1)] if classes is None else [str(name) for name in classes]
    axes = _new_axes(image.shape[1:]) if ax is None else ax
    show_picture(axes, image)
    if truth is not None:
        for box, label, hard in zip(truth.boxes, truth.labels, truth.difficult, strict=True):
            draw_box(axes, box, _colour(int(label), len(names)), ":" if hard else "--")
    shown = np.flatnonzero(detections.scores >= least)
    for k in shown[np.argsort(detections.scores[shown], kind="stable")]:
        label, colour = int(detections.labels[k]), _colour(int(detections.labels[k]), len(names))
        draw_box(axes, detections.boxes[k], colour, "-")
        _write(axes, detections.boxes[k], f"{names[label]} {detections.scores[k]:.2f}", colour)
    if not len(shown):
        axes.set_title(f"nothing with a score of {least:g} or more", fontsize=8)
    return axes.get_figure(root=True)  # type: ignore[return-value]  # of these axes there is one


def show_picture(axes: Axes, image: np.ndarray) -> None:
    """Draw an image (C, H, W) alone: values in [0, 1] as they are, others from the darkest to the brightest."""
    inside = image.min(initial=1) >= 0 and image.max(initial=0) <= 1
    axes.imshow(plain(image, 0, 1) if inside else plain(image), interpolation="nearest")
    axes.set(xticks=[], yticks=[], xlim=(-0.5, image.shape[2] - 0.5), ylim=(image.shape[1] - 0.5, -0.5))
    axes.set_frame_on(False)


def _new_axes(size: tuple[int, ...]) -> Axes:
    from matplotlib.figure import Figure  # not pyplot: works in any thread and needs no display

    height, width = (max(1.5, _SIDE * side / max(size)) for side in size)
    return Figure(figsize=(width, height), layout="constrained").subplots()


def _colour(label: int, classes: int) -> tuple[float, ...]:
    """Return the colour of a class: one of ten, or of twenty if there are more classes."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if classes > 10 and label % 20 in _INSTEAD_OF_GREY:
        return to_rgb(_INSTEAD_OF_GREY[label % 20])
    table = colormaps["tab10" if classes <= 10 else "tab20"]
    return to_rgb(table(label % table.N))


def draw_box(axes: Axes, box: np.ndarray, colour: Any, line: str = "-") -> None:
    """Draw a box; the middle of a pixel has a whole number in a picture, its edge lies one half before."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    x1, y1, x2, y2 = (float(side) for side in box)
    frame = Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linestyle=line, lw=1.6)
    frame.set_path_effects([withStroke(linewidth=2.8, foreground="black")])  # to be seen on every picture
    axes.add_patch(frame)


def _write(axes: Axes, box: np.ndarray, text: str, colour: Any) -> None:
    """Write a label over the upper left corner of a box, or where it stays inside the picture."""
    size = 7.0
    pixels = axes.get_window_extent()
    per_point = (pixels.width * 72 / axes.figure.dpi) / max(_width(axes), 1e-9)  # points per pixel of the image
    wide, high = len(text) * size * _LETTER[0] / per_point, size * _LETTER[1] / per_point
    x = max(min(float(box[0]), _width(axes) - wide), 0)
    above = float(box[1]) >= high
    red, green, blue = colour
    axes.text(
        x - 0.5, float(box[1]) - 0.5, text, fontsize=size, va="bottom" if above else "top", ha="left",
        color="black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white",
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
    )  # fmt: skip


def _width(axes: Axes) -> float:
    left, right = axes.get_xlim()
    return right - left
