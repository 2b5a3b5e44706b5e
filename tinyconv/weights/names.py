"""What torchvision calls the layers of AlexNet, VGG, GoogLeNet and ResNet, and which network a file of weights is of.

torchvision counts all layers of a part, those without weights included: ``features.3`` is AlexNet's conv2, because
conv1, relu1 and pool1 are 0, 1 and 2. The papers' names, which are ours, count convolutions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tinyconv.models.googlenet import MODULES
from tinyconv.models.residual import BasicBlock, Bottleneck
from tinyconv.models.resnet import DEPTHS
from tinyconv.models.vgg import CONFIGS

State = Mapping[str, np.ndarray]
# Convolutions of torchvision's VGGs; it has neither A-LRN nor C.
VGG_DEPTHS = {8: ("VGG-11", "A"), 10: ("VGG-13", "B"), 13: ("VGG-16", "D"), 16: ("VGG-19", "E")}
_OTHERS = {
    "Mixed_": "an Inception v3",
    "features.denseblock": "a DenseNet", "features.0.0.": "a MobileNet or EfficientNet",
}  # fmt: skip
# Trained convolutions that tinyconv.data.store keeps, and the networks they are of.
TRUNKS: dict[str, tuple[str, dict[str, Any]]] = {
    "alexnet-trunk": ("alexnet", {"variant": "torchvision"}),
    "vgg16-trunk": ("vgg", {"config": "D"}),
}
_PARALLEL = "module."  # what torch.nn.DataParallel puts before every name
_FEATURES = re.compile(r"features\.(\d+)\.weight")


class Guess(NamedTuple):
    """Which network a file is of: its title, and the builder with arguments (None if tinyconv has none)."""

    title: str
    builder: str | None = None
    arguments: dict[str, Any] | None = None

    @property
    def call(self) -> str:
        """Python that builds the network, such as vgg(config='E')."""
        given = ", ".join(f"{name}={value!r}" for name, value in (self.arguments or {}).items())
        return f"{self.builder}({given})"


def alexnet_names() -> dict[str, str]:
    """Return {torchvision's layer: ours}."""
    features = {f"features.{place}": f"conv{n}" for n, place in enumerate((0, 3, 6, 8, 10), 1)}
    return features | {"classifier.1": "fc6", "classifier.4": "fc7", "classifier.6": "fc8"}


def vgg_names(config: str, batch_norm: bool) -> dict[str, str]:
    """Return {torchvision's layer: ours}.

    Examples
    --------
    >>> list(vgg_names("A", False).items())[1:4]
    [('features.3', 'conv2_1'), ('features.6', 'conv3_1'), ('features.8', 'conv3_2')]
    """
    names, place = {}, 0
    for group, kernels in enumerate(CONFIGS[config], 1):
        for number in range(1, len(kernels) + 1):
            names[f"features.{place}"] = f"conv{group}_{number}"
            if batch_norm:
                names[f"features.{place + 1}"] = f"bn{group}_{number}"
            place += 3 if batch_norm else 2  # and the ReLU
        place += 1  # the pool
    return names | {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}


def resnet_names(depth: int) -> dict[str, str]:
    """Return {torchvision's layer: ours}: layer1.0 is conv2_1, downsample its shortcut."""
    block, counts = DEPTHS[depth]
    names = {"conv1": "conv1", "bn1": "bn1", "fc": "fc"}
    for stage, count in enumerate(counts, 1):
        for number in range(count):
            theirs, ours = f"layer{stage}.{number}", f"conv{stage + 1}_{number + 1}"
            for part in range(1, 4 if block is Bottleneck else 3):
                names |= {f"{theirs}.{kind}{part}": f"{ours}.{kind}{part}" for kind in ("conv", "bn")}
            if number == 0 and (stage > 1 or block is Bottleneck):
                names |= {
                    f"{theirs}.downsample.{i}": f"{ours}.shortcut.{kind}" for i, kind in enumerate(("conv", "bn"))
                }
    return names


def googlenet_names(aux: bool) -> dict[str, str]:
    """Return {torchvision's layer: ours}: conv2 is the paper's reduction before its second convolution."""
    units = {"conv1": "conv1", "conv2": "conv2_reduce", "conv3": "conv2"}
    for part in MODULES:
        theirs, ours = f"inception{part}", f"inception_{part}"
        units |= {f"{theirs}.branch1": f"{ours}.ones", f"{theirs}.branch4.1": f"{ours}.pooled.1"}
        for branch, name in (("branch2", "threes"), ("branch3", "fives")):
            units |= {f"{theirs}.{branch}.{i}": f"{ours}.{name}.{i}" for i in (0, 1)}
    heads = ("aux1", "aux2") if aux else ()
    units |= {f"{head}.conv": f"{head}.conv" for head in heads}
    names = {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in units.items() for kind in ("conv", "bn")}
    return names | {name: name for name in ("fc", *(f"{head}.fc{i}" for head in heads for i in (1, 2)))}


def layer_names(builder: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return {torchvision's layer: ours} for a model of this builder; {} if torchvision has no such network."""
    if builder == "alexnet" and arguments.get("variant") == "torchvision":
        return alexnet_names()
    if builder == "vgg" and arguments.get("config") in {config for _, config in VGG_DEPTHS.values()}:
        return vgg_names(arguments["config"], bool(arguments.get("batch_norm")))
    if builder == "resnet" and arguments.get("variant") == "v1.5" and arguments.get("shortcut") == "B":
        return resnet_names(arguments["depth"]) if arguments.get("residual") else {}
    if builder == "googlenet" and arguments.get("variant") == "torchvision":
        return googlenet_names(bool(arguments.get("aux")))
    return {}


def unwrapped(state: State) -> State:
    """Return a state by the network's own names: without the prefix that DataParallel puts before all of them."""
    if not all(name.startswith(_PARALLEL) for name in state):
        return state
    return {name.removeprefix(_PARALLEL): array for name, array in state.items()}


def guess(state: State) -> Guess | None:
    """Return which of torchvision's networks these tensors are of, from their names and shapes; None if unknown."""
    state = unwrapped(state)
    for prefix, title in _OTHERS.items():
        if any(name.startswith(prefix) for name in state):
            return Guess(title)
    if "layer1.0.conv1.weight" in state or "inception3a.branch1.conv.weight" in state:
        return _guess_later(state)
    weights = {name: array for name, array in state.items() if _FEATURES.fullmatch(name)}
    convolutions = [array for array in weights.values() if array.ndim == 4]
    if "classifier.6.weight" not in state or not convolutions:
        return None
    classes = len(state["classifier.6.weight"]) if state["classifier.6.weight"].ndim else 0
    arguments: dict[str, Any] = {} if classes == 1000 else {"num_classes": classes}
    kernels = {array.shape[2:] for array in convolutions}
    if len(convolutions) == 5 and (11, 11) in kernels:
        return Guess("torchvision's AlexNet", "alexnet", {"variant": "torchvision", **arguments})
    if len(convolutions) not in VGG_DEPTHS or kernels != {(3, 3)}:
        return None
    title, config = VGG_DEPTHS[len(convolutions)]
    norms = len(weights) > len(convolutions)
    batch_norm = {"batch_norm": True} if norms else {}
    title += " with batch normalisation" if norms else ""
    return Guess(f"a {title}", "vgg", {"config": config, **batch_norm, **arguments})


def _guess_later(state: State) -> Guess | None:
    """Return which ResNet or GoogLeNet it is."""
    classes = len(state["fc.weight"]) if "fc.weight" in state and state["fc.weight"].ndim else 0
    arguments: dict[str, Any] = {} if classes == 1000 else {"num_classes": classes}
    if "inception3a.branch1.conv.weight" in state:
        aux = {} if any(name.startswith("aux1.") for name in state) else {"aux": False}
        return Guess("torchvision's GoogLeNet", "googlenet", {"variant": "torchvision", **aux, **arguments})
    blocks = {name.rpartition(".conv1.")[0] for name in state if name.endswith(".conv1.weight")}
    kind = Bottleneck if "layer1.0.conv3.weight" in state else BasicBlock
    counts = tuple(sum(block.startswith(f"layer{stage}.") for block in blocks) for stage in range(1, 5))
    depth = next((depth for depth, found in DEPTHS.items() if found == (kind, counts)), None)
    if depth is None:
        return Guess("a ResNet")
    return Guess(f"a ResNet-{depth}", "resnet", {"depth": depth, "variant": "v1.5", **arguments})
