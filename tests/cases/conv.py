"""Convolution and its transpose: padding, stride, dilation, groups and sizes that do not divide evenly."""

import warnings
from typing import Any

from .case import Case

_IMAGE, _WEIGHT, _BIAS = (2, 4, 7, 6), (6, 4, 3, 3), (6,)
_GEOMETRIES = [
    {},
    {"padding": 1},
    {"stride": 2},
    {"stride": 2, "padding": 1},  # a row and no column is left over
    {"stride": (1, 3), "padding": (2, 0)},
    {"stride": 4},  # pixels in no window
    {"padding": 2, "dilation": 2},
    {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
    {"stride": 2, "padding": 3, "dilation": 2},  # stride and dilation share a factor: half of the pixels meet no filter
    {"padding": (4, 3)},  # more padding than filter
]
_NON_SQUARE = [
    {"padding": (1, 0)},
    {"stride": (2, 3)},
    {"padding": (0, 2), "dilation": (1, 3)},
]


def _quiet_conv2d(*arguments: Any, **kwargs: Any) -> Any:
    """PyTorch's, which warns that it copies the image where "same" padding is odd."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nn.functional.conv2d(*arguments, **kwargs)


def _conv2d_relu(*arguments: Any, activation: str, **kwargs: Any) -> Any:
    """PyTorch has no fused activation."""
    import torch

    return torch.relu(torch.nn.functional.conv2d(*arguments, **kwargs))


CASES = [
    *[Case("conv2d", (_IMAGE, _WEIGHT, _BIAS), k) for k in _GEOMETRIES],
    *[Case("conv2d", (_IMAGE, (3, 4, 3, 2), (3,)), k, note="non-square") for k in _NON_SQUARE],
    Case("conv2d", (_IMAGE, (3, 4, 1, 5), (3,)), note="one row"),
    Case("conv2d", (_IMAGE, (3, 4, 1, 5), (3,)), {"stride": (3, 1), "padding": (1, 2)}, note="one row"),
    *[Case("conv2d", (_IMAGE, (6, 2, 3, 3), _BIAS), {**k, "groups": 2}) for k in _GEOMETRIES[:5]],
    *[Case("conv2d", (_IMAGE, (4, 1, 3, 3), (4,)), {**k, "groups": 4}, note="depthwise") for k in _GEOMETRIES[:4]],
    Case("conv2d", (_IMAGE, (8, 1, 3, 2), (8,)), {"groups": 4, "padding": 1}, note="two filters per channel"),
    Case("conv2d", (_IMAGE, _WEIGHT), {"padding": 1}, note="no bias"),
    Case("conv2d", (_IMAGE, _WEIGHT, _BIAS), {"padding": 1, "activation": "relu"}, torch=_conv2d_relu),
    Case("conv2d", (_IMAGE, (6, 2, 3, 3)), {"stride": 2, "groups": 2, "activation": "relu"}, torch=_conv2d_relu),
    Case("conv2d", (_IMAGE, (5, 4, 1, 1), (5,)), note="1x1"),
    Case("conv2d", (_IMAGE, (5, 4, 1, 1), (5,)), {"stride": 2}, note="1x1"),
    Case("conv2d", (_IMAGE, (5, 4, 1, 1), (5,)), {"padding": 1}, note="1x1"),
    Case("conv2d", (_IMAGE, (2, 4, 7, 6), (2,)), note="filter of the image"),
    Case("conv2d", ((2, 1, 1, 1), (3, 1, 1, 1), (3,)), note="one pixel"),
    Case("conv2d", ((2, 1, 1, 1), (3, 1, 3, 3), (3,)), {"padding": 1}, note="mostly padding"),
    Case("conv2d", ((0, 4, 7, 6), _WEIGHT, _BIAS), {"padding": 1}, note="empty batch"),
    Case("conv2d", ((4, 7, 6), _WEIGHT, _BIAS), {"stride": 2}, note="no batch axis"),
    Case("conv2d", (_IMAGE, _WEIGHT, _BIAS), {"padding": "same"}),
    Case("conv2d", (_IMAGE, (3, 4, 2, 4), (3,)), {"padding": "same", "dilation": (3, 1)}, torch=_quiet_conv2d),
    Case("conv2d", (_IMAGE, _WEIGHT, _BIAS), {"padding": "valid", "stride": 2}),
    Case("conv2d", ((1, 3, 15, 14), (4, 3, 11, 11), (4,)), {"stride": 4, "padding": 2}, note="AlexNet's first layer"),
    Case("conv2d", ((1, 2, 3, 150), (2, 2, 2, 3)), {"padding": (0, 1)}, note="long rows"),
    Case("conv2d", ((40, 2, 4, 4), (3, 2, 3, 3)), note="many small images"),
    *[Case("conv_transpose2d", ((2, 6, 4, 3), _WEIGHT, (4,)), k) for k in _GEOMETRIES[:4]],
    *[Case("conv_transpose2d", ((2, 6, 4, 3), _WEIGHT, (4,)), k) for k in (
        {"stride": 2, "padding": 1, "output_padding": 1},  # DCGAN's generator
        {"stride": (3, 2), "output_padding": (2, 0)},
        {"stride": 4},  # pixels that no filter reaches
        {"padding": 1, "dilation": 2, "output_padding": 1},
        {"stride": 2, "padding": (1, 2), "dilation": (2, 3), "output_padding": (0, 1)},
    )],
    Case("conv_transpose2d", ((2, 6, 4, 3), (6, 2, 3, 3), (4,)), {"groups": 2, "stride": 2, "output_padding": 1}),
    Case("conv_transpose2d", ((2, 4, 4, 3), (4, 1, 4, 2), (4,)), {"groups": 4, "stride": (1, 2)}, note="depthwise"),
    Case("conv_transpose2d", ((2, 4, 4, 3), (4, 2, 3, 3), (4,)), {"groups": 2, "padding": 1}, note="non-square result"),
    Case("conv_transpose2d", ((2, 6, 4, 3), _WEIGHT), {"stride": 2}, note="no bias"),
    Case("conv_transpose2d", ((2, 3, 4, 3), (3, 5, 1, 1), (5,)), {"stride": 2}, note="1x1"),
    Case("conv_transpose2d", ((2, 3, 1, 1), (3, 5, 4, 4), (5,)), note="one pixel"),
    Case("conv_transpose2d", ((0, 6, 4, 3), _WEIGHT, (4,)), {"stride": 2, "padding": 1}, note="empty batch"),
    Case("conv_transpose2d", ((6, 4, 3), _WEIGHT, (4,)), {"stride": 2, "padding": 1}, note="no batch axis"),
    *[Case("unfold", (_IMAGE,), {"kernel_size": 3, **k}) for k in _GEOMETRIES],
    *[Case("unfold", (_IMAGE,), {"kernel_size": (3, 2), **k}) for k in _NON_SQUARE],
    Case("unfold", ((4, 7, 6),), {"kernel_size": 2}, note="no batch axis"),
    Case("unfold", ((0, 4, 7, 6),), {"kernel_size": 2}, note="empty batch"),
    Case("fold", ((2, 4 * 9, 20),), {"output_size": (7, 6), "kernel_size": 3}),
    Case("fold", ((2, 4 * 6, 24),), {
        "output_size": (7, 6), "kernel_size": (3, 2), "stride": (2, 1), "padding": (2, 1), "dilation": 2,
    }),
    Case("fold", ((2, 8, 4),), {"output_size": 5, "kernel_size": 2, "stride": 3}, note="pixels in no window"),
    Case("fold", ((8, 9),), {"output_size": 4, "kernel_size": 2}, note="no batch axis"),
    Case("fold", ((0, 8, 9),), {"output_size": 4, "kernel_size": 2}, note="empty batch"),
]
