"""Tests of tasks 6.1 to 6.4: ``pytest lessons/06_rcnn``, or one task with ``-k 6_3``."""

import importlib.util
import types
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import ops, vision
from tinyconv.data import Scenes
from tinyconv.vision import voc_eval
from tinyconv.vision.detections import Detections, truth
from tinyconv.vision.selective_search import felzenszwalb, hierarchy

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_06_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

# -------------------------------------------------------------------------------------------------- 6.1: box regression

encoding = pytest.mark.task(
    id="6.1", points=2, minutes=15, difficulty=1, hint="shifts in widths and heights of the proposal, not of the truth"
)


def some_boxes(rng, n=50):
    """Return n boxes of 5 to 40 pixels in a picture of 100."""
    corner, size = rng.uniform(0, 60, (n, 2)), rng.uniform(5, 40, (n, 2))
    return np.concatenate([corner, corner + size], axis=1)


@encoding
def test_6_1_by_hand():
    """A box of 19 x 39, and one of 23 x 31 whose centre is 4 to the right and at the same height."""
    proposals, wanted = np.array([[10.0, 20, 29, 59]]), np.array([[12.0, 24, 35, 55]])
    found = exercises.encode_boxes(proposals, wanted)
    np.testing.assert_allclose(found, [[0.2105263, 0, 0.1910552, -0.2295744]], atol=1e-7)
    np.testing.assert_allclose(exercises.decode_boxes(proposals, found), wanted, atol=1e-9)


@encoding
def test_6_1_one_undoes_the_other_and_neither_changes_its_arguments():
    rng = np.random.default_rng(1)
    proposals, wanted = some_boxes(rng), some_boxes(rng)
    kept = proposals.copy(), wanted.copy()
    deltas = exercises.encode_boxes(proposals, wanted)
    assert deltas.shape == (50, 4)
    np.testing.assert_allclose(exercises.decode_boxes(proposals, deltas), wanted, atol=1e-9)
    np.testing.assert_array_equal(proposals, kept[0])
    np.testing.assert_array_equal(wanted, kept[1])


@encoding
def test_6_1_is_the_librarys():
    rng = np.random.default_rng(2)
    proposals, wanted, deltas = some_boxes(rng), some_boxes(rng), rng.standard_normal((50, 4))
    np.testing.assert_allclose(
        exercises.encode_boxes(proposals, wanted), vision.boxes.encode_boxes(proposals, wanted), atol=1e-9
    )
    np.testing.assert_allclose(
        exercises.decode_boxes(proposals, deltas), vision.boxes.decode_boxes(proposals, deltas), rtol=1e-9, atol=1e-9
    )


@encoding
def test_6_1_decoding_changes_nothing_even_where_it_limits():
    proposals, deltas = np.array([[10.0, 10, 14, 12]]), np.array([[0.5, -0.5, 1000, -1000]])
    before = proposals.copy(), deltas.copy()
    exercises.decode_boxes(proposals, deltas)
    np.testing.assert_array_equal(proposals, before[0])
    np.testing.assert_array_equal(deltas, before[1], err_msg="the deltas were changed")


@encoding
def test_6_1_no_box_grows_without_limit():
    """62.5 times the size around the same centre; a small box stays small."""
    proposals = np.array([[10.0, 10, 14, 12]] * 3)
    deltas = np.array([[0.0, 0, 1000, 1000], [0, 0, np.log(62.5), -1000], [0, 0, 1, -1]])
    found = exercises.decode_boxes(proposals, deltas)
    np.testing.assert_allclose(found[0], [12 - 125, 11 - 62.5, 12 + 125, 11 + 62.5])
    np.testing.assert_allclose(found[1], [12 - 125, 11, 12 + 125, 11], err_msg="exp(-1000) is 0, and no error")
    np.testing.assert_allclose(found[2, 2:] - found[2, :2], [4 * np.e, 2 / np.e])
    smaller = exercises.decode_boxes(proposals[:1], deltas[:1], largest=2.0)
    np.testing.assert_allclose(smaller, [[8, 9, 16, 13]])


# ----------------------------------------------------------------------------------------- 6.2: non-maximum suppression

suppressing = pytest.mark.task(
    id="6.2", points=3, minutes=20, difficulty=2, hint="a box that was dropped drops no other, so its turn is skipped"
)


def kept(boxes, threshold, offset=0.0, begin=False):
    """Return what the student's kernel writes, over ``begin``."""
    keep = np.full(len(boxes), begin)
    assert exercises.nms(np.asarray(boxes), keep, threshold, offset) is None
    return keep.tolist()


@suppressing
@pytest.mark.parametrize("begin", [True, False])
@pytest.mark.parametrize(
    ("threshold", "wanted"), [(0.5, [True, False, True]), (0.6, [True, True, True]), (0.2, [True, False, False])]
)
def test_6_2_by_hand(threshold, wanted, begin):
    """A, B, C of 10 x 10 pixels, each 3 further to the right: IoU 70 / 130 twice, 40 / 160. B, dropped, spares C."""
    boxes = np.array([[0.0, 0, 9, 9], [3, 0, 12, 9], [6, 0, 15, 9]])
    found = kept(boxes, threshold, 1.0, begin)
    assert found == wanted, "A, B, C; where B is dropped by A it must not drop C"


@suppressing
def test_6_2_exactly_the_threshold_drops_nothing():
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    assert kept(boxes, 0.5) == [True, True]
    assert kept(boxes, 0.499) == [True, False]


@suppressing
def test_6_2_every_box_that_stays_drops_others():
    """Three far apart; the fourth lies on the second, the fifth on the third, the sixth on the fourth, half of it."""
    boxes = np.array([[x, 0.0, x + 10, 10] for x in (0, 20, 40, 22, 42, 26)])
    assert kept(boxes, 0.5) == [True, True, True, False, False, True]


@suppressing
def test_6_2_offset_is_added_to_both_sides():
    """4 x 4 and 4 x 2: IoU 1 / 2; with the offset 5 x 5 and 5 x 3: 3 / 5."""
    boxes = np.array([[0.0, 0, 4, 4], [0, 0, 4, 2]])
    assert kept(boxes, 0.55, 0.0) == [True, True]
    assert kept(boxes, 0.55, 1.0) == [True, False]
    assert kept(boxes, 0.61, 1.0) == [True, True]


@suppressing
def test_6_2_boxes_apart_or_without_area_have_iou_0():
    """Two of them have negative width and height of the intersection, whose product would be an area."""
    boxes = np.array([[0.0, 0, 10, 10], [30, 30, 40, 40], [5, 5, 5, 9], [5, 5, 5, 9]])
    assert kept(boxes, 0.0) == [True] * 4
    assert kept(np.empty((0, 4)), 0.5) == []


@suppressing
def test_6_2_a_box_the_wrong_way_round_has_no_area():
    """Not -16 pixels, with which the union would be negative, and every intersection larger than a part of it."""
    boxes = np.array([[0.0, 0, 2, 2], [9, 0, 5, 4], [9, 0, 5, 4]])
    assert kept(boxes, 0.5) == [True] * 3


def exercises_with(*names):
    """Return a module of some of the student's functions, so that no other task is asked."""
    module = types.ModuleType("kernels of your own")
    for name in names:
        setattr(module, name, getattr(exercises, name))
    return module


@suppressing
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.7])
def test_6_2_in_the_librarys_ops(dtype, threshold):
    """Your kernel under ``tinyconv.ops.nms``, which sorts by score first."""
    rng = np.random.default_rng(3)
    boxes, scores = some_boxes(rng, 200).astype(dtype), rng.permutation(200).astype(dtype)
    args = tinyconv.tensor(boxes), tinyconv.tensor(scores), threshold
    wanted = ops.nms(*args).numpy()
    with tinyconv.backend(exercises_with("nms")):
        found = ops.nms(*args).numpy()
    why = f"ops.nms with your kernel keeps other boxes than the library; threshold {threshold}"
    np.testing.assert_array_equal(found, wanted, err_msg=why)
    assert 5 < len(wanted) < 195


# ----------------------------------------------------------------------------------------------- 6.3: average precision

averaging = pytest.mark.task(
    id="6.3", points=4, minutes=30, difficulty=2, hint="first a list of right and wrong, then its cumulative sums"
)


def judged(flags, count, metric):
    """Return the answer for detections in this order, of which some hit an object of ``count``, each another one."""
    hit = np.array(flags, bool)
    objects = np.where(hit, np.cumsum(hit) - 1, -1)
    scores = np.linspace(1, 0, len(flags))
    return exercises.average_precision(scores, np.where(hit, 0.8, 0.2), objects, np.zeros(count, bool), metric)


@averaging
@pytest.mark.parametrize(
    ("flags", "count", "eleven", "area"),
    [
        ([1, 1, 0, 1], 4, 7.5 / 11, 0.6875),
        ([1, 0, 1, 1, 0, 0, 1, 0], 5, 0.6493506, 0.6142857),
        ([1] * 3, 3, 1.0, 1.0),
        ([0, 0], 3, 0.0, 0.0),
        ([], 3, 0.0, 0.0),
        ([0, 1, 1, 1], 10, (3 * 0.75 + 0.75) / 11, 0.225),
    ],
)
def test_6_3_by_hand(flags, count, eleven, area):
    """Precisions 1, 1, 2/3, 3/4 at recalls 1/4, 2/4, 2/4, 3/4, and so on; 3 of 10 reach t = 0.3."""
    assert judged(flags, count, "11-point") == pytest.approx(eleven, abs=1e-7)
    assert judged(flags, count, "all-point") == pytest.approx(area, abs=1e-7)


@averaging
def test_6_3_a_recall_is_reached_or_not():
    """59 of 200 are 0.295, not 0.3: three recalls of eleven are reached; with one more, four."""
    assert judged([1] * 59, 200, "11-point") == pytest.approx(3 / 11)
    assert judged([1] * 60, 200, "11-point") == pytest.approx(4 / 11)


@averaging
def test_6_3_eleven_points_are_the_default():
    """One of two objects: six of the eleven recalls are reached."""
    args = np.array([0.5]), np.array([0.9]), np.array([0]), np.zeros(2, bool)
    assert exercises.average_precision(*args) == pytest.approx(6 / 11)


@averaging
def test_6_3_the_second_hit_of_an_object_is_wrong():
    """By score: hits A, hits A again, hits B; 2 objects: right, wrong, right."""
    args = np.array([0.7, 0.9, 0.8]), np.array([0.6, 0.6, 0.99]), np.array([1, 0, 0]), np.zeros(2, bool)
    assert exercises.average_precision(*args, "all-point") == pytest.approx(0.5 + 0.5 * 2 / 3)


@averaging
def test_6_3_an_overlap_of_one_half_is_not_enough():
    args = np.array([0.9]), np.array([0.5]), np.array([0]), np.zeros(1, bool)
    assert exercises.average_precision(*args, "all-point") == 0
    nearly = np.array([0.9]), np.array([0.5001]), np.array([0]), np.zeros(1, bool)
    assert exercises.average_precision(*nearly, "all-point") == 1


@averaging
def test_6_3_difficult_objects_do_not_count():
    """By score: hits the difficult one twice, wrong, hits the other: wrong, right of one object."""
    scores, overlaps = np.array([0.9, 0.85, 0.8, 0.7]), np.array([0.7, 0.9, 0.4, 0.8])
    args = scores, overlaps, np.array([1, 1, 0, 0]), np.array([False, True])
    assert exercises.average_precision(*args, "all-point") == pytest.approx(0.5)
    far = scores, np.array([0.4, 0.9, 0.4, 0.8]), np.array([1, 1, 0, 0]), np.array([False, True])
    assert exercises.average_precision(*far, "all-point") == pytest.approx(1 / 3), "near a difficult one is wrong"


@averaging
def test_6_3_nothing_to_find_is_not_a_number():
    args = np.array([0.9]), np.array([0.8]), np.array([0])
    assert np.isnan(exercises.average_precision(*args, np.array([True])))
    assert np.isnan(exercises.average_precision(np.array([0.9]), np.array([0.0]), np.array([-1]), np.zeros(0, bool)))


@averaging
@pytest.mark.parametrize("metric", ["11-point", "all-point"])
def test_6_3_is_the_librarys(metric):
    """30 images with one to three objects of a class, some difficult, boxes around them; some scores are equal."""
    rng = np.random.default_rng(4)
    found, there, overlaps, objects, scores, hard, count = [], [], [], [], [], [], 0
    for _ in range(30):
        boxes = some_boxes(rng, rng.integers(0, 4))
        flags = rng.random(len(boxes)) < 0.3
        near = np.repeat(boxes, 3, axis=0) + rng.normal(0, 4, (3 * len(boxes), 4))
        rest = some_boxes(rng, 2)
        mine = np.concatenate([near, rest])
        values = rng.integers(0, 20, len(mine)) / 20
        found.append(Detections(mine, np.zeros(len(mine), int), values))
        there.append(truth(boxes, np.zeros(len(boxes), int), flags))
        overlap = vision.box_iou(mine, boxes)
        overlaps += overlap.max(1, initial=0).tolist()
        objects += (count + overlap.argmax(1)).tolist() if len(boxes) else [-1] * len(mine)
        scores, hard, count = scores + values.tolist(), hard + flags.tolist(), count + len(boxes)
    wanted = voc_eval.evaluate_detections(found, there, ["thing"])
    wanted = wanted.mean_eleven_point if metric == "11-point" else wanted.mean_all_point
    arrays = (np.array(part) for part in (scores, overlaps, objects, hard))
    assert 0.1 < wanted < 0.9
    assert exercises.average_precision(*arrays, metric) == pytest.approx(wanted, abs=1e-9)


# ------------------------------------------------------------------------------------------------- 6.4: merging regions

merging = pytest.mark.task(
    id="6.4", points=3, minutes=20, difficulty=1, hint="weigh the histograms with the numbers of pixels"
)


def region(mask, colours, bins=4):
    """Return the region of an image's pixels where the mask is true."""
    rows, columns = np.nonzero(mask)
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
    return int(mask.sum()), box, np.bincount(colours[mask], minlength=bins) / mask.sum()


def rectangle(rows, columns, size=10):
    """Return a mask."""
    mask = np.zeros((size, size), bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


@merging
def test_6_4_size_and_fill_by_hand():
    """10 x 10 pixels; three regions of 10, the first two side by side, the third in the opposite corner."""
    flat = np.zeros((10, 10), int)
    one, two, far = (region(rectangle(*at), flat) for at in (((0, 2), (0, 5)), ((2, 4), (0, 5)), ((8, 10), (5, 10))))
    (colour, size, fill), (count, box, histogram) = exercises.merge_regions(one, two, 100)
    assert (colour, size, fill) == pytest.approx((1.0, 0.8, 1.0))
    assert count == 20
    np.testing.assert_array_equal(box, [0, 0, 5, 4])
    np.testing.assert_array_equal(histogram, [1, 0, 0, 0])
    assert exercises.merge_regions(one, far, 100)[0] == pytest.approx((1.0, 0.8, 0.2))


@merging
def test_6_4_colour_by_hand():
    one = 4, np.array([0.0, 0, 2, 2]), np.array([0.5, 0.5, 0, 0])
    two = 12, np.array([2.0, 0, 5, 4]), np.array([0.25, 0, 0.75, 0])
    (colour, size, fill), (count, box, histogram) = exercises.merge_regions(one, two, 40)
    assert (colour, size, fill) == pytest.approx((0.25, 0.6, 0.9))
    assert count == 16
    np.testing.assert_allclose(box, [0, 0, 5, 4])
    np.testing.assert_allclose(histogram, [5 / 16, 2 / 16, 9 / 16, 0])


@merging
def test_6_4_merged_is_what_would_be_counted_from_the_pixels():
    rng = np.random.default_rng(5)
    colours, owner = rng.integers(0, 4, (10, 10)), rng.integers(0, 4, (10, 10)) ** 2 // 3  # of unequal sizes
    masks = [owner == i for i in (0, 1, 3)]
    parts = [region(mask, colours) for mask in masks]
    before = [(count, box.copy(), histogram.copy()) for count, box, histogram in parts]
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        i, j, k = order
        merged = exercises.merge_regions(exercises.merge_regions(parts[i], parts[j], 100)[1], parts[k], 100)[1]
        wanted = region(masks[0] | masks[1] | masks[2], colours)
        assert merged[0] == wanted[0]
        np.testing.assert_array_equal(merged[1], wanted[1])
        np.testing.assert_allclose(merged[2], wanted[2])
    for part, old in zip(parts, before, strict=True):
        assert part[0] == old[0]
        np.testing.assert_array_equal(part[1], old[1], err_msg="a region's box was changed")
        np.testing.assert_array_equal(part[2], old[2], err_msg="a region's histogram was changed")


@merging
def test_6_4_goes_up_the_librarys_hierarchy():
    image = Scenes(1, seed=3, items=("mnist",))[0].image
    tree = hierarchy(image, felzenszwalb(image, 60, min_size=8), "csf")
    n, area = len(tree.children) + 1, int(tree.sizes[-1])
    assert n > 5
    for t, (i, j) in enumerate(tree.children):
        parts = [(int(tree.sizes[k]), tree.boxes[k], tree.colours[k]) for k in (i, j)]
        similarity, merged = exercises.merge_regions(*parts, area)
        wanted = [tree.similarity(int(i), int(j), measure) for measure in "csf"]
        np.testing.assert_allclose(similarity, wanted, atol=1e-9)
        assert merged[0] == tree.sizes[n + t]
        np.testing.assert_array_equal(merged[1], tree.boxes[n + t])
        np.testing.assert_allclose(merged[2], tree.colours[n + t], atol=1e-9)
