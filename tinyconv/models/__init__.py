"""The papers' networks, finished: one file per paper. ``names()`` lists them, ``build(name, ...)`` makes one."""

import inspect
from collections.abc import Callable
from typing import Any

from tinyconv.models.alexnet import AlexNet, alexnet
from tinyconv.models.alignment import Alignment, alignment
from tinyconv.models.caption import Caption, caption
from tinyconv.models.captioner import Captioner, captioner
from tinyconv.models.dcgan import dcgan
from tinyconv.models.dense import FullyConvolutional, fully_convolutional
from tinyconv.models.fast_rcnn import FastRCNN, fast_rcnn
from tinyconv.models.faster_rcnn import FasterRCNN, faster_rcnn
from tinyconv.models.gan import GAN, gan
from tinyconv.models.googlenet import GoogLeNet, googlenet
from tinyconv.models.lapgan import LAPGAN, lapgan
from tinyconv.models.lenet import LeNet5, lenet5
from tinyconv.models.rcnn import RCNN, rcnn
from tinyconv.models.registry import build as _build
from tinyconv.models.resnet import ResNet, resnet, resnet_cifar
from tinyconv.models.rir import RiR, rir
from tinyconv.models.spatial_transformer import SpatialTransformer
from tinyconv.models.st_cub import PartsNetwork, st_cub
from tinyconv.models.st_networks import STNetwork, st_cnn, st_fcn
from tinyconv.models.st_svhn import HouseNumbers, st_svhn
from tinyconv.models.vgg import VGG, vgg
from tinyconv.models.zfnet import ZFNet, zfnet
from tinyconv.nn import Module

_BUILDERS: dict[str, Callable[..., Module]] = {
    "alexnet": alexnet,
    "alignment": alignment,
    "caption": caption,
    "captioner": captioner,
    "dcgan": dcgan,
    "fast_rcnn": fast_rcnn,
    "faster_rcnn": faster_rcnn,
    "gan": gan,
    "googlenet": googlenet,
    "lapgan": lapgan,
    "lenet5": lenet5,
    "rcnn": rcnn,
    "resnet": resnet,
    "resnet_cifar": resnet_cifar,
    "rir": rir,
    "st_cnn": st_cnn,
    "st_cub": st_cub,
    "st_fcn": st_fcn,
    "st_svhn": st_svhn,
    "vgg": vgg,
    "zfnet": zfnet,
}

# Names that everybody uses for one setting of a builder.
_ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"vgg{depth}": ("vgg", {"config": config}) for depth, config in ((11, "A"), (13, "B"), (16, "D"), (19, "E"))},
    **{f"resnet{depth}": ("resnet", {"depth": depth}) for depth in (18, 34, 50, 101, 152)},
    **{f"resnet{depth}": ("resnet_cifar", {"depth": depth}) for depth in (20, 32, 44, 56, 110, 1202)},
}


def names() -> list[str]:
    """Return the names that :func:`build` knows: those of the builders, and vgg16, resnet50, resnet20 and the like."""
    return sorted(_BUILDERS) + list(_ALIASES)


def resolve(name: str) -> tuple[str, dict[str, Any]]:
    """Return the builder that a name stands for and its arguments: ("resnet", {"depth": 50}) for "resnet50"."""
    return _ALIASES.get(name, (name, {}))


def build(name: str, **arguments: Any) -> Module:
    """Build a model by name with its builder's arguments, such as ``build("alexnet", variant="torchvision")``.

    Raises
    ------
    ValueError
        There is no such model; the message lists those that there are.
    TypeError
        Its builder takes no such argument.
    """
    builder, fixed = resolve(name)
    return _build(_BUILDERS, builder, fixed | arguments)


def parameters(name: str) -> list[str]:
    """Return the names of the arguments that the builder of this model takes."""
    return list(inspect.signature(_BUILDERS[resolve(name)[0]]).parameters)
