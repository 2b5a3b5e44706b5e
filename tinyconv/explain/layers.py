"""What all of ``explain`` needs of a network: its layers in a row, its images, the outputs of named layers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np

from tinyconv import device, errors, nn
from tinyconv.evaluation import home
from tinyconv.function import no_grad
from tinyconv.nn.modes import kept_modes
from tinyconv.tensor import Tensor
from tinyconv.threads import limited_threads

Layers = list[tuple[str, nn.Module]]
_ONE = threading.RLock()  # held by the thread that is looking into a model, see evaluating


class _Enough(Exception):  # noqa: N818  (no error: every wanted layer has run)
    """Raised inside a forward pass to end it."""


def check_model(op: str, model: Any) -> None:
    """Raise unless model is a Module whose parameters have values."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{op}: model must be a Module, got {type(model).__name__}")
    if home(model) == "meta":
        raise RuntimeError(f'{op}: the model must have weights, got one on "meta"; build it with device="cpu"')


def sequence(op: str, model: Any) -> Layers:
    """Return (dotted name, module) of a sequential model in the order in which they run; nested ones are unfolded.

    Raises
    ------
    TypeError
        It is no ``nn.Sequential``, or one with a forward of its own: which layer follows which is then unknown.
    """
    if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward:
        raise TypeError(
            f"{op}: model must be an nn.Sequential (layers one after another), got {type(model).__name__}; "
            "build it as one, or explain its sequential part"
        )
    found: Layers = []
    for name, module in model.named_children():
        nested = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
        below = sequence(op, module) if nested else [("", module)]
        found += [(f"{name}.{inner}" if inner else name, part) for inner, part in below]
    return found


def check_layer(op: str, names: Sequence[str], layer: Any) -> str:
    """Return the name, or raise with all there are."""
    if layer not in names:
        raise ValueError(f"{op}: layer must be one of {', '.join(names)}, got {layer!r}")
    return str(layer)


def up_to(op: str, layers: Layers, layer: str) -> Layers:
    """Return the layers from the first to the named one."""
    names = [name for name, _ in layers]
    return layers[: names.index(check_layer(op, names, layer)) + 1]


def as_images(op: str, model: nn.Module, images: Any, name: str = "images") -> Tensor:
    """Return images (N, C, H, W) as a Tensor of the model's dtype on the model's device, or raise."""
    array = device.host(images.data) if isinstance(images, Tensor) else np.asarray(images)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{op}: {name} must hold numbers, got {array.dtype}")
    if array.ndim != 4 or 0 in array.shape:
        advice = f"; one image is {name}[None]" if array.ndim == 3 else ""
        raise ValueError(f"{op}: {name} must be (N, C, H, W) with at least one image, got shape {array.shape}{advice}")
    wanted = getattr(model, "input_shape", None)
    if wanted is not None and len(wanted) == 3 and array.shape[1] != wanted[0]:
        raise ValueError(
            f"{op}: the model takes images of {wanted[0]} channels, {tuple(wanted)}, got shape {array.shape}"
        )
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    return Tensor(device.move(np.ascontiguousarray(array, dtype), home(model)))


def numbers(op: str, name: str, value: Any, count: int, limit: int) -> np.ndarray:
    """Return an int, or a sequence of ``count`` ints, as an int64 array (count,) of values in [0, limit), or raise."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(f"{op}: {name} must be an int, or one int per image, got {value!r}")
    if array.ndim == 1 and len(array) != count:
        raise ValueError(f"{op}: {name} must be one int, or one for each of the {count} images, got {len(array)}")
    errors.check_range(op, name, array, limit)
    return np.broadcast_to(array, (count,)).astype(np.int64)


def outputs_of(op: str, model: nn.Module, layers: Sequence[str], images: Tensor, scores: bool = False) -> Any:
    """Return {layer: array} for one batch; with ``scores``, also what the whole model puts out.

    It works for any model: forward hooks see the layers. Without ``scores`` the pass ends after the last wanted layer.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    found: dict[str, np.ndarray] = {}

    def keep(name: str, _module: Any, _inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise TypeError(f"{op}: layer {name!r} must give one tensor, got {type(output).__name__}; choose another")
        found[name] = device.host(output.data)
        if not scores and len(found) == len(set(layers)):
            raise _Enough

    with ExitStack() as hooks, no_grad():
        for name in layers:
            module = modules[check_layer(op, list(modules), name)]
            hooks.enter_context(module.register_forward_hook(partial(keep, name)))
        try:
            result = model(images)
        except _Enough:
            return found
    missing = [name for name in layers if name not in found]
    if missing:
        raise ValueError(f"{op}: layer {missing[0]!r} does not run in evaluation mode; choose another")
    return (found, class_scores(op, result)) if scores else found


def class_scores(op: str, result: Any) -> np.ndarray:
    """Return what a classifier put out as an array (N, K): scores before softmax, the first of several outputs."""
    main = result[0] if isinstance(result, (tuple, list)) else result
    if not isinstance(main, Tensor) or main.ndim != 2:
        shape = getattr(main, "shape", type(main).__name__)
        raise ValueError(f"{op}: the model must give class scores (N, K), got {shape}")
    return device.host(main.data)


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Return the softmax of scores (N, K) in float64, each row summing to 1."""
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode; afterwards every module is in the mode it had.

    One thread at a time is inside, whatever its model. What is changed here and put back afterwards belongs to the
    model or to the process (modes, hooks, ``requires_grad``, Winograd's switch): two threads that overlap would take
    what the other has set for the state to return to. Kernels use all cores, so little is lost by waiting.
    """
    with _ONE, kept_modes(model), limited_threads(model):
        model.eval()
        yield


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield slices of at most ``size`` that cover 0..count-1."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def check_count(op: str, name: str, value: Any) -> int:
    """Return an int of at least 1, or raise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{op}: {name} must be an int of at least 1, got {value!r}")
    return int(value)
