"""Ways of spoiling a sentence that everybody would notice, for step 8. See :func:`spoilt`."""

from __future__ import annotations

import numpy as np

from tinyconv.data.sentences import DIGITS

SWAPS = {
    "places swapped": {"left": "right", "right": "left", "above": "below", "below": "above"},
    "sizes swapped": {"big": "small", "small": "big"},
}


def spoilt(sentences: list[str], labels: list[list[int]], rng: np.random.Generator) -> dict[str, list[str]]:
    """Return the sentences, and what is made of them, each kind by its name.

    Parameters
    ----------
    sentences : list of N str
        True ones of the grammar.
    labels : list of N lists of int
        Digits of the scenes.
    rng : numpy.random.Generator
    """
    found = {"true": sentences}
    for name, swap in SWAPS.items():
        found[name] = [" ".join(swap.get(word, word) for word in text.split()) for text in sentences]
    found["a wrong digit"] = [wrong_digit(text, there, rng) for text, there in zip(sentences, labels, strict=True)]
    found["another scene's"] = sentences[1:] + sentences[:1]
    found["shuffled"] = [" ".join(rng.permutation(text.split())) for text in sentences]
    found["half of it"] = [" ".join(text.split()[: len(text.split()) // 2]) for text in sentences]
    return found


def wrong_digit(text: str, there: list[int], rng: np.random.Generator) -> str:
    """Return the sentence with its first digit replaced by one that is not in the scene."""
    words = text.split()
    at = next(i for i, word in enumerate(words) if word in DIGITS)
    words[at] = DIGITS[int(rng.choice([digit for digit in range(10) if digit not in there]))]
    return " ".join(words)
