"""Image transforms: every class, composition, the JSON form. See :class:`Compose`, :func:`from_description`.

A transform is called as ``transform(image, rng)`` with a (C, H, W) float32 image; the loader gives each image of each
epoch a generator of its own, so the draw does not depend on the batch size, the order or the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyconv.data.colour import Normalize, PCAColor, SubtractMean, ToFloat
from tinyconv.data.geometric import (
    CenterCrop,
    Pad,
    RandomCrop,
    RandomMirror,
    RandomResize,
    RandomResizedCrop,
    Resize,
    ResizeWithin,
    TenCrop,
)
from tinyconv.data.transform import Transform, decode

__all__ = [
    "CenterCrop", "Compose", "Normalize", "PCAColor", "Pad", "RandomCrop", "RandomMirror", "RandomResize",
    "RandomResizedCrop", "Resize", "ResizeWithin", "SubtractMean", "TenCrop", "ToFloat", "Transform",
    "from_description",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Compose(Transform):
    """Apply transforms one after the other, all drawing from the same generator.

    Parameters
    ----------
    transforms : sequence of callables
        (image, rng) -> image. Only those of class Transform can be stored in a checkpoint.

    Examples
    --------
    >>> view = Compose([Resize(32), CenterCrop(28)])
    >>> view(np.zeros((3, 40, 60), np.float32)).shape
    (3, 28, 28)
    """

    transforms: Sequence[Transform]

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether one of its parts is."""
        return any(getattr(part, "random", False) for part in self.transforms)

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(self.transforms))
        for part in self.transforms:
            if not callable(part):
                raise TypeError(f"Compose: every transform must be callable as transform(image, rng), got {part!r}")

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        for part in self.transforms:
            image = part(image, rng)
        return image

    def describe(self) -> dict[str, Any]:
        """Return the descriptions of the parts, in order."""
        for part in self.transforms:
            if not isinstance(part, Transform):
                raise TypeError(
                    f"Compose: {part!r} cannot be described; make it a frozen dataclass that derives from Transform"
                )
        return {"kind": "Compose", "transforms": [part.describe() for part in self.transforms]}


KINDS: dict[str, type[Transform]] = {
    kind.__name__: kind
    for kind in (
        CenterCrop, Compose, Normalize, PCAColor, Pad, RandomCrop, RandomMirror, RandomResize, RandomResizedCrop,
        Resize, ResizeWithin, SubtractMean, TenCrop, ToFloat,
    )
}  # fmt: skip


def from_description(description: dict[str, Any], kinds: dict[str, type[Transform]] | None = None) -> Transform:
    """Make a transform from what its ``describe()`` returned, also after a way through JSON.

    Parameters
    ----------
    description : dict
        ``{"kind": class name, setting: value, ...}``.
    kinds : dict, optional
        More classes by name, for transforms of your own.

    Raises
    ------
    ValueError
        The kind is unknown, or the settings are not those of the kind.

    Examples
    --------
    >>> from_description({"kind": "Resize", "size": [24, 32]})
    Resize(size=(24, 32), method='bilinear')
    """
    known = KINDS | (kinds or {})
    kind = description.get("kind") if isinstance(description, dict) else description
    if not isinstance(description, dict) or kind not in known:
        raise ValueError(f"from_description: kind must be one of {', '.join(sorted(known))}, got {kind!r}")
    settings = {name: value for name, value in description.items() if name != "kind"}
    if kind == "Compose":
        return Compose([from_description(part, kinds) for part in settings.get("transforms", ())])
    try:
        return known[kind](**{name: decode(value) for name, value in settings.items()})
    except TypeError as error:
        raise ValueError(f"from_description: {kind} cannot be made from {sorted(settings)} ({error})") from error
