"""What the table tests/cases does not call, or with arrays too small: sizes of real networks, optimisers, dropout.

Nothing is computed where these run (tests/cuda/recording.py), and untouched zeros take no memory. Size matters since it
chooses tiles and passes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from cases import CASES, Case
from tinyconv import Tensor, allow_tf32
from tinyconv.nn import functional as F


def _batch_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean, variance = (Tensor(_array(weight.shape, x.dtype)) for _ in range(2))  # buffers, which get no gradient
    return F.batch_norm(x, mean, variance, weight, bias, training=True)


def _cross_entropy(x: Tensor, weight: Tensor | None = None) -> Tensor:
    target = Tensor(_array((x.shape[0], *x.shape[2:]), np.int64))
    return F.cross_entropy(x, target, weight, label_smoothing=0.1 if weight is None else 0.0)


# (function, shapes of its tensors, other arguments): layers of AlexNet and VGG, 1x1 and depthwise ones, small batches.
PRODUCTS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (F.conv2d, ((128, 3, 224, 224), (64, 3, 11, 11), (64,)), {"stride": 4, "padding": 2}),
    (F.conv2d, ((128, 96, 27, 27), (256, 48, 5, 5), (256,)), {"padding": 2, "groups": 2}),
    (F.conv2d, ((128, 256, 13, 13), (384, 256, 3, 3), (384,)), {"padding": 1, "activation": "relu"}),
    (F.conv2d, ((32, 64, 224, 224), (64, 64, 3, 3), (64,)), {"padding": 1}),
    (F.conv2d, ((32, 256, 56, 56), (64, 256, 1, 1), None), {}),
    (F.conv2d, ((32, 64, 56, 56), (128, 64, 1, 1), None), {"stride": 2}),
    (F.conv2d, ((32, 64, 56, 56), (64, 1, 3, 3), (64,)), {"padding": 1, "groups": 64}),
    (F.conv2d, ((64, 1, 28, 28), (6, 1, 5, 5), (6,)), {"padding": 2}),
    (F.conv2d, ((1, 16, 7, 7), (17, 16, 3, 3), (17,)), {"padding": 2, "dilation": 2}),
    (F.conv_transpose2d, ((32, 64, 28, 28), (64, 32, 4, 4), (32,)), {"stride": 2, "padding": 1}),
    (F.linear, ((128, 9216), (4096, 9216), (4096,)), {}),
    (F.linear, ((128, 4096), (10, 4096), (10,)), {}),
    (F.linear, ((1, 400), (120, 400), (120,)), {}),
    (F.matmul, ((2048, 2048), (2048, 2048)), {}),
    (F.matmul, ((64, 100000), (100000, 64)), {}),
    (F.matmul, ((8, 33, 65), (8, 65, 17)), {}),
]
OTHERS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (F.max_pool2d, ((128, 96, 55, 55),), {"kernel_size": 3, "stride": 2}),
    (F.avg_pool2d, ((128, 96, 55, 55),), {"kernel_size": 2}),
    (F.local_response_norm, ((128, 96, 27, 27),), {"size": 5}),
    (_batch_norm, ((128, 64, 56, 56), (64,), (64,)), {}),
    (F.softmax, ((128, 1000),), {"dim": 1}),
    (F.log_softmax, ((128, 1000),), {"dim": 1}),
    (F.log_softmax, ((4, 100000),), {"dim": 1}),
    (F.log_softmax, ((8, 21, 128, 128),), {"dim": 1}),
    (_cross_entropy, ((128, 1000),), {}),
    (_cross_entropy, ((128, 1000), (1000,)), {}),
    (_cross_entropy, ((8, 21, 128, 128),), {}),
    (F.dropout, ((128, 4096),), {"training": True}),
    (F.roi_pool, ((2, 512, 38, 50), (128, 5)), {"output_size": 7, "spatial_scale": 1 / 16}),
    (F.roi_align, ((2, 512, 38, 50), (128, 5)), {"output_size": 7, "spatial_scale": 1 / 16}),
    (F.grid_sample, ((16, 64, 56, 56), (16, 56, 56, 2)), {"align_corners": True}),
    (F.grid_sample, ((16, 64, 56, 56), (16, 28, 28, 2)), {"mode": "nearest", "padding_mode": "reflection"}),
    (F.maxout, ((100, 1200),), {"pieces": 5}),
    (F.maxout, ((128, 64, 28, 28),), {"pieces": 2}),
    (F.rnn, ((100, 20, 512), (512, 512)), {"nonlinearity": "relu"}),
    (F.rnn, ((50, 14, 64), (64, 64), (50, 64)), {"reverse": True}),
    (F.lstm, ((100, 20, 4 * 512), (4 * 512, 512)), {}),
    (F.add, ((128, 64, 56, 56), (64, 1, 1)), {}),
    (F.sum, ((128, 64, 56, 56),), {"dim": (0, 2, 3)}),
    (F.max, ((1000000,),), {}),
    (F.min, ((1000000,),), {}),
]


Call = tuple[str, Callable[[], None]]


def everything() -> Iterator[Call]:
    """Yield (name, call) for every kernel of the device "cuda" in float32 and float64, without tensor cores."""
    for dtype in (np.float32, np.float64):
        for case in CASES:
            if case.cuda:
                yield case.id, partial(_case, case, dtype)
        for product in (*PRODUCTS, *OTHERS):
            yield _name(*product), partial(_large, *product, dtype)
        for shape in ((3, 5), (4096, 4096)):
            yield "optimisers", partial(_optimisers, shape, np.dtype(dtype))
            yield "random_uniform", partial(_uniform, shape, dtype)
            yield "floor", partial(_floor, shape, dtype)
        yield "nms", partial(_nms, 12000, dtype)


def tensor_cores() -> Iterator[Call]:
    """Yield what multiplies, with TF32 allowed."""
    for product in PRODUCTS:
        yield f"{_name(*product)} in TF32", partial(_large_tf32, *product)


def _name(function: Any, shapes: Any, options: Any) -> str:
    return f"{function.__name__}{shapes}{options or ''}"


def _case(case: Case, dtype: Any) -> None:
    _both_ways(case, *(None if a is None else Tensor(a).to("cuda") for a in case.arrays(dtype)))


def _large(function: Any, shapes: Any, options: Any, dtype: Any) -> None:
    _both_ways(function, *(_tensor(shape, dtype) for shape in shapes), **options)


def _large_tf32(function: Any, shapes: Any, options: Any) -> None:
    with allow_tf32(True):
        _large(function, shapes, options, np.float32)


def _kernels(name: str) -> Any:
    return importlib.import_module(f"tinyconv_kernels.cuda.{name}")


def _array(shape: tuple[int, ...], dtype: Any) -> Any:
    return _kernels("memory").empty(shape, dtype)


def _tensor(shape: tuple[int, ...] | None, dtype: Any) -> Tensor | None:
    return None if shape is None else Tensor(_array(shape, dtype))


def _both_ways(function: Callable[..., Any], *tensors: Any, **options: Any) -> None:
    """Run forward and backward, with a gradient for every input that can have one."""
    for x in tensors:
        if x is not None and x.dtype.kind == "f":
            x.requires_grad_()
    result = function(*tensors, **options)
    for out in result if isinstance(result, tuple) else (result,):
        if out.requires_grad:
            out.backward(_tensor(out.shape, out.dtype), retain_graph=True)


def _uniform(shape: tuple[int, ...], dtype: Any) -> None:
    _kernels("random").random_uniform(_array(shape, dtype), _array(shape[:1], np.int64), 1, 2)


def _floor(shape: tuple[int, ...], dtype: Any) -> None:
    _kernels("elementwise").floor(_array(shape, dtype), _array(shape, dtype))


def _nms(count: int, dtype: Any) -> None:
    _kernels("nms").nms(_array((count, 4), dtype), _array((count,), bool), 0.7, 0.0)


def _optimisers(shape: tuple[int, ...], dtype: np.dtype) -> None:
    optim = _kernels("optim")
    param, grad, one, two, three = (_array(shape, dtype) for _ in range(5))
    optim.sgd_step(param, grad, None, 0.1, 0.0, 0.0, 0.0, False, True)
    optim.sgd_step(param, grad, one, 0.1, 0.9, 0.0, 5e-4, True, False)
    optim.alexnet_sgd_step(param, grad, one, 0.1, 0.9, 5e-4)
    optim.adam_step(param, grad, one, two, 1e-3, 0.9, 0.999, 1e-8, 0.0, False, 1)
    optim.rmsprop_step(param, grad, one, None, None, 1e-2, 0.99, 1e-8, 0.0, 0.0, False)
    optim.rmsprop_step(param, grad, one, two, three, 1e-2, 0.99, 1e-8, 0.0, 0.9, True)
