"""Labels of proposals by overlap, and samples of a fixed size."""

from __future__ import annotations

import numpy as np
import pytest

from tinyconv.vision.sampling import label_proposals, sample_proposals

BOXES, LABELS = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]]), np.array([3, 0])


def test_a_proposal_shows_the_object_that_it_overlaps_most() -> None:
    # IoU with the first box: 1, 0.5 exactly, 0.2; the last lies over the second object.
    proposals = np.array([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 2], [21, 0, 30, 10], [50, 50, 60, 60]])
    classes, overlaps, matched = label_proposals(proposals, BOXES, LABELS)
    assert classes.tolist() == [4, 4, 0, 1, 0]  # class + 1; at exactly one half it is an object
    np.testing.assert_allclose(overlaps, [1, 0.5, 0.2, 0.9, 0])
    assert matched.tolist()[:4] == [0, 0, 0, 1]


def test_without_objects_or_proposals() -> None:
    classes, overlaps, matched = label_proposals(np.ones((3, 4)), np.zeros((0, 4)), np.zeros(0))
    assert classes.tolist() == overlaps.tolist() == matched.tolist() == [0, 0, 0]
    assert [len(part) for part in label_proposals(np.zeros((0, 4)), BOXES, LABELS)] == [0, 0, 0]


@pytest.mark.parametrize(("objects", "wanted"), [(100, 16), (16, 16), (5, 5), (0, 0)])
def test_a_quarter_are_objects_if_there_are_so_many(objects: int, wanted: int, rng: np.random.Generator) -> None:
    classes = np.array([1] * objects + [0] * 200)
    overlaps = np.array([0.9] * objects + [0.05] * 100 + [0.3] * 100)
    some = sample_proposals(classes, overlaps, 64, rng)
    assert len(some) == len(set(some.tolist())) == 64
    assert (classes[some] > 0).sum() == wanted
    assert set(overlaps[some][classes[some] == 0]) == {0.3}  # 0.05 is too easy
    easy = sample_proposals(classes, overlaps, 64, rng, background=(0.0, 0.5))
    assert 0.05 in overlaps[easy]


def test_background_begins_at_the_lower_bound_and_ends_before_the_upper(rng: np.random.Generator) -> None:
    overlaps = np.array([0.1, 0.3, 0.5, 0.09, 0.51])
    assert sorted(sample_proposals(np.zeros(5, int), overlaps, 64, rng).tolist()) == [0, 1]
    assert sample_proposals(np.zeros(5, int), overlaps, 64, rng, background=(0.3, 0.5)).tolist() == [1]
    # Where none is between them, those below the upper one.
    assert sorted(sample_proposals(np.zeros(5, int), overlaps, 64, rng, background=(0.2, 0.3)).tolist()) == [0, 3]


def test_what_is_missing_is_not_made_up(rng: np.random.Generator) -> None:
    few = sample_proposals(np.array([1, 0, 0]), np.array([0.8, 0.2, 0.4]), 64, rng)
    assert sorted(few.tolist()) == [0, 1, 2]
    # No object in the image: background of any overlap, or it would teach nothing.
    assert sorted(sample_proposals(np.zeros(3, int), np.zeros(3), 64, rng).tolist()) == [0, 1, 2]
    assert len(sample_proposals(np.zeros(0, int), np.zeros(0), 64, rng)) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"count": -1}, {"share": 2}, {"share": -0.1}, {"share": np.nan}]
    + [{"background": bounds} for bounds in ((-0.1, 0.5), (0.5, 0.1), (0.3, 0.3), (0.1, 2), (np.nan, 0.5))],
)
def test_errors(wrong: dict, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="sample_proposals: wanted count >= 0, a share in .*, got "):
        sample_proposals(**{"classes": np.zeros(3, int), "overlaps": np.zeros(3), "count": 2, "rng": rng, **wrong})
