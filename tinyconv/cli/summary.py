"""``tinyconv summary``: a network's layers, output shapes, parameters and multiply-adds, without allocating it."""

from __future__ import annotations

import argparse

from tinyconv.cli.names import UsageError, choose

HELP = """print a network's layers, output shapes, parameters and multiply-adds

examples:
  tinyconv summary alexnet                          the paper's network, 1000 classes
  tinyconv summary alexnet --variant torchvision    another variant
  tinyconv summary alexnet --scale lesson --num-classes 10
  tinyconv summary vgg --config A-LRN               or by another name: vgg11, vgg16, vgg19
  tinyconv summary faster_rcnn --backbone zf
  tinyconv summary resnet50 --shortcut C            resnet18 to resnet152; resnet20 to resnet1202 are those for CIFAR

No memory is allocated for the weights, so a network of any size is described at once."""

_BUILT_WITH = ("variant", "config", "depth", "shortcut", "backbone", "scale", "num_classes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("name", metavar="NAME", help="of the network, such as alexnet")
    parser.add_argument("--variant", help="of the network, such as paper or torchvision")
    parser.add_argument("--config", help="of vgg: A, A-LRN, B, C, D or E")
    parser.add_argument("--depth", type=int, metavar="N", help="layers of resnet or resnet_cifar")
    parser.add_argument("--shortcut", help="of resnet or resnet_cifar: A, B or C")
    parser.add_argument("--backbone", help="of rcnn, fast_rcnn, faster_rcnn: vgg16, zf, ...")
    parser.add_argument("--scale", choices=("paper", "lesson"), help="as in the paper, or small enough for a laptop")
    parser.add_argument("--num-classes", type=int, metavar="K", help="how many outputs")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from tinyconv import models, summary

    name = choose("model", options.name, models.names())
    given = {key: getattr(options, key) for key in _BUILT_WITH}
    given = {key: value for key, value in given.items() if value is not None}
    try:
        model = models.build(name, **given, device="meta")
    except (ValueError, TypeError) as problem:  # no such argument, or no such value
        raise UsageError(str(problem)) from None
    print(summary(model))
    return 0
