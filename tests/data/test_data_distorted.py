"""Distorted digits: functions of (seed, kind, split, i), within their ranges, undone by the theta they tell."""

import numpy as np
import pytest

from distorted_tools import Told, bilinear, seen_by
from tinyconv.data import DataLoader, Subset, mnist
from tinyconv.data.digit_sources import DigitSources, digit_sources
from tinyconv.data.distorted import DistortedDigits
from tinyconv.data.warps import is_open

KINDS = ("r", "rts", "p", "e", "tc")
SIZES = {"r": 28, "rts": 42, "p": 28, "e": 28, "tc": 60}
NEAR = 5e-6  # rounding of positions in float32, in pixels, times a slope of at most 1


def loaded(data, batch_size=7, epochs=1, **options):
    """Return the images of the last of some epochs in the order of the data set."""
    loader = DataLoader(data, batch_size, shuffle=True, **options)
    for _ in range(epochs):
        images = np.empty((len(data), *data[0][0].shape), np.float32)
        for batch in loader:
            images[batch.indices] = batch.images.numpy()
    return images


# -------------------------------------------------------------------------------------------------- what an image is of


@pytest.mark.parametrize("kind", KINDS)
def test_images_and_labels(kind):
    data = DistortedDigits(kind, "test", 12)
    side = SIZES[kind]
    for i in range(12):
        image, label = data[i]
        assert image.shape == (1, side, side) and image.dtype == np.float32
        assert 0 <= image.min() and 0.3 < image.max() <= 1 + NEAR
        assert type(label) is int and data.classes[label] == str(mnist("test").labels[i])
        found = data.distorted(i)
        assert np.array_equal(found.image, image) and (found.label, found.source) == (label, i)
    assert data.batch(np.array([3, 0]))[0].shape == (2, 1, side, side)
    assert repr(data) == f"DistortedDigits(12 test images '{kind}' of {side}x{side}, 10 classes)"


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_depends_on_seed_split_and_index_only(kind):
    long, short = DistortedDigits(kind, n=40, seed=3), DistortedDigits(kind, n=6, seed=3)
    backwards = {i: long[i][0] for i in reversed(range(6))}
    for i in range(6):
        np.testing.assert_array_equal(short[i][0], backwards[i])
        assert not np.array_equal(DistortedDigits(kind, n=6, seed=4)[i][0], short[i][0])
    np.testing.assert_array_equal(short.arrays[0], [backwards[i] for i in range(6)])


def test_kinds_and_splits_draw_different_numbers():
    """The same item of another split or kind is turned by another part of the range."""
    parts = [DistortedDigits(kind, split) for kind in ("r", "rts") for split in ("train", "val", "test")]
    assert len({data.distorted(3).angle / data.angle for data in parts}) == 6


def test_test_images_are_five_of_each_test_digit():
    data = DistortedDigits("r", "test")
    assert len(data) == 5000 and len(DistortedDigits("r", "val")) == 500 and len(DistortedDigits("r")) == 4500
    assert len(DistortedDigits("r", hold_out=False)) == 5000
    np.testing.assert_array_equal(data.source(3), mnist("test")[3][0])
    angles = [data.distorted(3 + 1000 * k).angle for k in range(5)]
    assert len(set(angles)) == 5 and {data.distorted(3 + 1000 * k).source for k in range(5)} == {3}
    assert {data[3 + 1000 * k][1] for k in range(5)} == {data[3][1]}


def test_splits_share_no_source_digit():
    parts = {split: digit_sources(split, tuple(range(10))) for split in ("train", "val", "test")}
    seen = {split: {image.tobytes() for image in part.images} for split, part in parts.items()}
    assert not seen["train"] & seen["val"] and not seen["train"] & seen["test"] and not seen["val"] & seen["test"]
    whole = DistortedDigits("r", hold_out=False)
    assert {image.tobytes() for image in whole.sources.images} == seen["train"] | seen["val"]
    for split, part in parts.items():
        assert np.bincount(part.labels).tolist() == [len(part) // 10] * 10
        for i in (0, len(part) - 1):
            assert DistortedDigits("p", split, n=len(part)).source(i).tobytes() in seen[split]


def test_some_digits_only():
    data = DistortedDigits("r", "test", digits=(7, 2))
    assert data.classes == ["7", "2"] and len(data) == 1000
    every, labels = mnist("test"), mnist("test").labels
    kept = np.flatnonzero(np.isin(labels, (7, 2)))
    for i in range(20):
        np.testing.assert_array_equal(data.source(i), every[kept[i]][0])
        assert data.classes[data[i][1]] == str(labels[kept[i]])
    assert DistortedDigits("r", digits=np.arange(5)).classes == list("01234")


# ---------------------------------------------------------------------------------------------------------- new epochs


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_images_differ_by_epoch_and_come_again_by_the_seed(kind):
    data = DistortedDigits(kind, n=20)
    assert data.fresh
    first, second = loaded(data, seed=1), loaded(data, seed=1, epochs=2)
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    for options in ({"batch_size": 3}, {"batch_size": 20, "workers": 2}):
        np.testing.assert_array_equal(loaded(data, seed=1, epochs=2, **options), second)
    assert not np.array_equal(loaded(data, seed=2), first)
    part = loaded(Subset(data, range(20)), seed=1)
    np.testing.assert_array_equal(part, first)
    for i in range(20):
        np.testing.assert_array_equal(data[i][0], DistortedDigits(kind, n=20, fresh=False)[i][0])


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_are_not_fresh_are_the_fixed_draws_in_every_epoch(kind):
    data = DistortedDigits(kind, "test", 20)
    assert not data.fresh and not DistortedDigits(kind, "val").fresh
    wanted = np.stack([data[i][0] for i in range(20)])
    for options in ({}, {"epochs": 2}, {"workers": 2, "batch_size": 3}, {"transform": lambda image, rng: image}):
        np.testing.assert_array_equal(loaded(data, **options), wanted)
    labels = next(iter(DataLoader(data, 20))).labels
    assert labels.dtype == np.int64 and labels.numpy().tolist() == [data[i][1] for i in range(20)]


def test_a_transform_comes_last():
    for fresh in (True, False):
        plain, doubled = (
            DistortedDigits("r", n=5, fresh=fresh, transform=t) for t in (None, lambda image, rng: 2 * image)
        )
        np.testing.assert_array_equal(doubled[2][0], 2 * plain[2][0])
        np.testing.assert_array_equal(loaded(doubled), 2 * loaded(plain))
        np.testing.assert_array_equal(doubled.distorted(2).image, plain.distorted(2).image)
        assert doubled.batch(np.arange(2)) is None
    random = DistortedDigits("r", n=5, transform=lambda image, rng: image * rng.random())
    np.testing.assert_array_equal(random[1][0], random[1][0])


# ------------------------------------------------------------------------------------------------------- what was done


@pytest.mark.parametrize("kind", ["r", "rts", "tc"])
def test_theta_undoes_the_distortion(kind):
    """The mean error is a fraction of the mean ink, .13; a theta that turns the wrong way sees something else."""
    data = DistortedDigits(kind, "test", 100, **({"clutter": 0} if kind == "tc" else {}))
    right, wrong = [], []
    for i in range(100):
        found = data.distorted(i)
        right.append(abs(seen_by(found.theta, found.image[0], 28) - data.source(i)[0]).mean())
        if abs(found.angle) > 30:
            mirrored = found.theta * [[1, -1, 1], [-1, 1, 1]]  # the angle's sign
            wrong.append(abs(seen_by(mirrored, found.image[0], 28) - data.source(i)[0]).mean())
    if kind == "tc":
        assert max(right) < 1e-6  # whole pixels
    else:
        assert max(right) < 0.06 and np.mean(right) < 0.032
        assert len(wrong) > 20 and np.mean(wrong) > 0.13


@pytest.mark.parametrize("kind", ["r", "rts", "tc"])
def test_theta_says_angle_scale_and_centre(kind):
    data = DistortedDigits(kind, "test", 30)
    for i in range(30):
        found = data.distorted(i)
        pixels = found.theta[:, :2] * (data.size - 1) / 27  # from pixels of the digit's frame to the image's
        turn = np.deg2rad(found.angle)
        np.testing.assert_allclose(pixels[:, 0], found.scale * np.array([np.cos(turn), -np.sin(turn)]), atol=1e-12)
        assert np.linalg.det(pixels) == pytest.approx(found.scale**2)
        np.testing.assert_allclose((found.theta[:, 2] + 1) / 2 * (data.size - 1), found.centre)
    for kind in ("p", "e"):
        found = DistortedDigits(kind, "test")[0], DistortedDigits(kind, "test").distorted(0)
        assert found[1].theta is None and found[1].centre is None and found[1].angle is None


def test_a_positive_angle_is_counter_clockwise():
    data = DistortedDigits("r")
    for told, quarters in ((1, 1), (0, -1), (0.5, 0)):
        found = data.draw(8, Told(told, 0, 0, 0))
        assert found.angle == 180 * told - 90
        np.testing.assert_allclose(found.image[0], np.rot90(data.sources.images[8, 0], quarters), atol=NEAR)


def test_no_distortion_is_the_digit_itself():
    for kind, options in (
        ("r", {"angle": 0}),
        ("p", {"deviation": 0, "scale": 1}),
        ("e", {"deviation": 0, "scale": (1, 1)}),
        ("rts", {"angle": 0, "scale": 1, "size": 28, "digits": [3]}),
        ("tc", {"size": 28, "clutter": 0}),
    ):
        data = DistortedDigits(kind, n=10, **options)
        for i in range(10):
            moved = data.distorted(i)
            if kind == "rts":  # put where the ink fits: not the digit's own place
                np.testing.assert_allclose(
                    seen_by(moved.theta, moved.image[0], 28).sum(), data.source(i).sum(), rtol=0.3
                )
            else:
                np.testing.assert_allclose(moved.image, data.source(i), atol=NEAR)


def test_angles_and_scales_reach_their_ends():
    for kind, angle, (low, high) in (("r", 90, (1, 1)), ("rts", 45, (0.7, 1.2))):
        data = DistortedDigits(kind, n=500)
        found = [data.distorted(i) for i in range(500)]
        angles, scales = np.array([f.angle for f in found]), np.array([f.scale for f in found])
        assert -angle <= angles.min() < -0.97 * angle and 0.97 * angle < angles.max() <= angle
        assert abs(angles.mean()) < 5 * angle / np.sqrt(3 * 500)  # five standard errors
        assert low <= scales.min() <= low + 0.01 and high - 0.01 <= scales.max() <= high
    for kind in ("p", "e"):
        data = DistortedDigits(kind, n=200)
        scales = np.array([data.distorted(i).scale for i in range(200)])
        assert 0.75 <= scales.min() < 0.76 and 0.99 < scales.max() <= 1


@pytest.mark.parametrize("options", [{}, {"angle": 180, "scale": (0.5, 1.3)}, {"digit": 20, "size": 30}])
def test_all_ink_of_moved_digits_is_inside(options):
    """The whole turned digit is worked out anew on a larger canvas: black outside of the image, equal inside."""
    data = DistortedDigits("rts", n=150, seed=5, **options)
    y, x = np.mgrid[-6 : data.size + 6, -6 : data.size + 6]
    least, most = np.full(2, np.inf), np.full(2, -np.inf)
    for i in range(150):
        found = data.distorted(i)
        u, v = np.moveaxis(np.stack([x, y], axis=-1) * 2 / (data.size - 1) - 1 - found.theta[:, 2], -1, 0)
        u, v = np.einsum("ij,jyx->iyx", np.linalg.inv(found.theta[:, :2]), np.stack([u, v]))
        half = (data.digit - 1) / 2
        whole = bilinear(data.source(i)[0], u * half + half, v * half + half)
        np.testing.assert_allclose(whole[6:-6, 6:-6], found.image[0], atol=NEAR)
        whole[6:-6, 6:-6] = 0
        assert whole.max() < NEAR
        inked = np.argwhere(found.image[0] > 0.1)
        least, most = np.minimum(least, inked.min(0)), np.maximum(most, inked.max(0))
    assert least.max() <= 1 and most.min() >= data.size - 2  # the places reach all four borders


def test_corners_of_a_projective_warp():
    """The frame's corners move by 5 px about a smaller square, and no frame is folded."""
    data = DistortedDigits("p", n=1000)
    moved = []
    for i in range(1000):
        found = data.distorted(i)
        corners = 13.5 + 13.5 * found.scale * np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
        assert found.points.shape == (4, 2) and is_open(found.points, 0.25 * (27 * found.scale) ** 2)
        moved.append(found.points - corners)
    deviations = np.std(moved, axis=0)
    assert (deviations > 4.2).all() and (deviations < 5.2).all()  # less than 5: the folded ones are missing
    assert abs(np.mean(moved, axis=0)).max() < 0.7
    white = DistortedDigits("p", n=1)
    white.sources = DigitSources(np.ones((1, 1, 28, 28), np.float32), np.zeros(1, int), (0,), np.zeros((1, 4)))
    found = white.distorted(0)
    y, x = np.mgrid[:28, :28]
    inside = np.ones((28, 28), bool)
    around = found.points[[0, 1, 3, 2]]
    for a, b in zip(around, np.roll(around, -1, axis=0), strict=True):
        inside &= (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) >= 0
    assert (found.image[0][inside] == pytest.approx(1, abs=NEAR)) and inside.sum() > 50
    assert found.image[0].sum() < 1.6 * inside.sum()  # beyond is a seam of one pixel of the digit


def test_points_of_an_elastic_warp():
    """A digit that is its own x, then y: the image at the regular points tells where they look."""
    data = DistortedDigits("e", n=300)
    regular = np.stack(np.meshgrid([0, 9, 18, 27], [0, 9, 18, 27]), axis=-1).reshape(16, 2)
    moved = [data.distorted(i).points - regular for i in range(300)]
    np.testing.assert_allclose(np.std(moved), 1.5, rtol=0.05)
    assert abs(np.mean(moved)) < 0.05
    ramp = np.repeat(np.arange(28, dtype=np.float32)[None], 28, axis=0)
    checked = 0
    for axis, image in enumerate((ramp, ramp.T)):
        data.sources = DigitSources(image[None, None].copy(), np.zeros(1, int), (0,), np.zeros((1, 4)))
        for i in range(20):
            found = data.distorted(i)
            looks = 13.5 + (found.points - 13.5) / found.scale
            inside = ((looks > 0) & (looks < 27)).all(1)
            told = found.image[0, regular[:, 1], regular[:, 0]]
            np.testing.assert_allclose(told[inside], looks[inside, axis], atol=1e-4)
            checked += inside.sum()
    assert checked > 100


# -------------------------------------------------------------------------------------------------------- small digits


def test_smaller_digits_are_resized_once():
    data = DistortedDigits("tc", n=20, digit=20, size=42, clutter_side=4)
    assert data[0][0].shape == (1, 42, 42) and data.source(0).shape == (1, 20, 20)
    for i in range(20):
        original = digit_sources("train", tuple(range(10))).images[i]
        assert data.source(i).mean() == pytest.approx(original.mean(), rel=0.03)  # averaged, not skipped
    found = DistortedDigits("rts", n=30, digit=20, size=42).distorted(3)
    assert found.theta[0, 0] ** 2 + found.theta[0, 1] ** 2 == pytest.approx((found.scale * 19 / 41) ** 2)


# -------------------------------------------------------------------------------------------------------------- errors


def test_index():
    data = DistortedDigits("r", n=3)
    np.testing.assert_array_equal(data[-1][0], data[2][0])
    for read in (data.__getitem__, data.distorted, data.source):
        with pytest.raises(IndexError, match=r"DistortedDigits: index must lie in 0\.\.2, got 3"):
            read(3)
    assert len(DistortedDigits("r", n=0)) == 0 and DistortedDigits("r", n=0).arrays[0].size == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "rot"}, r"^DistortedDigits: kind must be one of 'r', 'rts', 'p', 'e', 'tc', got 'rot'$"),
        ({"split": "all"}, "split must be one of 'train', 'val', 'test', got 'all'"),
        ({"digits": ()}, r"digits must be one or more of 0, \.\.\., 9, each once, got \(\)"),
        ({"digits": (1, 1)}, r"each once, got \(1, 1\)"),
        ({"digits": (1, 10)}, r"each once, got \(1, 10\)"),
        ({"digits": 3}, "each once, got 3"),
        ({"digits": "12"}, "each once, got '12'"),
        ({"digits": (1.0, 2)}, r"each once, got \(1.0, 2\)"),
        ({"n": -1}, "n must be at least 0, got -1"),
        ({"digit": 4}, r"digit must lie in 8\.\.112 pixels, got 4"),
        ({"size": 27}, "size must be at least digit=28, got 27"),
        ({"kind": "tc", "size": 20, "digit": 24}, "size must be at least digit=24, got 20"),
        ({"kind": "rts", "size": 34}, "turned by up to 45 degrees and scaled by up to 1.2 need an image of 35 px"),
        ({"kind": "rts", "scale": 2.0}, "scaled by up to 2 need an image of .. px, got size=42"),
        ({"angle": -1}, r"angle must lie in 0\.\.180 degrees, got -1"),
        ({"angle": 181}, r"angle must lie in 0\.\.180 degrees, got 181"),
        ({"kind": "p", "scale": (0.4, 1)}, r"scale must be 0.5 <= low <= high, got \(0.4, 1\)"),
        ({"kind": "p", "scale": (1, 0.75)}, r"scale must be 0.5 <= low <= high, got \(1, 0.75\)"),
        ({"kind": "e", "deviation": -1}, "deviation must be at least 0, got -1"),
        ({"kind": "tc", "clutter": -1}, r"wanted clutter >= 0 and clutter_side in 1\.\.digit=28, got -1 and 6"),
        ({"kind": "tc", "clutter_side": 29}, r"clutter_side in 1\.\.digit=28, got 6 and 29"),
    ],
)
def test_values_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        DistortedDigits(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 2.0}, "^DistortedDigits: n must be an int, got 2.0$"),
        ({"seed": None}, "seed must be an int, got None"),
        ({"fresh": "no"}, "fresh must be True or False, got 'no'"),
        ({"digit": 20.0}, "digit must be an int, the side of a digit in pixels, got 20.0"),
        ({"size": "28"}, "size must be an int, got '28'"),
        ({"angle": "90"}, "angle must be a finite number, got '90'"),
        ({"angle": float("nan")}, "angle must be a finite number, got nan"),
        ({"kind": "p", "deviation": float("inf")}, "deviation must be a finite number, got inf"),
        ({"kind": "p", "scale": (1, 2, 3)}, r"scale must be a number or a pair \(low, high\), got \(1, 2, 3\)"),
        ({"kind": "p", "scale": (float("nan"), 1)}, r"scale must be a number or a pair \(low, high\), got \(nan, 1\)"),
        ({"kind": "tc", "clutter": 1.5}, "clutter must be an int, got 1.5"),
        ({"kind": "tc", "angle": 10}, "the kind 'tc' has no angle, only size, clutter, clutter_side; got 10"),
        ({"kind": "r", "clutter": 3}, "the kind 'r' has no clutter, only size, angle; got 3"),
        ({"transform": 3}, r"transform must be callable as transform\(image, rng\), got 3"),
    ],
)
def test_wrong_types(arguments, message):
    with pytest.raises(TypeError, match=message):
        DistortedDigits(**arguments)


def test_corners_that_always_fold_say_so(monkeypatch):
    data = DistortedDigits("p", n=1)
    monkeypatch.setattr("tinyconv.data.warps.is_open", lambda corners, least: False)
    with pytest.raises(ValueError, match="corners moved by 5 px fold a digit of 28 px in 1000 draws; a smaller"):
        data[0]
