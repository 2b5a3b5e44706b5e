"""What an alignment model teaches a generator of regions: which words speak of which region. See :func:`snippets`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyconv.captioning.regions import Regions
from tinyconv.models.alignment import Alignment
from tinyconv.text.segments import segments, viterbi
from tinyconv.text.vocabulary import lengths_of

BETA = 1.0  # what a word gains by pointing where the word before it points
_BATCH = 100


class Snippets(NamedTuple):
    """Parts of sentences with the regions they were aligned with.

    Attributes
    ----------
    image, region : array, (S,)
        Which region of which image; region 0 is the whole image.
    words : list of S arrays
        Word ids.
    """

    image: np.ndarray
    region: np.ndarray
    words: list[np.ndarray]

    def features(self, regions: Regions) -> np.ndarray:
        """Return the features (S, F) of the snippets' regions."""
        return regions.features[self.image, self.region]


def snippets(
    model: Alignment, regions: Regions, words: np.ndarray, image_of: np.ndarray, beta: float = BETA,
    whole: bool = False,
) -> Snippets:  # fmt: skip
    """Cut sentences into segments, each with the region that it is about (sec. 3.1.4).

    Of sentence and image, sum_j v_{a_j} . s_j + beta sum_j [a_j = a_{j+1}] is maximised over the regions a_j of the
    words; a run of words with the same region is a segment.

    Parameters
    ----------
    model : Alignment
    regions : Regions
        Of all images.
    words : array, (S, T)
        Word ids of the sentences, -1 after their end.
    image_of : array, (S,)
        Which image a sentence is of.
    beta : float
        0: every word for itself; large: one region for the whole sentence.
    whole : bool
        Whether segments of region 0, the whole image, are kept.
    """
    image_of, lengths = np.asarray(image_of), lengths_of(words)
    if image_of.shape != lengths.shape:
        raise ValueError(f"snippets: image_of must name an image for {len(lengths)} sentences, got {image_of.shape}")
    image, region, found = [], [], []
    for start in range(0, len(words), _BATCH):
        some = slice(start, start + _BATCH)
        of = image_of[some]
        scores = model.match(regions.features[of], regions.counts[of], words[some])
        for n, ids, length, products in zip(of, words[some], lengths[some], scores, strict=True):
            if not length:
                continue
            for place, first, last in segments(viterbi(products[:length, : regions.counts[n]], beta)):
                if place or whole:
                    image.append(n)
                    region.append(place)
                    found.append(ids[first:last].astype(np.int64))
    return Snippets(np.array(image, np.int64), np.array(region, np.int64), found)
