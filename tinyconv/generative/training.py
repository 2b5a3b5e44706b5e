"""The recipes by which GANs are trained. See :func:`train_gan`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyconv import optim
from tinyconv.data.loader import DataLoader
from tinyconv.device import host
from tinyconv.generative.algorithm import AlgorithmOne
from tinyconv.history import History
from tinyconv.models.gan import GAN, bias_to_mean, output_layer
from tinyconv.train import fit


@dataclass(frozen=True)
class Recipe:
    """Rates of both networks and what goes with them.

    Attributes
    ----------
    discriminator, generator : float
        Learning rates.
    beta1 : float or None
        Of Adam; None: SGD by the settings that the GAN's authors released (momentum from 0.5 to 0.7 in 250 epochs, the
        rate divided by 1.000004 at every step).
    batch_size, epochs : int
    hold : float
        With Adam: the part of all steps after which the rates begin to fall, linearly, to 0.
    """

    discriminator: float
    generator: float
    beta1: float | None
    batch_size: int
    epochs: int
    hold: float = 1.0


# Goodfellow et al. 2014, released code. With the lesson's initial weights D gets too far ahead (lesson 07).
PAPER = Recipe(0.1, 0.1, None, batch_size=100, epochs=250)
RECIPES = {
    ("gan", "paper"): PAPER,
    ("gan", "lesson"): Recipe(5e-4, 1e-3, 0.5, batch_size=100, epochs=180),
    # Radford et al. 2015, sec. 4: rates, beta1, batch; the epochs are ours.
    ("dcgan", "paper"): Recipe(2e-4, 2e-4, 0.5, batch_size=128, epochs=25),
    ("dcgan", "lesson"): Recipe(5e-4, 1e-3, 0.5, batch_size=100, epochs=20, hold=0.5),
    # Denton et al. 2015, released code: rate and batch; momentum and the rate's fall are the GAN's, the epochs ours.
    ("lapgan", "paper"): Recipe(0.02, 0.02, None, batch_size=128, epochs=100),
    ("lapgan", "lesson"): Recipe(2e-3, 1e-3, 0.5, batch_size=20, epochs=10, hold=0.5),  # many steps of few images
}
_RAMP = 250  # epochs in which the paper's momentum rises
_LOOKED_AT = 500  # images that are checked, and averaged


def recipe_of(model: GAN) -> Recipe:
    """Return the recipe for a network of :mod:`tinyconv.models`; the GAN's for one of your own."""
    config = model.config or {"builder": "gan", "arguments": {}}
    return RECIPES[config["builder"], config["arguments"].get("scale", "lesson")]


def train_gan(
    model: GAN,
    dataset: Any,
    *,
    epochs: int | None = None,
    recipe: Recipe | None = None,
    rates: tuple[float, float] | None = None,
    batch_size: int | None = None,
    k: int = 1,
    loss: str = "non-saturating",
    seed: int = 0,
    workers: int = 0,
    transform: Any = None,
    **how: Any,
) -> History:
    """Train a GAN, DCGAN or LAPGAN by algorithm 1 and :func:`tinyconv.fit`, which saves, resumes and draws curves.

    The generator of :func:`tinyconv.models.gan`, if it is new, begins with the mean of the first 500 images
    (:func:`~tinyconv.models.gan.bias_to_mean`), so a data set should not be sorted.

    Parameters
    ----------
    model : GAN
    dataset : Dataset
        Images (C, H, W) in [0, 1] of the model's ``image_shape``, and labels, which nobody looks at.
    epochs, batch_size : int, optional
        Passes over all images; images per step. Those of the recipe by default. Where rates fall, they do so over all
        epochs: a finished run resumed with more of them has higher rates again.
    recipe : Recipe, optional
        By default that of the model's builder and scale.
    rates : (float, float), optional
        Learning rates of discriminator and generator in the place of the recipe's.
    k, loss
        See :class:`~tinyconv.generative.algorithm.AlgorithmOne`.
    seed : int
        Of order, noise and dropout.
    transform : callable, optional
        (image, rng) -> image, for every image.
    **how
        For ``fit``: callbacks (:class:`~tinyconv.generative.watch.Watch`), out, resume, progress, print_every ...

    Returns
    -------
    History
        Rows with ``train_loss`` (the discriminator's), ``generator_loss`` and ``discriminator_accuracy``.

    Raises
    ------
    TypeError
        The model is no GAN, or the dataset no data set.
    ValueError
        Among the first 500 images one of another shape or outside [0, 1]; fewer images than a batch has.
    FloatingPointError
        A loss became infinite or NaN.

    Examples
    --------
    >>> from tinyconv import data, models
    >>> digits = data.Subset(data.mnist(), range(200))
    >>> history = train_gan(models.gan(scale="lesson"), digits, epochs=1, progress=False)
    >>> sorted(history.last.keys() & {"generator_loss", "discriminator_accuracy"})
    ['discriminator_accuracy', 'generator_loss']
    """
    if not isinstance(model, GAN):
        raise TypeError(
            f"train_gan: model must be a gan, dcgan or lapgan, got {type(model).__name__}; classifiers: tinyconv.fit"
        )
    recipe = recipe_of(model) if recipe is None else recipe
    rates = None if rates is None else _checked_rates(rates)
    batch_size = recipe.batch_size if batch_size is None else batch_size
    epochs = recipe.epochs if epochs is None else epochs
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"train_gan: epochs must be an int of at least 1, got {epochs!r}")
    if not hasattr(dataset, "__getitem__") or not len(dataset) or not isinstance(dataset[0], (tuple, list)):
        raise TypeError(
            f"train_gan: dataset must give pairs (image, label), got {type(dataset).__name__}; "
            "of an array of images it is tinyconv.data.ArrayDataset(images, labels)"
        )
    loader = DataLoader(
        dataset, batch_size, shuffle=True, drop_last=True, seed=seed, workers=workers, transform=transform
    )  # fmt: skip
    if len(loader) == 0:
        raise ValueError(
            f"train_gan: dataset must have at least one batch of {batch_size} images, got {len(dataset)}; "
            "give more images or a smaller batch_size"
        )
    first = next(iter(DataLoader(dataset, min(len(dataset), _LOOKED_AT), transform=transform)))[0].numpy()
    _check_images(model, first)
    if (model.config or {}).get("builder") == "gan" and not host(output_layer(model).bias.data).any():
        bias_to_mean(model, first)
    optimizer, schedule = optimizers(model, recipe, rates, epochs, len(loader))
    return fit(
        model, loader, update=AlgorithmOne(k, loss), optimizer=optimizer, schedule=schedule, schedule_per="step",
        epochs=epochs, seed=seed, **how,
    )  # fmt: skip


def parameters_of(model: GAN) -> dict[str, list[Any]]:
    """Return the parameters of all generators and those of all discriminators, under these two names."""
    of: dict[str, list[Any]] = {"generator": [], "discriminator": []}
    for name, parameter in model.named_parameters():
        of["generator" if "generator" in name.split(".") else "discriminator"].append(parameter)
    return of


def optimizers(
    model: GAN, recipe: Recipe, rates: tuple[float, float] | None, epochs: int, steps: int
) -> tuple[optim.Optimizer, Any]:
    """Return one optimizer with two groups, the discriminators' parameters and the generators', and its schedule."""
    of = parameters_of(model)
    rates = (recipe.discriminator, recipe.generator) if rates is None else rates
    groups = [{"params": of[name], "lr": lr} for name, lr in zip(("discriminator", "generator"), rates, strict=True)]
    if recipe.beta1 is None:
        sgd = optim.AlexNetSGD(groups, lr=rates[0], momentum=0.5, weight_decay=0.0)
        return sgd, optim.ExponentialDecay(sgd, ramp=_RAMP * steps)
    adam = optim.Adam(groups, lr=rates[0], betas=(recipe.beta1, 0.999))
    total = epochs * steps
    return adam, optim.LinearDecay(adam, total, hold=min(round(recipe.hold * total), total - 1))


def _checked_rates(rates: Any) -> tuple[float, float]:
    """Return both networks' rates, or raise unless they are two positive numbers."""
    numbers = [rates] if isinstance(rates, (int, float)) else list(rates)
    if len(numbers) != 2 or not all(isinstance(lr, (int, float)) and 0 < lr < np.inf for lr in numbers):
        raise ValueError(
            f"train_gan: rates must be two positive numbers, of the discriminator and of the generator, got {rates!r}"
        )
    return float(numbers[0]), float(numbers[1])


def _check_images(model: GAN, images: np.ndarray) -> None:
    """Raise unless the images are what the model learns from."""
    if images.shape[1:] != model.image_shape:
        raise ValueError(
            f"train_gan: dataset must have images of shape {model.image_shape}, got {images.shape[1:]}; "
            "build the model with their in_channels and image_size, or resize them"
        )
    if not np.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        raise ValueError(
            f"train_gan: dataset must have images in [0, 1], got {images.min():g} to {images.max():g}; "
            "do not normalise them, the networks do it"
        )
