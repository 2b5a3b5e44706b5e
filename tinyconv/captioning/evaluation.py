"""How good generated sentences are. See :func:`evaluate_captions`, :func:`nearest_neighbours`, :func:`perplexity`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import device
from tinyconv.tensor import Tensor
from tinyconv.text.bleu import bleu
from tinyconv.text.cider import cider_d
from tinyconv.text.meteor import meteor_exact
from tinyconv.text.rouge import rouge_l
from tinyconv.text.tokens import as_words


class CaptionScores(NamedTuple):
    """Scores of a set of generated sentences; printed, they are a small table."""

    bleu: np.ndarray  # (4,), BLEU-1 to BLEU-4 of the whole set
    brevity_penalty: float
    cider: float  # CIDEr-D, times 10 as coco-caption does
    rouge: float
    meteor: float  # of 2005, exact matches only
    novel: float | None  # share that is no training sentence; None: no training sentences were given

    def __str__(self) -> str:
        """Return a line of names and a line of numbers."""
        names = [*(f"BLEU-{n}" for n in range(1, 5)), "brevity", "CIDEr-D", "ROUGE-L", "METEOR (exact)", "new"]
        numbers = [*self.bleu, self.brevity_penalty, self.cider, self.rouge, self.meteor]
        cells = [f"{number:.3f}" for number in numbers] + ["-" if self.novel is None else f"{self.novel:.1%}"]
        wide = [max(7, len(name)) for name in names]
        rows = [[f"{text:>{w}}" for text, w in zip(row, wide, strict=True)] for row in (names, cells)]
        return "\n".join("  ".join(row) for row in rows)


def evaluate_captions(
    generated: Sequence[str], references: Sequence[Sequence[str]], training: Sequence[str] = ()
) -> CaptionScores:
    """Return all scores of generated sentences.

    Parameters
    ----------
    generated : list of N str
    references : list of N lists of str
        The true sentences of each image.
    training : list of str
        What the generator learned from, to say which share of its sentences is new.

    Returns
    -------
    CaptionScores

    Raises
    ------
    TypeError, ValueError
        As the scores of :mod:`tinyconv.text`: not as many lists of references as sentences, none at all, ...

    Notes
    -----
    Karpathy & Fei-Fei 2015, sec. 4.2. Every sentence is cut into words by :func:`tinyconv.text.tokens.tokenise`, the
    generated like the true ones; a sentence is new if no training sentence has the same words.

    Examples
    --------
    >>> print(evaluate_captions(["a three is left of a seven"], [["a three is to the left of a seven"]]))
     BLEU-1   BLEU-2   BLEU-3   BLEU-4  brevity  CIDEr-D  ROUGE-L  METEOR (exact)      new
      0.751    0.686    0.596    0.447    0.751    0.000    0.856           0.786        -
    """
    words = bleu(generated, references, n=4)
    cider, rouge, meteor = (score(generated, references).mean for score in (cider_d, rouge_l, meteor_exact))
    known = {tuple(as_words("evaluate_captions", text)) for text in training}
    new = [tuple(as_words("evaluate_captions", text)) not in known for text in generated]
    share = float(np.mean(new)) if known else None
    return CaptionScores(words.scores, words.brevity_penalty, cider, rouge, meteor, share)


def nearest_neighbours(features: Any, train_features: Any) -> np.ndarray:
    """Return which training row is nearest to each row, by Euclidean distance; of equal ones the first.

    The baseline of the paper: an image is given a sentence of the training image that looks most like it.

    Parameters
    ----------
    features : array or Tensor, (N, F)
    train_features : array or Tensor, (M, F)

    Returns
    -------
    array of int64, (N,)

    Raises
    ------
    ValueError
        Not of one width, no training row, or a value is not finite.

    Notes
    -----
    Differences are taken before they are squared, in float64: rows that are equal have the distance 0.
    """
    rows, known = (_rows(name, x) for name, x in (("features", features), ("train_features", train_features)))
    if rows.shape[1] != known.shape[1]:
        raise ValueError(
            f"nearest_neighbours: features and train_features must have one width, got {rows.shape} and {known.shape}"
        )
    if not len(known):
        raise ValueError("nearest_neighbours: train_features must have at least one row, got none")
    return np.array([np.square(known - row).sum(axis=1).argmin() for row in rows], np.int64)


def perplexity(log_probabilities: Any, lengths: Any) -> float:
    """Return exp(-sum of log probabilities / number of words), END being a word of every sentence.

    A generator that hesitates between k equally likely words has the perplexity k.

    Parameters
    ----------
    log_probabilities : array or Tensor, (N,)
        Of whole sentences, natural logarithms, that of END included.
    lengths : array or Tensor of int, (N,)
        Words of each sentence without END, so N + sum(lengths) words are counted; 0 is allowed.

    Returns
    -------
    float
        Infinite, if a sentence has the probability 0.

    Raises
    ------
    ValueError
        No sentences, shapes that differ, a negative length, NaN, or a logarithm above 0.

    Examples
    --------
    >>> round(perplexity([3 * np.log(0.5), 2 * np.log(0.25)], [2, 1]), 4)
    2.639
    """
    sums, counts = _host(log_probabilities).astype(float), _host(lengths)
    if sums.ndim != 1 or not len(sums) or counts.shape != sums.shape:
        raise ValueError(
            "perplexity: log_probabilities and lengths must both be (N,) of at least one sentence, "
            f"got shapes {sums.shape} and {counts.shape}"
        )
    if counts.dtype.kind not in "iu" or counts.min() < 0:
        raise ValueError(f"perplexity: lengths must be ints of at least 0, got {counts.tolist()!r}")
    if np.isnan(sums).any() or sums.max() > 1e-6:
        raise ValueError(f"perplexity: log_probabilities must be at most 0, got {sums[~(sums <= 1e-6)][0]:g}")
    with np.errstate(over="ignore"):
        return float(np.exp(-sums.sum() / (len(sums) + counts.sum())))


def _host(x: Any) -> np.ndarray:
    return device.host(x.data) if isinstance(x, Tensor) else np.asarray(x)


def _rows(name: str, x: Any) -> np.ndarray:
    found = _host(x).astype(float)
    if found.ndim != 2:
        raise ValueError(f"nearest_neighbours: {name} must be (N, F), got shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"nearest_neighbours: {name} must be finite, got NaN or infinite values")
    return found
