"""Module: parameters, buffers and submodules under one roof. The classes here and below follow PyTorch's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinyconv import device as devices
from tinyconv import errors
from tinyconv.function import mode
from tinyconv.nn import state
from tinyconv.nn.hooks import BackwardCall, Handle
from tinyconv.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns: assigned to a module's attribute, it is listed in ``module.parameters()``.

    Parameters
    ----------
    data : Tensor or array, float32 or float64
        Taken as it is, not copied.
    requires_grad : bool
        False freezes it.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else data, requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Module:
    """Base class of layers and networks: define ``forward``, assign Parameters and Modules in ``__init__``.

    Attributes
    ----------
    training : bool
        Set by ``train()`` and ``eval()``; dropout and batch normalisation ask it.
    input_shape : tuple of ints, optional
        Shape of one input without the batch axis, set by the builders in :mod:`tinyconv.models`.
    config : dict, optional
        Builder and its arguments, set there too, so that a checkpoint can build the model again.

    Examples
    --------
    >>> class Net(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = Parameter(np.ones(3, np.float32))
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> [name for name, _ in Net().named_parameters()]
    ['weight']
    """

    training: bool
    input_shape: tuple[int, ...] | None = None
    config: dict[str, Any] | None = None

    def __init__(self) -> None:
        fields = {"training": True, "_parameters": {}, "_buffers": {}, "_transient": set(), "_modules": {}}
        hooks: dict[str, Any] = {"_forward_pre_hooks": {}, "_forward_hooks": {}, "_backward_hooks": {}}
        self.__dict__.update(fields | hooks)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass has its own."""
        raise NotImplementedError(f"{type(self).__name__}: define forward(self, x) in this class")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "_modules" not in self.__dict__:
            raise AttributeError(_NO_INIT.format(type(self).__name__))
        mode.modules.append(self)
        try:
            for pre_hook in list(self._forward_pre_hooks.values()):
                changed = pre_hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
            call = BackwardCall(self, self._backward_hooks) if self._backward_hooks and mode.recording else None
            if call:
                args = call.enter(args)
            result = self.forward(*args, **kwargs)
            for hook in list(self._forward_hooks.values()):
                changed = hook(self, args, result)
                result = result if changed is None else changed
            return call.leave(result) if call else result
        finally:
            mode.modules.pop()

    # ----------------------------------------------------------------------------------------- attributes that register
    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, (Parameter, Module)) and "_modules" not in own:
            raise AttributeError(_NO_INIT.format(type(self).__name__))
        if isinstance(value, Parameter):
            self._put("_parameters", name, value)
        elif isinstance(value, Module):
            self._put("_modules", name, value)
        elif name in own.get("_parameters", ()) or name in own.get("_modules", ()):
            if value is not None:
                kind = "Parameter" if name in own["_parameters"] else "Module"
                raise TypeError(f"{type(self).__name__}.{name} must be a {kind} or None, got {type(value).__name__}")
            own["_parameters" if name in own["_parameters"] else "_modules"][name] = None
        elif name in own.get("_buffers", ()):
            if value is not None:
                errors.check_tensor(type(self).__name__, name, value)
            own["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(table, ()):
                return self.__dict__[table][name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _put(self, table: str, name: str, value: Any) -> None:
        """Register under a name; what takes the place of another of its kind keeps the place in the order."""
        if isinstance(value, Module) and any(module is self for module in value.modules()):
            raise ValueError(f"{type(self).__name__}.{name}: a module cannot be a part of itself")
        if name not in self.__dict__[table]:
            self._forget(name)
        self.__dict__[table][name] = value

    def _forget(self, name: str) -> bool:
        """Take a name out of every table, and out of the plain attributes; return whether it was in a table."""
        self.__dict__.pop(name, None)
        self._transient.discard(name)
        tables = (self._parameters, self._buffers, self._modules)
        return any([table.pop(name, self) is not self for table in tables])

    def _check_name(self, what: str, name: str) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{what}: a name must be a non-empty string without dots, got {name!r}")
        taken = hasattr(self, name) and name not in {*self._parameters, *self._buffers, *self._modules}
        if taken:
            raise KeyError(f"{what}: {type(self).__name__} already has an attribute {name!r}")

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Add a parameter; None keeps the name for one that a variant does without (a layer without bias)."""
        self._check_name("register_parameter", name)
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter: {name} must be a Parameter or None, got {type(parameter).__name__}")
        self._put("_parameters", name, parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not learned (a running mean); ``persistent`` ones are in ``state_dict``."""
        self._check_name("register_buffer", name)
        if tensor is not None:
            errors.check_tensor("register_buffer", name, tensor)
        self._put("_buffers", name, tensor)
        if persistent:
            self._transient.discard(name)
        else:
            self._transient.add(name)

    def add_module(self, name: str, module: Module) -> None:
        """Add a submodule under a name."""
        self._check_name("add_module", name)
        if not isinstance(module, Module):
            raise TypeError(f"add_module: {name} must be a Module, got {type(module).__name__}")
        self._put("_modules", name, module)

    # ------------------------------------------------------------------------------------------------ walking the tree
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) of the direct submodules."""
        return ((name, m) for name, m in self._modules.items() if m is not None)

    def children(self) -> Iterator[Module]:
        """Yield the direct submodules."""
        return (m for _, m in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield (dotted name, module) of this module and all below, each module once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            below = [(f"{name}.{child}" if name else child, m) for child, m in module.named_children()]
            stack += reversed(below)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below, each once."""
        return (m for _, m in self.named_modules())

    def get_submodule(self, name: str) -> Module:
        """Return the module of a dotted name, such as "layer1.0.conv2"; "" is this module."""
        module = self
        for part in filter(None, name.split(".")):
            below = dict(module.named_children())
            if part not in below:
                known = ", ".join(below) or "none"
                raise AttributeError(
                    f"{type(module).__name__} has no submodule {part!r} (of {name!r}); it has: {known}"
                )
            module = below[part]
        return module

    def _named(self, table: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, tensor in module.__dict__[table].items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield f"{path}.{name}" if path else name, tensor

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter), each parameter once."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Yield (dotted name, buffer), each buffer once."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Call ``function(module)`` on every submodule, then on this one; used to initialise weights."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    # ----------------------------------------------------------------------------------------------------------- state
    def train(self, training: bool = True) -> Module:
        """Set training mode here and below."""
        if not isinstance(training, bool):
            raise TypeError(f"train: wanted True or False, got {training!r}")
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> Module:
        """Set evaluation mode here and below: no dropout, running statistics."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze (False) or release all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, *targets: Any, device: str | None = None, dtype: Any = None) -> Module:
        """Move to a device and/or convert floating parameters and buffers to a dtype, in place; returns the module.

        ``model.to("meta")``, ``model.to(tinyconv.float64)`` or both, by position or by name.
        """
        device, dtype = errors.check_target("Module.to", targets, device, dtype)
        if dtype is not None and dtype.kind != "f":
            raise TypeError(f"Module.to: dtype must be float32 or float64, got {dtype}")
        for tensor in [*self.parameters(), *self.buffers()]:
            for part in (tensor, tensor.grad):
                if part is not None:
                    _convert(part, device, dtype)
        return self

    def cpu(self) -> Module:
        """Move to the host's memory."""
        return self.to("cpu")

    def cuda(self) -> Module:
        """Move to the GPU."""
        return self.to("cuda")

    def float(self) -> Module:
        """Convert to float32."""
        return self.to(dtype=np.float32)

    def double(self) -> Module:
        """Convert to float64."""
        return self.to(dtype=np.float64)

    def state_dict(self) -> dict[str, Tensor]:
        """Return {dotted name: tensor} of all parameters and persistent buffers; they share the module's memory."""
        return state.state_dict(self)

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> state.Incompatible:
        """Copy values in from such a dictionary of tensors or arrays; see :mod:`tinyconv.nn.state`."""
        return state.load_state_dict(self, state_dict, strict)

    def __deepcopy__(self, memo: dict) -> Module:
        for module in self.modules():
            for table in (module._parameters, module._buffers):
                for tensor in table.values():
                    if tensor is not None and id(tensor) not in memo:
                        memo[id(tensor)] = type(tensor)(tensor.data.copy(), tensor.requires_grad)
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    # ----------------------------------------------------------------------------------------------------------- hooks
    def register_forward_pre_hook(self, hook: Callable[[Module, tuple], Any]) -> Handle:
        """Call ``hook(module, args)`` before forward; what it returns replaces the arguments."""
        return Handle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> Handle:
        """Call ``hook(module, args, output)`` after forward; what it returns replaces the output."""
        return Handle(self._forward_hooks, hook)

    def register_full_backward_hook(self, hook: Callable[[Module, tuple, tuple], Any]) -> Handle:
        """Call ``hook(module, grad_input, grad_output)`` once the gradients of the arguments are known.

        Both are tuples, ``grad_input`` with None for an argument that needs no gradient. What the hook returns replaces
        ``grad_input``.
        """
        return Handle(self._backward_hooks, hook)

    # -------------------------------------------------------------------------------------------------------- printing
    def extra_repr(self) -> str:
        """Return what stands between the parentheses when a layer is printed."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in self._modules.items()]
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        return "\n  ".join([f"{type(self).__name__}({extra}", *lines]) + "\n)"


_NO_INIT = "{}: call super().__init__() first, before assigning parameters or submodules"


def _convert(tensor: Tensor, device: str | None, dtype: Any) -> None:
    array = tensor.data
    if dtype is not None and array.dtype.kind == "f" and array.dtype != dtype:
        # A MetaArray's own astype would allocate all of it.
        meta = devices.of(array) == "meta"
        array = devices.empty(array, array.shape, dtype) if meta else array.astype(dtype)
    if device is not None:
        array = devices.move(array, device)
    if array is not tensor.data:
        tensor.data = array
        tensor._version.value += 1
