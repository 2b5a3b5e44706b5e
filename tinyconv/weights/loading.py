"""Loading foreign weights into our models. See :func:`load_torchvision`, :func:`load_trunk`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tinyconv.weights.names import TRUNKS, Guess, guess, layer_names, unwrapped
from tinyconv.weights.problem import WeightsError, shown
from tinyconv.weights.reader import read

if TYPE_CHECKING:
    from tinyconv.nn import Module

    Model = TypeVar("Model", bound=Module)

_WHO = "weights.load_torchvision"
_COUNTER = "num_batches_tracked"  # files older than PyTorch 0.4.1 have none
_SHOWN = 4  # tensors that a message names
TORCHVISION = (
    'alexnet(variant="torchvision"), vgg(config="A", "B", "D" or "E"), googlenet(variant="torchvision") or '
    'resnet(depth, variant="v1.5")'
)


def load_torchvision(model: Model, file: str | os.PathLike[str]) -> Model:
    """Copy the weights of a file that torchvision's network of the same name was saved to into a model of ours.

    The file (see :func:`tinyconv.weights.read` for formats) holds a state dict in torchvision's naming
    (``features.0.weight``, ``classifier.6.bias``); PyTorch is not needed. All is checked first: a file that does not
    fit changes nothing. torchvision's networks want RGB images, resized to 256, their middle 224 x 224 pixels, scaled
    to [0, 1], less (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225).

    Parameters
    ----------
    model : Module
        ``alexnet(variant="torchvision")``, ``googlenet(variant="torchvision")``, ``resnet(depth, variant="v1.5")``, or
        ``vgg`` of config "A", "B", "D", "E" (vgg11, 13, 16, 19).

    Returns
    -------
    Module
        The model.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    WeightsError
        The file cannot be read, or is of another network; the message says which to build.

    Examples
    --------
    >>> model = load_torchvision(models.vgg(config="D"), "vgg16.pth")  # doctest: +SKIP
    """
    return fit(model, read(file), file)


def fit(model: Model, state: Mapping[str, np.ndarray], file: str | os.PathLike[str]) -> Model:
    """Do what :func:`load_torchvision` does with tensors that were read; ``file`` is for messages."""
    names, described = _names(model)
    state = unwrapped(state)
    theirs = {their: name for their, name in _tensors(model, names)}
    wrong = _differences(model, state, theirs)
    if wrong:
        raise WeightsError(f"{_WHO}: wanted the weights of {described}, got {file}: {_explain(wrong, guess(state))}")
    model.load_state_dict({ours: state[their] for their, ours in theirs.items() if their in state}, strict=False)
    return model


def _names(model: Any) -> tuple[dict[str, str], str]:
    """Return {torchvision's layer: ours} and the call that built the model."""
    config = getattr(model, "config", None)
    if not config:
        raise WeightsError(f"{_WHO}: wanted a model of tinyconv.models, got {type(model).__name__}; use {TORCHVISION}")
    arguments = config["arguments"]
    telling = ("depth", "variant", "config", "batch_norm", "shortcut")
    kind = {key: arguments[key] for key in telling if arguments.get(key)}
    described = Guess("", config["builder"], kind).call
    names = layer_names(config["builder"], arguments)
    if not names:
        raise WeightsError(f"{_WHO}: torchvision has no network like {described}; build {TORCHVISION}")
    return names, described


def _tensors(model: Any, names: dict[str, str]) -> list[tuple[str, str]]:
    """Return (torchvision's name, ours) of every tensor of the model."""
    theirs = {ours: their for their, ours in names.items()}
    pairs = []
    for name in model.state_dict():
        layer, _, kind = name.rpartition(".")
        pairs.append((f"{theirs[layer]}.{kind}", name))
    return pairs


def _differences(model: Any, state: Mapping[str, np.ndarray], theirs: dict[str, str]) -> list[str]:
    """Return what keeps the file from fitting, one text per tensor."""
    own = model.state_dict()
    wrong = []
    for their, name in theirs.items():
        if their not in state:
            wrong += [] if their.endswith(_COUNTER) else [f"{their} ({name}) is missing"]
            continue
        array, wanted = state[their], own[name]
        if array.shape != wanted.shape:
            wrong.append(f"{their} ({name}) must have shape {tuple(wanted.shape)}, got {array.shape}")
        elif (array.dtype.kind == "f") != (wanted.dtype.kind == "f"):
            wrong.append(f"{their} ({name}) must be {wanted.dtype}, got {array.dtype}")
    return wrong + [
        f"{shown(name)} of shape {array.shape} is not expected" for name, array in state.items() if name not in theirs
    ]


def _explain(wrong: list[str], found: Guess | None) -> str:
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    text = "; ".join(wrong[:_SHOWN]) + more
    if found is None:
        known = "AlexNet, VGG, GoogLeNet or ResNet"
        return f"{text}. Nothing was loaded; the file is not of torchvision's {known}, or not whole"
    if found.builder is None:
        return f"{text}. Nothing was loaded; the file is {found.title}, which is not read"
    return f"{text}. Nothing was loaded; the file is {found.title}: build {found.call}"


def load_trunk(model: Model, name: str) -> Model:
    """Copy trained convolutions that ``tinyconv data add`` stored into a model; its other layers stay as they are.

    They were trained on ImageNet, for images as :func:`load_torchvision` describes them.

    Parameters
    ----------
    model : Module
        ``alexnet(variant="torchvision")`` for "alexnet-trunk", ``vgg(config="D")`` for "vgg16-trunk".

    Raises
    ------
    FileNotFoundError
        The weights are not here; the message says how to get them.
    WeightsError
        The name is unknown, or the model is not the one that the weights are of.
    """
    from tinyconv.data.store import stored

    if name not in TRUNKS:
        raise WeightsError(f"weights.load_trunk: wanted {' or '.join(TRUNKS)}, got {name!r}")
    state = read(stored(name))
    own = {key: value for key, value in model.state_dict().items() if key.startswith("conv")}
    shapes = [{key: tuple(value.shape) for key, value in values.items()} for values in (own, state)]
    if shapes[0] != shapes[1]:
        key = next(key for key in [*shapes[1], *shapes[0]] if shapes[0].get(key) != shapes[1].get(key))
        wanted = Guess("", *TRUNKS[name]).call
        raise WeightsError(
            f"weights.load_trunk: {name} has {key} of shape {shapes[1].get(key)}, the model {shapes[0].get(key)}; "
            f"nothing was loaded; build {wanted}"
        )
    model.load_state_dict(state, strict=False)
    return model
