"""A table of a network's layers: output shapes, parameters, multiply-accumulates. See :func:`summary`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyconv import device, nn
from tinyconv.function import Node, enable_grad
from tinyconv.tensor import Tensor


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes
    ----------
    name : str
        Dotted name in the model.
    kind : str
        Its class, such as "Conv2d".
    output_shape : tuple of ints, or None
        Without the batch axis; None if it did not run (a head that only training uses).
    params : int
        Learned numbers of this layer itself; parameters shared with an earlier layer are counted there.
    macs : int
        Multiply-accumulates of convolutions and matrix products per image; biases, pooling and so on are not counted.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    params: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """What :func:`summary` returns; printing it gives the table."""

    model: str
    input_shape: Any
    rows: tuple[Row, ...]
    total_params: int
    total_macs: int
    note: str = ""

    def __str__(self) -> str:
        header = ("layer", "kind", "output shape", "params", "MACs")
        body = [
            (r.name or "(itself)", r.kind, _shape(r.output_shape), _count(r.params), _count(r.macs)) for r in self.rows
        ]
        total = ("total", self.model, "", f"{self.total_params:,}", f"{self.total_macs:,}")
        widths = [max(len(line[i]) for line in (header, *body, total)) for i in range(5)]

        def show(line: Sequence[str]) -> str:
            cells = [
                text.ljust(w) if i < 3 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        rule = "-" * (sum(widths) + 8)
        title = f"{self.model}, input {_shapes(self.input_shape)}; MACs per image"
        note = [self.note] if self.note else []
        return "\n".join([title, rule, show(header), rule, *map(show, body), rule, show(total), *note])

    __repr__ = __str__


def _shape(shape: tuple[int, ...] | None) -> str:
    return "(not run)" if shape is None else " x ".join(map(str, shape)) or "scalar"


def _shapes(shape: Any) -> str:
    several = bool(shape) and isinstance(shape[0], tuple)
    return ", ".join(map(_shape, shape)) if several else _shape(shape)


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def summary(model: nn.Module, input_shape: Sequence[Any] | None = None) -> Summary:
    """Describe a model layer by layer without computing or allocating anything.

    A copy of the modules with parameters on the device "meta" is run, in evaluation mode; the model itself, its running
    statistics, its hooks and its mode stay as they are. What ``forward`` does under ``no_grad`` adds no MACs.

    Parameters
    ----------
    model : Module
    input_shape : tuple of ints, optional
        Shape of one input without the batch axis, such as (3, 224, 224); ``model.input_shape`` by default. A list of
        such tuples for a model of several inputs.

    Returns
    -------
    Summary
        With ``rows``, ``total_params``, ``total_macs``; prints as a table, and below it the line that a model's own
        ``summary_note(rows)`` returns.

    Raises
    ------
    ValueError
        The model has no ``input_shape`` and none is given, or its sizes are no positive ints.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 10))
    >>> summary(net, (3, 8, 8)).total_macs == 8 * 3 * 3 * 3 * 6 * 6 + 8 * 6 * 6 * 10
    True
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"summary: model must be a Module, got {type(model).__name__}")
    shape = _checked_shape(model, input_shape)
    twin = _on_meta(model, {})
    names = {id(module): name for name, module in twin.named_modules()}
    outputs: dict[str, tuple[int, ...]] = {}
    roots: set[Node] = set()

    def record(module: nn.Module, args: tuple, output: Any) -> None:
        found = list(_tensors(output))
        roots.update(t.node for t in found if t.node is not None)
        if found:
            outputs[names[id(module)]] = found[0].shape[1:]

    for module in twin.modules():
        module.register_forward_hook(record)
    dtype = next((p.dtype for p in twin.parameters()), np.dtype(np.float32))
    several = isinstance(shape[0], tuple) if shape else False
    inputs = [Tensor(device.MetaArray((1, *s), dtype), requires_grad=True) for s in (shape if several else (shape,))]
    try:
        with enable_grad():
            twin(*inputs)
    except Exception as problem:
        problem.add_note(f"summary: {type(model).__name__} was called with a batch of 1 of shape {_shapes(shape)}")
        raise
    return _table(model, shape, twin, names, outputs, _macs_by_module(roots, names))


def _checked_shape(model: nn.Module, input_shape: Any) -> Any:
    shape: Any = model.input_shape if input_shape is None else input_shape
    name = type(model).__name__
    if shape is None:
        raise ValueError(
            f"summary: {name} has no input_shape; give the shape of one input without the batch axis, "
            "as in summary(model, (3, 32, 32))"
        )
    several = isinstance(shape, (tuple, list)) and bool(shape) and isinstance(shape[0], (tuple, list))
    plain = tuple(tuple(s) for s in shape) if several else tuple(shape) if isinstance(shape, (tuple, list)) else shape
    sizes = [n for s in plain for n in s] if several else plain
    if not isinstance(sizes, (tuple, list)) or not all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes):
        raise ValueError(f"summary: input_shape must be positive ints without the batch axis, got {shape!r}")
    return plain


def _on_meta(module: nn.Module, twins: dict[int, nn.Module]) -> nn.Module:
    """Copy the tree of modules: tensors on meta, no hooks, evaluation mode, all other attributes shared."""
    if id(module) in twins:
        return twins[id(module)]
    twin = twins[id(module)] = object.__new__(type(module))
    own = {name: _described(value) if isinstance(value, Tensor) else value for name, value in vars(module).items()}
    own["training"] = False
    own["_parameters"] = {name: _described(p, twins, True) for name, p in module._parameters.items()}
    own["_buffers"] = {name: _described(b, twins) for name, b in module._buffers.items()}
    own["_modules"] = {name: None if m is None else _on_meta(m, twins) for name, m in module._modules.items()}
    own |= {name: {} for name in vars(module) if name.endswith("_hooks") and isinstance(vars(module)[name], dict)}
    twin.__dict__.update(own)
    return twin


def _described(tensor: Tensor | None, twins: dict | None = None, requires_grad: bool = False) -> Any:
    """Return a meta tensor like this one; the same one for a tensor met before (shared parameters)."""
    if tensor is None:
        return None
    twins = {} if twins is None else twins
    if id(tensor) not in twins:
        array = device.MetaArray(tensor.shape, tensor.dtype)
        twins[id(tensor)] = type(tensor)(array, requires_grad=requires_grad or tensor.requires_grad)
    return twins[id(tensor)]


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _macs_by_module(roots: Iterable[Node], names: dict[int, str]) -> dict[str, int]:
    """Sum the multiply-accumulates of all recorded operations by the module that ran them."""
    macs: dict[str, int] = {}
    seen, stack = set(roots), list(roots)
    while stack:
        node = stack.pop()
        name = names.get(id(node.module), "")
        macs[name] = macs.get(name, 0) + _macs(node)
        for source in node.inputs:
            if isinstance(source, Node) and source not in seen:
                seen.add(source)
                stack.append(source)
    return macs


def _macs(node: Node) -> int:
    """Return what one operation multiplies and adds: (number of outputs) x (length of each one's sum)."""
    if node.name not in ("Conv2d", "ConvTranspose2d", "MatMul", "RNN", "LSTM"):
        return 0
    if node.name in ("RNN", "LSTM"):  # each of (N, T, H) states goes to all rows of the recurrent weight
        return math.prod(node.outputs[0][0]) * node.shapes[1][0][0]
    if node.name == "MatMul":
        left, right = node.shapes  # (shape, dtype), or None for a constant
        return math.prod(node.outputs[0][0]) * (left[0][-1] if left else right[0][-2])
    ctx: Any = node.ctx  # shapes is set by these operations' forward
    x, weight, y = ctx.shapes
    # A transposed convolution is counted from its inputs: each is multiplied into K / groups windows.
    return math.prod(weight[1:]) * math.prod(y if node.name == "Conv2d" else x)


def _table(
    model: nn.Module, shape: Any, twin: nn.Module, names: dict[int, str], outputs: dict, macs: dict[str, int]
) -> Summary:
    rows, counted = [], set()
    for module in twin.modules():
        name = names[id(module)]
        own = {id(p): p.numel() for p in module.parameters(recurse=False) if id(p) not in counted}
        counted |= set(own)
        params, leaf = sum(own.values()), not any(True for _ in module.children())
        leaf = leaf and not isinstance(module, nn.ModuleList)  # an empty list is no layer
        if leaf or params or macs.get(name):
            rows.append(Row(name, type(module).__name__, outputs.get(name), params, macs.get(name, 0)))
    params, work = sum(r.params for r in rows), sum(r.macs for r in rows)
    note = model.summary_note(rows) if hasattr(model, "summary_note") else ""
    return Summary(type(model).__name__, shape, tuple(rows), params, work, note)
