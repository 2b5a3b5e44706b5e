"""Which run of words belongs to which region of an image. See :func:`viterbi`, :func:`segments`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Segment(NamedTuple):
    """Neighbouring words of one region: ``words[start:stop]``.

    Attributes
    ----------
    region, start, stop : int
    """

    region: int
    start: int
    stop: int


def viterbi(scores: np.ndarray, beta: float) -> np.ndarray:
    """Return for each word of a sentence its region, where neighbouring words gain by having the same one.

    The regions a maximise E(a) = sum_t scores[t, a_t] + beta sum_t [a_t = a_{t+1}], exactly, in T M steps: with
    V_t(i) = scores[t, i] + max(max_k V_{t+1}(k), V_{t+1}(i) + beta) for the best of the words from t on, the first word
    takes the region with the largest V_1, and every further word the best one after it. beta = 0 is the best region of
    each word by itself; a large beta gives one region to the whole sentence.

    Of several assignments that are equally good the first in the order of tuples is returned: the first word takes the
    smallest region that it can, then the second, and so on.

    Parameters
    ----------
    scores : array, (T, M)
        Of each word (row) with each region; -inf for a region that it cannot have.
    beta : float
        0 or more.

    Returns
    -------
    array of int64, (T,)    in 0..M-1; empty if there are no words

    Raises
    ------
    TypeError
        beta is no number.
    ValueError
        scores are not (T, M), there is no region, a score is NaN or +inf, a word has no finite score; beta is negative
        or not finite.

    References
    ----------
    Karpathy & Fei-Fei 2015, sec. 3.1.4. The paper writes the energy of a Markov random field; the signs here are such
    that agreement is rewarded.

    Examples
    --------
    >>> scores = np.array([[2, 0], [0.9, 1], [2, 0], [0, 3]])
    >>> [viterbi(scores, beta).tolist() for beta in (0, 1, 4)]
    [[0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2:
        raise ValueError(f"viterbi: scores must be (T, M), got shape {scores.shape}")
    if isinstance(beta, bool) or np.ndim(beta) or np.asarray(beta).dtype.kind not in "iuf":
        raise TypeError(f"viterbi: beta must be a number, got {beta!r}")
    if not 0 <= beta < np.inf:
        raise ValueError(f"viterbi: beta must be a finite number of 0 or more, got {beta}")
    words, regions = scores.shape
    if not words:
        return np.zeros(0, np.int64)
    if not regions:
        raise ValueError("viterbi: wanted at least one region, got none; the whole image can be one")
    bad = np.isnan(scores) | (scores == np.inf)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"viterbi: scores must be no NaN and no inf, got {scores[row, column]} for word {row}")
    possible = np.isfinite(scores).any(1)
    if not possible.all():
        raise ValueError(f"viterbi: word {int(np.argmin(possible))} has no finite score, so no region can be its own")
    best = scores.copy()
    for t in range(words - 2, -1, -1):
        best[t] += np.maximum(best[t + 1].max(), best[t + 1] + beta)
    found = np.empty(words, np.int64)
    found[0] = best[0].argmax()
    for t in range(1, words):
        best[t, found[t - 1]] += beta
        found[t] = best[t].argmax()
    return found


def segments(regions: Sequence[int] | np.ndarray) -> list[Segment]:
    """Return the runs of equal regions, in order.

    Parameters
    ----------
    regions : array of integers, (T,)
        As :func:`viterbi` returns them.

    Returns
    -------
    list of Segment

    Raises
    ------
    ValueError
        regions are not (T,).

    Examples
    --------
    >>> words = ["a", "big", "three", "is", "left"]
    >>> [(region, words[start:stop]) for region, start, stop in segments([2, 2, 2, 0, 0])]
    [(2, ['a', 'big', 'three']), (0, ['is', 'left'])]
    """
    regions = np.asarray(regions)
    if regions.ndim != 1:
        raise ValueError(f"segments: regions must be (T,), got shape {regions.shape}")
    if not len(regions):
        return []
    edges = [0, *(np.flatnonzero(regions[1:] != regions[:-1]) + 1).tolist(), len(regions)]
    return [Segment(int(regions[a]), a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
