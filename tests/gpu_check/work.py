"""What training is made of, one operation at a time: layers of AlexNet, with their arithmetic or the bytes they move.

Floating-point operations follow from the layer's definition; bytes are those of every array, read or written once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinyconv


class Work(NamedTuple):
    """An operation: a call of ours, its arithmetic (0: it moves ``bytes``), and a maker of PyTorch's call."""

    run: Callable[[], Any]
    flops: int = 0
    bytes: int = 0
    torch: Callable[[Any], Callable[[], Any]] | None = None


Make = Callable[[int], Work]
# (channels, size, filters, window, stride, padding, groups)
_CONVOLUTIONS = {
    "conv1": (3, 227, 96, 11, 4, 0, 1), "conv2": (96, 27, 256, 5, 1, 2, 2), "conv3": (256, 13, 384, 3, 1, 1, 1),
    "conv4": (384, 13, 384, 3, 1, 1, 2), "conv5": (384, 13, 256, 3, 1, 1, 2),
}  # fmt: skip


def step_flops(model: Any) -> int:
    """Return the operations of a training step for one image: forward and both gradients, of the image none."""
    summary = tinyconv.summary(model)
    first = next(row.macs for row in summary.rows if row.macs)
    return 2 * (3 * summary.total_macs - first)


def _array(*shape: int, dtype: Any = np.float32) -> Any:
    """Return numbers on the device; as many as matter, repeated, since drawing them takes longer than the rest."""
    numbers = np.random.default_rng(0).standard_normal(1 << 16)
    return tinyconv.tensor(np.resize(numbers, shape).astype(dtype), device="cuda").data


def _kernels(array: Any) -> Any:
    return tinyconv.device.kernels_for(array)


def _convolution(part: str, layer: tuple[int, ...]) -> Make:
    channels, size, filters, window, stride, padding, groups = layer
    out = (size + 2 * padding - window) // stride + 1
    options = (stride,) * 2, (padding,) * 2, (1, 1), groups
    mask = [part == "input", part == "weight", False]

    def make(batch: int) -> Work:
        x, y = _array(batch, channels, size, size), _array(batch, filters, out, out)
        weight = _array(filters, channels // groups, window, window)
        conv = _kernels(x).conv
        calls = {
            "forward": lambda: conv.conv2d_forward(x, weight, None, y, *options, None, None),
            "input": lambda: conv.conv2d_backward_input(y, weight, x, *options, None),
            "weight": lambda: conv.conv2d_backward_weight(y, x, weight, *options, None),
        }

        def theirs(torch: Any) -> Callable[[], Any]:
            a, b, w = (torch.randn(array.shape, device="cuda") for array in (x, y, weight))
            if part == "forward":
                return lambda: torch.nn.functional.conv2d(a, w, None, *options)
            rest = [None, *map(list, options[:3]), False, [0, 0], groups, mask]
            return lambda: torch.ops.aten.convolution_backward(b, a, w, *rest)

        flops = 2 * batch * filters * out * out * (channels // groups) * window * window
        return Work(calls[part], flops=flops, torch=theirs)

    return make


def _linear(batch: int) -> Work:
    x, weight, y = _array(batch, 9216), _array(4096, 9216), _array(batch, 4096)
    kernel = _kernels(x).matmul.matmul

    def theirs(torch: Any) -> Callable[[], Any]:
        a, w = (torch.randn(array.shape, device="cuda") for array in (x, weight))
        return lambda: a @ w.T

    return Work(lambda: kernel(x, weight.T, y), flops=2 * batch * 9216 * 4096, torch=theirs)


def _relu(batch: int) -> Work:
    x, y = _array(batch, 96, 55, 55), _array(batch, 96, 55, 55)
    kernel = _kernels(x).elementwise.relu
    return Work(lambda: kernel(x, y), bytes=x.nbytes + y.nbytes, torch=_functional("relu", x.shape))


def _pool(backward: bool) -> Make:
    rule = (3, 3), (2, 2), (0, 0), (1, 1)

    def make(batch: int) -> Work:
        x, y, switches = _array(batch, 96, 55, 55), _array(batch, 96, 27, 27), _array(batch, 96, 27, 27, dtype=np.int64)
        pool, moved = _kernels(x).pool, x.nbytes + y.nbytes + switches.nbytes
        pool.max_pool2d_forward(x, y, switches, *rule)
        if backward:
            return Work(lambda: pool.max_pool2d_backward(y, switches, x, *rule), bytes=moved)
        theirs = _functional("max_pool2d", x.shape, 3, 2, return_indices=True)
        return Work(lambda: pool.max_pool2d_forward(x, y, switches, *rule), bytes=moved, torch=theirs)

    return make


def _response_norm(backward: bool) -> Make:
    def make(batch: int) -> Work:
        x, y, scale, dx = (_array(batch, 96, 27 * 27) for _ in range(4))
        norm = _kernels(x).norm
        norm.local_response_norm_forward(x, y, scale, 5, 1e-4, 0.75, 2.0)
        if backward:
            return Work(lambda: norm.local_response_norm_backward(y, x, scale, dx, 5, 1e-4, 0.75), bytes=4 * x.nbytes)
        return Work(lambda: norm.local_response_norm_forward(x, y, scale, 5, 1e-4, 0.75, 2.0), bytes=3 * x.nbytes)

    return make


def _batch_statistics(batch: int) -> Work:
    x, mean, variance = _array(batch, 64, 56 * 56), _array(64), _array(64)
    kernel = _kernels(x).norm.batch_norm_statistics
    return Work(lambda: kernel(x, mean, variance), bytes=x.nbytes)


def _sum(batch: int) -> Work:
    x, out = _array(batch, 256, 27, 27), _array(256)
    kernel = _kernels(x).reduce.reduce_sum
    return Work(lambda: kernel(x, out, (0, 2, 3)), bytes=x.nbytes)


def _sgd(batch: int) -> Work:
    param, grad, velocity = (_array(4096, 9216) for _ in range(3))
    kernel = _kernels(param).optim.sgd_step
    return Work(lambda: kernel(param, grad, velocity, 1e-3, 0.9, 0.0, 5e-4, False, False), bytes=5 * param.nbytes)


def _functional(name: str, shape: tuple[int, ...], *arguments: Any, **options: Any) -> Any:
    def theirs(torch: Any) -> Callable[[], Any]:
        x = torch.randn(shape, device="cuda")
        return lambda: getattr(torch.nn.functional, name)(x, *arguments, **options)

    return theirs


_PARTS = {"forward": "forward", "input": "gradient of the input", "weight": "gradient of the weights"}
OPERATIONS: dict[str, Make] = {
    **{
        f"{layer} of AlexNet, {title}": _convolution(part, numbers)
        for layer, numbers in _CONVOLUTIONS.items()
        for part, title in _PARTS.items()
        if (layer, part) != ("conv1", "input")
    },
    "fc6 of AlexNet, forward": _linear,
    "ReLU after conv1": _relu,
    "max-pool after conv1, forward": _pool(False),
    "max-pool after conv1, backward": _pool(True),
    "response norm after pool1, forward": _response_norm(False),
    "response norm after pool1, backward": _response_norm(True),
    "batch norm's statistics, 64 channels of 56 x 56": _batch_statistics,
    "gradient of conv2's biases": _sum,
    "SGD with momentum, fc6's weights": _sgd,
}
