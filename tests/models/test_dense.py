"""Fully connected layers as convolutions: the same scores at the training size, a map for larger images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv
from tinyconv import nn, optim
from tinyconv.models import alexnet, fully_convolutional, lenet5, vgg, zfnet
from tinyconv.nn import functional as F


def small(**sizes) -> nn.Sequential:
    """Return a network with a 3x2 last map, two fully connected layers and every kind of layer between."""
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(2, 4, 3, padding=1),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(4, 3, 3, stride=(2, 1), padding=1),
            "flatten": nn.Flatten(),
            "fc6": nn.Linear(3 * 3 * 2, 5, bias=sizes.get("bias", True)),
            "relu6": nn.ReLU(),
            "dropout6": nn.Dropout(0.5),
            "fc7": nn.Linear(5, 4),
        }
    )
    model.input_shape = (2, 12, 4)
    return model.eval()


@pytest.mark.parametrize(("side", "places"), [(224, 1), (255, 1), (256, 2), (384, 6), (512, 10)])
def test_vggs_map_at_full_size(side: int, places: int) -> None:
    """floor(Q / 32) - 6 of the paper's testing section."""
    dense = fully_convolutional(vgg(device="meta"))
    shape = dense(tinyconv.empty(1, 3, side, side, device="meta")).shape
    assert shape == (1, 1000, places, places) and places == side // 32 - 6
    assert (dense.window, dense.stride) == ((224, 224), (32, 32))


def test_vggs_filters() -> None:
    model = vgg(device="meta")
    dense = fully_convolutional(model)
    shapes = {name: layer.weight.shape for name, layer in dense.named_children() if name.startswith("fc")}
    assert shapes == {"fc6": (4096, 512, 7, 7), "fc7": (4096, 4096, 1, 1), "fc8": (1000, 4096, 1, 1)}
    assert sum(p.numel() for p in dense.parameters()) == 138_357_544
    assert [name for name, _ in dense.named_children() if name.startswith("dropout")] == ["dropout6", "dropout7"]
    assert "flatten" not in dict(dense.named_children())


@pytest.mark.parametrize(
    "model",
    [
        lambda: vgg(7, config="B", scale="lesson", width=0.5, image_size=64),
        lambda: alexnet(7, scale="lesson", width=0.5, image_size=48),
        lambda: zfnet(7, scale="lesson", width=0.5),
        small,
    ],
    ids=["vgg", "alexnet", "zfnet", "small"],
)
def test_at_the_training_size_it_is_the_classifier(model) -> None:
    model = model().eval()
    images = tinyconv.randn(3, *model.input_shape)
    with tinyconv.no_grad():
        scores, maps = model(images).numpy(), fully_convolutional(model)(images).numpy()
    assert maps.shape == (*scores.shape, 1, 1)
    np.testing.assert_allclose(maps[:, :, 0, 0], scores, rtol=1e-4, atol=1e-5 * np.abs(scores).max())


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3))
@settings(max_examples=12)
def test_every_place_is_the_classifier_on_its_window(more_rows: int, more_columns: int, seed: int) -> None:
    """Without padding a crop sees what its place in the whole image sees."""
    tinyconv.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d((2, 1), (2, 1)), nn.Flatten(), nn.Linear(4 * 3 * 4, 5), nn.Tanh(),
        nn.Linear(5, 3),
    ).eval()  # fmt: skip
    model.input_shape = (2, 8, 6)
    images = tinyconv.randn(2, 2, 8 + more_rows, 6 + more_columns)
    with tinyconv.no_grad():
        dense = fully_convolutional(model)
        maps = dense(images).numpy()
        assert dense.stride == (2, 1) and maps.shape == (2, 3, 1 + more_rows // 2, 1 + more_columns)
        for r, c in np.ndindex(maps.shape[2:]):
            crop = images[:, :, 2 * r : 2 * r + 8, c : c + 6]
            np.testing.assert_allclose(maps[:, :, r, c], model(crop).numpy(), rtol=1e-4, atol=1e-5)


def test_padding_makes_border_places_differ_from_crops() -> None:
    """Dense evaluation sees real neighbours where a crop sees zeros: the paper's reason for using both."""
    model = vgg(5, config="A", scale="lesson", width=0.5, image_size=32).eval()
    images = tinyconv.randn(1, 3, 64, 64)
    with tinyconv.no_grad():
        place = fully_convolutional(model)(images).numpy()[:, :, 1, 1]
        crop = model(images[:, :, 32:, 32:]).numpy()
    assert np.abs(place - crop).max() > 1e-3


def test_weights_are_shared_or_copied() -> None:
    model = small()
    shared, copied = fully_convolutional(model), fully_convolutional(model, share=False)
    images = tinyconv.randn(2, 2, 12, 4)
    before = model(images).detach().numpy().copy()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    F.cross_entropy(model(images), tinyconv.tensor([0, 1])).backward()
    optimizer.step()
    after = model(images).detach().numpy()
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(shared(images).detach().numpy()[..., 0, 0], after, atol=1e-5)
    np.testing.assert_allclose(copied(images).detach().numpy()[..., 0, 0], before, atol=1e-5)
    model.load_state_dict({name: tinyconv.zeros(*p.shape) for name, p in model.state_dict().items()})
    assert not shared(images).detach().numpy().any()


def test_rows_become_filters_channel_by_channel() -> None:
    dense = fully_convolutional(model := small(bias=False))
    row = model.fc6.weight.detach().numpy()[4]  # C * h * w numbers: channel, then row, then column
    for channel, r, c in np.ndindex(3, 3, 2):
        assert dense.fc6.weight.detach().numpy()[4, channel, r, c] == row[channel * 6 + r * 2 + c]
    assert dense.fc6.bias is None and dense.input_shape == (2, 12, 4) and not dense.training


def test_an_adaptive_pool_that_changes_nothing_is_left_out() -> None:
    dense = fully_convolutional(alexnet(variant="torchvision", device="meta"))
    assert dense(tinyconv.empty(1, 3, 256, 288, device="meta")).shape == (1, 1000, 2, 3)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    model.input_shape = (1, 8, 8)
    with pytest.raises(ValueError, match=r"1 must change nothing at the training size, got \(2, 6, 6\) -> \(2, 2, 2\)"):
        fully_convolutional(model)


def test_errors() -> None:
    with pytest.raises(ValueError, match="after Flatten came squash6, a Squash"):
        fully_convolutional(lenet5())
    with pytest.raises(ValueError, match=r"must be a Sequential of .*, with one Flatten; got Sequential\(0\)"):
        fully_convolutional(nn.Sequential(nn.Linear(2, 2)))
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3), nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match=r"must have an input_shape \(C, H, W\), got None; set model.input_shape"):
        fully_convolutional(model)
    model.input_shape = (1, 4, 4)
    with pytest.raises(ValueError, match="after Flatten came 3, a BatchNorm1d"):
        fully_convolutional(model)
    headless = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    headless.input_shape = (1, 4, 4)
    with pytest.raises(ValueError, match="got no Linear layer in 0, 1"):
        fully_convolutional(headless)
    with pytest.raises(ValueError, match=r"images must have at least 12x4 pixels, got 11x4; resize them"):
        fully_convolutional(small())(tinyconv.randn(1, 2, 11, 4))


@pytest.mark.slow
def test_vgg16_at_full_size() -> None:
    """Weights N(0, 2 / fan_in) keep the scores of a size at which a difference would show."""
    model = vgg().eval()
    for layer in model.children():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)
    dense = fully_convolutional(model)
    with tinyconv.no_grad():
        image = tinyconv.randn(1, 3, 224, 224)
        scores, maps = model(image).numpy(), dense(image).numpy()
        assert scores.std() > 0.1
        np.testing.assert_allclose(maps[:, :, 0, 0], scores, rtol=1e-3, atol=1e-3 * scores.std())
        assert dense(tinyconv.randn(1, 3, 384, 384)).shape == (1, 1000, 6, 6)
