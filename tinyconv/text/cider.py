"""How well a sentence agrees with most of its references, rare words counting more. See :func:`cider_d`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tinyconv.text.ngrams import Scores, Sentence, corpus, ngrams

ORDERS = (1, 2, 3, 4)
SIGMA = 6.0

Vector = dict[tuple[str, ...], float]


def cider_d(candidates: Sequence[Sentence], references: Sequence[Sequence[Sentence]]) -> Scores:
    """Return CIDEr-D of each candidate, and the mean.

    An n-gram weighs g = tf idf: how often it is in the sentence, times log N - log max(1, df), where df of the N images
    have it in a reference. For a candidate c and one of its references r

        sim_n = sum min(g_c, g_r) g_r / (|g_c| |g_r|)  exp(-(l_c - l_r)^2 / (2 * 6^2))

    and the score is 10 times the mean of sim_n over n = 1..4 and over the references: 10 for a candidate that equals
    all of its references, if it has n-grams of every order with some weight. The length l is the number of bigrams, as
    in the authors' program, so one less than the words. Where a sentence has no n-gram, or none of any weight,
    sim_n = 0.

    The references given are also the corpus that decides which n-grams are rare: scores of different test sets do not
    compare. In particular n-grams that describe every image weigh nothing, and for a single image that is all of them:
    its score is 0, whatever the sentence.

    Parameters
    ----------
    candidates : sequence of N sentences
        Strings, which :func:`~tinyconv.text.tokens.tokenise` cuts, or lists of words; an empty one scores 0.
    references : sequence of N lists of sentences
        Of each image.

    Returns
    -------
    Scores
        In [0, 10] each.

    Raises
    ------
    TypeError
        A sentence is neither a string nor a list of words; a string stands where a list should.
    ValueError
        No candidates, not as many lists of references, a candidate without references, a reference without words.

    References
    ----------
    Vedantam et al. 2015, sec. 5 and 6 (CIDEr-D).

    Examples
    --------
    >>> cider_d(["a big red dog runs", "two cats"], [["a big red dog runs"], ["two small cats"]]).each.round(3).tolist()
    [10.0, 2.013]
    """
    sentences, truths = corpus("cider_d", candidates, references)
    counts = [[[ngrams(words, n) for n in ORDERS] for words in group] for group in truths]
    df = Counter(gram for group in counts for gram in set().union(*(grams for one in group for grams in one)))
    images = np.log(len(sentences))
    idf = {gram: float(images - np.log(number)) for gram, number in df.items()}
    unseen = float(images)  # of n-grams that are in no reference

    def weigh(grams: Counter[tuple[str, ...]]) -> tuple[Vector, float]:
        vector = {gram: count * idf.get(gram, unseen) for gram, count in grams.items()}
        return vector, float(np.sqrt(sum(value * value for value in vector.values())))

    each = np.zeros(len(sentences))
    for i, (words, group) in enumerate(zip(sentences, counts, strict=True)):
        own = [weigh(ngrams(words, n)) for n in ORDERS]
        for reference, length in zip(group, map(len, truths[i]), strict=True):
            # One bigram less than words in both; a sentence without words scores 0 in any case.
            penalty = np.exp(-((len(words) - length) ** 2) / (2 * SIGMA**2))
            each[i] += penalty * sum(_similarity(*a, *weigh(b)) for a, b in zip(own, reference, strict=True))
        each[i] *= 10 / (len(ORDERS) * len(group))
    return Scores(float(each.mean()), each)


def _similarity(a: Vector, a_norm: float, b: Vector, b_norm: float) -> float:
    """Return the cosine of two vectors, of which the first is nowhere taken for more than the second."""
    if not a_norm or not b_norm:
        return 0.0
    return sum(min(value, b[gram]) * b[gram] for gram, value in a.items() if gram in b) / (a_norm * b_norm)
