"""The networks for house numbers of Jaderberg et al. 2015, sec. 4.2: transformers at the input, or in the depth.

See :func:`st_svhn`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import device as devices
from tinyconv import errors, nn
from tinyconv import functional as F
from tinyconv.models.registry import describe
from tinyconv.models.spatial_transformer import SpatialTransformer
from tinyconv.models.stack import check_image_size, check_scale, wide
from tinyconv.tensor import Tensor

FILTERS = (48, 64, 128, 160, 192, 192, 192, 192)  # of conv1 to conv8, all 5x5
POOLED = (1, 3, 5, 7)  # a 2x2 max pool follows these
HIDDEN = 3072  # units of fc9 and fc10
LOOKED = 32  # filters and units of the localisation networks
CHARACTERS = 5  # of the longest number; each is a digit or nothing
FACTOR = {"paper": 1.0, "lesson": 0.125}  # of all filters and hidden units but the localisation networks'
FORMS = ("none", "single", "multi")


class HouseNumbers(nn.Sequential):
    """See :func:`st_svhn`; maps (N, C, H, W) to scores (N, 5, num_classes)."""

    @staticmethod
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropies of the five characters, summed; the mean over the images.

        Parameters
        ----------
        outputs : Tensor, (N, 5, K)
        labels : Tensor, (N, 5), int64
            K - 1 is "no character here".
        """
        _check_pair("loss", outputs, labels)
        return F.cross_entropy(outputs.reshape(-1, outputs.shape[2]), labels.reshape(-1)) * float(outputs.shape[1])

    @staticmethod
    def sequence_error(outputs: Tensor, labels: Tensor) -> float:
        """Return the share of images of which any character is wrong, the paper's measure (table 2).

        Arguments are those of :meth:`loss`; of no images at all there is no share, a ValueError.
        """
        _check_pair("sequence_error", outputs, labels)
        if not len(outputs):
            raise ValueError("HouseNumbers.sequence_error: wanted at least one image, got none")
        wrong = devices.host(outputs.data).argmax(2) != devices.host(labels.data)
        return float(wrong.any(1).mean())


def _check_pair(method: str, outputs: Tensor, labels: Tensor) -> None:
    """Raise unless there is one label for every character."""
    op = f"HouseNumbers.{method}"
    errors.check_ndim(op, "outputs", outputs, 3, "(N, 5, K)")
    errors.check_shape(op, "labels", labels, outputs.shape[:2], "as outputs have (N, 5, K)")
    errors.check_integer(op, "labels", labels)


def st_svhn(
    num_classes: int = 11,
    *,
    form: str = "multi",
    in_channels: int = 3,
    image_size: int = 64,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> HouseNumbers:
    """Build the network that reads numbers of up to five digits: eight convolutions, two hidden layers, five softmaxes.

    Train it with ``loss=HouseNumbers.loss``. Every ReLU but the first is followed by dropout of a half (after the pool,
    where there is one); localisation networks have none. The paper's learned at a tenth of the rate: give an optimizer
    :func:`~tinyconv.models.spatial_transformer.parameter_groups` ``(model, lr, 0.1)``.

    Parameters
    ----------
    num_classes : int
        Outputs for each of the five characters: ten digits and "none".
    form : {"none", "single", "multi"}
        "none": the plain CNN. "single": one affine transformer at the input; its localisation network has two
        convolutions 5x5 of 32 filters with a 2x2 max pool between, and two layers of 32 units. "multi": one before each
        of the first four convolutions, on its maps; their localisation networks are two layers of 32 units.
    image_size : int
        Height and width in pixels: 64, or 128 for the wider crops; a multiple of 16.
    scale : str
        "paper", or "lesson": an eighth of the filters and hidden units.
    width : float
        Factor of all filters and hidden units (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown form or scale, or an image size that four pools do not divide.
    """
    name = "st_svhn"
    errors.check_choice(name, "form", form, FORMS)
    check_scale(name, scale, width)
    check_image_size(name, image_size)
    if image_size % 2 ** len(POOLED):
        raise ValueError(f"{name}: image_size must be a multiple of 16, of which four pools leave a whole, "
                         f"got {image_size}")  # fmt: skip
    where: dict[str, Any] = {"device": device, "dtype": dtype}
    factor = width * FACTOR[scale]
    layers: dict[str, nn.Module] = {}
    channels, side = in_channels, image_size
    for number, full in enumerate(FILTERS, 1):
        if (form == "multi" and number <= 4) or (form == "single" and number == 1):
            look = _look(channels, side, form == "single", where)
            layers[f"st{number}"] = SpatialTransformer(look, "affine")
        filters = wide(full, factor)
        layers[f"conv{number}"] = nn.Conv2d(channels, filters, 5, padding=2, **where)
        layers[f"relu{number}"] = nn.ReLU()
        if number in POOLED:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
            side //= 2
        if number > 1:
            layers[f"dropout{number}"] = nn.Dropout(0.5)
        channels = filters
    layers["flatten"] = nn.Flatten()
    inputs, units = channels * side**2, wide(HIDDEN, factor)
    for number in (9, 10):
        layers[f"fc{number}"] = nn.Linear(inputs, units, **where)
        layers |= {f"relu{number}": nn.ReLU(), f"dropout{number}": nn.Dropout(0.5)}
        inputs = units
    layers["scores"] = nn.Linear(inputs, CHARACTERS * num_classes, **where)
    layers["characters"] = nn.Unflatten(1, (CHARACTERS, num_classes))
    return describe(
        HouseNumbers(layers), name, (in_channels, image_size, image_size), num_classes=num_classes, form=form,
        in_channels=in_channels, image_size=image_size, scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip


def _look(channels: int, side: int, convolutional: bool, where: dict[str, Any]) -> nn.Sequential:
    """Return a localisation network for maps (channels, side, side)."""
    layers: dict[str, nn.Module] = {}
    if convolutional:
        layers = {
            "conv1": nn.Conv2d(channels, LOOKED, 5, padding=2, **where), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(LOOKED, LOOKED, 5, padding=2, **where), "relu2": nn.ReLU(),
        }  # fmt: skip
        channels, side = LOOKED, side // 2
    layers |= {
        "flatten": nn.Flatten(),
        "fc3": nn.Linear(channels * side**2, LOOKED, **where), "relu3": nn.ReLU(),
        "fc4": nn.Linear(LOOKED, LOOKED, **where), "relu4": nn.ReLU(),
        "theta": nn.Linear(LOOKED, 6, **where),
    }  # fmt: skip
    return nn.Sequential(layers)
