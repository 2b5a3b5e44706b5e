"""Where explanations point: on networks so small that the answers are known."""

import numpy as np
import pytest

from tinyconv import claims_looking, nn

# Images of 8 x 8 with two bright pixels by two; boxes are x1 y1 x2 y2.
BOXES = np.array([[2, 3, 4, 5], [5, 1, 7, 3], [0, 6, 2, 8]], np.float32)


def bright():
    """Return images that are 1 in their boxes and 0 elsewhere; one pixel of each is 2."""
    pixels = np.zeros((3, 1, 8, 8), np.float32)
    for image, (x1, y1, x2, y2) in zip(pixels, BOXES.astype(int), strict=True):
        image[0, y1:y2, x1:x2] = 1
        image[0, y1, x1] = 2
    return pixels


def brightness():
    """Return a network whose class 1 has the sum of all pixels as its score, class 0 zero."""
    model = nn.Sequential({"conv": nn.Conv2d(1, 1, 1), "relu": nn.ReLU(), "flat": nn.Flatten(), "fc": nn.Linear(64, 2)})
    weights = np.stack([np.zeros(64), np.ones(64)])
    model.load_state_dict(
        {"conv.weight": np.ones((1, 1, 1, 1)), "conv.bias": np.zeros(1), "fc.weight": weights, "fc.bias": np.zeros(2)}
    )
    return model


def test_harm_is_where_the_object_is():
    found = claims_looking.harm(brightness(), bright(), np.ones(3, int), BOXES, 2, 1, "relu")
    # Centres lie at 1 ... 7 each way; the first two boxes hold 2 x 2 of them, the last (in a corner) 1 x 2.
    assert found["chance"] == pytest.approx((4 + 4 + 2) / 3 / 49, abs=5e-5)
    assert (found["probability"], found["activity"], found["other"]) == (1, 1, 0)
    p = 1 / (1 + np.exp(-5.0))  # the sum of an image is 5
    assert found["p_outside"] == pytest.approx(p, abs=0.02)
    assert 0.5 < found["p_inside"] < found["p_outside"]


def test_energy_of_a_pixel_is_in_its_box():
    found = claims_looking.energy(brightness(), bright(), BOXES, "relu", k=3)
    assert found == {"projections": 3, "field": 1, "box": 1, "area": 4 / 64, "other": 0}


def two_maps(first, second, bias=0.0):
    """Return a network of two maps: the pixels times either number (the second plus a bias), rectified."""
    model = nn.Sequential({"conv": nn.Conv2d(1, 2, 1), "relu": nn.ReLU()})
    model.load_state_dict(
        {"conv.weight": np.array([first, second]).reshape(2, 1, 1, 1), "conv.bias": np.array([0.0, bias])}
    )
    return model


def test_energy_leaves_out_maps_without_k_activations():
    pixels = bright()
    pixels[2] *= 2  # its brightest is 4
    # Map 1 is above zero where pixels are above 3: in the last image only. It counts for k = 1 and no more.
    model = two_maps(1.0, 1.0, -3.0)
    assert claims_looking.energy(model, pixels, BOXES, "relu", k=1)["projections"] == 2
    assert claims_looking.energy(model, pixels, BOXES, "relu", k=2)["projections"] == 2  # of map 0 alone
    assert claims_looking.energy(model, pixels, BOXES, "relu", k=3) == {
        "projections": 3, "field": 1, "box": 1, "area": 4 / 64, "other": 0,
    }  # fmt: skip


def test_energy_of_a_dead_layer_says_so():
    with pytest.raises(ValueError, match="^energy: no map of 'relu' has 2 activations above zero in 3 images; choose"):
        claims_looking.energy(two_maps(-1.0, -2.0), bright(), BOXES, "relu", k=2)


def test_cosines():
    a, b = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]), np.array([[6.0, 8], [0, 2], [1, 1], [-2, -2]])
    np.testing.assert_allclose(claims_looking.cosines(a, b), [1, 0, 0, -1], atol=1e-12)
