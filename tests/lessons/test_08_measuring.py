"""Lesson 08, steps 4 to 6: what they count and draw, on scenes and scores that are made up."""

from __future__ import annotations

import numpy as np
import pytest
from _exercises import LESSONS, load
from _steps import check_step, run_step

from tinyconv.captioning.regions import Regions
from tinyconv.captioning.snippets import Snippets
from tinyconv.text import Vocabulary
from tinyconv.vision.detections import truth

LESSON = LESSONS / "08_captioning"
STEPS = ("step4_regions", "step5_alignment", "step6_segments")


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims_alignment.py", "lesson_08_claims_of_measuring")


@pytest.fixture(scope="module")
def small(claims):
    return claims._step("alignment08")


@pytest.fixture(scope="module")
def words():
    return Vocabulary(["<end>", "a", "one", "two", "is"], [2, 4, 3, 2, 1])


@pytest.fixture
def seen(small):
    """Two scenes: a 1 and a 2, side by side, and a distractor; two 1s. Three sentences."""
    whole, left, right, off = [0, 0, 64, 64], [0, 0, 20, 30], [40, 0, 60, 30], [0, 40, 20, 60]
    boxes = np.array([[whole, left, right, off], [whole, left, right, [0] * 4]], np.float32)
    regions = Regions(boxes, np.ones((2, 4, 3), np.float32), np.array([4, 3]))
    ids = [[np.array([1, 2, 4, 1, 3])], [np.array([1, 2]), np.array([3])]]
    rows = np.array([[1, 2, 4, 1, 3], [1, 2, -1, -1, -1], [3, -1, -1, -1, -1]])
    truths = [truth(boxes[0, 1:3], np.array([1, 2])), truth(boxes[1, 1:3], np.array([1, 1]))]
    return small.Seen(regions, ids, rows, np.array([0, 1, 1]), truths)


@pytest.mark.parametrize("step", STEPS)
def test_steps_say_what_they_need_and_run(step, tmp_path):
    check_step(LESSON / f"{step}.py")
    printed = run_step(LESSON / f"{step}.py", tmp_path)
    assert "next: step" in printed
    assert {
        "step4_regions": "by hand: ",
        "step5_alignment": "by chance",
        "step6_segments": "4^5, the library's: equal",
    }[step] in printed


# --------------------------------------------------------------------------------------------------------------- step 4


def test_a_region_is_worth_something_if_it_shows_an_object(claims, seen):
    """Scene 0: two of three regions show both objects; scene 1: both regions, both objects."""
    step = claims._step("step4_regions")
    assert step.worth(seen.regions, seen.truths) == (2.5, 4 / 5, 1.0)
    without = seen.regions._replace(counts=np.array([4, 2]))
    assert step.worth(without, seen.truths) == (2, 3 / 4, 3 / 4)
    nothing = seen.regions._replace(counts=np.array([1, 1]))
    assert step.worth(nothing, seen.truths) == (0, 0, 0)


def test_covered_is_the_share_of_an_object(claims):
    covered = claims._step("step4_regions").covered
    objects = np.array([[0.0, 0, 10, 10], [20, 0, 40, 10]])
    assert covered(np.array([[5.0, 0, 25, 10]]), objects) == 0.5
    assert covered(np.array([[5.0, 5, 25, 10], [50, 50, 60, 60]]), objects) == 0.25
    assert covered(np.array([[50.0, 50, 60, 60]]), objects) == 0


def test_nearest_mean(claims):
    right = claims._step("step4_regions").nearest_mean(
        np.array([[0.0, 0], [2, 0], [10, 0], [12, 0]]), np.array(["x", "x", "y", "y"]),
        np.array([[5.0, 1], [7, 0], [-9, 0], [30, 0]]), np.array(["x", "x", "x", "y"]),
    )  # fmt: skip
    assert right == 0.75, "7 is nearer to 11 than to 1"


# --------------------------------------------------------------------------------------------------------------- step 5


def test_words_of_digits_are_judged_by_their_own_scenes_boxes(small, words, seen):
    """Scene 0: "one" points at the 1, "two" at nothing; scene 1: "one" at a 1, "two" is true of no box there."""
    won = np.zeros((3, 5), int)
    won[0, 1], won[0, 4], won[1, 1], won[2, 0] = 1, 3, 2, 1
    right, count, chance = small.grounded(words, seen, won)
    assert count.tolist() == [0, 2, 2, 0, 0, 0, 0, 0, 0, 0]
    assert right.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(chance[:3], [0, 1 / 4 + 2 / 3, 1 / 4])
    won[0, 1], won[0, 4] = 2, 2
    assert small.grounded(words, seen, won)[0].tolist()[:3] == [0, 1, 1], "the 1's word at the 2 is wrong"


def test_a_region_shows_an_object_from_an_iou_of_one_half_on(small, seen):
    moved = seen.regions.boxes.copy()
    for shift, shows in ((6, True), (7, False)):  # IoU 14 / 26 and 13 / 27
        moved[0, 1] = [shift, 0, 20 + shift, 30]
        other = seen._replace(regions=seen.regions._replace(boxes=moved))
        assert small.shown(other, 1, 0).tolist() == [False, shows, False, False]


def test_the_longest_sentence(small, seen):
    assert [small.longest(seen, i) for i in (0, 1)] == [0, 1]


def test_norms_are_means_over_test_sentences(claims, words, seen):
    class Model:
        def norms(self, rows):
            return np.where(rows >= 0, 10.0 * rows + np.arange(3)[:, None], 0)

    found = claims._step("step5_alignment").norms(Model(), words, seen)
    assert found == {"a": pytest.approx((10 + 10 + 11) / 3), "one": 20.5, "two": 31.0, "is": 40.0}


def test_features_are_level_over_training_regions_only(small, claims, monkeypatch):
    """Regions that a scene has not, and test scenes, have no say; places come after it."""
    scenes08, given = claims._step("scenes08"), {}

    def regions(detector, drawn, seed, kind):
        n = len(drawn)
        features = np.full((n, 7, 2), 1000.0, np.float32)
        features[:, :2] = [[3, 9], [9, 3]] if drawn.split == "train" else 60
        boxes = np.tile(np.array([16, 0, 48, 32], np.float32), (n, 7, 1))
        boxes[:, 0] = [0, 0, 64, 64]
        given[drawn.split] = seed, kind
        return Regions(boxes, features, np.full(n, 2))

    monkeypatch.setattr(small, "regions", regions)
    train, test = small.look(None, 4, "detected", (12, 3), places=True)
    assert given == {"train": (4, "detected"), "test": (4, "detected")}
    np.testing.assert_allclose(train.regions.features[:, 1], np.tile([3, 1, 0, -2, 0, 0], (12, 1)), rtol=1e-5)
    np.testing.assert_allclose(test.regions.features[:, 1, :2], 20, rtol=1e-5)
    plain, _ = small.look(None, 4, "detected", (12, 3), places=False)
    np.testing.assert_array_equal(plain.regions.features, train.regions.features[..., :2])
    vocabulary, drawn = scenes08.vocabulary(4, 12), scenes08.scenes("test", 3, 4)
    assert test.image_of.tolist() == [i for i in range(3) for _ in drawn.sentences[i]]
    wanted = [vocabulary.encode(sentence).tolist() for of in drawn.sentences for sentence in of]
    assert [row[row >= 0].tolist() for row in test.words] == wanted


# --------------------------------------------------------------------------------------------------------------- step 6


def test_viterbi_by_hand_and_by_trying(claims):
    step = claims._step("step6_segments")
    found = {0: [0, 1, 0, 1], 0.04: [0, 1, 0, 1], 0.06: [0, 0, 0, 1], 2.9: [0, 0, 0, 1], 3.1: [0, 0, 0, 0]}
    for beta, regions in found.items():
        assert step.by_hand(step.EXAMPLE, beta) == step.by_trying(step.EXAMPLE, beta) == regions


def test_segments_are_counted_over_all_sentences(claims, words, seen, monkeypatch):
    """Sentence 0 is a, one | is | a, two by a beta of 0, one piece by a large one; the others have one word or two."""
    step, scores = claims._step("step6_segments"), np.zeros((3, 5, 4))
    scores[0, [0, 1], 1] = scores[0, 2, 3] = scores[0, [3, 4], 2] = 5
    scores[1, [0, 1], 2] = scores[2, 0, 1] = 5
    scores[0, :, 1] += 0.1
    monkeypatch.setattr(step, "match", lambda model, given: scores)
    found = step.cut(None, words, seen)
    assert list(found) == [0, 0.1, 0.3, 1, 3, 10, 100]
    # 8 words in 3 + 1 + 1 pieces; right: both words of scene 0, "one" of scene 1, not its "two".
    assert found[0] == (8 / 5, 3 / 4)
    # In one piece all of sentence 0 goes to region 1: "two" is no longer right.
    assert found[100] == (8 / 3, 2 / 4)


def test_common_snippets_are_those_of_true_boxes(claims, words, seen):
    parts = Snippets(
        np.array([0, 0, 0, 1, 1, 0]), np.array([1, 2, 3, 1, 2, 1]),
        [np.array(ids) for ids in ([1, 2], [1, 3], [1, 2], [2], [1, 2], [1, 2])],
    )  # fmt: skip
    common = claims._step("step6_segments").common
    assert common(parts, words, seen, 1) == [("a one", 3), ("one", 1)], "of region 3 nothing, it is no box of a 1"
    assert common(parts, words, seen, 2) == [("a two", 1)]
    assert common(parts, words, seen, 1, most=1) == [("a one", 3)]
