"""The alignment models of this lesson, and how right their words are. See :func:`learn`, :func:`grounded`.

Step 5 trains one with dropout and one without; ``claims_alignment.py`` others, by the same settings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scenes08 import TEST, TRAIN, regions, scenes, vocabulary

import tinyconv
from tinyconv.captioning.regions import Regions, with_places
from tinyconv.captioning.training import train_alignment
from tinyconv.data.pairs import SentencePairs
from tinyconv.data.sentences import DIGITS
from tinyconv.models.alignment import Alignment, alignment
from tinyconv.text import Vocabulary, pad
from tinyconv.vision.boxes import box_iou
from tinyconv.vision.detections import Truth

MODEL: dict[str, Any] = {"dropout": 0.1, "hidden": 128, "embedding": 128}  # the rest is alignment(scale="lesson")'s
SMALL = {"hidden": 64, "embedding": 64}  # with which step 5 begins, and the claim "dropout", without places
EPOCHS = 30  # of the claims; step 5 takes fewer
PLACES = True  # whether a region's features say where it is and how large
SAME = 0.5  # IoU from which on a region shows an object


class Seen(NamedTuple):
    """Scenes as an alignment model sees them, and what is true of them.

    Attributes
    ----------
    regions : Regions
    ids : list of N lists of arrays
        Word ids of each scene's sentences.
    words : array, (S, T)
        The same as rows, -1 after a sentence's end.
    image_of : array, (S,)
        Which scene a sentence is of.
    truths : list of N Truth
        For judging only.
    """

    regions: Regions
    ids: list[list[np.ndarray]]
    words: np.ndarray
    image_of: np.ndarray
    truths: list[Truth]


def look(
    detector: Any, seed: int = 0, kind: str = "given", sizes: tuple[int, int] = (TRAIN, TEST), places: bool = PLACES
) -> tuple[Seen, Seen]:
    """Return training and test scenes with their regions, see :func:`scenes08.regions`.

    Features are divided by one number, their standard deviation over all regions of training scenes: dropout and rates
    are then those of inputs that are about 1 in size.
    """
    words, found = vocabulary(seed, sizes[0]), []
    for split, n in zip(("train", "test"), sizes, strict=True):
        drawn = scenes(split, n, seed)
        seen = regions(detector, drawn, seed, kind)
        ids = [[words.encode(sentence) for sentence in of] for of in drawn.sentences]
        image_of = np.repeat(np.arange(n), [len(of) for of in ids])
        truths = [drawn.scenes.truth(i) for i in range(n)]
        found.append(Seen(seen, ids, pad([row for of in ids for row in of]), image_of, truths))
    first = found[0].regions
    scale = first.features[np.arange(first.features.shape[1]) < first.counts[:, None]].std()
    level = [part._replace(regions=part.regions._replace(features=part.regions.features / scale)) for part in found]
    train, test = map(placed, level) if places else level
    return train, test


def placed(seen: Seen) -> Seen:
    """Return the same with each region's place and size among its features."""
    width, height = seen.regions.boxes[0, 0, 2:]  # region 0 is the whole scene
    return seen._replace(regions=with_places(seen.regions, (int(height), int(width))))


def build(words: Vocabulary, features: int, seed: int = 0, **how: Any) -> Alignment:
    """Return an untrained alignment model: ``MODEL``, and what ``how`` says otherwise."""
    tinyconv.manual_seed(seed)
    return alignment(words.words, features=features, scale="lesson", **MODEL | how)


def learn(
    words: Vocabulary, train: Seen, seed: int = 0, *, epochs: int = EPOCHS, model: Alignment | None = None, **how: Any
) -> Alignment:
    """Return a model, by default a new one of :func:`build`, that has learnt training scenes."""
    model = model or build(words, train.regions.features.shape[2], seed, **how)
    pairs = SentencePairs(train.regions.features, train.ids, train.regions.counts)
    train_alignment(model, pairs, epochs=epochs, batch_size=min(50, len(pairs)), seed=seed, progress=False)
    return model.eval()


def match(model: Alignment, seen: Seen) -> np.ndarray:
    """Return v_i . s_t (S, T, R) of every sentence's words with its own scene's regions."""
    of = seen.image_of
    return model.match(seen.regions.features[of], seen.regions.counts[of], seen.words)


def longest(seen: Seen, i: int) -> int:
    """Return the longest sentence of scene i, of equal ones the first."""
    own = np.flatnonzero(seen.image_of == i)
    return int(own[(seen.words[own] >= 0).sum(axis=1).argmax()])


def digit_words(words: Vocabulary, seen: Seen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (sentence, place in it, digit) of every word that names a digit."""
    digit = np.array([DIGITS.index(word) if word in DIGITS else -1 for word in words.words])
    of = np.where(seen.words >= 0, digit[seen.words], -1)
    sentence, place = np.nonzero(of >= 0)
    return sentence, place, of[sentence, place]


def shown(seen: Seen, digit: int, i: int) -> np.ndarray:
    """Return (R,) bools: whether a region of scene i has an IoU of 0.5 or more with a box of this digit."""
    truth, boxes = seen.truths[i], seen.regions.boxes[i, : seen.regions.counts[i]]
    return (box_iou(boxes, truth.boxes[truth.labels == digit]) >= SAME).any(axis=1)


def grounded(words: Vocabulary, seen: Seen, won: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how often each of the ten digits' words points at the right region.

    Parameters
    ----------
    won : array, (S, T)
        The region of each word.

    Returns
    -------
    right, count, chance : arrays, (10,)
        ``chance``: how often it would be right if it pointed at any region of the scene.
    """
    right, count, chance = np.zeros(10), np.zeros(10), np.zeros(10)
    for sentence, place, digit in zip(*digit_words(words, seen), strict=True):
        good = shown(seen, digit, seen.image_of[sentence])
        right[digit] += good[won[sentence, place]]
        count[digit] += 1
        chance[digit] += good.mean()
    return right, count, chance
