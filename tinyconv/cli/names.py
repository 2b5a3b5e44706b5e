"""Names on the command line: what a wrong one should have been, a figure's file. See :func:`choose`, :func:`png`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path


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


def png(given: str, example: str) -> Path:
    """Return the file that ``--out`` names; without an ending it becomes a PNG.

    Raises
    ------
    UsageError
        It is a folder (then ``example`` is a name for a file in it), or ends in something else.
    """
    path = Path(given)
    if path.is_dir() or given.endswith(tuple(filter(None, (os.sep, os.altsep)))):
        raise UsageError(f"--out must name a file, got the folder {given}; such as {path / example}")
    if path.suffix.lower() not in ("", ".png"):
        raise UsageError(f"--out must end in .png, as the figure is a PNG; got {given}")
    return path if path.suffix else path.with_suffix(".png")
