"""Hooks of modules: handles to remove them, and the two graph nodes between which a module's gradients are seen."""

from __future__ import annotations

from typing import Any

from tinyconv.function import Function
from tinyconv.tensor import Tensor


class Handle:
    """What registering a hook returns: ``handle.remove()`` takes the hook away, as does leaving a ``with`` block."""

    _count = 0

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        if not callable(hook):
            raise TypeError(f"register hook: wanted a function, got {type(hook).__name__}")
        Handle._count += 1
        self._hooks, self._key = hooks, Handle._count
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class _ModuleInput(Function):
    """The identity in front of a module: its backward is the last to run, and calls the hooks."""

    @staticmethod
    def forward(ctx: Any, call: BackwardCall, *arrays: Any) -> Any:
        ctx.call = call
        return arrays

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return (None, *ctx.call.finish(grads))


class _ModuleOutput(Function):
    """The identity behind a module: its backward is the first to run, and keeps the upstream gradient."""

    @staticmethod
    def forward(ctx: Any, call: BackwardCall, *arrays: Any) -> Any:
        ctx.call = call
        return arrays

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        ctx.call.begin(grads)
        return (None, *grads)


class BackwardCall:
    """One forward call of a module whose full backward hooks wait for its gradients.

    The tensors among the arguments (and those among the results) pass through an identity of the graph, so that the
    hooks get the gradients of exactly these, however often the tensors are used inside and outside of the module.
    """

    def __init__(self, module: Any, hooks: dict[int, Any]) -> None:
        self.module, self.hooks = module, hooks
        self._grad_output: tuple | None = None
        self._input_slots: list[int] = []
        self._inputs = 0

    def enter(self, arguments: tuple) -> tuple:
        """Return the arguments, tensors that need a gradient replaced by the same behind an identity."""
        self._inputs = len(arguments)
        slots = [i for i, a in enumerate(arguments) if isinstance(a, Tensor) and a.requires_grad]
        passed, self._input_slots = _through(_ModuleInput, self, arguments, slots)
        return tuple(passed)

    def leave(self, result: Any) -> Any:
        """Return the result, a tensor or a tuple or list with tensors, behind an identity."""
        if isinstance(result, Tensor):
            passed, _ = _through(_ModuleOutput, self, (result,), [0] if result.requires_grad else [])
            return passed[0]
        if isinstance(result, (tuple, list)):
            slots = [i for i, r in enumerate(result) if isinstance(r, Tensor) and r.requires_grad]
            return type(result)(_through(_ModuleOutput, self, result, slots)[0])
        raise TypeError(
            f"register_full_backward_hook: {type(self.module).__name__}.forward must return a Tensor or a tuple of "
            f"them, got {type(result).__name__}"
        )

    def begin(self, grads: tuple) -> None:
        """Keep the gradient of the output; without inputs to wait for, call the hooks."""
        self._grad_output = tuple(Tensor(g) for g in grads)
        if not self._input_slots:
            self.finish(())

    def finish(self, grads: tuple) -> tuple:
        """Call the hooks with the gradients of all arguments; return those of the tensors, possibly replaced."""
        whole: list[Any] = [None] * self._inputs
        for slot, grad in zip(self._input_slots, grads, strict=True):
            whole[slot] = Tensor(grad)
        grad_input, grad_output = tuple(whole), self._grad_output
        self._grad_output = None
        for hook in list(self.hooks.values()):
            replaced = hook(self.module, grad_input, grad_output)
            if replaced is not None:
                grad_input = replaced if isinstance(replaced, tuple) else (replaced,)
                if len(grad_input) != self._inputs:
                    raise ValueError(
                        f"full backward hook of {type(self.module).__name__}: wanted {self._inputs} gradients, "
                        f"one per argument of forward, got {len(grad_input)}"
                    )
                for grad in grad_input:
                    if grad is not None and not isinstance(grad, Tensor):
                        raise TypeError(
                            f"full backward hook of {type(self.module).__name__}: wanted Tensors or None, "
                            f"got {type(grad).__name__}"
                        )
        return tuple(None if grad_input[i] is None else grad_input[i].data for i in self._input_slots)


def _through(function: type[Function], call: BackwardCall, values: Any, slots: list[int]) -> tuple[list, list[int]]:
    """Return the values with those at ``slots`` passed through an identity together, and the slots."""
    passed = list(values)
    if slots:
        chosen = [passed[i] for i in slots]
        for i, before, after in zip(slots, chosen, function.apply(call, *chosen), strict=True):
            after._version = before._version  # the same memory: a write to one is a write to the other
            passed[i] = after
    return passed, slots
