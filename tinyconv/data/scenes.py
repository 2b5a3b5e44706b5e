"""Scenes: handwritten digits and clothes composed on backgrounds, with exact boxes. See :class:`Scenes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyconv import errors
from tinyconv.data.dataset import ArrayDataset, ImageTransform, check_index
from tinyconv.data.detection import SceneDetection
from tinyconv.data.drawn import is_int
from tinyconv.data.scene_parts import (
    BACKGROUNDS,
    ITEMS,
    PALETTE,
    SPLITS,
    Sprite,
    cut_sprite,
    draw_background,
    paste,
    source,
)
from tinyconv.random import generator
from tinyconv.vision.layout import relations

_LAYOUTS = 200  # tries at a scene before giving up
_PLACES = 20  # tries at a place for one item of a layout


class Attributes(NamedTuple):
    """What can be said of one object."""

    name: str  # of its class
    colour: str
    size: str  # "small" or "large": its longer side against the middle of the range
    horizontal: str  # "left" or "right": its centre against the image's
    vertical: str  # "top" or "bottom"


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and everything that is known of it.

    Attributes
    ----------
    image : array, (3, size, size), float32 in [0, 1]
    boxes : array, (R, 4), float32
        x1 y1 x2 y2 in pixels, +0 convention (x2 - x1 is the width): exactly around the pixels an object touches. What
        lies over an object does not change its box.
    labels : array, (R,), int64
        Places in ``Scenes.classes``.
    attributes : tuple of R Attributes
    relations : tuple of (int, str, int)
        (i, relation, j): object i is "left of", "right of", "above" or "below" object j. Of each pair the axis along
        which the centres are further apart is named, both ways round.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    attributes: tuple[Attributes, ...]
    relations: tuple[tuple[int, str, int], ...]


class BoxDataset(ArrayDataset):
    """Images with one object each; item i is (image, target), target = (label, x1, y1, x2, y2) as float32 (5,).

    Attributes
    ----------
    boxes : array, (N, 4), float32
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, boxes: np.ndarray, *args: object) -> None:
        super().__init__(images, labels, *args)  # type: ignore[arg-type]
        self.boxes = boxes

    def targets(self, indices: np.ndarray) -> np.ndarray:
        """Return the targets (B, 5) of some images."""
        return np.column_stack([self.labels[indices].astype(np.float32), self.boxes[indices]])

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        """Return image i as float32 before the transform, and its target."""
        return super().read(i)[0], self.targets(np.array([i]))[0]

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return (images, targets (B, 5)) at once, or None if there is a transform."""
        found = super().batch(indices)
        return None if found is None else (found[0], self.targets(indices))


class Scenes:
    """n composed scenes, each drawn when it is asked for.

    Scene i is a function of the arguments and (seed, split, i): not of ``n``, nor of which scenes were read before. Its
    objects are also the same on every background and with any clutter or noise.

    Parameters
    ----------
    n : int
        Number of scenes.
    seed : int
    size : int
        Height and width of the image in pixels.
    items : sequence of {"mnist", "fashion"}
        Where objects come from: handwritten digits, clothes. The classes are theirs, one after the other; every class
        is equally likely.
    background : {"plain", "gradient", "textured", "photograph", "black"}
        No channel of a drawn background (all but photographs) is above 0.45; every colour of items has one of at least
        0.85, though the darker parts of an item are shades of it.
    clutter : int
        Distractors: as many small pieces of random items, under the objects.
    split : {"train", "val", "test"}
        Source images are disjoint by split ("val" are training images that "train" leaves out), and so are the parts of
        the photographs that "train" and the others use.
    objects : int or (int, int)
        Number of objects per scene, or its range, both ends included.
    sides : (int, int), optional
        Range of an object's longer side in pixels; by default 22 to 44 % of ``size``. Resizing may cost a pixel of it.
    overlap : float
        Of two boxes, their intersection over the smaller one's area is at most this; so is their IoU.
    colours : sequence of str
        Which of red, green, blue, yellow, purple, white objects may have.
    clutter_side : int, optional
        Height and width of a distractor in pixels; by default a tenth of ``size``.
    noise : float
        Standard deviation of Gaussian noise on every pixel, clipped to [0, 1].

    Attributes
    ----------
    classes : list of str

    Raises
    ------
    TypeError
        A count, a size or the seed is no int, or a range no pair of ints.
    ValueError
        An argument is out of its range, or the objects can never fit; when reading a scene: they did not fit.

    Examples
    --------
    >>> scene = Scenes(100, objects=2)[7]
    >>> scene.image.shape, scene.boxes.shape, len(scene.attributes), len(scene.relations)
    ((3, 64, 64), (2, 4), 2, 2)
    """

    def __init__(
        self,
        n: int,
        seed: int = 0,
        size: int = 64,
        items: Sequence[str] = ITEMS,
        background: str = "plain",
        clutter: int = 0,
        split: str = "train",
        *,
        objects: int | tuple[int, int] = (1, 3),
        sides: tuple[int, int] | None = None,
        overlap: float = 0.1,
        colours: Sequence[str] = tuple(PALETTE),
        clutter_side: int | None = None,
        noise: float = 0.0,
    ) -> None:
        who = "Scenes"
        errors.check_choice(who, "background", background, BACKGROUNDS)
        errors.check_choice(who, "split", split, SPLITS)
        self.items = _names("items", items, ITEMS)
        self.colours = _names("colours", colours, tuple(PALETTE))
        counts = {"n": n, "seed": seed, "size": size, "clutter": clutter}
        for name, value in (counts | ({} if clutter_side is None else {"clutter_side": clutter_side})).items():
            if not is_int(value):
                raise TypeError(f"{who}: {name} must be an int, got {value!r}")
        self.n, self.seed, self.size = n, seed, size
        self.background, self.split, self.clutter = background, split, clutter
        self.objects = _range("objects", (objects, objects) if is_int(objects) else objects, "an int or ")
        usual = max(4, round(0.22 * size)), max(4, round(0.44 * size))
        self.sides = usual if sides is None else _range("sides", sides)
        self.overlap, self.noise = float(overlap), float(noise)
        self.clutter_side = max(2, round(0.1 * size)) if clutter_side is None else clutter_side
        if n < 0 or size < 8 or clutter < 0 or self.clutter_side < 1:
            raise ValueError(
                f"{who}: wanted n >= 0, size >= 8, clutter >= 0, clutter_side >= 1, "
                f"got {n}, {size}, {clutter}, {self.clutter_side}"
            )
        if not (0 <= self.overlap <= 1 and self.noise >= 0):
            raise ValueError(f"{who}: wanted overlap in [0, 1] and noise >= 0, got {overlap} and {noise}")
        for name, (low, high), least in (("objects", self.objects, 0), ("sides", self.sides, 4)):
            if not least <= low <= high:
                raise ValueError(f"{who}: {name} must be {least} <= low <= high, got ({low}, {high})")
        if self.sides[1] > size:
            raise ValueError(f"{who}: sides must be at most size={size}, got {self.sides}")
        self.classes = list(source(self.items, split).classes)

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        return f"Scenes({self.n} {self.split} scenes of {self.size}x{self.size}, {len(self.classes)} classes)"

    def __getitem__(self, i: int) -> Scene:
        """Draw scene i."""
        i = check_index("Scenes", i, self.n)
        sprites, labels, colours, corners = self._layout(i)
        image = draw_background(self.background, self.size, self.split, self._draws(1, i))
        self._scatter(image, self._draws(2, i))
        for sprite, (top, left) in zip(sprites, corners, strict=True):
            paste(image, sprite, top, left)
        if self.noise:
            noise = self._draws(3, i).standard_normal(image.shape, np.float32)
            image = np.clip(image + np.float32(self.noise) * noise, 0, 1)
        sizes = np.array([sprite.alpha.shape for sprite in sprites]).reshape(-1, 2)
        boxes = np.concatenate([corners, corners + sizes], axis=1)[:, [1, 0, 3, 2]].astype(np.float32)
        attributes = tuple(
            self._describe(box, int(label), colour) for box, label, colour in zip(boxes, labels, colours, strict=True)
        )
        return Scene(image, boxes, labels, attributes, relations(boxes))

    def sample(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, Scene]:
        """Return (image, scene) for a ``DataLoader``, whose ``collate_fn`` makes a batch of scenes (nothing is drawn).

        Such as ``lambda items: (np.stack([image for image, _ in items]), [scene for _, scene in items])``.
        """
        scene = self[i]
        return scene.image, scene

    # --------------------------------------------------------------------------------------------- one object per scene
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw all scenes, which must have one object each.

        Returns
        -------
        images : array, (n, 3, size, size), float32
        labels : array, (n,), int64
        boxes : array, (n, 4), float32
        """
        if self.objects != (1, 1):
            raise ValueError(f"Scenes.arrays: wanted scenes of one object, got objects={self.objects}; say objects=1")
        images = np.empty((self.n, 3, self.size, self.size), np.float32)
        labels, boxes = np.empty(self.n, np.int64), np.empty((self.n, 4), np.float32)
        for i in range(self.n):
            scene = self[i]
            images[i], labels[i], boxes[i] = scene.image, scene.labels[0], scene.boxes[0]
        return images, labels, boxes

    def classification(self, transform: ImageTransform | None = None) -> ArrayDataset:
        """Return the scenes, of one object each, as a dataset of (image, label), drawn once and kept."""
        images, labels, _ = self.arrays()
        return ArrayDataset(images, labels, transform, self.classes)

    def localisation(self, transform: ImageTransform | None = None) -> BoxDataset:
        """Return the scenes, of one object each, as a dataset of (image, (label, x1, y1, x2, y2)).

        The transform must leave every pixel in its place: the boxes stay.
        """
        return BoxDataset(*self.arrays(), transform, self.classes)

    def detection(self) -> SceneDetection:
        """Return the scenes as a source for :class:`~tinyconv.data.detection.DetectionDataset`, drawn once and kept."""
        return SceneDetection(self)

    # ---------------------------------------------------------------------------------------------------------- drawing
    def _draws(self, part: int, i: int) -> np.random.Generator:
        """Return the generator of a part of scene i: objects, background, clutter, noise are drawn independently."""
        return generator(self.seed, f"scenes/{self.split}", part, i)

    def _sprite(self, rng: np.random.Generator, side: int) -> tuple[Sprite, int, str]:
        """Return a random item with its label and colour."""
        found = source(self.items, self.split)
        label = int(rng.integers(len(found.classes)))
        index = int(rng.choice(found.members[label]))
        colour = self.colours[int(rng.integers(len(self.colours)))]
        return cut_sprite(found, index, side, colour), label, colour

    def _layout(self, i: int) -> tuple[list[Sprite], np.ndarray, list[str], np.ndarray]:
        """Return the sprites of scene i, labels, colours, and upper left corners (R, 2) that keep the overlap."""
        rng = self._draws(0, i)
        count = int(rng.integers(self.objects[0], self.objects[1] + 1))
        low, high = self.sides
        for attempt in range(_LAYOUTS):
            top = high if attempt < _LAYOUTS // 2 else low  # a crowded scene takes its objects small
            drawn = [self._sprite(rng, int(rng.integers(low, top + 1))) for _ in range(count)]
            corners = self._place([sprite.alpha.shape for sprite, _, _ in drawn], rng)
            if corners is not None:
                labels = np.array([label for _, label, _ in drawn], np.int64)
                return [sprite for sprite, _, _ in drawn], labels, [colour for _, _, colour in drawn], corners
        raise ValueError(
            f"Scenes: {count} objects of {low} to {high} px do not fit into {self.size}x{self.size} with "
            f"overlap={self.overlap:g} (scene {i}); fewer objects, smaller sides or a larger size"
        )

    def _place(self, shapes: list[tuple[int, ...]], rng: np.random.Generator) -> np.ndarray | None:
        """Return upper left corners (R, 2), or None if some item found no place."""
        placed = np.empty((0, 4), int)  # top, left, bottom, right
        for height, width in shapes:
            for _ in range(_PLACES):
                top, left = (int(rng.integers(self.size - length + 1)) for length in (height, width))
                box = np.array([top, left, top + height, left + width])
                if not len(placed) or _covered(placed, box).max() <= self.overlap:
                    placed = np.concatenate([placed, box[None]])
                    break
            else:
                return None
        return placed[:, :2]

    def _scatter(self, image: np.ndarray, rng: np.random.Generator) -> None:
        """Paste the distractors: windows of random items around a random place of theirs."""
        k = self.clutter_side
        for _ in range(self.clutter):
            sprite, _, _ = self._sprite(rng, int(rng.integers(self.sides[0], self.sides[1] + 1)))
            rows, columns = (int(rng.integers(max(1, length - k + 1))) for length in sprite.alpha.shape)
            window = (slice(rows, rows + k), slice(columns, columns + k))
            piece = Sprite(sprite.pixels[:, *window], sprite.alpha[window])
            top, left = (int(rng.integers(max(1, self.size - k + 1))) for _ in range(2))
            paste(image, piece, top, left)

    def _describe(self, box: np.ndarray, label: int, colour: str) -> Attributes:
        x1, y1, x2, y2 = box.tolist()
        return Attributes(
            self.classes[label],
            colour,
            "small" if max(x2 - x1, y2 - y1) < sum(self.sides) / 2 else "large",
            "left" if x1 + x2 < self.size else "right",
            "top" if y1 + y2 < self.size else "bottom",
        )


def _covered(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the intersection of a box with each of the boxes (R, 4), over the smaller of the two areas."""
    overlap = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return np.maximum(overlap, 0).prod(1) / np.minimum(areas, (box[2:] - box[:2]).prod())


def _range(argument: str, given: object, other: str = "") -> tuple[int, int]:
    """Return a pair (low, high) of ints, or raise; ``other`` names what else the argument may be."""
    if not isinstance(given, (tuple, list, np.ndarray)) or len(given) != 2 or not all(map(is_int, given)):
        raise TypeError(f"Scenes: {argument} must be {other}a pair (low, high) of ints, got {given!r}")
    return int(given[0]), int(given[1])


def _names(argument: str, given: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names as a tuple; ValueError unless they are one or more of those known, each once."""
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names or len(set(names)) != len(names) or not set(names) <= set(known):
        raise ValueError(f"Scenes: {argument} must be one or more of {', '.join(known)}, each once, got {given!r}")
    return names
