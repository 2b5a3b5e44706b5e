"""Non-maximum suppression: reference = cpu = a brute force in exact fractions, ties, boxes of no area, both offsets."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from tinyconv_kernels.cpu import nms as cpu
from tinyconv_kernels.reference import nms as reference

modules = pytest.mark.parametrize("module", [reference, cpu])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def kept(module, boxes, threshold, offset=0.0):
    keep = np.full(len(boxes), 77, bool)
    module.nms(np.asarray(boxes), keep, threshold, offset)
    return np.flatnonzero(keep).tolist()


def overlap(a, b, offset):
    """IoU as a fraction."""
    sides = [max(min(a[k + 2], b[k + 2]) - max(a[k], b[k]) + offset, 0) for k in (0, 1)]
    areas = [max(box[2] - box[0] + offset, 0) * max(box[3] - box[1] + offset, 0) for box in (a, b)]
    inter = sides[0] * sides[1]
    union = sum(areas) - inter
    return Fraction(inter, union) if union else Fraction(0)


def brute_force(boxes, threshold, offset):
    found = []
    for i, box in enumerate(boxes):
        if all(overlap(boxes[k], box, offset) <= threshold for k in found):
            found.append(i)
    return found


@dtypes
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [Fraction(0), Fraction(3, 10), Fraction(1, 2), Fraction(2, 3), Fraction(1)])
def test_whole_numbers(threshold, offset, dtype):
    """Small whole numbers meet every threshold exactly, more than once; some boxes have no area."""
    rng = np.random.default_rng(int(10 * threshold))
    ties = 0
    for _ in range(10):
        corners = rng.integers(0, 4, (40, 2))
        boxes = np.concatenate([corners, corners + rng.integers(-1, 7, (40, 2))], 1)
        pairs = itertools.combinations(boxes.tolist(), 2)
        ties += sum(overlap(*pair, offset) == threshold for pair in pairs)
        want = brute_force(boxes.tolist(), threshold, offset)
        for module in (reference, cpu):
            assert kept(module, boxes.astype(dtype), float(threshold), offset) == want
    assert ties > 5


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 1000])  # a CPU compares with 128 kept boxes at a time
@dtypes
def test_cpu_equals_reference(count, dtype):
    rng = np.random.default_rng(count)
    corners = rng.uniform(0, 300, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 90, (count, 2))], 1).astype(dtype)
    for threshold in (0.1, 0.7):
        assert kept(cpu, boxes, threshold) == kept(reference, boxes, threshold)
    if count == 1000:
        assert 128 < len(kept(cpu, boxes, 0.7)) < 1000


@modules
@pytest.mark.parametrize("threshold,wanted", [(0.5, [0, 2]), (0.6, [0, 1, 2]), (0.2, [0])])
def test_three_in_a_row(module, threshold, wanted):
    """With + 1: IoU AB = BC = 70 / 130, AC = 40 / 160. At 0.5 A drops B, which does not drop C."""
    boxes = [[0.0, 0, 9, 9], [3, 0, 12, 9], [6, 0, 15, 9]]
    assert kept(module, boxes, threshold, 1.0) == wanted


@modules
@dtypes
def test_an_iou_of_exactly_the_threshold_is_kept(module, dtype):
    for inter, whole in ((1, 2), (3, 10), (7, 10), (9, 10), (1, 3)):
        boxes = np.array([[0, 0, whole, 7], [0, 0, inter, 7]], dtype)
        assert kept(module, boxes, inter / whole) == [0, 1]
        assert kept(module, boxes, np.nextafter(dtype(inter / whole), dtype(0))) == [0]


@modules
def test_boxes_of_no_area_overlap_nothing(module):
    point, flat, box = [1.0, 1, 1, 1], [0.0, 1, 9, 1], [0.0, 0, 9, 9]
    assert kept(module, [point, point, flat, box, [5.0, 5, 2, 8]], 0.0) == [0, 1, 2, 3, 4]
    assert kept(module, [point, point, box], 0.5, 1.0) == [0, 2]  # with + 1 a point is a pixel
