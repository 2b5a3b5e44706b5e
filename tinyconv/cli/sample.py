"""``tinyconv sample``: images that a trained generator makes of noise."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from tinyconv.cli import models
from tinyconv.cli.names import UsageError, png

HELP = """draw images with a trained generator

examples:
  tinyconv sample                                           with what lesson 07 trained
  tinyconv sample --weights tinyconv-output/train/gan-mnist/checkpoint.npz
  tinyconv sample --weights checkpoint.npz --count 400 --seed 3 --out digits.png
  tinyconv sample --weights checkpoint.npz --interpolate    what lies between two latent points, a pair in each row

The weights are a checkpoint of gan, dcgan or lapgan; tinyconv train gan --data mnist makes one. The same seed draws the
same latent points, so pictures of two checkpoints can be laid beside each other. The picture is written to --out."""
_COUNT, _MOST = 64, 10000
_ROWS, _MOST_ROWS = 8, 100
_USUAL = ("checkpoint", "model")  # what training calls its checkpoints
_NO_WEIGHTS = "tinyconv train gan --data mnist makes a checkpoint, too"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--weights", metavar="FILE", help="a checkpoint of gan, dcgan or lapgan (lesson 07's, if it is there)"
    )
    parser.add_argument(
        "--count", type=int, metavar="N", help=f"how many images ({_COUNT}); with --interpolate, rows ({_ROWS})"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the latent points (0)")
    parser.add_argument("--interpolate", action="store_true", help="rows from one latent point to another")
    parser.add_argument("--out", metavar="FILE", help="the picture, a PNG (./tinyconv-output/sample/...)")


def run(options: argparse.Namespace) -> int:
    """Draw the images and print where they are."""
    from tinyconv.files import atomic_write, writable_folder
    from tinyconv.generative import figures

    most = _MOST_ROWS if options.interpolate else _MOST
    usual = _ROWS if options.interpolate else _COUNT
    count = usual if options.count is None else options.count
    if not 1 <= count <= most:
        rows = " rows of --interpolate" if options.interpolate else ""
        raise UsageError(f"--count must be from 1 to {most}{rows}, got {count}")
    if options.seed < 0:
        raise UsageError(f"--seed must be at least 0, got {options.seed}")
    chosen = png(options.out, "samples.png") if options.out else None
    weights = _weights(options)
    path = chosen or _usual_file(options, weights)
    model = open_generator(weights)
    channels, height, width = model.image_shape
    writable_folder(path.parent, "sample", "choose another file: --out FILE")
    if options.interpolate:
        figure = figures.interpolations(model, count, seed=options.seed)
        atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=120))
        drawn = f"{count} row{'s' * (count > 1)} of images"
    else:
        figures.save_png(model.sample(count, options.seed), path)
        drawn = f"{count} image{'s' * (count > 1)}"
    kind = "grey" if channels == 1 else "colour"
    print(f"{drawn} of {width} x {height} pixels, {kind}, by {model.config['builder']}, seed {options.seed}")
    print(f"figure: {path}")
    seed = options.seed + options.interpolate  # the other picture of these points, then other points
    other = "--interpolate" + (f" --seed {seed}" if seed else "")
    print(f"next: tinyconv sample --weights {shlex.quote(str(weights))} {other}")
    return 0


def open_generator(path: Path) -> Any:
    """Return the networks in a checkpoint of gan, dcgan or lapgan.

    Raises
    ------
    UsageError
        The checkpoint is of another kind of network.
    ValueError, OSError
        The file cannot be read.
    """
    model = models.open_checkpoint(path, "sample", "tinyconv train gan --data mnist")
    if hasattr(model, "sample"):
        return model
    builder = model.config["builder"]
    raise UsageError(f"{path} holds {builder}, a classifier; tinyconv predict IMAGE --weights {path} says what it sees")


def _weights(options: argparse.Namespace) -> Path:
    """Return the checkpoint, by default the lesson's; without one, say what makes one."""
    if options.weights is not None:
        return Path(options.weights)
    try:
        return models.lesson_checkpoint("gan")
    except UsageError as problem:
        raise UsageError(f"{problem}; {_NO_WEIGHTS}") from None


def _usual_file(options: argparse.Namespace, weights: Path) -> Path:
    """Return the picture's name without --out: of the checkpoint, or of its folder if it is called as all are."""
    from tinyconv.lesson import OUTPUT

    what = "interpolations" if options.interpolate else "samples"
    of = weights.resolve().parent.name if weights.stem in _USUAL else weights.stem
    return Path(OUTPUT) / "sample" / f"{what}-{of or weights.stem}-seed{options.seed}.png"
