"""State dictionaries: the names and values of all parameters and persistent buffers of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinyconv import device
from tinyconv.function import no_grad
from tinyconv.tensor import Tensor

if TYPE_CHECKING:
    from tinyconv.nn.module import Module

_SHOWN = 8  # names per kind in an error message


class Incompatible(NamedTuple):
    """Names that did not find a partner when a state dictionary was loaded."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def _slots(module: Module) -> dict[str, Tensor]:
    """Return {name: tensor}; a tensor that is shared by two modules is listed under both names."""
    found: dict[str, Tensor] = {}
    stack: list[tuple[str, Module]] = [("", module)]
    while stack:
        prefix, current = stack.pop()
        kept = {n: b for n, b in current._buffers.items() if n not in current._transient}
        for name, tensor in (current._parameters | kept).items():
            if tensor is not None:
                found[prefix + name] = tensor
        stack += reversed([(f"{prefix}{name}.", m) for name, m in current.named_children()])
    return found


def state_dict(module: Module) -> dict[str, Tensor]:
    """Return {dotted name: tensor}, in the order of the modules; the tensors share the module's memory."""
    return {name: tensor.detach() for name, tensor in _slots(module).items()}


def load_state_dict(module: Module, values: dict[str, Any], strict: bool = True) -> Incompatible:
    """Copy values into a module's parameters and buffers, converted to their dtype.

    Parameters
    ----------
    values : dict of str to Tensor or array
    strict : bool
        Whether every name must be on both sides.

    Returns
    -------
    Incompatible
        ``missing_keys`` (the module has them, ``values`` does not) and ``unexpected_keys``.

    Raises
    ------
    RuntimeError
        The module is on "meta". Names (if strict) or shapes do not agree. Nothing is loaded then.
    """
    if not hasattr(values, "items"):
        raise TypeError(f"load_state_dict: wanted a dictionary of name to array, got {type(values).__name__}")
    slots = _slots(module)
    if any(tensor.device == "meta" for tensor in slots.values()):
        raise RuntimeError(
            f'load_state_dict: {type(module).__name__} is on device "meta" and has no memory to copy to; '
            'build the model with device="cpu"'
        )
    missing = [name for name in slots if name not in values]
    unexpected = [name for name in values if name not in slots]
    problems = []
    if strict:
        problems += [f"missing ({len(missing)}): {_some(missing)}"] if missing else []
        problems += [f"unexpected ({len(unexpected)}): {_some(unexpected)}"] if unexpected else []
    mismatched = [
        f"{name} is {tuple(tensor.shape)} in the model, {_shape(values[name])} in the state"
        for name, tensor in slots.items()
        if name in values and _shape(values[name]) != tuple(tensor.shape)
    ]
    problems += [f"wrong shape ({len(mismatched)}): {_some(mismatched)}"] if mismatched else []
    if problems:
        advice = "; strict=False loads the names that agree" if strict and not mismatched else ""
        text = "\n  ".join(problems)
        raise RuntimeError(f"load_state_dict: the state does not fit {type(module).__name__}{advice}\n  {text}")
    with no_grad():
        for name, tensor in slots.items():
            if name in values:
                value = _array(values[name])
                tensor.copy_(device.move(value, tensor.device) if isinstance(value, device.ARRAYS) else value)
    return Incompatible(missing, unexpected)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape if hasattr(value, "shape") else np.shape(value))


def _array(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def _some(names: list[str]) -> str:
    more = f", ... {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
