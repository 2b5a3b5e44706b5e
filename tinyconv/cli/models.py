"""A network for a command: from a checkpoint of ours, or ``--model`` with weights that others saved.

See :func:`add_arguments`, :func:`open_model`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyconv.cli.names import UsageError, choose

# What torchvision's networks were trained on: RGB in [0, 1], less the mean, divided by the deviation.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SHORT = 256 / 224  # length of an image's short side, as a multiple of the crop's
_MODEL = ("variant", "config")
_FOREIGN = (".pth", ".pt", ".th", ".safetensors", ".bin")


# Which lesson trains which network, for a command without --weights.
LESSONS = {
    "alexnet": "01_alexnet",
    "zfnet": "02_zfnet",
    "vgg": "03_vgg",
    "googlenet": "04_googlenet",
    "resnet_cifar": "05_resnet",
    "faster_rcnn": "06_rcnn",
    "gan": "07_gan",
    "captioner": "08_captioning",
    "st_cnn": "09_spatial_transformer",
}
# By what a network can do: the command that asks it to, and what the others say.
_OTHERS: dict[str, tuple[str | None, str]] = {
    "detect": ("detect", "a detector; tinyconv detect IMAGE --weights {path} draws what it finds"),
    "sample": ("sample", "a generator of images; tinyconv sample --weights {path} draws some"),
    "describe": ("caption", "a captioner; tinyconv caption IMAGE --weights {path} says what is in a picture"),
    "sequence_error": (  # no command's
        None, "a reader of house numbers, five characters an image, for which there is no command; in Python: "
        "tinyconv.load({path!r})",
    ),
}  # fmt: skip
_FEATURES = ("alignment", "caption")  # networks that see no pixels
# What tinyconv train does not make: why the commands here have no use for it, or what makes it.
_UNTRAINED = {
    **dict.fromkeys(_FEATURES, "it is given features of images, not pictures; see lesson 08"),
    "rcnn": "tinyconv lesson 06_rcnn trains a detector, which tinyconv detect uses",
    "st_svhn": "it reads house numbers, five characters an image, and there is no command for that; see the "
    "documentation of tinyconv.models.st_svhn",
}


class ShapeError(ValueError):
    """An image, prepared, is not what the network takes."""


class Opened(NamedTuple):
    """A network in evaluation mode, with what makes an image (C, H, W) in [0, 1] into its input."""

    model: Any
    transform: Any  # None: the checkpoint names none
    classes: list[str] | None
    trunk: bool = False  # only the convolutions have trained weights

    @property
    def mode(self) -> str:
        """What :func:`tinyconv.data.read_image` is told: "L" for networks of grey images."""
        return "L" if self.model.input_shape[0] == 1 else "RGB"

    def prepare(self, image: Any) -> Any:
        """Return the input for one image of any size; see :func:`prepared`."""
        from tinyconv import data

        return prepared(image, self.transform or data.Resize(self.model.input_shape[1:]), self.model.input_shape)


def add_arguments(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Declare --weights, --model, --variant, --config and --classes."""
    parser.add_argument(
        "--weights", metavar="FILE", required=required,
        help="a checkpoint of tinyconv, a network of `tinyconv data list`; or, with --model, another program's file "
        "(.pth, .safetensors, .npz)",
    )  # fmt: skip
    parser.add_argument(
        "--model", metavar="NAME",
        help="the network that foreign weights are of: alexnet, vgg, googlenet or resnet (resnet50: a depth, too)",
    )  # fmt: skip
    parser.add_argument("--variant", help="of alexnet; foreign weights are of torchvision, which is then the default")
    parser.add_argument("--config", help="of vgg: A, B, D or E (the weights say which)")
    parser.add_argument("--classes", metavar="FILE", help="a text file with the names of the classes, one per line")


def open_model(options: argparse.Namespace) -> Opened:
    """Return the network that ``--weights`` and ``--model`` describe: without weights, that of the model's lesson.

    Raises
    ------
    UsageError
        The arguments do not agree, or without weights there is no lesson's checkpoint yet.
    ValueError, OSError
        A file cannot be read, or does not fit.
    """
    from tinyconv import load, weights
    from tinyconv.data import from_description, store

    if options.weights is None:
        options.weights = str(lesson_checkpoint(options.model))
    trunk = _trunk(options)
    if trunk is not None:
        return trunk
    path = Path(options.weights)
    if options.weights in store.TABLE and not path.exists():
        path = store.stored(options.weights)
    ours = path.is_file() and weights.is_checkpoint(path)
    if ours or options.model is None:
        if not ours and path.suffix in _FOREIGN and path.is_file():
            found = weights.guess(weights.read(path))
            hint = f": add --model {found.builder}, it is {found.title}" if found and found.builder else ""
            raise UsageError(f"{path} does not say what network it is of, as tinyconv's own files do{hint}")
        model = load(path)
        _check_model(options, model.config or {"builder": "unknown", "arguments": {}})
        described = model.meta.get("transform")
        transform = from_description(described) if described else None
        names = model.meta.get("classes")
    else:
        model, transform, names = _foreign(options, path), None, None
        transform = imagenet(model.input_shape)
    check_command(model, path)
    if model.input_shape is None or len(model.input_shape) != 3:
        raise UsageError(f"{path} holds a network that takes no images")
    return Opened(model, transform, _classes(options, model) or names)


def open_checkpoint(path: Path, command: str, maker: str) -> Any:
    """Return the network of a checkpoint of ours, in evaluation mode, if it is not for another command than this one.

    ``maker`` is what makes a fitting checkpoint, such as "tinyconv train gan --data mnist".

    Raises
    ------
    UsageError
        The file is no checkpoint, or of a network for another command.
    ValueError, OSError
        It cannot be read.
    """
    from tinyconv import load, weights

    if path.is_file() and not weights.is_checkpoint(path):
        raise UsageError(f"{path} is no checkpoint of tinyconv; {maker} makes one")
    model = load(path)
    check_command(model, path, command)
    return model


def transform_of(model: Any, command: str) -> Any:
    """Return what the training images went through, None for nothing; ValueError if it moves boxes about."""
    from tinyconv.data import from_description
    from tinyconv.data.detection import check_transform

    described = model.meta.get("transform")
    transform = from_description(described) if described else None
    check_transform(command, transform)
    return transform


def check_command(model: Any, path: Path, command: str = "") -> None:
    """Raise UsageError if a checkpoint's network is for another command than this one ("": those for classifiers)."""
    for method, (name, holds) in _OTHERS.items():
        if name != command and hasattr(model, method):
            raise UsageError(f"{path} holds {holds.format(path=str(path))}")
    builder = (model.config or {}).get("builder")
    if builder in _FEATURES:
        raise UsageError(f"{path} holds {builder}, which is given features of images, not pictures; see lesson 08")


def lesson_checkpoint(name: str | None) -> Path:
    """Return the checkpoint that a network's lesson (ZF Net's by default) left; without one, say what makes it."""
    from tinyconv import models
    from tinyconv.cli.lesson import find_lessons
    from tinyconv.lesson import OUTPUT, steps_of

    name = models.resolve(choose("model", name or "zfnet", models.names()))[0]
    if name in _UNTRAINED:
        raise UsageError(f"there are no weights of {name} to take: {_UNTRAINED[name]}")
    if name not in LESSONS:
        raise UsageError(f"no lesson trains {name}; give --weights FILE, which tinyconv train {name} makes")
    file = Path(OUTPUT) / LESSONS[name][:2] / "model.npz"
    if not file.exists():
        root = find_lessons()
        steps = [] if root is None else steps_of(root / LESSONS[name])
        number = next((f" --step {i}" for i, step in enumerate(steps, 1) if step.stem.endswith("_train")), "")
        raise UsageError(f"there is no {file} yet: tinyconv lesson {LESSONS[name]}{number} makes it; or give --weights")
    return file


def imagenet(input_shape: tuple[int, ...]) -> Any:
    """Return torchvision's transform of test images: short side 256, the middle 224 x 224, mean and deviation."""
    from tinyconv import data

    _, height, width = input_shape
    fit = [data.Resize(round(max(height, width) * _SHORT)), data.CenterCrop((height, width))]
    return data.Compose([*fit, data.Normalize(MEAN, STD)])


def _foreign(options: argparse.Namespace, path: Path) -> Any:
    """Build the network and load a file that another program saved."""
    from tinyconv import models, weights

    name, fixed = models.resolve(choose("model", options.model, models.names()))
    state = weights.read(path)
    found = weights.guess(state)
    arguments = {"variant": "torchvision"} if name == "alexnet" else {}
    if found is not None and found.builder == name:
        arguments |= found.arguments or {}
    arguments |= fixed  # a file of vgg19 for --model vgg16 is an error
    arguments |= {key: getattr(options, key) for key in _MODEL if getattr(options, key) is not None}
    model = _build(name, arguments)
    weights.fit(model, state, path)
    model.eval()
    return model


def _build(name: str, arguments: dict[str, Any]) -> Any:
    from tinyconv import models

    try:
        return models.build(name, **arguments)
    except (ValueError, TypeError) as problem:  # no such argument, or no such value
        raise UsageError(str(problem)) from None


def _trunk(options: argparse.Namespace) -> Opened | None:
    """Return the network if ``--weights`` names trained convolutions that ``tinyconv data add`` stored."""
    from tinyconv import weights

    name = options.weights
    if name not in weights.TRUNKS or Path(name).exists():
        return None
    builder, arguments = weights.TRUNKS[name]
    _check_model(options, {"builder": builder, "arguments": arguments})
    model = weights.load_trunk(_build(builder, arguments), name)
    model.eval()
    return Opened(model, imagenet(model.input_shape), None, trunk=True)


def _check_model(options: argparse.Namespace, config: dict[str, Any]) -> None:
    """Raise if --model, --variant or --config says something else than the file."""
    from tinyconv import models

    own = config["arguments"]
    if options.model is not None:
        builder, fixed = models.resolve(choose("model", options.model, models.names()))  # resnet50: resnet, depth 50
        if builder != config["builder"]:
            raise UsageError(f"{options.weights} is of the model {config['builder']}, --model says {options.model}")
        for key, value in fixed.items():
            if own.get(key) != value:
                raise UsageError(f"{options.weights} has {key} {own.get(key)!r}, --model says {options.model}")
    for key in _MODEL:
        given = getattr(options, key)
        if given is not None and given != own.get(key):
            raise UsageError(f"{options.weights} has {key} {own.get(key)!r}, --{key} says {given!r}")


def _classes(options: argparse.Namespace, model: Any) -> list[str] | None:
    """Return the names in --classes, one for each output."""
    if options.classes is None:
        return None
    try:
        lines = Path(options.classes).read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"--classes: {options.classes} is no text file (UTF-8)") from None
    names = [line.strip() for line in lines if line.strip()]
    count = model.config["arguments"]["num_classes"]
    if len(names) != count:
        raise ValueError(f"--classes: wanted {count} names, one per line, got {len(names)} in {options.classes}")
    return names


def prepared(image: np.ndarray, transform: Any, wanted: tuple[int, ...]) -> np.ndarray:
    """Return what the network is given; an image of another size than the data set's gets the data set's first.

    Raises
    ------
    ShapeError
        The transform's result is of another shape than the network's input.
    """
    from tinyconv import data

    result = transform(image, None)
    if result.shape != wanted:
        # What the transform adds to a side (LeNet's border) it will add again.
        size = tuple(w - (p - i) for w, p, i in zip(wanted[1:], result.shape[1:], image.shape[1:], strict=True))
        if min(size) >= 1:
            fit = data.Compose([data.Resize(max(size)), data.CenterCrop(size)])
            result = transform(fit(image, None), None)
    if result.shape != wanted:
        raise ShapeError(f"the network takes images of shape {wanted}, got {result.shape}")
    return np.ascontiguousarray(result)
