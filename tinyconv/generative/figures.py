"""Pictures of what a generator draws, as matplotlib Figures without pyplot, PNGs and films. See :func:`grid`.

Images are (N, C, H, W) in [0, 1], grey or in colour, as ``sample`` of the models in :mod:`tinyconv.models.gan` gives
them. They are drawn as they are: 0 is black, 1 is white.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.files import atomic_write
from tinyconv.generative.measures import check_images, closest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE, _FEW, _WHOLE = 0.8, 2.4, 10.0  # inches of one image, of a row of few, of a row of many
_DPI = 120
_LARGEST = 30.0  # inches, whatever is asked for
_BAND = 0.22  # inches of a line of text above an image
_WIDTH = 480  # pixels of a file that are wanted at least: small images are magnified by a whole number
_MARK = "C1"
_LINE, _HOLD = 16, 5  # pixels of a line of text in a film; the last picture stays that many times longer
_SLACK = 1e-6  # by which rounding may pass 0 or 1


def grid(images: Any, columns: int | None = None, titles: Sequence[str] | None = None, title: str = "") -> Figure:
    """Draw images row by row, close together.

    Parameters
    ----------
    images : array or Tensor, (N, C, H, W) in [0, 1]
    columns : int, optional
        Images of a row; by default about as many as there are rows.
    titles : sequence of str, optional
        A short one above each image.
    title : str
        Above all.

    Raises
    ------
    TypeError, ValueError
        No images, values outside of [0, 1], or not as many titles as images.
    """
    pixels = check_pictures("grid", images)
    across = _columns("grid", columns, len(pixels))
    if titles is not None and len(titles) != len(pixels):
        raise ValueError(f"grid: titles must be as many as the {len(pixels)} images, got {len(titles)}")
    return _draw(pixels, across, None if titles is None else [str(text) for text in titles], title)[0]


def interpolations(model: Any, pairs: int = 8, steps: int = 10, seed: int = 0) -> Figure:
    """Draw what lies between two latent points: a row for each pair, its ends framed.

    The points of a row are (1 - t) z + t z' for t from 0 to 1. A straight line stays in the cube of a uniform prior.
    Samples that change step by step, and are as good in between, speak against a generator that learned by heart.

    Parameters
    ----------
    model
        With ``latent(n, seed)`` and ``sample(points)``.
    pairs, steps : int
        Rows, and images of a row, at least two.
    seed : int
        Of the latent points.

    Raises
    ------
    ValueError
        ``pairs`` is less than 1, or ``steps`` less than 2.
    """
    for name, value, least in (("pairs", pairs, 1), ("steps", steps, 2)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"interpolations: {name} must be an int of at least {least}, got {value!r}")
    ends = np.asarray(model.latent(2 * pairs, seed))
    share = np.linspace(0, 1, steps).reshape(1, steps, *(1,) * (ends.ndim - 1))
    points = (1 - share) * ends[:pairs, None] + share * ends[pairs:, None]
    images = model.sample(points.reshape(pairs * steps, *ends.shape[1:]).astype(ends.dtype))
    figure, axes = _draw(check_pictures("interpolations", images), steps, None, "between two latent points (framed)")
    _frames(axes, images.shape[2:], [row * steps + end for row in range(pairs) for end in (0, steps - 1)], steps)
    return figure


def strip(frames: Sequence[Any], labels: Sequence[str], columns: int = 12, title: str = "") -> Figure:
    """Draw how images change: a row for each frame, with its label; a column for each latent point.

    Parameters
    ----------
    frames : sequence of arrays, (N, C, H, W) in [0, 1]
        Of the same latent points in the same order, such as after some epochs each.
    labels : sequence of str
        One for each frame.
    columns : int
        How many images of a frame are shown: the first ones.

    Raises
    ------
    TypeError, ValueError
        No frames, frames of different shapes, or not as many labels.
    """
    rows = _moments("strip", frames, labels)
    across = _columns("strip", columns, rows.shape[1])
    margin = 0.3 + 0.08 * max(len(str(text)) for text in labels)  # inches, for letters of 9 points
    figure, axes = _draw(rows[:, :across].reshape(-1, *rows.shape[2:]), across, None, title, margin=margin)
    height = rows.shape[3]
    axes.set_yticks([k * (height + 1) + (height - 1) / 2 for k in range(len(rows))], [str(text) for text in labels])
    axes.tick_params(axis="y", length=0, labelsize=9)
    return figure


def nearest(samples: Any, training: Any, columns: int = 10) -> Figure:
    """Draw each sample above its nearest training image by Euclidean distance, which is written over both.

    A sample that differs from its neighbour is no copy.

    Parameters
    ----------
    samples, training : array or Tensor, (N, C, H, W) and (M, C, H, W) in [0, 1]
    columns : int
        Samples of a row.

    Raises
    ------
    TypeError, ValueError
        As :func:`grid`; the images have different sizes.
    """
    pixels = check_pictures("nearest", samples)
    known = check_images("nearest", training, name="training")
    indices, distances = closest(pixels, known)
    found = check_pictures("nearest", known[indices], "training")
    gap = np.ones((*pixels.shape[:2], 1, pixels.shape[3]))
    pairs = np.concatenate([pixels, gap, found], axis=2)
    across = _columns("nearest", columns, len(pixels))
    title = f"above: samples; below: the nearest of {len(known)} training images, and how far it is"
    return _draw(pairs, across, [f"{distance:.2f}" for distance in distances], title)[0]


def training_curves(history: Iterable[Mapping[str, Any]], data_spread: float | None = None) -> Figure:
    """Draw a GAN's training: the losses of both networks, how often D is right, how much the samples differ.

    A discriminator that cannot tell gives 1/2 to every image: its loss is log 2 and half of its answers are right.

    Parameters
    ----------
    history : History or its rows
        With ``train_loss`` (D's), ``generator_loss``, ``discriminator_accuracy`` and ``sample_spread``; what no row
        has is left out.
    data_spread : float, optional
        Drawn as a line beside the samples'.

    Raises
    ------
    ValueError
        No row has any of these.
    """
    rows = list(history)
    losses = {"train_loss": "discriminator", "generator_loss": "generator"}
    panels: list[tuple[str, float, dict[str, str], float | None, str]] = [
        ("Loss", 1.0, losses, math.log(2), "log 2: D cannot tell"),
        ("Right answers of D (%)", 100.0, {"discriminator_accuracy": "discriminator"}, 0.5, "it cannot tell"),
        ("Spread of the samples", 1.0, {"sample_spread": "samples"}, data_spread, "data"),
    ]
    present = {name for row in rows for name, value in row.items() if value is not None}
    panels = [panel for panel in panels if present & set(panel[2])]
    if not panels:
        raise ValueError(f"training_curves: wanted rows with train_loss or the others, got {len(rows)} rows without")
    figure = _figure(4.4 * len(panels), 3.6)
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, scale, lines, level, meaning) in zip(drawn, panels, strict=True):
        for k, (name, text) in enumerate(lines.items()):
            points = [(row["epoch"], scale * row[name]) for row in rows if row.get(name) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker="os"[k], markersize=4, label=text)
        if level is not None:
            axes.axhline(scale * level, color="C7", linestyle="--", label=meaning)
        if min(y for line in axes.lines for y in np.ravel(line.get_ydata())) >= 0:  # saturating losses are negative
            axes.set_ylim(bottom=0)
        if scale == 100:
            axes.set_ylim(top=103)
        axes.set(xlabel="Epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


# -------------------------------------------------------------------------------------------------------------- files


def save_png(images: Any, path: str | Path, columns: int | None = None) -> Path:
    """Write images row by row into a PNG, one white pixel between them: every pixel as it is, or as an even square.

    Images of few pixels are magnified by a whole number; 8 bits for each value.

    Raises
    ------
    TypeError, ValueError, OSError
        As :func:`grid`; the file cannot be written.
    """
    pixels = check_pictures("save_png", images)
    picture = _picture(pixels, _columns("save_png", columns, len(pixels)))
    return atomic_write(path, lambda file: picture.save(file, format="png"))


def save_gif(
    frames: Sequence[Any], path: str | Path, seconds: float = 0.2, labels: Sequence[str] | None = None
) -> Path:
    """Write a film that begins again at its end: each frame's images as :func:`save_png` arranges them.

    Parameters
    ----------
    frames : sequence of arrays, (N, C, H, W) in [0, 1]
        All of one shape.
    path : str or Path
    seconds : float
        How long a frame stays; the last one stays five times as long.
    labels : sequence of str, optional
        Written over each frame.

    Raises
    ------
    TypeError, ValueError, OSError
        As :func:`strip`; ``seconds`` is not positive; the file cannot be written.
    """
    from PIL import Image, ImageDraw

    if not 0 < seconds < math.inf:
        raise ValueError(f"save_gif: seconds must be a positive number, got {seconds!r}")
    moments = _moments("save_gif", frames, labels)
    pictures = [_picture(images, _columns("save_gif", None, len(images))) for images in moments]
    if labels is not None:
        for k, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            pictures[k] = Image.new(picture.mode, (picture.width, picture.height + _LINE), "white")
            pictures[k].paste(picture, (0, _LINE))
            ImageDraw.Draw(pictures[k]).text((4, 2), str(label), fill="black")
    times = [round(1000 * seconds)] * (len(pictures) - 1) + [round(1000 * seconds * _HOLD)]
    film = {"save_all": True, "append_images": pictures[1:], "duration": times, "loop": 0}
    return atomic_write(path, lambda file: pictures[0].save(file, format="gif", **film))


def magnification(shape: tuple[int, int], columns: int) -> int:
    """Return by which number the files magnify ``columns`` images of this height and width side by side."""
    return max(1, _WIDTH // (columns * (shape[1] + 1) - 1))


def square(count: int) -> int:
    """Return how many of so many images stand in a row, by default."""
    return math.ceil(math.sqrt(count))


# ------------------------------------------------------------------------------------------------------------- pieces


def check_pictures(who: str, images: Any, name: str = "images") -> np.ndarray:
    """Return images (N, C, H, W) in [0, 1] as an array, or raise: shape, one or three channels, range."""
    pixels = check_images(who, images, name=name)
    if pixels.shape[1] not in (1, 3):
        raise ValueError(f"{who}: {name} must have one or three channels, got shape {pixels.shape}")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -_SLACK or high > 1 + _SLACK:
        raise ValueError(f"{who}: {name} must lie in [0, 1], got {low:.4g} to {high:.4g}; sample() of a model does")
    return pixels.clip(0, 1)


def _moments(who: str, frames: Sequence[Any], labels: Sequence[str] | None) -> np.ndarray:
    """Return frames as one array (K, N, C, H, W), or raise unless they fit together and have a label each."""
    found = [check_pictures(who, frame, "every frame") for frame in frames]
    if not found:
        raise ValueError(f"{who}: frames must be at least one, got none")
    other = next((frame.shape for frame in found if frame.shape != found[0].shape), None)
    if other is not None:
        raise ValueError(f"{who}: frames must have one shape, got {found[0].shape} and {other}")
    if labels is not None and len(labels) != len(found):
        raise ValueError(f"{who}: labels must be as many as the {len(found)} frames, got {len(labels)}")
    return np.stack(found)


def _columns(who: str, columns: int | None, count: int) -> int:
    if columns is None:
        return square(count)
    if isinstance(columns, bool) or not isinstance(columns, (int, np.integer)) or columns < 1:
        raise ValueError(f"{who}: columns must be an int of at least 1, got {columns!r}")
    return min(int(columns), count)


def _tiled(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Return images (N, C, H, W) in rows as one (height, width, C); white: a pixel between columns, ``gap`` of rows."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    cells = np.ones((rows * columns, height + gap, width + 1, channels))
    cells[:count, :height, :width] = images.transpose(0, 2, 3, 1)
    whole = cells.reshape(rows, columns, height + gap, width + 1, channels).transpose(0, 2, 1, 3, 4)
    return whole.reshape(rows * (height + gap), columns * (width + 1), channels)[:-gap, :-1]


def _picture(pixels: np.ndarray, columns: int) -> Any:
    """Return images in rows as a Pillow picture."""
    from PIL import Image

    whole = np.rint(255 * _tiled(pixels, columns)).astype(np.uint8)
    times = magnification(pixels.shape[2:], columns)
    large = whole.repeat(times, axis=0).repeat(times, axis=1)
    return Image.fromarray(large[:, :, 0] if large.shape[2] == 1 else large)


def _draw(
    pixels: np.ndarray, columns: int, titles: list[str] | None, title: str, margin: float = 0.0
) -> tuple[Figure, Axes]:
    """Return a figure of images in rows; ``margin`` inches on the left are for labels."""
    height, width = pixels.shape[2:]
    rows = -(-len(pixels) // columns)
    least = max(width / _DPI, 0.45 if titles else 0.0)  # so that no pixel, and no title, is lost
    scale = max(min(max(_SIDE, _FEW / columns), _WHOLE / columns), least) / width  # inches of a pixel
    scale *= min(1.0, _LARGEST / (scale * columns * width), _LARGEST / (scale * rows * height))
    gap = 1 if titles is None else max(1, math.ceil(_BAND / scale))
    whole = _tiled(pixels, columns, gap)
    top = gap if titles else 0
    size = scale * whole.shape[1] + margin, scale * (whole.shape[0] + top) + 0.35 * bool(title)
    figure = _figure(max(1.5, size[0], 0.075 * len(title)), max(0.5, size[1]))
    axes = figure.subplots()
    axes.imshow(np.broadcast_to(whole, (*whole.shape[:2], 3)), interpolation="nearest")
    axes.set(xticks=[], yticks=[], ylim=(whole.shape[0] - 0.5, -0.5 - top))
    axes.set_frame_on(False)
    for k, text in enumerate(titles or ()):
        x, y = k % columns * (width + 1) + (width - 1) / 2, k // columns * (height + gap) - 1
        axes.text(x, y, text, fontsize=8, ha="center", va="bottom")
    if title:
        figure.suptitle(title, fontsize=9)
    return figure, axes


def _frames(axes: Axes, size: tuple[int, ...], which: Sequence[int], columns: int) -> None:
    """Draw a frame around some images of a grid."""
    from matplotlib.patches import Rectangle

    height, width = size
    for k in which:
        x, y = k % columns * (width + 1) - 0.5, k // columns * (height + 1) - 0.5
        axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=_MARK, lw=1.5))


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: works in any thread and needs no display

    return Figure(figsize=(width, height), layout="constrained")
