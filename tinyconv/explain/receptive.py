"""Which pixels a unit sees: size, stride and place of receptive fields, by arithmetic. See :func:`receptive_field`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinyconv import errors, nn
from tinyconv.explain.layers import check_layer, sequence
from tinyconv.models import lenet
from tinyconv_kernels.geometry import output_size

Pair = tuple[int, int]
# Layers that look at one position at a time, across channels or not.
_POINTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.Softmax, nn.Dropout, nn.Identity, nn.LocalResponseNorm,
    nn.BatchNorm2d, lenet.Squash,
)  # fmt: skip


@dataclass(frozen=True)
class Window:
    """How one layer looks at the map below it, per axis (height, width)."""

    kernel: Pair
    stride: Pair
    padding: Pair  # at the top and left; a ZeroPad2d is a window of 1 with padding
    dilation: Pair = (1, 1)
    ceil_mode: bool = False
    after: Pair | None = None  # padding at the bottom and right, where it differs
    cells: Pair | None = None  # adaptive pooling: how many cells cover the map

    def below(self, axis: int, first: int, last: int, size: int) -> Pair:
        """Return the half-open range of the map below (``size`` long) that the outputs first..last-1 read."""
        if self.cells is not None:
            cells = self.cells[axis]
            return first * size // cells, -(-last * size // cells)
        k, s, p, d = self.kernel[axis], self.stride[axis], self.padding[axis], self.dilation[axis]
        # A unit that reads padding alone sees nothing: then both ends are the same.
        return min(max(first * s - p, 0), size), max(0, min((last - 1) * s - p + d * (k - 1) + 1, size))

    def size(self, axis: int, size: int) -> int:
        """Return the length of the layer's output over a map of this length."""
        if self.cells is not None:
            return self.cells[axis]
        k, s, p, d = self.kernel[axis], self.stride[axis], self.padding[axis], self.dilation[axis]
        if self.after is not None:
            return size + p + self.after[axis]
        return output_size(size, k, s, p, d, self.ceil_mode) if size + 2 * p >= d * (k - 1) + 1 else 0


@dataclass(frozen=True)
class ReceptiveField:
    """What part of the image a unit of a layer depends on, in pixels of the image.

    Attributes
    ----------
    layer : str
    size : (int, int)
        Height and width of the field of a unit far from the border.
    stride : (int, int)
        Pixels between the fields of neighbouring units; (0, 0) if every unit sees the whole image.
    start : (int, int)
        Top and left of the field of unit (0, 0); negative where it begins in the padding.
    whole : bool
        The layer comes after flatten (or its cells differ in size): its units see the whole image.
    windows : tuple of Window
        The layers below, first to last, as far as they look at more than one position.
    """

    layer: str
    size: Pair
    stride: Pair
    start: Pair
    whole: bool = False
    windows: tuple[Window, ...] = ()

    def box(self, row: int = 0, col: int = 0, image_size: Any = None) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right) of the field of unit (row, col), half open.

        Without ``image_size`` (an int, or height and width) it may reach beyond the image. With it the box is exact: it
        is followed down through the layers and clipped at the border of every map, not only of the image. (Fields of
        dilated convolutions have holes; at the border their box may begin or end with one.)
        """
        if image_size is None:
            axes = zip(self.start, (row, col), self.stride, self.size, strict=True)
            ends = [(o + u * s, o + u * s + n) for o, u, s, n in axes]
        else:
            sides = errors.pair("receptive_field", "image_size", image_size, 1)
            units = (row, col)
            ends = [(0, sides[a]) if self.whole else self._exact(a, units[a], sides[a]) for a in (0, 1)]
            if any(first >= last for first, last in ends):
                return 0, 0, 0, 0  # it reads nothing but padding
        (top, bottom), (left, right) = ends
        return top, left, bottom, right

    def _exact(self, axis: int, unit: int, side: int) -> Pair:
        sides = [side]
        for window in self.windows:
            sides.append(window.size(axis, sides[-1]))
        if not 0 <= unit < sides[-1]:
            raise IndexError(
                f"receptive_field: {self.layer} has {sides[-1]} {('rows', 'columns')[axis]} over {side} pixels, "
                f"got {('row', 'column')[axis]} {unit}"
            )
        first, last = unit, unit + 1
        for window, below in zip(reversed(self.windows), reversed(sides[:-1]), strict=True):
            first, last = window.below(axis, first, last, below)
            if first >= last:
                return 0, 0
        return first, last

    def __str__(self) -> str:
        if self.whole:
            return f"{self.layer}: the whole image"
        (h, w), (sh, sw) = self.size, self.stride
        return f"{self.layer}: {h} x {w} pixels, {sh if sh == sw else f'{sh} x {sw}'} apart"


def receptive_field(model: Any, layer: str, image_size: Any = None) -> ReceptiveField:
    """Compute the receptive field of a layer's units from kernel sizes, strides and paddings alone.

    Going up, a window of k at stride s and padding p on a map whose units are j pixels apart and see r pixels gives

        r <- r + dilation (k - 1) j        start <- start - p j        j <- s j

    Parameters
    ----------
    model : Sequential
        Of convolutions, pools, elementwise layers, normalisation across channels, then flatten and what follows.
    layer : str
        Its name, such as "pool5" or "features.3".
    image_size : int or (int, int), optional
        Height and width in pixels; ``model.input_shape`` by default. Only adaptive pools and what comes after flatten
        need it.

    Raises
    ------
    TypeError
        The model is not sequential, or a layer is of a kind whose reach is not known.
    ValueError
        There is no such layer; the image's size is needed and not known.

    Examples
    --------
    >>> first = nn.Sequential({"conv1": nn.Conv2d(3, 96, 7, 2, 1), "pool1": nn.MaxPool2d(3, 2)})
    >>> field = receptive_field(first, "pool1")
    >>> field.size, field.stride, field.start
    ((11, 11), (4, 4), (-1, -1))
    """
    op = "receptive_field"
    layers = sequence(op, model)
    names = [name for name, _ in layers]
    last = names.index(check_layer(op, names, layer))
    shape = getattr(model, "input_shape", None)
    given = shape[1:] if image_size is None and shape is not None and len(shape) == 3 else image_size
    known = None if given is None else errors.pair(op, "image_size", given, 1)
    sides, size, stride, start = known, [1, 1], [1, 1], [0, 0]
    windows: list[Window] = []
    for name, module in layers[: last + 1]:
        window = None if isinstance(module, _POINTWISE) else _window(op, name, module, layer, sides)
        if isinstance(window, str):
            return ReceptiveField(layer, _needed(op, layer, known), (0, 0), (0, 0), whole=True)
        if window is None:
            continue
        windows.append(window)
        for axis in (0, 1):
            size[axis] += window.dilation[axis] * (window.kernel[axis] - 1) * stride[axis]
            start[axis] -= window.padding[axis] * stride[axis]
            stride[axis] *= window.stride[axis]
        if sides is not None:
            sides = window.size(0, sides[0]), window.size(1, sides[1])
    return ReceptiveField(
        layer, (size[0], size[1]), (stride[0], stride[1]), (start[0], start[1]), windows=tuple(windows)
    )


def _window(op: str, name: str, module: nn.Module, layer: str, sides: Pair | None) -> Window | str:
    """Return the layer's window, or "whole" where each unit sees the whole map (or cells differ in size)."""
    if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        parts = {key: getattr(module, key, 1) for key in ("kernel_size", "stride", "padding", "dilation")}
        kernel, stride, padding, dilation = (errors.pair(op, key, value) for key, value in parts.items())
        return Window(kernel, stride, padding, dilation, getattr(module, "ceil_mode", False))
    if isinstance(module, (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)):
        sides, wanted = _needed(op, layer, sides), module.output_size
        both = wanted if isinstance(wanted, (tuple, list)) else (wanted, wanted)
        cells = [n if c is None else c for n, c in zip(sides, both, strict=True)]
        if any(n % c for n, c in zip(sides, cells, strict=True)):
            return "whole"
        step = sides[0] // cells[0], sides[1] // cells[1]
        return Window(step, step, (0, 0), cells=(cells[0], cells[1]))
    if isinstance(module, nn.ZeroPad2d):
        left, right, top, bottom = module.padding
        return Window((1, 1), (1, 1), (top, left), after=(bottom, right))
    if isinstance(module, lenet.PartialConv2d):
        return Window((module.kernel_size,) * 2, (1, 1), (0, 0))
    if isinstance(module, lenet.Subsample):
        return Window((2, 2), (2, 2), (0, 0))
    if isinstance(module, (nn.Flatten, nn.Linear)):
        return "whole"
    raise TypeError(
        f"{op}: the reach of layer {name!r}, a {type(module).__name__}, is not known; "
        "wanted convolutions, pools, elementwise layers, normalisation, flatten, fully connected layers; for networks "
        "with branches there are occlusion and saliency"
    )


def _needed(op: str, layer: str, sides: Pair | None) -> Pair:
    if sides is None:
        raise ValueError(f"{op}: {layer!r} depends on the image's size, which the model does not say; give image_size")
    return sides
