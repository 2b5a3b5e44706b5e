"""Pictures of what networks have learned, as matplotlib Figures without pyplot; each function draws one.

Images are (N, C, H, W) with one or three channels. Photographs are drawn from their darkest to their brightest value.
Projections and gradients have signs: each is drawn around grey, which is 0, scaled by its own largest magnitude.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import device, nn
from tinyconv.explain.activations import TopActivations
from tinyconv.explain.deconvnet import deconvnet
from tinyconv.explain.evolution import Snapshot
from tinyconv.explain.occlusion import Occlusion
from tinyconv.explain.receptive import receptive_field
from tinyconv.tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FRAME = 1.0  # white


def first_filters(model: Any, layer: str | None = None, columns: int = 8) -> Figure:
    """Draw a convolution's filters side by side, each scaled by its own largest weight around grey.

    Filters over one or three channels are drawn as one picture each; of others every input channel would need its own,
    so the first is drawn and the title says so. ``layer`` is the first convolution by default.
    """
    modules = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    if not modules:
        raise ValueError("first_filters: the model must have a Conv2d, got none")
    name = next(iter(modules)) if layer is None else layer
    if name not in modules:
        raise ValueError(f"first_filters: layer must be one of {', '.join(modules)}, got {layer!r}")
    weight = device.host(modules[name].weight.data)
    whole = weight.shape[1] in (1, 3)
    tiles = [signed(filters) for filters in (weight if whole else weight[:, :1])]
    rows = -(-len(tiles) // columns)
    figure = _figure(0.75 * columns, 0.75 * rows + 0.5)
    axes = figure.subplots()
    note = "" if whole else f", their first of {weight.shape[1]} channels"
    k, _, kh, kw = weight.shape
    _show(axes, mosaic(tiles, columns), f"{name}: {k} filters of {kh} x {kw}{note}")
    return figure


def top_nine(
    model: Any,
    images: Any,
    layer: str,
    maps: Sequence[int],
    top: TopActivations,
    *,
    unpool: str = "write",
    shown: Any = None,
) -> Figure:
    """Draw, for each map, the projections of its strongest activations and the patches they came from (fig. 2).

    On the left the projections, on the right the same places of the images, in the same order; both are cut to the
    unit's receptive field where it is smaller than the image.

    Parameters
    ----------
    model, images, layer
        As given to :func:`top_activations`.
    maps : sequence of int
        Which maps ``top`` is about.
    top : TopActivations
    unpool : {"write", "add"}
        See :func:`deconvnet`.
    shown : array, optional
        The pictures to cut patches from, if ``images`` are normalised; same shape.
    """
    pixels = _array(images)
    pictures = pixels if shown is None else _array(shown)
    field, k = receptive_field(model, layer, pixels.shape[2:]), top.images.shape[1]
    side = int(np.ceil(np.sqrt(k)))
    columns = min(len(maps), 4)
    rows = -(-len(maps) // columns)
    figure = _figure(3.2 * columns, 1.75 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(maps) :]:
        axis.set_axis_off()
    lowest, highest = float(pictures.min()), float(pictures.max())
    for axis, number, chosen, places in zip(axes, maps, top.images, top.positions, strict=False):
        flat = field.whole
        projected = deconvnet(
            model, pixels[chosen], layer, int(number), position=None if flat else places, unpool=unpool
        )
        left, right = [], []
        for i, (image, (row, col)) in enumerate(zip(chosen, places, strict=True)):
            box = field.box(0, 0, pixels.shape[2:]) if flat else _box(field, row, col, pixels.shape[2:])
            left.append(signed(cut(projected[i], box, 0.0)))
            right.append(plain(cut(pictures[image], box, np.nan), lowest, highest))
        gap = np.ones((side * (left[0].shape[0] + 1) - 1, 3, 3))
        both = np.concatenate([mosaic(left, side), gap, mosaic(right, side)], axis=1)
        _show(axis, both, f"map {number}", 9)
    figure.suptitle(f"{layer}: strongest activations projected (left) and the patches (right)", fontsize=10)
    return figure


def projected_maps(
    image: Any, layer: str, maps: Sequence[int], values: Sequence[float], projections: Any, boxes: Sequence[Any]
) -> Figure:
    """Draw one image with the fields of some units, and beside it what each of them responded to.

    ``values`` are the activations, ``projections`` (maps, C, H, W), ``boxes`` (top, left, bottom, right) of each.
    """
    from matplotlib.patches import Rectangle

    pictures, count = _array(projections), len(maps)
    columns = min(count + 1, 5)
    rows = -(-(count + 1) // columns)
    figure = _figure(2.1 * columns, 2.3 * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    _show(axes[0], plain(_array(image)), "the image", 9)
    for i, axis in enumerate(axes[1 : count + 1]):
        _show(axis, signed(pictures[i]), f"map {maps[i]}: {values[i]:.3g}", 9)
        top, left, bottom, right = boxes[i]
        for panel in (axes[0], axis):
            corner = (left - 0.5, top - 0.5)
            panel.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=f"C{i % 10}", lw=1.2))
    figure.suptitle(f"{layer}: what its strongest maps responded to, and where they look", fontsize=10)
    return figure


def evolution(snapshots: Sequence[Snapshot], title: str = "") -> Figure:
    """Draw what each map's strongest activation looked like, epoch by epoch (fig. 4): a row per map.

    A coloured bar on the left of a picture says that the strongest image was another one than the epoch before.
    """
    if not snapshots:
        raise ValueError("evolution: wanted at least one snapshot, got none; did training reach the chosen epochs?")
    count = len(snapshots[0].projections)
    figure = _figure(0.9 * len(snapshots) + 0.6, 0.9 * count + 0.7)
    axes = figure.subplots(count, len(snapshots), squeeze=False)
    for column, snapshot in enumerate(snapshots):
        for row in range(count):
            axis = axes[row, column]
            _show(axis, signed(snapshot.projections[row]))
            if row == 0:
                axis.set_title(f"epoch {snapshot.epoch}", fontsize=8)
            if column and snapshot.images[row] != snapshots[column - 1].images[row]:
                axis.axvline(-0.5, color="C1", lw=5)
    figure.suptitle(title or "strongest activation of each map (orange: in another image than before)", fontsize=9)
    return figure


def invariance_curves(
    results: dict[str, tuple[Sequence[float], Any]], layers: Sequence[str], names: Sequence[str] | None = None
) -> Figure:
    """Draw distances at each layer and the probability of the true class against the amounts (fig. 5).

    Parameters
    ----------
    results : {transform: (amounts, Invariance)}
        A row each.
    layers : sequence of str
        Those of the distances.
    names : sequence of str, optional
        Of the images.
    """
    units = {"shift": "vertical shift (pixels)", "scale": "scale", "rotation": "rotation (degrees)"}
    figure = _figure(3.4 * (len(layers) + 1), 2.5 * len(results))
    axes = figure.subplots(len(results), len(layers) + 1, squeeze=False)
    for row, (transform, (amounts, found)) in zip(axes, results.items(), strict=True):
        curves = [*found.distances, found.probabilities]
        titles = [*(f"distance at {layer}" for layer in layers), "probability of the true class"]
        for axis, lines, title in zip(row, curves, titles, strict=True):
            axis.plot(amounts, np.asarray(lines).T, lw=1.2)
            axis.set_title(title, fontsize=9)
            axis.set_xlabel(units.get(transform, transform), fontsize=8)
            axis.tick_params(labelsize=7)
            axis.set_ylim(0, 1.02 if lines is found.probabilities else None)
            axis.grid(alpha=0.3)
    if names is not None:
        axes[0, 0].legend(list(names), fontsize=7)
    return figure


def occlusion_maps(image: Any, found: Occlusion, classes: Sequence[str] | None = None) -> Figure:
    """Draw the picture with its most telling square, and the three maps over the square's position (fig. 7)."""
    from matplotlib.patches import Patch, Rectangle

    picture = _array(image)
    picture = picture[0] if picture.ndim == 4 else picture
    height, width = picture.shape[1:]
    figure = _figure(13, 3.4)
    axes = figure.subplots(1, 4)
    _show(axes[0], plain(picture), "the image, and the square that hurts most", 9)
    y, x = found.lowest
    (h, w) = found.size
    axes[0].add_patch(Rectangle((x - w / 2 - 0.5, y - h / 2 - 0.5), w, h, fill=False, edgecolor="C3", lw=2))
    # Every entry is drawn at the middle of its square; the last ones may be nearer to each other.
    ys = found.positions[:, 0, 0] + (h - 1) / 2
    xs = found.positions[0, :, 1] + (w - 1) / 2
    names = [str(c) for c in classes] if classes is not None else None
    true = f"class {found.target}" if names is None else names[found.target]
    shown = [
        (f"activity of {found.layer}, map {found.map}", found.activity, max(found.whole_activity, 1e-12)),
        (f"probability of {true}", found.probability, 1.0),
    ]
    for axis, (title, values, high) in zip(axes[1:], shown, strict=False):
        mesh = axis.pcolormesh(_edges(xs), _edges(ys), values, cmap="viridis", vmin=0, vmax=max(high, values.max()))
        figure.colorbar(mesh, ax=axis, shrink=0.75)
        axis.set_title(title, fontsize=9)
    seen = np.unique(found.label)
    colours = {label: f"C{i % 10}" for i, label in enumerate(seen)}
    from matplotlib.colors import to_rgb

    table = np.array([to_rgb(colours[label]) for label in seen])
    axes[3].pcolormesh(_edges(xs), _edges(ys), table[np.searchsorted(seen, found.label)])
    axes[3].set_title("most probable class", fontsize=9)
    entries = [Patch(color=colours[label], label=f"class {label}" if names is None else names[label]) for label in seen]
    axes[3].legend(handles=entries[:8], fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    for axis in axes[1:]:
        axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal", xticks=[], yticks=[])
    return figure


def rules_in_a_row(images: Any, maps: dict[str, Any], names: Sequence[str] | None = None) -> Figure:
    """Draw images and, beside each, its maps by several rules: ``maps`` is {title: array (N, C, H, W)}."""
    pictures = _array(images)
    figure = _figure(1.7 * (len(maps) + 1), 1.7 * len(pictures) + 0.4)
    axes = figure.subplots(len(pictures), len(maps) + 1, squeeze=False)
    for i, row in enumerate(axes):
        _show(row[0], plain(pictures[i]), names[i] if names is not None else "image" if i == 0 else "", 9)
        for axis, (title, values) in zip(row[1:], maps.items(), strict=True):
            _show(axis, signed(_array(values)[i]), title if i == 0 else "", 9)
    return figure


# ------------------------------------------------------------------------------------------------------------- pieces


def mosaic(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Return RGB tiles (h, w, 3) of one size in rows, one white pixel between them."""
    h, w = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    whole = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1, 3), _FRAME)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (h + 1), (i % columns) * (w + 1)
        whole[top : top + h, left : left + w] = tile
    return whole


def plain(image: np.ndarray, lowest: float | None = None, highest: float | None = None) -> np.ndarray:
    """Return an image (C, H, W) as RGB (H, W, 3) in [0, 1], from its darkest to its brightest value; NaN is white."""
    low = float(np.nanmin(image)) if lowest is None else lowest
    high = float(np.nanmax(image)) if highest is None else highest
    return np.nan_to_num(_rgb((image - low) / max(high - low, 1e-12)), nan=_FRAME).clip(0, 1)


def signed(values: np.ndarray) -> np.ndarray:
    """Return signed values (C, H, W) as RGB (H, W, 3) around grey, 0.5 for 0, the largest magnitude at 0 or 1."""
    return _rgb(0.5 + 0.5 * values / max(float(np.abs(values).max(initial=0)), 1e-12))


def cut(image: np.ndarray, box: tuple[int, int, int, int], outside: float) -> np.ndarray:
    """Return the part of an image (C, H, W) in (top, left, bottom, right); ``outside`` where it reaches beyond."""
    top, left, bottom, right = box
    patch = np.full((image.shape[0], bottom - top, right - left), outside, float)
    (y0, y1), (x0, x1) = (max(top, 0), min(bottom, image.shape[1])), (max(left, 0), min(right, image.shape[2]))
    patch[:, y0 - top : y1 - top, x0 - left : x1 - left] = image[:, y0:y1, x0:x1]
    return patch


def _box(field: Any, row: int, col: int, sides: Any) -> tuple[int, int, int, int]:
    """Return the patch of a unit: its field, always of one size; the whole image where the field is larger."""
    top, left, bottom, right = field.box(int(row), int(col))
    if bottom - top >= sides[0] or right - left >= sides[1]:
        return 0, 0, int(sides[0]), int(sides[1])
    return top, left, bottom, right


def _rgb(image: np.ndarray) -> np.ndarray:
    if image.shape[0] not in (1, 3):
        raise ValueError(f"figures: images must have one or three channels, got shape {image.shape}")
    return np.repeat(image, 3, axis=0).transpose(1, 2, 0) if image.shape[0] == 1 else image.transpose(1, 2, 0)


def _array(images: Any) -> np.ndarray:
    return device.host(images.data) if isinstance(images, Tensor) else np.asarray(images)


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return the borders of cells around these centres."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: works in any thread and needs no display

    return Figure(figsize=(width, height), layout="constrained")


def _show(axis: Any, image: np.ndarray, title: str = "", size: int = 10) -> None:
    axis.imshow(image, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.set_frame_on(False)
    if title:
        axis.set_title(title, fontsize=size)
