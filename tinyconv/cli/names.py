"""Wrong names on the command line: the right ones and the closest. See :func:`choose`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class UsageError(Exception):
    """The command line cannot be carried out; its text is one line for the reader, the exit code 2."""


def choose(what: str, given: str, names: Sequence[str], aside: str = "", any_case: bool = False) -> str:
    """Return ``given`` if it is one of the names, or raise UsageError with all of them and the closest.

    ``any_case``: return also the only name that differs from it in capitals and small letters.

    Examples
    --------
    >>> choose("model", "alexnt", ["alexnet", "lenet5"])
    Traceback (most recent call last):
    tinyconv.cli.names.UsageError: there is no model 'alexnt'; did you mean 'alexnet'? (alexnet, lenet5)
    """
    if given in names:
        return given
    alike = [name for name in names if name.casefold() == given.casefold()] if any_case else []
    if len(alike) == 1:
        return alike[0]
    close = difflib.get_close_matches(given.lower(), names, n=1, cutoff=0.5)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"there is no {what} {given!r}{guess} ({', '.join(names)}{aside})")
