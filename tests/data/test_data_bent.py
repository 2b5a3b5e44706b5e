"""Bent digits in images larger than they are, how many draws fold; the room of turned ones."""

import numpy as np
import pytest

from distorted_tools import Told
from tinyconv.data.digit_sources import DigitSources, digit_sources
from tinyconv.data.distorted import DistortedDigits
from tinyconv.data.warps import is_open


class Pushed(Told):
    """Told numbers; every normal one is 1."""

    def standard_normal(self, shape):
        return np.ones(shape)


@pytest.mark.parametrize(("kind", "size", "digit"), [("p", 9, 8), ("p", 40, 28), ("e", 9, 8), ("e", 40, 28)])
def test_a_deviation_is_in_pixels_of_the_image(kind, size, digit):
    found = DistortedDigits(kind, n=1, size=size, digit=digit, deviation=0.75).draw(0, Pushed(0.5))
    assert found.scale == 0.875
    if kind == "p":
        half = (digit - 1) / 2 * found.scale
        regular = (size - 1) / 2 + half * np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
    else:
        regular = np.stack(np.meshgrid(*[np.linspace(0, size - 1, 4)] * 2), axis=-1).reshape(16, 2)
    np.testing.assert_allclose(found.points - regular, 0.75, rtol=1e-12)


def test_an_elastic_digit_smaller_than_its_image():
    """The image at a regular point shows what the digit, made smaller about the middle, has at the moved one."""
    data = DistortedDigits("e", n=20, size=40)
    regular = np.stack(np.meshgrid(*[[0, 13, 26, 39]] * 2), axis=-1).reshape(16, 2)
    ramp = np.repeat(np.arange(28, dtype=np.float32)[None], 28, axis=0)
    checked = 0
    for axis, image in enumerate((ramp, ramp.T)):  # a digit that is its own x, then y
        data.sources = DigitSources(image[None, None].copy(), np.zeros(1, int), (0,), np.zeros((1, 4)))
        for i in range(20):
            found = data.distorted(i)
            looks = 13.5 + (found.points - 19.5) / found.scale  # in pixels of the digit
            inside = ((looks > 0) & (looks < 27)).all(1)
            told = found.image[0, regular[:, 1], regular[:, 0]]
            np.testing.assert_allclose(told[inside], looks[inside, axis], atol=1e-4)
            checked += inside.sum()
    assert checked > 100


def test_one_draw_in_ten_is_drawn_again(monkeypatch):
    """And one in fifty folds the frame: some corner lies beyond the line between its neighbours."""
    seen = []

    def watched(corners, least):
        seen.append((is_open(corners, least), is_open(corners, 0)))
        return seen[-1][0]

    monkeypatch.setattr("tinyconv.data.warps.is_open", watched)
    data = DistortedDigits("p", n=2000)
    for i in range(2000):
        data.distorted(i)
    kept, unfolded = np.mean(seen, axis=0)
    assert 0.08 < 1 - kept < 0.12 and 0.01 < 1 - unfolded < 0.03


@pytest.mark.parametrize("angle", [30, 90, 180])
def test_the_room_that_turned_digits_need(angle):
    """The widest that any digit's ink, with a pixel's fading around it, gets at some angle, tried degree by degree."""
    x1, y1, x2, y2 = digit_sources("train", (0, 7)).ink.T
    width, height, turns = x2 - x1 + 1, y2 - y1 + 1, np.radians(np.arange(angle + 1))[:, None]
    across = width * abs(np.cos(turns)) + height * abs(np.sin(turns))
    down = height * abs(np.cos(turns)) + width * abs(np.sin(turns))
    room = int(np.ceil(1.1 * max(across.max(), down.max()) - 1))
    options = {"angle": angle, "scale": 1.1, "digits": (0, 7), "n": 1}
    assert DistortedDigits("rts", size=room, **options)[0][0].shape == (1, room, room)
    with pytest.raises(ValueError, match=f"turned by up to {angle} degrees .* need an image of {room} px, got size="):
        DistortedDigits("rts", size=room - 1, **options)
