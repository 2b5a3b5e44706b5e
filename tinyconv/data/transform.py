"""What every image transform is: a frozen record of its settings, and a JSON form of it. See :class:`Transform`."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

#: A setting for height and width: one int for both, or (height, width); a transform stores the second form.
Pair = int | tuple[int, int]


@dataclass(frozen=True, eq=False)
class Transform(ABC):
    """A function of an image and a random generator, which can be written down.

    A subclass is a frozen dataclass whose fields are its settings, and defines ``__call__(image, rng) -> image``. The
    image is (C, H, W) float32; the result may be a view of it, the input itself is never written to. A deterministic
    transform ignores ``rng``, which may then be left out.
    """

    random: ClassVar[bool] = False  # whether it needs the generator

    @abstractmethod
    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return the transformed image."""

    def describe(self) -> dict[str, Any]:
        """Return the settings as a dict that JSON can hold; ``from_description`` makes the transform again."""
        return {"kind": type(self).__name__} | {f.name: encode(getattr(self, f.name)) for f in fields(self)}


def encode(value: Any) -> Any:
    """Return a setting as JSON values; an array becomes its bytes in base64, so that nothing is rounded."""
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        data = base64.b64encode(little.tobytes()).decode("ascii")
        return {"array": data, "dtype": little.dtype.str, "shape": list(value.shape)}
    if isinstance(value, tuple):
        return [encode(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def decode(value: Any) -> Any:
    """Undo :func:`encode`; a list becomes a tuple."""
    if isinstance(value, dict) and "array" in value:
        dtype = np.dtype(value["dtype"])
        data = np.frombuffer(base64.b64decode(value["array"]), dtype).reshape(value["shape"])
        return data.astype(dtype.newbyteorder("="))
    if isinstance(value, list):
        return tuple(decode(part) for part in value)
    return value


def check_image(who: str, image: np.ndarray, crops: bool = False) -> None:
    """Raise unless the image is a (C, H, W) float32 array; with ``crops`` leading axes are allowed, as TenCrop adds."""
    if not isinstance(image, np.ndarray) or image.ndim < 3 or (image.ndim > 3 and not crops):
        got = f"shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"{who}: the image must be an array (C, H, W), got {got}")
    if image.dtype != np.float32:
        raise TypeError(f"{who}: the image must be float32, got {image.dtype}; put ToFloat() before it")


def check_rng(who: str, rng: np.random.Generator | None) -> np.random.Generator:
    """Raise unless a generator was given."""
    if rng is None:
        raise TypeError(f"{who}: is random and needs a generator: call it as transform(image, rng)")
    return rng


def as_pair(value: Pair) -> tuple[int, int]:
    """Return (height, width)."""
    return (value, value) if isinstance(value, int) else value


def freeze_pair(transform: Transform, name: str, minimum: int = 1) -> None:
    """Check a setting that is an int or a pair (height, width) and store it as a pair."""
    value = getattr(transform, name)
    pair = (value, value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else value
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(v, (int, np.integer)) for v in pair):
        raise TypeError(
            f"{type(transform).__name__}: {name} must be an int or a pair (height, width) of ints, got {value!r}"
        )
    if min(pair) < minimum:
        raise ValueError(f"{type(transform).__name__}: {name} must be at least {minimum}, got {value!r}")
    object.__setattr__(transform, name, (int(pair[0]), int(pair[1])))
