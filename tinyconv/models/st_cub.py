"""The network for birds of Jaderberg et al. 2015, sec. 4.3: transformers that choose parts. See :func:`st_cub`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import errors, nn
from tinyconv import functional as F
from tinyconv.function import no_grad
from tinyconv.models.googlenet import googlenet
from tinyconv.models.registry import describe
from tinyconv.models.spatial_transformer import SpatialTransformer, on_host, start_with
from tinyconv.models.stack import check_image_size, check_scale, wide
from tinyconv.tensor import Tensor

SCALE = 0.5  # of what a transformer looks at: fixed, a quarter of the image
REDUCED = 128  # filters of the 1x1 convolution and units of the localisation network's hidden layer
SIZE = {"paper": 224, "lesson": 32}  # pixels that an Inception network sees
STRIDE = {"paper": 32, "lesson": 8}  # of its last maps, in pixels
DROPOUT = {"paper": 0.7, "lesson": 0.2}  # of the features of each part
# Where the transformers first look, (x, y): at different places, so that they become different; four tile the image.
STARTS = {1: ((0, 0),), 2: ((-0.5, 0), (0.5, 0)), 4: ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5))}


class PartsNetwork(nn.Module):
    """See :func:`st_cub`.

    Attributes
    ----------
    localisation : Sequential or None
        Image -> the shifts of all transformers (N, 2 T).
    transformers : ModuleList of SpatialTransformer
    describers : ModuleList
        An Inception network for each transformer: (N, C, S, S) -> (N, features).
    fc : Linear
    """

    def __init__(
        self, localisation: nn.Module | None, transformers: list[SpatialTransformer], describers: list[nn.Module],
        fc: nn.Linear, size: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.localisation, self.transformers = localisation, nn.ModuleList(transformers)
        self.describers, self.fc, self.size = nn.ModuleList(describers), fc, size

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to scores (N, num_classes)."""
        seen = [output for _, output in self._looks(x)] if len(self.transformers) else [self._small(x)]
        return self.fc(F.cat([describe(part) for describe, part in zip(self.describers, seen, strict=True)], 1))

    def _small(self, x: Tensor) -> Tensor:
        """Return the image in the size that Inception networks see."""
        errors.check_ndim("PartsNetwork", "x", x, 4, "(N, C, H, W)")
        height, width = x.shape[2:]
        if height != width or height % self.size or not height:
            raise ValueError(
                f"PartsNetwork: x must be square, its sides a multiple of {self.size} pixels, got {height} x {width}; "
                "resize the images"
            )
        factor = height // self.size
        return F.avg_pool2d(x, factor) if factor > 1 else x

    def _looks(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        assert self.localisation is not None
        shifts = self.localisation(self._small(x))
        return [st.look(x, shifts[:, 2 * k : 2 * k + 2]) for k, st in enumerate(self.transformers)]

    def attended(self, x: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the grid (N, S, S, 2) and the output (N, C, S, S) of every transformer, without gradients."""
        with no_grad():
            return on_host(self._looks(x)) if len(self.transformers) else []


def st_cub(
    num_classes: int = 200,
    *,
    transformers: int = 4,
    in_channels: int = 3,
    image_size: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> PartsNetwork:
    """Build the network in which each transformer crops half the image's height and width for an Inception network.

    One localisation network, an Inception network to its last 7x7 maps, a 1x1 convolution of 128 filters and 128 units,
    says where all transformers look (2 numbers each: the scale is fixed). The features of all parts together are
    classified. The paper's localisation network learned at 1e-4 of the rate of the rest: give an optimizer
    :func:`~tinyconv.models.spatial_transformer.parameter_groups` ``(model, lr, 1e-4)``. That takes the paper's many
    steps; ``tinyconv train`` has .1.

    The paper's Inception networks are Ioffe & Szegedy 2015's, with batch normalisation, trained on ImageNet. Here they
    are the GoogLeNet with batch normalisation of ``googlenet(variant="torchvision")``: the same 7x7x1024 maps, but
    fewer filters before.

    Parameters
    ----------
    transformers : {0, 1, 2, 4}
        0: the plain Inception network.
    image_size : int
        Height and width of the input in pixels: 224, or a multiple of it, such as 448. Transformers see it in full, the
        localisation network in 224; "lesson": 32.
    scale : str
        "paper", or "lesson": Inception networks at the scale of lesson 04.
    width : float
        Factor of all filters and hidden units (rounded to even numbers).

    Raises
    ------
    ValueError
        Another number of transformers, an unknown scale, or another image size, also of the images in a call.
    """
    name = "st_cub"
    check_scale(name, scale, width)
    size = SIZE[scale]
    image_size = size if image_size is None else image_size
    check_image_size(name, image_size)
    if image_size % size:
        raise ValueError(f"{name}: image_size must be a multiple of {size}, got {image_size}")
    if isinstance(transformers, bool) or not isinstance(transformers, int) or transformers not in (0, *STARTS):
        raise ValueError(f"{name}: transformers must be 0, 1, 2 or 4, got {transformers!r}")
    where: dict[str, Any] = {"device": device, "dtype": dtype}

    def inception(pooled: bool) -> tuple[nn.Sequential, int]:
        whole = googlenet(
            1, variant="torchvision", aux=False, in_channels=in_channels, image_size=size, scale=scale, width=width,
            **where,
        )  # fmt: skip
        left_out = ("fc",) if pooled else ("avgpool", "flatten", "dropout", "fc")
        whole.dropout.p = DROPOUT[scale]
        layers = {name: layer for name, layer in whole.named_children() if name not in left_out}
        return nn.Sequential(layers), whole.fc.weight.shape[1]

    look = None
    if transformers:
        trunk, channels = inception(False)
        side = SIZE[scale] // STRIDE[scale]
        reduced = wide(REDUCED, width)
        layers = dict(trunk.named_children()) | {
            "reduce": nn.Conv2d(channels, reduced, 1, **where), "relu_reduce": nn.ReLU(), "flatten": nn.Flatten(),
            "fc": nn.Linear(reduced * side**2, reduced, **where), "relu": nn.ReLU(),
            "theta": nn.Linear(reduced, 2 * transformers, **where),
        }  # fmt: skip
        look = nn.Sequential(layers)
        start_with(look, [shift for place in STARTS[transformers] for shift in place])
    describers = [inception(True) for _ in range(max(transformers, 1))]
    fc = nn.Linear(len(describers) * describers[0][1], num_classes, **where)
    parts = [SpatialTransformer(None, "attention", size, fixed_scale=SCALE) for _ in range(transformers)]
    model = PartsNetwork(look, parts, [network for network, _ in describers], fc, size)
    return describe(
        model, name, (in_channels, image_size, image_size), num_classes=num_classes, transformers=transformers,
        in_channels=in_channels, image_size=image_size, scale=scale, width=width, dtype=np.dtype(dtype).name,
    )  # fmt: skip
