"""Finding sentences by an image and images by a sentence. See :func:`rank`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyconv.text.checks import check_whole


@dataclass(frozen=True, eq=False)
class Ranks:
    """At which place the right answers were; printed, it is the usual line of figures.

    Attributes
    ----------
    ranks : array of int64, (Q,)
        Of each question: 1 if the right answer comes first.

    Examples
    --------
    >>> Ranks(np.array([1, 3, 2, 40]))
    R@1 25.0 %, R@5 75.0 %, R@10 75.0 %, median rank 2.5
    """

    ranks: np.ndarray

    def recall(self, k: int) -> float:
        """Return how many per cent of the questions have the right answer among the first k (R@k)."""
        check_whole("recall", "k", k)
        return 100 * float(np.mean(self.ranks <= k))

    @property
    def median(self) -> float:
        """Median of the ranks, which begin at 1; of an even number of them the mean of the middle two."""
        return float(np.median(self.ranks))

    def __repr__(self) -> str:
        recalls = ", ".join(f"R@{k} {self.recall(k):.1f} %" for k in (1, 5, 10))
        return f"{recalls}, median rank {self.median:g}"


class Retrieval(NamedTuple):
    """Both directions.

    Attributes
    ----------
    annotation : Ranks
        Of each image: where its best sentence stands among all sentences.
    search : Ranks
        Of each sentence: where its image stands among all images.
    """

    annotation: Ranks
    search: Ranks

    def __repr__(self) -> str:
        return f"annotation: {self.annotation}; search: {self.search}"


def rank(scores: np.ndarray, image_of: np.ndarray | Sequence[int]) -> Retrieval:
    """Return how well scores of images with sentences find one by the other.

    The annotation rank of an image is 1 + the number of other images' sentences that score at least as high with it as
    the best of its own. The search rank of a sentence is 1 + the number of other images that score at least as high
    with it as its own. So ties count against the model: one that scores everything alike finds nothing, where the order
    of a sort would let it find the first, or even everything.

    Parameters
    ----------
    scores : array, (I, S)
        Of image i (row) with sentence s (column); larger is better.
    image_of : array of integers, (S,)
        Image that each sentence describes, in 0..I-1; every image has at least one.

    Returns
    -------
    Retrieval

    Raises
    ------
    TypeError
        image_of are no whole numbers.
    ValueError
        The shapes do not fit, a score is NaN, an image has no sentence, or there is nothing.
    IndexError
        A sentence's image is not in 0..I-1.

    References
    ----------
    Karpathy & Fei-Fei 2015, sec. 4.1.

    Examples
    --------
    >>> rank(np.array([[5, 2, 4], [3, 1, 1]]), np.array([0, 0, 1]))
    annotation: R@1 50.0 %, R@5 100.0 %, R@10 100.0 %, median rank 2; search: R@1 66.7 %, R@5 100.0 %, ...
    """
    scores, image_of = np.asarray(scores), np.asarray(image_of)
    if scores.ndim != 2 or image_of.shape != scores.shape[1:]:
        raise ValueError(
            f"rank: wanted scores (I, S) and image_of (S,), got shapes {scores.shape} and {image_of.shape}"
        )
    if not scores.size:
        raise ValueError(f"rank: wanted at least one image and one sentence, got scores of shape {scores.shape}")
    if image_of.dtype.kind not in "iu":
        raise TypeError(f"rank: image_of must be whole numbers, got {image_of.dtype}")
    images = len(scores)
    wrong = image_of[(image_of < 0) | (image_of >= images)]
    if len(wrong):
        raise IndexError(f"rank: image_of must be in 0..{images - 1}, got {wrong[0]}")
    if np.isnan(scores).any():
        image, sentence = (int(i) for i in np.argwhere(np.isnan(scores))[0])
        raise ValueError(f"rank: scores must be numbers, got NaN for image {image} and sentence {sentence}")
    number = np.bincount(image_of, minlength=images)
    if not number.all():
        raise ValueError(f"rank: image {int(np.argmin(number))} has no sentence; leave its row out")
    own = scores[image_of, np.arange(len(image_of))]
    annotation, search = np.empty(images, np.int64), np.zeros(len(image_of), np.int64)
    for i, row in enumerate(scores):
        mine = image_of == i
        annotation[i] = 1 + np.count_nonzero(row[~mine] >= row[mine].max())
        search += row >= own  # its own image is one of them
    return Retrieval(Ranks(annotation), Ranks(search))
