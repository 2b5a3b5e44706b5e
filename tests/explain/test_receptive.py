"""Receptive fields: the papers' numbers, and what a gradient really reaches."""

import numpy as np
import pytest

import tinyconv
from tinyconv import models, nn
from tinyconv.explain import receptive_field


@pytest.mark.parametrize(
    "name, options, fields",
    [
        # classification.md 3.1 and 2.1, 4.1: (size, stride) in pixels
        (
            "zfnet",
            {},
            {"conv1": (7, 2), "pool1": (11, 4), "conv2": (27, 8), "pool2": (43, 16), "conv5": (139, 16),
             "pool5": (171, 32)},
        ),
        (
            "alexnet",
            {},
            {"conv1": (11, 4), "pool1": (19, 8), "conv2": (51, 8), "pool2": (67, 16), "conv3": (99, 16),
             "conv4": (131, 16), "conv5": (163, 16), "pool5": (195, 32)},
        ),
        ("vgg", {"config": "A"}, {"conv1_1": (3, 1), "pool5": (150, 32)}),
        ("vgg", {"config": "B"}, {"conv1_2": (5, 1), "pool5": (156, 32)}),
        ("vgg", {"config": "C"}, {"pool5": (156, 32)}),
        ("vgg", {"config": "D"}, {"pool5": (212, 32)}),
        ("vgg", {"config": "E"}, {"pool5": (268, 32)}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_papers_numbers(name, options, fields):
    model = models.build(name, **options, device="meta")  # arithmetic needs no weights
    found = {layer: receptive_field(model, layer) for layer in fields}
    assert {layer: (f.size, f.stride) for layer, f in found.items()} == {
        layer: ((r, r), (s, s)) for layer, (r, s) in fields.items()
    }


def test_three_convolutions_of_three_see_seven():
    stack = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)))
    field = receptive_field(stack, "2")
    assert (field.size, field.start) == ((7, 7), (-3, -3))
    assert field.box(0, 2) == (-3, -1, 4, 6)
    assert field.box(0, 2, 5) == (0, 0, 4, 5)
    assert str(field) == "2: 7 x 7 pixels, 1 apart"


def test_fully_connected_units_see_the_whole_image():
    model = models.zfnet(10, scale="lesson", in_channels=1)
    for layer in ("flatten", "fc6", "relu7", "fc8"):
        field = receptive_field(model, layer)
        assert field.whole and field.size == (28, 28) and field.box(0, 0, 28) == (0, 0, 28, 28)
    assert str(field) == "fc8: the whole image"


def reached(model, layer, row, col, side, rng):
    """Return the pixels with a nonzero gradient of a unit (weights positive, so nothing cancels), as a box."""
    part, names = [], []
    for name, module in model.named_children():
        part.append(module)
        names.append(name)
        if name == layer:
            break
    x = tinyconv.tensor(rng.uniform(1, 2, (1, model[0].in_channels, side, side)), requires_grad=True)
    y = x
    for module in part:
        y = module(y)
    gradient = tinyconv.grad(y[0, :, row, col].sum(), x).numpy()
    rows, columns = (np.flatnonzero(np.abs(gradient).sum(axis=axes)) for axes in ((0, 1, 3), (0, 1, 2)))
    if not rows.size:
        return (0, 0, 0, 0)
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


# (kernel, stride, padding, kind) of two or three layers; None in place of a kind is a convolution.
STACKS = [
    [(3, 1, 1, None), (2, 2, 0, "avg")],
    [(5, 2, 2, None), (3, 2, 1, "avg"), (3, 1, 1, None)],
    [(1, 3, 0, None), (4, 1, 1, None)],
    [(3, 2, 0, "avg"), (3, 2, 1, "ceil"), (2, 1, 1, None)],
    [(4, 3, 0, "ceil"), (3, 1, 1, None), (2, 2, 0, "ceil")],
    [(2, 1, 1, None), (2, 1, 1, None), (1, 2, 1, None)],
    [(7, 2, 1, None), (3, 2, 0, "ceil"), (3, 1, 1, None)],
    [(3, 1, 2, "dilated"), (3, 2, 1, None)],
]


@pytest.mark.parametrize("windows", STACKS, ids=range(len(STACKS)))
def test_it_is_what_a_gradient_reaches(windows, rng):
    layers = {"first": nn.Conv2d(1, 1, 1, dtype=np.float64)}
    for i, (kernel, stride, padding, kind) in enumerate(windows):
        if kind in ("avg", "ceil"):
            layers[f"avg{i}"] = nn.AvgPool2d(kernel, stride, padding, ceil_mode=kind == "ceil")
        else:
            dilation = 2 if kind == "dilated" else 1
            layers[f"conv{i}"] = nn.Conv2d(1, 1, kernel, stride, padding, dilation=dilation, dtype=np.float64)
    model = nn.Sequential({**layers, "relu": nn.ReLU(), "drop": nn.Dropout()}).eval()
    for parameter in model.parameters():
        parameter.data[:] = np.abs(parameter.data) + 0.1
    side = 23
    field = receptive_field(model, "relu")
    last = model(tinyconv.zeros(1, 1, side, side, dtype=np.float64)).shape[2] - 1
    for row, col in ((0, 0), (0, last), (last // 2, last // 2), (last, last - 1)):
        box = field.box(row, col, side)
        found = tuple(int(n) for n in reached(model, "relu", row, col, side, rng))
        if any(kind == "dilated" for *_, kind in windows):  # fields with holes
            assert all(np.array(box[:2] + found[2:]) <= np.array(found[:2] + box[2:]))
        else:
            assert box == found
        top, left, bottom, right = field.box(row, col)
        assert (bottom - top, right - left) == field.size
        if box != (0, 0, 0, 0):  # such a unit reads nothing but padding
            assert all(np.array((top, left) + box[2:]) <= np.array(box[:2] + (bottom, right)))


def test_max_pools_adaptive_pools_and_borders_of_zeros(rng):
    layers = {"pad": nn.ZeroPad2d((1, 2, 0, 3)), "conv": nn.Conv2d(1, 1, 3), "cells": nn.AdaptiveAvgPool2d(4)}
    model = nn.Sequential(layers)
    field = receptive_field(model, "cells", image_size=(19, 19))  # 22 x 22, then 20 x 20, in cells of 5 x 5
    assert (field.size, field.stride, field.start) == ((7, 7), (5, 5), (0, -1))
    assert field.box(1, 3, 19) == (5, 14, 12, 19)
    uneven = receptive_field(model, "cells", image_size=(20, 20))  # 21 rows in 4 cells: no one size
    assert uneven.whole
    pool = nn.Sequential({"pool": nn.AdaptiveMaxPool2d((2, None))})
    assert receptive_field(pool, "pool", (6, 5)).size == (3, 1)


def test_lenets_own_layers():
    """LeCun 1998, fig. 2: C5's units see all of the 32 x 32 pixels; S2 sees 6, C3 14, S4 16."""
    lenet = models.lenet5()
    sizes = [receptive_field(lenet, layer).size[0] for layer in ("C1", "S2", "C3", "S4", "C5")]
    assert sizes == [5, 6, 14, 16, 32]


def test_bad_input():
    model = models.zfnet(10, scale="lesson", in_channels=1)
    with pytest.raises(ValueError, match=r"layer must be one of conv1, relu1, .*fc8, got 'conv9'"):
        receptive_field(model, "conv9")
    with pytest.raises(IndexError, match="pool5 has 3 rows over 28 pixels, got row 4"):
        receptive_field(model, "pool5").box(4, 0, 28)
    with pytest.raises(TypeError, match="model must be an nn.Sequential.*got Linear"):
        receptive_field(nn.Linear(2, 2), "fc")
    with pytest.raises(TypeError, match="the reach of layer 'up', a Upsample, is not known"):
        receptive_field(nn.Sequential({"up": nn.Upsample(2)}), "up")
    with pytest.raises(ValueError, match="'fc' depends on the image's size.*give image_size"):
        receptive_field(nn.Sequential({"flatten": nn.Flatten(), "fc": nn.Linear(4, 2)}), "fc")

    class Detour(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    with pytest.raises(TypeError, match="model must be an nn.Sequential.*got Detour"):
        receptive_field(Detour(nn.ReLU()), "0")


def test_nested_models_have_dotted_names():
    model = nn.Sequential({"features": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), "pool": nn.MaxPool2d(2)})
    assert receptive_field(model, "features.1").size == (3, 3)
    assert receptive_field(model, "pool").size == (4, 4)
