"""What is a word: letters and digits, whatever stands between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.text import tokenise
from tinyconv.text.tokens import as_words


@pytest.mark.parametrize(
    "text, words",
    [
        ("A dog runs .", ["a", "dog", "runs"]),
        ("  Two\tthrees,\nand (one) 7!  ", ["two", "threes", "and", "one", "7"]),
        ("it's the dogs' T-shirt", ["its", "the", "dogs", "t", "shirt"]),
        ("it\u2019s", ["its"]),
        ("snake_case", ["snake", "case"]),
        ("Caf\u00e9 cafe\u0301 STRASSE stra\u00dfe", ["caf\u00e9", "caf\u00e9", "strasse", "stra\u00dfe"]),
        ("\u72ac \u8d70", ["\u72ac", "\u8d70"]),
        ("", []),
        (" .,;' \u2014 ", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert tokenise(text) == words


@given(st.text(max_size=30))
def test_words_are_lower_case_letters_and_digits_and_stay_words(text: str) -> None:
    words = tokenise(text)
    assert all(word.isalnum() and word == word.lower() for word in words)
    assert tokenise(" ".join(words)) == words


def test_words_given_as_such_stay() -> None:
    given_words = ["A", "T-shirt", "<end>"]
    found = as_words("f", given_words)
    assert found == given_words and found is not given_words
    assert as_words("f", ("a", "b")) == ["a", "b"] and as_words("f", "A b") == ["a", "b"]


def test_errors() -> None:
    for wrong in (None, 3, b"a", ["a"]):
        with pytest.raises(TypeError, match="tokenise: text must be a string, got "):
            tokenise(wrong)
    for wrong in (None, 3, b"a", [1], ["a", None], {"a"}):
        with pytest.raises(TypeError, match="f: candidate 2 must be a string or a list of words, got "):
            as_words("f", wrong, "candidate 2")
