"""What ``tinyconv train`` does where the command line says nothing: one table of settings, and of data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv import data, models, optim
from tinyconv.cli.names import UsageError, choose
from tinyconv.data import store
from tinyconv.data.dataset import shuffled
from tinyconv.data.distorted import DistortedDigits
from tinyconv.data.distortion_kinds import KINDS
from tinyconv.random import generator


@dataclass
class Recipe:
    """How a network is trained: optimizer and its options, images per step, epochs; what its builder is told."""

    batch_size: int
    epochs: int
    lr: float
    optimizer: Callable[..., Any] = optim.SGD
    options: dict[str, Any] = field(default_factory=lambda: {"momentum": 0.9, "weight_decay": 5e-4})
    arguments: dict[str, Any] = field(default_factory=dict)
    paper_lr: float | None = None  # at the paper's scale, if it is another
    hook: Callable[[Any], Callable[..., Any]] | None = None  # (model) -> what the optimizer calls after each step
    drops: tuple[float, ...] = (0.75,)  # where the rate is divided by 10, in parts of all epochs
    warmup: int = 0  # epochs at a tenth of the rate, before everything else
    own_size: bool = False  # the network is built for the size of the data set's images
    factor: float = 1.0  # the localisation networks' share of the rate, where there are transformers
    black: bool = False  # images stay in [0, 1]: what a transformer sees outside of them is 0, and must be black


RECIPES = {
    "lenet5": Recipe(batch_size=64, epochs=8, lr=0.004, options={"momentum": 0.9}, arguments={"output": "scores"}),
    "alexnet": Recipe(batch_size=64, epochs=8, lr=0.05, optimizer=optim.AlexNetSGD, paper_lr=0.01),
    "resnet": Recipe(batch_size=64, epochs=8, lr=0.1, options={"momentum": 0.9, "weight_decay": 1e-4}),
    "resnet_cifar": Recipe(batch_size=64, epochs=8, lr=0.1, options={"momentum": 0.9, "weight_decay": 1e-4}),
    "vgg": Recipe(batch_size=64, epochs=8, lr=0.001, optimizer=optim.Adam, options={}, paper_lr=1e-4),
    "googlenet": Recipe(batch_size=64, epochs=8, lr=0.001, optimizer=optim.Adam, options={}, paper_lr=1e-4),
    "zfnet": Recipe(batch_size=64, epochs=8, lr=0.03, paper_lr=0.01, hook=optim.renormalise_filters),
    # The paper's localisation network has 1e-4 of the rate, over many steps; in 8 epochs it would never move at all.
    "st_cub": Recipe(batch_size=64, epochs=8, lr=0.001, optimizer=optim.Adam, options={}, factor=0.1, black=True),
    "rir": Recipe(batch_size=64, epochs=8, lr=0.1, options={"momentum": 0.9, "weight_decay": 1e-4}),
}
OTHER = Recipe(batch_size=64, epochs=5, lr=0.01)
_TRANSFORMER = Recipe(
    batch_size=64, epochs=20, lr=0.002, optimizer=optim.Adam, options={}, drops=(0.7,), own_size=True, black=True
)  # fmt: skip
# He et al. 2015, sec. 4.2: 64,000 steps of 128 images, a tenth of the rate after 32,000 and 48,000.
_CIFAR = Recipe(
    batch_size=128, epochs=164, lr=0.1, options={"momentum": 0.9, "weight_decay": 1e-4}, drops=(0.5, 0.75)
)  # fmt: skip
# Targ et al. 2016: 82 epochs of steps of 500, a tenth of the rate after 42 and 62.
_RIR_CIFAR = Recipe(
    batch_size=500, epochs=82, lr=0.1, options={"momentum": 0.9, "weight_decay": 1e-4}, drops=(0.51, 0.75)
)  # fmt: skip
TRANSFORMERS = ("st_cnn", "st_fcn")  # networks that take any size of images, and --transform
_WARMED = 110  # layers from which on the paper begins with a smaller rate, for some 400 steps
DATA = ("fashion", "mnist", "digits", "shapes", "cifar10", "cifar100", *KINDS)
_TRAIN, _TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation")
_PROBED = 512  # training images from which the mean and deviation of the channels are estimated


def of(model: str, dataset: str = "") -> Recipe:
    """Return the recipe of a model, or of what it is another name for: the papers' for a ResNet or RiR on CIFAR."""
    builder, arguments = models.resolve(model)
    if builder == "resnet_cifar" and dataset.startswith("cifar"):
        return replace(_CIFAR, warmup=1) if arguments.get("depth", 20) >= _WARMED else _CIFAR
    if builder == "rir" and dataset.startswith("cifar"):
        return _RIR_CIFAR
    if builder in TRANSFORMERS:
        # Translated, cluttered digits are neither turned nor bent: a scale and a shift find them, beginning with the
        # middle, and 28 pixels are what a digit has before it is moved (lesson 09's).
        cluttered = {"transform": "attention", "out_size": 28, "start": 0.6}
        return replace(_TRANSFORMER, arguments=cluttered) if dataset == "tc" else _TRANSFORMER
    return RECIPES.get(builder, OTHER)


@dataclass
class Source:
    """Training and test images, and whether their mirror images are as good (digits' are not)."""

    name: str
    train: Any
    test: Any
    mirror: bool
    photographs: bool = False
    border: int = 0  # pixels added on each side before a random window is cut out

    @property
    def classes(self) -> list[str]:
        """Names of the labels."""
        return self.train.classes


def open_data(name: str, channels: int | None = None, root: str | None = None) -> Source:
    """Return a bundled data set, or the images of a folder (``train/`` and ``test/``, or split 4 : 1).

    ``root`` is the folder of a whole set in its own files (MNIST's IDX, CIFAR's batches); CIFAR-10 without one is what
    ``tinyconv data get cifar10`` brought.

    ``channels`` (1 or 3) makes grey images of coloured ones, or the other way round; None leaves bundled images as they
    are, and reads files in colour.
    """
    if name in ("cifar10", "cifar100") or (root is not None and name in ("mnist", "fashion")):
        train, test = (_with_channels(_whole(name, root, part), channels) for part in ("train", "test"))
        return Source(name, train, test, mirror=name != "mnist", border=4 if name.startswith("cifar") else 0)
    if root is not None:
        raise UsageError(f"--root goes with cifar10, cifar100, mnist and fashion; --data {name} has none")
    bundled = {"fashion": data.fashion_mnist, "mnist": data.mnist, "digits": data.digits}
    if name in bundled:
        train, test = (_with_channels(bundled[name](part), channels) for part in ("train", "test"))
        return Source(name, train, test, mirror=name == "fashion")
    if name == "shapes":
        sizes = enumerate((4000, 1000))
        train, test = (_with_channels(data.shapes10(n, 32, seed=seed), channels) for seed, n in sizes)
        return Source(name, train, test, mirror=True)
    if name in KINDS:
        three = _threefold if channels == 3 else None
        drawn, fixed = (DistortedDigits(name, part, hold_out=False, transform=three) for part in ("train", "test"))
        return Source(name, drawn, fixed, mirror=False)
    return _open_folder(name, "L" if channels == 1 else "RGB")


def _whole(name: str, root: str | None, part: str) -> data.ArrayDataset:
    """Return one split of a set in full, from its own files or from what was fetched."""
    if root is None:
        if name == "cifar100":
            raise UsageError("--data cifar100 wants --root DIR, the folder of its archive, unpacked")
        return store.dataset(name, part)
    if name.startswith("cifar"):
        return (data.cifar10_folder if name == "cifar10" else data.cifar100_folder)(root, part)
    classes = data.fashion_mnist(part).classes if name == "fashion" else None
    return data.mnist_folder(root, part, classes=classes)


def _with_channels(dataset: data.ArrayDataset, channels: int | None) -> data.ArrayDataset:
    """Return the dataset with grey images (the eye's weights, as in ``read_image``) or with three equal channels."""
    images = dataset.images
    if channels in (None, images.shape[1]):
        return dataset
    if channels == 1:
        eye = np.array([0.299, 0.587, 0.114], np.float32)
        images = np.einsum("nchw,c->nhw", images.astype(np.float32), eye)[:, None]
    else:
        images = np.repeat(images, 3, axis=1)
    images = images / np.float32(dataset.maximum) if dataset.images.dtype.kind in "ui" else images
    return data.ArrayDataset(images.astype(np.float32), dataset.labels, classes=dataset.classes)


def _threefold(image: np.ndarray, rng: Any = None) -> np.ndarray:
    """Return a grey image with three equal channels."""
    return np.repeat(image, 3, axis=0)


def _open_folder(name: str, mode: str) -> Source:
    folder = Path(name)
    if name in ("scenes", "voc", "coco") and not folder.is_dir():
        others = ", ".join(DATA)
        raise UsageError(f"{name} is for detectors (faster_rcnn, fast_rcnn); other networks learn from {others}")
    if not folder.is_dir():
        choose("data set", name, DATA, ", or a folder with one sub-folder per class")
    parts = {entry.name.lower(): entry for entry in folder.iterdir() if entry.is_dir()}
    train = next((parts[part] for part in _TRAIN if part in parts), None)
    test = next((parts[part] for part in _TEST if part in parts), None)
    if train is not None and test is not None:
        training = data.ImageFolder(train, mode=mode)
        testing = data.ImageFolder(test, classes=training.classes, mode=mode)
        return Source(folder.resolve().name, training, testing, True, True)
    if train is not None or test is not None:
        missing = "test/ beside train/" if test is None else "train/ beside test/"
        raise UsageError(f"{folder} has no folder {missing}; add it, or give the folder of classes to have it split")
    whole = data.ImageFolder(folder, mode=mode)
    if len(whole) < 5:
        raise UsageError(f"{folder} holds {len(whole)} images; at least 5 are needed to split off a test set")
    first, second = data.random_split(whole, [0.8, 0.2])  # by a fixed seed: the test set is the same in every run
    return Source(folder.resolve().name, first, second, True, True)


def views(source: Source, input_shape: tuple[int, int, int], black: bool = False) -> tuple[Any, Any]:
    """Return the transforms (training, test) that make the source's images into a network's input.

    ``black``: they stay in [0, 1], and are not made to have mean 0 and deviation 1.
    """
    _, height, width = input_shape
    if source.photographs:
        # The papers' 256 and 224: the short side is an eighth longer than the crop.
        fit: list[Any] = [data.Resize(round(max(height, width) * 256 / 224))]
        train, test = [*fit, data.RandomCrop((height, width))], [*fit, data.CenterCrop((height, width))]
    else:
        train = test = _to_size(source.train[0][0].shape[1:], (height, width))
    normalise = [] if black else [_normalise(source.train, data.Compose(test))]
    # A border of zeros is one of the mean colour, where the mean has been taken away before.
    moved = [data.RandomCrop((height, width), source.border)] if source.border else []
    mirror = [data.RandomMirror()] if source.mirror else []
    return data.Compose([*train, *normalise, *moved, *mirror]), data.Compose([*test, *normalise])


def _to_size(have: tuple[int, ...], want: tuple[int, int]) -> list[Any]:
    """Return what makes small images of one size into another: a border of up to 4 pixels, else a new size."""
    missing = [w - h for h, w in zip(have, want, strict=True)]
    if not any(missing):
        return []
    if all(0 <= m <= 8 and m % 2 == 0 for m in missing):  # LeCun 1998: 28 pixels in the middle of 32
        return [data.Pad((missing[0] // 2, missing[1] // 2))]
    return [data.Resize(want)]


def _normalise(dataset: Any, view: Any) -> Any:
    """Return the transform that gives every channel mean 0 and deviation 1, estimated on some training images."""
    chosen = shuffled(len(dataset), generator(0, "probe"))[:_PROBED]
    images = np.stack([view(dataset[int(i)][0], None) for i in chosen])
    mean, std = images.mean((0, 2, 3), np.float64), images.std((0, 2, 3), np.float64)
    return data.Normalize(tuple(np.round(mean, 4)), tuple(np.round(np.maximum(std, 1e-2), 4)))
