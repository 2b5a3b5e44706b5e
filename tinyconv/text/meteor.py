"""Precision, recall and order of a sentence's words against its references. See :func:`meteor_exact`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tinyconv.text.ngrams import Scores, Sentence, corpus

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
WIDTH = 4096  # ways of aligning that are followed at once


def meteor_exact(candidates: Sequence[Sentence], references: Sequence[Sequence[Sentence]]) -> Scores:
    """Return METEOR of each candidate with exact matches only, in the form of 2005, and the mean.

    Words of the candidate are aligned with equal ones of a reference, as many as possible, each with at most one. With
    m of them, P = m / words of the candidate, R = m / words of the reference, F = P R / (.9 P + .1 R), so recall counts
    nine times as much. The aligned words fall into chunks, runs that are neighbours in both sentences in the same
    order; score = F (1 - .5 (chunks / m)^3). Of several references the best counts.

    **This is not the METEOR that papers on captions report.** Theirs (version 1.5) also matches stems, synonyms and
    paraphrases, which needs WordNet and tables, weighs content and function words differently, and sums over the corpus
    before it divides. Compare these figures with each other only.

    Parameters
    ----------
    candidates : sequence of N sentences
        Strings, which :func:`~tinyconv.text.tokens.tokenise` cuts, or lists of words; an empty one scores 0.
    references : sequence of N lists of sentences

    Returns
    -------
    Scores
        In [0, 1) each; m equal words in the same order score 1 - .5 / m^3.

    Raises
    ------
    TypeError
        A sentence is neither a string nor a list of words; a string stands where a list should.
    ValueError
        No candidates, not as many lists of references, a candidate without references, a reference without words.

    References
    ----------
    Banerjee & Lavie 2005, sec. 2. There the alignment with the fewest crossings is taken; the fewest chunks are version
    1.5's rule, Denkowski & Lavie 2014, sec. 2.

    Examples
    --------
    >>> meteor_exact(["on the mat sat the cat"], [["the cat sat on the mat"]])
    0.9375 (mean of 1)
    """
    pairs = zip(*corpus("meteor_exact", candidates, references), strict=True)
    each = np.array([max(_score(candidate, words) for words in truths) for candidate, truths in pairs])
    return Scores(float(each.mean()), each)


def _score(candidate: Sequence[str], reference: Sequence[str]) -> float:
    matches, chunks = alignment(candidate, reference)
    if not matches:
        return 0.0
    precision, recall = matches / len(candidate), matches / len(reference)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return mean * (1 - GAMMA * (chunks / matches) ** BETA)


def alignment(candidate: Sequence[str], reference: Sequence[str]) -> tuple[int, int]:
    """Return how many words can be aligned, and the fewest chunks into which these fall.

    The candidate is read word by word, and all ways of aligning it so far are kept that differ in which words of the
    reference are taken or where the last one is. If there are more than 4096 of these, which needs several words that
    are repeated many times, those with the fewest chunks go on, and the result may be a chunk too many.

    Examples
    --------
    >>> alignment("the cat saw the dog".split(), "the dog saw the cat".split())
    (5, 3)
    """
    there, here = Counter(reference), Counter(candidate)
    # A word that the candidate has more often than the reference must be passed over this many times, no more.
    spare = {word: max(number - there[word], 0) for word, number in here.items()}
    places = {word: [j for j, other in enumerate(reference) if other == word] for word in here}
    ways = {(0, -2): 0}  # (bits of the words taken, place of the last one; -2: passed over): chunks
    seen: Counter[str] = Counter()
    for word in candidate:
        after: dict[tuple[int, int], int] = {}
        for (taken, last), chunks in ways.items():
            passed = seen[word] - sum(taken >> j & 1 for j in places[word])
            steps = [((taken, -2), chunks)] if passed < spare[word] else []
            steps += [((taken | 1 << j, j), chunks + (j != last + 1)) for j in places[word] if not taken >> j & 1]
            for way, number in steps:
                after[way] = min(after.get(way, number), number)
        seen[word] += 1
        ways = after if len(after) <= WIDTH else dict(sorted(after.items(), key=lambda item: item[1])[:WIDTH])
    return (here & there).total(), min(ways.values())
