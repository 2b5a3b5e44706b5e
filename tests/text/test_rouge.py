"""ROUGE-L by hand; the longest common subsequence against trying all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.text import rouge_l
from tinyconv.text.rouge import common_subsequence

words = st.lists(st.sampled_from("abc"), max_size=6)


@given(words, words)
def test_common_subsequence_against_all(a: list[str], b: list[str]) -> None:
    def every(sentence: list[str]) -> set[tuple[str, ...]]:
        return {run for n in range(len(sentence) + 1) for run in itertools.combinations(sentence, n)}

    assert common_subsequence(a, b) == common_subsequence(b, a) == max(map(len, every(a) & every(b)))


def test_lin() -> None:
    """The sentences of Lin 2004, sec. 3.1, where P = R, so that beta does not matter."""
    found = rouge_l(["police kill the gunman", "the gunman kill police"], [["police killed the gunman"]] * 2)
    assert found.each.tolist() == pytest.approx([3 / 4, 2 / 4]) and found.mean == pytest.approx(5 / 8)


def test_precision_and_recall_are_weighed() -> None:
    """P = 1, R = 2/6: (1 + 1.44) (1/3) / (1/3 + 1.44). The other way round P = 1/3, R = 1."""
    assert rouge_l(["the mat"], [["the cat is on the mat"]]).mean == pytest.approx(2.44 / 3 / (1 / 3 + 1.44))
    assert rouge_l(["the cat is on the mat"], [["the mat"]]).mean == pytest.approx(2.44 / 3 / (1 + 1.44 / 3))


def test_the_best_of_both_may_come_from_two_references() -> None:
    assert rouge_l(["a b c d"], [["a b c d e f g h", "a"]]).mean == pytest.approx(1)
    assert rouge_l(["a b c d"], [["a b c d e f g h"]]).mean < 1 and rouge_l(["a b c d"], [["a"]]).mean < 1


def test_nothing_in_common() -> None:
    assert rouge_l(["x y", "", []], [["a b"], ["a", "b"], ["c"]]).each.tolist() == [0, 0, 0]
