"""Regions of interest and non-maximum suppression on the device = reference: every kind of region, ties, NaN, none."""

import numpy as np
import pytest
from compared import assert_close, assert_equal, both, quick_barriers, rubbish  # noqa: F401 (a fixture)
from on_device import kernels

import tinyconv
from tinyconv import ops
from tinyconv.nn import functional as F

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("quick_barriers")]

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
KINDS = {
    "inside": (0, 100, 5, 60),
    "anywhere": (-150, 250, -30, 200),
    "tiny": (0, 130, 0, 3),
    "far": (-9e3, 9e3, 0, 2e4),
}


def regions(rng, kind, count, images, dtype):
    """Regions of images of 144 x 112 pixels, which with scale 1 / 16 have maps of 9 x 7 cells."""
    low, high, least, most = KINDS[kind]
    corners = rng.uniform(low, high, (count, 2))
    index = rng.integers(0, images, (count, 1))
    return np.concatenate([index, corners, corners + rng.uniform(least, most, (count, 2))], 1).astype(dtype)


@pytest.mark.parametrize("kind", KINDS)
@dtypes
def test_roi_pool(kind, dtype):
    rng = np.random.default_rng(0)
    x, rois = rng.standard_normal((2, 3, 7, 9)).astype(dtype), regions(rng, kind, 9, 2, dtype)
    shape = (9, 3, 3, 4)
    results = both("roi", "roi_pool_forward", x, rois, rubbish(shape, dtype), rubbish(shape, np.int64), 1 / 16)
    assert_equal(results)
    dy = rng.standard_normal(shape).astype(dtype)
    assert_equal(both("roi", "roi_pool_backward", dy, rois, results[0][3], rubbish(x.shape, dtype), 1 / 16))


@pytest.mark.parametrize("values", [(0.0, 1.0), (np.nan, 0.0, 1.0), (-np.inf,), (-np.inf, np.nan)])
def test_roi_pool_ties_and_nan(values):
    rng = np.random.default_rng(1)
    x, rois = rng.choice(values, (2, 2, 7, 9)), regions(rng, "anywhere", 9, 2, np.float64)
    shape = (9, 2, 3, 2)
    assert_equal(both("roi", "roi_pool_forward", x, rois, rubbish(shape), rubbish(shape, np.int64), 1 / 16))


@pytest.mark.parametrize("kind", ["inside", "anywhere", "tiny"])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [-1, 2])
def test_roi_align(kind, ratio, aligned):
    rng = np.random.default_rng(2)
    x, rois = rng.standard_normal((2, 2, 7, 9)), regions(rng, kind, 7, 2, np.float64)
    dy = rng.standard_normal((7, 2, 3, 2))
    rule = 1 / 16, ratio, aligned
    assert_close(both("roi", "roi_align_forward", x, rois, rubbish(dy.shape), *rule))
    assert_close(both("roi", "roi_align_backward", dy, rois, rubbish(x.shape), *rule))


@dtypes
def test_roi_align_dtypes_nan_and_regions_far_larger_than_the_map(dtype):
    rng = np.random.default_rng(3)
    x, rois = rng.standard_normal((1, 2, 7, 9)).astype(dtype), regions(rng, "far", 6, 1, dtype)
    x[0, 0, 3, 4] = np.nan
    assert_close(both("roi", "roi_align_forward", x, rois, rubbish((6, 2, 2, 2), dtype), 1 / 16, 0, True))
    dy = rng.choice([np.nan, 1.0, 2.0], (6, 2, 2, 2)).astype(dtype)
    assert_close(both("roi", "roi_align_backward", dy, rois, rubbish(x.shape, dtype), 1 / 16, 0, True))


def test_no_regions():
    none, x = np.zeros((0, 5)), np.ones((1, 2, 4, 4))
    empty = np.zeros((0, 2, 3, 3))
    both("roi", "roi_pool_forward", x, none, empty, np.zeros(empty.shape, np.int64), 1.0)
    both("roi", "roi_align_forward", x, none, empty, 1.0, 2, False)
    results = both("roi", "roi_pool_backward", empty, none, np.zeros(empty.shape, np.int64), rubbish(x.shape), 1.0)
    assert not results[1][-1].any() and not results[0][-1].any()
    assert not both("roi", "roi_align_backward", empty, none, rubbish(x.shape), 1.0, 2, False)[1][-1].any()


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 150])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_nms(count, threshold):
    rng = np.random.default_rng(count)
    corners = rng.integers(0, 30, (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(-1, 20, (count, 2))], 1)  # some of no area
    for dtype, offset in ((np.float32, 0.0), (np.float64, 1.0)):
        results = both("nms", "nms", boxes.astype(dtype), np.full(count, 77, bool), threshold, offset)
        assert_equal(results)
    if count == 150:
        assert 0 < results[0][1].sum() < 150


def test_regions_and_boxes_of_tensors():
    """Boxes may stay on the CPU, where they are checked without a copy from the device; what is found lies there."""
    kernels("memory")  # or skip
    x = tinyconv.tensor(np.arange(64.0).reshape(1, 1, 8, 8)).to("cuda")
    boxes = tinyconv.tensor(np.array([[0.0, 16, 0, 100, 75]]))
    before, _ = kernels("memory").copies()
    pooled = F.roi_pool(x, boxes, 2, 1 / 16)
    assert kernels("memory").copies()[0] == before
    assert pooled.device == "cuda" and pooled.to("cpu").tolist() == [[[[19, 22], [43, 46]]]]
    for there in (boxes.to("cuda"), [boxes[:, 1:]], [boxes[:, 1:].to("cuda")]):
        assert F.roi_pool(x, there, 2, 1 / 16).to("cpu").tolist() == pooled.to("cpu").tolist()
    with pytest.raises(IndexError, match="roi_align: the images' indices in boxes"):
        F.roi_align(x, tinyconv.tensor(np.array([[1.0, 16, 0, 100, 75]])).to("cuda"), 2)
    row = tinyconv.tensor(np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [6, 0, 16, 10]])).to("cuda")
    kept = ops.nms(row, tinyconv.tensor(np.array([0.8, 0.9, 0.7])).to("cuda"), 0.5)
    assert kept.device == "cuda" and kept.to("cpu").tolist() == [1, 2]
    assert ops.box_iou(row, row).to("cpu").numpy()[0, 1] == 90 / 110
