"""The slopes behind attacks: their values, image by image, of cross-entropy and of losses of one's own."""

import numpy as np
import pytest

import tinyconv
from explain_tools import small_network
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.explain.input_gradient import input_gradient
from tinyconv.explain.layers import probabilities

LABELS = np.array([2, 0, 1, 1])


def slopes(model, images, labels, loss):
    return input_gradient("test", "labels", model, tinyconv.tensor(images), tinyconv.tensor(labels), loss).numpy()


def squares(outputs, labels):
    """Return the mean over the batch of |z|^2 / 2 times a factor that belongs to the label."""
    return ((outputs * outputs).sum(1) * (labels + 1)).mean() * 0.5


def test_a_loss_of_ones_own_is_each_image_s_own_by_value(rng):
    """Linear scores: d (f |W x|^2 / 2) / dx = f W'W x, whatever the batch's size."""
    weight, x = rng.standard_normal((3, 5)), rng.standard_normal((4, 5))
    model = nn.Linear(5, 3, bias=False, dtype=np.float64)
    model.weight.data[:] = weight
    wanted = (LABELS + 1)[:, None] * (x @ weight.T @ weight)
    np.testing.assert_allclose(slopes(model, x, LABELS, squares), wanted, rtol=1e-12)
    np.testing.assert_allclose(slopes(model, x[1:2], LABELS[1:2], squares), wanted[1:2], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_cross_entropy_s_slope_is_divided_by_the_probability_of_being_wrong(dtype, rng):
    model, x = small_network(rng), rng.uniform(0, 1, (4, 2, 12, 12))
    for p in model.parameters():
        p.data *= 0.3  # so that no answer is sure
    images = tinyconv.tensor(x, requires_grad=True)
    z = model(images)
    F.cross_entropy(z, tinyconv.tensor(LABELS), reduction="sum").backward()
    wrong = 1 - probabilities(z.detach().numpy())[np.arange(4), LABELS]
    assert (wrong > 0.01).all() and np.abs(images.grad.numpy()).max() > 1e-4
    found = slopes(model, x, LABELS.astype(dtype), F.cross_entropy)
    np.testing.assert_allclose(found * wrong.reshape(4, 1, 1, 1), images.grad.numpy(), rtol=1e-9, atol=1e-14)


def test_cross_entropy_s_slope_by_hand_where_softmax_is_0_and_1():
    """Scores x = (900, 0, -1): the label leads by 900, the others share the pull as 1 : 1 / e."""
    model = nn.Linear(3, 3, bias=False)
    model.weight.data[:] = np.eye(3)
    x = np.array([[900.0, 0.0, -1.0], [0.0, 900.0, 899.0]], np.float32)
    e = np.exp(-1.0)
    wanted = [[-1, 1 / (1 + e), e / (1 + e)], [-1, 1 / (1 + e), e / (1 + e)]]
    np.testing.assert_allclose(slopes(model, x, np.array([0, 0]), F.cross_entropy), wanted, rtol=1e-6)


def test_probabilities_as_targets_have_the_usual_slope(rng):
    """Cross-entropy of a probability for each class: its derivative p - q for scores that are the pixels."""
    model = nn.Linear(3, 3, bias=False, dtype=np.float64)
    model.weight.data[:] = np.eye(3)
    x, q = rng.standard_normal((4, 3)), rng.dirichlet(np.ones(3), 4)
    np.testing.assert_allclose(slopes(model, x, q, F.cross_entropy), probabilities(x) - q, rtol=1e-9, atol=1e-12)
