"""Tests of tasks 5.6 to 5.10: ``pytest lessons/05_resnet``, or one task with ``-k 5_7``."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv.models.residual import SubsampleAndPad
from tinyconv.models.rir import GeneralisedBlock, add_identity
from tinyconv.nn import functional as F

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_05_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

# ------------------------------------------------------------------------------------------------------ 5.6: shortcut A

shortening = pytest.mark.task(
    id="5.6", points=2, minutes=15, difficulty=1, hint="the same slices on both sides of the equals sign, both ways"
)


@shortening
@pytest.mark.parametrize(
    ("shape", "channels", "stride"),
    [((2, 3, 6, 4), 6, 2), ((1, 2, 5, 7), 3, 2), ((2, 2, 7, 4), 2, 3), ((2, 3, 3, 3), 4, 1), ((1, 2, 4, 4), 2, 1)],
)
def test_5_6_is_the_librarys_shortcut(shape, channels, stride):
    x = np.random.default_rng(0).standard_normal(shape)
    y, _ = exercises.shortcut_a(x, channels, stride)
    wanted = SubsampleAndPad(channels - shape[1], stride)(tinyconv.tensor(x)).numpy()
    assert y.shape == wanted.shape
    np.testing.assert_array_equal(y, wanted)


@shortening
@pytest.mark.parametrize(
    ("shape", "channels", "stride"), [((2, 3, 6, 4), 6, 2), ((1, 2, 5, 7), 3, 3), ((1, 2, 2, 3), 5, 1)]
)
def test_5_6_gradient_reaches_the_pixels_that_were_picked_and_no_others(shape, channels, stride):
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape)
    kept = x.copy()
    y, back = exercises.shortcut_a(x, channels, stride)
    dy = rng.standard_normal(y.shape)
    arrived = dy.copy()
    dx, twice = back(dy), back(2 * dy)
    assert dx.shape == x.shape
    wanted = np.zeros(shape)
    for n, c, i, j in np.ndindex(shape):
        if i % stride == 0 and j % stride == 0:
            wanted[n, c, i, j] = dy[n, c, i // stride, j // stride]
    np.testing.assert_array_equal(dx, wanted)
    np.testing.assert_array_equal(twice, 2 * wanted, err_msg="the second call of back")
    np.testing.assert_array_equal(x, kept, err_msg="x was changed")
    np.testing.assert_array_equal(dy, arrived, err_msg="dy was changed")


@shortening
def test_5_6_is_its_own_array():
    x = np.random.default_rng(2).standard_normal((2, 2, 4, 4))
    kept = x.copy()
    y, back = exercises.shortcut_a(x, 2, 1)
    y += 1
    dy = np.ones_like(y)
    dx = back(dy)
    dx += 1
    np.testing.assert_array_equal(x, kept, err_msg="writing into y changed x")
    np.testing.assert_array_equal(dy, np.ones_like(y), err_msg="writing into dx changed dy")


@shortening
def test_5_6_keeps_the_dtype():
    y, back = exercises.shortcut_a(np.ones((1, 2, 4, 4), np.float32), 4, 2)
    assert y.dtype == back(y).dtype == np.float32


# ------------------------------------------------------------------------------------------------------- 5.7: the block

adding = pytest.mark.task(
    id="5.7", points=3, minutes=15, difficulty=2, hint="arriving = dy * (total > 0); into both; add what comes back"
)


def linear(matrix):
    """Return a layer that multiplies rows by a matrix; its way back multiplies by the transpose."""
    return lambda x: (x @ matrix, lambda dy: dy @ matrix.T)


def squaring(x):
    """A layer that is not linear: its way back depends on what came in."""
    return x**2, lambda dy: 2 * x * dy


def identity(x):
    """The shortcut that most blocks have: it hands on the very arrays it gets."""
    return x, lambda dy: dy


@adding
@pytest.mark.parametrize("shortcut", ["identity", "projection", None])
def test_5_7_output_and_gradient(shortcut):
    rng = np.random.default_rng(3)
    x, dy = rng.standard_normal((5, 4)), rng.standard_normal((5, 4))
    A, B = rng.standard_normal((4, 4)), rng.standard_normal((4, 4))
    carried = {"identity": np.eye(4), "projection": B, None: np.zeros((4, 4))}[shortcut]
    given = {"identity": identity, "projection": linear(B), None: None}[shortcut]
    y, back = exercises.residual_block(x, linear(A), given)
    total = x @ A + x @ carried
    np.testing.assert_allclose(y, np.maximum(total, 0), rtol=1e-12)
    arriving = np.where(total > 0, dy, 0)
    np.testing.assert_allclose(back(dy), arriving @ A.T + arriving @ carried.T, rtol=1e-12)


@adding
def test_5_7_a_branch_of_zeros_leaves_the_relu_of_the_shortcut():
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    y, back = exercises.residual_block(x, linear(np.zeros((4, 4))), identity)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    np.testing.assert_array_equal(back(dy), dy * (x > 0))


@adding
def test_5_7_where_the_sum_is_0_nothing_passes():
    y, back = exercises.residual_block(np.zeros((1, 3)), linear(np.eye(3)), identity)
    np.testing.assert_array_equal(y, np.zeros((1, 3)))
    np.testing.assert_array_equal(back(np.ones((1, 3))), np.zeros((1, 3)), err_msg="the gradient of ReLU at 0 is 0")


@adding
@pytest.mark.parametrize("depth", [1, 3])
def test_5_7_blocks_in_a_row_agree_with_differences(depth):
    rng = np.random.default_rng(5)
    x, dy = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    matrices = 0.3 * rng.standard_normal((depth, 3, 3))

    def run(x):
        backs = []
        for matrix in matrices:
            x, back = exercises.residual_block(x, lambda x, m=matrix: _then(squaring(x), linear(m)), identity)
            backs.append(back)
        return x, backs

    _, backs = run(x)
    found = dy
    for back in reversed(backs):
        found = back(found)
    numeric = np.empty_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = 1e-6
        numeric[i] = ((run(x + step)[0] - run(x - step)[0]) * dy).sum() / 2e-6
    np.testing.assert_allclose(found, numeric, atol=1e-6)


def _then(first, layer):
    """Return a layer on top of what a first one gave."""
    middle, first_back = first
    y, back = layer(middle)
    return y, lambda dy: first_back(back(dy))


@adding
@pytest.mark.parametrize("shortcut", [identity, None])
def test_5_7_changes_nothing_that_it_is_handed(shortcut):
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    kept = x.copy(), dy.copy()
    y, back = exercises.residual_block(x, identity, shortcut)
    first = back(dy).copy()
    np.testing.assert_array_equal(back(dy), first, err_msg="the second call of back gives something else")
    np.testing.assert_array_equal(y, np.maximum(2 * kept[0] if shortcut else kept[0], 0))
    np.testing.assert_array_equal(x, kept[0], err_msg="x was changed")
    np.testing.assert_array_equal(dy, kept[1], err_msg="dy was changed")


@adding
def test_5_7_leaves_what_branch_and_shortcut_return_alone():
    rng = np.random.default_rng(12)
    x, dy = rng.standard_normal((2, 3, 4))
    theirs = rng.standard_normal((4, 3, 4))  # two outputs, two gradients
    kept = theirs.copy()
    y, back = exercises.residual_block(
        x, lambda x: (theirs[0], lambda dy: theirs[1]), lambda x: (theirs[2], lambda dy: theirs[3])
    )
    np.testing.assert_array_equal(y, np.maximum(kept[0] + kept[2], 0))
    np.testing.assert_array_equal(back(dy), kept[1] + kept[3])
    np.testing.assert_array_equal(theirs, kept)


# -------------------------------------------------------------------------------------------------- 5.8: learning rates

warming = pytest.mark.task(
    id="5.8", points=2, minutes=15, difficulty=1, hint="the rate of step i depends on the errors of steps before i"
)


@warming
def test_5_8_by_hand():
    errors = [0.95, 0.85, 0.79, 0.9, 0.5]
    rates = exercises.learning_rates(errors, 10, drops=(6, 8))
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.01, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@warming
def test_5_8_stays_warm_when_the_error_rises_again():
    rates = exercises.learning_rates([0.7, 0.95, 0.95, 0.95], 5)
    np.testing.assert_allclose(rates, [0.01, 0.1, 0.1, 0.1, 0.1])


@warming
@pytest.mark.parametrize("last", [0.8, 0.85])
def test_5_8_below_80_percent_means_below(last):
    np.testing.assert_allclose(exercises.learning_rates([0.9, last], 5), [0.01] * 5)


@warming
def test_5_8_a_network_that_never_starts_keeps_its_rate_through_the_drops():
    rates = exercises.learning_rates([0.9] * 6 + [0.1], 9, drops=(3, 5))
    np.testing.assert_allclose(rates, [0.01] * 7 + [0.001] * 2)


@warming
def test_5_8_the_papers_run():
    """Some 400 steps of warm-up, 64,000 in all."""
    rates = exercises.learning_rates([0.9] * 400 + [0.75], 64_000)
    assert len(rates) == 64_000
    changes = [i for i in range(1, 64_000) if rates[i] != rates[i - 1]]
    assert changes == [401, 32_000, 48_000]
    np.testing.assert_allclose([rates[i] for i in (0, 401, 32_000, 48_000)], [0.01, 0.1, 0.01, 0.001])


# ---------------------------------------------------------------------------------------------------- 5.9: augmentation

cropping = pytest.mark.task(
    id="5.9", points=2, minutes=15, difficulty=1, hint="mean first, then zeros, then the window: 2 border + 1 places"
)


def numbered(C=2, H=8, W=6):
    """Return an image whose pixels all differ, and a mean image that differs from pixel to pixel."""
    rng = np.random.default_rng(7)
    return np.arange(1.0, C * H * W + 1).reshape(C, H, W), rng.uniform(0, 0.5, (C, H, W))


@cropping
@pytest.mark.parametrize(
    ("draws", "border", "top", "left"),
    [
        ((0.5, 0.5), 4, 0, 0),  # the middle of nine places
        ((0.0, 0.999), 4, -4, 4),
        ((0.999, 0.0), 4, 4, -4),
        ((0.12, 0.88), 4, -3, 3),  # int(9 * .12) = 1, int(9 * .88) = 7
        ((0.4, 0.7), 1, 0, 1),
        ((0.3, 0.9), 0, 0, 0),
    ],
)
def test_5_9_place_of_the_window(draws, border, top, left):
    image, mean = numbered()
    found = exercises.padded_crop(image, mean, (*draws, 0.5), border)
    wanted, centred = np.zeros_like(image), image - mean
    for c, i, j in np.ndindex(image.shape):
        if 0 <= i + top < image.shape[1] and 0 <= j + left < image.shape[2]:
            wanted[c, i, j] = centred[c, i + top, j + left]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@cropping
def test_5_9_the_border_is_zero_after_the_mean_is_gone():
    image, mean = np.full((3, 8, 8), 0.5), np.full((3, 8, 8), 0.5)
    found = exercises.padded_crop(image, mean, (0.0, 0.0, 0.9))
    np.testing.assert_array_equal(found, np.zeros((3, 8, 8)), err_msg="the border must be the mean colour")


@cropping
def test_5_9_mirrors_half_of_the_images():
    image, mean = numbered()
    plain, mirrored = (exercises.padded_crop(image, mean, (0.2, 0.7, u)) for u in (0.5, 0.499))
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])
    assert not np.array_equal(mirrored, plain)


@cropping
def test_5_9_every_place_is_equally_likely_and_the_image_stays():
    image, mean = numbered()
    kept, found = image.copy(), []
    for u in (np.arange(90) + 0.5) / 90:
        window = exercises.padded_crop(image, mean, (u, 0.5, 0.9))
        rows = np.flatnonzero(window[0].any(axis=1))
        found.append(int(rows[0]) if rows[0] else int(rows[-1]) - 7)
    assert [found.count(place) for place in range(-5, 6)] == [0, *[10] * 9, 0]
    np.testing.assert_array_equal(image, kept)


# ---------------------------------------------------------------------------------------------------- 5.10: ResNet Init

joining = pytest.mark.task(
    id="5.10", points=3, minutes=20, difficulty=2, hint="rows are r', t'; columns are r, t; ones at [k, k, 1, 1]"
)


def quarters(C, K, seed=8):
    """Return w_rr, w_tr, w_rt, w_tt."""
    return np.random.default_rng(seed).standard_normal((4, K, C, 3, 3))


def convolved(x, weight):
    """Return the convolution of arrays, padding 1."""
    return F.conv2d(tinyconv.tensor(x), tinyconv.tensor(weight), padding=1).numpy()


@joining
@pytest.mark.parametrize(("C", "K"), [(1, 1), (3, 3), (2, 5)])
def test_5_10_is_the_two_streams(C, K):
    w_rr, w_tr, w_rt, w_tt = quarters(C, K)
    r, t = np.random.default_rng(9).standard_normal((2, 2, C, 5, 4))
    weight = exercises.resnet_init(w_rr, w_tr, w_rt, w_tt)
    assert weight.shape == (2 * K, 2 * C, 3, 3)
    found = convolved(np.concatenate([r, t], axis=1), weight)
    residual = convolved(r, w_rr) + convolved(t, w_tr)
    residual[:, :C] += r
    np.testing.assert_allclose(found[:, :K], residual, atol=1e-12, err_msg="r'")
    np.testing.assert_allclose(found[:, K:], convolved(r, w_rt) + convolved(t, w_tt), atol=1e-12, err_msg="t'")


@joining
def test_5_10_of_zeros_it_hands_on_r_and_forgets_t():
    weight = exercises.resnet_init(*np.zeros((4, 3, 3, 3, 3)))
    both = np.random.default_rng(10).standard_normal((1, 6, 4, 4))
    found = convolved(both, weight)
    np.testing.assert_array_equal(found[:, :3], both[:, :3])
    np.testing.assert_array_equal(found[:, 3:], np.zeros((1, 3, 4, 4)))


@joining
@pytest.mark.parametrize(("C", "K"), [(3, 3), (2, 4)])
def test_5_10_is_the_librarys_block_with_its_identity_inside(C, K):
    block = GeneralisedBlock(C, K, dtype=np.float64)
    W = np.random.default_rng(11).standard_normal(block.conv.weight.shape)
    block.conv.weight.data[...] = W
    add_identity(block)
    found = exercises.resnet_init(W[:K, :C], W[:K, C:], W[K:, :C], W[K:, C:])
    np.testing.assert_allclose(found, block.conv.weight.detach().numpy(), rtol=1e-12)


@joining
def test_5_10_leaves_its_arguments_alone():
    parts = quarters(2, 2)
    kept = parts.copy()
    exercises.resnet_init(*parts)
    np.testing.assert_array_equal(parts, kept)
