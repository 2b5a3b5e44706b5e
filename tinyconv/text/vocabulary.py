"""Words as numbers. See :class:`Vocabulary`; :func:`pad` makes one array of many sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from tinyconv import errors
from tinyconv.text.checks import check_whole
from tinyconv.text.tokens import as_words

END = "<end>"  # index 0: what a sentence starts with on the input, and ends with on the output
PADDING = -1


class Vocabulary:
    """The words that a model knows, each with a number, and how often they occurred.

    Number 0 is no word of a sentence: it is START on a model's input and END on its output (Karpathy & Fei-Fei 2015,
    sec. 3.2, and the authors' program). Its count is the number of sentences. Both attributes are plain lists, which go
    into a checkpoint or a JSON file as they are.

    Parameters
    ----------
    words : sequence of V str
        The first is "<end>".
    counts : sequence of V int
        At least 1 each.

    Attributes
    ----------
    words : list of V str
    counts : list of V int

    Raises
    ------
    TypeError
        A word is no string, or a count no whole number.
    ValueError
        The first word is not "<end>", a word comes twice, there are not as many counts as words, a count is below 1.

    Examples
    --------
    >>> vocabulary = Vocabulary.build(["a dog runs", "a dog sleeps", "a cat"], threshold=2)
    >>> vocabulary.words, vocabulary.counts
    (['<end>', 'a', 'dog'], [3, 3, 2])
    >>> vocabulary.encode("A cat sees a dog.").tolist(), vocabulary.missing("A cat sees a dog.")
    ([1, 1, 2], ['cat', 'sees'])
    >>> vocabulary.decode([1, 2, 0, 2])
    'a dog'
    """

    def __init__(self, words: Sequence[str], counts: Sequence[int]) -> None:
        words = as_words("Vocabulary", words, "words")
        if not words or words[0] != END:
            raise ValueError(f"Vocabulary: the first word must be {END!r}, got {words[0] if words else 'no word'!r}")
        twice = [word for word, times in Counter(words).items() if times > 1]
        if twice:
            raise ValueError(f"Vocabulary: words must differ, got {twice[0]!r} twice")
        given = np.asarray(counts)
        if given.shape != (len(words),):
            raise ValueError(f"Vocabulary: wanted a count for each of {len(words)} words, got shape {given.shape}")
        if given.dtype.kind not in "iu":
            raise TypeError(f"Vocabulary: counts must be whole numbers, got {given.dtype}")
        if given.min() < 1:
            raise ValueError(f"Vocabulary: counts must be at least 1, got {given.min()} for {words[given.argmin()]!r}")
        self.words: list[str] = words
        self.counts: list[int] = given.tolist()
        self._numbers = {word: i for i, word in enumerate(words) if i}

    @classmethod
    def build(cls, sentences: Iterable[str | Sequence[str]], threshold: int = 5) -> Vocabulary:
        """Return the words that occur at least so often, the most frequent first; equally frequent ones by alphabet.

        Parameters
        ----------
        sentences : iterable of str or of lists of str
        threshold : int
            Occurrences a word needs: 5 in the paper (sec. 4).

        Raises
        ------
        TypeError
            A sentence is neither a string nor a list of words; threshold is no whole number.
        ValueError
            There is no sentence, no word is frequent enough, or threshold is below 1.
        """
        who = "Vocabulary.build"
        if isinstance(sentences, str):
            raise TypeError(f"{who}: sentences must be a list of sentences, got one string; put it into a list")
        check_whole(who, "threshold", threshold)
        total, counter = 0, Counter[str]()
        for sentence in sentences:
            total += 1
            counter.update(as_words(who, sentence))
        if not total:
            raise ValueError(f"{who}: wanted at least one sentence, got none")
        del counter[END]
        kept = sorted((-count, word) for word, count in counter.items() if count >= threshold)
        if not kept:
            raise ValueError(
                f"{who}: none of {len(counter)} words of {total} sentences occurs {threshold} times; lower threshold"
            )
        return cls([END, *(word for _, word in kept)], [total, *(-count for count, _ in kept)])

    def encode(self, sentence: str | Sequence[str]) -> np.ndarray:
        """Return the numbers of a sentence's words, (T,) int64; words that are not known are left out.

        Neither START nor END is added. :meth:`missing` says what was left out.

        Raises
        ------
        TypeError
            The sentence is neither a string nor a list of words.
        ValueError
            A list holds text of several words, such as a list of sentences does.
        """
        words = self._of("Vocabulary.encode", sentence)
        return np.array([self._numbers[word] for word in words if word in self._numbers], np.int64)

    def missing(self, sentence: str | Sequence[str]) -> list[str]:
        """Return the words of a sentence that :meth:`encode` leaves out, each once, in their order."""
        words = self._of("Vocabulary.missing", sentence)
        return list(dict.fromkeys(word for word in words if word not in self._numbers))

    def _of(self, who: str, sentence: str | Sequence[str]) -> list[str]:
        """Return the words of a sentence; ValueError if one that is not known is no single word."""
        words = as_words(who, sentence)
        for word in words:
            if len(word.split()) > 1 and word not in self._numbers:
                raise ValueError(f"{who}: {word!r} is no single word; encode one sentence at a time")
        return words

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the sentence of these numbers, up to the first 0 (END) or -1 (padding).

        Raises
        ------
        TypeError
            ids are no whole numbers.
        ValueError
            ids are not one sentence.
        IndexError
            A number has no word.
        """
        numbers = _whole("Vocabulary.decode", ids)
        errors.check_range("Vocabulary.decode", "ids", numbers, len(self), ignore=PADDING)
        stops = np.flatnonzero(numbers <= 0)
        return " ".join(self.words[i] for i in numbers[: stops[0] if len(stops) else None])

    def log_frequencies(self) -> np.ndarray:
        """Return log(count / sum of all counts), (V,) float64: what a caption model's last bias starts from.

        END counts once for each sentence. With weights near 0 a model then begins with the perplexity of the unigrams
        (Karpathy & Fei-Fei 2015, sec. 3.2, "Optimization").
        """
        counts = np.array(self.counts, np.float64)
        return np.log(counts / counts.sum())

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._numbers

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self.words == other.words and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]  # two lists that may be changed

    def __repr__(self) -> str:
        shown = " ".join(self.words[1:6]) + (" ..." if len(self) > 6 else "")
        return f"Vocabulary({len(self)} with {END}: {shown}; {sum(self.counts)} words of {self.counts[0]} sentences)"


def pad(sentences: Sequence[np.ndarray | Sequence[int]], limit: int | None = None) -> np.ndarray:
    """Return sentences of different lengths as one array, filled up with -1.

    Parameters
    ----------
    sentences : sequence of N arrays, (T_n,)
        Numbers of words, as :meth:`Vocabulary.encode` returns them; may be empty.
    limit : int, optional
        Longer sentences are cut after so many words.

    Returns
    -------
    array of int64, (N, T)    T is the length of the longest sentence, as cut

    Raises
    ------
    TypeError
        A sentence holds no whole numbers.
    ValueError
        A sentence is not (T,), or holds a negative number; limit is below 1.

    Examples
    --------
    >>> pad([[3, 1], [], [2, 1, 1, 4]], limit=3).tolist()
    [[3, 1, -1], [-1, -1, -1], [2, 1, 1]]
    """
    if limit is not None:
        check_whole("pad", "limit", limit)
    rows = [_whole("pad", sentence, f"sentence {n}")[:limit] for n, sentence in enumerate(sentences)]
    ids = np.full((len(rows), max(map(len, rows), default=0)), PADDING, np.int64)
    for n, row in enumerate(rows):
        if len(row) and row.min() < 0:
            raise ValueError(f"pad: numbers of words must be at least 0, sentence {n} has {row.min()}")
        ids[n, : len(row)] = row
    return ids


def lengths_of(ids: np.ndarray) -> np.ndarray:
    """Return how many words each padded sentence has, (N,) int64.

    Parameters
    ----------
    ids : array of integers, (N, T)
        -1 from the sentence's end on, as :func:`pad` makes it.

    Raises
    ------
    TypeError
        ids are no whole numbers.
    ValueError
        ids are not (N, T), or a word follows a -1.

    Examples
    --------
    >>> lengths_of(np.array([[3, 1, -1], [-1, -1, -1], [2, 1, 1]])).tolist()
    [2, 0, 3]
    """
    ids = np.asarray(ids)
    if ids.ndim != 2:
        raise ValueError(f"lengths_of: ids must be (N, T), got shape {ids.shape}")
    if ids.dtype.kind not in "iu":
        raise TypeError(f"lengths_of: ids must be whole numbers, got {ids.dtype}")
    words = ids != PADDING
    if (words[:, 1:] > words[:, :-1]).any():
        row = int(np.argmax((words[:, 1:] > words[:, :-1]).any(1)))
        raise ValueError(f"lengths_of: -1 must come after all words, sentence {row} is {ids[row].tolist()}")
    return words.sum(1, dtype=np.int64)


def _whole(who: str, ids: Sequence[int] | np.ndarray, name: str = "ids") -> np.ndarray:
    """Return one sentence's numbers, (T,) int64, or raise."""
    numbers = np.asarray(ids)
    if numbers.ndim != 1:
        raise ValueError(f"{who}: {name} must be (T,), got shape {numbers.shape}")
    if numbers.size and numbers.dtype.kind not in "iu":
        raise TypeError(f"{who}: {name} must be whole numbers, got {numbers.dtype}")
    return numbers.astype(np.int64)
