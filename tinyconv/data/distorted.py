"""Distorted handwritten digits, as spatial transformers were first tried on. See :class:`DistortedDigits`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyconv import errors
from tinyconv.data import warps
from tinyconv.data.dataset import ImageTransform, check_index
from tinyconv.data.digit_sources import between, check_sources, digit_sources, place_digit, place_ink
from tinyconv.data.distortion_kinds import KINDS, check_options, check_room
from tinyconv.data.drawn import DrawnImages

_PER_DIGIT = {"train": 1, "val": 1, "test": 5}  # images made of each source digit, if nothing else is said
# Control points. grids.control_points differs in the last bit, and images that were measured by would, too.
_POINTS = np.stack(np.meshgrid(*[np.linspace(-1, 1, 4)] * 2), axis=-1).reshape(16, 2)
_OPEN = 0.25  # of its area that a corner must keep
_TRIES = 1000  # at four corners that do not fold the frame


@dataclass(frozen=True, eq=False)
class Distorted:
    """A distorted digit and what was done to it.

    Attributes
    ----------
    image : array, (1, size, size), float32 in [0, 1]
    label : int
    source : int
        Which source digit it is, see :meth:`DistortedDigits.source`.
    theta : array (2, 3), float64, or None
        The affine map from positions in the upright digit's frame to positions in the image, normalised with
        ``align_corners=True``: the grid of this theta samples the image back to the upright digit. What a perfect
        transformer would say. None for "p" and "e".
    centre : (float, float) or None
        x, y of the middle of the digit's frame in the image, in pixels: (0, 0) is the centre of the upper left pixel.
        None for "p" and "e".
    angle : float or None
        By how much the digit was turned, in degrees, counter-clockwise as seen on the screen. None for "p" and "e".
    scale : float
    points : array (4, 2) or (16, 2), float64, or None
        In pixels of the image, as ``centre``. For "p": where the corners of the digit's frame lie, upper left, upper
        right, lower left, lower right. For "e": the moved control points, row by row: what the digit, made smaller but
        not bent, has there is seen at the regular points.
    """

    image: np.ndarray
    label: int
    source: int
    theta: np.ndarray | None = None
    centre: tuple[float, float] | None = None
    angle: float | None = None
    scale: float = 1.0
    points: np.ndarray | None = None


class DistortedDigits(DrawnImages):
    """Handwritten digits, each turned, moved, bent or hidden among clutter; item i is (image, label).

    The source digits are the bundled MNIST's. Image i is made of digit i modulo their number, by one bilinear warp. It
    is a function of the arguments and (seed, kind, split, i): not of ``n``, nor of which images were read before.

    ======== ===========================================================================================================
    kind     what is done
    ======== ===========================================================================================================
    "r"      turned by up to ``angle`` about the image's middle
    "rts"    turned, scaled, and put at a random place, so that all of its ink lies inside the image
    "p"      scaled, then each corner of its frame moved by normal noise: a projective warp. Corners that nearly fold
             the frame (one draw in ten; one in fifty folds it) are drawn again: the parallelogram that each spans with
             its sides keeps a quarter of its area. Some ink may leave the image
    "e"      scaled, then 4 x 4 points regular over the image moved by normal noise: a thin plate spline. Some ink may
             leave the image
    "tc"     put at a random place (whole pixels, its whole frame inside), with ``clutter`` random windows of other
             digits of the split, each with some ink, at random places; where things overlap the lighter is seen
    ======== ===========================================================================================================

    Parameters
    ----------
    kind : {"r", "rts", "p", "e", "tc"}
    split : {"train", "val", "test"}
        No source digit is in two of them. "test" digits are MNIST's test digits, "val" is the last tenth of every
        class's training digits.
    n : int, optional
        Number of images; by default one of each source digit, five of each for "test".
    seed : int
    fresh : bool, optional
        Whether a ``DataLoader`` gets new distortions of the same digits every epoch; by default for "train" only.
        ``dataset[i]`` and :meth:`distorted` are always the fixed draw.
    digits : sequence of int
        Classes: label k is ``digits[k]``.
    transform : callable, optional
        (image, rng) -> image.
    size : int, optional
        Height and width of the image; by default 28, for "rts" 42, for "tc" 60.
    digit : int
        Height and width of a digit's frame, before it is scaled. Other digits than 28 are resized once, averaging.
    hold_out : bool
        Whether "train" leaves out the digits of "val".
    angle : float, optional
        "r", "rts": uniform in [-angle, angle], in degrees; by default 90 and 45.
    scale : float or (float, float), optional
        "rts", "p", "e": uniform between these, by default (0.7, 1.2), (0.75, 1), (0.75, 1). At least 0.5: bilinear
        sampling passes over pixels below.
    clutter, clutter_side : int, optional
        "tc": number of pieces, and their height and width in pixels; by default 6 and 6.
    deviation : float, optional
        "p", "e": standard deviation of the points' movement in pixels, by default 5 and 1.5.

    Attributes
    ----------
    sources : DigitSources
        The upright digits: ``sources.images`` (M, 1, digit, digit) and their ``labels``.
    classes : list of str

    Raises
    ------
    TypeError
        An argument has the wrong type, or the kind has no such option.
    ValueError
        An argument is out of its range, or the digits do not fit into the image.

    References
    ----------
    Jaderberg et al. 2015, sec. 4.1 and appendix A.

    Examples
    --------
    >>> data = DistortedDigits("rts", "test")
    >>> found = data.distorted(7)
    >>> len(data), found.image.shape, found.label == data[7][1], abs(found.angle) <= 45
    (5000, (1, 42, 42), True, True)
    """

    def __init__(
        self,
        kind: str = "r",
        split: str = "train",
        n: int | None = None,
        *,
        seed: int = 0,
        fresh: bool | None = None,
        digits: Sequence[int] = range(10),
        transform: ImageTransform | None = None,
        size: int | None = None,
        digit: int = 28,
        hold_out: bool = True,
        angle: float | None = None,
        scale: float | tuple[float, float] | None = None,
        clutter: int | None = None,
        clutter_side: int | None = None,
        deviation: float | None = None,
    ) -> None:
        who = type(self).__name__
        errors.check_choice(who, "kind", kind, tuple(KINDS))
        self.kind, self.split = kind, split
        self.digits = check_sources(who, split, digits, digit)
        self.sources = digit_sources(split, self.digits, int(digit), bool(hold_out) or split != "train")
        given = {
            "size": size, "angle": angle, "scale": scale, "deviation": deviation, "clutter": clutter,
            "clutter_side": clutter_side,
        }  # fmt: skip
        options = check_options(who, kind, {name: value for name, value in given.items() if value is not None}, digit)
        self.size, self.digit = options["size"], int(digit)
        self.angle = options.get("angle", 0.0)
        self.scale: tuple[float, float] = options.get("scale", (1.0, 1.0))
        self.deviation = options.get("deviation", 0.0)
        self.clutter, self.clutter_side = options.get("clutter", 0), options.get("clutter_side", 0)
        if kind == "rts":
            check_room(who, self.sources, self.size, self.angle, self.scale[1])
        n = _PER_DIGIT[split] * len(self.sources) if n is None else n
        fresh = split == "train" if fresh is None else fresh
        super().__init__(n, seed, f"distorted/{kind}/{split}", fresh, transform, [str(d) for d in self.digits])

    def __repr__(self) -> str:
        again = ", new ones every epoch" if self.fresh else ""
        return (
            f"DistortedDigits({self.n} {self.split} images {self.kind!r} of {self.size}x{self.size}, "
            f"{len(self.digits)} classes{again})"
        )

    def source(self, i: int) -> np.ndarray:
        """Return the upright digit (1, digit, digit) of item i."""
        return self.sources.images[check_index("DistortedDigits", i, self.n) % len(self.sources)].copy()

    def distorted(self, i: int) -> Distorted:
        """Return the fixed draw of item i, and all that is known of it."""
        i = check_index("DistortedDigits", i, self.n)
        return self.draw(i % len(self.sources), self.draws(i))

    def make(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Return item i as drawn from ``rng``, before the transform."""
        made = self.draw(i % len(self.sources), rng)
        return made.image, made.label

    # ---------------------------------------------------------------------------------------------------------- drawing
    def draw(self, source: int, rng: np.random.Generator) -> Distorted:
        """Return a random distortion of a source digit."""
        if self.kind == "tc":
            return self._cluttered(source, rng)
        return self._turned(source, rng) if self.kind in ("r", "rts") else self._bent(source, rng)

    def _cluttered(self, source: int, rng: np.random.Generator) -> Distorted:
        image, top, left = place_digit(self.sources, source, self.size, self.clutter, self.clutter_side, rng)
        centre = left + (self.digit - 1) / 2, top + (self.digit - 1) / 2
        return Distorted(image[None], self._label(source), source, self._theta(0, 1, centre), centre, 0.0)

    def _turned(self, source: int, rng: np.random.Generator) -> Distorted:
        turned, larger, across, down = rng.random(4).tolist()
        angle, scale = between(-self.angle, self.angle, turned), between(*self.scale, larger)
        middle = (self.size - 1) / 2
        centre = middle, middle
        if self.kind == "rts":
            centre = place_ink(self.sources.ink[source], warps.turn(angle, scale), self.size, across, down)
        theta = self._theta(angle, scale, centre)
        image = self._warp(source, warps.affine_positions(theta, self.size))
        return Distorted(image, self._label(source), source, theta, centre, angle, scale)

    def _bent(self, source: int, rng: np.random.Generator) -> Distorted:
        scale = between(*self.scale, rng.random())
        if self.kind == "p":
            moved = self._corners(scale, rng)
            grid = warps.projective_positions(moved, self.size)
        else:
            moved = self._control_points(rng)
            grid = warps.elastic_positions(moved / (scale * self._part), self.size)
        points = (moved + 1) * ((self.size - 1) / 2)
        return Distorted(self._warp(source, grid), self._label(source), source, scale=scale, points=points)

    def _label(self, source: int) -> int:
        return int(self.sources.labels[source])

    def _warp(self, source: int, grid: np.ndarray) -> np.ndarray:
        return warps.warp(self.sources.images[source : source + 1], grid)

    @property
    def _part(self) -> float:
        """How long the digit's frame is beside the image, from the first pixel's centre to the last one's."""
        return (self.digit - 1) / (self.size - 1)

    def _theta(self, angle: float, scale: float, centre: tuple[float, float]) -> np.ndarray:
        a, b, c, d = warps.turn(angle, scale * self._part)
        whole = 2 / (self.size - 1)
        return np.array([[a, b, whole * centre[0] - 1], [c, d, whole * centre[1] - 1]])

    def _corners(self, scale: float, rng: np.random.Generator) -> np.ndarray:
        """Return the moved corners (4, 2) of the digit's frame, row by row, normalised."""
        half, deviation = scale * self._part, 2 * self.deviation / (self.size - 1)
        for _ in range(_TRIES):
            moved = half * warps.SQUARE + deviation * rng.standard_normal((4, 2))
            if warps.is_open(moved, _OPEN * (2 * half) ** 2):
                return moved
        raise ValueError(
            f"{type(self).__name__}: corners moved by {self.deviation:g} px fold a digit of {self.digit} px in "
            f"{_TRIES} draws; a smaller deviation"
        )

    def _control_points(self, rng: np.random.Generator) -> np.ndarray:
        """Return the moved control points (16, 2), row by row, normalised."""
        return _POINTS + rng.standard_normal((16, 2)) * (2 * self.deviation / (self.size - 1))
