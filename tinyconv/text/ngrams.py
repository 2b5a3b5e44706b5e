"""What all measures of sentences share: n-grams, a corpus of candidates and references, and their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinyconv.text.tokens import as_words

Sentence = str | Sequence[str]


class Scores(NamedTuple):
    """A score for each candidate.

    Attributes
    ----------
    mean : float
    each : array of float64, (N,)
    """

    mean: float
    each: np.ndarray

    def __repr__(self) -> str:
        return f"{self.mean:.4f} (mean of {len(self.each)})"


def ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """Return how often each run of n neighbouring words occurs; there is none in fewer than n words.

    Examples
    --------
    >>> ngrams(["a", "b", "a", "b"], 2)
    Counter({('a', 'b'): 2, ('b', 'a'): 1})
    """
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def corpus(
    who: str, candidates: Sequence[Sentence], references: Sequence[Sequence[Sentence]]
) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Return the words of every candidate and of its references.

    A candidate may be empty, as a bad model's sentence can be; a reference may not, and every candidate has at least
    one.

    Raises
    ------
    TypeError
        A sentence is neither a string nor a list of words; a string stands where a list of sentences should.
    ValueError
        There are no candidates, not as many lists of references, no reference for one, or an empty one.
    """
    for name, given in (("candidates", candidates), ("references", references)):
        if isinstance(given, str) or not hasattr(given, "__len__"):
            raise TypeError(f"{who}: {name} must be a list with an entry for each image, got {given!r}")
    if len(candidates) != len(references):
        raise ValueError(
            f"{who}: wanted references for each candidate, got {len(candidates)} candidates and "
            f"{len(references)} lists of references"
        )
    if not len(candidates):
        raise ValueError(f"{who}: wanted at least one candidate, got none")
    found = []
    for i, given in enumerate(references):
        if isinstance(given, str) or not hasattr(given, "__len__"):
            raise TypeError(f"{who}: references of candidate {i} must be a list of sentences, got {given!r}")
        found.append([as_words(who, sentence, f"a reference of candidate {i}") for sentence in given])
        if not found[-1]:
            raise ValueError(f"{who}: candidate {i} has no reference")
        if not all(found[-1]):
            raise ValueError(f"{who}: candidate {i} has a reference without words; leave it out")
    return [as_words(who, sentence, f"candidate {i}") for i, sentence in enumerate(candidates)], found
