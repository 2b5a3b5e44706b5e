"""Lesson 06, steps 8 to 10 and the scenes: what they time, count, draw and keep, on detectors that are made up."""

from __future__ import annotations

import re

import numpy as np
import pytest
from _exercises import LESSONS, load

import tinyconv
from tinyconv.vision.detections import Detections

BEGIN = {8: "step8_train", 9: "step9_look_inside", 10: "step10_four_steps"}


@pytest.fixture(scope="module")
def claims():
    return load(LESSONS / "06_rcnn" / "claims.py", "lesson_06_claims_of_measuring")


@pytest.fixture(scope="module")
def steps(claims):
    return {number: claims._step(name) for number, name in BEGIN.items()}


@pytest.fixture(scope="module")
def scenes06(claims):
    return claims._step("scenes06")


@pytest.fixture
def figures(steps, monkeypatch):
    """The figures that step 9 would have saved."""
    found = []
    monkeypatch.setattr(steps[9].lesson, "save", lambda fig, name, *, alt: found.append(fig))
    yield found
    for fig in found:
        steps[9].plt.close(fig)


# ------------------------------------------------------------------------------------------- the scenes and their boxes


@pytest.fixture
def searched(scenes06, monkeypatch):
    """Numbers of scenes that were searched; scene i of them has 10 + i boxes, all of them i."""
    found = []

    def search(source, progress, **settings):
        found.append(len(source))
        return [np.full((10 + i, 4), i, float) for i in range(len(source))]

    monkeypatch.setattr(scenes06, "search", search)
    return found


def test_boxes_are_kept_and_cut_to_the_best(scenes06, searched, tmp_path):
    counts = lambda n, **how: [len(boxes) for boxes in scenes06.proposals(tmp_path, "test", n, **how)]  # noqa: E731
    assert counts(3, top=4) == [4, 4, 4], "the first time"
    assert counts(3, top=11) == [10, 11, 11], "from the file, which has them all"
    assert counts(2) == [10, 11]
    assert [boxes[0, 0] for boxes in scenes06.proposals(tmp_path, "test", 3)] == [0, 1, 2]
    assert searched == [3]


def test_kept_boxes_of_too_few_other_or_otherwise_searched_scenes_are_not_taken(
    scenes06, searched, tmp_path, monkeypatch
):
    for n, seed in ((3, 0), (4, 0), (4, 1), (4, 1)):
        assert len(scenes06.proposals(tmp_path, "test", n, seed)) == n
    assert searched == [3, 4, 4]
    monkeypatch.setitem(scenes06.SEARCH, "lesson", {**scenes06.SEARCH["lesson"], "k": (7,)})
    scenes06.proposals(tmp_path, "test", 4)
    assert searched == [3, 4, 4, 4]


# --------------------------------------------------------------------------------------------------------------- step 8


def test_whole_is_search_and_detection_and_network_is_that_alone(steps, scenes06, monkeypatch):
    """By a clock that the parts move: the network 1,000 s on the first image, which does not count, then 1, 2 and 3.

    R-CNN's warping takes 50,000 s, the search 100, detection 10,000.
    """
    clock, networks, given = [0.0], iter(np.repeat([1000, 1, 2, 3], 3)), []

    def spend(seconds):
        clock[0] += seconds

    def network(model, image, boxes, crops):
        spend(next(networks))
        assert tinyconv.get_num_threads() == 1
        assert len(boxes) == 100 and (crops is None or len(crops) == 100)
        assert (image.min() < 0) == (crops is None), "R-CNN normalises images itself"

    def warp(images, boxes, *how):
        return spend(50_000) or np.zeros((len(boxes), 3, 32, 32))

    class Detector:
        crop, padding = 32, 4

        def prepare(self, image):
            return image

        def detect(self, image, boxes):
            spend(10_000)
            given.append(None if boxes is None else len(boxes))

    monkeypatch.setattr(steps[8], "perf_counter", lambda: clock[0])
    monkeypatch.setattr(steps[8], "network", network)
    monkeypatch.setattr(steps[8], "warp_many", warp)
    monkeypatch.setattr(steps[8], "selective_search", lambda image, **settings: spend(100) or np.zeros((130, 4)))
    before, detectors = tinyconv.get_num_threads(), {name: Detector() for name in steps[8].BUILDERS}
    times = steps[8].seconds(detectors, 3, [np.tile([2.0, 2, 22, 22], (7, 1))] * 3, 0)
    assert times == {"rcnn": (2, 10_100), "fast_rcnn": (2, 10_100), "faster_rcnn": (2, 10_000)}
    assert given == [100, 100, None] * 4
    assert tinyconv.get_num_threads() == before


def test_a_detector_of_another_seed_or_fewer_scenes_is_not_resumed(steps, tmp_path):
    file, other = tmp_path / "rcnn.npz", tmp_path / "fast_rcnn.npz"
    tinyconv.save(file, steps[8].build("rcnn"), seed=2, scenes=8)
    tinyconv.save(other, steps[8].build("fast_rcnn"))
    assert steps[8].fits(file, 2, 8)
    assert not steps[8].fits(file, 0, 8) and not steps[8].fits(file, 2, 9)
    assert not steps[8].fits(other, 2, 8) and not steps[8].fits(tmp_path / "none.npz", 2, 8)


# --------------------------------------------------------------------------------------------------------------- step 9


def lowered(truth, share):
    """Return objects' boxes of which only the upper part is left, so that this is their IoU."""
    boxes = truth.boxes.astype(float)
    boxes[:, 3] = boxes[:, 1] + share * (boxes[:, 3] - boxes[:, 1])
    return boxes


def test_recall_is_drawn_at_two_overlaps(steps, scenes06, figures, monkeypatch, capsys):
    """The network's boxes have an IoU of 0.6 with the objects, those of the search 0.8, in every other scene."""
    truths = scenes06.dataset("test", 6).truths()
    monkeypatch.setattr(steps[9], "proposals_of", lambda model, data, count: [lowered(t, 0.6) for t in truths])
    boxes = [lowered(t, 0.8) if i % 2 else np.zeros((0, 4)) for i, t in enumerate(truths)]
    counts = [len(t.boxes) for t in truths]
    share = sum(counts[1::2]) / sum(counts)
    assert 0 < share < 1
    steps[9].draw_recall(None, 6, boxes)
    rows = dict(re.findall(r"^(.*?0\.[57]) .* ([\d.]+)$", capsys.readouterr().out, re.MULTILINE))
    drawn = {line.get_label(): line.get_ydata()[-1] for line in figures[0].axes[0].lines}
    wanted = {("network", "0.5"): 1, ("network", "0.7"): 0}
    wanted |= {("selective search", "0.5"): share, ("selective search", "0.7"): share}
    for (who, overlap), recall in wanted.items():
        (line,) = (value for label, value in drawn.items() if who in label and label.endswith(overlap))
        (printed,) = (value for label, value in rows.items() if who in label and label.endswith(overlap))
        assert line == pytest.approx(recall)
        assert float(printed) == pytest.approx(recall, abs=6e-4)


def test_an_svm_says_yes_above_0_a_softmax_above_one_half(steps, scenes06, figures, monkeypatch, capsys):
    """All objects are found, with scores of 0.2 in three scenes and 0.6 in the other three."""
    truths = scenes06.dataset("test", 6).truths()
    found = [Detections(t.boxes, t.labels, np.full(len(t.boxes), 0.2 + 0.4 * (i % 2))) for i, t in enumerate(truths)]
    given = []

    def detect_all(model, data, proposals):
        given.append(proposals)
        return found, None

    monkeypatch.setattr(steps[9], "detect_all", detect_all)
    steps[9].compare(dict.fromkeys(steps[9].TITLES), 6, "boxes")
    right = dict(re.findall(r"^(R-CNN|Fast R-CNN|Faster R-CNN) +(\d+)", capsys.readouterr().out, re.MULTILINE))
    counts = [len(t.boxes) for t in truths]
    half = sum(counts[1::2])
    assert half < sum(counts)
    assert right == {"R-CNN": str(sum(counts)), "Fast R-CNN": str(half), "Faster R-CNN": str(half)}
    assert given == ["boxes", "boxes", None]


def test_the_worst_scenes_are_those_with_the_most_mistakes(steps, scenes06, figures):
    """Scene 5 misses everything and has three boxes where nothing is; scene 2 has one such box."""
    source = scenes06.scenes("test", 6)
    found = [Detections(t.boxes, t.labels, np.ones(len(t.boxes))) for t in map(source.truth, range(6))]
    nothing = np.array([[0.0, 0, 1, 1]] * 3)
    found[5] = Detections(nothing, np.zeros(3, int), np.ones(3))
    found[2] = Detections(*(np.concatenate([a, b[:1]]) for a, b in zip(found[2], found[5], strict=True)))
    steps[9].show(found, 6)
    titles = [tuple(map(int, re.findall(r"\d+", axis.get_title()))) for axis in figures[0].axes]
    missed = len(source.truth(5).boxes)
    assert titles == [(0, 0), (1, 0), (2, 1), (3, 0), (5, 3 + missed), (2, 1), (0, 0), (1, 0)]


# -------------------------------------------------------------------------------------------------------------- step 10


def test_recall_of_four_steps_is_that_of_each_scenes_own_objects(steps, monkeypatch, capsys):
    """Proposals are the objects themselves, but for every other scene there are none."""
    counts = []

    def proposals_of(model, data, count=None):
        if count is not None:
            assert count == 20
            counts.append([len(truth.boxes) for truth in data.truths()])
        return [t.boxes if i % 2 else np.zeros((0, 4), np.float32) for i, t in enumerate(data.truths())]

    monkeypatch.setattr(steps[10], "train_detector", lambda *_, **how: None)
    monkeypatch.setattr(steps[10], "proposals_of", proposals_of)
    recalls = steps[10].four_steps(steps[8].build("faster_rcnn"), 4, 1, 6)
    assert [len(scenes) for scenes in counts] == [6, 6, 6]
    assert 0 < sum(counts[0][1::2]) < sum(counts[0])
    assert recalls == pytest.approx([sum(counts[0][1::2]) / sum(counts[0])] * 3)
