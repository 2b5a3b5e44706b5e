"""Tests of tasks 8.10 and 8.11: ``pytest lessons/08_captioning``, or one task with ``-k 8_10_``."""

import importlib.util
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from tinyconv import text

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_08_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

# ---------------------------------------------------------------------------------------------------------- 8.10: BLEU

counting = pytest.mark.task(
    id="8.10", points=2, minutes=30, difficulty=2, hint="Counter: | takes the larger count of each, & the smaller"
)
CAT = ["the cat is on the mat", "there is a cat on the mat"]
GUIDE = (
    "it is a guide to action which ensures that the military always obeys the commands of the party",
    [
        "it is a guide to action that ensures that the military will forever heed party commands",
        "it is the guiding principle which guarantees the military forces always being under the command of the party",
        "it is the practical guide for the army always to heed the directions of the party",
    ],
)


def split(sentences):
    """Return sentences, or lists of them, as lists of words."""
    return [s.split() if isinstance(s, str) else split(s) for s in sentences]


def judged(score, candidates, references, **how):
    """Return what the student's function says of strings, as an array of floats."""
    given = split(candidates), split(references)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score(*given, **how)
    assert found is not None, f"{score.__name__} returns nothing yet (task 8.{10 if score.__name__ == 'bleu' else 11})"
    assert given == (split(candidates), split(references)), "the sentences were changed"
    return np.asarray(found, float)


@counting
def test_8_10_seven_times_the():
    """A reference has "the" twice at most: 2 of 7 words, and no pair."""
    scores = judged(exercises.bleu, [" ".join(["the"] * 7)], [CAT])
    np.testing.assert_allclose(scores, [2 / 7, 0, 0, 0])


@counting
def test_8_10_papineni():
    """17/18, 10/17, 7/16, 4/15, and as long as the reference that is closest."""
    scores = judged(exercises.bleu, [GUIDE[0]], [GUIDE[1]])
    np.testing.assert_allclose(scores, [0.944444, 0.745356, 0.624073, 0.504567], atol=1e-6)


@counting
def test_8_10_a_scene():
    references = ["a three is to the left of a seven", "there is a three and a seven"]
    scores = judged(exercises.bleu, ["a three is left of a seven"], [references])
    np.testing.assert_allclose(scores, [1, 0.912871, 0.793701, 0.594604], atol=1e-6)


@counting
def test_8_10_short_sentences_pay():
    """2 words against 6: exp(1 - 3)."""
    scores = judged(exercises.bleu, ["the cat"], [CAT[:1]], n=2)
    np.testing.assert_allclose(scores, [math.exp(-2)] * 2)


@counting
def test_8_10_of_two_lengths_the_shorter():
    """5 words; references of 4 and 6: r is 4, and nothing is to pay."""
    scores = judged(exercises.bleu, ["a b c d e"], [["a b c d e f", "a b c d"]], n=1)
    np.testing.assert_allclose(scores, [1])


@counting
def test_8_10_a_corpus_is_summed_before_it_is_divided():
    """1 of 1 and 1 of 4 words: 2 of 5, not the mean of 1 and 1/4. c = r = 5."""
    scores = judged(exercises.bleu, ["a", "a b c d"], [["a"], ["a x y z"]], n=2)
    np.testing.assert_allclose(scores, [0.4, 0])
    scores = judged(exercises.bleu, ["a", "a b c d"], [["a b c"], ["a b c d"]], n=2)
    np.testing.assert_allclose(scores, np.exp(1 - 7 / 5))


@counting
def test_8_10_silence():
    np.testing.assert_array_equal(judged(exercises.bleu, ["", ""], [["a b"], ["c"]]), np.zeros(4))
    scores = judged(exercises.bleu, ["", "a b"], [["a b c"], ["a b"]], n=2)
    np.testing.assert_allclose(scores, [math.exp(1 - 5 / 2)] * 2)


@counting
def test_8_10_is_the_librarys():
    rng = np.random.default_rng(0)

    def sentence(low):
        return " ".join(rng.choice(list("abcde"), rng.integers(low, 9)))

    candidates = [sentence(0) for _ in range(30)]
    references = [[sentence(1) for _ in range(rng.integers(1, 5))] for _ in candidates]
    for n in (1, 4):
        wanted = text.bleu(split(candidates), split(references), n)
        np.testing.assert_allclose(judged(exercises.bleu, candidates, references, n=n), wanted.scores)


# -------------------------------------------------------------------------------------------------------- 8.11: CIDEr-D

weighing = pytest.mark.task(
    id="8.11", points=3, minutes=35, difficulty=3, hint="df counts images, from the references only; then cosines"
)


@weighing
def test_8_11_the_same_words_are_ten():
    """Two images, nothing shared; four words have runs of all lengths."""
    found = judged(exercises.cider_d, ["a b c d", "e f g h"], [["a b c d"], ["e f g h"]])
    np.testing.assert_allclose(found, [10, 10])


@weighing
def test_8_11_by_hand():
    """Words: a weighs 0 (in both images), b and c log 2; x, in no reference, too.

    "b x" against "b c": cosine 1/2 for single words, and nothing for pairs. So 10 / 4 * 1/2.
    """
    found = judged(exercises.cider_d, ["b x", "a"], [["b c"], ["a"]])
    np.testing.assert_allclose(found, [10 / 4 / 2, 10 / 4])
    found = judged(exercises.cider_d, ["b x", "a"], [["b c a"], ["a"]])
    np.testing.assert_allclose(found, [math.exp(-1 / 72) * 10 / 4 / 2, 0])


@weighing
def test_8_11_what_is_said_of_every_image_weighs_nothing():
    np.testing.assert_array_equal(judged(exercises.cider_d, ["a b", "a b"], [["a b"], ["a b"]]), [0, 0])
    np.testing.assert_array_equal(judged(exercises.cider_d, ["a b c d"], [["a b c d"]]), [0])


@weighing
def test_8_11_an_image_counts_once():
    """The word b is in two sentences of image 0, and in no other image: df is 1 of 3, not 2.

    c, which is in two of three images, weighs log 3/2. "b" against "b" is 10 / 4; against "b c" the cosine is
    log 3 / |(log 3, log 3/2)|.
    """
    found = judged(exercises.cider_d, ["b", "c", "d"], [["b", "b c"], ["c"], ["d"]])
    cosine = math.log(3) / math.hypot(math.log(3), math.log(1.5))
    wanted = (1 + cosine * math.exp(-1 / 72)) / 2 * 10 / 4
    np.testing.assert_allclose(found, [wanted, 10 / 4, 10 / 4])


@weighing
def test_8_11_saying_a_word_again_does_not_pay():
    """Three times b against b: min(3, 1) * 1 / (3 * 1), and two words too many."""
    found = judged(exercises.cider_d, ["b b b", "c"], [["b"], ["c"]])
    np.testing.assert_allclose(found[0], 10 / 4 / 3 * math.exp(-4 / 72))
    once = judged(exercises.cider_d, ["b", "c"], [["b b"], ["c"]])
    np.testing.assert_allclose(once[0], 10 / 4 * (1 * 2) / (1 * 2) * math.exp(-1 / 72))


@weighing
def test_8_11_a_mean_over_the_references():
    """One of two equals the candidate, the other shares nothing."""
    found = judged(exercises.cider_d, ["a b c d", "z"], [["a b c d", "e f g h"], ["z"]])
    np.testing.assert_allclose(found, [5, 10 / 4])


@weighing
def test_8_11_silence_scores_nothing():
    np.testing.assert_allclose(judged(exercises.cider_d, ["", "c d"], [["a b"], ["c d"]]), [0, 5])


@weighing
def test_8_11_is_the_librarys():
    rng = np.random.default_rng(1)

    def sentence(low):
        return " ".join(rng.choice(list("abcdefg"), rng.integers(low, 11)))

    candidates = [sentence(0) for _ in range(25)]
    references = [[sentence(1) for _ in range(rng.integers(1, 5))] for _ in candidates]
    wanted = text.cider_d(split(candidates), split(references)).each
    np.testing.assert_allclose(judged(exercises.cider_d, candidates, references), wanted, atol=1e-12)
