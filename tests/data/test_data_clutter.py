"""Digits among clutter: the digit stays, pieces are of others, hold ink and never darken."""

import numpy as np
import pytest

from distorted_tools import Told
from tinyconv.data.digit_sources import DigitSources, digit_sources, place_digit, scatter
from tinyconv.data.distorted import DistortedDigits


def test_clutter_leaves_the_digit_in_its_place_and_is_lighter_or_absent():
    clean, busy = (DistortedDigits("tc", n=50, clutter=n) for n in (0, 6))
    places = []
    for i in range(50):
        a, b = clean.distorted(i), busy.distorted(i)
        assert a.centre == b.centre and (b.image >= a.image).all()
        assert 0 < (b.image != a.image).sum() <= 6 * 36
        left, top = (int(c - 13.5) for c in a.centre)
        np.testing.assert_array_equal(a.image[:, top : top + 28, left : left + 28], clean.source(i))
        assert a.image.sum(dtype=np.float64) == pytest.approx(clean.source(i).sum(dtype=np.float64))
        places.append((left, top))
    assert np.min(places) <= 1 and np.max(places) >= 31
    assert not np.array_equal(DistortedDigits("tc", n=1, clutter_side=4)[0][0], busy[0][0])


def test_clutter_is_of_other_digits_and_the_lighter_wins():
    """Digits of one grey value each: what is seen tells whose it is."""
    grey = np.arange(1, 6, dtype=np.float32) / 10
    images = np.broadcast_to(grey[:, None, None, None], (5, 1, 28, 28)).copy()
    sources = DigitSources(images, np.zeros(5, int), (0,), np.zeros((5, 4)))
    seen = set()
    for seed in range(40):
        image = np.full((40, 40), 0.2, np.float32)
        scatter(image, sources, 3, 8, 5, np.random.default_rng(seed))
        seen |= set(image.ravel().tolist())
    assert seen == set(np.float32([0.2, 0.3, 0.5]).tolist())  # not .4, its own; .1 is under .2


def test_pieces_hold_ink_and_come_from_the_whole_digit():
    """Only one pixel of each digit has ink: every piece shows it, at any place within the piece."""
    images = np.zeros((3, 1, 28, 28), np.float32)
    images[:, 0, 14, 10] = 1
    sources = DigitSources(images, np.zeros(3, int), (0,), np.zeros((3, 4)))
    places = np.zeros((6, 6), int)
    for seed in range(400):
        image = np.zeros((6, 6), np.float32)  # no room: the piece is the image
        scatter(image, sources, 0, 1, 6, np.random.default_rng(seed))
        assert image.sum() == 1
        places += image > 0
    assert (places > 0).all()  # 11 each


def test_a_piece_may_lie_anywhere_inside():
    """White digits: where a piece is can be seen. All places that there are in 8 x 7 pixels are taken, to both ends."""
    sources = DigitSources(np.ones((2, 1, 28, 28), np.float32), np.zeros(2, int), (0,), np.zeros((2, 4)))
    places = set()
    for seed in range(300):
        image = np.zeros((8, 7), np.float32)
        scatter(image, sources, 0, 1, 5, np.random.default_rng(seed))
        (top, left), (bottom, right) = np.argwhere(image).min(0).tolist(), np.argwhere(image).max(0).tolist()
        assert (bottom - top, right - left) == (4, 4)
        places.add((top, left))
    assert places == {(top, left) for top in range(4) for left in range(3)}


def test_a_digit_reaches_both_ends():
    sources = digit_sources("val", (3,))
    nearly = 1 - 2.0**-53
    for told, wanted in (((0, nearly), (0, 32)), ((nearly, 0), (32, 0)), ((0.5, 0.5), (16, 16))):
        image, top, left = place_digit(sources, 2, 60, 0, 6, Told(*told))
        assert (top, left) == wanted
        np.testing.assert_array_equal(image[top : top + 28, left : left + 28], sources.images[2, 0])
        assert image.sum(dtype=np.float64) == sources.images[2].sum(dtype=np.float64)
