"""Pictures of what spatial transformers look at, and how that changed in training. See :func:`attended_figure`.

Inputs stand in a row, with the border of what each transformer looks at drawn into them; its upper left corner has a
dot, so that turned and mirrored frames can be told apart. Below each stands what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.explain.attended import as_array, outline, to_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A grid (N, OH, OW, 2) and an output (N, C, OH, OW), of each transformer.
Looks = Sequence[tuple[np.ndarray, np.ndarray]]

# Colours of Okabe & Ito, which the colour-blind can tell apart; printed grey, they are 162, 106, 213 and 87 of 255.
COLOURS = ((230, 159, 0), (0, 158, 115), (240, 228, 66), (0, 114, 178))
_GAP = 4  # white pixels between two images
_TEXT = 16  # pixels of a line of text
_WIDTH, _MOST = 960, 1600  # pixels that a picture is wanted to have, and may have


def attended_figure(images: Any, looks: Looks, titles: Sequence[str] | None = None, title: str = "") -> Figure:
    """Draw inputs with outlines, and what comes out of each transformer below.

    Parameters
    ----------
    images : array or Tensor, (N, C, H, W), in [0, 1]
        Shown grey as the brightest of their channels, or in colour if C is 3.
    looks : list of (grid (N, OH, OW, 2), output (N, C, OH, OW))
        Of each transformer, as ``model.attended(images)`` gives them.
    titles : sequence of str, optional
        Above each image.
    title : str
        Above all.

    Raises
    ------
    ValueError
        Shapes or lengths that do not fit each other.
    """
    from matplotlib.figure import Figure  # not pyplot: works in any thread and needs no display

    pixels = _checked(images, looks)
    count, rows = len(pixels), 1 + len(looks)
    if titles is not None and len(titles) != count:
        raise ValueError(f"attended_figure: titles must be as many as the {count} images, got {len(titles)}")
    side = min(1.4, 14 / count)
    figure = Figure(figsize=(max(2.0, side * count + 0.6), side * rows + 0.5), layout="constrained")
    drawn = figure.subplots(rows, count, squeeze=False)
    for axes in drawn.flat:
        axes.set(xticks=[], yticks=[])
    for n in range(count):
        _show(drawn[0, n], pixels[n])
        for k, (grid, output) in enumerate(looks):
            line = to_pixels(outline(grid[n : n + 1])[0], pixels.shape[2:])
            colour = np.array(COLOURS[k % len(COLOURS)]) / 255
            drawn[0, n].plot(line[:, 0], line[:, 1], color=colour, lw=2, clip_on=True)
            drawn[0, n].plot(*line[0], "o", color=colour, markersize=5)
            _show(drawn[1 + k, n], output[n])
            for spine in drawn[1 + k, n].spines.values():
                spine.set(color=colour, lw=2)
        drawn[0, n].set(xlim=(-0.5, pixels.shape[3] - 0.5), ylim=(pixels.shape[2] - 0.5, -0.5))
        if titles is not None:
            drawn[0, n].set_title(str(titles[n]), fontsize=9, parse_math=False)
    if title:
        figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def picture(images: Any, looks: Looks) -> np.ndarray:
    """Return the same as pixels (height, width, 3), uint8, one frame of a film.

    Small images are magnified by a whole number, what would be wider than 1600 pixels is made smaller by one.
    """
    from PIL import Image, ImageDraw

    pixels = _checked(images, looks)
    count, height, width = len(pixels), *pixels.shape[2:]
    times = max(1, _WIDTH // (count * (width + _GAP)))
    cell = times * max([width, *(output.shape[3] for _, output in looks)]) + _GAP
    shrink = -(-count * cell // _MOST)
    top = times * height + _GAP
    lower = [times * output.shape[2] + _GAP for _, output in looks]
    canvas = Image.new("RGB", (count * cell - _GAP, top + sum(lower) - _GAP), "white")
    for n in range(count):
        large = Image.fromarray(_magnified(pixels[n], times))
        pen = ImageDraw.Draw(large)
        for k, (grid, _) in enumerate(looks):
            line = times * (to_pixels(outline(grid[n : n + 1])[0], (height, width)) + 0.5)
            if np.isfinite(line).all():  # a transformer that has diverged looks nowhere
                line = line.clip(-10 * large.width, 10 * large.width)
                pen.line([tuple(point) for point in line.tolist()], fill=COLOURS[k % len(COLOURS)], width=2 * shrink)
                x, y = line[0].tolist()
                dot = 4 * shrink
                pen.ellipse((x - dot, y - dot, x + dot, y + dot), fill=COLOURS[k % len(COLOURS)])
        canvas.paste(large, (n * cell + (cell - _GAP - large.width) // 2, 0))
        y = top
        for k, ((_, output), row) in enumerate(zip(looks, lower, strict=True)):
            small = Image.fromarray(_magnified(output[n], times))
            border = (0, 0, small.width - 1, small.height - 1)
            ImageDraw.Draw(small).rectangle(border, outline=COLOURS[k % len(COLOURS)], width=shrink)
            canvas.paste(small, (n * cell + (cell - _GAP - small.width) // 2, y))
            y += row
    return np.asarray(canvas.reduce(shrink))


def labelled(frame: np.ndarray, text: str) -> np.ndarray:
    """Return a frame (height, width, 3) with a line of text above it."""
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (frame.shape[1], frame.shape[0] + _TEXT), "white")
    canvas.paste(Image.fromarray(frame), (0, _TEXT))
    ImageDraw.Draw(canvas).text((2, 2), text, fill="black")
    return np.asarray(canvas)


def _checked(images: Any, looks: Looks) -> np.ndarray:
    """Return the images as an array, or raise unless everything is of as many images."""
    pixels = as_array(images)
    if pixels.ndim != 4 or 0 in pixels.shape:
        raise ValueError(f"attended: images must be (N, C, H, W), at least one, got shape {pixels.shape}")
    for grid, output in looks:
        sizes, whole = (len(pixels), *np.shape(output)[2:]), np.ndim(output) == 4 and 0 not in np.shape(output)
        if not whole or len(output) != len(pixels) or np.shape(grid) != (*sizes, 2):
            raise ValueError(
                f"attended: grids (N, OH, OW, 2) and outputs (N, C, OH, OW) must be of the {len(pixels)} images, "
                f"got shapes {np.shape(grid)} and {np.shape(output)}"
            )
    return pixels


def _seen(image: np.ndarray) -> np.ndarray:
    """Return an image (C, H, W) as (H, W, 3) in [0, 1]; what is not a number is red."""
    found = np.asarray(image, np.float64)
    found = found if len(found) == 3 else np.broadcast_to(found.max(axis=0), (3, *found.shape[1:]))
    colour = np.moveaxis(found, 0, -1).clip(0, 1).copy()
    colour[~np.isfinite(colour).all(axis=-1)] = (1, 0, 0)
    return colour


def _show(axes: Any, image: np.ndarray) -> None:
    axes.imshow(_seen(image), interpolation="nearest")


def _magnified(image: np.ndarray, times: int) -> np.ndarray:
    return np.rint(255 * _seen(image)).astype(np.uint8).repeat(times, axis=0).repeat(times, axis=1)
