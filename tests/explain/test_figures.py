"""Figures: what each panel shows, by its pixels and titles."""

import io

import numpy as np
import pytest

from tinyconv import nn
from tinyconv.explain import Occlusion, Snapshot, figures, invariance, occlusion, receptive_field, top_activations


def pictures(figure):
    """Return the images that a figure shows, in order, as arrays; drawing it must not fail."""
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    return [np.asarray(image.get_array()) for axis in figure.axes for image in axis.images]


@pytest.fixture
def grey(rng):
    """Return a network of one channel and six images (6, 1, 12, 12)."""
    model = nn.Sequential(
        {"conv1": nn.Conv2d(1, 4, 3, padding=1), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
         "flatten": nn.Flatten(), "fc2": nn.Linear(144, 3)}
    )  # fmt: skip
    return model, rng.uniform(0, 1, (6, 1, 12, 12)).astype(np.float32)


def test_filters_are_drawn_around_grey(grey):
    model, _ = grey
    weight = model.conv1.weight.data
    (grid,) = pictures(figures.first_filters(model, columns=3))
    assert grid.shape == (2 * 4 - 1, 3 * 4 - 1, 3)
    first = grid[:3, :3, 0]
    np.testing.assert_allclose(first, 0.5 + 0.5 * weight[0, 0] / np.abs(weight[0]).max(), atol=1e-6)
    assert (grid[4:, 4:] == 1).all()  # four filters in two rows of three: the rest is empty
    deep = nn.Sequential(nn.Conv2d(2, 5, 1), nn.Conv2d(5, 2, 3))
    assert "first of 5 channels" in figures.first_filters(deep, "1").axes[0].get_title()
    with pytest.raises(ValueError, match="layer must be one of 0, 1, got 'conv1'"):
        figures.first_filters(deep, "conv1")
    with pytest.raises(ValueError, match="the model must have a Conv2d"):
        figures.first_filters(nn.Sequential(nn.ReLU()))


def test_top_nine_cuts_patches_at_the_receptive_field(grey):
    model, images = grey
    top = top_activations(model, images, "pool1", 4, [2, 0])
    figure = figures.top_nine(model, images, "pool1", [2, 0], top, shown=10 * images)
    shown = pictures(figure)
    assert len(shown) == 2 and [axis.get_title() for axis in figure.axes] == ["map 2", "map 0"]
    assert shown[0].shape == (9, 9 + 3 + 9, 3)  # 2 x 2 patches of 4 x 4 pixels on each side
    row, col = top.positions[0, 0]
    padded = np.pad(10 * images[top.images[0, 0], 0], 1, constant_values=np.nan)
    patch = padded[2 * row : 2 * row + 4, 2 * col : 2 * col + 4]  # conv1 begins one pixel outside
    low, high = 10 * images.min(), 10 * images.max()
    expected = np.where(np.isnan(patch), 1, (patch - low) / (high - low))
    np.testing.assert_allclose(shown[0][:4, 12:16, 0], expected, atol=1e-5)


def test_top_nine_of_a_fully_connected_layer_shows_whole_images(grey):
    model, images = grey
    top = top_activations(model, images, "fc2", 4)
    shown = pictures(figures.top_nine(model, images, "fc2", [0, 1, 2], top))
    assert len(shown) == 3 and shown[0].shape == (25, 25 + 3 + 25, 3)


def test_evolution_marks_where_the_image_changed(rng):
    kept = [
        Snapshot(epoch, np.ones(2), np.array(images), np.zeros((2, 2), int), rng.standard_normal((2, 1, 5, 5)))
        for epoch, images in ((1, [3, 4]), (2, [3, 5]))
    ]
    figure = figures.evolution(kept)
    assert len(pictures(figure)) == 4
    assert [axis.get_title() for axis in figure.axes[:2]] == ["epoch 1", "epoch 2"]
    assert [len(axis.lines) for axis in figure.axes] == [0, 0, 0, 1]
    first = nn.Sequential({"conv1": nn.Conv2d(1, 2, 3)})
    small = pictures(figures.evolution(kept, field=receptive_field(first, "conv1", 5)))[0]
    values = kept[0].projections[0, 0, :3, :3]  # of unit (0, 0)
    np.testing.assert_allclose(small[:, :, 0], 0.5 + 0.5 * values / np.abs(values).max())
    with pytest.raises(ValueError, match="wanted at least one snapshot"):
        figures.evolution([])


def test_invariance_curves(grey):
    model, images = grey
    amounts = (-1, 0, 1)
    found = invariance(model, images[:3], 0, "shift", amounts, ("relu1", "fc2"))
    figure = figures.invariance_curves({"shift": (amounts, found)}, ("relu1", "fc2"), ["a", "b", "c"])
    pictures(figure)
    assert [axis.get_title() for axis in figure.axes] == [
        "distance at relu1", "distance at fc2", "probability of the true class",
    ]  # fmt: skip
    for axis, values in zip(figure.axes, (*found.distances, found.probabilities), strict=True):
        drawn = np.array([line.get_ydata() for line in axis.lines])
        np.testing.assert_array_equal(drawn, values)


def test_occlusion_maps_lie_over_the_picture(grey):
    model, images = grey
    found = occlusion(model, images[0], size=4, stride=3)
    figure = figures.occlusion_maps(images[0], found, ["boot", "bag", "coat"])
    assert len(pictures(figure)) == 1
    titles = [axis.get_title() for axis in figure.axes[:4]]
    assert titles[1] == f"activity of pool1, map {found.map}"
    assert titles[2] == f"probability of {['boot', 'bag', 'coat'][found.target]}"
    for axis in figure.axes[1:4]:
        assert axis.get_xlim() == (-0.5, 11.5) and axis.get_ylim() == (11.5, -0.5)
    (mesh,) = figure.axes[2].collections
    np.testing.assert_array_equal(mesh.get_array().reshape(found.probability.shape), found.probability)


def test_the_red_square_is_where_it_hurts_most():
    """A 4 x 2 square over an image of 8 x 12 pixels, worst with its corner at row 2, column 7."""
    corners = np.stack(np.meshgrid([0, 2, 4], [0, 3, 7, 10], indexing="ij"), axis=-1)
    probability = np.full((3, 4), 0.9)
    probability[1, 2] = 0.1
    label = np.zeros((3, 4), np.int64)
    found = Occlusion(probability, probability, label, corners, (4, 2), "conv1", 0, 0, 1.0, 0.9, 0)
    figure = figures.occlusion_maps(np.zeros((1, 8, 12)), found)
    (square,) = figure.axes[0].patches
    assert square.get_xy() == (6.5, 1.5) and (square.get_width(), square.get_height()) == (2, 4)


def test_rules_in_a_row(rng):
    images, maps = rng.uniform(0, 1, (2, 3, 6, 6)), {"gradient": rng.standard_normal((2, 3, 6, 6))}
    figure = figures.rules_in_a_row(images, maps, ["cat", "dog"])
    shown = pictures(figure)
    assert len(shown) == 4 and [axis.get_title() for axis in figure.axes] == ["cat", "gradient", "dog", ""]
    colour = maps["gradient"][1]
    np.testing.assert_allclose(shown[3], (0.5 + 0.5 * colour / np.abs(colour).max()).transpose(1, 2, 0))
    with pytest.raises(ValueError, match="one or three channels, got shape"):
        figures.plain(np.zeros((2, 4, 4)))


def test_a_single_value_and_zeros_can_be_drawn():
    assert (figures.signed(np.zeros((1, 2, 2))) == 0.5).all()
    assert (figures.plain(np.full((1, 2, 2), 7.0)) == 0).all()
