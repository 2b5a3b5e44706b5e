"""Images of one class for co-localisation: where the digit is, and what is around it."""

import numpy as np
import pytest

from tinyconv.data import DataLoader, mnist
from tinyconv.data.co_localisation import CoLocalisation


def test_boxes_are_the_frames_and_hold_the_ink():
    data = CoLocalisation(4, 60)
    assert data.images.shape == (60, 1, 84, 84) and data.images.dtype == np.float32
    assert (data.labels == 4).all() and data.classes[4] == "4" and len(CoLocalisation(4)) == 100
    for image, box, ink in zip(data.images[:, 0], data.boxes, data.ink_boxes, strict=True):
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        assert ink.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert (box[2:] - box[:2]).tolist() == [28, 28] and box.min() >= 0 and box.max() <= 84
        assert (box[:2] <= ink[:2]).all() and (ink[2:] <= box[2:]).all()
    assert data.boxes[:, :2].min() <= 3 and data.boxes[:, 2:].max() >= 81
    assert data.boxes.dtype == data.ink_boxes.dtype == np.float32


def test_the_digits_are_those_of_the_class_and_the_split():
    data = CoLocalisation(7, 120, split="test")
    sevens = mnist("test").images[mnist("test").labels == 7][:, 0] / np.float32(255)
    for i, (image, box) in enumerate(zip(data.images[:, 0], data.boxes.astype(int), strict=True)):
        np.testing.assert_array_equal(image[box[1] : box[3], box[0] : box[2]], sevens[i % 100])
    assert not np.array_equal(data.boxes[0], data.boxes[100])  # the same digit at another place


def test_clutter_changes_only_what_is_around():
    clean, busy = CoLocalisation(2, 30), CoLocalisation(2, 30, clutter=16)
    np.testing.assert_array_equal(clean.boxes, busy.boxes)
    assert (busy.images >= clean.images).all()
    changed = (busy.images != clean.images).sum((1, 2, 3))
    assert changed.min() > 16 and changed.max() <= 16 * 36
    smaller = CoLocalisation(2, 30, clutter=16, clutter_side=3)
    assert ((smaller.images != clean.images).sum((1, 2, 3)) <= 16 * 9).all()


def test_an_image_depends_on_its_index_seed_and_split_only():
    many, few = CoLocalisation(0, 20, clutter=3), CoLocalisation(0, 5, clutter=3)
    np.testing.assert_array_equal(many.images[:5], few.images)
    for other in ({"seed": 1}, {"split": "val"}):
        assert not (CoLocalisation(0, 5, clutter=3, **other).boxes == few.boxes).all(1).any()
    assert (CoLocalisation(1, 5).boxes != CoLocalisation(0, 5).boxes).any()
    images, labels = next(iter(DataLoader(few, 5)))
    np.testing.assert_array_equal(images.numpy(), few.images)
    assert labels.numpy().tolist() == [0] * 5
    assert repr(few) == "CoLocalisation(5 images of 84x84 with a digit)"


def test_small_ones():
    data = CoLocalisation(8, 10, size=42, digit=20)
    assert data.images.shape == (10, 1, 42, 42) and ((data.boxes[:, 2:] - data.boxes[:, :2]) == 20).all()
    assert len(CoLocalisation(8, 0)) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"digit_class": 10}, ValueError, "^CoLocalisation: wanted digit_class in 0..9 and n >= 0, got 10 and 100$"),
        ({"n": -1}, ValueError, "got 3 and -1"),
        ({"digit_class": "3"}, TypeError, "^CoLocalisation: digit_class must be an int, got '3'$"),
        ({"n": 1.5}, TypeError, "n must be an int, got 1.5"),
        ({"seed": None}, TypeError, "seed must be an int, got None"),
        ({"size": 20}, ValueError, "size must be at least digit=28, got 20"),
        ({"size": 84.0}, TypeError, "size must be an int, got 84.0"),
        ({"clutter": -2}, ValueError, "wanted clutter >= 0"),
        ({"clutter_side": 40}, ValueError, r"clutter_side in 1\.\.digit=28"),
        ({"split": "all"}, ValueError, "split must be one of"),
        ({"digit": 2}, ValueError, r"digit must lie in 8\.\.112 pixels, got 2"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        CoLocalisation(**{"digit_class": 3} | arguments)
