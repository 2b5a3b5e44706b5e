"""The challenge's average precision: curves by hand, who finds what, difficult objects, duplicates, empty cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.vision import Detections, Truth, truth
from tinyconv.vision.voc_eval import average_precision, evaluate_detections, precision_recall, recall_and_mabo

BOX = [0.0, 0, 10, 10]
FAR = [50.0, 50, 60, 60]


def found(*rows: tuple[list[float], float], label: int = 0) -> Detections:
    """Return detections of one class from (box, score)."""
    boxes = np.array([box for box, _ in rows], float).reshape(-1, 4)
    return Detections(boxes, np.full(len(rows), label), np.array([score for _, score in rows], float))


def flags(detections: list[Detections], truths: list[Truth], **options: float) -> list[bool]:
    """Return the true and false positives of class 0 as they follow from the curve's precision."""
    curve = evaluate_detections(detections, truths, ["a"], **options).curves[0]
    true = np.rint(curve.precision * np.arange(1, len(curve.precision) + 1)).astype(int)
    return np.diff(true, prepend=0).astype(bool).tolist()


def test_average_precision_by_hand() -> None:
    short = [True, True, False, True]
    assert average_precision(short, 4) == pytest.approx(7.5 / 11, abs=1e-12)
    assert average_precision(short, 4, "all-point") == 0.6875
    long = [True, False, True, True, False, False, True, False]
    recall, precision = precision_recall(long, 5)
    np.testing.assert_allclose(recall, [0.2, 0.2, 0.4, 0.6, 0.6, 0.6, 0.8, 0.8])
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3, 3 / 4, 3 / 5, 1 / 2, 4 / 7, 1 / 2])
    assert average_precision(long, 5, "all-point") == pytest.approx(0.6142857, abs=1e-7)
    assert average_precision(long, 5) == pytest.approx(0.6493506, abs=1e-7)
    # The Python script's thresholds miss a recall of exactly 3/5.
    script = [precision[recall >= t].max(initial=0) for t in np.arange(0, 1.1, 0.1)]
    assert np.mean(script) == pytest.approx(0.6331169, abs=1e-7)


def test_average_precision_of_exact_tenths() -> None:
    """A recall of t/10 itself counts, for every t: t of ten objects found and nothing else give AP = (t + 1) / 11."""
    for t in range(1, 11):
        assert average_precision([True] * t, 10) == pytest.approx((t + 1) / 11)
        assert average_precision([True] * t, 10, "all-point") == pytest.approx(t / 10)


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 5))
def test_all_point_is_the_mean_over_objects(given_flags: list[bool], missed: int) -> None:
    """Each found object adds the best precision at its own or a higher recall; each missed one adds 0."""
    positives = sum(given_flags) + missed
    if not positives:
        assert np.isnan(average_precision(given_flags, positives, "all-point"))
        return
    precision = [sum(given_flags[: i + 1]) / (i + 1) for i in range(len(given_flags))]
    wanted = sum(max(precision[i:]) for i, flag in enumerate(given_flags) if flag) / positives
    assert average_precision(given_flags, positives, "all-point") == pytest.approx(wanted)


def test_threshold_is_exceeded_not_met() -> None:
    half = found(([0, 0, 10, 5], 0.9))  # IoU exactly .5
    assert flags([half], [truth([BOX], [0])]) == [False]
    assert flags([half], [truth([BOX], [0])], threshold=0.499) == [True]
    assert flags([found(([0, 0, 10, 5.1], 0.9))], [truth([BOX], [0])]) == [True]


def test_plus_one_convention() -> None:
    """Boxes (0, 0, 9, 9) and (0, 0, 9, 4) are 10 x 10 and 10 x 5 pixels with +1: IoU .5; with +0 it is 4 / 9."""
    boxes, there = found(([0, 0, 9, 4], 0.9)), truth([[0.0, 0, 9, 9]], [0])
    assert flags([boxes], [there], threshold=0.49, offset=1) == [True]
    assert flags([boxes], [there], threshold=0.49, offset=0) == [False]
    assert flags([boxes], [there], threshold=0.44, offset=0) == [True]


def test_duplicates() -> None:
    twice = found((BOX, 0.9), (BOX, 0.8))
    assert flags([twice], [truth([BOX], [0])]) == [True, False]
    # The second one overlaps another object by more than .5, too, but less: it is no second choice.
    beside = [0.0, 2, 10, 12]
    result = evaluate_detections([twice], [truth([BOX, beside], [0, 0])], ["a"])
    assert result.curves[0].recall.tolist() == [0.5, 0.5] and result.curves[0].precision.tolist() == [1, 0.5]
    # The better score finds the object, wherever it stands in the list.
    assert flags([found((BOX, 0.2), (BOX, 0.7))], [truth([BOX], [0])]) == [True, False]


def test_difficult_objects_count_neither_way() -> None:
    there = truth([BOX, FAR], [0, 0], [True, False])
    result = evaluate_detections([found((BOX, 0.9), (BOX, 0.8), (FAR, 0.7))], [there], ["a"])
    assert result.objects.tolist() == [1]
    assert result.curves[0].scores.tolist() == [0.7]
    assert result.all_point.tolist() == [1] and result.eleven_point.tolist() == pytest.approx([1])
    # Too far from the difficult object, it is a false positive as ever.
    missed = evaluate_detections([found(([0, 0, 10, 4], 0.9), (FAR, 0.7))], [there], ["a"])
    assert missed.all_point.tolist() == [0.5]
    only = evaluate_detections([found((BOX, 0.9))], [truth([BOX], [0], [True])], ["a"])
    assert np.isnan(only.all_point).all() and only.objects.tolist() == [0]


def test_images_and_classes_are_apart_and_scores_are_not() -> None:
    images = [truth([BOX], [0]), truth([BOX, FAR], [1, 0])]
    first = found((FAR, 0.95), (BOX, 0.5))  # FAR is in the other image
    second = Detections(np.array([BOX, BOX, FAR]), np.array([0, 1, 0]), np.array([0.9, 0.8, 0.7]))
    result = evaluate_detections([first, second], images, ["a", "b"])
    np.testing.assert_array_equal(result.curves[0].scores, [0.95, 0.9, 0.7, 0.5])
    np.testing.assert_allclose(result.curves[0].precision, [0, 0, 1 / 3, 1 / 2])
    np.testing.assert_allclose(result.curves[0].recall, [0, 0, 1 / 2, 1])
    assert result.all_point.tolist() == pytest.approx([0.5, 1])
    assert result.mean_all_point == pytest.approx(0.75)


def test_order_does_not_matter(rng: np.random.Generator) -> None:
    truths, detections = [], []
    for _ in range(6):
        corners = rng.uniform(0, 30, (5, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 20, (5, 2))], axis=1)
        labels = rng.integers(0, 3, 5)
        truths.append(truth(boxes, labels, rng.random(5) < 0.2))
        detections.append(
            Detections(np.repeat(boxes, 2, 0) + rng.normal(0, 1.5, (10, 4)), np.repeat(labels, 2), rng.random(10))
        )
    result = evaluate_detections(detections, truths, ["a", "b", "c"])
    assert 0.1 < result.mean_all_point < 1
    order = rng.permutation(6)
    shuffled = []
    for i in order:
        rows = rng.permutation(10)
        shuffled.append(Detections(*(part[rows] for part in detections[i])))
    other = evaluate_detections(shuffled, [truths[i] for i in order], ["a", "b", "c"])
    np.testing.assert_array_equal(other.all_point, result.all_point)
    np.testing.assert_array_equal(other.eleven_point, result.eleven_point)


def test_nothing_found_and_nothing_there() -> None:
    nothing = found()
    missed = evaluate_detections([nothing], [truth([BOX], [1])], ["a", "b"])
    assert np.isnan(missed.all_point[0]) and missed.all_point[1] == 0
    assert missed.mean_all_point == 0 and missed.mean_eleven_point == 0
    assert missed.curves[1].recall.shape == (0,)
    invented = evaluate_detections([found((BOX, 0.9))], [truth([], [])], ["a"])
    assert np.isnan(invented.all_point).all() and np.isnan(invented.mean_all_point)
    assert invented.curves[0].precision.tolist() == [0]
    none = evaluate_detections([], [], ["a"])
    assert np.isnan(none.eleven_point).all() and none.objects.tolist() == [0]


def test_detection_without_area_finds_nothing() -> None:
    assert flags([found(([5, 5, 5, 5], 0.9), ([9, 9, 1, 1], 0.8))], [truth([BOX], [0])]) == [False, False]


def test_object_without_area_is_found_by_nothing() -> None:
    flat = Truth([[5, 5, 5, 5], BOX], [0, 0], [False, False])  # by hand: truth() takes none; lists will do
    result = evaluate_detections([Detections([[5, 5, 5, 5], BOX], [0, 0], [0.9, 0.8])], [flat], ["a"])
    assert result.objects.tolist() == [2]
    assert result.curves[0].precision.tolist() == [0, 0.5] and result.curves[0].recall.tolist() == [0, 0.5]
    # One pixel in the +1 convention.
    assert flags([found(([5, 5, 5, 5], 0.9))], [flat], offset=1) == [True]


def test_table() -> None:
    one = found((BOX, 0.9), (FAR, 0.3))
    one = one._replace(labels=np.array([0, 2]))
    result = evaluate_detections([one], [truth([BOX], [0])], ["zero", "one", "two"])
    assert str(result).splitlines() == [
        "class  objects  detections  11-point  all-point",
        "zero         1           1     1.000      1.000",
        "two          0           1         -          -",
        "mean         1           2     1.000      1.000",
        "(1 classes without objects and detections left out)",
    ]


def test_recall_and_mean_best_overlap() -> None:
    objects = [np.array([BOX, FAR]), np.zeros((0, 4)), np.array([BOX])]
    # Best overlaps: .8 (the second proposal; the first has .5), 0, and .5.
    proposals = [
        np.array([[0, 0, 10, 5.0], [0, 0, 10, 8], [80, 80, 90, 90]]),
        np.array([BOX]),
        np.array([[0, 0, 5, 10]]),
    ]
    recall, mabo = recall_and_mabo(proposals, objects)
    assert recall == pytest.approx(2 / 3) and mabo == pytest.approx(1.3 / 3)  # IoU .5 itself counts
    assert recall_and_mabo(proposals, objects, threshold=0.6)[0] == pytest.approx(1 / 3)
    assert recall_and_mabo(proposals, objects, top=1) == pytest.approx((2 / 3, 1 / 3))
    assert recall_and_mabo([np.zeros((0, 4))] * 3, objects) == (0, 0)
    assert recall_and_mabo(proposals, objects, top=0) == (0, 0)
    assert np.isnan(recall_and_mabo(proposals[:1], objects[1:2])).all()
    with pytest.raises(ValueError, match="recall_and_mabo: wanted proposals and objects of the same images, got 1, 3"):
        recall_and_mabo(proposals[:1], objects)


def test_errors() -> None:
    there = [truth([BOX], [0])]
    with pytest.raises(ValueError, match="wanted detections and truth of the same images, got 0, 1"):
        evaluate_detections([], there, ["a"])
    with pytest.raises(ValueError, match="scores must be numbers, image 0 has NaN"):
        evaluate_detections([found((BOX, np.nan))], there, ["a"])
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.0, image 0 has another detection"):
        evaluate_detections([found((BOX, 0.9), label=1)], there, ["a"])
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.0, image 0 has another object"):
        evaluate_detections([found()], [truth([BOX], [1])], ["a"])
    with pytest.raises(ValueError, match=r"boxes must be \(\.\.\., 4\), got shape \(1, 3\)"):
        evaluate_detections([Detections(np.zeros((1, 3)), np.array([0]), np.array([1.0]))], there, ["a"])
    for parts in ((2, 1, 2), (2, 2, 1), (1, 2, 2)):
        boxes, labels, scores = np.array([BOX, FAR])[: parts[0]], np.zeros(2, int)[: parts[1]], np.ones(2)[: parts[2]]
        wanted = r"wanted boxes \(R, 4\), R labels and R {}, image 0 has "
        with pytest.raises(ValueError, match=wanted.format("scores")):
            evaluate_detections([Detections(boxes, labels, scores)], there, ["a"])
        with pytest.raises(ValueError, match=wanted.format("flags")):
            evaluate_detections([found()], [Truth(boxes, labels, scores == 0)], ["a"])
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1, image 0 has another detection"):
        evaluate_detections([Detections(np.array([BOX]), np.array([0.5]), np.ones(1))], there, ["a", "b"])
    for classes in (None, 3, "ab", [1, 2]):
        with pytest.raises(TypeError, match="evaluate_detections: classes must be a sequence of names, .* got "):
            evaluate_detections([found()], there, classes)
    with pytest.raises(ValueError, match="metric must be one of '11-point', 'all-point', got '2007'"):
        average_precision([True], 1, "2007")
    with pytest.raises(ValueError, match=r"at most positives=1 of them true, got shape \(2,\) with 2"):
        precision_recall([True, True], 1)
