"""CIDEr-D by hand: rare words, clipping, lengths, what weighs nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinyconv.text import cider_d

# Of two images: "a" describes both and weighs nothing; b, c and both bigrams weigh log 2.
REFERENCES = [["a b"], ["a c"]]


def first(candidate: str, references: list | None = None) -> float:
    """Return the score of the first of two images."""
    return cider_d([candidate, "a c"], references or REFERENCES).each[0]


@pytest.mark.parametrize(
    "candidate, score",
    [
        ("a b", 10 * (1 + 1) / 4),  # no trigrams
        ("b", 10 * 1 / 4 * math.exp(-1 / 72)),  # one bigram less
        ("b b", 10 * 1 / 2 / 4),  # min(2, 1) * 1 / (2 * 1); the bigram is another
        ("b z", 10 / math.sqrt(2) / 4),  # a word of no reference weighs as much as a rare one
        ("b a", 10 * 1 / 4),
        ("a", 0),  # no weight
        ("z", 0),
        ("", 0),
        ("a a b b b", 10 * (1 / 3 + 1 / math.sqrt(6)) / 4 * math.exp(-9 / 72)),  # aa, ab, bb twice: 1 + 1 + 4
    ],
)
def test_by_hand(candidate: str, score: float) -> None:
    assert first(candidate) == pytest.approx(score, abs=1e-12)


def test_frequencies_are_of_images_not_of_sentences() -> None:
    """The word b stands in three references, but of one image only: df = 1, and it weighs log 2 as before."""
    several = [["a b", "b b b", "x b"], ["a c"]]
    assert first("b z", [several[0][:1], several[1]]) == pytest.approx(10 / math.sqrt(2) / 4)
    # Each reference alone, then the mean. Of "b b b" the candidate "b" has min(1, 3) * 3 / (1 * 3) = 1.
    each = [math.exp(-1 / 72), math.exp(-4 / 72), math.exp(-1 / 72) / math.sqrt(2)]
    assert first("b", several) == pytest.approx(10 * np.mean(each) / 4)


def test_three_images_weigh_by_logarithms() -> None:
    """a: df 3, 0. b: df 2, log 3/2. c: df 1, log 3."""
    found = cider_d(["b c", "a", "a"], [["a b c"], ["a b"], ["a"]])
    b, c = math.log(1.5), math.log(3)
    # bigrams "a b" (df 2) and "b c" (df 1) of the reference, only "b c" of the candidate
    two = c * c / (c * math.sqrt(b * b + c * c))
    assert found.each[0] == pytest.approx(10 * (1 + two) / 4 * math.exp(-1 / 72))
    assert found.each[1:].tolist() == [0, 0]


def test_perfect_and_mean() -> None:
    """10 for a sentence of four words or more that is its only reference, and shares nothing with other images'."""
    same = ["a big three is here", "two small fives stand there", "nine"]
    found = cider_d(same, [[sentence] for sentence in same])
    np.testing.assert_allclose(found.each, [10, 10, 2.5], rtol=1e-14)
    assert found.mean == pytest.approx(7.5)


def test_one_image_scores_nothing() -> None:
    found = cider_d(["a big three"], [["a big three"]])
    assert found.mean == 0 and found.each.tolist() == [0]
    # And so do sentences that describe every image.
    assert cider_d(["a b c d"] * 3, [["a b c d"]] * 3).each.tolist() == [0, 0, 0]


def test_candidates_do_not_change_the_weights() -> None:
    found = cider_d(["a b", "b b b b"], REFERENCES)
    assert found.each[0] == pytest.approx(5)
