"""Building a model by its name, with errors that list what there is."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from tinyconv import nn


def describe(model: nn.Module, builder: str, input_shape: tuple[int, ...], **arguments: Any) -> Any:
    """Give a model what a checkpoint and a summary need: its builder with arguments, and the shape of one input."""
    model.config = {"builder": builder, "arguments": arguments}
    model.input_shape = input_shape
    return model


def build(builders: dict[str, Callable[..., nn.Module]], name: str, arguments: dict[str, Any]) -> nn.Module:
    """Call the builder of this name; see :func:`tinyconv.models.build`."""
    if name not in builders:
        raise ValueError(f"models.build: wanted one of {', '.join(builders)}, got {name!r}{_hint(name, builders)}")
    known = inspect.signature(builders[name]).parameters
    for argument in arguments:
        if argument not in known:
            raise TypeError(f"{name}: wanted {', '.join(known)}, got {argument!r}{_hint(argument, known)}")
    return builders[name](**arguments)


def _hint(name: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name).lower(), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
