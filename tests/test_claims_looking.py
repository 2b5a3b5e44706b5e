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


def test_cosines():
    a, b = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]), np.array([[6.0, 8], [0, 2], [1, 1], [-2, -2]])
    np.testing.assert_allclose(claims_looking.cosines(a, b), [1, 0, 0, -1], atol=1e-12)
