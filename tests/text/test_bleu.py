"""BLEU: worked examples, the corpus as a whole, lengths, zeros, another way of counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.text import bleu

sentences = st.lists(st.sampled_from("abc"), min_size=1, max_size=7)
images = st.lists(st.tuples(st.lists(st.sampled_from("abc"), max_size=7), st.lists(sentences, min_size=1, max_size=3)),
                  min_size=1, max_size=4)  # fmt: skip


def test_clipping() -> None:
    """Seven times "the", which no reference has more than twice (Papineni et al. 2002, sec. 2.1)."""
    found = bleu(["the the the the the the the"], [["the cat is on the mat", "there is a cat on the mat"]])
    assert found.precisions.tolist() == [2 / 7, 0, 0, 0] and found.scores.tolist() == [2 / 7, 0, 0, 0]
    assert found.candidate_length == found.reference_length == 7 and found.brevity_penalty == 1


def test_papineni() -> None:
    """Candidate 1 of Papineni et al. 2002, sec. 2.1, against its three references."""
    candidate = "It is a guide to action which ensures that the military always obeys the commands of the party"
    references = [
        "It is a guide to action that ensures that the military will forever heed Party commands",
        "It is the guiding principle which guarantees the military forces always being under the command of the Party",
        "It is the practical guide for the army always to heed the directions of the party",
    ]
    found = bleu([candidate], [references])
    np.testing.assert_allclose(found.precisions, [17 / 18, 10 / 17, 7 / 16, 4 / 15], rtol=1e-15)
    assert (found.candidate_length, found.reference_length, found.brevity_penalty) == (18, 18, 1)
    np.testing.assert_allclose(found.scores, [0.944444, 0.745356, 0.624073, 0.504567], atol=5e-7)


def test_brevity() -> None:
    found = bleu(["the cat"], [["the cat is on the mat"]])
    assert found.brevity_penalty == pytest.approx(math.exp(-2), abs=1e-15) == pytest.approx(0.135335, abs=5e-7)
    np.testing.assert_allclose(found.scores, [math.exp(-2), math.exp(-2), 0, 0], rtol=1e-15)
    assert bleu(["the cat is on the mat now"], [["the cat is on the mat"]]).brevity_penalty == 1


def test_scene_sentence() -> None:
    found = bleu(
        ["a three is left of a seven"], [["a three is to the left of a seven", "there is a three and a seven"]]
    )
    np.testing.assert_allclose(found.precisions, [1, 5 / 6, 3 / 5, 1 / 4], rtol=1e-15)
    np.testing.assert_allclose(found.scores, [1, 0.912871, 0.793701, 0.594604], atol=5e-7)
    assert found.reference_length == 7


def test_closest_reference() -> None:
    """Lengths 4 and 6 are equally close to 5: the shorter, so nothing is penalised. 8 is farther than either."""
    four, six, eight = "a b c d", "a b c d e f", "a b c d e f g h"
    for references in ([four, six], [six, four], [eight, four, six]):
        found = bleu(["a b c d e"], [references])
        assert found.reference_length == 4 and found.brevity_penalty == 1
    assert bleu(["a b c d e"], [[six, eight]]).brevity_penalty == pytest.approx(math.exp(1 - 6 / 5))


def test_corpus_is_no_mean_of_sentences() -> None:
    """3 of 4 words and 1 of 2: 4 of 6, where the mean would be 5/8. Other images' references do not match."""
    found = bleu(["a b c x", "d y"], [["a b c d"], ["d e"]], n=2)
    np.testing.assert_allclose(found.precisions, [4 / 6, 2 / 4])
    assert bleu(["d e", "a b"], [["a b"], ["d e"]]).scores[0] == 0
    # Lengths, too, are summed first: too long here, too short there, on the whole neither.
    assert bleu(["a b c", "d"], [["a b"], ["d e"]]).brevity_penalty == 1


def test_most_of_one_reference_not_the_sum() -> None:
    assert bleu(["a a a"], [["a b c", "a d e"]], n=1).precisions.tolist() == [1 / 3]
    assert bleu(["a a a"], [["a a c", "a d e"]], n=1).precisions.tolist() == [2 / 3]


def test_zeros_stay_zeros() -> None:
    nothing = bleu(["x y z"], [["a b c"]])
    assert nothing.scores.tolist() == [0, 0, 0, 0] and nothing.brevity_penalty == 1
    short = bleu(["a b"], [["a b"]])  # no trigram: nothing matches
    assert short.scores.tolist() == [1, 1, 0, 0] and short.precisions.tolist() == [1, 1, 0, 0]
    # A hole in the middle makes all higher orders 0.
    assert bleu(["a x b"], [["a b"]], n=3).scores.tolist()[1:] == [0, 0]


def test_smoothing_of_coco_caption() -> None:
    """Nothing matches: (1e-15 / 3)^(1/2) for two orders, each of 3 and 2 n-grams; otherwise it hardly shows."""
    found = bleu(["x y z"], [["a b c"]], n=2, smooth="coco")
    assert found.scores[1] == pytest.approx(math.sqrt(1e-15 / 3 * 1e-15 / 2), rel=1e-6)
    seldom = bleu(["a b c d x"], [["a x b c d"]], smooth="coco")  # unigrams all, bigrams 2/4, trigrams 1/3, then none
    assert seldom.scores[3] == pytest.approx((1 * 2 / 4 * 1 / 3 * 1e-15 / 2) ** 0.25, rel=1e-6)
    exact, smooth = (bleu(["a b c d x"], [["a x b c d"]], smooth=kind) for kind in (None, "coco"))
    assert exact.scores[3] == 0 and 0 < np.abs(exact.scores[:3] - smooth.scores[:3]).max() < 1e-8


def test_empty_candidates() -> None:
    """One adds the length of its shortest reference; only empty ones have no length at all."""
    found = bleu(["a b c d", ""], [["a b c d"], ["a b c", "a b"]])
    assert (found.candidate_length, found.reference_length) == (4, 6)
    assert found.brevity_penalty == pytest.approx(math.exp(1 - 6 / 4))
    np.testing.assert_allclose(found.scores, [math.exp(-0.5)] * 4)
    found = bleu(["", []], [["a b c d"], ["a b"]])
    assert found.scores.tolist() == [0, 0, 0, 0] and found.brevity_penalty == 0 and found.candidate_length == 0
    assert bleu([""], [["a"]], smooth="coco").scores.max() < 1e-6


@given(images)
def test_against_counting_lists(corpus: list) -> None:
    """The definition with lists and no shortcut, order by order."""
    candidates, references = [c for c, _ in corpus], [r for _, r in corpus]
    found = bleu(candidates, references, n=3)
    product = 1.0
    for order in (1, 2, 3):

        def runs(words: list[str], order: int = order) -> list[list[str]]:
            return [words[i : i + order] for i in range(len(words)) if len(words[i : i + order]) == order]

        hits = total = 0
        for candidate, group in corpus:
            total += len(runs(candidate))
            for run in {tuple(run) for run in runs(candidate)}:
                hits += min(runs(candidate).count(list(run)), max(runs(words).count(list(run)) for words in group))
        product *= hits / total if total else 0
        c = sum(map(len, candidates))
        r = sum(sorted((abs(len(other) - len(words)), len(other)) for other in g)[0][1] for words, g in corpus)
        penalty = 0 if not c else 1 if c >= r else math.exp(1 - r / c)
        assert found.scores[order - 1] == pytest.approx(penalty * product ** (1 / order), abs=1e-12)
    assert (found.candidate_length, found.reference_length) == (c, r)


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=4, max_size=7), min_size=1, max_size=4))
def test_a_reference_itself_is_perfect(corpus: list[list[str]]) -> None:
    np.testing.assert_allclose(bleu(corpus, [[words, ["x"]] for words in corpus]).scores, 1)


def test_orders_and_printing() -> None:
    found = bleu(["the cat"], [["the cat is on the mat"]], n=2)
    assert repr(found) == "BLEU-1 0.1353, BLEU-2 0.1353, brevity penalty 0.1353 (2 words against 6)"
    assert found.scores.shape == found.precisions.shape == (2,)
    for wrong, error in ((0, ValueError), (2.0, TypeError), (None, TypeError)):
        with pytest.raises(error, match="bleu: n must be "):
            bleu(["a"], [["a"]], wrong)
    with pytest.raises(ValueError, match="bleu: smooth must be one of None, 'coco', got 'add-one'"):
        bleu(["a"], [["a"]], smooth="add-one")
