"""Tests of the exercises of lesson 01: ``pytest lessons/01_alexnet``, or one task with ``-k 1_3``."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyconv
import tinyconv.nn.functional as F
from tinyconv import models, optim
from tinyconv.data import fashion_mnist

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_01_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

PAPER = (5, 1e-4, 0.75, 2.0)  # size, alpha, beta, k


def nan_like(*shape, dtype=np.float64):
    """Return an output array; whatever a kernel forgets to write stays NaN."""
    return np.full(shape, np.nan, dtype)


def slope(function, x, direction, eps=1e-6):
    """Return the derivative of a number-valued function at x along a direction."""
    return (function(x + eps * direction) - function(x - eps * direction)) / (2 * eps)


# ------------------------------------------------------------------------------------- 1.1 and 1.2: normalisation


def lrn_by_hand(x, size, alpha, beta, k):
    """The paper's formula, one number at a time; returns y and scale."""
    y, scale = np.empty_like(x), np.empty_like(x)
    for n, i, m in np.ndindex(x.shape):
        near = [x[n, j, m] for j in range(x.shape[1]) if abs(j - i) <= size // 2]
        scale[n, i, m] = k + alpha * sum(value**2 for value in near)
        y[n, i, m] = x[n, i, m] / scale[n, i, m] ** beta
    return y, scale


lrn_forward = pytest.mark.task(
    id="1.1", points=2, minutes=15, difficulty=1, hint="max(0, i - size // 2) keeps the window from wrapping round"
)


@lrn_forward
def test_1_1_gives_the_papers_numbers():
    x = np.full((1, 7, 1), 10.0)
    y, scale = nan_like(*x.shape), nan_like(*x.shape)
    exercises.local_response_norm_forward(x, y, scale, *PAPER)
    wanted = [5.8800087, 5.8583778, 5.8369316, 5.8369316, 5.8369316, 5.8583778, 5.8800087]
    np.testing.assert_allclose(y.ravel(), wanted, atol=5e-8)


@lrn_forward
@pytest.mark.parametrize(("channels", "size"), [(9, 5), (7, 3), (3, 5), (1, 5), (4, 1)])
def test_1_1_equals_the_formula(channels, size):
    x = np.random.default_rng(0).standard_normal((2, channels, 3))
    y, scale = nan_like(*x.shape), nan_like(*x.shape)
    exercises.local_response_norm_forward(x, y, scale, size, 0.3, 0.6, 1.5)
    wanted_y, wanted_scale = lrn_by_hand(x, size, 0.3, 0.6, 1.5)
    np.testing.assert_allclose(scale, wanted_scale, rtol=1e-12)
    np.testing.assert_allclose(y, wanted_y, rtol=1e-12)


lrn_backward = pytest.mark.task(
    id="1.2",
    points=3,
    minutes=25,
    difficulty=2,
    hint="x_j is in the bracket of each of its neighbours, not only in its own",
)


@lrn_backward
@pytest.mark.parametrize(("channels", "size"), [(9, 5), (4, 3), (2, 5), (3, 1)])
def test_1_2_is_the_slope_of_the_forward_pass(channels, size):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, channels, 3)), rng.standard_normal((2, channels, 3))
    options = size, 0.3, 0.6, 1.5
    dx = nan_like(*x.shape)
    exercises.local_response_norm_backward(dy, x, lrn_by_hand(x, *options)[1], dx, *options[:3])
    for at in np.ndindex(x.shape):
        one = np.zeros_like(x)
        one[at] = 1
        numeric = slope(lambda x: np.sum(dy * lrn_by_hand(x, *options)[0]), x, one)
        assert dx[at] == pytest.approx(numeric, rel=1e-5, abs=1e-8), f"element {at}"


# --------------------------------------------------------------------------------------- 1.3: overlapping pooling

pooling = pytest.mark.task(
    id="1.3", points=2, minutes=10, difficulty=1, hint="a pixel that won two windows gets the sum of their gradients"
)


def pool_by_hand(x, size, stride):
    """Return the switches of pooling without padding, one window at a time."""
    (N, C, H, W) = x.shape
    OH, OW = (H - size) // stride + 1, (W - size) // stride + 1
    switches = np.empty((N, C, OH, OW), np.int64)
    for n, c, oh, ow in np.ndindex(switches.shape):
        pixels = [(x[n, c, h, w], -h * W - w) for h in range(oh * stride, oh * stride + size)
                  for w in range(ow * stride, ow * stride + size)]  # fmt: skip
        switches[n, c, oh, ow] = -max(pixels)[1]
    return switches


@pooling
@pytest.mark.parametrize(("size", "stride"), [(3, 2), (2, 2), (3, 1), (2, 3)])
def test_1_3_hands_every_gradient_to_its_maximum(size, stride):
    rng = np.random.default_rng(2)
    x = rng.permutation(2 * 3 * 7 * 8).reshape(2, 3, 7, 8).astype(np.float64)
    switches = pool_by_hand(x, size, stride)
    dy = rng.standard_normal(switches.shape)
    wanted = np.zeros_like(x)
    for n, c, oh, ow in np.ndindex(dy.shape):
        h, w = divmod(switches[n, c, oh, ow], x.shape[3])
        wanted[n, c, h, w] += dy[n, c, oh, ow]
    dx = nan_like(*x.shape)
    exercises.max_pool2d_backward(dy, switches, dx, (size, size), (stride, stride), (0, 0), (1, 1))
    np.testing.assert_allclose(dx, wanted, rtol=1e-12, atol=1e-12)


@pooling
def test_1_3_one_peak_collects_four_gradients():
    x = np.zeros((1, 1, 5, 5))
    x[0, 0, 2, 2] = 1
    dx = nan_like(1, 1, 5, 5)
    exercises.max_pool2d_backward(
        np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), pool_by_hand(x, 3, 2), dx, (3, 3), (2, 2), (0, 0), (1, 1)
    )
    np.testing.assert_array_equal(dx, 10 * x)


# ------------------------------------------------------------------------------------- 1.4: grouped convolution

grouping = pytest.mark.task(
    id="1.4", points=3, minutes=20, difficulty=2, hint="group g: channels g * C / groups up, filters g * K / groups up"
)


def conv_by_hand(x, weight, bias, out_size, stride, padding, dilation, groups):
    """The definition, one multiplication at a time."""
    (N, _, H, W), (K, depth, KH, KW) = x.shape, weight.shape
    y = np.zeros((N, K, *out_size))
    for n, k, oh, ow in np.ndindex(y.shape):
        y[n, k, oh, ow] = 0 if bias is None else bias[k]
        for c, i, j in np.ndindex(depth, KH, KW):
            h = oh * stride[0] + i * dilation[0] - padding[0]
            w = ow * stride[1] + j * dilation[1] - padding[1]
            if 0 <= h < H and 0 <= w < W:
                y[n, k, oh, ow] += x[n, k // (K // groups) * depth + c, h, w] * weight[k, c, i, j]
    return y


@grouping
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_1_4_equals_the_definition(groups, bias, activation):
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((2, 6, 7, 6)), rng.standard_normal((9 if groups == 3 else 4, 6 // groups, 3, 2))
    offsets = rng.standard_normal(len(weight)) if bias else None
    geometry = (2, 1), (1, 0), (1, 2)
    wanted = conv_by_hand(x, weight, offsets, (4, 4), *geometry, groups)
    y = nan_like(*wanted.shape)
    exercises.conv2d_forward(x, weight, offsets, y, *geometry, groups, activation, None)
    np.testing.assert_allclose(y, np.maximum(wanted, 0) if activation else wanted, rtol=1e-12, atol=1e-12)


@grouping
def test_1_4_the_second_gpu_does_not_see_the_first():
    rng = np.random.default_rng(4)
    x, weight = rng.standard_normal((1, 4, 5, 5)), rng.standard_normal((6, 2, 3, 3))
    before, after = nan_like(1, 6, 3, 3), nan_like(1, 6, 3, 3)
    geometry = (1, 1), (0, 0), (1, 1), 2, None, None
    exercises.conv2d_forward(x, weight, None, before, *geometry)
    x[:, :2] += 1
    exercises.conv2d_forward(x, weight, None, after, *geometry)
    np.testing.assert_array_equal(before[:, 3:], after[:, 3:])
    assert np.all(before[:, :3] != after[:, :3])


# ---------------------------------------------------------------------------------------- 1.5 and 1.6: less overfitting

dropping = pytest.mark.task(
    id="1.5", points=1, minutes=10, difficulty=1, hint="the paper's training does not scale; its testing does"
)


@dropping
def test_1_5_training_keeps_or_drops():
    x = np.array([[1.0, -2.0, 3.0, 4.0]])
    y = exercises.paper_dropout(x, np.array([[0.1, 0.3, 0.25, 0.9]]), 0.25, True)
    np.testing.assert_array_equal(y, [[0.0, -2.0, 3.0, 4.0]])


@dropping
@pytest.mark.parametrize("p", [0.25, 0.5, 0.75])
def test_1_5_testing_has_the_mean_of_training(p):
    x = np.full((1, 100_000), 3.0)
    uniform = np.random.default_rng(5).random(x.shape)
    trained = exercises.paper_dropout(x, uniform, p, True)
    tested = exercises.paper_dropout(x, uniform, p, False)
    assert np.ptp(tested) == 0, "in testing no unit is dropped"
    assert tested[0, 0] == pytest.approx(trained.mean(), rel=0.03)


colours = pytest.mark.task(
    id="1.6",
    points=2,
    minutes=20,
    difficulty=2,
    hint="eigenvectors are columns; scale each by a_j times its eigenvalue",
)


@colours
def test_1_6_finds_axes_that_were_put_in():
    axes = np.linalg.qr(np.random.default_rng(6).standard_normal((3, 3)))[0]
    # Along axis j, half of the pixels lie at -d_j and half at +d_j: eigenvalue d_j^2 (up to the sample's M / (M - 1)).
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8)
    distances = np.array([0.4, 0.2, 0.1])
    pixels = np.tile(0.5 + axes @ (distances[:, None] * signs), 512)  # (3, 4096)
    images = pixels.reshape(3, 4, 32, 32).transpose(1, 0, 2, 3)
    for j in range(3):
        shift = exercises.colour_shift(images, np.eye(3)[j])
        wanted = axes[:, j] * distances[j] ** 2
        assert min(np.abs(shift - wanted).max(), np.abs(shift + wanted).max()) < 1e-4, f"axis {j + 1}"


@colours
def test_1_6_is_linear_in_the_draw():
    rng = np.random.default_rng(7)
    images, a = rng.random((2, 3, 5, 4)), np.array([0.3, -0.2, 0.5])
    parts = [exercises.colour_shift(images, part) for part in np.diag(a)]
    assert exercises.colour_shift(images, a).shape == (3,)
    np.testing.assert_allclose(exercises.colour_shift(images, a), np.sum(parts, axis=0), atol=1e-12)


# ------------------------------------------------------------------------------------------------ 1.7: the update

updating = pytest.mark.task(
    id="1.7", points=1, minutes=10, difficulty=1, hint="work in place: velocity *= momentum, ..."
)


@updating
@pytest.mark.parametrize(
    ("rates", "wanted"), [([0.01] * 4, 0.9845578777953716), ([0.01, 0.01, 0.001, 0.001], 0.9940208516732705)]
)
def test_1_7_follows_the_papers_rule(rates, wanted):
    w, v = np.array([1.0]), np.array([0.0])
    for g, rate in zip([0.3, -0.2, 0.5, 0.1], rates, strict=True):
        exercises.alexnet_sgd_step(w, np.array([g]), v, rate, 0.9, 0.0005)
    assert w[0] == pytest.approx(wanted, abs=1e-12)


# ------------------------------------------------------------------------------------------------ 1.8: the table

table = pytest.mark.task(
    id="1.8", points=2, minutes=25, difficulty=2, hint="depth of a kernel = input channels // groups"
)


@table
def test_1_8_gives_the_papers_table():
    rows = exercises.layer_table(exercises.ALEXNET, (3, 227, 227))
    assert [row[0] for row in rows] == [layer[0] for layer in exercises.ALEXNET]
    found = {name: (tuple(shape), params, macs) for name, shape, params, macs in rows}
    assert found["conv1"] == ((96, 55, 55), 34_944, 105_415_200)
    assert found["norm1"] == ((96, 55, 55), 0, 0)
    assert found["pool1"] == ((96, 27, 27), 0, 0)
    assert found["conv2"] == ((256, 27, 27), 307_456, 223_948_800)
    assert found["conv3"] == ((384, 13, 13), 885_120, 149_520_384)
    assert found["conv5"] == ((256, 13, 13), 442_624, 74_760_192)
    assert found["pool5"] == ((256, 6, 6), 0, 0)
    assert found["fc6"] == ((4096,), 37_752_832, 37_748_736)
    assert found["fc8"] == ((1000,), 4_097_000, 4_096_000)
    assert sum(row[2] for row in rows) == 60_965_224
    assert sum(row[3] for row in rows) == 724_406_816


@table
def test_1_8_works_for_other_networks():
    layers = [
        ("a", "conv", {"filters": 4, "kernel": 3, "stride": 2, "padding": 1, "groups": 1}),
        ("b", "pool", {"kernel": 2, "stride": 2}),
        ("c", "linear", {"units": 5}),
    ]
    rows = [
        (name, tuple(shape), params, macs) for name, shape, params, macs in exercises.layer_table(layers, (1, 9, 12))
    ]
    assert rows == [("a", (4, 5, 6), 40, 1080), ("b", (4, 2, 3), 0, 0), ("c", (5,), 125, 120)]


# ---------------------------------------------------------------------------------------- 1.9: all of it, in the engine

training = pytest.mark.task(
    id="1.9",
    points=3,
    minutes=20,
    difficulty=2,
    hint="forget the old gradients, forward, backward, then update in place",
)


def small_alexnet():
    """Return the lesson-scale network without dropout's chance, and eight images."""
    tinyconv.manual_seed(0)
    model = models.alexnet(10, scale="lesson", in_channels=1, image_size=28)
    model.eval()
    images = fashion_mnist("test").batch(np.arange(8))
    return model, tinyconv.Tensor(images[0]), tinyconv.Tensor(images[1])


@training
def test_1_9_one_step_is_the_optimisers():
    model, images, labels = small_alexnet()
    wanted, _, _ = small_alexnet()
    optimizer = optim.AlexNetSGD(wanted.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    velocities = [np.zeros_like(p.data) for p in model.parameters()]
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.cross_entropy(wanted(images), labels)
        loss.backward()
        optimizer.step()
        assert exercises.train_step(model, images, labels, velocities, 0.05) == pytest.approx(loss.item(), rel=1e-5)
    for (name, ours), theirs in zip(model.named_parameters(), wanted.parameters(), strict=True):
        np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-5, atol=1e-7, err_msg=name)


@training
def test_1_9_alexnet_learns_on_your_kernels():
    model, images, labels = small_alexnet()
    wanted = F.cross_entropy(model(images), labels).item()
    velocities = [np.zeros_like(p.data) for p in model.parameters()]
    with tinyconv.backend(exercises):
        losses = [exercises.train_step(model, images, labels, velocities, 0.03) for _ in range(12)]
    assert losses[0] == pytest.approx(wanted, rel=1e-4), "your kernels and the engine's should agree"
    assert losses[-1] < 0.7 * losses[0], f"the loss should fall on eight images seen twelve times: {losses}"
