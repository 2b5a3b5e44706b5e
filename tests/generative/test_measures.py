"""Measures of generated images: exact values, and what is said of a training that went wrong."""

import math

import numpy as np
import pytest

import tinyconv
from tinyconv.generative import measures
from tinyconv.generative.measures import closest, nearest_distance, sharpness, spread, verdict


def test_spread_is_the_deviation_over_images_averaged_over_pixels():
    images = np.zeros((4, 1, 1, 2))
    images[:, 0, 0, 0] = [0, 0, 1, 1]  # deviation 1/2; the other pixel never changes
    assert spread(images) == 0.25
    assert spread(tinyconv.tensor(images)) == 0.25
    assert spread(np.full((3, 3, 2, 2), 0.7, np.float32)) < 1e-15


def test_spread_of_many_images_is_that_of_numpy(rng, monkeypatch):
    images = rng.uniform(0, 1, (50, 3, 4, 5)).astype(np.float32)
    wanted = images.astype(np.float64).std(axis=0).mean()
    assert spread(images) == pytest.approx(wanted, rel=1e-12)
    monkeypatch.setattr(measures, "_BLOCK", 7)
    assert spread(images) == pytest.approx(wanted, rel=1e-12)


def test_sharpness_by_hand(monkeypatch):
    board = np.indices((5, 6)).sum(0) % 2
    assert sharpness(board[None, None]) == 1
    assert sharpness(np.full((2, 3, 4, 4), 0.3)) == 0
    ramp = np.tile(0.1 * np.arange(6), (5, 1))[
        None, None
    ]  # 25 pairs side by side differ by .1, 24 above each other by 0
    assert sharpness(ramp) == pytest.approx(25 * 0.01 / 49)
    assert sharpness(ramp.swapaxes(2, 3)) == pytest.approx(25 * 0.01 / 49)
    assert sharpness(np.array([0.0, 0.5]).reshape(1, 1, 1, 2)) == 0.25
    monkeypatch.setattr(measures, "_BLOCK", 1)
    both = np.concatenate([board[None, None], np.zeros((1, 1, 5, 6))])
    assert sharpness(both) == 0.5


def test_bytes_are_not_taken_modulo_256():
    images = np.array([[0, 255], [255, 0]], np.uint8).reshape(2, 1, 1, 2)
    assert spread(images) == 127.5 and sharpness(images) == 255**2
    np.testing.assert_array_equal(nearest_distance(images[:1], images[1:]), [math.hypot(255, 255)])


def test_blurring_lowers_sharpness(rng):
    images = rng.uniform(0, 1, (5, 1, 16, 16))
    blurred = (images + np.roll(images, 1, 2) + np.roll(images, 1, 3)) / 3
    assert sharpness(blurred) < 0.5 * sharpness(images)


def test_nearest_distance_against_all_pairs(rng, monkeypatch):
    images, training = rng.uniform(0, 1, (9, 2, 3, 4)), rng.uniform(0, 1, (40, 2, 3, 4))
    table = np.sqrt(np.square(images[:, None] - training[None]).sum(axis=(2, 3, 4)))
    for block in (4096, 7):
        monkeypatch.setattr(measures, "_BLOCK", block)
        indices, distances = closest(images, training)
        np.testing.assert_array_equal(indices, table.argmin(1))
        np.testing.assert_allclose(distances, table.min(1), rtol=1e-14)
    np.testing.assert_array_equal(nearest_distance(images, training), distances)


def test_a_copy_is_at_distance_0_and_of_two_the_first_counts(rng, monkeypatch):
    training = 1000 + rng.uniform(0, 1, (30, 1, 28, 28)).astype(
        np.float32
    )  # large: ||a||^2 - 2ab + ||b||^2 would not be 0
    training[20] = training[3]
    for block in (4096, 8):
        monkeypatch.setattr(measures, "_BLOCK", block)
        indices, distances = closest(training[[20, 7]], training)
        assert indices.tolist() == [3, 7] and distances.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spread(np.zeros((1, 1, 2, 2))), ValueError, "spread: images must hold at least 2 images, got 1"),
        (lambda: spread(np.zeros((2, 4))), ValueError, r"spread: images must be \(N, C, H, W\) .* got shape \(2, 4\)"),
        (lambda: spread(np.zeros((2, 1, 0, 3))), ValueError, "with at least one pixel"),
        (lambda: spread(np.full((2, 1, 1, 1), np.nan)), ValueError, "spread: images must be finite"),
        (lambda: spread(["a"]), TypeError, "spread: images must be an array .* of numbers"),
        (lambda: sharpness(np.zeros((0, 1, 2, 2))), ValueError, "sharpness: images must hold at least 1 image, got 0"),
        (lambda: sharpness(np.zeros((3, 1, 1, 1))), ValueError, "sharpness: images must have at least two pixels"),
        (
            lambda: nearest_distance(np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 3, 2))),
            ValueError,
            r"training must have images of shape \(1, 2, 2\), got \(1, 3, 2\)",
        ),
        (
            lambda: nearest_distance(np.zeros((1, 1, 2, 2)), np.zeros((0, 1, 2, 2))),
            ValueError,
            "training must hold at least 1 image, got 0",
        ),
        (lambda: verdict([], 0.0), ValueError, "verdict: data_spread must be a positive number, got 0.0"),
        (lambda: verdict([], np.nan), ValueError, "verdict: data_spread must be a positive number, got nan"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def rows(accuracies, spreads):
    """Return rows of a history; None where one has no spread."""
    made = [
        {"epoch": k, "discriminator_accuracy": a, "sample_spread": s}
        for k, (a, s) in enumerate(zip(accuracies, spreads, strict=True), 1)
    ]
    return [{name: value for name, value in row.items() if value is not None} for row in made]


@pytest.mark.parametrize(
    ("accuracies", "spreads", "data_spread", "kind"),
    [
        ([1, 1, 1], [0.1, 0.05, 0.01], 0.19, "the generator has collapsed"),
        ([0.95, 0.95, 0.95], [0.0] * 3, 0.19, "the generator has collapsed"),  # whatever the discriminator does
        ([0.5, 0.5, 0.5], [0.0] * 3, 0.19, "the generator has collapsed"),
        ([None] * 3, [0.0] * 3, 0.19, "the generator has collapsed"),
        ([0.5, 0.5, 0.5], [0.0, 0.0, 0.15], 0.19, None),  # it has recovered
        ([1, 1, 1], [0.01, 0.01, 0.14], 0.19, "the discriminator is too far ahead"),
        ([1, 1, 1], [0.149] * 3, 0.2, "the discriminator is too far ahead"),  # the limit is three quarters
        ([1, 1, 1], [0.151] * 3, 0.2, None),  # what it has to learn, it has learnt
        ([0.5, 0.98, 0.96, 0.98], [0.01] * 4, 0.19, "the generator has collapsed"),  # .973 on average
        ([1, 1, 1], [0.0189] * 3, 0.19, "the generator has collapsed"),  # the limit is a tenth
        ([1, 1, 1], [0.0191] * 3, 0.19, "the discriminator is too far ahead"),
        ([1, 1, 1], [0.003] * 3, None, "the generator has collapsed"),  # less than a grey level, whatever the data are
        ([1, 1, 1], [0.01] * 3, None, "the discriminator is too far ahead"),
        ([1, 1, 1], [0.001, None, None], 0.19, "the generator has collapsed"),  # drawn every third epoch
        ([1, 1, 1], [None] * 3, 0.19, "the discriminator is too far ahead"),
        ([1, 1], [0.0, 0.0], 0.19, None),  # too early
        ([1, 1], [None] * 2, 0.19, None),
        ([1, 1, 0.97, 0.97, 0.96], [0.1] * 5, 0.19, None),  # .967 on average
        ([1, 1, 1, math.nan], [0.19] * 4, 0.19, "the training has diverged"),
        ([math.nan] * 3, [None] * 3, None, "the training has diverged"),
        ([math.inf], [0.19], 0.19, "the training has diverged"),  # no chance: one epoch is enough
        ([0.5] * 3, [0.1, 0.1, math.nan], 0.19, "the training has diverged"),
        ([math.nan, 0.7, 0.7, 0.7], [0.19] * 4, 0.19, None),
        ([math.nan] * 3, [0.0] * 3, 0.19, "the generator has collapsed"),
        ([0.9, 0.8, 0.7], [0.19] * 3, 0.19, None),
        ([], [], 0.19, None),
    ],
)
def test_verdict(accuracies, spreads, data_spread, kind):
    said = verdict(rows(accuracies, spreads), data_spread)
    assert said is None if kind is None else said.startswith(f"{kind}: ")


def test_verdict_names_what_was_measured_and_what_to_do():
    history = tinyconv.history.History(rows([1.0, 0.985, 0.985], [0.002] * 3))
    said = verdict(history, 0.19)
    first = "the generator has collapsed: the samples' spread is 0.002, that of the data 0.190"
    assert said.startswith(f"{first}, and in the last 3 epochs the discriminator was right in 99.0 % of its answers; ")
    assert "lower learning rate for the discriminator" in said
    said = verdict(rows([0.9, 0.9, 0.9], [0.002] * 3), 0.19)
    assert said.startswith(f"{first}; start again with a lower learning rate") and "discriminator" not in said
    said = verdict(rows([0.9, 0.9, math.nan], [0.19] * 3), 0.19)
    assert "the discriminator's share of right answers is nan" in said and "lower learning rates" in said
    assert verdict([{"epoch": k, "train_loss": 0.5} for k in range(5)]) is None  # no GAN's rows
