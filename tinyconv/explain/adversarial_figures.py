"""Pictures of attacks: an image, its change, their sum; errors against the size of the change. Matplotlib Figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.explain.figures import _array, _figure, _rgb, _show, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def attack_rows(
    images: Any,
    changed: Any,
    before: Any,
    after: Any,
    *,
    labels: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    factor: float | None = None,
    note: str = "",
) -> Figure:
    """Draw a row for each image: the image, the change times a factor around grey, the changed image.

    Parameters
    ----------
    images, changed : array or Tensor, (N, C, H, W) with one or three channels
        Drawn as they are: 0 is black, 1 white.
    before, after : array, (N, K)
        The network's probabilities for both. The largest, and its class, stand above each image.
    labels : N ints, optional
        The true classes, written where the network's answer is another.
    classes : K names, optional
    factor : float, optional
        By how much changes are magnified, in all rows; by default what makes the largest one black or white.
    note : str
        Of all rows, such as "eps 0.1"; above the figure.
    """
    x, y = _pictures("attack_rows", images, changed)
    first, second = (_table("attack_rows", name, p, len(x)) for name, p in (("before", before), ("after", after)))
    times = contrast_factor(y - x) if factor is None else float(factor)
    if not times > 0:
        raise ValueError(f"attack_rows: factor must be positive, got {factor!r}")
    figure = _figure(6.6, 2.3 * len(x) + (0.4 if note else 0.0))
    axes = figure.subplots(len(x), 3, squeeze=False)
    for i, row in enumerate(axes):
        true = None if labels is None else int(labels[i])
        _show(row[0], plain(x[i], 0.0, 1.0), _answer(first[i], classes, true), 9)
        _show(row[1], _rgb(0.5 + times * (y[i] - x[i])).clip(0, 1), f"change x {times:.3g}", 9)
        _show(row[2], plain(y[i], 0.0, 1.0), _answer(second[i], classes, true), 9)
    if note:
        figure.suptitle(note, fontsize=10)
    return figure


def error_curves(
    sizes: Sequence[float],
    attacked: Mapping[str, Sequence[float]],
    random: Mapping[str, Sequence[float]] | None = None,
    *,
    xlabel: str = "eps",
) -> Figure:
    """Draw the share of wrong answers against the size of the attack, and dashed that of random signs as large.

    Parameters
    ----------
    sizes : sequence of float
        Such as the eps of :func:`tinyconv.explain.adversarial.fgsm`.
    attacked : {network: errors}
        In [0, 1], one for each size.
    random : {network: errors}, optional
        The control of the networks of these names, in the same colours.
    """
    curves = [(name, values, "-") for name, values in attacked.items()]
    colours = {name: f"C{i % 10}" for i, name in enumerate(attacked)}
    for name, values in (random or {}).items():
        if name not in attacked:
            raise ValueError(f"error_curves: random must be of {', '.join(attacked)}, got {name!r}")
        curves.append((name, values, "--"))
    for name, values, _ in curves:
        if len(values) != len(sizes):
            raise ValueError(
                f"error_curves: {name} must have an error for each of the {len(sizes)} sizes, got {len(values)}"
            )
    figure = _figure(5.6, 3.8)
    axis = figure.subplots()
    for name, values, style in curves:
        label = name if style == "-" else f"{name}, random signs"
        axis.plot(sizes, values, style, color=colours[name], marker="o", ms=3, lw=1.4, label=label)
    axis.set(xlabel=xlabel, ylabel="share of wrong answers", ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def contrast_factor(change: np.ndarray) -> float:
    """Return the factor, of two digits, that makes the largest change one half; 1 if there is no change."""
    largest = float(np.abs(change).max(initial=0.0))
    return float(f"{0.5 / largest:.2g}") if largest > 0 else 1.0


def _answer(probabilities: np.ndarray, classes: Sequence[str] | None, true: int | None) -> str:
    guess = int(probabilities.argmax())
    says = f"{_name(guess, classes)} {probabilities[guess]:.1%}"
    return says if true is None or true == guess else f"{says}\n(true: {_name(true, classes)})"


def _name(k: int, classes: Sequence[str] | None) -> str:
    return f"class {k}" if classes is None else str(classes[k])


def _pictures(op: str, images: Any, changed: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = _array(images), _array(changed)
    if x.ndim != 4 or 0 in x.shape or x.shape != y.shape:
        raise ValueError(f"{op}: images and changed must both be (N, C, H, W), got shapes {x.shape} and {y.shape}")
    return x, y


def _table(op: str, name: str, probabilities: Any, count: int) -> np.ndarray:
    array = _array(probabilities)
    if array.ndim != 2 or len(array) != count:
        raise ValueError(f"{op}: {name} must be probabilities (N, K) of the {count} images, got shape {array.shape}")
    return array
