"""The kinds of distorted digits, their options and the checks of these. See :class:`tinyconv.data.DistortedDigits`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv.data.digit_sources import DigitSources
from tinyconv.data.drawn import is_int, is_number

#: What each kind of distortion can be told, and what the paper says.
KINDS: dict[str, dict[str, Any]] = {
    "r": {"size": 28, "angle": 90.0},
    "rts": {"size": 42, "angle": 45.0, "scale": (0.7, 1.2)},
    "p": {"size": 28, "scale": (0.75, 1.0), "deviation": 5.0},
    "e": {"size": 28, "scale": (0.75, 1.0), "deviation": 1.5},
    "tc": {"size": 60, "clutter": 6, "clutter_side": 6},
}


def check_options(who: str, kind: str, given: dict[str, Any], digit: int) -> dict[str, Any]:
    """Return the options of a kind, the paper's where nothing was given, or raise."""
    known = KINDS[kind]
    for name in given:
        if name not in known:
            raise TypeError(f"{who}: the kind {kind!r} has no {name}, only {', '.join(known)}; got {given[name]!r}")
    options = known | given
    for name in ("size", "clutter", "clutter_side"):
        if name in options and not is_int(options[name]):
            raise TypeError(f"{who}: {name} must be an int, got {options[name]!r}")
    for name in ("angle", "deviation"):
        if name in options and not is_number(options[name]):
            raise TypeError(f"{who}: {name} must be a finite number, got {options[name]!r}")
    if options["size"] < digit:
        raise ValueError(f"{who}: size must be at least digit={digit}, got {options['size']}")
    if not 0 <= options.get("angle", 0) <= 180:
        raise ValueError(f"{who}: angle must lie in 0..180 degrees, got {options['angle']}")
    if options.get("deviation", 0) < 0:
        raise ValueError(f"{who}: deviation must be at least 0, got {options['deviation']}")
    if options.get("clutter", 0) < 0 or not 1 <= options.get("clutter_side", 1) <= digit:
        raise ValueError(
            f"{who}: wanted clutter >= 0 and clutter_side in 1..digit={digit}, "
            f"got {options['clutter']} and {options['clutter_side']}"
        )
    if "scale" in options:
        ends = options["scale"]
        ends = (ends, ends) if is_number(ends) else ends
        if not isinstance(ends, (tuple, list, np.ndarray)) or len(ends) != 2 or not all(map(is_number, ends)):
            raise TypeError(f"{who}: scale must be a number or a pair (low, high), got {options['scale']!r}")
        if not 0.5 <= ends[0] <= ends[1]:
            raise ValueError(f"{who}: scale must be 0.5 <= low <= high, got {options['scale']!r}")
        options["scale"] = float(ends[0]), float(ends[1])
    return options


def check_room(who: str, sources: DigitSources, size: int, angle: float, scale: float) -> None:
    """Raise unless the ink of every digit fits into the image, however it is turned and scaled."""
    x1, y1, x2, y2 = sources.ink.T
    width, height = x2 - x1 + 1, y2 - y1 + 1
    for along, other in ((width, height), (height, width)):
        at = np.minimum(np.arctan2(other, along), math.radians(angle))  # the angle at which it reaches furthest
        need = scale * float((along * np.cos(at) + other * np.sin(at)).max()) - 1
        if need > size:
            raise ValueError(
                f"{who}: digits of {sources.images.shape[2]} px turned by up to {angle:g} degrees and scaled by up to "
                f"{scale:g} need an image of {math.ceil(need)} px, got size={size}"
            )
