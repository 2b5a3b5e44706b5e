"""Tests of tasks 3.1 to 3.7: ``pytest lessons/03_vgg``, or one task with ``-k 3_5``."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import models, views

# By path: every lesson has a file of this name.
_spec = importlib.util.spec_from_file_location("lesson_03_exercises", Path(__file__).with_name("exercises.py"))
exercises = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exercises)

# The configurations once more, written out: M is a pool, N the normalisation, 256/1 a convolution with 1x1 windows.
COLUMNS = {
    "A": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "A-LRN": "64 N M 128 M 256 256 M 512 512 M 512 512 M",
    "B": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "C": "64 64 M 128 128 M 256 256 256/1 M 512 512 512/1 M 512 512 512/1 M",
    "D": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "E": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


def written_out(config, classes=1000):
    """Return a configuration's layers as task 3.2 shall."""
    layers, group, number = [], 1, 1
    for word in COLUMNS[config].split():
        if word == "M":
            layers.append((f"pool{group}", "pool", None, 2))
            group, number = group + 1, 1
        elif word == "N":
            layers.append((f"norm{group}", "lrn", None, None))
        else:
            filters, _, window = word.partition("/")
            layers.append((f"conv{group}_{number}", "conv", int(filters), int(window or 3)))
            number += 1
    return [*layers, *((f"fc{n}", "linear", units, None) for n, units in ((6, 4096), (7, 4096), (8, classes)))]


# ----------------------------------------------------------------------------------------------- 3.1: receptive fields

stacking = pytest.mark.task(
    id="3.1", points=2, minutes=15, difficulty=1, hint="side += (window - 1) * step, and only then step *= stride"
)


@stacking
@pytest.mark.parametrize(("number", "window"), [(1, 3), (2, 5), (3, 7)])
def test_3_1_small_windows_on_top_of_each_other_see_as_much_as_a_large_one(number, window):
    small, large = [("conv", 3, 1)] * number, [("conv", window, 1)]
    assert exercises.stacked(small, 10) == (window, 1, number * 9 * 100)
    assert exercises.stacked(large, 10) == (window, 1, window**2 * 100)


@stacking
@pytest.mark.parametrize(("config", "side"), [("A", 150), ("B", 156), ("D", 212), ("E", 268)])
def test_3_1_what_one_value_of_pool5_sees(config, side):
    layers = [("pool", 2, 2) if word == "M" else ("conv", 3, 1) for word in COLUMNS[config].split()]
    assert exercises.stacked(layers, 1) == (side, 32, 9 * sum(kind == "conv" for kind, _, _ in layers))


@stacking
def test_3_1_equals_a_count_of_the_pixels_seen():
    layers = [("conv", 7, 2), ("pool", 3, 2), ("conv", 5, 2), ("pool", 3, 2), ("conv", 3, 1), ("pool", 2, 3)]

    def seen(output):
        places = {output}
        for _, window, stride in reversed(layers):
            places = {place * stride + i for place in places for i in range(window)}
        return places

    wanted = len(seen(0)), min(seen(1)) - min(seen(0)), 4 * (49 + 25 + 9)
    assert exercises.stacked(layers, 2) == wanted


@stacking
def test_3_1_nothing_on_top_of_the_image():
    assert exercises.stacked([], 64) == (1, 1, 0)


# ------------------------------------------------------------------------------------------------ 3.2: configurations

listing = pytest.mark.task(
    id="3.2", points=2, minutes=15, difficulty=1, hint="a pool after every group; in C the third window is 1x1"
)


@listing
@pytest.mark.parametrize("config", COLUMNS)
def test_3_2_is_the_papers_column(config):
    assert [tuple(layer) for layer in exercises.layer_list(config)] == written_out(config)


@listing
def test_3_2_takes_another_number_of_classes():
    assert tuple(exercises.layer_list("A", 10)[-1]) == ("fc8", "linear", 10, None)


@listing
@pytest.mark.parametrize("config", COLUMNS)
def test_3_2_names_the_librarys_layers(config):
    model = models.vgg(config=config, device="meta")
    wanted = [name for name, _ in model.named_children() if not name.startswith(("relu", "dropout", "flatten"))]
    assert [layer[0] for layer in exercises.layer_list(config)] == wanted


# ----------------------------------------------------------------------------------------------------------- 3.3: cost

counting = pytest.mark.task(
    id="3.3", points=2, minutes=20, difficulty=2, hint="after pool5 fc6 has channels * height * width inputs"
)


@counting
@pytest.mark.parametrize(
    ("config", "params", "macs", "conv_params", "conv_macs"),
    [
        ("A", 132_863_336, 7_609_090_048, 9_220_480, 7_485_456_384),
        ("A-LRN", 132_863_336, 7_609_090_048, 9_220_480, 7_485_456_384),
        ("B", 133_047_848, 11_308_466_176, 9_404_992, 11_184_832_512),
        ("C", 133_638_952, 11_770_888_192, 9_996_096, 11_647_254_528),
        ("D", 138_357_544, 15_470_264_320, 14_714_688, 15_346_630_656),
        ("E", 143_667_240, 19_632_062_464, 20_024_384, 19_508_428_800),
    ],
)
def test_3_3_gives_the_papers_table(config, params, macs, conv_params, conv_macs):
    assert exercises.cost(written_out(config), (3, 224, 224)) == (params, macs, conv_params, conv_macs)


@counting
def test_3_3_by_hand_on_an_image_that_is_no_square():
    layers = [("a", "conv", 4, 3), ("b", "pool", None, 2), ("c", "conv", 5, 1), ("d", "linear", 7, None)]
    layers += [("e", "linear", 2, None)]
    # a: 4 * 2 * 9 = 72 weights at 5 x 9 pixels; c: 5 * 4 = 20 weights at 2 x 4; d: 5 * 8 inputs; e: 7 inputs.
    conv = 72 + 4 + 20 + 5, 72 * 45 + 20 * 8
    linear = 40 * 7 + 7 + 7 * 2 + 2, 40 * 7 + 7 * 2
    assert exercises.cost(layers, (2, 5, 9)) == (conv[0] + linear[0], conv[1] + linear[1], *conv)


# ------------------------------------------------------------------------------------------------- 3.4: starting from A

starting = pytest.mark.task(
    id="3.4", points=2, minutes=15, difficulty=1, hint="A's third and fourth convolution are conv3_1 and conv3_2"
)
FROM_A = {"conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"}


def weights_of(config, value):
    """Return a network's arrays, an eighth as wide, filled with numbers that tell where they come from."""
    state = models.vgg(10, config=config, image_size=32, width=1 / 8, device="meta").state_dict()
    return {name: np.full(tensor.shape, value, np.float32) for name, tensor in state.items()}


@starting
@pytest.mark.parametrize("config", ["B", "C", "D", "E"])
def test_3_4_takes_four_convolutions_and_the_fc_layers(config):
    deeper, a = weights_of(config, 1), weights_of("A", 2)
    result = exercises.start_from_a(deeper, a)
    assert list(result) == list(deeper)
    for name, array in result.items():
        assert array.shape == deeper[name].shape
        assert np.all(array == (2 if name.split(".")[0] in FROM_A else 1)), name


@starting
def test_3_4_changes_neither_and_shares_nothing_with_a():
    deeper, a = weights_of("D", 1), weights_of("A", 2)
    result = exercises.start_from_a(deeper, a)
    for array in result.values():
        array += 1
    assert all(np.all(array == 2) for array in a.values()), "training the deeper network changed A"
    result = exercises.start_from_a(deeper, a)
    assert np.all(result["conv1_1.weight"] == 2)
    assert np.all(deeper["conv1_1.weight"] == 1), "the argument `deeper` was changed"


@starting
def test_3_4_is_what_the_library_copies():
    tinyconv.manual_seed(0)
    a, d = (models.vgg(10, config=config, image_size=32, width=1 / 8) for config in "AD")
    before = {name: tensor.numpy().copy() for name, tensor in d.state_dict().items()}
    result = exercises.start_from_a(before, {name: tensor.numpy() for name, tensor in a.state_dict().items()})
    d.init_from(a)
    for name, tensor in d.state_dict().items():
        np.testing.assert_array_equal(result[name], tensor.numpy(), err_msg=name)


# ------------------------------------------------------------------------------------------------- 3.5: scale jittering

jittering = pytest.mark.task(
    id="3.5", points=3, minutes=20, difficulty=2, hint="high - low + 1 sizes; a side - crop + 1 places"
)


def ramps(height, width):
    """Return an image whose two channels say how far down and how far to the right a pixel is, from 0 to 1."""
    down, right = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    return np.stack(np.broadcast_arrays(down[:, None], right[None, :])).astype(np.float32)


def wanted_view(side, top, left, crop, height, width):
    """Return the window of an enlarged ``ramps(height, width)``: values between two pixels lie on the line."""
    short = min(height, width)
    result = []
    for first, old, new in ((top, height, side * height // short), (left, width, side * width // short)):
        place = (first + np.arange(crop) + 0.5) / new
        result.append(np.clip(place, 0.5 / old, 1 - 0.5 / old))
    return np.stack(np.broadcast_arrays(result[0][:, None], result[1][None, :]))


# Shorter sides 30 to 34 are five, crops of 20: at S = 30 there are 11 places along the shorter side.
@jittering
@pytest.mark.parametrize(
    ("draws", "side", "top", "left"),
    [
        ((0.0, 0.0, 0.0), 30, 0, 0),
        ((0.19, 0.999, 0.999), 30, 10, 20),  # 30 x 40: the last row of places, the last column
        ((0.41, 0.5, 0.1), 32, 6, 2),  # 32 x 42: places 0..12 and 0..22
        ((0.999, 0.999, 0.999), 34, 14, 25),  # 34 x 45
        ((0.81, 0.1, 0.95), 34, 1, 24),
    ],
)
def test_3_5_size_and_place(draws, side, top, left):
    view = exercises.jittered_crop(ramps(15, 20), 30, 34, 20, (*draws, 0.5))
    assert view.shape == (2, 20, 20)
    np.testing.assert_allclose(view, wanted_view(side, top, left, 20, 15, 20), atol=2e-3)


@jittering
def test_3_5_an_upright_image_keeps_its_proportions():
    view = exercises.jittered_crop(ramps(40, 20), 60, 60, 50, (0.3, 0.999, 0.0, 0.7))
    np.testing.assert_allclose(view, wanted_view(60, 70, 0, 50, 40, 20), atol=2e-3)


@jittering
def test_3_5_mirrors_half_of_the_images():
    plain, mirrored = (exercises.jittered_crop(ramps(20, 30), 24, 28, 20, (0.5, 0.2, 0.8, u)) for u in (0.5, 0.499))
    assert np.all(np.diff(plain[1], axis=1) > 0), "0.5 leaves left and right as they are"
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


@jittering
def test_3_5_every_size_is_equally_likely():
    found = []
    for u in (np.arange(50) + 0.5) / 50:
        view = exercises.jittered_crop(ramps(8, 8), 16, 20, 12, (u, 0.5, 0.5, 0.9))
        found.append(round(1 / float(np.diff(view[0], axis=0).mean())))  # a step of the ramp is 1 / S
    assert [found.count(side) for side in range(14, 24)] == [0, 0, 10, 10, 10, 10, 10, 0, 0, 0]


# ------------------------------------------------------------------------------------------------ 3.6: dense evaluation

densely = pytest.mark.task(
    id="3.6", points=3, minutes=20, difficulty=2, hint="weight6.reshape(-1, C, kernel, kernel); average last of all"
)


def classifier(channels, kernel, hidden=6, classes=4):
    """Return three pairs (weight, bias) and the plain network of them, from flat values (N, inputs) to scores."""
    rng = np.random.default_rng(3)
    sizes = [(hidden, channels * kernel**2), (hidden, hidden), (classes, hidden)]
    layers = [(rng.standard_normal(size), rng.standard_normal(size[0])) for size in sizes]

    def scores(flat):
        for i, (weight, bias) in enumerate(layers):
            flat = flat @ weight.T + bias
            flat = np.maximum(flat, 0) if i < 2 else flat
        return flat

    return layers, scores


@densely
@pytest.mark.parametrize(("channels", "kernel"), [(5, 7), (3, 2), (1, 3)])
def test_3_6_one_window_gives_what_the_fc_layers_give(channels, kernel):
    layers, scores = classifier(channels, kernel)
    features = np.random.default_rng(4).standard_normal((3, channels, kernel, kernel))
    found = exercises.dense_scores(features, layers, kernel)
    np.testing.assert_allclose(found, scores(features.reshape(3, -1)), rtol=1e-9, atol=1e-9)


@densely
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 6), (5, 3)])
def test_3_6_more_windows_are_averaged(height, width):
    layers, scores = classifier(3, 3)
    features = np.random.default_rng(5).standard_normal((2, 3, height, width))
    places = [(top, left) for top in range(height - 2) for left in range(width - 2)]
    wanted = np.mean([scores(features[:, :, t : t + 3, s : s + 3].reshape(2, -1)) for t, s in places], axis=0)
    np.testing.assert_allclose(exercises.dense_scores(features, layers, 3), wanted, rtol=1e-9, atol=1e-9)


@densely
def test_3_6_is_the_librarys_network_at_its_own_size():
    tinyconv.manual_seed(1)
    model = models.vgg(10, config="A", image_size=224, width=1 / 32).eval()
    image = tinyconv.randn(1, 3, 224, 224)
    layers = [(layer.weight.data, layer.bias.data) for layer in (model.fc6, model.fc7, model.fc8)]
    with tinyconv.no_grad():
        features, wanted = image, model(image).numpy()
        for name, layer in model.named_children():
            features = layer(features)
            if name == "pool5":
                break
    assert features.shape[2:] == (7, 7)
    found = exercises.dense_scores(features.numpy(), layers)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


# -------------------------------------------------------------------------------------------------------- 3.7: 50 views

viewing = pytest.mark.task(
    id="3.7", points=2, minutes=15, difficulty=1, hint="edge i of 5 is i / 4 of the room, side - size, per axis"
)


def numbered(height, width):
    """Return an image whose pixels hold 1000 * row + column, and the negative of it."""
    plane = 1000.0 * np.arange(height)[:, None] + np.arange(width)
    return np.stack([plane, -plane])


@viewing
@pytest.mark.parametrize(
    ("height", "width", "size", "grid", "tops", "lefts"),
    [
        (256, 256, 224, 5, [0, 8, 16, 24, 32], [0, 8, 16, 24, 32]),
        (12, 17, 8, 5, [0, 1, 2, 3, 4], [0, 2, 5, 7, 9]),
        (10, 10, 4, 2, [0, 6], [0, 6]),
        (9, 7, 7, 3, [0, 1, 2], [0, 0, 0]),
    ],
)
def test_3_7_upper_left_corners(height, width, size, grid, tops, lefts):
    cut = exercises.crop_grid(numbered(height, width), size, grid)
    assert cut.shape == (2 * grid**2, 2, size, size)
    first = cut[: grid**2, 0, 0, 0]
    np.testing.assert_array_equal(first, [1000 * top + left for top in tops for left in lefts])
    assert np.all(cut[: grid**2, 0, -1, -1] - first == 1001 * (size - 1)), "each view is one window of the image"
    np.testing.assert_array_equal(cut[:, 1], -cut[:, 0])


@viewing
def test_3_7_mirror_images_come_after_all_crops():
    cut = exercises.crop_grid(numbered(20, 31), 11)
    assert len(cut) == 50
    np.testing.assert_array_equal(cut[25:], np.flip(cut[:25], axis=3))


@viewing
def test_3_7_cuts_what_the_library_cuts():
    image = np.random.default_rng(8).standard_normal((3, 41, 55)).astype(np.float32)
    np.testing.assert_array_equal(exercises.crop_grid(image, 24), views.grid_crops(image[None], 24)[0])
