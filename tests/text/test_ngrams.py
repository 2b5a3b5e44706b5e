"""n-grams, and what every measure of sentences takes, refuses and prints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tinyconv.text import Scores, bleu, cider_d, meteor_exact, ngrams, rouge_l

measures = pytest.mark.parametrize("measure", [bleu, cider_d, meteor_exact, rouge_l], ids=lambda f: f.__name__)
CANDIDATES = ["a big three is left of a seven", "there is a two"]
REFERENCES = [["A big three is to the left of a seven.", "there is a seven"], ["there is a small two"]]


def numbers(result: object) -> list[np.ndarray]:
    """Return all that a measure found."""
    return [np.asarray(part) for part in (result if isinstance(result, tuple) else vars(result).values())]


def test_ngrams() -> None:
    words = "the cat the cat sat".split()
    assert ngrams(words, 1) == {("the",): 2, ("cat",): 2, ("sat",): 1}
    assert ngrams(words, 2) == {("the", "cat"): 2, ("cat", "the"): 1, ("cat", "sat"): 1}
    assert ngrams(words, 5) == {tuple(words): 1} and ngrams(words, 6) == ngrams([], 1) == {}


@measures
def test_strings_and_words_are_the_same(measure: Callable) -> None:
    words = [sentence.lower().strip(".").split() for sentence in CANDIDATES]
    references = [tuple(tuple(s.lower().strip(".").split()) for s in group) for group in REFERENCES]
    for a, b in zip(numbers(measure(CANDIDATES, REFERENCES)), numbers(measure(words, references)), strict=True):
        np.testing.assert_array_equal(a, b)


@measures
def test_words_given_as_such_are_not_tokenised(measure: Callable) -> None:
    """So a vocabulary's "<end>" or a capital is a word of its own, in candidates as in references."""
    same, other = (measure([["A", "t-shirt"], ["b"]], [[[word, "t-shirt"]], [["c"]]]) for word in ("A", "a"))
    assert any((a != b).any() for a, b in zip(numbers(same), numbers(other), strict=True))


@measures
def test_order_of_references_does_not_matter(measure: Callable) -> None:
    swapped = [group[::-1] for group in REFERENCES]
    for a, b in zip(numbers(measure(CANDIDATES, REFERENCES)), numbers(measure(CANDIDATES, swapped)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


@measures
def test_errors(measure: Callable) -> None:
    who = measure.__name__
    with pytest.raises(ValueError, match=f"{who}: wanted references for each candidate, got 2 candidates and 1 lists"):
        measure(CANDIDATES, REFERENCES[:1])
    with pytest.raises(ValueError, match=f"{who}: wanted at least one candidate, got none"):
        measure([], [])
    with pytest.raises(ValueError, match=f"{who}: candidate 1 has no reference"):
        measure(CANDIDATES, [REFERENCES[0], []])
    for empty in ("", " .", []):
        with pytest.raises(ValueError, match=f"{who}: candidate 1 has a reference without words; leave it out"):
            measure(CANDIDATES, [REFERENCES[0], ["a", empty]])
    for wrong in ("a dog", None, 3):
        with pytest.raises(TypeError, match=f"{who}: candidates must be a list with an entry .*, got {wrong!r}"):
            measure(wrong, REFERENCES)
        with pytest.raises(TypeError, match=f"{who}: references must be a list with an entry .*, got {wrong!r}"):
            measure(CANDIDATES, wrong)
        with pytest.raises(TypeError, match=f"{who}: references of candidate 1 must be a list .*, got {wrong!r}"):
            measure(CANDIDATES, [REFERENCES[0], wrong])
    with pytest.raises(TypeError, match=f"{who}: candidate 0 must be a string or a list of words, got 3"):
        measure([3, "a"], REFERENCES)
    with pytest.raises(TypeError, match=f"{who}: a reference of candidate 1 must be a string or a list of words, got"):
        measure(CANDIDATES, [REFERENCES[0], [None]])


def test_scores_are_printed_in_one_line() -> None:
    found = Scores(0.61234, np.array([0.5, 0.72468]))
    mean, each = found
    assert repr(found) == "0.6123 (mean of 2)" and mean == 0.61234 and each[0] == 0.5
