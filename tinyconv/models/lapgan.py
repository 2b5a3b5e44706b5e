"""LAPGAN (Denton et al. 2015): a small image, and a generator for the detail of every doubling. See :func:`lapgan`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import functional as F
from tinyconv import nn
from tinyconv.function import no_grad
from tinyconv.models.gan import GAN, Pair, uniform_
from tinyconv.models.registry import describe
from tinyconv.models.stack import check_image_size, check_scale, wide
from tinyconv.tensor import Tensor

# fmt: off
SCALES = {
    #          image, channels, levels  z    coarse: generator, discriminator  its weights +-  details: maps, windows
    "paper":  ((32, 3, 2),              100, (8000, 8000), (1600, 1600),       (0.05, 0.005),  64, (7, 7, 5)),
    "lesson": ((28, 1, 2),              64,  (256, 256), (128, 128),           (0.1, None),    16, (5, 5, 5)),
}
# fmt: on
DROPPED = 0.5


class Detail(GAN):
    """A level of the pyramid: generator and discriminator of what an image has more than its small copy, enlarged.

    The generator sees a map of noise beside the enlarged copy l and puts out the difference h; the discriminator sees
    the sum l + h, real or generated (Denton et al. 2015, sec. 2.3 and fig. 2).
    """

    def fake(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            raise ValueError("Detail: condition, the enlarged image, is missing; LAPGAN.sample makes whole images")
        noise = z.reshape(len(z), 1, *self.image_shape[1:])
        return self.generator(F.cat((noise, condition), 1))

    def judge(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            raise ValueError("Detail: condition, the enlarged image, is missing")
        return self.discriminator(images + condition)


class LAPGAN(GAN):
    """Networks for a pyramid: ``coarse`` makes the smallest image, ``details`` (finest first) what each doubling adds.

    ``latent`` and ``sample`` are a :class:`GAN`'s; a latent point holds the noise of all levels, coarsest first.
    ``forward`` gives the logits of all discriminators on a generated pyramid, finest first.
    """

    def __init__(self, coarse: GAN, details: list[Detail]) -> None:
        nn.Module.__init__(self)
        self.coarse, self.details = coarse, nn.ModuleList(details)
        self.image_shape, self.value_range = details[0].image_shape, coarse.value_range
        self.prior = ("uniform", 1.0)
        self.sizes = [coarse.latent_shape[0], *[math.prod(d.image_shape[1:]) for d in reversed(details)]]
        self.input_shape = (sum(self.sizes),)

    def forward(self, z: Tensor) -> Any:
        image, *noise = self._parts(z)
        image = self.coarse.fake(image)
        logits = [self.coarse.judge(image)]
        for detail, part in zip(reversed(list(self.details)), noise, strict=True):
            enlarged = up(image)
            difference = detail.fake(part, enlarged)
            logits.insert(0, detail.judge(difference, enlarged))
            image = enlarged + difference
        return tuple(logits)

    def images(self, z: Tensor) -> Tensor:
        """Return generated images: the coarsest, then doubled, with generated detail added, level by level."""
        return self.stages(z)[0]

    def stages(self, z: Tensor) -> list[Tensor]:
        """Return the generated image of every level, finest first."""
        first, *noise = self._parts(z)
        made = [self.coarse.fake(first)]
        for detail, part in zip(reversed(list(self.details)), noise, strict=True):
            enlarged = up(made[0])
            made.insert(0, enlarged + detail.fake(part, enlarged))
        return made

    def pairs(self, images: Tensor) -> list[Pair]:
        """Return what each level learns from images in [0, 1]: h given u(d(I)), and the smallest image; finest first.

        The levels learn apart, each from real images only (sec. 2.3): no gradient goes from one to the next. In the
        paper an image shows D either its real or a generated h, with even odds; here every image shows both.
        """
        image, pairs = self.scaled(images), []
        with no_grad():
            for detail in self.details:
                small = down(image)
                enlarged = up(small)
                pairs.append(Pair(detail, image - enlarged, enlarged, str(image.shape[-1])))
                image = small
        return [*pairs, Pair(self.coarse, image, None, str(image.shape[-1]))]

    def _parts(self, z: Tensor) -> list[Tensor]:
        edges = np.cumsum([0, *self.sizes])
        return [z[:, int(a) : int(b)] for a, b in zip(edges[:-1], edges[1:], strict=True)]


def down(images: Tensor) -> Tensor:
    """Return half the side, means of 2x2 pixels (the paper's d blurs, and takes every second pixel).

    The same as :func:`tinyconv.vision.pyramid.down`, on Tensors.
    """
    return F.avg_pool2d(images, 2)


def up(images: Tensor) -> Tensor:
    """Return twice the side, bilinear: the paper's u; :func:`tinyconv.vision.pyramid.up` on Tensors."""
    return F.interpolate(images, scale_factor=2, mode="bilinear")


def lapgan(
    *,
    in_channels: int | None = None,
    image_size: int | None = None,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> LAPGAN:
    """Build LAPGAN with the networks that Denton et al. 2015 released for CIFAR-10.

    The smallest image comes from a fully connected pair: generator of 8,000 ReLUs, 8,000 sigmoids and linear pixels,
    discriminator of two layers of 1,600 ReLUs with dropout. Each doubling has a generator of three convolutions (7x7,
    7x7, 5x5, 64 maps) that sees a map of noise beside the enlarged image, and a discriminator of two (5x5, 64 maps, the
    second of stride 2) with dropout and one logit. Images in [-1, 1], noise uniform in [-1, 1].

    Parameters
    ----------
    in_channels, image_size : int
        Of the largest images: 3 and 32 ("lesson": 1 and 28). The side must be a multiple of 4: it is halved twice.
    scale : str
        "paper", or "lesson": hidden layers of 256 and 128 units, 16 maps, windows of 5x5.
    width : float
        Factor of all hidden units and maps (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown scale, or an image size that cannot be halved so often.
    """
    check_scale("lapgan", scale, width)
    (side, channels, levels), size, made, judge, ranges, maps, windows = SCALES[scale]
    side, channels = side if image_size is None else image_size, channels if in_channels is None else in_channels
    check_image_size("lapgan", side)
    if side % 2**levels:
        raise ValueError(f"lapgan: image_size must be a multiple of {2**levels}, got {side}; resize the images")
    where = {"device": device, "dtype": dtype}
    shape = (channels, side >> levels, side >> levels)
    networks = (
        _coarse_generator(size, [wide(n, width) for n in made], shape, where),
        _coarse_discriminator(math.prod(shape), [wide(n, width) for n in judge], where),
    )
    for network, limit in zip(networks, ranges, strict=True):
        uniform_(network, limit)
    coarse = GAN(*networks, size, shape, (-1.0, 1.0))
    details = [_detail(channels, side >> level, wide(maps, width), windows, where) for level in range(levels)]
    model = LAPGAN(coarse, details)
    assert model.input_shape is not None
    return describe(
        model, "lapgan", model.input_shape, in_channels=channels, image_size=side, scale=scale, width=width,
        dtype=np.dtype(dtype).name,
    )  # fmt: skip


def _coarse_generator(size: int, hidden: list[int], shape: tuple[int, ...], where: dict[str, Any]) -> nn.Sequential:
    first, second = hidden
    return nn.Sequential({
        "fc1": nn.Linear(size, first, **where), "relu1": nn.ReLU(),
        "fc2": nn.Linear(first, second, **where), "sigmoid2": nn.Sigmoid(),
        "fc3": nn.Linear(second, math.prod(shape), **where), "image": nn.Unflatten(1, shape),
    })  # fmt: skip


def _coarse_discriminator(inputs: int, hidden: list[int], where: dict[str, Any]) -> nn.Sequential:
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for number, units in enumerate(hidden, 1):
        layers[f"fc{number}"], layers[f"relu{number}"] = nn.Linear(inputs, units, **where), nn.ReLU()
        layers[f"drop{number}"], inputs = nn.Dropout(DROPPED), units
    layers["fc3"], layers["logit"] = nn.Linear(inputs, 1, **where), nn.Flatten(0)
    return nn.Sequential(layers)


def _detail(channels: int, side: int, maps: int, windows: tuple[int, int, int], where: dict[str, Any]) -> Detail:
    first, second, third = windows
    generator = nn.Sequential({
        "conv1": nn.Conv2d(1 + channels, maps, first, padding=first // 2, **where), "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(maps, maps, second, padding=second // 2, **where), "relu2": nn.ReLU(),
        "conv3": nn.Conv2d(maps, channels, third, padding=third // 2, **where),
    })  # fmt: skip
    half = (side + 1) // 2
    discriminator = nn.Sequential({
        "conv1": nn.Conv2d(channels, maps, 5, padding=2, **where), "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(maps, maps, 5, stride=2, padding=2, **where), "relu2": nn.ReLU(),
        "flatten": nn.Flatten(), "drop": nn.Dropout(DROPPED),
        "fc": nn.Linear(maps * half * half, 1, **where), "logit": nn.Flatten(0),
    })  # fmt: skip
    return Detail(generator, discriminator, side * side, (channels, side, side), (-1.0, 1.0))
