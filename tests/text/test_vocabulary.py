"""Words as numbers and back, which words are kept, how often they occur; padded sentences."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.text import Vocabulary, lengths_of, pad

SENTENCES = ["A dog, a cat.", "the dog runs", "the cat runs", "zebra", "a bird"]


def test_order_by_count_then_alphabet() -> None:
    vocabulary = Vocabulary.build(SENTENCES, threshold=2)
    assert vocabulary.words == ["<end>", "a", "cat", "dog", "runs", "the"]
    assert vocabulary.counts == [5, 3, 2, 2, 2, 2]
    assert Vocabulary.build(SENTENCES[::-1], threshold=2) == vocabulary
    lists = [["a", "dog", "a", "cat"], ("the", "dog", "runs"), ["the", "cat", "runs"], ["zebra"], ["a", "bird"]]
    assert Vocabulary.build(iter(lists), threshold=2) == vocabulary


@pytest.mark.parametrize("threshold, size", [(1, 8), (2, 6), (3, 2)])
def test_threshold_is_met_not_exceeded(threshold: int, size: int) -> None:
    assert len(Vocabulary.build(SENTENCES, threshold)) == size


def test_five_occurrences_by_default() -> None:
    assert Vocabulary.build(["a b"] * 4 + ["a c"]).words == ["<end>", "a"]


def test_end_is_no_word() -> None:
    """Whatever the sentences hold, number 0 is START and END, and counts sentences."""
    vocabulary = Vocabulary.build([["<end>", "a"], ["a", "<end>"], []], threshold=1)
    assert vocabulary.words == ["<end>", "a"] and vocabulary.counts == [3, 2]
    assert vocabulary.encode(["a", "<end>"]).tolist() == [1] and vocabulary.missing(["a", "<end>"]) == ["<end>"]
    assert "<end>" not in vocabulary and "a" in vocabulary


def test_encode_leaves_out_what_it_lacks() -> None:
    vocabulary = Vocabulary.build(SENTENCES, threshold=2)
    ids = vocabulary.encode("A ZEBRA sees the cat; the zebra flees.")
    assert ids.tolist() == [1, 5, 2, 5] and ids.dtype == np.int64
    assert vocabulary.missing("A ZEBRA sees the cat; the zebra flees.") == ["zebra", "sees", "flees"]
    for nothing in ("zebra flees", "", [], ["A"]):  # words given as such are not put into lower case
        found = vocabulary.encode(nothing)
        assert found.shape == (0,) and found.dtype == np.int64
    assert vocabulary.missing("a dog") == []


@pytest.mark.parametrize("what", ["encode", "missing"])
def test_a_list_of_sentences_is_no_sentence(what: str) -> None:
    vocabulary = Vocabulary(["<end>", "a", "new york"], [1, 1, 1])
    message = f"Vocabulary.{what}: 'a dog' is no single word; encode one sentence at a time"
    with pytest.raises(ValueError, match=message):
        getattr(vocabulary, what)(["a dog"])
    getattr(vocabulary, what)(["a", "dog", "new york"])  # a word that it was given
    assert vocabulary.encode(["new york", "a"]).tolist() == [2, 1]


def test_decode_stops_at_end_and_at_padding() -> None:
    vocabulary = Vocabulary.build(SENTENCES, threshold=2)
    assert vocabulary.decode([5, 3, 4]) == "the dog runs"
    assert vocabulary.decode(np.array([5, 3, 0, 4, 0])) == "the dog"
    assert vocabulary.decode((5, 3, -1, -1)) == "the dog"
    assert vocabulary.decode([]) == vocabulary.decode([0, 1]) == vocabulary.decode([-1]) == ""


@given(st.lists(st.integers(1, 5), max_size=8))
def test_there_and_back(ids: list[int]) -> None:
    vocabulary = Vocabulary.build(SENTENCES, threshold=2)
    assert vocabulary.encode(vocabulary.decode(ids)).tolist() == ids


def test_log_frequencies() -> None:
    """Of 16: 5 sentences, 3 + 2 + 2 + 2 + 2 words that are kept; the others count nowhere."""
    vocabulary = Vocabulary.build(SENTENCES, threshold=2)
    np.testing.assert_allclose(vocabulary.log_frequencies(), np.log(np.array([5, 3, 2, 2, 2, 2]) / 16), rtol=1e-15)
    assert np.exp(vocabulary.log_frequencies()).sum() == pytest.approx(1, abs=1e-15)


def test_json_and_repr() -> None:
    vocabulary = Vocabulary.build(SENTENCES, threshold=2)
    kept = json.loads(json.dumps({"words": vocabulary.words, "counts": vocabulary.counts}))
    again = Vocabulary(**kept)
    assert again == vocabulary and again.encode("the cat").tolist() == [5, 2]
    assert again != Vocabulary(kept["words"], [1] * 6) and again != kept
    assert repr(again) == "Vocabulary(6 with <end>: a cat dog runs the; 16 words of 5 sentences)"
    many = Vocabulary(["<end>", *"abcdef"], [1] * 7)
    assert repr(many) == "Vocabulary(7 with <end>: a b c d e ...; 7 words of 1 sentences)"


def test_vocabulary_errors() -> None:
    rows = [
        ((["a", "<end>"], [1, 1]), ValueError, "the first word must be '<end>', got 'a'"),
        (([], []), ValueError, "the first word must be '<end>', got 'no word'"),
        ((["<end>", "a", "a"], [1, 1, 1]), ValueError, "words must differ, got 'a' twice"),
        ((["<end>", "a"], [1]), ValueError, r"wanted a count for each of 2 words, got shape \(1,\)"),
        ((["<end>", "a"], [1, 0.5]), TypeError, "counts must be whole numbers, got float64"),
        ((["<end>", "a"], [1, 0]), ValueError, "counts must be at least 1, got 0 for 'a'"),
        ((["<end>", 3], [1, 1]), TypeError, "words must be a string or a list of words"),
    ]
    for arguments, error, message in rows:
        with pytest.raises(error, match=f"Vocabulary: {message}"):
            Vocabulary(*arguments)


def test_build_errors() -> None:
    with pytest.raises(ValueError, match="build: wanted at least one sentence, got none"):
        Vocabulary.build([])
    with pytest.raises(ValueError, match="build: none of 2 words of 4 sentences occurs 5 times; lower threshold"):
        Vocabulary.build(["a b"] * 4)
    with pytest.raises(ValueError, match="build: none of 0 words of 2 sentences occurs 1 times"):
        Vocabulary.build(["", "..."], threshold=1)
    with pytest.raises(ValueError, match="build: threshold must be at least 1, got 0"):
        Vocabulary.build(["a"], threshold=0)
    with pytest.raises(TypeError, match="build: threshold must be a whole number, got 1.5"):
        Vocabulary.build(["a"], threshold=1.5)
    with pytest.raises(TypeError, match="build: sentences must be a list of sentences, got one string"):
        Vocabulary.build("a dog")
    with pytest.raises(TypeError, match="build: a sentence must be a string or a list of words, got 3"):
        Vocabulary.build([3])


def test_decode_errors() -> None:
    vocabulary = Vocabulary(["<end>", "a"], [1, 1])
    for wrong in ([2], [1, 0, 5], [-2]):
        with pytest.raises(IndexError, match=rf"decode: ids must be in \[0, 2\), got {wrong[-1]}"):
            vocabulary.decode(wrong)
    with pytest.raises(TypeError, match="decode: ids must be whole numbers, got float64"):
        vocabulary.decode([1.0])
    with pytest.raises(ValueError, match=r"decode: ids must be \(T,\), got shape \(1, 1\)"):
        vocabulary.decode([[1]])


def test_pad_and_lengths() -> None:
    sentences = [np.array([3, 1, 2]), np.zeros(0, np.int64), [4], []]
    ids = pad(sentences)
    assert ids.tolist() == [[3, 1, 2], [-1, -1, -1], [4, -1, -1], [-1, -1, -1]] and ids.dtype == np.int64
    assert lengths_of(ids).tolist() == [3, 0, 1, 0] and lengths_of(ids).dtype == np.int64
    assert pad(sentences, limit=2).tolist() == [[3, 1], [-1, -1], [4, -1], [-1, -1]]
    assert pad(sentences, limit=9).tolist() == ids.tolist()
    assert pad([]).shape == (0, 0) and pad([[], []]).shape == (2, 0)
    assert lengths_of(pad([])).shape == (0,) and lengths_of(pad([[], []])).tolist() == [0, 0]


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=5), st.integers(1, 6))
def test_padding_keeps_the_sentences(sentences: list[list[int]], limit: int) -> None:
    ids = pad(sentences, limit)
    lengths = lengths_of(ids)
    assert [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)] == [s[:limit] for s in sentences]


def test_pad_errors() -> None:
    with pytest.raises(ValueError, match="pad: numbers of words must be at least 0, sentence 1 has -1"):
        pad([[1], [2, -1]])
    with pytest.raises(ValueError, match=r"pad: sentence 0 must be \(T,\), got shape \(\)"):
        pad([1, 2])
    with pytest.raises(TypeError, match="pad: sentence 0 must be whole numbers, got float64"):
        pad([[0.5]])
    with pytest.raises(ValueError, match="pad: limit must be at least 1, got 0"):
        pad([[1]], limit=0)
    with pytest.raises(ValueError, match=r"lengths_of: -1 must come after all words, sentence 1 is \[-1, 2\]"):
        lengths_of(np.array([[1, 2], [-1, 2]]))
    with pytest.raises(ValueError, match=r"lengths_of: ids must be \(N, T\), got shape \(2,\)"):
        lengths_of(np.array([1, 2]))
    with pytest.raises(TypeError, match="lengths_of: ids must be whole numbers, got float64"):
        lengths_of(np.ones((1, 2)))
