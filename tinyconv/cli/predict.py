"""``tinyconv predict``: what a trained network says about an image."""

from __future__ import annotations

import argparse

from tinyconv.cli import models
from tinyconv.cli.names import UsageError

HELP = """say what is on an image, with a trained network

examples:
  tinyconv predict boot.png --weights tinyconv-output/train/alexnet-fashion/checkpoint.npz
  tinyconv predict a.jpg b.jpg --weights checkpoint.npz --top 1
  tinyconv predict cat.jpg --weights resnet50             after tinyconv data get resnet50
  tinyconv predict cat.jpg --model vgg --weights vgg16.pth --classes names.txt
  tinyconv predict cat.jpg --model alexnet --weights alexnet.safetensors

The image is prepared as the test images were: a checkpoint of tinyconv holds the transform and the names of the
classes. One of another size than those had is made as large as they were, by its short side, and its middle is taken.
With --model the weights are another program's, in torchvision's naming, as PyTorch, safetensors or npz save them
(nothing in the file is run): the short side becomes 256 pixels, the middle 224 x 224 is taken, and ImageNet's mean and
deviation are used."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="an image (PNG, JPEG, ...)")
    models.add_arguments(parser, required=True)
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many classes to print (5)")


def run(options: argparse.Namespace) -> int:
    """Print the most probable classes of every image."""
    import numpy as np

    from tinyconv import Tensor, data, no_grad
    from tinyconv.functional import softmax

    if options.top < 1:
        raise UsageError(f"--top must be at least 1, got {options.top}")
    opened = models.open_model(options)
    if opened.trunk:
        raise UsageError(f"{options.weights} has convolutions only, no classes; give weights of a whole network")
    for file in options.files:
        try:
            image = opened.prepare(data.read_image(file, opened.mode))
        except models.ShapeError as problem:
            raise ValueError(f"{file}: {problem}") from None
        with no_grad():
            outputs = opened.model(Tensor(image[None]))
        scores = softmax(outputs[0] if isinstance(outputs, tuple) else outputs, 1).numpy()[0]
        classes = opened.classes or [f"class {k}" for k in range(len(scores))]
        if len(options.files) > 1:
            print(file)
        for k in np.argsort(-scores, kind="stable")[: options.top]:
            print(f"{100 * scores[k]:5.1f} %  {classes[k]}")
    return 0
