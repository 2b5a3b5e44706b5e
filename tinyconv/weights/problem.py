"""What is raised for a file of weights that cannot be read, or does not fit. See :class:`WeightsError`."""

from __future__ import annotations

_SHOWN = 60  # characters of a text out of a file that a message repeats


class WeightsError(ValueError):
    """A file of weights is damaged, foreign, would run code, or does not fit the model."""


class UnreadableError(Exception):
    """What is wrong with a file, without its name, which :func:`tinyconv.weights.read` puts before it.

    Parameters
    ----------
    got : str
        What was found, such as "which is empty".
    advice : str
        What to do.
    """

    def __init__(self, got: str, advice: str = "copy or download it again") -> None:
        super().__init__(got)
        self.got, self.advice = got, advice


def shown(value: object) -> str:
    """Return a text of a foreign file for a message: quoted, not too long; of any other value only its type.

    A value out of a file is never formatted as a whole: nested lists that share their parts can be endless.
    """
    if not isinstance(value, str):
        return f"a {type(value).__name__}"
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")
