"""``tinyconv train`` for gan, dcgan and lapgan. See :func:`run`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.cli.names import UsageError

MODELS = ("gan", "dcgan", "lapgan")
_PARZEN = ("mnist", "fashion", "digits")  # grey images of few pixels: in more dimensions the estimate says nothing
_SAMPLES = 10_000
_HELD_OUT = 500  # training images on which the windows' width is chosen
_PICTURES = 20  # epochs at most of which samples are kept


def run(name: str, options: argparse.Namespace, resume_command: str) -> int:
    """Train a generator and its discriminator; print what the samples are worth and where they are."""
    import tinyconv
    from tinyconv.cli import recipes
    from tinyconv.generative.measures import spread
    from tinyconv.generative.training import parameters_of, recipe_of, train_gan
    from tinyconv.generative.watch import Watch

    try:
        source = recipes.open_data(options.data, None, options.root)
    except ValueError as problem:
        if not Path(options.data).is_dir():
            raise
        raise ValueError(f"{problem}; a generator needs no classes: one sub-folder with all pictures will do") from None
    tinyconv.manual_seed(options.seed)
    model = _build(name, source, options.scale)
    model.to(options.device)
    recipe, view = recipe_of(model), _view(source, model.image_shape)
    images, held_out = _parts(source, 200 if options.smoke else None)
    epochs = options.epochs or (1 if options.smoke else recipe.epochs)
    batch_size = options.batch_size or min(recipe.batch_size, len(images))
    rates = (recipe.discriminator, recipe.generator)
    if options.lr is not None:  # the generator's; their ratio stays
        rates = (options.lr * rates[0] / rates[1], options.lr)

    default = Path("tinyconv-output", "train", f"{name}-{source.name}{'-smoke' if options.smoke else ''}")
    folder = Path(options.out or default)
    channels, height, width = model.image_shape
    print(f"data:  {source.name}, {len(images)} training images, {height}x{width} pixels, channels: {channels}")
    counts = ", ".join(f"{text} {sum(p.numel() for p in of):,}" for text, of in parameters_of(model).items())
    print(f"model: {name}, {options.scale} scale, parameters: {counts}")
    passes = f"{epochs} epoch{'s' * (epochs != 1)}"
    which = "SGD" if recipe.beta1 is None else "Adam"
    print(f"run:   {passes}, {batch_size} images per step, {which}, ", end="")
    print(f"rate of the discriminator {rates[0]:g}, of the generator {rates[1]:g}, seed {options.seed}", flush=True)
    data_spread = spread(_some(images, view, 500))
    watch = Watch(model, folder / "samples", every=max(1, epochs // _PICTURES), data_spread=data_spread)
    if not options.resume:
        watch.before(model)
    workers = (2 if source.photographs else 0) if options.workers is None else options.workers
    train_gan(
        model, images, epochs=epochs, rates=rates, batch_size=batch_size, seed=options.seed, workers=workers,
        transform=view, callbacks=[watch], out=folder, resume=options.resume, resume_command=resume_command,
        print_every=max(1, epochs // _PICTURES),
    )  # fmt: skip
    written = [folder / file for file in ("checkpoint.npz", "curves.png", "train.jsonl")]
    for file in [*written, *watch.finish()]:
        print(f"wrote {file}")
    if epochs < recipe.epochs and not options.smoke:
        print(f"note: the recipe has {recipe.epochs} epochs; after {epochs} the images are only beginning to be good")
    if source.name in _PARZEN and not options.smoke:
        _judge(model, images, held_out, source.test, view)
    print(f"next: tinyconv sample --weights {shlex.quote(str(folder / 'checkpoint.npz'))}")
    return 0


def _build(name: str, source: Any, scale: str) -> Any:
    """Return the networks for images like the source's; DCGAN and LAPGAN want sides that can be halved."""
    from tinyconv import models

    channels, height, width = source.train[0][0].shape
    if source.photographs:
        side = 64 if scale == "paper" else 32
    elif name == "dcgan" and scale == "paper":
        side = 64
    elif name == "lapgan" and scale == "paper":
        side = 32
    else:
        side = max(height, width)
    try:
        return models.build(name, in_channels=channels, image_size=side, scale=scale)
    except ValueError as problem:
        raise UsageError(str(problem)) from None


def _view(source: Any, shape: tuple[int, int, int]) -> Any:
    """Return what makes the source's images into the model's, still in [0, 1]; None for nothing."""
    from tinyconv import data

    _, side, _ = shape
    if source.photographs:
        return data.Compose([data.Resize(side), data.CenterCrop(side)])
    return None if source.train[0][0].shape == shape else data.Resize((side, side))


def _parts(source: Any, few: int | None) -> tuple[Any, Any]:
    """Return the images to learn from, and those on which the Parzen windows' width is chosen (of others none)."""
    from tinyconv import data
    from tinyconv.data.dataset import shuffled
    from tinyconv.random import generator

    train = source.train
    held_out = min(_HELD_OUT, len(train) // 10) if source.name in _PARZEN else 0
    # A folder is sorted by class; the first images are looked at before all others.
    order = shuffled(len(train), generator(0, "gan.order")).tolist() if source.photographs else list(range(len(train)))
    edge = len(train) - held_out
    return data.Subset(train, order[: min(edge, few or edge)]), data.Subset(train, order[edge:])


def _some(images: Any, view: Any, count: int) -> np.ndarray:
    """Return some images of a data set, evenly chosen, as the model learns them: (count, C, H, W) or fewer."""
    count = min(count, len(images))
    chosen = (images[i * len(images) // count][0] for i in range(count))
    return np.stack([image if view is None else view(image, None) for image in chosen])


def _judge(model: Any, train: Any, validation: Any, test: Any, view: Any) -> None:
    """Print the Parzen estimate of the samples between its references."""
    from tinyconv.generative.parzen import parzen, references

    seen, held_out, unseen = (_some(part, view, len(part)) for part in (train, validation, test))
    print(f"samples: {parzen(model.sample(_SAMPLES), held_out, unseen)}")
    texts = {
        "training images": "training images themselves",
        "Gaussian": "noise with their mean and covariance",
        "mean image": "the mean image",
    }
    for name, found in references(seen, held_out, unseen, _SAMPLES).items():
        print(f"  to compare, {texts[name]}: {found.mean:.1f}")
