"""Algorithm 1 of Goodfellow et al. 2014 as what one step of :func:`tinyconv.fit` does. See :class:`AlgorithmOne`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import device, errors, random
from tinyconv.function import no_grad
from tinyconv.functional.activation import softplus
from tinyconv.models.gan import Pair
from tinyconv.nn.modes import held
from tinyconv.tensor import Tensor
from tinyconv.updates import Updated

LOSSES = ("non-saturating", "saturating")


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return half the sum of both cross-entropies, (mean softplus(-real) + mean softplus(fake)) / 2, of logits.

    Its minimum is that of -V / 2 in the paper's game V = E log D(x) + E log(1 - D(G(z))), D = sigmoid(logit); log 2
    where D cannot tell.
    """
    return (softplus(-real).mean() + softplus(fake).mean()) * 0.5


def generator_loss(fake: Tensor, loss: str = "non-saturating") -> Tensor:
    """Return the generator's loss of the discriminator's logits on its images.

    "saturating": mean log(1 - D), the game's own; its gradient in a logit s is -sigmoid(s), nothing where D is sure.
    "non-saturating": -mean log D; its gradient is -(1 - sigmoid(s)), largest there (Goodfellow et al. 2014, sec. 3).
    """
    errors.check_choice("generator_loss", "loss", loss, LOSSES)
    return softplus(-fake).mean() if loss == "non-saturating" else -softplus(fake).mean()


class AlgorithmOne:
    """One step: the discriminator learns from a batch and as many fakes, then, every k-th step, the generator.

    The optimizer holds both networks' parameters, with rates of their own in two groups. What one network learns leaves
    the other as it is, weights and running statistics. Real and fake images go through the discriminator apart, so that
    batch normalisation sees them apart (Radford et al. 2015).

    Measures of a step: ``generator_loss``, and ``discriminator_accuracy``, the share of real and fake images that the
    discriminator, dropout and all, told right; means over the pairs of a pyramid, whose own accuracies follow by name.

    Parameters
    ----------
    k : int
        Steps of the discriminator for each of the generator.
    loss : {"non-saturating", "saturating"}
        Of the generator, see :func:`generator_loss`.
    """

    def __init__(self, k: int = 1, loss: str = "non-saturating") -> None:
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"AlgorithmOne: k must be an int of at least 1, got {k!r}")
        errors.check_choice("AlgorithmOne", "loss", loss, LOSSES)
        self.k, self.loss = int(k), loss
        self.settings = {"k": self.k, "loss": loss}

    def __call__(self, model: Any, optimizer: Any, images: Tensor, labels: Tensor, step: int) -> Updated:
        pairs, losses = model.pairs(images), []
        measures: dict[str, float] = {}
        for pair in pairs:
            losses.append(self._discriminate(pair, optimizer, step))
            if not math.isfinite(losses[-1][0]):
                return Updated(None, losses[-1][0])
            if (step + 1) % self.k == 0:
                value = self._generate(pair, optimizer, step)
                if not math.isfinite(value):
                    return Updated(None, value)
                measures["generator_loss"] = measures.get("generator_loss", 0.0) + value / len(pairs)
            if pair.name:
                measures[f"discriminator_accuracy_{pair.name}"] = losses[-1][1]
        loss, accuracy = (sum(values) / len(pairs) for values in zip(*losses, strict=True))
        return Updated(None, loss, {**measures, "discriminator_accuracy": accuracy})

    def _discriminate(self, pair: Pair, optimizer: Any, step: int) -> tuple[float, float]:
        """Let the discriminator learn; return its loss and how often it was right."""
        networks = pair.networks
        with no_grad(), held(networks.generator):
            fake = networks.fake(_noise(pair, step, "discriminator"), pair.condition)
        real_logits, fake_logits = (networks.judge(part, pair.condition) for part in (pair.real, fake))
        loss = discriminator_loss(real_logits, fake_logits)
        value = float(loss.item())
        if math.isfinite(value):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        right = (device.host(real_logits.data) > 0).mean() + (device.host(fake_logits.data) < 0).mean()
        return value, float(right) / 2

    def _generate(self, pair: Pair, optimizer: Any, step: int) -> float:
        """Let the generator learn; return its loss."""
        networks = pair.networks
        with held(networks.discriminator):
            fake = networks.fake(_noise(pair, step, "generator"), pair.condition)
            loss = generator_loss(networks.judge(fake, pair.condition), self.loss)
        value = float(loss.item())
        if math.isfinite(value):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return value


def _noise(pair: Pair, step: int, whose: str) -> Tensor:
    """Return latent points for a batch: a function of seed, step, level of the pyramid and place in the batch."""
    stream = f"gan.{whose}{pair.name}"
    z = pair.networks.latent(len(pair.real), random.initial_seed(), stream, step)
    return Tensor(device.move(z.astype(pair.real.dtype, copy=False), pair.real.device))
