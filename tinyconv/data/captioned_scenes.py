"""Scenes with sentences about them. See :class:`CaptionedScenes`."""

from __future__ import annotations

from typing import Any

from tinyconv.data.detection import SceneDetection
from tinyconv.data.scenes import Scene, Scenes
from tinyconv.data.sentences import describe
from tinyconv.random import generator


class CaptionedScenes:
    """n scenes of two or three digits, drawn once and kept, each with some templated sentences about it.

    Scene i and its sentences are functions of the arguments and (seed, split, i), not of ``n``: see
    :class:`~tinyconv.data.scenes.Scenes`, :func:`~tinyconv.data.sentences.describe`.

    Parameters
    ----------
    n : int
        Number of scenes.
    seed : int
    split : {"train", "val", "test"}
        No digit of one split is in another.
    paraphrases : (int, int)
        Range of the number of sentences of a scene, both ends included.
    **scenes
        For ``Scenes``: size, objects, sides ... By default 64 x 64 pixels, objects=(2, 3), background="textured".

    Attributes
    ----------
    scenes : SceneDetection
        ``images`` (n, 3, size, size), ``classes``, ``truth(i)``, ``read(i)``.
    sentences : list of n lists of str
    attributes : list of n tuples of Attributes
        What is said of each object, in the order of ``scenes.truth(i)``.

    Raises
    ------
    TypeError, ValueError
        As ``Scenes``; items other than digits; a range of paraphrases that is none, or more than there are sentences.

    Examples
    --------
    >>> data = CaptionedScenes(3, split="test")
    >>> len(data), data.scenes.images.shape, data.sentences[2][0]
    (3, (3, 3, 64, 64), 'a four is below a big four')
    """

    def __init__(
        self, n: int, seed: int = 0, split: str = "train", paraphrases: tuple[int, int] = (3, 5), **scenes: Any
    ) -> None:
        low, high = _range(paraphrases)
        options = {"items": ("mnist",), "objects": (2, 3), "background": "textured"} | scenes
        self.sentences: list[list[str]] = []
        self.attributes: list[tuple[Any, ...]] = []

        def speak(i: int, scene: Scene) -> None:
            rng = generator(seed, f"sentences/{split}", 0, i)
            self.sentences.append(describe(scene, rng, int(rng.integers(low, high + 1))))
            self.attributes.append(scene.attributes)

        self.scenes = SceneDetection(Scenes(n, seed=seed, split=split, **options), speak)
        self.split = split

    def __len__(self) -> int:
        return len(self.sentences)

    def __repr__(self) -> str:
        return f"CaptionedScenes({len(self)} {self.split} scenes, {sum(map(len, self.sentences))} sentences)"


def _range(paraphrases: Any) -> tuple[int, int]:
    """Return the pair of ints; ValueError unless 1 <= low <= high."""
    pair = tuple(paraphrases) if isinstance(paraphrases, (tuple, list)) else ()
    if len(pair) != 2 or not all(type(k) is int for k in pair) or not 1 <= pair[0] <= pair[1]:
        raise ValueError(f"CaptionedScenes: paraphrases must be ints 1 <= low <= high, got {paraphrases!r}")
    return pair[0], pair[1]
