"""Features of images with sentences about them, pair by pair. See :class:`SentencePairs`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyconv.data.dataset import check_index
from tinyconv.text.vocabulary import pad


class SentencePairs:
    """A dataset of one item for each sentence: (features of its image, row of word ids), for DataLoader and ``fit``.

    The pairs of an image follow each other, images in their order.

    Parameters
    ----------
    features : array, (N, F) or (N, R, F)
        A vector of each image, or one of each of its regions. Kept as float32.
    sentences : sequence of N lists of arrays (T,)
        Word ids of the sentences of each image, see :meth:`tinyconv.text.Vocabulary.encode`. An image may have none. A
        sentence without words is left out.
    counts : array, (N,), optional
        How many of the R regions an image has; each row then begins with it.
    limit : int, optional
        Longer sentences are cut after so many words; None cuts none.

    Attributes
    ----------
    features : array, (N, F) or (N, R, F), float32
    rows : array, (S, T) or (S, 1 + T), int64
        Word ids, -1 after a sentence's end.
    words : array, (S, T), int64
        The rows without the counts.
    counts : array (N,), int64, or None
    image_of : array, (S,), int64
        Which image a pair is of.
    left_out : int
        How many sentences had no word.
    cut : int
        How many were longer than the limit. A generator learns that they end there.

    Raises
    ------
    TypeError
        Word ids are no whole numbers.
    ValueError
        The features have another shape or are not finite, there are not as many lists of sentences or counts, a count
        is outside 1..R, or no sentence has a word.

    Examples
    --------
    >>> pairs = SentencePairs(np.eye(2), [[[3, 1], []], [[2, 1, 1], [4]]])
    >>> len(pairs), pairs.left_out, pairs.image_of.tolist(), pairs[0][1].tolist()
    (3, 1, [0, 1, 1], [3, 1, -1])
    """

    def __init__(
        self,
        features: np.ndarray,
        sentences: Sequence[Sequence[np.ndarray | Sequence[int]]],
        counts: np.ndarray | None = None,
        limit: int | None = 20,
    ) -> None:
        who, given = "SentencePairs", np.asarray(features)
        if given.ndim not in (2, 3) or given.dtype.kind not in "fiu":
            raise ValueError(
                f"{who}: features must be numbers (N, F) or (N, R, F), got {given.dtype} of shape {given.shape}"
            )
        self.features = given.astype(np.float32, copy=False)
        if not np.isfinite(self.features).all():
            raise ValueError(f"{who}: features must be finite, got NaN or inf")
        if len(sentences) != len(given):
            raise ValueError(f"{who}: wanted a list of sentences for each of {len(given)} images, got {len(sentences)}")
        for i, of in enumerate(sentences):
            if not isinstance(of, (list, tuple)) or any(np.ndim(ids) != 1 for ids in of):
                raise ValueError(
                    f"{who}: sentences of an image must be a list of arrays of word ids, which Vocabulary.encode makes "
                    f"of text, got {of!r:.60} for image {i}"
                )
        every = [(i, ids) for i, of in enumerate(sentences) for ids in of]
        kept = [(i, ids) for i, ids in every if len(ids)]
        if not kept:
            raise ValueError(f"{who}: wanted a sentence with a word, got {len(every)} without any")
        self.left_out = len(every) - len(kept)
        self.cut = 0 if limit is None else sum(len(ids) > limit for _, ids in kept)
        self.image_of = np.array([i for i, _ in kept], np.int64)
        self.words = pad([ids for _, ids in kept], limit)
        self.counts = None if counts is None else _counts(counts, self.features)
        self.rows = self.words
        if self.counts is not None:
            self.rows = np.concatenate([self.counts[self.image_of][:, None], self.words], axis=1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return pair i: the features of its image, and its row."""
        i = check_index("SentencePairs", i, len(self))
        return self.features[self.image_of[i]], self.rows[i]

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the features (B, F) or (B, R, F) and the rows of some pairs at once."""
        return self.features[self.image_of[indices]], self.rows[indices]

    def __repr__(self) -> str:
        return f"SentencePairs({len(self)} pairs of {len(self.features)} images)"


def _counts(counts: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return the numbers of regions as int64, or raise."""
    given = np.asarray(counts)
    if features.ndim != 3:
        raise ValueError(f"SentencePairs: counts are for features (N, R, F), got features of shape {features.shape}")
    n, most = features.shape[:2]
    if given.shape != (n,) or given.dtype.kind not in "iu" or given.min() < 1 or given.max() > most:
        raise ValueError(
            f"SentencePairs: counts must be {n} whole numbers in 1..{most}, one per image, got {given.dtype} of shape "
            f"{given.shape}" + (f" in {given.min()}..{given.max()}" if given.size and given.dtype.kind in "iuf" else "")
        )
    return given.astype(np.int64)
