"""Tests of tasks 2.1 to 2.5 of lesson 02: ``pytest lessons/02_zfnet``, or one task with ``-k 2_3``."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyconv
import tinyconv.nn.functional as F
from tinyconv import explain, nn

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_02_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)


def nan_like(*shape, dtype=np.float64):
    """Return an output array; whatever a kernel forgets to write stays NaN."""
    return np.full(shape, np.nan, dtype)


# --------------------------------------------------------------------------------------------- 2.1: receptive fields

fields = pytest.mark.task(
    id="2.1", points=2, minutes=15, difficulty=1, hint="a window of k units spans (k - 1) steps of the layer below"
)


def pixels_of(unit, layers):
    """Return the first and last pixel of a unit: from the top down, one layer's window at a time."""
    first = last = unit
    for kernel, stride, padding in reversed(layers):
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return first, last


@fields
def test_2_1_gives_the_papers_network():
    geometry = [layer[1:] for layer in exercises.ZFNET]
    found = {layer[0]: exercises.receptive_field(geometry[: i + 1])[:2] for i, layer in enumerate(exercises.ZFNET)}
    wanted = {"conv1": (7, 2), "pool1": (11, 4), "conv2": (27, 8), "pool2": (43, 16), "conv5": (139, 16)}
    assert {name: found[name] for name in wanted} == wanted
    assert found["pool5"] == (171, 32)


@fields
@pytest.mark.parametrize(
    "layers",
    [
        [],
        [(3, 1, 1), (3, 1, 1), (3, 1, 1)],
        [(5, 3, 2), (1, 2, 0), (4, 1, 3)],
        [layer[1:] for layer in exercises.ZFNET],
    ],
    ids=["none", "three 3x3", "odd steps", "zfnet"],
)
def test_2_1_names_the_pixels_of_every_unit(layers):
    size, stride, start = exercises.receptive_field(layers)
    for unit in (0, 1, 5):
        first, last = pixels_of(unit, layers)
        assert (start + unit * stride, start + unit * stride + size - 1) == (first, last), f"unit {unit}"


@fields
def test_2_1_agrees_with_the_library():
    model = tinyconv.models.zfnet(device="meta")
    geometry = [layer[1:] for layer in exercises.ZFNET]
    for i, (name, *_) in enumerate(exercises.ZFNET):
        field = explain.receptive_field(model, name)
        assert exercises.receptive_field(geometry[: i + 1]) == (field.size[0], field.stride[0], field.start[0]), name


# ------------------------------------------------------------------------------------------------- 2.2: unpooling

unpooling = pytest.mark.task(
    id="2.2", points=2, minutes=15, difficulty=1, hint="zeros first; then value by value to its switch, if it has one"
)


@unpooling
@pytest.mark.parametrize("accumulate", [False, True])
def test_2_2_one_pixel_that_won_four_windows(accumulate):
    x, y = np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), nan_like(1, 1, 5, 5)
    exercises.max_unpool2d_forward(x, np.full((1, 1, 2, 2), 12), y, accumulate)
    wanted = np.zeros((1, 1, 5, 5))
    wanted[0, 0, 2, 2] = 10 if accumulate else 4
    np.testing.assert_array_equal(y, wanted)


@unpooling
@pytest.mark.parametrize("accumulate", [False, True])
def test_2_2_goes_value_by_value(accumulate):
    rng = np.random.default_rng(0)
    x, switches = rng.standard_normal((2, 3, 4, 3)), rng.integers(0, 30, (2, 3, 4, 3))
    wanted = np.zeros((2, 3, 5, 6))
    for n, c, oh, ow in np.ndindex(x.shape):
        h, w = divmod(switches[n, c, oh, ow], 6)
        wanted[n, c, h, w] = x[n, c, oh, ow] + (wanted[n, c, h, w] if accumulate else 0)
    y = nan_like(*wanted.shape)
    exercises.max_unpool2d_forward(x, switches, y, accumulate)
    np.testing.assert_allclose(y, wanted, rtol=1e-12)


@unpooling
@pytest.mark.parametrize("accumulate", [False, True])
def test_2_2_a_window_without_a_pixel_goes_nowhere(accumulate):
    y = nan_like(1, 1, 2, 2)
    exercises.max_unpool2d_forward(np.array([[[[7.0, 5.0]]]]), np.array([[[[1, -1]]]]), y, accumulate)
    np.testing.assert_array_equal(y, [[[[0.0, 7.0], [0.0, 0.0]]]])


# --------------------------------------------------------------------------------------- 2.3: transposed convolution

filtering = pytest.mark.task(
    id="2.3",
    points=3,
    minutes=30,
    difficulty=2,
    hint="value (h, w) stamps from (h * stride - padding, ...) on, and adds",
)


def stamp_by_hand(x, weight, bias, size, stride, padding):
    """The definition, one multiplication at a time."""
    y = np.zeros((len(x), weight.shape[1], *size))
    for n, c, h, w in np.ndindex(x.shape):
        for k, i, j in np.ndindex(weight.shape[1:]):
            row, column = h * stride[0] - padding[0] + i, w * stride[1] - padding[1] + j
            if 0 <= row < size[0] and 0 <= column < size[1]:
                y[n, k, row, column] += x[n, c, h, w] * weight[c, k, i, j]
    return y if bias is None else y + bias[:, None, None]


@filtering
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [((3, 3), (1, 1), (1, 1), (4, 5)), ((3, 2), (2, 3), (0, 0), (9, 14)), ((5, 4), (2, 1), (2, 1), (7, 6))],
    ids=["same size", "strides", "padding"],
)
def test_2_3_equals_the_definition(kernel, stride, padding, size, bias):
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((3, 2, *kernel))
    offsets = rng.standard_normal(2) if bias else None
    y = nan_like(2, 2, *size)
    exercises.conv_transpose2d_forward(x, weight, offsets, y, stride, padding, (1, 1), 1, None)
    np.testing.assert_allclose(y, stamp_by_hand(x, weight, offsets, size, stride, padding), rtol=1e-12, atol=1e-12)


@filtering
@pytest.mark.parametrize("side", [11, 12])
def test_2_3_goes_back_to_the_size_that_was_there(side):
    """Convolution and its transpose: <conv(image), signal> = <image, down(signal)>, for 11 and for 12 pixels to 5."""
    rng = np.random.default_rng(2)
    image, weight = rng.standard_normal((1, 2, side, side)), rng.standard_normal((3, 2, 3, 3))
    up = F.conv2d(tinyconv.Tensor(image), tinyconv.Tensor(weight), stride=2).numpy()
    signal, down = rng.standard_normal(up.shape), nan_like(*image.shape)
    assert up.shape[2:] == (5, 5)
    exercises.conv_transpose2d_forward(signal, weight, None, down, (2, 2), (0, 0), (1, 1), 1, None)
    assert np.sum(up * signal) == pytest.approx(np.sum(image * down), rel=1e-10)


@filtering
def test_2_3_a_single_value_stamps_its_filter():
    x, weight = np.zeros((1, 2, 3, 3)), np.arange(18.0).reshape(2, 1, 3, 3)
    x[0, 1, 1, 2] = 10
    y = nan_like(1, 1, 7, 7)
    exercises.conv_transpose2d_forward(x, weight, None, y, (2, 2), (0, 0), (1, 1), 1, None)
    wanted = np.zeros((7, 7))
    wanted[2:5, 4:7] = [[90, 100, 110], [120, 130, 140], [150, 160, 170]]
    np.testing.assert_array_equal(y[0, 0], wanted)


# ------------------------------------------------------------------------------------------- 2.4: three rules at a ReLU

rules = pytest.mark.task(
    id="2.4", points=2, minutes=10, difficulty=1, hint="who decides: the number on the way up, the one on the way down"
)
SIGNAL = np.array([[2.0, -3.0, 4.0, -5.0, 6.0, -7.0, 0.0]])
BELOW = np.array([[1.0, 1.0, -0.5, -0.5, 0.0, 0.0, 2.0]])
RULES = {
    "gradient": [[2.0, -3.0, 0.0, 0.0, 0.0, 0.0, 0.0]],
    "deconvnet": [[2.0, 0.0, 4.0, 0.0, 6.0, 0.0, 0.0]],
    "guided": [[2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]],
}


@rules
@pytest.mark.parametrize("rule", list(RULES))
def test_2_4_one_number_of_each_kind(rule):
    signal, below = SIGNAL.copy(), BELOW.copy()
    np.testing.assert_array_equal(exercises.relu_rule(signal, below, rule), RULES[rule])
    np.testing.assert_array_equal(signal, SIGNAL, err_msg="the caller's signal was changed")
    np.testing.assert_array_equal(below, BELOW)


@rules
def test_2_4_gradient_is_that_of_relu():
    rng = np.random.default_rng(3)
    below = tinyconv.tensor(rng.standard_normal((2, 3, 4, 4)), requires_grad=True)
    signal = rng.standard_normal(below.shape)
    wanted = tinyconv.grad(F.relu(below), below, tinyconv.Tensor(signal)).numpy()
    np.testing.assert_array_equal(exercises.relu_rule(signal, below.detach().numpy(), "gradient"), wanted)


@rules
def test_2_4_the_deconvnet_needs_nothing_from_below():
    np.testing.assert_array_equal(exercises.relu_rule(SIGNAL, None, "deconvnet"), RULES["deconvnet"])


# --------------------------------------------------------------------------------------------- 2.5: the projection

projecting = pytest.mark.task(
    id="2.5", points=4, minutes=30, difficulty=3, hint="one value at the top; then unpool, rectify, filter, in reverse"
)


def conv(rng, filters, channels, kernel, stride, padding, positive):
    """Return a convolution with random filters; ``positive``: none below zero, and no bias."""
    weight, bias = rng.standard_normal((filters, channels, kernel, kernel)), rng.standard_normal(filters)
    weight, bias = (np.abs(weight), 0 * bias) if positive else (weight, bias)
    return "conv", {"weight": weight, "bias": bias, "stride": (stride,) * 2, "padding": (padding,) * 2}


def pool(kernel, stride, padding=0):
    """Return a max pool."""
    return "pool", {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "padding": (padding,) * 2}


def small_network(rng, positive=False):
    """Return two convolutions, each with ReLU and pool; with negative weights, also overlap and normalisation."""
    pools = [pool(2, 2), pool(2, 2)] if positive else [pool(3, 2, 1), pool(3, 2)]
    norm = [] if positive else [("norm", {})]
    first, second = conv(rng, 4, 2, 3, 2, 1, positive), conv(rng, 5, 4, 3, 1, 0, positive)
    return [first, ("relu", {}), pools[0], *norm, second, ("relu", {}), pools[1]]


def strongest(output, index):
    """Return, for each image, the place and the value of a map's largest activation."""
    places = [max(np.ndindex(one.shape[1:]), key=lambda at, one=one: one[index][at]) for one in output]
    return [(n, index, *at) for n, at in enumerate(places)]


def down_by_gradients(layers, images, index):
    """The projection from the library's gradients: those of a convolution and of a written unpooling, and a clip."""
    x, steps = tinyconv.Tensor(images), []
    for kind, options in layers:
        below = tinyconv.tensor(x.detach().numpy(), requires_grad=True)
        if kind == "conv":
            weight = tinyconv.Tensor(options["weight"])
            bare = F.conv2d(below, weight, None, options["stride"], options["padding"])
            x = bare + tinyconv.Tensor(options["bias"][:, None, None])
            steps.append(lambda s, bare=bare, below=below: tinyconv.grad(bare, below, tinyconv.Tensor(s)).numpy())
        elif kind == "relu":
            x = F.relu(below)
            steps.append(lambda s: np.where(s > 0, s, 0))
        elif kind == "pool":
            x, at = F.max_pool2d(below, *options.values(), return_indices=True)
            rest = (at, *options.values(), below.shape)
            steps.append(lambda s, rest=rest: F.max_unpool2d(tinyconv.Tensor(s), *rest, True).numpy())
        else:
            x = F.local_response_norm(below, 5, k=2.0, alpha_over_size=False)
            steps.append(lambda s: s)
    signal = np.zeros(x.shape)
    for at in strongest(x.detach().numpy(), index):
        signal[at] = x.detach().numpy()[at]
    for step in reversed(steps):
        signal = step(signal)
    return signal


@projecting
def test_2_5_by_hand():
    layers = [
        ("conv", {"weight": np.full((1, 1, 1, 1), 2.0), "bias": np.array([-1.0]), "stride": (1, 1), "padding": (0, 0)}),
        ("relu", {}),
        pool(2, 2),
    ]
    image = np.array([[[[1.0, 2.0, 0.0, 3.0], [1.0, 0.0, 0.0, 0.0]]]])  # 2 x - 1: the pools give 3 and 5
    wanted = np.zeros((1, 1, 2, 4))
    wanted[0, 0, 0, 3] = 2 * 5.0
    np.testing.assert_array_equal(exercises.deconvnet(layers, image, 0), wanted)


@projecting
@pytest.mark.parametrize("index", [0, 3])
def test_2_5_is_activation_times_gradient_where_nothing_is_negative(index):
    """Weights and pixels >= 0, no bias, no overlap, no normalisation: every ReLU is open, up and down."""
    rng = np.random.default_rng(4)
    layers = small_network(rng, positive=True)
    images = rng.random((3, 2, 20, 22))
    wanted = np.zeros_like(images)
    for n in range(3):
        x = tinyconv.tensor(images[n : n + 1], requires_grad=True)
        y = x
        for kind, options in layers:
            if kind == "conv":
                y = F.conv2d(y, tinyconv.Tensor(options["weight"]), None, options["stride"], options["padding"])
            else:
                y = F.relu(y) if kind == "relu" else F.max_pool2d(y, *options.values())
        best = y[strongest(y.detach().numpy(), index)[0]]
        wanted[n] = best.item() * tinyconv.grad(best, x).numpy()[0]
    np.testing.assert_allclose(exercises.deconvnet(layers, images, index), wanted, rtol=1e-9, atol=1e-9)


@projecting
@pytest.mark.parametrize("index", [1, 4])
def test_2_5_equals_the_chain_of_its_parts(index):
    """Negative weights, biases, overlapping pools, normalisation."""
    rng = np.random.default_rng(5)
    layers, images = small_network(rng), rng.standard_normal((3, 2, 23, 21))
    wanted = down_by_gradients(layers, images, index)
    assert np.all(np.abs(wanted).max(axis=(1, 2, 3)) > 0)
    np.testing.assert_allclose(exercises.deconvnet(layers, images, index), wanted, rtol=1e-9, atol=1e-9)


@projecting
def test_2_5_nothing_outside_of_the_receptive_field():
    """Unit (row, column) of the top sees the pixels from 8 * row - 11 (its start) on, 27 of them."""
    rng = np.random.default_rng(6)
    layers, images = small_network(rng)[:-1], rng.standard_normal((4, 2, 40, 40))
    output, _ = exercises.forward(layers, images)
    geometry = [(3, 2, 1), (3, 2, 1), (3, 1, 0)]
    for (n, _, row, column), found in zip(strongest(output, 2), exercises.deconvnet(layers, images, 2), strict=True):
        (top, bottom), (left, right) = pixels_of(row, geometry), pixels_of(column, geometry)
        inside = np.zeros(found.shape, bool)
        inside[:, max(top, 0) : bottom + 1, max(left, 0) : right + 1] = True
        assert np.any(found[inside]) and not np.any(found[~inside]), f"image {n}"


@projecting
def test_2_5_agrees_with_the_library():
    rng = np.random.default_rng(11)
    layers, images, model = small_network(rng), rng.standard_normal((2, 2, 23, 21)), nn.Sequential()
    for kind, options in layers:
        if kind == "conv":
            filters, channels, kernel, _ = options["weight"].shape
            layer = nn.Conv2d(channels, filters, kernel, options["stride"], options["padding"], dtype=np.float64)
            layer.load_state_dict({"weight": options["weight"], "bias": options["bias"]})
        elif kind == "pool":
            layer = nn.MaxPool2d(*options.values())
        else:
            layer = nn.ReLU() if kind == "relu" else nn.LocalResponseNorm(5, k=2.0, alpha_over_size=False)
        model.append(layer)
    wanted = explain.deconvnet(model, images, str(len(layers) - 1), 3, unpool="add")
    np.testing.assert_allclose(exercises.deconvnet(layers, images, 3), wanted, rtol=1e-9, atol=1e-9)
