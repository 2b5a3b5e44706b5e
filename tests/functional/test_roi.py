"""Pooling of regions: both forms of boxes, no regions, gradients, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import Tensor
from tinyconv.nn import functional as F

BOTH = [F.roi_pool, F.roi_align]
both = pytest.mark.parametrize("op", BOTH, ids=lambda op: op.__name__)


def ramp(images: int = 1, **options: Any) -> Tensor:
    """Return maps of 8 x 8 with value = 8 row + column, and 100 more in each further image."""
    return Tensor(np.arange(64.0).reshape(1, 1, 8, 8) + 100 * np.arange(images).reshape(-1, 1, 1, 1), **options)


def boxes(*rows: Any) -> Tensor:
    return Tensor(np.array(rows, float).reshape(len(rows), -1))


@pytest.mark.parametrize(
    "region,bins,wanted",
    [
        ((16, 0, 100, 75), 2, [[19, 22], [43, 46]]),
        ((0, 0, 111, 111), 3, [[18, 21, 23], [42, 45, 47], [58, 61, 63]]),
        ((8, 8, 40, 40), 3, [[9, 10, 11], [17, 18, 19], [25, 26, 27]]),
        ((64, 64, 200, 200), 2, [[63, 0], [0, 0]]),
    ],
)
def test_a_ramp_in_strides_of_16(region: tuple[int, ...], bins: int, wanted: list[list[int]]) -> None:
    y = F.roi_pool(ramp(), boxes((0, *region)), bins, 1 / 16)
    assert y.tolist() == [[wanted]]


@both
def test_a_list_of_boxes_for_each_image_is_the_same_as_rows_with_an_index(op: Any) -> None:
    rows = boxes((0, 1, 2, 5, 7), (2, 0, 0, 3, 3), (2, 4, 1, 7, 2))
    listed = [rows[:1, 1:], Tensor(np.zeros((0, 4))), rows[1:, 1:]]
    first, second = op(ramp(3), rows, (2, 3)), op(ramp(3), listed, (2, 3))
    assert first.shape == (3, 1, 2, 3)
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    np.testing.assert_array_equal(op(ramp(3), tuple(listed), (2, 3)).numpy(), first.numpy())
    assert first.numpy()[1:].min() > 200 - 1  # of the third image


@both
def test_no_regions_give_no_outputs_and_a_gradient_of_zeros(op: Any) -> None:
    x = ramp(2, requires_grad=True)
    for none in (Tensor(np.zeros((0, 5))), [Tensor(np.zeros((0, 4)))] * 2):
        x.grad = None
        y = op(x, none, 3)
        assert y.shape == (0, 1, 3, 3)
        y.sum().backward()
        assert x.grad is not None and not x.grad.numpy().any()
    assert op(Tensor(np.zeros((0, 2, 4, 4))), [], 3).shape == (0, 2, 3, 3)


def test_gradients_add_up_over_regions() -> None:
    """Two equal regions double it; its sum is that of the outputs whose bin is not empty."""
    x, region = ramp(requires_grad=True), (0, 16, 0, 100, 75)
    F.roi_pool(x, boxes(region), 2, 1 / 16).sum().backward()
    once = x.grad.numpy().copy()  # type: ignore[union-attr]
    assert np.flatnonzero(once).tolist() == [19, 22, 43, 46]
    x.grad = None
    F.roi_pool(x, boxes(region, region, (0, 64, 64, 200, 200)), 2, 1 / 16).sum().backward()
    twice = x.grad.numpy()  # type: ignore[union-attr]
    twice[0, 0, 7, 7] -= 1  # of the third region's only bin with a cell
    np.testing.assert_array_equal(twice, 2 * once)


@both
def test_boxes_have_no_gradient(op: Any) -> None:
    x, rois = ramp(requires_grad=True), boxes((0, 1, 2, 5, 7))
    rois.requires_grad_()
    op(x, rois, 2).sum().backward()
    assert rois.grad is None and x.grad is not None
    op(x, [rois[:, 1:]], 2).sum().backward()
    assert rois.grad is None
    assert not op(ramp(), rois, 2).requires_grad


@both
def test_boxes_changed_in_place_before_backward_are_noticed(op: Any) -> None:
    x, rois = ramp(requires_grad=True), boxes((0, 1, 2, 5, 7))
    y = op(x, rois, 2)
    with tc.no_grad():
        rois += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


@both
def test_meta(op: Any) -> None:
    x = ramp(2).to("meta")
    for rois in (boxes((0, 1, 2, 5, 7), (1, 1, 2, 5, 7)), boxes((9, 1, 2, 5, 7), (0, 1, 2, 5, 7)).to("meta")):
        y = op(x, rois, (3, 2))
        assert (y.device, y.shape, y.dtype) == ("meta", (2, 1, 3, 2), np.float64)


def test_align_needs_a_map_only_where_it_has_samples() -> None:
    y = F.roi_align(ramp(), boxes((0, 2, 1, 4, 4)), 1, 1.0, 2)
    assert y.item() == 8 * 2.5 + 3  # a ramp's mean is its value in the middle
    assert F.roi_align(ramp(), boxes((0, 2, 1, 4, 4)), 1, aligned=True).item() == 8 * 2 + 2.5
    assert F.roi_align(ramp(), boxes((0, 32, 16, 64, 64)), 1, spatial_scale=1 / 16).item() == 8 * 2.5 + 3


GOOD = {"x": ramp(2), "boxes": boxes((0, 1, 2, 5, 7)), "output_size": 2}


@both
@pytest.mark.parametrize(
    "changed,kind,message",
    [
        ({"x": Tensor(np.zeros((1, 8, 8)))}, ValueError, r"x must be \(N, C, H, W\), got shape \(1, 8, 8\)"),
        ({"x": Tensor(np.zeros((2, 1, 0, 8)))}, ValueError, "x must have at least one pixel"),
        ({"x": Tensor(np.zeros((2, 1, 8, 8), np.int64))}, TypeError, "x must be float32 or float64, got int64"),
        ({"boxes": boxes((1, 2, 5, 7))}, ValueError, r"boxes must be \(R, 5\), .*, got \(1, 4\)"),
        ({"boxes": Tensor(np.zeros(5))}, ValueError, r"boxes must be \(R, 5\), .*, got \(5,\)"),
        ({"boxes": np.zeros((1, 5))}, TypeError, "boxes must be a Tensor, got ndarray"),
        ({"boxes": boxes((0, 1, 2, 5, 7)).float()}, TypeError, "one dtype, got float64 and float32"),
        ({"boxes": boxes((2, 1, 2, 5, 7))}, IndexError, r"images' indices in boxes must be in \[0, 2\), got 2"),
        ({"boxes": boxes((-1, 1, 2, 5, 7))}, IndexError, r"must be in \[0, 2\), got -1"),
        (
            {"boxes": boxes((0.5, 1, 2, 5, 7))},
            ValueError,
            r"must be the image's index, got \[0\.5",
        ),
        ({"boxes": boxes((0, 1, 2, 5, 7), (0, 1, np.nan, 5, 7))}, ValueError, "boxes must be finite, got .* in row 1"),
        ({"boxes": boxes((0, 1, 2, np.inf, 7))}, ValueError, "boxes must be finite, got .* in row 0"),
        ({"boxes": boxes((np.nan, 1, 2, 5, 7))}, ValueError, "boxes must be finite"),
        ({"boxes": [boxes((1, 2, 5, 7))]}, ValueError, "wanted boxes for each of 2 images, got a list of 1"),
        ({"boxes": [boxes((0, 1, 2, 5, 7))] * 2}, ValueError, r"boxes\[0\] must be \(L, 4\), .* got shape \(1, 5\)"),
        ({"boxes": [boxes((1, 2, 5, 7)), np.zeros((1, 4))]}, TypeError, r"boxes\[1\] must be a Tensor, got ndarray"),
        ({"boxes": boxes((0, 1, 2, 5, 7)).to("meta")}, RuntimeError, 'x and boxes must be on one device, got "cpu"'),
        ({"output_size": 0}, ValueError, "output_size must be at least 1, got 0"),
        ({"output_size": (2, 2, 2)}, TypeError, "output_size must be an int or a pair"),
        ({"spatial_scale": 0}, ValueError, "spatial_scale must be more than 0, got 0"),
        ({"spatial_scale": np.inf}, ValueError, "spatial_scale must be more than 0, got inf"),
        ({"spatial_scale": "1/16"}, TypeError, "spatial_scale must be a number, got '1/16'"),
    ],
)
def test_errors(op: Any, changed: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{op.__name__}: .*{message}"):
        op(**{**GOOD, **changed})


def test_error_of_a_sampling_ratio() -> None:
    with pytest.raises(TypeError, match=r"roi_align: sampling_ratio must be an int, got 2\.5"):
        F.roi_align(**GOOD, sampling_ratio=2.5)
