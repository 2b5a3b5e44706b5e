"""What all optimisers share: groups of parameters with options, and a state that can be saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from tinyconv import device, errors
from tinyconv.function import enable_grad, no_grad
from tinyconv.nn.hooks import Handle
from tinyconv.tensor import Tensor


class Optimizer:
    """Base class: a subclass calls ``super().__init__(params, options)`` and defines ``_update``.

    Attributes
    ----------
    param_groups : list of dict
        ``{"params": [...], "lr": ..., ...}``; change ``group["lr"]`` at any time.
    state : dict
        {parameter: {name: array or number}}, filled by the first step.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._pre_hooks: dict[int, Callable[..., Any]] = {}
        self._post_hooks: dict[int, Callable[..., Any]] = {}
        name = type(self).__name__
        if isinstance(params, Tensor):
            raise TypeError(f"{name}: params must be a list of tensors or of dicts, got one Tensor; put it in a list")
        groups = list(params)
        if not groups:
            raise ValueError(f"{name}: wanted at least one parameter, got an empty list; an iterator works only once")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add ``{"params": [...], option: value}``; options left out get the optimiser's own values."""
        name = type(self).__name__
        unknown = set(group) - {"params"} - set(self.defaults)
        if "params" not in group or unknown:
            raise ValueError(
                f"{name}: a group must be a dict with 'params' and any of {', '.join(self.defaults)}, "
                f"got {', '.join(map(str, group))}"
            )
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        present = {id(p) for g in self.param_groups for p in g["params"]}
        if not params:
            raise ValueError(f"{name}: a group must have at least one parameter, got an empty list")
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: parameter {i} must be a Tensor, got {type(p).__name__}")
            if not p.is_leaf or p.dtype.kind != "f":
                made = "a leaf" if p.is_leaf else "a result"
                raise ValueError(
                    f"{name}: parameter {i} must be a floating leaf tensor, got {made} of {p.dtype} {p.shape}; "
                    "give the tensor it was made from"
                )
            if id(p) in present:
                raise ValueError(f"{name}: parameter {i} of shape {p.shape} is given twice")
            present.add(id(p))
        full = self.defaults | group | {"params": params}
        self._check(full)
        self.param_groups.append(full)

    def _check(self, group: dict[str, Any]) -> None:
        """Raise unless the group's options are usable; also before every step, since users may change them."""
        self._in_range(group, "lr")

    def _in_range(self, group: dict[str, Any], name: str, below: float = math.inf) -> None:
        value = group[name]
        if not 0 <= value < below:  # also catches NaN
            limit = "finite and at least 0" if below == math.inf else f"in [0, {below:g})"
            raise ValueError(f"{type(self).__name__}: {name} must be {limit}, got {value}")

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to None."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient, in place.

        Parameters
        ----------
        closure : callable, optional
            Called first; computes the loss and its gradients, and returns the loss, which step returns.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for hook in list(self._pre_hooks.values()):
            hook(self, (closure,), {})
        with no_grad():
            for group in self.param_groups:
                self._check(group)
                for p in group["params"]:
                    if p.grad is not None:
                        self._step_one(p, p.grad, group)
        for hook in list(self._post_hooks.values()):
            hook(self, (closure,), {})
        return loss

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(optimizer, args, kwargs)`` in every step, when gradients are there and before weights change.

        For rules about gradients: ``lambda *_: nn.utils.clip_grad_norm_(parameters, 10)``. As the other hooks no part
        of the state.
        """
        return Handle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call ``hook(optimizer, args, kwargs)`` at the end of every step; args is (closure,), kwargs empty.

        For rules about the weights themselves, such as :func:`tinyconv.optim.renormalise_filters`. Hooks are no part of
        the state: register them again after loading one.

        Returns
        -------
        Handle
            ``handle.remove()`` takes the hook away.
        """
        return Handle(self._post_hooks, hook)

    def _step_one(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        errors.check_tensor(type(self).__name__, "a parameter's gradient", grad)
        data, given = p.data, grad.data
        if given.dtype != data.dtype or given.shape != data.shape or device.of(given) != device.of(data):
            raise ValueError(
                f"{type(self).__name__}: a parameter's gradient must be like it, {p.dtype} {p.shape} on {p.device}, "
                f"got {grad.dtype} {grad.shape} on {grad.device}"
            )
        param = device.contiguous(data)
        self._update(device.kernels_for(param).optim, param, device.contiguous(given), self._state_of(p), group)
        if param is not data:
            device.kernels_for(param).elementwise.copy(param, data)
        p._version.value += 1

    def _state_of(self, p: Tensor) -> dict[str, Any]:
        state = self.state.get(p)
        if state is None:
            state = self.state[p] = {}
        for key, value in state.items():  # the model may have been moved since the last step
            if isinstance(value, device.ARRAYS) and device.of(value) != p.device:
                state[key] = device.move(value, p.device)
        return state

    def _update(self, kernels: Any, param: Any, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change one raw array in place by its gradient."""
        raise NotImplementedError(f"{type(self).__name__}: define _update")

    # ------------------------------------------------------------------------------------------------- saving, loading
    def state_dict(self) -> dict[str, Any]:
        """Return ``{"state": {number: {name: array or number}}, "param_groups": [options and numbers of parameters]}``.

        Parameters are numbered through all groups; arrays share the optimiser's memory.
        """
        numbers = self._numbers()
        groups = [group | {"params": [numbers[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": {numbers[p]: dict(values) for p, values in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state (copied) that :meth:`state_dict` gave, for the same parameters in the same order.

        Raises
        ------
        ValueError
            The groups or the shapes do not fit; nothing is changed then.
        """
        name = type(self).__name__
        groups = state_dict["param_groups"]
        own, given = ([len(g["params"]) for g in gs] for gs in (self.param_groups, groups))
        if own != given:
            raise ValueError(f"{name}.load_state_dict: wanted groups of {own} parameters, got groups of {given}")
        params = [p for group in self.param_groups for p in group["params"]]
        order = [number for group in groups for number in group["params"]]
        state: dict[Tensor, dict[str, Any]] = {}
        for number, values in state_dict["state"].items():
            if int(number) not in order:
                raise ValueError(f"{name}.load_state_dict: state for parameter {number}, which is in no group")
            p = params[order.index(int(number))]
            state[p] = {
                key: _taken(value, p, f"{name}.load_state_dict: {key} of {number}") for key, value in values.items()
            }
        options = [{k: v for k, v in group.items() if k != "params"} for group in groups]
        for new in options:
            if set(new) != set(self.defaults):
                raise ValueError(
                    f"{name}.load_state_dict: wanted the options {', '.join(self.defaults)}, got {', '.join(new)}; "
                    "use the optimizer that the state was saved from"
                )
            self._check(new)
        for group, new in zip(self.param_groups, options, strict=True):
            group.update(new)
        self.state = state

    def _numbers(self) -> dict[Tensor, int]:
        return {p: i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}

    def __repr__(self) -> str:
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups]
        return f"{type(self).__name__}({'; '.join(', '.join(f'{k}={v}' for k, v in g.items()) for g in groups)})"


def _taken(value: Any, p: Tensor, what: str) -> Any:
    """Return a saved value as state of p: an array copied in p's dtype, a number as it is."""
    value = value.data if isinstance(value, Tensor) else value
    if not isinstance(value, device.ARRAYS):
        return value
    if value.ndim == 0 and (p.ndim or value.dtype.kind != "f"):
        return device.host(value).item()
    if value.shape != p.shape:
        raise ValueError(f"{what}: wanted shape {p.shape}, got {value.shape}")
    copied = device.empty(p.data, p.shape)
    device.kernels_for(copied).elementwise.copy(device.move(value, p.device), copied)
    return copied
