"""The generative adversarial networks of Goodfellow et al. 2014: two that learn against each other. See :func:`gan`.

The generator makes images of noise; the discriminator says of images whether they are real. :mod:`tinyconv.generative`
trains them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinyconv import device as devices
from tinyconv import errors, nn, random
from tinyconv.function import no_grad
from tinyconv.models.registry import describe
from tinyconv.models.stack import check_image_size, check_scale, wide
from tinyconv.nn import init
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor

# fmt: off
SCALES = {
    #          z    generator     maxout units, pieces  weights +-: generator, discriminator (None: 1 / sqrt(inputs))
    "paper":  (100, (1200, 1200), (240, 240), 5,        0.05, 0.005),
    "lesson": (64,  (512, 512),   (128, 128), 3,        0.1,  None),
}
# fmt: on
DROPPED = (0.2, 0.5)  # of the discriminator's input, of its hidden units
_BATCH = 100  # images that are made at a time


class Pair(NamedTuple):
    """What one generator and its discriminator learn from a batch: real images, and what both are told about them."""

    networks: GAN
    real: Tensor
    condition: Tensor | None
    name: str = ""


class GAN(nn.Module):
    """A generator z -> image and a discriminator image -> logit of being real.

    ``forward(z)`` gives the discriminator's logits (N,) of generated images, so that a summary shows both networks.

    Attributes
    ----------
    generator, discriminator : Module
        z (N, Z) -> images (N, C, H, W) within ``value_range``; images -> logits (N,).
    image_shape : (int, int, int)
        C, H, W.
    value_range : (float, float)
        What black and white are for the two networks: (0, 1), or (-1, 1).
    prior : (str, float)
        ("uniform", a): every element of z is drawn from [-a, a); ("normal", a): from N(0, a^2).
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        latent_size: int,
        image_shape: tuple[int, int, int],
        value_range: tuple[float, float] = (0.0, 1.0),
        prior: tuple[str, float] = ("uniform", 1.0),
    ) -> None:
        super().__init__()
        errors.check_choice("GAN", "prior", prior[0], ("uniform", "normal"))
        if not 0 < prior[1] < math.inf:
            raise ValueError(f"GAN: prior must have a positive, finite scale, got {prior}")
        self.generator, self.discriminator = generator, discriminator
        self.input_shape, self.image_shape = (latent_size,), image_shape
        self.value_range, self.prior = value_range, prior

    def forward(self, z: Tensor) -> Tensor:
        return self.judge(self.fake(z))

    def fake(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return generated images, on which gradients go back to the generator."""
        return self.generator(z)

    def judge(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the logit (N,) of being real: D = sigmoid(logit)."""
        return self.discriminator(images)

    def pairs(self, images: Tensor) -> list[Pair]:
        """Return what is learnt from a batch of images (N, C, H, W) in [0, 1]."""
        return [Pair(self, self.scaled(images), None)]

    # -------------------------------------------------------------------------------------------------------- sampling
    def latent(self, n: int, seed: int = 0, stream: str = "gan.sample", step: int = 0) -> np.ndarray:
        """Draw n latent points (n, Z), float32, from the prior; the first m of n are the m of a smaller draw."""
        kind, scale = self.prior
        rng, shape = random.generator(seed, stream, step), (n, *self.latent_shape)
        if kind == "normal":
            return (scale * rng.standard_normal(shape)).astype(np.float32)
        return rng.uniform(-scale, scale, shape).astype(np.float32)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one latent point: (Z,)."""
        assert self.input_shape is not None
        return self.input_shape

    def sample(self, latent: int | np.ndarray, seed: int = 0) -> np.ndarray:
        """Return generated images (N, C, H, W), float32 in [0, 1].

        In evaluation mode, so an image does not depend on the others; the modes are put back.

        Parameters
        ----------
        latent : int or array, (N, Z)
            How many, or the latent points themselves.
        seed : int
            Of the latent points.
        """
        who = type(self).__name__ + ".sample"
        if isinstance(latent, (int, np.integer)) and not isinstance(latent, bool):
            if latent < 1:
                raise ValueError(f"{who}: latent must be at least 1 image, got {latent}")
            points = self.latent(int(latent), seed)
        else:
            points = np.asarray(latent, np.float32)
            if points.shape[1:] != self.latent_shape:
                wanted = ", ".join(map(str, ("N", *self.latent_shape)))
                raise ValueError(f"{who}: latent must be a number of images or ({wanted}), got shape {points.shape}")
            if not np.isfinite(points).all():
                raise ValueError(f"{who}: latent must be finite, got NaN or infinity")
        low, high = self.value_range
        parameter = next(self.parameters())
        points = points.astype(parameter.dtype)
        made = [np.empty((0, *self.image_shape), parameter.dtype)]
        with kept_modes(self), no_grad():
            self.eval()
            for i in range(0, len(points), _BATCH):
                images = self.images(Tensor(devices.move(points[i : i + _BATCH], parameter.device)))
                made.append(devices.host(images.data))
        pixels = (np.concatenate(made) - low) / (high - low)
        return np.clip(pixels, 0.0, 1.0).astype(np.float32, copy=False)

    def images(self, z: Tensor) -> Tensor:
        """Return the images of latent points (N, Z), within ``value_range``."""
        return self.fake(z)

    def scaled(self, images: Tensor) -> Tensor:
        """Return images in [0, 1] as the networks see them."""
        low, high = self.value_range
        images = images.to(next(self.parameters()).dtype)
        return images if (low, high) == (0.0, 1.0) else images * (high - low) + low


def gan(
    *,
    in_channels: int = 1,
    image_size: int = 28,
    scale: str = "paper",
    width: float = 1.0,
    device: str = "cpu",
    dtype: Any = np.float32,
) -> GAN:
    """Build the networks that Goodfellow et al. 2014 released for MNIST.

    Generator: z of 100 uniform numbers within +-sqrt(3), two hidden layers of 1,200 ReLUs, a sigmoid for each pixel.
    Discriminator: two layers of 240 maxout units of 5 pieces, one logit, with dropout of a fifth of the pixels and half
    of the hidden units. Initial weights uniform within +-0.05 and +-0.005, biases 0. 3,735,425 parameters.
    :func:`bias_to_mean` sets the last bias from the data, as their program did.

    Parameters
    ----------
    in_channels, image_size : int
        Of the images: channels, and height and width in pixels.
    scale : str
        "paper", or "lesson": z of 64, hidden layers of 512, maxout of 128 units of 3 pieces, and initial weights that
        suit these sizes.
    width : float
        Factor of all hidden units (rounded to even numbers).

    Raises
    ------
    ValueError
        An unknown scale or an image size below 1.
    """
    check_scale("gan", scale, width)
    check_image_size("gan", image_size)
    size, hidden, units, pieces, *ranges = SCALES[scale]
    shape, where = (in_channels, image_size, image_size), {"device": device, "dtype": dtype}
    made = _generator(size, [wide(n, width) for n in hidden], shape, where)
    judge = _discriminator(math.prod(shape), [wide(n, width) for n in units], pieces, where)
    for network, limit in zip((made, judge), ranges, strict=True):
        uniform_(network, limit)
    model = GAN(made, judge, size, shape, prior=("uniform", math.sqrt(3)))
    return describe(
        model, "gan", (size,), in_channels=in_channels, image_size=image_size, scale=scale, width=width,
        dtype=np.dtype(dtype).name,
    )  # fmt: skip


def _generator(size: int, hidden: list[int], shape: tuple[int, int, int], where: dict[str, Any]) -> nn.Sequential:
    layers: dict[str, nn.Module] = {}
    for number, units in enumerate(hidden, 1):
        layers[f"fc{number}"], layers[f"relu{number}"] = nn.Linear(size, units, **where), nn.ReLU()
        size = units
    layers[f"fc{len(hidden) + 1}"], layers["sigmoid"] = nn.Linear(size, math.prod(shape), **where), nn.Sigmoid()
    return nn.Sequential({**layers, "image": nn.Unflatten(1, shape)})


def _discriminator(inputs: int, units: list[int], pieces: int, where: dict[str, Any]) -> nn.Sequential:
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten(), "drop0": nn.Dropout(DROPPED[0])}
    for number, outputs in enumerate(units, 1):
        layers[f"fc{number}"], layers[f"maxout{number}"] = (
            nn.Linear(inputs, outputs * pieces, **where),
            nn.Maxout(pieces),
        )
        layers[f"drop{number}"], inputs = nn.Dropout(DROPPED[1]), outputs
    layers[f"fc{len(units) + 1}"], layers["logit"] = nn.Linear(inputs, 1, **where), nn.Flatten(0)
    return nn.Sequential(layers)


def uniform_(network: nn.Module, limit: float | None) -> None:
    """Draw weights uniformly within +-limit (None: 1 / sqrt(inputs)); biases 0."""
    for p in network.parameters():
        if p.ndim > 1:
            edge = 1 / math.sqrt(p.shape[1]) if limit is None else limit
            init.uniform_(p, -edge, edge)
        else:
            init.zeros_(p)


def bias_to_mean(model: GAN, images: np.ndarray, least: float = 1e-3) -> None:
    """Set the biases before the generator's sigmoid so that z = 0 gives the mean image: log(m / (1 - m)).

    As the released program did ("init_bias_target_marginals"): from the first step on the border is black, and what is
    left to learn are the digits.

    Parameters
    ----------
    images : array, (N, C, H, W), in [0, 1]
    least : float
        Means are kept this far from 0 and 1.

    Raises
    ------
    ValueError
        The generator has no fully connected layer before a sigmoid, or the images are not in [0, 1], or not as large.
    """
    last = output_layer(model)
    if images.shape[1:] != model.image_shape or not (images.min(initial=0) >= 0 and images.max(initial=0) <= 1):
        raise ValueError(
            f"bias_to_mean: images must be (N, {', '.join(map(str, model.image_shape))}) in [0, 1], "
            f"got shape {images.shape}, {images.min(initial=0):g} to {images.max(initial=0):g}"
        )
    mean = np.clip(images.reshape(len(images), -1).mean(0, np.float64), least, 1 - least)
    with no_grad():
        last.bias.copy_(Tensor(devices.move(np.log(mean / (1 - mean)).astype(last.bias.dtype), last.bias.device)))


def output_layer(model: GAN) -> Any:
    """Return the generator's last fully connected layer, whose outputs become pixels by a sigmoid."""
    layers = [] if type(model) is not GAN else list(model.generator.children())
    linear = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear) and layer.bias is not None]
    if not linear or not any(isinstance(layer, nn.Sigmoid) for layer in layers[linear[-1] + 1 :]):
        raise ValueError(
            "bias_to_mean: the model must be a gan, whose generator ends with a fully connected layer and a sigmoid, "
            f"got {(model.config or {}).get('builder', type(model).__name__)}"
        )
    return layers[linear[-1]]
