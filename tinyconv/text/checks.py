"""Checks that several files here share."""

from __future__ import annotations

import numpy as np


def check_whole(who: str, name: str, value: int, least: int = 1) -> None:
    """Raise unless value is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{who}: {name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{who}: {name} must be at least {least}, got {value}")
