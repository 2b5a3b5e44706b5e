"""DCGAN (Radford, Metz, Chintala 2015): a generator and a discriminator of convolutions. See :func:`dcgan`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import nn
from tinyconv.models.gan import GAN
from tinyconv.models.registry import describe
from tinyconv.models.stack import check_image_size, check_scale, wide
from tinyconv.nn import init

# fmt: off
SCALES = {
    #          image  channels  z    maps of the generator, from the smallest image on
    "paper":  (64,    3,        100, (1024, 512, 256, 128)),
    "lesson": (28,    1,        64,  (64, 32)),
}
# fmt: on
KERNEL, SLOPE, STD = 5, 0.2, 0.02


def dcgan(
    *,
    in_channels: int | None = None,
    image_size: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> GAN:
    """Build DCGAN (Radford et al. 2015, fig. 1): the same maps in both networks, in opposite order.

    The paper's rules: no pooling, convolutions of stride 2 halve an image and transposed ones double it; batch
    normalisation everywhere but at the generator's output and the discriminator's input; no hidden fully connected
    layers; ReLU in the generator and tanh at its end, LeakyReLU 0.2 in the discriminator. Weights N(0, 0.02^2), biases
    0, images in [-1, 1], z uniform in [-1, 1].

    Parameters
    ----------
    in_channels, image_size : int
        Of the images: 3 and 64 ("lesson": 1 and 28). The side must divide by 2 once for every convolution.
    scale : str
        "paper": maps of 1024, 512, 256 and 128 from 4x4 to 32x32. "lesson": 64 and 32, from 7x7 to 14x14.
    width : float
        Factor of all maps (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown scale, or an image size that cannot be halved so often.
    """
    check_scale("dcgan", scale, width)
    side, channels, size, maps = SCALES[scale]
    side, channels = side if image_size is None else image_size, channels if in_channels is None else in_channels
    check_image_size("dcgan", side)
    factor = 2 ** len(maps)
    if side % factor:
        raise ValueError(
            f"dcgan: image_size must be a multiple of {factor} for {len(maps)} convolutions of stride 2, got {side}; "
            "resize the images"
        )
    widths, where = [wide(n, width) for n in maps], {"device": device, "dtype": dtype}
    made = _generator(size, widths, side // factor, channels, where)
    judge = _discriminator(channels, widths[::-1], side // factor, where)
    model = GAN(made, judge, size, (channels, side, side), value_range=(-1.0, 1.0), prior=("uniform", 1.0))
    for name, p in model.named_parameters():
        if p.ndim > 1:
            init.normal_(p, 0.0, STD)
        elif name.endswith("bias"):
            init.zeros_(p)
    return describe(
        model, "dcgan", (size,), in_channels=channels, image_size=side, scale=scale, width=width,
        dtype=np.dtype(dtype).name,
    )  # fmt: skip


def _generator(size: int, maps: list[int], side: int, channels: int, where: dict[str, Any]) -> nn.Sequential:
    """Return the generator: z becomes ``maps[0]`` maps of side x side, which are doubled once for every number."""
    layers: dict[str, nn.Module] = {
        "project": nn.Linear(size, maps[0] * side * side, bias=False, **where),  # batch normalisation has the bias
        "maps": nn.Unflatten(1, (maps[0], side, side)),
    }
    for number, (inputs, outputs) in enumerate(zip(maps, [*maps[1:], channels], strict=True), 1):
        layers[f"bn{number}"], layers[f"relu{number}"] = nn.BatchNorm2d(inputs, **where), nn.ReLU()
        # Padding 2 and one more at the far end: exactly twice the side.
        layers[f"deconv{number}"] = nn.ConvTranspose2d(
            inputs, outputs, KERNEL, stride=2, padding=KERNEL // 2, output_padding=1, bias=number == len(maps), **where
        )
    return nn.Sequential({**layers, "tanh": nn.Tanh()})


def _discriminator(channels: int, maps: list[int], side: int, where: dict[str, Any]) -> nn.Sequential:
    """Return the discriminator: halved once for every number of maps, then one logit."""
    layers: dict[str, nn.Module] = {}
    for number, (inputs, outputs) in enumerate(zip([channels, *maps], maps, strict=False), 1):
        layers[f"conv{number}"] = nn.Conv2d(
            inputs, outputs, KERNEL, stride=2, padding=KERNEL // 2, bias=number == 1, **where
        )
        if number > 1:
            layers[f"bn{number}"] = nn.BatchNorm2d(outputs, **where)
        layers[f"lrelu{number}"] = nn.LeakyReLU(SLOPE)
    layers["flatten"] = nn.Flatten()
    layers["fc"], layers["logit"] = nn.Linear(maps[-1] * side * side, 1, **where), nn.Flatten(0)
    return nn.Sequential(layers)
