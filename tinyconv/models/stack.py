"""What AlexNet, ZF Net and VGG share: layers one after another by the papers' names, then fc6, fc7, fc8."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import errors, nn
from tinyconv.nn import init
from tinyconv_kernels.geometry import output_size


class Stack:
    """Collects the layers of a network and keeps the shape (channels, side, side) that the last of them puts out.

    Parameters
    ----------
    name : str
        The builder's, for errors.
    image_size : int
        Side of the square input in pixels.
    where : dict
        ``device`` and ``dtype`` of all parameters.
    """

    def __init__(self, name: str, in_channels: int, image_size: int, scale: str, where: dict[str, Any]) -> None:
        check_image_size(name, image_size)
        self.name, self.scale, self.where = name, scale, where
        self.channels, self.side, self.image_size = in_channels, image_size, image_size
        self.layers: dict[str, nn.Module] = {}

    def conv(self, part: Any, filters: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1) -> None:
        """Add ``conv<part>`` and ``relu<part>``."""
        size = (kernel, stride, padding)
        self.layers[f"conv{part}"] = nn.Conv2d(self.channels, filters, *size, groups=groups, **self.where)
        self.layers[f"relu{part}"] = nn.ReLU()
        self.channels, self.side = filters, _shrink(self.side, *size, False)

    def norm(self, number: int) -> None:
        """Add ``norm<number>``: local response normalisation with the formula and constants of AlexNet, sec. 3.3."""
        layer = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, alpha_over_size=False)
        self.layers[f"norm{number}"] = layer

    def pool(self, number: int, kernel: int, stride: int, ceil_mode: bool = False) -> None:
        """Add ``pool<number>``, a max pool without padding."""
        self.layers[f"pool{number}"] = nn.MaxPool2d(kernel, stride, ceil_mode=ceil_mode)
        self.side = _shrink(self.side, kernel, stride, 0, ceil_mode)

    def classifier(self, hidden: int, num_classes: int, *, inverted: bool, dropout_first: bool = False) -> None:
        """Add flatten, fc6 and fc7 with ReLU and dropout (0.5), and fc8.

        Raises
        ------
        ValueError
            Nothing is left of the image.
        """
        if self.side < 1:
            advice = "" if self.scale == "lesson" else '; scale="lesson" is for small images'
            raise ValueError(
                f"{self.name}: image_size={self.image_size} is too small, no pixel is left after pool5{advice}"
            )
        self.layers["flatten"] = nn.Flatten()
        for number, units in ((6, self.channels * self.side * self.side), (7, hidden)):
            drop = {f"dropout{number}": nn.Dropout(0.5, inverted=inverted)}
            block = {f"fc{number}": nn.Linear(units, hidden, **self.where), f"relu{number}": nn.ReLU()}
            self.layers |= drop | block if dropout_first else block | drop
        self.layers["fc8"] = nn.Linear(hidden, num_classes, **self.where)


def check_scale(name: str, scale: str, width: float) -> None:
    """Raise unless the scale is known and the width a positive factor."""
    errors.check_choice(name, "scale", scale, ("paper", "lesson"))
    if not width > 0:
        raise ValueError(f"{name}: width must be positive, got {width}")


def chosen(given: tuple[Any, ...], usual: tuple[Any, ...]) -> list[Any]:
    """Return the given sizes of a network, and in the place of None the usual ones of its scale."""
    return [default if value is None else value for value, default in zip(given, usual, strict=True)]


def check_image_size(name: str, size: Any, argument: str = "image_size") -> None:
    """Raise unless the size is one number of pixels: the networks are built for square images."""
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"{name}: {argument} must be the side of a square image in pixels, an int, got {size!r}")


def wide(units: float, width: float) -> int:
    """Return the units times width, an even number (for groups) of at least 2."""
    return max(2, 2 * round(units * width / 2))


def _shrink(side: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """Return the side of the output, 0 once the window no longer fits."""
    return output_size(side, kernel, stride, padding, 1, ceil_mode) if side + 2 * padding >= kernel else 0


def weighted(model: nn.Module) -> list[tuple[str, Any]]:
    """Return the convolutions and fully connected layers by name."""
    return [(name, layer) for name, layer in model.named_children() if name.startswith(("conv", "fc"))]


def gaussian_(model: nn.Module, std: float = 0.01, ones: tuple[str, ...] = ()) -> None:
    """Draw weights from N(0, std^2); biases are 1 in the layers named in ``ones``, else 0."""
    for name, layer in weighted(model):
        init.normal_(layer.weight, std=std)
        init.constant_(layer.bias, 1.0 if name in ones else 0.0)


def he_(model: nn.Module) -> None:
    """Draw weights from N(0, 2 / fan_in) (He et al. 2015), half that variance in fc8, which no ReLU follows."""
    for name, layer in weighted(model):
        init.kaiming_normal_(layer.weight, nonlinearity="linear" if name == "fc8" else "relu")
        init.zeros_(layer.bias)
