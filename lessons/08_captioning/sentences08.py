"""The generators of this lesson, what they are told of a scene, and how their sentences are judged.

Steps 7, 9 and 10 train such models, and ``claims_sentences.py`` others, by the same settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scenes08 import vocabulary

import tinyconv
from tinyconv.captioning.evaluation import CaptionScores, evaluate_captions, perplexity
from tinyconv.captioning.pipeline import EPOCHS
from tinyconv.captioning.training import train_caption
from tinyconv.data import Scenes
from tinyconv.data.captioned_scenes import CaptionedScenes
from tinyconv.data.pairs import SentencePairs
from tinyconv.data.sentences import DIGITS, SIZES, describe, sentences
from tinyconv.models.caption import Caption, caption
from tinyconv.random import generator
from tinyconv.text import Vocabulary, lengths_of, tokenise
from tinyconv.vision.layout import layout

#: How each kind of generator is made, and its epochs.
KINDS: dict[str, dict[str, Any]] = {"first": {}, "always": {"look": "always"}, "lstm": {"cell": "lstm"}}
PASSES = {"first": 40, "always": EPOCHS["sentence"], "lstm": 40}
BEAMS = (1, 7)
SAME = 1e-4  # two log probabilities are equal: in float32 a batch of one and of seven differ by 1e-6


def true_layouts(found: CaptionedScenes) -> np.ndarray:
    """Return what is where in each scene (N, 460), by its true boxes."""
    source, size = found.scenes, found.scenes.images.shape[2:]
    truths = [source.truth(i) for i in range(len(found))]
    return np.array([layout(t.boxes, t.labels, len(source.classes), size) for t in truths])


def pairs_of(features: np.ndarray, found: CaptionedScenes, words: Vocabulary) -> SentencePairs:
    """Return every sentence of the scenes as word ids, with what its scene is told by."""
    return SentencePairs(features, [[words.encode(sentence) for sentence in of] for of in found.sentences])


def build(words: Vocabulary, features: int, seed: int = 0, kind: str = "first", **how: Any) -> Caption:
    """Return an untrained generator of the lesson's size, of one of the ``KINDS``."""
    tinyconv.manual_seed(seed)
    return caption(words.words, features=features, scale="lesson", **KINDS[kind] | how)


def learn(model: Caption, pairs: SentencePairs, words: Vocabulary, seed: int = 0, **how: Any) -> Any:
    """Train a generator in place, as the pipeline trains it; return the history. More for ``train_caption``."""
    usual = {"epochs": PASSES["first"], "batch_size": min(50, len(pairs)), "progress": False}
    history = train_caption(model, pairs, words, seed=seed, **usual | how)
    model.eval()
    return history


def said(model: Caption, features: np.ndarray, beam: int = 7) -> tuple[list[str], np.ndarray]:
    """Return the most probable sentence that is found for each image, and its log probability."""
    found = [each.best for each in model.generate(features, beam)]
    return [model.decode(best.words) for best in found], np.array([best.log_probability for best in found])


def fresh(found: CaptionedScenes, seed: int = 0) -> list[str]:
    """Return one more sentence about each scene, as the grammar would say it; by chance it is one of its own."""
    drawn = drawn_again(found, seed)
    return [describe(drawn[i], generator(seed, f"fresh/{found.split}", 0, i), 1)[0] for i in range(len(found))]


def are_true(given: Sequence[str], found: CaptionedScenes, seed: int = 0) -> np.ndarray:
    """Return (N,) bools: whether the grammar can say this sentence of the scene, sizes and places included."""
    drawn = drawn_again(found, seed)
    return np.array([sentence in sentences(drawn[i]) for i, sentence in enumerate(given)])


def drawn_again(found: CaptionedScenes, seed: int = 0) -> Scenes:
    """Return the scenes with all that is known of them: those of ``CaptionedScenes``, drawn again."""
    return Scenes(len(found), seed=seed, split=found.split, items=("mnist",), objects=(2, 3), background="textured")


def known_sentences(found: CaptionedScenes) -> list[str]:
    """Return all sentences of the scenes."""
    return [sentence for of in found.sentences for sentence in of]


def scores(given: Sequence[str], found: CaptionedScenes, training: Sequence[str] = ()) -> CaptionScores:
    """Return all scores of one sentence for each scene against what is said of it."""
    return evaluate_captions(given, found.sentences, training)


def unigram_perplexity(words: Vocabulary) -> float:
    """Return the perplexity of words that come as often as in the vocabulary, whatever comes before them."""
    counts = np.array(words.counts)
    return float(np.exp(-(counts * words.log_frequencies()).sum() / counts.sum()))


def digits_said(sentence: str) -> list[int]:
    """Return the digits that a sentence names, in its order."""
    return [DIGITS.index(word) for word in tokenise(sentence) if word in DIGITS]


def mentions(attributes: Any) -> list[str]:
    """Return how the grammar mentions an object: "a three", "a big three"."""
    digit = DIGITS[int(attributes.name)]
    return [f"{'an' if digit == 'eight' else 'a'} {digit}", f"a {SIZES[attributes.size]} {digit}"]


def shared_digits(sentence: str, labels: Sequence[int]) -> bool:
    """Return whether digits are named, and each is in the scene as often as it is named."""
    named, there = Counter(digits_said(sentence)), Counter(labels)
    return bool(named) and named <= there


def right(given: Sequence[str], found: CaptionedScenes, seed: int = 0) -> tuple[float, float]:
    """Return the share of scenes whose sentence names only digits that are there, and of those where all is true."""
    named = [shared_digits(text, found.scenes.truth(i).labels.tolist()) for i, text in enumerate(given)]
    return float(np.mean(named)), float(are_true(given, found, seed).mean())


def wordiness(model: Caption, features: np.ndarray, pairs: SentencePairs) -> float:
    """Return the perplexity of all sentences, each told by its scene's features."""
    return perplexity(model.log_probability(features[pairs.image_of], pairs.words), lengths_of(pairs.words))


def words_of(seed: int, n: int) -> Vocabulary:
    """Return the vocabulary of n training scenes; of a smoke run's few every word that comes at all."""
    from scenes08 import scenes

    return vocabulary(seed, n) if n > 100 else Vocabulary.build(known_sentences(scenes("train", n, seed)), threshold=1)
