"""Projecting an activation back to pixels, layer by layer downwards (Zeiler & Fergus 2014). See :func:`deconvnet`.

Three things happen on the way down through a layer: values return to the places their maxima came from (unpool),
negative values are set to zero (rectify), and each value stamps its filter, without bias (the transposed convolution).
Normalisation is passed through unchanged: the paper defines no inverse of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyconv import device, errors, functional, nn
from tinyconv.autograd import grad
from tinyconv.explain.layers import as_images, check_model, evaluating, numbers, sequence, up_to
from tinyconv.function import enable_grad, no_grad
from tinyconv.settings import use_winograd
from tinyconv.tensor import Tensor

_UNCHANGED = (nn.LocalResponseNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.Identity)
_MAXIMUM = (nn.MaxPool2d, nn.AdaptiveMaxPool2d)
_OTHERS = (nn.ReLU, nn.Conv2d, nn.Linear, nn.Flatten, nn.Dropout, nn.ZeroPad2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


@dataclass
class Passed:
    """One layer of the forward pass: what the way down needs to know."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]  # of its input
    switches: Tensor | None = None  # where each maximum was, if the layer is a max pool


def deconvnet(
    model: Any,
    images: Any,
    layer: str,
    map: Any = None,
    *,
    position: Any = None,
    unpool: str = "write",
) -> np.ndarray:
    """Show in pixels what one activation of a layer responded to, for each image (Zeiler & Fergus 2014, sec. 2.1).

    The images run forward, and every max pool keeps its switches. In the layer's output all values but the chosen ones
    are set to zero. What is left goes down through each layer to the image. The projection of an activation is as
    large as the activation is; it is zero outside its receptive field.

    Parameters
    ----------
    model : Sequential
        It runs in evaluation mode.
    images : array or Tensor, (N, C, H, W)
    layer : str
        Name of the layer whose output is examined: after a ReLU, or after its pool, in the paper.
    map : int or N ints, optional
        The feature map, or the unit of a fully connected layer; by default that of each image's largest activation.
    position : (row, col), N of them, "all", optional
        Which activation of the map is kept: each image's largest by default, as in the paper's figures; "all" keeps the
        whole map. Fully connected layers have no positions.
    unpool : {"write", "add"}
        What happens where windows of a pool overlapped and several pooled values return to one place: "write", one of
        them stays, the last in reading order (as in PyTorch's ``max_unpool2d``); "add", they add up, which makes
        unpooling the exact transpose of choosing. Four values of 99 give 99 or 396. Zeros are no values: they are the
        activations that were not kept, and written they would erase the kept one wherever its window shares a switch.

    Returns
    -------
    array, (N, C, H, W)

    Raises
    ------
    TypeError
        The model is not sequential, or has a layer on the way for which the paper has no rule (tanh, softmax ...).
    ValueError
        There is no such layer, map or position; the images do not fit the model.

    Notes
    -----
    With non-negative weights, no biases and non-negative images, without normalisation, and with "add" (or pools that
    do not overlap), every ReLU is open in both directions, and the projection equals the activation times its gradient
    with respect to the image. Dropout's factor in the paper's form (``inverted=False``) goes with the weights above it.

    Examples
    --------
    >>> model = nn.Sequential({"conv1": nn.Conv2d(1, 2, 3), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2)})
    >>> deconvnet(model, np.ones((5, 1, 6, 6), np.float32), "pool1", map=1).shape
    (5, 1, 6, 6)
    """
    op = "deconvnet"
    errors.check_choice(op, "unpool", unpool, ("write", "add"))
    layers = up_to(op, sequence(op, model), layer)
    check_model(op, model)
    for name, module in layers:
        _check_kind(op, name, module)
    x = as_images(op, model, images)
    with evaluating(model), no_grad():
        output, passed = forward(layers, x)
        signal = Tensor(device.move(keep(op, layer, device.host(output.data), map, position), output.device))
        # Winograd's rounding errors would fill places that no stamp reaches. The switch is the whole process's; of
        # explain's calls one thread at a time is inside evaluating, so that each puts back what it found.
        with use_winograd(False):
            for step in reversed(passed):
                signal = down(step, signal, unpool == "add")
    return device.host(signal.data)


def forward(layers: list[tuple[str, nn.Module]], x: Tensor) -> tuple[Tensor, list[Passed]]:
    """Run the layers; return the last one's output and, for each, its input's shape and its switches."""
    passed = []
    for name, module in layers:
        step = Passed(name, module, tuple(x.shape))
        if isinstance(module, nn.MaxPool2d):
            x, step.switches = functional.max_pool2d(
                x, module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode, True
            )
        elif isinstance(module, nn.AdaptiveMaxPool2d):
            x, step.switches = functional.adaptive_max_pool2d(x, module.output_size, return_indices=True)
        else:
            x = module(x)
        passed.append(step)
    return x, passed


def keep(op: str, layer: str, output: np.ndarray, map: Any, position: Any) -> np.ndarray:
    """Return a copy of a layer's output (N, K, OH, OW) or (N, K) in which all but the chosen activations are 0."""
    flat = output.ndim == 2
    if output.ndim not in (2, 4):
        raise ValueError(f"{op}: layer {layer!r} must give (N, K, OH, OW) or (N, K), got shape {output.shape}")
    planes = output.reshape(*output.shape[:2], -1)
    n, k, _ = planes.shape
    maps = planes.max(axis=2).argmax(axis=1) if map is None else numbers(op, f"map of {layer!r}", map, n, k)
    rows, kept = np.arange(n), np.zeros_like(output)
    if isinstance(position, str):
        errors.check_choice(op, "position", position, ("all",))
        kept[rows, maps] = output[rows, maps]
        return kept
    if position is None:
        at = planes[rows, maps].argmax(axis=1)
    elif flat:
        raise ValueError(f"{op}: position must be None for {layer!r}, whose units have no place, got {position!r}")
    else:
        at = _places(op, layer, position, n, output.shape[2:])
    kept.reshape(planes.shape)[rows, maps, at] = planes[rows, maps, at]
    return kept


def _places(op: str, layer: str, position: Any, n: int, sides: tuple[int, ...]) -> np.ndarray:
    """Return positions (row, col), one or one per image, as flat indices (N,)."""
    array = np.asarray(position)
    if array.dtype.kind not in "iu" or array.shape not in ((2,), (n, 2)):
        raise ValueError(
            f'{op}: position must be None, "all", (row, col), or one such pair for each of the {n} images, '
            f"got {position!r}"
        )
    for axis, name in enumerate(("row", "column")):
        errors.check_range(op, f"{name} of {layer!r}", array[..., axis], sides[axis])
    return np.broadcast_to(array[..., 0] * sides[1] + array[..., 1], (n,)).astype(np.int64)


def down(step: Passed, signal: Tensor, add: bool) -> Tensor:
    """Carry a signal from a layer's output to its input."""
    module, shape = step.module, step.shape
    if isinstance(module, _MAXIMUM):
        assert step.switches is not None
        return _unpool(signal, step.switches, shape, add)
    if isinstance(module, nn.ReLU):
        return functional.relu(signal)  # of what comes from above, whatever the sign was on the way up
    if isinstance(module, nn.Conv2d):
        return _filter(module, signal, shape)
    if isinstance(module, nn.Linear):
        return functional.matmul(signal, module.weight)
    if isinstance(module, nn.Flatten):
        return signal.reshape(shape)
    if isinstance(module, nn.Dropout):
        return signal if module.inverted else signal * (1 - module.p)
    if isinstance(module, nn.ZeroPad2d):
        left, _, top, _ = module.padding
        return signal[:, :, top : top + shape[2], left : left + shape[3]]
    if isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
        return _adjoint(module, signal, shape)
    return signal


def _unpool(signal: Tensor, switches: Tensor, shape: tuple[int, ...], add: bool) -> Tensor:
    """Put each value back where its maximum was."""
    if add:
        return functional.max_unpool2d(signal, switches, 1, output_size=shape, accumulate=True)
    # Zeros are sent to a row below the map, which is cut off again: so they overwrite nothing.
    height, width = shape[2:]
    places = functional.where(signal != 0, switches, height * width)
    return functional.max_unpool2d(signal, places, 1, output_size=(height + 1, width))[:, :, :height]


def _filter(module: Any, signal: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Transpose a convolution: its own filters, stride and padding, onto a map of exactly the size it came from."""
    sides = zip(signal.shape[2:], shape[2:], module.kernel_size, module.stride, module.padding, module.dilation,
                strict=True)  # fmt: skip
    # What the forward pass's rounding down left over at the bottom and right.
    rest = [want - ((n - 1) * s - 2 * p + d * (k - 1) + 1) for n, want, k, s, p, d in sides]
    return functional.conv_transpose2d(
        signal, module.weight, None, module.stride, module.padding, (rest[0], rest[1]), module.groups, module.dilation
    )


def _adjoint(module: nn.Module, signal: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Spread means over their windows: the transpose of a linear layer is its gradient."""
    with enable_grad():
        x = Tensor(device.zeros(signal.data, shape), requires_grad=True)
        return grad(module(x), x, signal)


def _check_kind(op: str, name: str, module: nn.Module) -> None:
    if not isinstance(module, (*_UNCHANGED, *_MAXIMUM, *_OTHERS)):
        raise TypeError(
            f"{op}: the paper has no way down through layer {name!r}, a {type(module).__name__}; "
            "wanted convolutions, pools, ReLU, normalisation, dropout, flatten, fully connected layers; "
            "for networks with branches there are occlusion and saliency"
        )
