"""What is a word. See :func:`tokenise`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_APOSTROPHES = re.compile("['\u2019]")
_WORD = re.compile(r"[^\W_]+")


def tokenise(text: str) -> list[str]:
    """Return the words of a sentence, in lower case: letters and digits, and nothing else.

    An apostrophe is left out, so that "it's" is one word, "its"; every other character that is no letter and no digit
    ends a word. The paper keeps alphanumeric characters only and does not say where words end (Karpathy & Fei-Fei
    2015, sec. 4); coco-caption's tokeniser cuts "it's" in two. Candidates and references must be cut by one rule.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str

    Raises
    ------
    TypeError
        text is no string.

    Examples
    --------
    >>> tokenise("A dog's T-shirt, size 12.")
    ['a', 'dogs', 't', 'shirt', 'size', '12']
    """
    if not isinstance(text, str):
        raise TypeError(f"tokenise: text must be a string, got {text!r}")
    return _WORD.findall(_APOSTROPHES.sub("", unicodedata.normalize("NFC", text.lower())))


def as_words(who: str, sentence: str | Sequence[str], name: str = "a sentence") -> list[str]:
    """Return the words of a sentence that is a string, or words already; raise TypeError for anything else.

    Words given as such stay as they are: nothing is put into lower case.
    """
    if isinstance(sentence, str):
        return tokenise(sentence)
    if not isinstance(sentence, (list, tuple)) or not all(isinstance(word, str) for word in sentence):
        raise TypeError(f"{who}: {name} must be a string or a list of words, got {sentence!r}")
    return list(sentence)
