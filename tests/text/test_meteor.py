"""METEOR with exact matches by hand; the fewest chunks against all alignments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.text import meteor_exact
from tinyconv.text.meteor import alignment

words = st.lists(st.sampled_from("aabc"), max_size=6)


def every_alignment(a: list[str], b: list[str]) -> tuple[int, int]:
    """Return (most matches, fewest chunks with so many), of all ways to give each word a place in b or None."""
    found = []
    for places in itertools.product(*([None, *(j for j, other in enumerate(b) if other == word)] for word in a)):
        taken = [place for place in places if place is not None]
        if len(set(taken)) == len(taken):
            chunks = sum(
                place is not None and not (i and places[i - 1] is not None and places[i - 1] + 1 == place)
                for i, place in enumerate(places)
            )
            found.append((-len(taken), chunks))
    matches, chunks = min(found)
    return -matches, chunks


@given(words, words)
def test_alignment_against_all(a: list[str], b: list[str]) -> None:
    assert alignment(a, b) == every_alignment(a, b)


def test_chunks_by_hand() -> None:
    rows = [
        ("the cat sat on the mat", "the cat sat on the mat", (6, 1)),
        ("on the mat sat the cat", "the cat sat on the mat", (6, 3)),
        ("a b", "a x b", (2, 2)),  # neighbours in one sentence only
        ("a x b", "a b", (2, 2)),
        ("the x the cat", "the cat", (2, 1)),  # the second "the", not the first
        ("b a", "a b a", (2, 1)),
        ("x", "y", (0, 0)),
    ]
    for candidate, reference, wanted in rows:
        assert alignment(candidate.split(), reference.split()) == wanted


def test_scores_by_hand() -> None:
    def one(candidate: str, *references: str) -> float:
        return meteor_exact([candidate], [references]).mean

    assert one("the cat sat on the mat", "the cat sat on the mat") == pytest.approx(1 - 0.5 / 6**3)
    assert one("on the mat sat the cat", "the cat sat on the mat") == pytest.approx(1 - 0.5 * (3 / 6) ** 3)
    # P = 1, R = 1/3: F = 10 P R / (R + 9 P), and two words in one chunk.
    assert one("the cat", "the cat sat on the mat") == pytest.approx(10 / 3 / (1 / 3 + 9) * (1 - 0.5 / 8))
    assert one("the cat sat on the mat", "the cat") == pytest.approx(10 / 3 / (1 + 3) * (1 - 0.5 / 8))
    assert one("a", "a") == 0.5
    assert one("a b", "c", "a x", "b a") == one("a b", "b a") == pytest.approx(0.5)
    assert one("a b", "c", "a b") == one("a b", "a b", "b a") == pytest.approx(1 - 0.5 / 8)


def test_nothing_matches_and_mean() -> None:
    found = meteor_exact(["", "x", "a"], [["a"], ["a b"], ["a", "b"]])
    assert found.each.tolist() == [0, 0, 0.5] and found.mean == pytest.approx(1 / 6)


def test_recall_counts_nine_times_as_much() -> None:
    long, short = "a b c d e f", "a b c"
    assert meteor_exact([long], [[short]]).mean > meteor_exact([short], [[long]]).mean + 0.3


def test_many_repeated_words() -> None:
    """More ways than are followed: still one chunk where it is one, and as many matches as there can be."""
    assert alignment(["a"] * 16, ["a"] * 16) == (16, 1)
    assert alignment(["a"] * 30, ["a"] * 10) == (10, 1)
    rng = np.random.default_rng(0)
    a, b = (rng.choice(["a", "b"], 24).tolist() for _ in range(2))
    matches, chunks = alignment(a, b)
    assert matches == min(a.count("a"), b.count("a")) + min(a.count("b"), b.count("b")) and 1 <= chunks <= matches
    assert alignment(a, b) == (matches, chunks)
