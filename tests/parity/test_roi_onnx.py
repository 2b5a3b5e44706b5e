"""Regions of interest and non-maximum suppression against onnxruntime: thousands of regions of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, ops
from tinyconv.nn import functional as F

_WHY = "is not installed: pip install onnx onnxruntime"
onnx = pytest.importorskip("onnx", reason=f"onnx {_WHY}")
runtime = pytest.importorskip("onnxruntime", reason=f"onnxruntime {_WHY}")

SCALE = 1 / 16
# x1 and y1 from .. to, then width and height from .. to, in pixels; the map is 19 x 23 cells of 16 pixels.
KINDS = {
    "inside": (0, 200, 5, 100),
    "across the border": (-150, 330, 20, 300),
    "outside": (400, 900, 0, 200),
    "tiny": (-40, 400, 0, 4),
    "the wrong way round": (0, 300, -100, 5),
    "far larger": (-900, 0, 900, 2000),
}
kinds = pytest.mark.parametrize("kind", KINDS)
backends = pytest.mark.parametrize("backend", ["cpu", "reference"])


def regions(kind: str, count: int, dtype: Any = np.float32, halves: bool = False) -> np.ndarray:
    """Return regions (R, 5) of two images, of any numbers, or of whole half cells, where rounding has ties."""
    rng = np.random.default_rng([len(kind), halves])
    low, high, least, most = KINDS[kind]
    corners = rng.uniform(low, high, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(least, most, (count, 2))], 1)
    boxes = np.round(boxes / 8) * 8 if halves else boxes
    return np.concatenate([rng.integers(0, 2, (count, 1)), boxes], 1).astype(dtype)


def maps(channels: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(channels).standard_normal((2, channels, 19, 23)).astype(dtype)


def run(operator: str, arrays: dict[str, np.ndarray], **attributes: Any) -> np.ndarray:
    """Return what onnxruntime makes of the arrays by one operator."""
    from onnx import TensorProto, helper

    kinds = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64}
    inputs = [helper.make_tensor_value_info(k, kinds[a.dtype.name], list(a.shape)) for k, a in arrays.items()]
    kind = kinds["int64" if operator == "NonMaxSuppression" else next(iter(arrays.values())).dtype.name]
    node = helper.make_node(operator, list(arrays), ["y"], **attributes)
    graph = helper.make_graph([node], "one", inputs, [helper.make_tensor_value_info("y", kind, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, arrays)[0]


@kinds
@backends
@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("out", [(7, 7), (6, 6), (3, 5)])
def test_roi_pool(out: tuple[int, int], halves: bool, backend: str, kind: str) -> None:
    x, rois = maps(5 if backend == "cpu" else 1), regions(kind, 400 if backend == "cpu" else 40, halves=halves)
    wanted = run("MaxRoiPool", {"x": x, "rois": rois}, pooled_shape=out, spatial_scale=SCALE)
    with tinyconv.backend(backend):
        found = F.roi_pool(Tensor(x), Tensor(rois), out, SCALE).numpy()
    same = lengths_without_rounding(rois, out)
    assert same.mean() > 0.9
    np.testing.assert_array_equal(found[same], wanted[same])


def lengths_without_rounding(rois: np.ndarray, out: tuple[int, int]) -> np.ndarray:
    """Return for which regions float32 finds the same edges of bins as whole numbers do.

    onnxruntime, Caffe and torchvision multiply a rounded length / bins: 7 (57 / 7) is more than 57, and the last of 7
    bins in 57 cells gets a cell too many.
    """
    sides = np.trunc(np.abs(rois[:, 1:] * np.float32(SCALE)) + np.float32(0.5)) * np.sign(rois[:, 1:])
    same = np.ones(len(rois), bool)
    for bins, first, last in ((out[1], 0, 2), (out[0], 1, 3)):
        length = np.maximum(sides[:, last] - sides[:, first] + 1, 1).astype(np.int64)[:, None]
        edges, size = np.arange(bins + 1), (length / bins).astype(np.float32)
        same &= (np.floor(edges[:-1].astype(np.float32) * size) == edges[:-1] * length // bins).all(1)
        same &= (np.ceil(edges[1:].astype(np.float32) * size) == -(-edges[1:] * length // bins)).all(1)
    return same


@kinds
@backends
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 1, 2])
def test_roi_align(ratio: int, aligned: bool, backend: str, kind: str) -> None:
    out = (7, 7) if backend == "cpu" else (2, 3)
    x, rois = maps(5 if backend == "cpu" else 1, np.float64), regions(kind, 200 if backend == "cpu" else 15, np.float64)
    wanted = run(
        "RoiAlign",
        {"x": x, "rois": rois[:, 1:], "index": rois[:, 0].astype(np.int64)},
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
        mode="avg", output_height=out[0], output_width=out[1], sampling_ratio=ratio, spatial_scale=SCALE,
    )  # fmt: skip
    with tinyconv.backend(backend):
        found = F.roi_align(Tensor(x), Tensor(rois), out, SCALE, ratio, aligned).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


@backends
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7])
def test_nms(threshold: float, backend: str) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 300, (2000, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 120, (2000, 2))], 1).astype(np.float32)
    scores = rng.permutation(2000).astype(np.float32)
    limits = {"most": np.array([2000]), "iou": np.array([threshold], np.float32), "least": np.array([-1], np.float32)}
    wanted = run("NonMaxSuppression", {"boxes": boxes[None], "scores": scores[None, None], **limits})[:, 2]
    with tinyconv.backend(backend):
        found = ops.nms(Tensor(boxes), Tensor(scores), threshold).numpy()
    assert 10 < len(found) < 2000
    np.testing.assert_array_equal(found, wanted)
