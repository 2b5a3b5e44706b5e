"""Shapes10: the recipe's ranges, and each image a function of (seed, i)."""

import numpy as np
import pytest

from tinyconv.data import shapes10
from tinyconv.data.shapes10 import SHAPE_CLASSES, _shape


def test_size_labels_and_names():
    data = shapes10(30)
    assert len(data) == 30 and data.images.shape == (30, 3, 24, 24) and data.images.dtype == np.float32
    assert data.labels.tolist() == list(range(10)) * 3 and data.classes == SHAPE_CLASSES
    assert data.boxes.shape == (30, 4)
    assert len(shapes10(0)) == 0


def test_an_image_depends_on_seed_and_index_only():
    long, short, other = shapes10(40, seed=3), shapes10(12, seed=3), shapes10(12, seed=4)
    np.testing.assert_array_equal(long.images[:12], short.images)
    np.testing.assert_array_equal(long.boxes[:12], short.boxes)
    assert all(not np.array_equal(a, b) for a, b in zip(short.images, other.images, strict=True))
    assert len(np.unique(long.images.reshape(40, -1), axis=0)) == 40


def test_shapes_lie_inside_and_have_the_wanted_size():
    data = shapes10(500, size=32, radius=(4, 5))
    x1, y1, x2, y2 = data.boxes.T
    assert data.boxes.min() >= 0 and data.boxes.max() <= 32
    np.testing.assert_allclose(x2 - x1, y2 - y1, atol=1e-5)
    half = (x2 - x1) / 2
    assert half.min() >= 4 - 1e-5 and half.max() <= 5 + 1e-5 and half.std() > 0.2


def test_noise_is_sigma_and_values_are_centred():
    clean, noisy = shapes10(200, sigma=0), shapes10(200, sigma=0.15)
    noise = noisy.images - clean.images
    assert abs(noise.std() - 0.15) < 0.001 and abs(noise.mean()) < 0.002
    assert abs(clean.images.mean()) < 0.05
    assert clean.images.min() >= -0.7 - 1e-6 and clean.images.max() <= 0.7 + 1e-6  # [-.5, .5] and the gradient
    np.testing.assert_array_equal(clean.boxes, noisy.boxes)


def test_foreground_differs_from_background_in_every_channel():
    for image, label, box in zip(
        *(getattr(shapes10(200, sigma=0), name) for name in ("images", "labels", "boxes")), strict=True
    ):
        if SHAPE_CLASSES[label] not in ("disc", "square"):
            continue
        x, y = int((box[0] + box[2]) / 2), int((box[1] + box[3]) / 2)
        corners = [image[:, r, c] for r in (0, -1) for c in (0, -1)]
        background = np.mean(corners, axis=0)  # a linear gradient cancels over the four corners ...
        if SHAPE_CLASSES[label] == "square" and (box.min() < 1 or box.max() > 23):
            continue  # ... unless the shape covers one
        difference = (image[:, y, x] - background) % 1
        assert (difference > 0.349).all() and (difference < 0.651).all()


@pytest.mark.parametrize(
    ("name", "share"),  # of the box, by geometry: area / 4 for u, v in [-1, 1]
    [
        ("disc", np.pi / 4),
        ("ring", np.pi / 4 * (1 - 0.6**2)),
        ("square", 1),
        ("frame", 1 - 0.65**2),
        ("triangle", 0.5),
        ("plus", 1 - 0.7**2),
        ("cross", 0.64),
        ("horizontal stripes", 0.5),
        ("vertical stripes", 0.5),
        ("checker", 0.5),
    ],
)
def test_area_of_each_shape(name, share):
    v, u = np.meshgrid(*2 * [np.linspace(-1, 1, 801)], indexing="ij")
    area = _shape(SHAPE_CLASSES.index(name), u, v)[1:-1, 1:-1].mean()
    assert area == pytest.approx(share, abs=0.01)


def test_transform_and_errors():
    assert shapes10(3, transform=lambda image, rng: image[:, :4])[0][0].shape == (3, 4, 24)
    with pytest.raises(ValueError, match=r"shapes10: radius must be 0 < low <= high <= size / 2 = 8, got \(5.0, 9\)"):
        shapes10(1, size=16, radius=(5.0, 9))
    with pytest.raises(ValueError, match="n and sigma must be at least 0, got n=-1"):
        shapes10(-1)
