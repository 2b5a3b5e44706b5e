"""The best regions of a sentence's words, against all assignments; runs of equal regions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinyconv.text import segments, viterbi

SCORES = np.array([[2, 0], [0.9, 1], [2, 0], [0, 3]])


def energy(scores: np.ndarray, regions: tuple[int, ...], beta: float) -> float:
    """Return E of the docstring."""
    gains = [scores[t, region] for t, region in enumerate(regions)]
    return sum(gains) + beta * sum(a == b for a, b in itertools.pairwise(regions))


def best(scores: np.ndarray, beta: float) -> tuple[int, ...]:
    """Return the first of the best assignments, in the order of tuples: of all of them."""
    every = itertools.product(range(scores.shape[1]), repeat=len(scores))
    return max(every, key=lambda regions: energy(scores, regions, beta))  # of equal ones the first


@pytest.mark.parametrize(
    "beta, regions",
    [
        (0, [0, 1, 0, 1]),
        (0.049, [0, 1, 0, 1]),
        (0.051, [0, 0, 0, 1]),
        (1, [0, 0, 0, 1]),
        (2.999, [0, 0, 0, 1]),
        (3.001, [0, 0, 0, 0]),
        (1e6, [0, 0, 0, 0]),
    ],
)
def test_worked_example(beta: float, regions: list[int]) -> None:
    found = viterbi(SCORES, beta)
    assert found.tolist() == regions == list(best(SCORES, beta)) and found.dtype == np.int64


# Quarters add up exactly, so that ties are ties.
quarters = st.integers(-12, 12).map(lambda n: n / 4)
sizes = st.tuples(st.integers(1, 5), st.integers(1, 4))


@given(sizes.flatmap(lambda size: arrays(np.float64, size, elements=quarters)), st.integers(0, 12))
def test_against_all_assignments(scores: np.ndarray, quarter: int) -> None:
    """The first of the best ones, ties and all."""
    assert tuple(viterbi(scores, quarter / 4)) == best(scores, quarter / 4)


@given(sizes.flatmap(lambda size: arrays(np.float64, size, elements=quarters)))
def test_beta_at_both_ends(scores: np.ndarray) -> None:
    assert viterbi(scores, 0).tolist() == scores.argmax(1).tolist()
    assert viterbi(scores, 1e4).tolist() == [int(scores.sum(0).argmax())] * len(scores)


@given(st.integers(0, 2**32 - 1))
def test_a_larger_beta_never_has_more_segments(seed: int) -> None:
    scores = np.random.default_rng(seed).standard_normal((8, 5))
    runs = [len(segments(viterbi(scores, beta))) for beta in (0, 0.1, 0.5, 1, 2, 4, 100)]
    assert runs == sorted(runs, reverse=True) and runs[-1] == 1


def test_ties_go_to_the_smaller_region() -> None:
    assert viterbi(np.zeros((3, 4)), 0).tolist() == viterbi(np.zeros((3, 4)), 1).tolist() == [0, 0, 0]
    # With beta = 1 staying in 1 for both words and switching to 0 are worth the same: the smaller region.
    assert viterbi(np.array([[0.0, 2], [1, 0]]), 1).tolist() == [1, 0]
    # Switching from 0 to 1, and staying in 0: staying is the smaller.
    assert viterbi(np.array([[2.0, 0], [0, 1]]), 1).tolist() == [0, 0]


def test_a_region_that_cannot_be() -> None:
    scores = np.array([[1, -np.inf], [-np.inf, 1], [0, 5.0]])
    assert viterbi(scores, 100).tolist() == [0, 1, 1]
    assert viterbi(np.array([[3, -np.inf], [0, -np.inf]]), 0).tolist() == [0, 0]


def test_one_word_one_region_and_no_words() -> None:
    assert viterbi(np.array([[1.0, 3, 3]]), 5).tolist() == [1]
    assert viterbi(np.array([[1], [-2], [0]]), 0.5).tolist() == [0, 0, 0]
    for shape in ((0, 3), (0, 0)):
        found = viterbi(np.zeros(shape), 1)
        assert found.shape == (0,) and found.dtype == np.int64


def test_scores_stay_as_they_are() -> None:
    scores = SCORES.copy()
    viterbi(scores, 1)
    assert scores.tolist() == SCORES.tolist()
    assert viterbi(SCORES.astype(np.float32), 1).tolist() == viterbi(SCORES.tolist(), 1).tolist() == [0, 0, 0, 1]


def test_long_sentences_lose_nothing() -> None:
    """Thousands of words of one region after thousands of another: one switch, where it belongs."""
    scores = np.zeros((4000, 2))
    scores[:1500, 0] = scores[1500:, 1] = 0.01
    assert [tuple(s) for s in segments(viterbi(scores, 1))] == [(0, 0, 1500), (1, 1500, 4000)]


def test_segments() -> None:
    assert segments([2, 2, 0, 2]) == [(2, 0, 2), (0, 2, 3), (2, 3, 4)]
    assert segments(np.array([5])) == [(5, 0, 1)] and segments([]) == []
    first = segments(np.array([1, 1, 3]))[0]
    assert (first.region, first.start, first.stop) == (1, 0, 2) and all(type(number) is int for number in first)


@given(st.lists(st.integers(0, 3), max_size=12))
def test_segments_cover_the_sentence(regions: list[int]) -> None:
    found = segments(regions)
    assert [region for region, start, stop in found for _ in range(start, stop)] == regions
    assert all(a.region != b.region and a.stop == b.start for a, b in itertools.pairwise(found))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"viterbi: scores must be \(T, M\), got shape \(4,\)"):
        viterbi(np.zeros(4), 1)
    with pytest.raises(ValueError, match="viterbi: wanted at least one region, got none; the whole image can be one"):
        viterbi(np.zeros((2, 0)), 1)
    for bad in (np.nan, np.inf):
        wrong = SCORES.copy()
        wrong[2, 1] = bad
        with pytest.raises(ValueError, match=f"viterbi: scores must be no NaN and no inf, got {bad} for word 2"):
            viterbi(wrong, 1)
    with pytest.raises(ValueError, match="viterbi: word 1 has no finite score, so no region can be its own"):
        viterbi(np.array([[0, 1], [-np.inf, -np.inf]]), 1)
    for beta in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"viterbi: beta must be a finite number of 0 or more, got {beta}"):
            viterbi(SCORES, beta)
    for beta in (None, "1", True, [1]):
        with pytest.raises(TypeError, match="viterbi: beta must be a number, got "):
            viterbi(SCORES, beta)
    with pytest.raises(ValueError, match=r"segments: regions must be \(T,\), got shape \(1, 2\)"):
        segments([[1, 2]])
