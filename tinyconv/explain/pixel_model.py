"""A network that takes pixels in [0, 1] though it was trained on normalised ones. See :class:`PixelModel`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import device, nn
from tinyconv.data.colour import Normalize
from tinyconv.data.transforms import Compose, PCAColor, SubtractMean, Transform
from tinyconv.evaluation import home
from tinyconv.explain.layers import check_model
from tinyconv.tensor import Tensor

_COLOURS = (Normalize, SubtractMean, PCAColor)  # change values, so that nothing before them is in [0, 1]


class PixelModel(nn.Module):
    """A network with the normalisation of its inputs before it: model((x - mean) / std), x in [0, 1].

    Attacks then act on pixels: their eps and their box mean the same for every network. It shares the model's
    parameters, and mean and deviation move with it between devices.

    Parameters
    ----------
    model : Module
    transform : Transform, optional
        What the model's images went through: ``Normalize``, or a ``Compose`` that ends with it (as
        ``from_description(model.meta["transform"])``, say). What comes before, such as ``Resize``, is not done here:
        apply it first, see :func:`pixel_model`. None, or a transform without ``Normalize``: x is left as it is.

    Raises
    ------
    ValueError
        Something comes after ``Normalize``, or colours are changed in another way.
    """

    def __init__(self, model: Any, transform: Any = None) -> None:
        super().__init__()
        check_model("PixelModel", model)
        _, scale = split("PixelModel", transform)
        self.model = model
        self.input_shape = getattr(model, "input_shape", None)
        like = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
        for name, values in (("mean", scale and scale.mean), ("std", scale and scale.std)):
            tensor = None
            if scale is not None:
                tensor = Tensor(device.move(np.array(values, like).reshape(1, -1, 1, 1), home(model)))
            self.register_buffer(name, tensor, persistent=False)
        self.training = model.training  # train() would set the model's own modules, too

    def forward(self, x: Tensor) -> Any:
        """Map images (N, C, H, W) in [0, 1] to the model's outputs."""
        return self.model(x if self.mean is None else (x - self.mean) / self.std)


def pixel_model(model: Any, transform: Any) -> tuple[Compose, PixelModel]:
    """Return (geometry, network on pixels) for a model and what its images went through.

    ``geometry`` is all of the transform before ``Normalize``, such as resizing and cropping: apply it to each image,
    then attack the second on what comes out.
    """
    geometry, _ = split("pixel_model", transform)
    return geometry, PixelModel(model, transform)


def split(op: str, transform: Any) -> tuple[Compose, Normalize | None]:
    """Return what comes before Normalize, and Normalize itself if it is there, or raise."""
    parts = _parts(op, transform)
    last = parts[-1] if parts and isinstance(parts[-1], Normalize) else None
    before = parts if last is None else parts[:-1]
    for i, part in enumerate(before):
        if isinstance(part, _COLOURS):
            kind = type(part).__name__
            where = f"{type(parts[i + 1]).__name__} after it" if i + 1 < len(parts) else "it at the end"
            raise ValueError(
                f"{op}: transform may change colours by one Normalize at its end, got {kind} with {where}; attack the "
                "model itself, with clip= the range of its inputs"
            )
    return Compose(before), last


def _parts(op: str, transform: Any) -> list[Transform]:
    """Return the transforms in order, nested ones unfolded."""
    if transform is None:
        return []
    if isinstance(transform, Compose):
        return [part for inner in transform.transforms for part in _parts(op, inner)]
    if not isinstance(transform, Transform):
        raise TypeError(f"{op}: transform must be a Transform or None, got {type(transform).__name__}")
    return [transform]
