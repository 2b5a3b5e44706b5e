"""The papers' networks, finished: one file per paper. ``names()`` lists them, ``build(name, ...)`` makes one."""

from collections.abc import Callable
from typing import Any

from tinyconv.models.alexnet import AlexNet, alexnet
from tinyconv.models.lenet import LeNet5, lenet5
from tinyconv.models.registry import build as _build
from tinyconv.models.vgg import VGG, vgg
from tinyconv.models.zfnet import ZFNet, zfnet
from tinyconv.nn import Module

_BUILDERS: dict[str, Callable[..., Module]] = {"alexnet": alexnet, "lenet5": lenet5, "vgg": vgg, "zfnet": zfnet}


def names() -> list[str]:
    """Return the names that :func:`build` knows."""
    return sorted(_BUILDERS)


def build(name: str, **arguments: Any) -> Module:
    """Build a model by name with its builder's arguments, such as ``build("alexnet", variant="torchvision")``.

    Raises
    ------
    ValueError
        There is no such model; the message lists those that there are.
    TypeError
        Its builder takes no such argument.
    """
    return _build(_BUILDERS, name, arguments)
