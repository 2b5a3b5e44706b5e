"""Scores of generated sentences, computed by hand; nearest neighbours; perplexity."""

import math

import numpy as np
import pytest

import tinyconv
from tinyconv.captioning.evaluation import evaluate_captions, nearest_neighbours, perplexity

SAID = "a three is left of a seven"
TRUE = ["a three is to the left of a seven", "there is a three and a seven"]


def test_a_sentence_by_hand():
    found = evaluate_captions([SAID], [TRUE])
    # n-grams that a true sentence has, too: 7 of 7, 5 of 6, 3 of 5, 1 of 4; the closest length is 7.
    assert found.bleu == pytest.approx([1, 0.912871, 0.793701, 0.594604], abs=1e-6)
    assert found.brevity_penalty == 1 and found.novel is None
    # The longest common subsequence: 7 of 9 words of the first, with all 7 said; beta 1.2.
    assert found.rouge == pytest.approx(2.44 * (7 / 9) / (7 / 9 + 1.44))
    # All 7 words in 2 chunks; recall counts 9 times as much as precision.
    assert found.meteor == pytest.approx((7 / 9) / (0.9 + 0.1 * 7 / 9) * (1 - 0.5 * (2 / 7) ** 3))
    assert found.cider == 0  # of one image every n-gram is in all images


def test_perfect_sentences_about_different_things():
    said = ["a b c d", "e f g h"]
    found = evaluate_captions(said, [[text] for text in said], ["A b, c d!"])
    assert found.bleu.tolist() == [1] * 4 and found.rouge == 1 and found.cider == pytest.approx(10)
    assert found.meteor == pytest.approx(1 - 0.5 / 4**3)
    assert found.novel == 0.5  # capitals and stops make no new sentence


def test_the_table():
    lines = str(evaluate_captions([SAID], [TRUE], [SAID])).splitlines()
    assert len(lines) == 2 and len(lines[0]) == len(lines[1]) <= 100
    names = lines[0].replace("METEOR (exact)", "METEOR").split()
    assert dict(zip(names, lines[1].split(), strict=True)) == {
        "BLEU-1": "1.000", "BLEU-2": "0.913", "BLEU-3": "0.794", "BLEU-4": "0.595", "brevity": "1.000",
        "CIDEr-D": "0.000", "ROUGE-L": "0.856", "METEOR": "0.786", "new": "0.0%",
    }  # fmt: skip
    assert str(evaluate_captions([SAID], [TRUE])).split()[-1] == "-"


def test_a_short_sentence_pays():
    found = evaluate_captions(["the cat"], [["the cat is on the mat"]])
    assert found.brevity_penalty == pytest.approx(0.135335, abs=1e-6) == found.bleu[0]
    assert str(found).splitlines()[1].split()[4] == "0.135"


@pytest.mark.parametrize(
    ("generated", "references", "problem"),
    [
        ([], [], ValueError),
        ([SAID], [TRUE, TRUE], ValueError),
        ([SAID], [[]], ValueError),
        ([SAID], [""], TypeError),
        ([SAID], [SAID], TypeError),
        (SAID, [TRUE], TypeError),
    ],
)
def test_what_cannot_be_judged(generated, references, problem):
    with pytest.raises(problem):
        evaluate_captions(generated, references)


def test_nothing_said_scores_nothing():
    found = evaluate_captions(["", SAID], [TRUE, TRUE], [SAID])
    assert found.novel == 0.5 and 0 < found.rouge < 0.5


def test_neighbours_by_hand():
    known = np.array([[0.0, 0], [3, 4], [3, 4], [-1, 0]])
    asked = np.array([[0.4, 0], [-0.6, 0], [3, 4.1], [-0.5, 0]])
    assert nearest_neighbours(asked, known).tolist() == [0, 3, 1, 0]  # of equal ones the first
    found = nearest_neighbours(tinyconv.tensor(asked.astype(np.float32)), known)
    assert found.tolist() == [0, 3, 1, 0] and found.dtype == np.int64
    assert nearest_neighbours(np.zeros((0, 2)), known).shape == (0,)


def test_neighbours_far_from_the_origin_are_told_apart():
    """A product of matrices would lose these distances in the squares of 1e8."""
    known = 1e8 + np.array([[0.0], [0.5], [1.0]])
    assert nearest_neighbours(known, known).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("features", "known", "message"),
    [
        (np.zeros(3), np.zeros((2, 3)), r"nearest_neighbours: features must be \(N, F\), got shape \(3,\)"),
        (np.zeros((1, 3)), np.zeros((2, 4)), r"must have one width, got \(1, 3\) and \(2, 4\)"),
        (np.zeros((1, 3)), np.zeros((0, 3)), "train_features must have at least one row, got none"),
        (np.zeros((1, 3)), np.full((2, 3), np.nan), "nearest_neighbours: train_features must be finite"),
    ],
)
def test_neighbours_that_cannot_be_found(features, known, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbours(features, known)


def test_perplexity_counts_the_end_as_a_word():
    assert perplexity([3 * math.log(0.25)], [2]) == pytest.approx(4)  # two words and END
    assert perplexity([math.log(0.5)], [0]) == pytest.approx(2)
    assert perplexity([0.0, 0.0], [5, 1]) == 1
    # 1/2 for each of 4, 1/8 for each of 2: exp(10 ln 2 / 6)
    assert perplexity(np.log([0.5**4, 0.125**2]), np.array([3, 1])) == pytest.approx(2 ** (10 / 6))
    assert perplexity([-np.inf, 0.0], [1, 1]) == math.inf
    assert perplexity(tinyconv.tensor([-2.0]), tinyconv.tensor([1])) == pytest.approx(math.e)


@pytest.mark.parametrize(
    ("sums", "lengths", "message"),
    [
        ([], [], "of at least one sentence"),
        ([-1.0], [1, 2], r"must both be \(N,\) .* got shapes \(1,\) and \(2,\)"),
        ([-1.0], [-1], r"lengths must be ints of at least 0, got \[-1\]"),
        ([-1.0], [1.5], "lengths must be ints"),
        ([np.nan, -1], [1, 1], "log_probabilities must be at most 0, got nan"),
        ([-1, 0.5], [1, 1], "log_probabilities must be at most 0, got 0.5"),
    ],
)
def test_what_has_no_perplexity(sums, lengths, message):
    with pytest.raises(ValueError, match=message):
        perplexity(sums, lengths)
