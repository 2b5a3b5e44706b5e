"""Regions of interest: inside the map, across its border, beyond it, smaller than a cell, the wrong way round, none."""

from __future__ import annotations

import math
from typing import Any

from .adapters import regions
from .case import Case, Ints


def _pooled(x: Any, index: Any, corners: Any, output_size: Any, spatial_scale: float = 1.0) -> Any:
    """Pool by PyTorch's slices and maxima, region by region, as Girshick 2015 says it; PyTorch finds the gradient."""
    import torch

    sides = output_size if isinstance(output_size, tuple) else (output_size, output_size)
    pooled = []
    for n, *numbers in regions(x, index, corners).tolist():
        x1, y1, x2, y2 = (int(math.copysign(math.floor(abs(v) * spatial_scale + 0.5), v)) for v in numbers)
        cells = []
        for i in range(sides[0]):
            for j in range(sides[1]):
                (top, bottom), (left, right) = (
                    [min(max(first + edge, 0), size) for edge in _edges(b, bins, max(last - first + 1, 1))]
                    for b, bins, first, last, size in (
                        (i, sides[0], y1, y2, x.shape[2]), (j, sides[1], x1, x2, x.shape[3]),
                    )
                )  # fmt: skip
                cell = x[int(n), :, top:bottom, left:right]
                cells.append(cell.amax((1, 2)) if cell.numel() else x.new_zeros(x.shape[1]))
        pooled.append(torch.stack(cells, 1).reshape(-1, *sides))
    return torch.stack(pooled)


def _edges(i: int, bins: int, length: int) -> tuple[int, int]:
    return i * length // bins, math.ceil((i + 1) * length / bins)


def _aligned(
    x: Any, index: Any, corners: Any, output_size: Any, spatial_scale: float = 1.0, sampling_ratio: int = -1,
    aligned: bool = False,
) -> Any:  # fmt: skip
    """Average as torchvision does where its compiled operators are missing: without the rule for samples outside."""
    from model_tools import torchvision_models

    torchvision_models()  # or skip
    from torchvision.ops.roi_align import _roi_align

    sides = output_size if isinstance(output_size, tuple) else (output_size, output_size)
    eager = _roi_align.__wrapped__  # not compiled on the first call
    return eager(x, regions(x, index, corners), spatial_scale, *sides, sampling_ratio, aligned)


_INDEX = Ints((9, 1), 2)
_INSIDE = ((2, 3, 9, 11), _INDEX, Ints((9, 4), 32))
_BEYOND = ((2, 3, 9, 11), _INDEX, Ints((9, 4), 90, -50))
_MANY = ((2, 35, 5, 4), _INDEX, Ints((9, 4), 20))  # more channels than a CPU's thread handles side by side
_ONE_CELL = ((1, 2, 1, 1), Ints((9, 1), 1), Ints((9, 4), 4, -4))
_HALF = {"output_size": (2, 3), "spatial_scale": 0.5}

CASES = [
    Case("roi_pool", _INSIDE, {"output_size": 3}, "distinct", torch=_pooled),
    Case("roi_pool", _INSIDE, {"output_size": (7, 2)}, "distinct", torch=_pooled),
    Case("roi_pool", _INSIDE, _HALF, "distinct", torch=_pooled),
    Case("roi_pool", _BEYOND, _HALF, "distinct", torch=_pooled, note="beyond"),
    Case("roi_pool", _MANY, {"output_size": 2}, "distinct", torch=_pooled),
    Case("roi_pool", _ONE_CELL, {"output_size": 2}, "distinct", torch=_pooled, note="one cell"),
    Case("roi_pool", _BEYOND, {"output_size": 1}, "ties", parity=False),
    Case("roi_pool", _BEYOND, {"output_size": 2}, "nan", parity=False),
    Case("roi_pool", ((2, 3, 9, 11), Ints((0, 1), 1), Ints((0, 4), 1)), {"output_size": 2}, "distinct", parity=False,
         note="no regions"),
    # torchvision's Python divides by no samples in regions of negative length: (-1, True) is in test_roi_onnx.py.
    *[Case("roi_align", inputs, {**options, "sampling_ratio": ratio, "aligned": aligned}, torch=_aligned,
           parity=inputs is _INSIDE and (ratio, aligned) != (-1, True))
      for inputs, options in ((_INSIDE, {"output_size": 3}), (_BEYOND, _HALF))
      for ratio in (-1, 1, 2) for aligned in (False, True)],
    Case("roi_align", _ONE_CELL, {"output_size": 2, "aligned": True}, parity=False, note="one cell"),
    Case("roi_align", _BEYOND, {"output_size": 2}, "nan", parity=False),
    Case("roi_align", ((2, 3, 9, 11), Ints((0, 1), 1), Ints((0, 4), 1)), {"output_size": 2}, parity=False,
         note="no regions"),
]  # fmt: skip
