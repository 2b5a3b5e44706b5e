"""How much of a sentence stands in its references in the same order. See :func:`rouge_l`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyconv.text.ngrams import Scores, Sentence, corpus

BETA = 1.2


def rouge_l(candidates: Sequence[Sentence], references: Sequence[Sequence[Sentence]]) -> Scores:
    """Return ROUGE-L of each candidate, and the mean.

    With the longest common subsequence of words, which need not be neighbours: P = its length / words of the candidate,
    R = its length / words of the reference, each the largest over the references, not necessarily of the same one;
    score = (1 + b^2) P R / (R + b^2 P) with b = 1.2, as coco-caption has it.

    Parameters
    ----------
    candidates : sequence of N sentences
        Strings, which :func:`~tinyconv.text.tokens.tokenise` cuts, or lists of words; an empty one scores 0.
    references : sequence of N lists of sentences

    Returns
    -------
    Scores
        In [0, 1] each.

    Raises
    ------
    TypeError
        A sentence is neither a string nor a list of words; a string stands where a list should.
    ValueError
        No candidates, not as many lists of references, a candidate without references, a reference without words.

    References
    ----------
    Lin 2004, sec. 3.

    Examples
    --------
    >>> rouge_l(["a five is above a two", "a two is above a five"], [["a five is above a two"]] * 2).each.round(4)
    array([1.    , 0.6667])
    """
    each = []
    for candidate, truths in zip(*corpus("rouge_l", candidates, references), strict=True):
        lengths = [common_subsequence(candidate, words) for words in truths]
        precision = max(lengths) / max(len(candidate), 1)
        recall = max(length / len(words) for length, words in zip(lengths, truths, strict=True))
        each.append((1 + BETA**2) * precision * recall / (recall + BETA**2 * precision) if precision else 0.0)
    return Scores(float(np.mean(each)), np.array(each))


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest sequence of words that both have in this order.

    Examples
    --------
    >>> common_subsequence("the cat sat on a mat".split(), "the mat on a cat".split())
    3
    """
    row = [0] * (len(b) + 1)  # of the words of a until now and the first j of b
    for word in a:
        before = row
        row = [0]
        for j, other in enumerate(b):
            row.append(before[j] + 1 if word == other else max(before[j + 1], row[j]))
    return row[-1]
