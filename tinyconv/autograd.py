"""Reverse-mode differentiation: the walk over the recorded graph, with an explicit stack (no recursion limit)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import device
from tinyconv.function import Node, no_grad

if TYPE_CHECKING:
    from tinyconv.tensor import Tensor


def grad(
    output: Tensor,
    inputs: Tensor | list[Tensor] | tuple[Tensor, ...],
    grad_output: Tensor | None = None,
    retain_graph: bool = False,
) -> Any:
    """Return d output / d inputs without touching any ``.grad``.

    Parameters
    ----------
    output : Tensor
        A scalar, or any tensor together with ``grad_output`` of its shape.
    inputs : Tensor, or list or tuple of Tensors
        Leaves or intermediate tensors.

    Returns
    -------
    Tensor, or a tuple of them like ``inputs``; None for an input the output does not depend on.
    """
    wanted = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    for i, t in enumerate(wanted):
        if not t.requires_grad:
            raise RuntimeError(f"grad: input {i} does not require a gradient; create it with requires_grad=True")
    found = _walk(output, grad_output, retain_graph, wanted)
    return tuple(found) if isinstance(inputs, (tuple, list)) else found[0]


def backward(output: Tensor, gradient: Tensor | None = None, retain_graph: bool = False) -> None:
    """Add d output / d leaf to the ``.grad`` of every leaf tensor that requires one."""
    _walk(output, gradient, retain_graph, None)


def _seed(output: Tensor, gradient: Tensor | None) -> Any:
    if not output.requires_grad:
        raise RuntimeError(
            "backward: this tensor does not require a gradient; it was made under no_grad, detached, "
            "or from tensors without requires_grad=True"
        )
    if gradient is None:
        if output.numel() != 1:
            raise RuntimeError(
                f"backward: without a gradient argument the tensor must be a scalar, got shape {output.shape}; "
                "reduce it with .sum() or .mean(), or pass gradient"
            )
        seed = device.empty(output.data, output.shape)
        device.kernels_for(seed).elementwise.fill(seed, 1)
        return seed
    data: Any = gradient.data if hasattr(gradient, "requires_grad") else np.asarray(gradient)
    if tuple(data.shape) != output.shape:
        raise RuntimeError(f"backward: gradient must have the tensor's shape {output.shape}, got {tuple(data.shape)}")
    if device.of(data) != output.device:
        raise RuntimeError(f'backward: gradient must be on "{output.device}" as the tensor, got "{device.of(data)}"')
    # The caller's array must not become a leaf's gradient; where operations hand it through, _walk copies it.
    return data.astype(output.dtype, copy=output.node is None)


class _Sums:
    """Gradients under way, by key; a sum owns its buffer once it has added two of them."""

    def __init__(self) -> None:
        self.values: dict[Any, Any] = {}
        self.owned: set[Any] = set()

    def add(self, key: Any, value: Any) -> None:
        present = self.values.get(key)
        if present is None:
            self.values[key] = value
            return
        total = present if key in self.owned else device.empty(value, value.shape)
        device.kernels_for(value).elementwise.add(present, value, total)
        self.values[key] = total
        self.owned.add(key)


def _order(root: Node) -> list[Node]:
    """Return the nodes in topological order, inputs first (depth-first, on a stack of our own)."""
    order: list[Node] = []
    seen = {root}
    stack: list[tuple[Node, Any]] = [(root, iter(root.edges))]
    while stack:
        node, edges = stack[-1]
        for edge in edges:
            if edge is not None and isinstance(edge[0], Node) and edge[0] not in seen:
                seen.add(edge[0])
                stack.append((edge[0], iter(edge[0].edges)))
                break
        else:
            order.append(node)
            stack.pop()
    return order


def _call_hooks(hooks: Sequence[Any], value: Any) -> Any:
    from tinyconv.tensor import Tensor

    for hook in hooks:
        replaced = hook(Tensor(value))
        if replaced is None:
            continue
        if not isinstance(replaced, Tensor):
            raise TypeError(f"register_hook: a hook must return a Tensor or None, got {type(replaced).__name__}")
        if replaced.shape != value.shape:
            raise RuntimeError(f"register_hook: a hook must return shape {value.shape}, got {replaced.shape}")
        if replaced.device != device.of(value):
            raise RuntimeError(
                f'register_hook: a hook must return a Tensor on "{device.of(value)}", got "{replaced.device}"'
            )
        value = replaced.data.astype(value.dtype)  # a copy: the hook's tensor must not become a leaf's gradient
    return value


@no_grad()
def _walk(
    output: Tensor, gradient: Tensor | None, retain_graph: bool, wanted: list[Tensor] | None
) -> list[Tensor | None]:
    """Send the gradient from ``output`` to the leaves (wanted None) or to the wanted tensors only."""
    from tinyconv.tensor import Tensor

    sums, leaves = _Sums(), {}
    captured: dict[Any, Any] = {}
    keys = None if wanted is None else [(t.node, t.output) if t.node else id(t) for t in wanted]
    seed = _seed(output, gradient)
    if output.node is None:
        sums.add(id(output), seed)
        leaves[id(output)] = output
        order: list[Node] = []
    else:
        sums.add((output.node, output.output), seed)
        order = _order(output.node)

    for node in reversed(order):
        grads = []
        for i in range(len(node.outputs)):
            value = sums.values.pop((node, i), None)
            if value is not None and i in node.hooks:
                value = _call_hooks(node.hooks[i], value)
            if keys is not None and (node, i) in keys:
                captured[node, i] = None if value is None else value.copy()
            grads.append(value)
        if all(g is None for g in grads):
            continue
        found = node.backward(grads)
        shared = {id(g) for g in (*grads, *(node.ctx.saved or ()))}
        for edge, value in zip(node.edges, found, strict=True):
            if edge is None or value is None:
                continue
            target, number = edge
            if isinstance(target, Node):
                sums.add((target, number), value)
            else:
                leaves[id(target)] = target
                # A gradient that others may hold too (an alias, a view) must not become a leaf's own buffer.
                if id(value) in shared or value.base is not None:
                    value = value.copy()
                shared.add(id(value))
                sums.add(id(target), value)
        if not retain_graph:
            node.free()

    for key, leaf in leaves.items():
        value = _call_hooks(leaf.hooks, sums.values[key]) if leaf.hooks else sums.values[key]
        if keys is not None:
            captured[key] = value
        elif leaf.grad is None:
            leaf.grad = Tensor(value.copy() if value.base is not None else value)
        else:
            device.kernels_for(value).elementwise.add(leaf.grad.data, value, leaf.grad.data)
    if keys is None:
        return []
    return [None if captured.get(k) is None else Tensor(captured[k]) for k in keys]
