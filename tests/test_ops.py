"""Operations on tensors with torchvision's names: the results of the functions of arrays, dtypes, devices, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, gradcheck, ops, vision
from tinyconv.functional import roi_align, roi_pool
from tinyconv.vision.nms import nms

RNG = np.random.default_rng(0)
CORNERS = RNG.uniform(0, 50, (60, 2))
BOXES = np.concatenate([CORNERS, CORNERS + RNG.uniform(1, 40, (60, 2))], 1)
SCORES = RNG.random(60)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_nms_is_that_of_arrays(threshold: float, dtype: Any) -> None:
    boxes, scores = BOXES.astype(dtype), SCORES.astype(np.float32)
    kept = ops.nms(Tensor(boxes), Tensor(scores), threshold)
    assert kept.dtype == np.int64 and kept.device == "cpu"
    assert kept.tolist() == nms(boxes, scores, threshold).tolist()
    assert 1 < len(kept) < 60
    with tinyconv.backend("reference"):
        assert ops.nms(Tensor(boxes), Tensor(scores), threshold).tolist() == kept.tolist()


def test_nms_of_nothing_of_equal_scores_and_with_a_gradient() -> None:
    none = ops.nms(tinyconv.zeros(0, 4), tinyconv.zeros(0), 0.5)
    assert none.shape == (0,) and none.dtype == np.int64
    same = Tensor(np.tile([0.0, 0, 2, 2], (3, 1)))
    assert ops.nms(same, tinyconv.ones(3), 0.5).tolist() == [0]
    assert ops.nms(same, tinyconv.ones(3), 1.0).tolist() == [0, 1, 2]
    apart = Tensor(np.array([[0.0, 0, 2, 2], [3, 0, 5, 2]]), requires_grad=True)
    kept = ops.nms(apart, Tensor(np.array([1.0, 2.0]), requires_grad=True), 0.5)
    assert kept.tolist() == [1, 0] and not kept.requires_grad


def test_box_iou_is_that_of_arrays_and_differentiable() -> None:
    first, second = BOXES[:4], BOXES[4:9]
    found = ops.box_iou(Tensor(first), Tensor(second))
    np.testing.assert_allclose(found.numpy(), vision.box_iou(first, second), rtol=1e-13)
    gradcheck(ops.box_iou, [first, second], name="box_iou")
    by_hand = ops.box_iou(Tensor(np.array([[0.0, 0, 10, 10]])), Tensor(np.array([[5.0, 0, 15, 10], [20, 0, 30, 10]])))
    np.testing.assert_allclose(by_hand.numpy(), [[1 / 3, 0]])


def test_box_iou_of_boxes_without_an_area() -> None:
    flat = Tensor(np.array([[1.0, 1, 1, 5], [5, 5, 2, 2]]), requires_grad=True)
    found = ops.box_iou(flat, flat)
    assert found.tolist() == [[0, 0], [0, 0]]
    found.sum().backward()
    assert flat.grad is not None and np.isfinite(flat.grad.numpy()).all()
    assert ops.box_iou(tinyconv.zeros(0, 4), tinyconv.ones(3, 4)).shape == (0, 3)
    assert ops.box_iou(tinyconv.zeros(2, 4).to("meta"), tinyconv.ones(3, 4).to("meta")).shape == (2, 3)


def test_regions_are_those_of_functional() -> None:
    assert ops.roi_pool is roi_pool and ops.roi_align is roi_align


@pytest.mark.parametrize(
    "call,kind,message",
    [
        (lambda: ops.nms(tinyconv.zeros(3, 5), tinyconv.zeros(3), 0.5), ValueError, r"boxes must be \(\.\.\., 4\)"),
        (lambda: ops.nms(tinyconv.zeros(4), tinyconv.zeros(1), 0.5), ValueError, r"boxes must be \(R, 4\)"),
        (lambda: ops.nms(tinyconv.zeros(3, 4), tinyconv.zeros(2), 0.5), ValueError, "and R scores"),
        (lambda: ops.nms(tinyconv.zeros(3, 4), tinyconv.zeros(3, 1), 0.5), ValueError, "and R scores"),
        (lambda: ops.nms(tinyconv.zeros(1, 4), Tensor(np.array([np.nan])), 0.5), ValueError, "no NaN"),
        (lambda: ops.nms(tinyconv.ones(1, 4) * np.inf, tinyconv.zeros(1), 0.5), ValueError, "finite boxes"),
        (lambda: ops.nms(tinyconv.zeros(1, 4), tinyconv.zeros(1), -0.1), ValueError, r"threshold must be in \[0, 1\]"),
        (lambda: ops.nms(tinyconv.zeros(1, 4), tinyconv.zeros(1), "a"), TypeError, "must be a number, got 'a'"),
        (lambda: ops.nms(BOXES, tinyconv.zeros(60), 0.5), TypeError, "boxes must be a Tensor, got ndarray"),
        (lambda: ops.nms(tinyconv.zeros(1, 4).long(), tinyconv.zeros(1), 0.5), TypeError, "float32 or float64"),
        (lambda: ops.nms(tinyconv.zeros(1, 4), tinyconv.zeros(1).to("meta"), 0.5), RuntimeError, "on one device"),
        (
            lambda: ops.box_iou(tinyconv.zeros(3, 5), tinyconv.zeros(3, 4)),
            ValueError,
            r"boxes1 must have shape",
        ),
        (lambda: ops.box_iou(tinyconv.zeros(3, 4), tinyconv.zeros(4)), ValueError, r"boxes2 must be \(R, 4\)"),
        (lambda: ops.box_iou(tinyconv.zeros(3, 4), Tensor(BOXES)), TypeError, "one dtype, got float32 and float64"),
    ],
)
def test_errors(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_nms_on_meta_has_no_boxes_to_compare() -> None:
    with pytest.raises(RuntimeError, match='device "meta"'):
        ops.nms(tinyconv.zeros(3, 4).to("meta"), tinyconv.zeros(3).to("meta"), 0.5)
