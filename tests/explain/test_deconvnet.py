"""The deconvnet: its identities, its unpooling, where it is zero, and what it refuses."""

import numpy as np
import pytest

import tinyconv
from explain_tools import small_network
from tinyconv import models, nn
from tinyconv.explain import deconvnet, receptive_field
from tinyconv.nn import functional as F


def output(model, images, layer):
    """Return what the layers up to the named one put out, as a Tensor."""
    x = images if isinstance(images, tinyconv.Tensor) else tinyconv.tensor(images)
    for name, module in model.named_children():
        x = module(x)
        if name == layer:
            return x
    raise KeyError(layer)


def activation_times_gradient(model, images, layer, map, position=None):
    """Return a da/dx for the strongest (or one) activation a of a map in each image, by the engine's gradients."""
    x = tinyconv.tensor(images, requires_grad=True)
    y = output(model, x, layer)
    planes = y.reshape(len(images), y.shape[1], -1)[:, map]
    at = planes.detach().numpy().argmax(1) if position is None else np.full(len(images), position)
    chosen = planes[np.arange(len(images)), at]
    return tinyconv.grad(chosen.sum(), x).numpy() * chosen.detach().numpy()[:, None, None, None]


LAYERS = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten", "fc3", "relu3", "dropout3", "fc4"]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("pool, unpool", [((2, 2), "write"), ((2, 2), "add"), ((3, 2), "add")])
def test_without_signs_it_is_activation_times_gradient(layer, pool, unpool, images, rng):
    """Spec 3.3 (4): all masks are open, so rectifying the signal changes nothing."""
    model = small_network(rng, signed=False, pool=pool)
    found = deconvnet(model, images, layer, 2, unpool=unpool)
    assert found.shape == images.shape
    np.testing.assert_allclose(found, activation_times_gradient(model, images, layer, 2), rtol=1e-10, atol=1e-12)


def test_overlapping_pools_that_write_break_the_identity(images, rng):
    """With 3 x 3 windows 2 apart some pooled values meet; one of them is lost."""
    model = small_network(rng, signed=False, pool=(3, 2))
    images[:, :, 3::4, 3::4] = 5.0  # peaks that several windows share
    expected = activation_times_gradient(model, images, "relu2", 2)
    assert np.allclose(deconvnet(model, images, "relu2", 2, unpool="add"), expected)
    assert not np.allclose(deconvnet(model, images, "relu2", 2, unpool="write"), expected)


def test_signs_and_normalisation_break_the_identity(network, images, rng):
    k = int(output(network, images, "relu2").detach().numpy().sum(axis=(0, 2, 3)).argmax())
    expected = activation_times_gradient(network, images, "relu2", k)
    assert expected.any()
    assert not np.allclose(deconvnet(network, images, "relu2", k, unpool="add"), expected)
    normal = small_network(rng, signed=False, norm=True)
    expected = activation_times_gradient(normal, images, "relu2", 2)
    found = deconvnet(normal, images, "relu2", 2)
    assert not np.allclose(found, expected)
    # Passed unchanged: it is the projection of the same activation through the network without the layer.
    value = output(normal, images, "relu2").detach().numpy()[:, 2].max(axis=(1, 2))
    assert (value > 0).all() and found.any()


def by_hand(image, weight, unpooled):
    """Return the transposed convolution (stride 1, padding 1) of one map with 3 x 3 filters (C, 3, 3), in loops."""
    result = np.zeros_like(image)
    for c, h, w in np.ndindex(image.shape):
        for i in range(3):
            for j in range(3):
                y, x = h - i + 1, w - j + 1
                if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]:
                    result[c, h, w] += weight[c, i, j] * unpooled[y, x]
    return result


def test_each_step_down_by_hand(network, images):
    """conv1 - relu1 - pool1: put the value at its switch, rectify, stamp the filter."""
    weight, bias = network.conv1.weight.data, network.conv1.bias.data
    found = deconvnet(network, images[:1], "pool1", 1, position=(2, 4))
    before = np.maximum(F.conv2d(tinyconv.tensor(images[:1]), tinyconv.tensor(weight), padding=1).numpy()
                        + bias[:, None, None], 0)[0, 1]  # fmt: skip
    window = before[4:6, 8:10]
    h, w = divmod(int(window.argmax()), 2)
    unpooled = np.zeros((12, 12))
    unpooled[4 + h, 8 + w] = window.max()
    np.testing.assert_allclose(found[0], by_hand(images[0], weight[1], unpooled), atol=1e-12)


def test_rectifying_looks_at_the_signal_and_not_at_the_way_up():
    """1 x 1 filters: the signal -3 is cut although its unit was open; +2 passes though its unit was shut."""
    first, second = nn.Conv2d(1, 2, 1, dtype=np.float64), nn.Conv2d(2, 1, 1, dtype=np.float64)
    model = nn.Sequential({"conv1": first, "relu1": nn.ReLU(), "conv2": second})
    model.conv1.weight.data[:, 0, 0, 0], model.conv1.bias.data[:] = (1.0, -1.0), 0.0
    model.conv2.weight.data[0, :, 0, 0], model.conv2.bias.data[:] = (-3.0, 2.0), 10.0
    # Up: x = 1 gives 1 and -1, after the ReLU 1 and 0, then -3 + 10 = 7. Down: 7 gives -21 and 14, then 0 and 14, -14.
    assert deconvnet(model, np.ones((1, 1, 1, 1)), "conv2").item() == -14.0
    assert activation_times_gradient(model, np.ones((1, 1, 1, 1)), "conv2", 0).item() == 7 * -3.0


def test_unpooling_writes_99_or_adds_396():
    """Spec 3.3 (5): four windows share the peak in the middle."""
    model = nn.Sequential({"pool": nn.MaxPool2d(3, 2)})
    image = np.zeros((1, 1, 5, 5))
    image[0, 0, 2, 2] = 99.0
    found = deconvnet(model, image, "pool", 0, position="all", unpool="write")
    assert np.array_equal(found, image)
    found = deconvnet(model, image, "pool", 0, position="all", unpool="add")
    assert np.array_equal(found, 4 * image)
    assert found[0, 0, 2, 2] == 396.0


def test_a_negative_value_is_written_over_a_positive_one():
    """All four pooled values are 9; filter (1 1, 1 -1) makes 18 of them, and sends 18 18 18 -18 down to one place."""
    model = nn.Sequential({"pool": nn.MaxPool2d(3, 2), "conv": nn.Conv2d(1, 1, 2, bias=False, dtype=np.float64)})
    model.conv.weight.data[:] = [[[[1, 1], [1, -1]]]]
    image = np.zeros((1, 1, 5, 5))
    image[0, 0, 2, 2] = 9.0
    assert np.array_equal(deconvnet(model, image, "conv", 0, unpool="write"), -2 * image)  # the last one written
    assert np.array_equal(deconvnet(model, image, "conv", 0, unpool="add"), 4 * image)  # 18 + 18 + 18 - 18 = 36


def test_dilated_filters_and_pools(images, rng):
    """Non-negative weights, no bias: activation times gradient, whatever the gaps between the taps."""
    model = nn.Sequential(
        {"conv": nn.Conv2d(2, 3, 3, padding=2, dilation=(2, 3), bias=False, dtype=np.float64),
         "pool": nn.MaxPool2d(2, 3, dilation=2)}
    )  # fmt: skip
    model.conv.weight.data[:] = rng.uniform(0, 1, model.conv.weight.shape)
    for layer in ("conv", "pool"):
        found = deconvnet(model, images, layer, 1)
        np.testing.assert_allclose(found, activation_times_gradient(model, images, layer, 1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("unpool", ["write", "add"])
def test_what_was_not_kept_does_not_erase_what_was(unpool):
    """Four windows share the peak; one of them is kept, whichever: the zeros of the other three must not write."""
    model = nn.Sequential({"pool": nn.MaxPool2d(3, 2)})
    image = np.zeros((1, 1, 5, 5))
    image[0, 0, 2, 2] = 99.0
    for position in np.ndindex(2, 2):
        assert np.array_equal(deconvnet(model, image, "pool", 0, position=position, unpool=unpool), image)


def test_values_return_to_their_switches_only(rng):
    model = nn.Sequential({"pool": nn.MaxPool2d(2)})
    image = rng.permutation(36).reshape(1, 1, 6, 6) + 1.0
    found = deconvnet(model, image, "pool", 0, position="all")
    maxima = image.reshape(3, 2, 3, 2).max(axis=(1, 3))
    assert np.array_equal(found, np.where(np.isin(image, maxima), image, 0))


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv2", "pool2"])
@pytest.mark.parametrize("unpool", ["write", "add"])
def test_it_is_zero_outside_the_receptive_field(layer, unpool, network, images):
    field = receptive_field(network, layer, 12)
    images = images[:2]
    sides = output(network, images, layer).shape[2:]
    for row, col in np.ndindex(sides):
        found = deconvnet(network, images, layer, 1, position=(row, col), unpool=unpool)
        top, left, bottom, right = field.box(row, col, 12)
        inside = found[:, :, top:bottom, left:right].copy()
        found[:, :, top:bottom, left:right] = 0
        assert not found.any()  # exactly
        assert layer != "conv1" or inside.any()


@pytest.mark.parametrize("layer", ["relu3", "relu5"])
def test_it_is_exactly_zero_there_in_float32_and_on_wide_layers_too(layer, rng):
    """Winograd's method, which such layers use on their way up, would leave rounding errors beside the stamps."""
    tinyconv.manual_seed(0)
    model = models.zfnet(10, scale="lesson", in_channels=1, image_size=64)
    images = rng.standard_normal((3, 1, 64, 64)).astype(np.float32)
    field, (sides,) = receptive_field(model, layer), {output(model, images, layer).shape[2:]}
    for position in ((0, 0), (sides[0] // 2, sides[1] // 2)):
        found = deconvnet(model, images, layer, position=position)
        top, left, bottom, right = field.box(*position, 64)
        assert found[:, :, top:bottom, left:right].any()
        found[:, :, top:bottom, left:right] = 0
        assert np.count_nonzero(found) == 0


def test_one_activation_a_whole_map_and_the_default(network, images):
    y = output(network, images, "relu2").detach().numpy()
    strongest = np.array([np.unravel_index(maps.argmax(), maps.shape) for maps in y])
    default = deconvnet(network, images, "relu2")
    named = deconvnet(network, images, "relu2", strongest[:, 0], position=strongest[:, 1:])
    assert default.any() and np.array_equal(default, named)
    for i, (k, row, col) in enumerate(strongest):
        one = deconvnet(network, images[i : i + 1], "relu2", int(k), position=(int(row), int(col)))
        np.testing.assert_allclose(one[0], default[i], atol=1e-12)
    whole = deconvnet(network, images, "relu2", 3, position="all")
    parts = [deconvnet(network, images, "conv2", 3, position=(r, c)) for r, c in np.ndindex(y.shape[2:])]
    assert whole.any() and len(parts) == 9
    # Without a ReLU on the way, projections of single activations would add up to that of the map.
    first = deconvnet(network, images, "conv1", 3, position="all")
    parts = [deconvnet(network, images, "conv1", 3, position=(r, c)) for r, c in np.ndindex(12, 12)]
    np.testing.assert_allclose(sum(parts), first, atol=1e-10)


def test_the_papers_network_at_a_smaller_width_gives_image_sized_projections(rng):
    """Sizes 6, 13, 26, 55, 110 go back up to 224 exactly, with pools that round up."""
    tinyconv.manual_seed(0)
    model = models.zfnet(10, width=0.05)
    image = rng.uniform(-1, 1, (1, 3, 224, 224)).astype(np.float32)
    found = deconvnet(model, image, "pool5", 0)
    assert found.shape == image.shape and found.dtype == np.float32


def test_other_layers_on_the_way(images, rng):
    """Means, borders of zeros and batch normalisation; all but the last are linear, so the identity holds."""
    layers = {
        "pad": nn.ZeroPad2d((1, 2, 0, 1)), "conv": nn.Conv2d(2, 3, 4, stride=3, bias=False, dtype=np.float64),
        "mean": nn.AvgPool2d(2, 1), "cells": nn.AdaptiveAvgPool2d(2), "most": nn.AdaptiveMaxPool2d(1),
        "same": nn.Identity(), "drop": nn.Dropout(0.3), "flatten": nn.Flatten(),
    }  # fmt: skip
    model = nn.Sequential(layers).eval()
    model.conv.weight.data[:] = rng.uniform(0, 1, model.conv.weight.shape)
    found = deconvnet(model, images, "flatten", 1)
    np.testing.assert_allclose(found, activation_times_gradient(model, images, "flatten", 1), atol=1e-12)
    normal = nn.Sequential({"norm": nn.BatchNorm2d(2, dtype=np.float64)}).eval()
    normal.norm.weight.data[:] = 7.0
    assert np.allclose(deconvnet(normal, images, "norm", 1, position="all")[:, 1], 7 * images[:, 1], rtol=1e-4)


def test_mode_and_weights_stay_as_they_were(network, images):
    network.train()
    network.relu1.eval()
    before = {name: p.data.copy() for name, p in network.named_parameters()}
    deconvnet(network, images, "fc4")
    assert network.training and network.dropout3.training and not network.relu1.training
    assert all(np.array_equal(p.data, before[name]) and p.grad is None for name, p in network.named_parameters())
    found = deconvnet(network, tinyconv.tensor(images), "fc4", 0)
    assert isinstance(found, np.ndarray) and np.array_equal(found, deconvnet(network, images, "fc4", 0))


BAD = [
    ({"layer": "conv9"}, ValueError, "layer must be one of conv1, relu1, pool1, .*, got 'conv9'"),
    ({"layer": "conv1", "map": 4}, IndexError, r"map of 'conv1' must be in \[0, 4\), got 4"),
    ({"layer": "conv1", "map": [0, 1]}, ValueError, "one for each of the 5 images, got 2"),
    ({"layer": "conv1", "map": 0.5}, TypeError, "map of 'conv1' must be an int"),
    ({"layer": "pool2", "position": (2, 0)}, IndexError, r"row of 'pool2' must be in \[0, 2\), got 2"),
    ({"layer": "pool2", "position": "best"}, ValueError, "position must be one of 'all'"),
    ({"layer": "pool2", "position": 3}, ValueError, r'position must be None, "all", \(row, col\)'),
    ({"layer": "fc3", "position": (0, 0)}, ValueError, "whose units have no place"),
    ({"layer": "pool1", "unpool": "mean"}, ValueError, "unpool must be one of 'write', 'add', got 'mean'"),
    ({"layer": "pool1", "images": np.zeros((2, 12, 12))}, ValueError, r"must be \(N, C, H, W\).*images\[None\]"),
    ({"layer": "pool1", "images": np.zeros((0, 2, 12, 12))}, ValueError, "at least one image"),
    ({"layer": "pool1", "images": np.zeros((1, 3, 12, 12))}, ValueError, "conv2d: weight must be .* x has 3 channels"),
    ({"layer": "fc3", "images": np.zeros((1, 2, 13, 20))}, ValueError, "linear"),
    ({"layer": "pool1", "images": np.array([["a"]])}, TypeError, "images must hold numbers"),
]


@pytest.mark.parametrize("arguments, error, message", BAD)
def test_bad_input(arguments, error, message, network, images):
    with pytest.raises(error, match=message) as problem:
        deconvnet(network, **{"images": images, **arguments})
    assert "\n" not in str(problem.value)


def test_models_that_it_cannot_take(images):
    with pytest.raises(TypeError, match="deconvnet: the paper has no way down through layer 'act', a Tanh"):
        deconvnet(nn.Sequential({"act": nn.Tanh()}), images, "act")
    with pytest.raises(TypeError, match="deconvnet: model must be an nn.Sequential .*got Conv2d"):
        deconvnet(nn.Conv2d(2, 1, 1), images, "conv")
    with pytest.raises(RuntimeError, match='the model must have weights, got one on "meta"'):
        deconvnet(models.zfnet(device="meta"), images, "pool5")
    with pytest.raises(ValueError, match=r"the model takes images of 3 channels, \(3, 32, 32\), got shape"):
        deconvnet(models.zfnet(10, scale="lesson"), images, "pool5")
