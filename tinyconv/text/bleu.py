"""How many word groups of a sentence its references have, too. See :func:`bleu`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyconv import errors
from tinyconv.text.checks import check_whole
from tinyconv.text.ngrams import Sentence, corpus, ngrams


@dataclass(frozen=True, eq=False)
class Bleu:
    """BLEU of a corpus, and what it is made of; printed, it is one line.

    Attributes
    ----------
    scores : array of float64, (n,)
        BLEU-1 to BLEU-n, in [0, 1].
    precisions : array of float64, (n,)
        Of the n-grams of each order alone.
    brevity_penalty : float
        In [0, 1]; already in the scores.
    candidate_length, reference_length : int
        Words of all candidates, and of the reference of each that is closest in length.
    """

    scores: np.ndarray
    precisions: np.ndarray
    brevity_penalty: float
    candidate_length: int
    reference_length: int

    def __repr__(self) -> str:
        scores = ", ".join(f"BLEU-{n} {score:.4f}" for n, score in enumerate(self.scores, 1))
        lengths = f"{self.candidate_length} words against {self.reference_length}"
        return f"{scores}, brevity penalty {self.brevity_penalty:.4f} ({lengths})"


def bleu(
    candidates: Sequence[Sentence],
    references: Sequence[Sequence[Sentence]],
    n: int = 4,
    *,
    smooth: str | None = None,
) -> Bleu:
    """Return BLEU-1 to BLEU-n of a corpus.

    BLEU-N = BP (p_1 ... p_N)^(1/N), where

    - p_n = matches / n-grams of the candidates, both summed over the whole corpus first: it is no mean of sentences'
      scores. An n-gram matches as often as it is in the candidate, but at most as often as in that reference which has
      it most often.
    - BP = 1 if c >= r, else exp(1 - r / c): c words in all candidates, r in the references that are closest in length,
      one for each candidate (of two equally close ones the shorter).

    A precision without any match is 0, and so is one without any n-gram; then BLEU of this order and of the higher ones
    is 0. An empty candidate adds nothing but the length of its shortest reference to r. If all candidates are empty, BP
    is 0.

    Parameters
    ----------
    candidates : sequence of N sentences
        Strings, which :func:`~tinyconv.text.tokens.tokenise` cuts, or lists of words.
    references : sequence of N lists of sentences
        Any number of each, at least one.
    n : int
        Highest order.
    smooth : {None, "coco"}
        "coco": p_n = (matches + 1e-15) / (n-grams + 1e-9) and BP = exp(1 - 1 / q) where q = (c + 1e-15) / (r + 1e-9) is
        below 1, as coco-caption computes. This is 1e-9 of the value, except where nothing matches: a BLEU-4 that is 0
        becomes up to 0.0002, for one sentence in particular. It is here to compare with published figures to the last
        digit.

    Returns
    -------
    Bleu

    Raises
    ------
    TypeError
        A sentence is neither a string nor a list of words; a string stands where a list should; n is no whole number.
    ValueError
        No candidates, not as many lists of references, a candidate without references, a reference without words, n
        below 1, another smooth.

    References
    ----------
    Papineni et al. 2002, sec. 2.

    Examples
    --------
    >>> bleu(["a three is left of a seven"], [["a three is to the left of a seven", "there is a three and a seven"]])
    BLEU-1 1.0000, BLEU-2 0.9129, BLEU-3 0.7937, BLEU-4 0.5946, brevity penalty 1.0000 (7 words against 7)
    """
    check_whole("bleu", "n", n)
    errors.check_choice("bleu", "smooth", smooth, (None, "coco"))
    matches, totals, c, r = np.zeros(n), np.zeros(n), 0, 0
    for candidate, truths in zip(*corpus("bleu", candidates, references), strict=True):
        c += len(candidate)
        r += min((abs(len(words) - len(candidate)), len(words)) for words in truths)[1]
        for order in range(n):
            found, most = ngrams(candidate, order + 1), Counter[tuple[str, ...]]()
            for words in truths:
                most |= ngrams(words, order + 1)  # the larger count of each
            matches[order] += (found & most).total()  # the smaller
            totals[order] += found.total()
    if smooth:
        precisions, ratio = (matches + 1e-15) / (totals + 1e-9), (c + 1e-15) / (r + 1e-9)
    else:
        precisions, ratio = matches / np.maximum(totals, 1), c / r
    brevity_penalty = 1.0 if ratio >= 1 else float(np.exp(1 - 1 / ratio)) if ratio else 0.0
    scores = brevity_penalty * np.cumprod(precisions) ** (1 / np.arange(1, n + 1))
    return Bleu(scores, precisions, brevity_penalty, c, r)
