"""Ranks in both directions: what is first, ties, several sentences of an image, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.text import Ranks, rank


def test_right_answers_first() -> None:
    found = rank(np.eye(20) + 0.01 * np.arange(20), np.arange(20))
    for ranks in found:
        assert ranks.recall(1) == 100 and ranks.median == 1 and ranks.ranks.tolist() == [1] * 20


def test_constant_scores_find_nothing() -> None:
    """The worst place among equals: all other images' sentences come before the own five, all other images, too."""
    found = rank(np.zeros((6, 30)), np.repeat(np.arange(6), 5))
    assert found.annotation.ranks.tolist() == [26] * 6 and found.search.ranks.tolist() == [6] * 30
    assert found.annotation.recall(1) == found.search.recall(1) == found.search.recall(5) == 0
    assert found.search.recall(6) == 100
    assert repr(rank(np.zeros((1, 1)), [0]).search) == "R@1 100.0 %, R@5 100.0 %, R@10 100.0 %, median rank 1"


def test_by_hand() -> None:
    """Images 0 and 1 have two sentences each, not in order; image 2 has one."""
    image_of = np.array([1, 0, 2, 0, 1])
    scores = np.array(
        [
            [5, 4, 3, 2, 1],  # own: 4 and 2; above: 5
            [9, 0, 9, 0, 8],  # own: 9 and 8; as high: the 9 of image 2
            [1, 1, 7, 1, 1],  # own: 7
        ]
    )
    found = rank(scores, image_of)
    assert found.annotation.ranks.tolist() == [2, 2, 1]
    # Columns: 5 | 9 | 1, own 9; 4 | 0 | 1, own 4; 3 | 9 | 7, own 7; 2 | 0 | 1, own 2; 1 | 8 | 1, own 8.
    assert found.search.ranks.tolist() == [1, 1, 2, 1, 1]
    assert found.annotation.recall(1) == pytest.approx(100 / 3) and found.search.recall(1) == 80
    assert found.annotation.median == 2


def test_best_sentence_counts_however_bad_the_others_are() -> None:
    scores = np.array([[9.0, -9, -9, 8], [0, 0, 0, 1]])
    assert rank(scores, [0, 0, 0, 1]).annotation.ranks.tolist() == [1, 1]
    assert rank(scores, [1, 0, 0, 1]).annotation.ranks.tolist() == [3, 1]


@given(st.integers(0, 2**32 - 1))
def test_against_sorting(seed: int) -> None:
    """Without ties a rank is the place in the sorted list."""
    rng = np.random.default_rng(seed)
    images, sentences = 7, 15
    image_of = rng.permutation(np.concatenate([np.arange(images), rng.integers(0, images, sentences - images)]))
    scores = rng.permutation(images * sentences).reshape(images, sentences)
    found = rank(scores, image_of)
    for i in range(images):
        order = np.argsort(-scores[i])
        assert found.annotation.ranks[i] == 1 + np.flatnonzero(image_of[order] == i)[0]
    for s in range(sentences):
        assert found.search.ranks[s] == 1 + np.argsort(-scores[:, s]).tolist().index(image_of[s])
    order = rng.permutation(sentences)
    again = rank(scores[:, order], image_of[order])
    assert again.annotation.ranks.tolist() == found.annotation.ranks.tolist()
    assert again.search.ranks.tolist() == found.search.ranks[order].tolist()


def test_median_begins_at_one() -> None:
    assert Ranks(np.array([1, 2, 9])).median == 2 and Ranks(np.array([4, 1, 9, 3])).median == 3.5


def test_printed() -> None:
    found = rank(np.array([[3, 1], [2, 2]]), [0, 1])
    assert str(found) == (
        "annotation: R@1 50.0 %, R@5 100.0 %, R@10 100.0 %, median rank 1.5; "
        "search: R@1 100.0 %, R@5 100.0 %, R@10 100.0 %, median rank 1"
    )
    ranks = Ranks(np.array([1] * 415 + [2] * 295 + [7] * 90 + [50] * 200))
    assert repr(ranks) == "R@1 41.5 %, R@5 71.0 %, R@10 80.0 %, median rank 2"


def test_infinite_scores_are_scores() -> None:
    found = rank(np.array([[np.inf, 0], [-np.inf, -np.inf]]), [0, 1])
    assert found.annotation.ranks.tolist() == [1, 2] and found.search.ranks.tolist() == [1, 2]


def test_errors() -> None:
    scores = np.arange(6.0).reshape(2, 3)
    with pytest.raises(ValueError, match=r"rank: wanted scores \(I, S\) and image_of \(S,\), got .* \(2, 3\) and \(2,"):
        rank(scores, [0, 1])
    with pytest.raises(ValueError, match=r"got shapes \(6,\) and \(6,\)"):
        rank(scores.ravel(), np.zeros(6, int))
    with pytest.raises(ValueError, match="rank: image 1 has no sentence; leave its row out"):
        rank(scores, [0, 0, 0])
    for wrong in (2, -1):
        with pytest.raises(IndexError, match=rf"rank: image_of must be in 0\.\.1, got {wrong}"):
            rank(scores, [0, 1, wrong])
    with pytest.raises(TypeError, match="rank: image_of must be whole numbers, got float64"):
        rank(scores, [0.0, 1, 1])
    for shape in ((0, 0), (0, 3), (2, 0)):
        with pytest.raises(ValueError, match="rank: wanted at least one image and one sentence, got scores of shape"):
            rank(np.zeros(shape), np.zeros(shape[1], int))
    scores[1, 2] = np.nan
    with pytest.raises(ValueError, match="rank: scores must be numbers, got NaN for image 1 and sentence 2"):
        rank(scores, [0, 1, 1])
    with pytest.raises(ValueError, match="recall: k must be at least 1, got 0"):
        Ranks(np.array([1])).recall(0)
