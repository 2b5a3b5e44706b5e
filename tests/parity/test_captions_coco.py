"""Measures of sentences against coco-caption's own BLEU, CIDEr and ROUGE, and BLEU against NLTK's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest

from tinyconv.text import bleu, cider_d, rouge_l

WORDS = "a big small three five seven is left right of there above two".split()


def sentences(rng: np.random.Generator, words: Sequence[str], least: int, most: int) -> str:
    return " ".join(rng.choice(words, rng.integers(least, most + 1)))


def random_corpus(seed: int, images: int, words: int, least: int = 1) -> tuple[list[str], list[list[str]]]:
    """Return candidates, of which some are nearly a reference, and 1 to 5 references of each."""
    rng = np.random.default_rng([seed, images, words])
    references = [[sentences(rng, WORDS[:words], 1, 12) for _ in range(rng.integers(1, 6))] for _ in range(images)]
    candidates = []
    for group in references:
        near = group[0].split()
        near[rng.integers(len(near))] = str(rng.choice(["unheard", *WORDS[:words]]))
        candidates.append(" ".join(near) if rng.random() < 0.5 else sentences(rng, WORDS[:words], least, 12))
    return candidates, references


CORPORA = {
    **{f"{images} images, {words} words": random_corpus(0, images, words)
       for images in (2, 3, 20, 100) for words in (2, 5, 13)},
    "some candidates are empty": random_corpus(1, 50, 5, least=0),
    "one image": random_corpus(2, 1, 13),
    "all candidates are empty": (["", ""], [["a b", "a"], ["b c d e"]]),
    "nothing matches": (["x y z", "x"], [["a b c d"], ["b"]]),
    "no 4-gram matches": (["a b c x", "c b a"], [["a b c d", "c b"], ["x b a"]]),
    "one word each": (["a", "b", "c"], [["a"], ["b"], ["d"]]),
    "all the same": (["a b c d"] * 3, [["a b c d", "a b c d"]] * 3),
    "references are candidates": (["a b c d", "e f g h"], [["a b c d"], ["e f g h", "a b c d e f g h"]]),
    "perfect": (["a b c d", "e f g h i"], [["a b c d"], ["e f g h i", "e f g h i j"]]),
    "two lengths are equally close": (["a b c d e"] * 2, [["a b c d", "a b c d e f"], ["a b c d e f g", "a b c"]]),
    "longer than its references": (["a b a b a b a b", "b a"], [["a b", "b"], ["a b"]]),
    "shorter than its references": (["a b", "b"], [["a b c d e f", "b c d"], ["b c d e"]]),
}  # fmt: skip
corpora = pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)


def coco(name: str, corpus: tuple[list[str], list[list[str]]], **options: int) -> tuple:
    """Return (corpus score, scores of images) of coco-caption's scorer of this name."""
    why = f"coco-caption's {name} is not installed: pip install --no-deps pycocoevalcap"
    module = pytest.importorskip(f"pycocoevalcap.{name.lower()}.{name.lower()}", reason=why)
    candidates, references = corpus
    results = {i: [sentence] for i, sentence in enumerate(candidates)}
    return getattr(module, name)().compute_score(dict(enumerate(references)), results, **options)


@corpora
def test_bleu(corpus: tuple[list[str], list[list[str]]]) -> None:
    """Smoothed as there; and exact wherever every order matches somewhere."""
    wanted, _ = coco("Bleu", corpus, verbose=0)
    np.testing.assert_allclose(bleu(*corpus, smooth="coco").scores, wanted, rtol=1e-12, atol=1e-15)
    exact = bleu(*corpus)
    matches = exact.precisions.cumprod() > 0
    np.testing.assert_allclose(exact.scores[matches], np.array(wanted)[matches], atol=1e-8)
    assert not exact.scores[~matches].any() and (np.array(wanted)[~matches] < 0.02).all()


@corpora
def test_cider(corpus: tuple[list[str], list[list[str]]]) -> None:
    mean, each = coco("Cider", corpus)
    found = cider_d(*corpus)
    np.testing.assert_allclose(found.each, each, rtol=0, atol=1e-9)
    assert found.mean == pytest.approx(mean, abs=1e-9)


@corpora
def test_rouge(corpus: tuple[list[str], list[list[str]]]) -> None:
    mean, each = coco("Rouge", corpus)
    found = rouge_l(*corpus)
    np.testing.assert_allclose(found.each, each, rtol=0, atol=1e-12)
    assert found.mean == pytest.approx(mean, abs=1e-12)


@corpora
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_of_nltk(order: int, corpus: tuple[list[str], list[list[str]]]) -> None:
    """Of candidates with n-grams of this order; NLTK counts one n-gram in a candidate that is too short for any.

    It warns where a precision is 0 and takes the smallest number of floating point for it.
    """
    scores = pytest.importorskip("nltk.translate.bleu_score", reason="NLTK is not installed: pip install nltk")
    long = [pair for pair in zip(*corpus, strict=True) if len(pair[0].split()) >= order]
    if not long:
        assert bleu(*corpus, order).scores[-1] == 0
        return
    candidates, references = [candidate for candidate, _ in long], [group for _, group in long]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        wanted = scores.corpus_bleu(
            [[sentence.split() for sentence in group] for group in references],
            [sentence.split() for sentence in candidates],
            weights=[1 / order] * order,
        )
    assert bleu(candidates, references, order).scores[-1] == pytest.approx(wanted, abs=1e-9)


def test_corpora_are_of_every_kind() -> None:
    """Scores from 0 to the largest, so that agreeing says something."""
    found = [bleu(*corpus).scores[3] for corpus in CORPORA.values()]
    assert min(found) == 0 and max(found) > 0.5 and sum(0.01 < score < 0.9 for score in found) > 8
    found = [cider_d(*corpus).mean for corpus in CORPORA.values()]
    assert min(found) == 0 and max(found) > 5 and sum(0.1 < score < 5 for score in found) > 8
