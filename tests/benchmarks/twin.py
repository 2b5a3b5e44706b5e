"""A network of tinyconv as a module of PyTorch: the same layers, names, weights and forward code. See :func:`twin`."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from .engines import load_torch

_INTERNAL = {"training", "config", "input_shape"}


def twin(model: Any) -> Any:
    """Return a torch.nn.Module that computes what ``model`` computes, with a copy of its weights.

    Layers that PyTorch has become PyTorch's own. Any other module, and so every network with a forward of its own,
    keeps that forward: its code is run with torch's functions in place of tinyconv's, since their names agree.

    Raises
    ------
    RuntimeError
        The names of parameters or buffers differ (from ``load_state_dict``).
    """
    torch = load_torch()
    module = _convert(torch, model)
    weights = {name: torch.from_numpy(np.array(value.data)) for name, value in model.state_dict().items()}
    module.load_state_dict(weights)
    return module.train(model.training)


def _convert(torch: Any, module: Any) -> Any:
    from tinyconv import nn

    for kind in type(module).__mro__:
        make = _layers(torch).get(kind)
        if make is not None and type(module).forward is vars(kind).get("forward", type(module).forward):
            return make(module)
    if isinstance(module, nn.ModuleList):
        return torch.nn.ModuleList(_convert(torch, child) for child in module)
    return _with_own_forward(torch, module)


def _layers(torch: Any) -> dict[Any, Callable[[Any], Any]]:
    """Return {tinyconv's class: function of a layer that makes PyTorch's}."""
    from tinyconv import nn

    def same(name: str, *arguments: str) -> Callable[[Any], Any]:
        """Return a maker of ``torch.nn.name`` for which the layer's attributes are the arguments."""
        return lambda m: getattr(torch.nn, name)(**{a: getattr(m, a) for a in arguments})

    def weighted(name: str, *arguments: str) -> Callable[[Any], Any]:
        return lambda m: getattr(torch.nn, name)(bias=m.bias is not None, **{a: getattr(m, a) for a in arguments})

    window = ("kernel_size", "stride", "padding")
    conv = ("in_channels", "out_channels", *window, "dilation", "groups")
    norm = ("num_features", "eps", "momentum", "affine", "track_running_stats")
    return {
        nn.Sequential: lambda m: torch.nn.Sequential(_children(torch, m)),
        nn.Conv2d: weighted("Conv2d", *conv),
        nn.ConvTranspose2d: weighted("ConvTranspose2d", *conv, "output_padding"),
        nn.Linear: weighted("Linear", "in_features", "out_features"),
        nn.BatchNorm1d: same("BatchNorm1d", *norm),
        nn.BatchNorm2d: same("BatchNorm2d", *norm),
        nn.LocalResponseNorm: lambda m: torch.nn.LocalResponseNorm(
            m.size, m.alpha if m.alpha_over_size else m.alpha * m.size, m.beta, m.k
        ),
        nn.MaxPool2d: same("MaxPool2d", *window, "dilation", "return_indices", "ceil_mode"),
        nn.AvgPool2d: same("AvgPool2d", *window, "ceil_mode", "count_include_pad", "divisor_override"),
        nn.AdaptiveAvgPool2d: same("AdaptiveAvgPool2d", "output_size"),
        nn.ReLU: same("ReLU"),
        nn.Tanh: same("Tanh"),
        nn.Sigmoid: same("Sigmoid"),
        nn.Identity: same("Identity"),
        nn.Flatten: same("Flatten", "start_dim", "end_dim"),
        nn.Dropout: lambda m: torch.nn.Dropout(m.p) if m.inverted else _paper_dropout(torch, m.p),
    }


def _children(torch: Any, module: Any) -> dict[str, Any]:
    from collections import OrderedDict

    return OrderedDict((name, _convert(torch, child)) for name, child in module.named_children())


def _paper_dropout(torch: Any, p: float) -> Any:
    """Return Krizhevsky's dropout: times 1 - p when testing.

    In training the kept values are not divided by 1 - p there, and PyTorch has no such layer; its own does the same
    work, so that one is timed.
    """

    class PaperDropout(torch.nn.Dropout):
        def forward(self, x: Any) -> Any:
            return super().forward(x) if self.training else x * (1 - self.p)

    return PaperDropout(p)


# ------------------------------------------------------------------------------------ modules with their own forward


class _TorchNames:
    """What ``tinyconv.functional`` and ``tinyconv.creation`` are called in PyTorch: one of two places."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._torch.nn.functional, name, None)
        return getattr(self._torch, name) if found is None else found


def _with_own_forward(torch: Any, module: Any) -> Any:
    """Return a torch.nn.Module with the module's methods, plain attributes, parameters, buffers and children."""
    from tinyconv import nn

    own = [kind for kind in type(module).__mro__ if kind not in nn.Module.__mro__]
    methods = {
        name: _rebound(torch, value)
        for kind in reversed(own)
        for name, value in vars(kind).items()
        if isinstance(value, types.FunctionType) and not name.startswith("__")
    }
    made = type(type(module).__name__, (torch.nn.Module,), methods)()
    inherited = vars(nn.Module()).keys() | _INTERNAL
    for name, value in vars(module).items():
        if name not in inherited:  # what the module's own __init__ has set
            setattr(made, name, value)
    for name, parameter in module._parameters.items():
        made.register_parameter(name, None if parameter is None else torch.nn.Parameter(_copy(torch, parameter)))
    for name, buffer in module._buffers.items():
        kept = name not in module._transient
        made.register_buffer(name, None if buffer is None else _copy(torch, buffer), persistent=kept)
    for name, child in _children(torch, module).items():
        made.add_module(name, child)
    return made


def _copy(torch: Any, tensor: Any) -> Any:
    return torch.from_numpy(np.array(tensor.data))


def _rebound(torch: Any, function: types.FunctionType) -> types.FunctionType:
    """Return the function with PyTorch's functions where its module has tinyconv's."""
    names = _TorchNames(torch)

    def swap(value: Any) -> Any:
        if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] == "tinyconv":
            return names
        if callable(value) and str(getattr(value, "__module__", "")).startswith("tinyconv.functional"):
            return getattr(names, value.__name__)
        return value

    changed = {name: swap(value) for name, value in function.__globals__.items()}
    return types.FunctionType(
        function.__code__, changed, function.__name__, function.__defaults__, function.__closure__
    )
