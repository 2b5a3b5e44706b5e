"""What happens when a part of the image is covered: three maps over the square's position. See :func:`occlusion`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinyconv import device, errors, nn
from tinyconv.evaluation import home
from tinyconv.explain.layers import (
    as_images,
    batches,
    check_count,
    check_layer,
    check_model,
    class_scores,
    evaluating,
    numbers,
    outputs_of,
    probabilities,
)
from tinyconv.function import no_grad
from tinyconv.tensor import Tensor

Pair = int | tuple[int, int]
_PIXELS = 2**18  # of a batch: enough that no call waits for Python, little enough for the maps of a large network


@dataclass(frozen=True)
class Occlusion:
    """What :func:`occlusion` measured; every map has one entry per position of the square.

    Attributes
    ----------
    activity : array, (rows, cols)
        Sum over space of the one map that responds most to the whole image.
    probability : array, (rows, cols)
        Of the target class, in [0, 1].
    label : int64 array, (rows, cols)
        The most probable class.
    positions : int64 array, (rows, cols, 2)
        Top and left pixel of the square.
    size : (int, int)
        Its height and width.
    layer, map
        Which map ``activity`` sums.
    target : int
    whole_activity, whole_probability, whole_label
        The same three without a square.
    """

    activity: np.ndarray
    probability: np.ndarray
    label: np.ndarray
    positions: np.ndarray
    size: tuple[int, int]
    layer: str
    map: int
    target: int
    whole_activity: float
    whole_probability: float
    whole_label: int

    @property
    def lowest(self) -> tuple[float, float]:
        """Centre (y, x) in pixels of the square that lowers the target's probability most (the first of equals)."""
        row, column = np.unravel_index(self.probability.argmin(), self.probability.shape)
        top, left = self.positions[row, column]
        return float(top + self.size[0] / 2), float(left + self.size[1] / 2)


def occlusion(
    model: Any,
    image: Any,
    target: int | None = None,
    *,
    size: Pair | None = None,
    stride: Pair | None = None,
    value: Any = 0.0,
    layer: str | None = None,
    batch_size: int | None = None,
) -> Occlusion:
    """Slide a square over an image and record what it changes (Zeiler & Fergus 2014, sec. 4.1 and fig. 7).

    For every position of the square: the activity of one map, the probability of the target class, and the most
    probable class. Many covered copies go through the network at once.

    Parameters
    ----------
    model : Module
        Any classifier that gives scores (N, K), before softmax. It runs in evaluation mode.
    image : array or Tensor, (C, H, W) or (1, C, H, W)
    target : int, optional
        The true class; by default the one the model names.
    size : int or (int, int), optional
        Height and width of the square in pixels; a quarter of the image's by default (the paper does not say).
    stride : int or (int, int), optional
        Pixels between positions; a third of the square by default. The last row and column of squares lie at the
        image's border, whatever the stride, so that every pixel is covered by some square.
    value : float, or C floats
        What covers: 0, grey where images are centred.
    layer : str, optional
        Whose map is followed; by default the last layer that gives maps (N, K, OH, OW), such as pool5.
    batch_size : int, optional
        Covered copies at a time; by default as many as have 2^18 pixels together (334 of 28 x 28), at least 8.

    Raises
    ------
    TypeError
        The target is no int.
    IndexError
        There is no such class.
    ValueError
        The square is larger than the image; there is no such layer or channel count.
    """
    op = "occlusion"
    check_model(op, model)
    given = device.host(image.data) if isinstance(image, Tensor) else np.asarray(image)
    if given.ndim == 4 and len(given) != 1:
        raise ValueError(f"{op}: wanted one image (C, H, W), got {len(given)}; call it for each")
    whole = as_images(op, model, given[None] if given.ndim == 3 else given, "image")
    pixels = device.host(whole.data)[0]
    size, positions = _grid(op, pixels.shape[1:], size, stride)
    cover = _cover(op, value, pixels)
    usual = max(_PIXELS // (pixels.shape[1] * pixels.shape[2]), 8)
    count = usual if batch_size is None else check_count(op, "batch_size", batch_size)
    with evaluating(model), no_grad():
        name = _last_maps(op, model, whole) if layer is None else layer
        found, scores = outputs_of(op, model, [name], whole, scores=True)
        if found[name].ndim != 4:
            raise ValueError(f"{op}: layer {name!r} must give maps (N, K, OH, OW), got shape {found[name].shape}")
        totals = found[name][0].sum(axis=(1, 2), dtype=np.float64)
        strongest, label = int(totals.argmax()), int(scores[0].argmax())
        wanted = label if target is None else int(numbers(op, "target", target, 1, scores.shape[1])[0])
        flat = positions.reshape(-1, 2)
        activity, probability, labels = np.empty(len(flat)), np.empty(len(flat)), np.empty(len(flat), np.int64)
        copies = np.repeat(pixels[None], min(count, len(flat)), axis=0)
        for part in batches(len(flat), count):
            batch = covered(copies, flat[part], size, cover)
            found, outputs = outputs_of(op, model, [name], Tensor(device.move(batch, home(model))), scores=True)
            activity[part] = found[name][:, strongest].sum(axis=(1, 2), dtype=np.float64)
            probability[part] = probabilities(outputs)[:, wanted]
            labels[part] = outputs.argmax(axis=1)
            _uncover(copies, pixels, flat[part], size)
    shape = positions.shape[:2]
    return Occlusion(
        activity.reshape(shape), probability.reshape(shape), labels.reshape(shape), positions, size, name, strongest,
        wanted, float(totals[strongest]), float(probabilities(scores)[0, wanted]), label,
    )  # fmt: skip


def squares(image_size: tuple[int, int], size: Pair, stride: Pair) -> np.ndarray:
    """Return the squares' top left corners (rows, cols, 2): ``stride`` apart, and the last ones at the border."""
    size, stride = errors.pair("squares", "size", size, 1), errors.pair("squares", "stride", stride, 1)
    axes = []
    for side, length, step in zip(image_size, size, stride, strict=True):
        starts = list(range(0, side - length + 1, step))
        axes.append(starts if starts[-1] == side - length else [*starts, side - length])
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.int64)


def covered(copies: np.ndarray, corners: np.ndarray, size: tuple[int, int], cover: np.ndarray) -> np.ndarray:
    """Cover a square in each of the first copies of an image; ``copies`` (B, C, H, W) hold the whole image before."""
    batch = copies[: len(corners)]
    for copy, (top, left) in zip(batch, corners, strict=True):
        copy[:, top : top + size[0], left : left + size[1]] = cover
    return batch


def _uncover(copies: np.ndarray, pixels: np.ndarray, corners: np.ndarray, size: tuple[int, int]) -> None:
    """Put the image's pixels back: the buffer serves the next batch without copying whole images."""
    for copy, (top, left) in zip(copies, corners, strict=False):
        area = slice(None), slice(top, top + size[0]), slice(left, left + size[1])
        copy[area] = pixels[area]


def _grid(op: str, sides: Any, size: Pair | None, stride: Pair | None) -> tuple[tuple[int, int], np.ndarray]:
    height, width = sides
    square = (max(height // 4, 1), max(width // 4, 1)) if size is None else errors.pair(op, "size", size, 1)
    if square[0] > height or square[1] > width:
        raise ValueError(f"{op}: size must be at most the image's, {height} x {width}, got {square[0]} x {square[1]}")
    steps = (max(square[0] // 3, 1), max(square[1] // 3, 1)) if stride is None else errors.pair(op, "stride", stride, 1)
    return square, squares((height, width), square, steps)


def _cover(op: str, value: Any, pixels: np.ndarray) -> np.ndarray:
    """Return what covers a square as (1 or C, 1, 1)."""
    array = np.atleast_1d(np.asarray(value, pixels.dtype))
    if array.shape not in ((1,), pixels.shape[:1]):
        raise ValueError(f"{op}: value must be one number, or one per channel ({len(pixels)}), got {value!r}")
    return array[:, None, None]


def _last_maps(op: str, model: nn.Module, image: Tensor) -> str:
    """Return the name of the last layer that gives maps."""
    names = [name for name, module in model.named_modules() if name and not list(module.children())]
    seen: list[str] = []

    def note(name: str, _module: Any, _inputs: Any, output: Any) -> None:
        if getattr(output, "ndim", 0) == 4:
            seen.append(name)

    with ExitStack() as hooks:
        for name in names:
            hooks.enter_context(model.get_submodule(name).register_forward_hook(partial(note, name)))
        class_scores(op, model(image))
    if not seen:
        raise ValueError(f"{op}: no layer of the model gives maps (N, K, OH, OW); name one with layer=")
    return check_layer(op, names, seen[-1])
