"""Two distorted digits in two channels, to be added. See :class:`DigitPairs`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyconv.data.dataset import ImageTransform, check_index
from tinyconv.data.distorted import Distorted, DistortedDigits
from tinyconv.data.drawn import DrawnImages


class DigitPairs(DrawnImages):
    """Pairs of digits, each turned, scaled and moved by itself, one in each channel; the label is their sum.

    Image i is a function of the arguments and (seed, split, i): not of ``n``. Both digits are drawn at random, one
    independently of the other, and so are their distortions (:class:`DistortedDigits`, kind "rts").

    Parameters
    ----------
    split : {"train", "val", "test"}
        No source digit is in two of them.
    n : int
        Number of pairs.
    seed : int
    fresh : bool, optional
        Whether a ``DataLoader`` gets new pairs every epoch; by default for "train" only.
    digits : sequence of int
        Which digits there are.
    transform : callable, optional
        (image, rng) -> image.
    size, angle, scale, digit, hold_out
        As of :class:`DistortedDigits`.

    Attributes
    ----------
    classes : list of str
        The possible sums, ascending: label k is sum ``classes[k]``, so of digits from 0 on the sum itself.

    Raises
    ------
    TypeError, ValueError
        As :class:`DistortedDigits`.

    References
    ----------
    Jaderberg et al. 2015, appendix A.1.

    Examples
    --------
    >>> data = DigitPairs("test")
    >>> image, label = data[3]
    >>> image.shape, sum(data.parts(3)) == label, data.classes[-1]
    ((2, 42, 42), True, '18')
    """

    def __init__(
        self,
        split: str = "train",
        n: int = 5000,
        *,
        seed: int = 0,
        fresh: bool | None = None,
        digits: Sequence[int] = range(10),
        transform: ImageTransform | None = None,
        size: int = 42,
        angle: float = 45.0,
        scale: float | tuple[float, float] = (0.7, 1.2),
        digit: int = 28,
        hold_out: bool = True,
    ) -> None:
        self.single = DistortedDigits(
            "rts", split, 0, digits=digits, size=size, angle=angle, scale=scale, digit=digit, hold_out=hold_out
        )
        self.split, self.size, self.digits = split, self.single.size, self.single.digits
        sums = sorted({one + two for one in self.digits for two in self.digits})
        self._label = {total: label for label, total in enumerate(sums)}
        fresh = split == "train" if fresh is None else fresh
        super().__init__(n, seed, f"digit pairs/{split}", fresh, transform, [str(total) for total in sums])

    def __repr__(self) -> str:
        again = ", new ones every epoch" if self.fresh else ""
        return f"DigitPairs({self.n} {self.split} pairs of {self.size}x{self.size}, {len(self._label)} sums{again})"

    def distorted(self, i: int) -> tuple[Distorted, Distorted]:
        """Return all that is known of the two digits of item i (its fixed draw)."""
        i = check_index("DigitPairs", i, self.n)
        return self._draw(self.draws(i))

    def parts(self, i: int) -> tuple[int, int]:
        """Return the two digits of item i (its fixed draw)."""
        first, second = self.distorted(i)
        return self.digits[first.label], self.digits[second.label]

    def make(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Return item i as drawn from ``rng``, before the transform."""
        first, second = self._draw(rng)
        total = self.digits[first.label] + self.digits[second.label]
        return np.concatenate([first.image, second.image]), self._label[total]

    def _draw(self, rng: np.random.Generator) -> tuple[Distorted, Distorted]:
        one, two = (rng.random(2) * len(self.single.sources)).astype(np.int64).tolist()
        return self.single.draw(one, rng), self.single.draw(two, rng)
