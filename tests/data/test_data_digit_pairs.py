"""Pairs of digits: their sums, two independent channels, the same draws whatever the order."""

import numpy as np
import pytest

from tinyconv.data import DataLoader
from tinyconv.data.digit_pairs import DigitPairs
from tinyconv.data.distorted import DistortedDigits


def test_a_pair_is_two_distorted_digits_and_their_sum():
    data = DigitPairs("test", 30)
    for i in range(30):
        image, label = data[i]
        first, second = data.distorted(i)
        assert image.shape == (2, 42, 42) and image.dtype == np.float32 and type(label) is int
        np.testing.assert_array_equal(image, np.concatenate([first.image, second.image]))
        assert data.parts(i) == (first.label, second.label) and label == first.label + second.label
        for found in (first, second):
            assert abs(found.angle) <= 45 and 0.7 <= found.scale <= 1.2 and found.theta.shape == (2, 3)
            assert found.label == data.single.sources.labels[found.source]
    assert data.classes == [str(total) for total in range(19)]
    assert len(DigitPairs()) == len(DigitPairs("test")) == 5000
    assert repr(data) == "DigitPairs(30 test pairs of 42x42, 19 sums)"
    assert repr(DigitPairs()) == "DigitPairs(5000 train pairs of 42x42, 19 sums, new ones every epoch)"


def test_channels_are_independent():
    data = DigitPairs("test", 1500)
    parts = np.array([data.parts(i) for i in range(1500)])
    table = np.histogram2d(*parts.T, bins=10, range=[[0, 10], [0, 10]])[0]
    assert table.min() > 0 and table.max() < 40  # 15 each, standard deviation 4
    found = [data.distorted(i) for i in range(500)]
    for value in (lambda d: d.angle, lambda d: d.scale, lambda d: d.centre[0], lambda d: float(d.source)):
        assert abs(np.corrcoef([[value(a), value(b)] for a, b in found], rowvar=False)[0, 1]) < 0.2  # 4.5 / sqrt(500)


def test_sums_of_other_digits():
    few = DigitPairs("test", 60, digits=range(5), angle=30, scale=(0.7, 0.9), size=32)
    assert few.classes == [str(total) for total in range(9)] and few[0][0].shape == (2, 32, 32)
    assert {part for i in range(60) for part in few.parts(i)} == set(range(5))
    gaps = DigitPairs("test", 40, digits=(7, 1))
    assert gaps.classes == ["2", "8", "14"]
    for i in range(40):
        assert gaps.classes[gaps[i][1]] == str(sum(gaps.parts(i)))


def test_a_pair_depends_on_seed_split_and_index_only():
    long, short = DigitPairs(n=30, seed=2), DigitPairs(n=4, seed=2)
    for i in reversed(range(4)):
        np.testing.assert_array_equal(long[i][0], short[i][0])
        assert not np.array_equal(short[i][0], DigitPairs(n=4, seed=3)[i][0])
        assert not np.array_equal(short[i][0][0], DistortedDigits("rts", n=4, seed=2)[i][0][0])


def test_splits_draw_different_numbers():
    turned = {DigitPairs(split, 5).distorted(3)[0].angle for split in ("train", "val", "test")}
    assert len(turned) == 3


def test_fresh_pairs_differ_by_epoch_and_come_again_by_the_seed():
    data = DigitPairs(n=12)

    def epochs(**options):
        loader = DataLoader(data, seed=4, **options)
        return [[np.concatenate([batch[part].numpy() for batch in loader]) for part in (0, 1)] for _ in range(2)]

    (first, labels), (second, other) = epochs(batch_size=5)
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True)) and (labels != other).any()
    again = epochs(batch_size=3, workers=2)
    np.testing.assert_array_equal(again[0][0], first)
    np.testing.assert_array_equal(again[1][1], other)
    fixed = DigitPairs("test", n=12)
    batches = [batch.images.numpy() for _ in range(2) for batch in DataLoader(fixed, 12)]
    np.testing.assert_array_equal(batches[0], batches[1])
    np.testing.assert_array_equal(batches[0], [fixed[i][0] for i in range(12)])


def test_errors():
    with pytest.raises(ValueError, match="split must be one of 'train', 'val', 'test', got 'all'"):
        DigitPairs("all")
    with pytest.raises(ValueError, match="need an image of 35 px, got size=28"):
        DigitPairs(size=28)
    with pytest.raises(ValueError, match="digits must be one or more of 0"):
        DigitPairs(digits=[])
    with pytest.raises(TypeError, match=r"^DigitPairs: n must be an int, got 10.0$"):
        DigitPairs(n=10.0)
    with pytest.raises(ValueError, match=r"^DigitPairs: n must be at least 0, got -5$"):
        DigitPairs(n=-5)
    with pytest.raises(IndexError, match=r"DigitPairs: index must lie in 0\.\.2, got 3"):
        DigitPairs(n=3).parts(3)
