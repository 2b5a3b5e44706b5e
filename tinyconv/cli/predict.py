"""``tinyconv predict``: what a trained network says about an image."""

from __future__ import annotations

import argparse
from typing import Any

from tinyconv.cli.names import UsageError

HELP = """say what is on an image, with a network that tinyconv trained

examples:
  tinyconv predict boot.png --weights tinyconv-output/train/alexnet-fashion/checkpoint.npz
  tinyconv predict *.jpg --weights checkpoint.npz --top 1

The image is prepared as the test images were: the checkpoint holds the transform and the names of the classes. One of
another size than those had is made as large as they were, by its short side, and its middle is taken."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="an image (PNG, JPEG, ...)")
    parser.add_argument("--weights", metavar="CKPT", required=True, help="a checkpoint, of tinyconv train for example")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="how many classes to print (3)")


def run(options: argparse.Namespace) -> int:
    """Print the most probable classes of every image."""
    import numpy as np

    from tinyconv import Tensor, data, load, no_grad
    from tinyconv.functional import softmax

    if options.top < 1:
        raise UsageError(f"--top must be at least 1, got {options.top}")
    model = load(options.weights)
    if model.input_shape is None or len(model.input_shape) != 3:
        raise UsageError(f"{options.weights} holds a network that takes no images")
    channels, height, width = model.input_shape
    described = model.meta.get("transform")
    transform = data.from_description(described) if described else data.Resize((height, width))
    for file in options.files:
        image = _prepared(data.read_image(file, "L" if channels == 1 else "RGB"), transform, model.input_shape)
        if image.shape != model.input_shape:
            raise ValueError(f"{file}: the network takes images of shape {model.input_shape}, got {image.shape}")
        with no_grad():
            outputs = model(Tensor(np.ascontiguousarray(image[None])))
        scores = softmax(outputs[0] if isinstance(outputs, tuple) else outputs, 1).numpy()[0]
        classes = model.meta.get("classes") or [f"class {k}" for k in range(len(scores))]
        if len(options.files) > 1:
            print(file)
        for k in np.argsort(-scores, kind="stable")[: options.top]:
            print(f"{100 * scores[k]:5.1f} %  {classes[k]}")
    return 0


def _prepared(image: Any, transform: Any, wanted: tuple[int, ...]) -> Any:
    """Return what the network is given; an image of another size than the data set's gets the data set's first."""
    from tinyconv import data

    prepared = transform(image, None)
    if prepared.shape == wanted:
        return prepared
    # What the transform adds to a side (LeNet's border) it will add again.
    size = tuple(w - (p - i) for w, p, i in zip(wanted[1:], prepared.shape[1:], image.shape[1:], strict=True))
    if min(size) < 1:
        return prepared
    fit = data.Compose([data.Resize(max(size)), data.CenterCrop(size)])
    return transform(fit(image, None), None)
