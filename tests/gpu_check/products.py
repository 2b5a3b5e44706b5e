"""Matrix products and convolutions large enough for tiles, by every tile there is, beside the CPU.

The table tests/cases has arrays so small that a thread computes each result. Here every tile of every arithmetic has
blocks that are full, blocks that are cut, and several parts of a sum.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import tinyconv
from tinyconv.nn import functional as F

from .report import Report
from .rows import TOLERANCE, compare

Product = tuple[str, Callable[..., Any], tuple[Any, ...]]
LARGE: list[Product] = [
    ("matmul", F.matmul, ((130, 70), (70, 200))),
    ("matmul, 16-byte loads", F.matmul, ((132, 72), (72, 200))),
    ("matmul, transposed", lambda a, b: F.matmul(a.T, b.T), ((68, 130), (200, 68))),
    ("matmul, many", F.matmul, ((3, 70, 33), (3, 33, 150))),
    ("matmul, a long sum", F.matmul, ((34, 2100), (2100, 38))),
    ("linear", F.linear, ((130, 300), (140, 300), (140,))),
    ("conv2d", lambda *t: F.conv2d(*t, padding=1), ((5, 40, 19, 17), (136, 40, 3, 3), (136,))),
    ("conv2d with ReLU", lambda *t: F.conv2d(*t, activation="relu"), ((4, 24, 18, 18), (40, 24, 3, 3), (40,))),
    ("conv2d, stride 2", lambda *t: F.conv2d(*t, stride=2, padding=2), ((5, 20, 21, 18), (40, 20, 5, 5), None)),
    ("conv2d, groups", lambda *t: F.conv2d(*t, padding=2, groups=2), ((5, 48, 13, 13), (96, 24, 5, 5), (96,))),
    ("conv2d, dilation", lambda *t: F.conv2d(*t, dilation=(2, 3)), ((3, 16, 20, 24), (33, 16, 3, 3), (33,))),
    ("conv_transpose2d", lambda *t: F.conv_transpose2d(*t, stride=2), ((5, 40, 9, 8), (40, 33, 4, 4), (33,))),
]  # fmt: skip
# The simulator's tiles are 16 wide, and so are the arrays that a few of them cover.
SMALL: list[Product] = [
    ("matmul", F.matmul, ((35, 31), (31, 37))),
    ("matmul, 16-byte loads", F.matmul, ((36, 32), (32, 40))),
    ("conv2d", lambda *t: F.conv2d(*t, padding=1), ((1, 8, 7, 6), (17, 8, 3, 3), (17,))),
    ("conv2d, stride 2", lambda *t: F.conv2d(*t, stride=2, padding=1), ((2, 8, 9, 12), (18, 8, 3, 3), None)),
]
# A product of two TF32 numbers is exact in float32: with inputs that TF32 can hold, tensor cores are as near as others.
TF32 = "TF32"


def check(report: Report, simulated: bool, quick: bool = False) -> None:
    """Run every product by every tile and say how many there were."""
    before, count = len(report.failures), 0
    products = SMALL[::2] if simulated and quick else SMALL if simulated else LARGE
    for arithmetic, tiles in _tiles().items():
        for tile in tiles:
            for name, function, shapes in products:
                count += 1
                what = f"{name} {shapes} by tiles of {tile.rows} x {tile.columns} ({arithmetic})"
                arrays = _arrays(shapes, arithmetic)
                tolerance = TOLERANCE["float64" if arithmetic == "float64" else "float32"]
                with _forced(tile), tinyconv.use_winograd(False):
                    compare(report, what, function, arrays, tolerance)
    report.say(f"tiles: {count} products in {', '.join(_tiles())}, {len(report.failures) - before} differences")


def _tiles() -> dict[str, list[Any]]:
    """Return the tiles of each arithmetic that the GPU at hand has."""
    tile, mma = (importlib.import_module(f"tinyconv_kernels.cuda.{name}") for name in ("_tile", "_mma"))
    found = {"float32": list(tile._FLOAT32), "float64": list(tile._FLOAT64)}
    return found | ({TF32: list(tile._TF32)} if mma.available() else {})


@contextmanager
def _forced(tile: Any) -> Iterator[None]:
    """Inside, products are computed by this tile, whatever their shapes."""
    modules = [importlib.import_module(f"tinyconv_kernels.cuda.{name}") for name in ("matmul", "conv")]
    before = [module.choose for module in modules]
    try:
        for module in modules:
            module.choose = lambda *shape: tile
        yield
    finally:
        for module, function in zip(modules, before, strict=True):
            module.choose = function


def _arrays(shapes: tuple[Any, ...], arithmetic: str) -> list[Any]:
    rng = np.random.default_rng(0)
    arrays = [None if shape is None else rng.standard_normal(shape) for shape in shapes]
    if arithmetic == TF32:
        rounded = importlib.import_module("tinyconv_kernels.cuda._mma").rounded
        return [None if a is None else rounded(a) for a in arrays]
    return [None if a is None else a.astype(arithmetic) for a in arrays]
