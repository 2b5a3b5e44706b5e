"""Function: one differentiable operation, and the graph that records its use."""

from __future__ import annotations

import functools
import threading
from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import device

if TYPE_CHECKING:
    from tinyconv.tensor import Tensor


class _Mode(threading.local):
    """Whether operations are recorded, and the modules whose forward is running (innermost last)."""

    def __init__(self) -> None:
        self.recording = True
        self.modules: list[Any] = []


mode = _Mode()


@functools.cache
def _tensor_class() -> type[Tensor]:
    from tinyconv.tensor import Tensor  # tensor.py imports this file

    return Tensor


class no_grad(ContextDecorator):  # noqa: N801  (PyTorch's name)
    """Inside, operations are not recorded: nothing there can be differentiated, and no buffer is kept."""

    recording = False

    def __enter__(self) -> no_grad:
        self._before = getattr(self, "_before", [])
        self._before.append(mode.recording)
        mode.recording = self.recording
        return self

    def __exit__(self, *exception: object) -> None:
        mode.recording = self._before.pop()

    def _recreate_cm(self) -> no_grad:
        return type(self)()  # as a decorator: its own for every call, since threads may call at once


class enable_grad(no_grad):  # noqa: N801
    """Inside, operations are recorded again, even within ``no_grad``."""

    recording = True


class Context:
    """What one use of a Function keeps for its backward: saved arrays, and any attribute that forward sets."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] | None = ()
        self._non_differentiable: tuple[int, ...] = ()

    def __getattr__(self, name: str) -> Any:
        here = {"save_for_backward": "save(*arrays)", "saved_tensors": "saved"}.get(name)
        hint = f"; here it is ctx.{here}, of arrays" if here else "; forward did not set it"
        raise AttributeError(f"ctx has no {name!r}{hint}", name=name, obj=self)

    def save(self, *arrays: Any) -> None:
        """Keep arrays for backward. Only arrays saved so are guarded against being changed in place, and freed."""
        self._saved = arrays

    @property
    def saved(self) -> tuple[Any, ...]:
        """The saved arrays."""
        assert self._saved is not None
        return self._saved

    def mark_non_differentiable(self, *outputs: int) -> None:
        """Say that the outputs of these numbers have no gradient (integers and booleans never have one)."""
        self._non_differentiable = outputs


class Node:
    """One operation in the graph.

    Attributes
    ----------
    name : str
        The operation's class name, such as "Conv2d".
    edges : tuple of (Node, int) or (Tensor, 0) or None
        For each argument: the node and output number that made it, the leaf itself, or None if it needs no gradient.
        Nodes do not hold the tensors between them, so their memory goes when nobody else needs it.
    module : Module or None
        The innermost module whose forward made it.
    """

    __slots__ = ("name", "function", "ctx", "edges", "shapes", "outputs", "module", "versions", "hooks", "__weakref__")

    def __init__(self, function: type[Function], ctx: Context, edges: tuple, shapes: tuple, outputs: tuple) -> None:
        self.name = function.__name__
        self.function = function
        self.ctx = ctx
        self.edges = edges
        self.shapes = shapes  # per argument: (shape, dtype), None if it is no Tensor
        self.outputs = outputs  # per output: (shape, dtype)
        self.module = mode.modules[-1] if mode.modules else None
        self.versions: list[tuple[Any, int]] = []
        self.hooks: dict[int, list] = {}

    @property
    def inputs(self) -> tuple:
        """The nodes and leaf tensors that the arguments came from (None where no gradient flows)."""
        return tuple(None if edge is None else edge[0] for edge in self.edges)

    def __repr__(self) -> str:
        return f"<{self.name} -> {', '.join(str(shape) for shape, _ in self.outputs)}>"

    def backward(self, grads: list[Any]) -> tuple[Any, ...]:
        """Return the gradient for each argument, checked for its shape."""
        if self.ctx._saved is None:
            raise RuntimeError(
                f"{self.name}: backward through this graph a second time, but its buffers were freed by the first; "
                "call backward(retain_graph=True) the first time, or run the forward pass again"
            )
        for version, value in self.versions:
            if version.value != value:
                raise RuntimeError(
                    f"{self.name}: a tensor that it saved for backward was changed in place since; "
                    "change a clone() of it, or build a new tensor instead"
                )
        filled = [
            device.zeros(next(g for g in grads if g is not None), shape, dtype) if g is None else g
            for g, (shape, dtype) in zip(grads, self.outputs, strict=True)
        ]
        found = self.function.backward(self.ctx, *filled)
        found = found if isinstance(found, tuple) else (found,)
        if len(found) != len(self.edges):
            raise RuntimeError(
                f"{self.name}.backward: wanted {len(self.edges)} gradients, one per argument of forward, "
                f"got {len(found)}"
            )
        return tuple(self._checked(i, g) for i, g in enumerate(found))

    def _checked(self, i: int, grad: Any) -> Any:
        if self.edges[i] is None or grad is None:
            return None
        shape, dtype = self.shapes[i]
        grad = grad if isinstance(grad, device.ARRAYS) else np.asarray(grad)
        if grad.shape != shape:
            raise RuntimeError(
                f"{self.name}.backward: the gradient of argument {i} must have the argument's shape {shape}, "
                f"got {grad.shape}"
            )
        return grad if grad.dtype == dtype else grad.astype(dtype)

    def free(self) -> None:
        """Let go of the saved arrays."""
        self.ctx._saved = None


class Function:
    """A differentiable operation: subclass it with two static methods and call ``apply``.

    ``forward(ctx, *arguments)`` gets raw arrays in place of Tensors and returns one raw array or a tuple of them.
    ``backward(ctx, *output_gradients)`` returns one gradient (or None) for each argument of forward.

    Examples
    --------
    >>> class Square(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, dy):
    ...         (x,) = ctx.saved
    ...         return 2 * x * dy
    """

    view = False  # the output shares the first Tensor argument's memory (reshape, slices)

    @staticmethod
    def forward(ctx: Context, *arguments: Any) -> Any:
        """Compute the outputs from raw arrays."""
        raise NotImplementedError("Function.forward: define it in your subclass")

    @staticmethod
    def backward(ctx: Context, *grads: Any) -> Any:
        """Compute the arguments' gradients from the outputs' gradients."""
        raise NotImplementedError("Function.backward: define it in your subclass")

    @classmethod
    def apply(cls, *arguments: Any) -> Any:
        """Run forward on the Tensors' arrays and record the operation if any of them needs a gradient."""
        kind = _tensor_class()
        ctx, recording = Context(), mode.recording
        tensors, raw, needed = [], [], []
        for a in arguments:
            if isinstance(a, kind):
                tensors.append(a)
                raw.append(a.data)
                needed.append(recording and a.requires_grad)
            else:
                raw.append(a)
                needed.append(False)
        if len(tensors) > 1 and any(t.device != tensors[0].device for t in tensors[1:]):
            devices = ", ".join(f'"{t.device}"' for t in tensors)
            raise RuntimeError(
                f"{cls.__name__}: all tensors must be on one device, got {devices}; move them with .to(...)"
            )
        ctx.needs_input_grad = tuple(needed)

        results = cls.forward(ctx, *raw)
        single = not isinstance(results, tuple)
        outputs = [kind(results)] if single else [kind(a) for a in results]
        if cls.view:
            outputs[0]._version = tensors[0]._version
        for output in outputs:
            for t in tensors:
                if output.data is t.data:  # forward handed an argument through
                    output._version = t._version
        if True in needed:
            cls._record(ctx, arguments, tensors, outputs)
        return outputs[0] if single else tuple(outputs)

    @classmethod
    def _record(cls, ctx: Context, arguments: tuple, tensors: list[Tensor], outputs: list[Tensor]) -> None:
        edges: list[Any] = []
        shapes: list[Any] = []
        kind = _tensor_class()
        for a, needed in zip(arguments, ctx.needs_input_grad, strict=True):
            edges.append(None if not needed else (a.node, a.output) if a.node else (a, 0))
            shapes.append((a.data.shape, a.data.dtype) if isinstance(a, kind) else None)
        node = Node(cls, ctx, tuple(edges), tuple(shapes), tuple([(t.data.shape, t.data.dtype) for t in outputs]))
        for array in ctx.saved:
            if isinstance(array, device.ARRAYS):
                for t in (*tensors, *outputs):
                    if array is t.data or device.share_memory(array, t.data):
                        node.versions.append((t._version, t._version.value))
        for i, t in enumerate(outputs):
            if t.data.dtype.kind == "f" and i not in ctx._non_differentiable:
                t.node, t.output, t.requires_grad = node, i, True
