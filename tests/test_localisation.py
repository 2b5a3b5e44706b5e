"""Boxes by regression: heads, loss, dense application, merging, and that a small network learns to locate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv
from tinyconv import nn, optim
from tinyconv.data import DataLoader, Scenes
from tinyconv.localisation import (
    EuclideanLoss,
    box_network,
    decode,
    dense_boxes,
    encode,
    localisation_error,
    merge_boxes,
    predict_boxes,
)
from tinyconv.models import fully_convolutional, vgg
from tinyconv.vision import box_iou, paired_iou


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    tinyconv.manual_seed(2)
    return vgg(5, config="A", scale="lesson", width=0.25, image_size=32)


def images(n: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 3, height, width)).astype(np.float32)


# ----------------------------------------------------------------------------------------------------------- heads


@pytest.mark.parametrize(("kind", "units"), [("scr", 4), ("pcr", 4000)])
def test_the_papers_heads(kind: str, units: int) -> None:
    network = box_network(vgg(device="meta"), kind)
    assert network.fc8.weight.shape == (units, 4096) and network.fc8.bias.shape == (units,)
    assert [name for name, _ in network.named_children()] == [name for name, _ in vgg(device="meta").named_children()]


def test_a_box_network_keeps_the_classifiers_weights_and_leaves_it_alone(classifier: nn.Module) -> None:
    before = {name: p.detach().numpy().copy() for name, p in classifier.named_parameters()}
    network = box_network(classifier, "scr")
    for name, p in network.named_parameters():
        if not name.startswith("fc8"):
            np.testing.assert_array_equal(p.detach().numpy(), before[name])
    with tinyconv.no_grad():
        for p in network.parameters():
            p *= 0
    for name, p in classifier.named_parameters():
        np.testing.assert_array_equal(p.detach().numpy(), before[name])
    assert classifier.fc8.out_features == 5 and classifier.config is not None and network.config is None


def test_a_fresh_head_says_the_middle_half(classifier: nn.Module) -> None:
    boxes = predict_boxes(box_network(classifier, "scr", std=1e-6), images(3, 32, 32))
    np.testing.assert_allclose(boxes, [[8, 8, 24, 24]] * 3, atol=0.1)


# ------------------------------------------------------------------------------------------------------------ loss


def test_encode_by_hand() -> None:
    assert encode(np.array([8, 0, 24, 16]), 32).tolist() == [0.5, 0.25, 0.5, 0.5]
    assert decode(np.array([0.5, 0.25, 0.5, 0.5]), 32).tolist() == [8, 0, 24, 16]


def test_the_loss_by_hand() -> None:
    """Two boxes that miss by 0.1 in one number and by 0.3 and 0.4 in two: (0.01 + 0.25) / (2 * 2)."""
    targets = tinyconv.tensor(np.array([[1, 8, 0, 24, 16], [0, 0, 0, 16, 16]], np.float32))
    right = np.array([[0.5, 0.25, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]], np.float32)
    off = right + np.array([[0.1, 0, 0, 0], [0, 0.3, 0, -0.4]], np.float32)
    assert EuclideanLoss(32)(tinyconv.tensor(right), targets).item() == pytest.approx(0, abs=1e-12)
    assert EuclideanLoss(32)(tinyconv.tensor(off), targets).item() == pytest.approx(0.26 / 4)
    per_class = np.full((2, 2, 4), 9, np.float32)
    per_class[[0, 1], [1, 0]] = off
    outputs = tinyconv.tensor(per_class.reshape(2, 8), requires_grad=True)
    loss = EuclideanLoss(32)(outputs, targets)
    loss.backward()
    assert loss.item() == pytest.approx(0.26 / 4)
    gradient = outputs.grad.numpy().reshape(2, 2, 4)
    np.testing.assert_allclose(gradient[[0, 1], [1, 0]], (off - right) / 2, atol=1e-6)
    assert not gradient[[0, 1], [0, 1]].any()  # the other class's box learns nothing from this image


def test_the_losss_gradient() -> None:
    targets = np.array([[2, 1, 2, 9, 12], [0, 3, 3, 7, 9], [2, 0, 4, 16, 6]], np.float64)
    outputs = np.random.default_rng(0).random((3, 12))
    assert tinyconv.gradcheck(lambda y: EuclideanLoss(16)(y, tinyconv.tensor(targets)), [outputs])


# --------------------------------------------------------------------------------------------------------- predict


def test_prediction_takes_the_box_of_the_class(classifier: nn.Module) -> None:
    network, x = box_network(classifier, "pcr", std=0.1), images(4, 32, 32)
    network.eval()
    with tinyconv.no_grad():
        raw = network(tinyconv.tensor(x)).numpy().reshape(4, 5, 4)
    labels = np.array([3, 0, 4, 3])
    found = predict_boxes(network, x, labels, batch_size=3)
    np.testing.assert_allclose(found, decode(raw[np.arange(4), labels], 32), rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match="20 outputs are one box per class; give the labels"):
        predict_boxes(network, x)


# ------------------------------------------------------------------------------------------------------------ dense


@pytest.mark.parametrize(("kind", "boxes"), [("scr", 1), ("pcr", 5)])
def test_dense_application(classifier: nn.Module, kind: str, boxes: int) -> None:
    network, x = box_network(classifier, kind, std=0.1), images(2, 64, 96)
    found, scores = dense_boxes(network, classifier, x)
    assert found.shape == (2, 6, boxes, 4) and scores.shape == (2, 6, 5)
    maps = fully_convolutional(network.eval())
    with tinyconv.no_grad():
        values = maps(tinyconv.tensor(x)).numpy()  # (2, 4 K, 2, 3)
        rating = fully_convolutional(classifier.eval())(tinyconv.tensor(x)).numpy()
    for place, (r, c) in enumerate(np.ndindex(2, 3)):
        for k in range(boxes):
            local = decode(values[:, 4 * k : 4 * k + 4, r, c], 32)  # within the window that begins at 32 (c, r)
            np.testing.assert_allclose(found[:, place, k], local + [32 * c, 32 * r] * 2, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(scores[:, place], rating[:, :, r, c], rtol=1e-4, atol=1e-3)


def test_dense_application_at_the_training_size_is_plain_prediction(classifier: nn.Module) -> None:
    network, x = box_network(classifier, "scr", std=0.1), images(3, 32, 32)
    found, _ = dense_boxes(network, classifier, x)
    np.testing.assert_allclose(found[:, 0, 0], predict_boxes(network, x), rtol=1e-4, atol=1e-3)


# ---------------------------------------------------------------------------------------------------------- merging


def test_merging_by_hand() -> None:
    """IoU of A and B 7.5 / 12.5 = .6, of B and C .59, of A and C .32; of the mean of A and B with C 6.15 / 13.85 = .44.

    So at 0.4 A and B go first, then C: the result is the mean of three, not of C and a pair.
    """
    boxes = np.array([[0, 0, 10, 10], [2.5, 0, 12.5, 10], [5.1, 0, 15.1, 10], [50, 50, 60, 60]])
    merged, scores = merge_boxes(boxes, np.array([0.2, 0.3, 0.1, 0.5]), iou=0.4)
    np.testing.assert_allclose(merged, [[7.6 / 3, 0, 10 + 7.6 / 3, 10], [50, 50, 60, 60]])
    np.testing.assert_allclose(scores, [0.6, 0.5])
    apart, rated = merge_boxes(boxes, np.array([0.2, 0.3, 0.1, 0.5]), iou=0.9)
    np.testing.assert_array_equal(apart, boxes[[3, 1, 0, 2]])
    np.testing.assert_allclose(rated, [0.5, 0.3, 0.2, 0.1])


@given(st.integers(0, 12), st.integers(0, 10**6), st.sampled_from([0.2, 0.5, 0.8]))
@settings(max_examples=60)
def test_merging_keeps_the_sum_and_leaves_nothing_close(n: int, seed: int, iou: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 20, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, 12, (n, 2))], axis=1)
    scores = rng.random(n)
    before = boxes.copy(), scores.copy()
    merged, rated = merge_boxes(boxes, scores, iou)
    np.testing.assert_array_equal(boxes, before[0])
    np.testing.assert_array_equal(scores, before[1])
    assert rated.sum() == pytest.approx(scores.sum()) and (np.diff(rated) <= 0).all()
    assert len(merged) <= n and (len(merged) > 0) == (n > 0)
    assert (np.triu(box_iou(merged, merged), 1) < iou).all()
    if n:
        assert (merged.min(0) >= boxes.min(0) - 1e-9).all() and (merged.max(0) <= boxes.max(0) + 1e-9).all()


def test_error_counts_an_iou_of_one_half_as_wrong() -> None:
    truth = np.array([[0.0, 0, 10, 10]] * 3)
    found = np.array([[0.0, 0, 10, 5], [0, 0, 10, 5.1], [20, 20, 30, 30]])
    assert paired_iou(found, truth)[0] == 0.5
    assert localisation_error(found, truth) == pytest.approx(2 / 3)
    assert localisation_error(found, truth, threshold=0.4) == pytest.approx(1 / 3)


# --------------------------------------------------------------------------------------------------------- learning


def test_a_small_network_learns_where_the_digit_is() -> None:
    """Regression on scenes beats the best constant box clearly after a few seconds."""
    tinyconv.manual_seed(0)
    scenes = Scenes(500, size=24, items=("mnist",), background="black", objects=1, sides=(12, 16), seed=1)
    data = scenes.localisation()
    network = nn.Sequential(
        {
            "conv": nn.Conv2d(3, 8, 5, stride=2, padding=2),
            "relu": nn.ReLU(),
            "pool": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc7": nn.Linear(8 * 36, 32),
            "relu7": nn.ReLU(),
            "fc8": nn.Linear(32, 10),
        }
    )
    network.input_shape = (3, 24, 24)
    network = box_network(network, "scr")
    tinyconv.fit(
        network, DataLoader(data, 50, shuffle=True), loss=EuclideanLoss(24), epochs=12, progress=False,
        optimizer=optim.Adam(network.parameters(), 0.004),
    )  # fmt: skip
    test = Scenes(200, size=24, items=("mnist",), background="black", objects=1, sides=(12, 16), split="test")
    pixels, _, boxes = test.arrays()
    constant = np.broadcast_to(data.boxes.mean(0), boxes.shape)
    assert localisation_error(predict_boxes(network, pixels), boxes) < localisation_error(constant, boxes) - 0.25


# ----------------------------------------------------------------------------------------------------------- errors


def test_errors(classifier: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"kind must be one of .*scr.*, got 'both'"):
        box_network(classifier, "both")
    with pytest.raises(ValueError, match="layer must name the model's last layer, a Linear, got 'fc7', Linear"):
        box_network(classifier, layer="fc7")
    loss, five = EuclideanLoss(32), tinyconv.tensor(np.ones((2, 5), np.float32))
    with pytest.raises(ValueError, match=r"wanted outputs \(N, 4 K\) and targets \(N, 5\) .*, got \(2, 4\) and \(2,\)"):
        loss(tinyconv.randn(2, 4), tinyconv.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"wanted outputs of 4 numbers per box, got \(2, 6\)"):
        loss(tinyconv.randn(2, 6), five)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1, got 7\.\.7"):
        loss(tinyconv.randn(2, 8), 7 * five)
    with pytest.raises(ValueError, match="images must be square, got 32x64"):
        predict_boxes(box_network(classifier, "scr"), images(1, 32, 64))
    with pytest.raises(ValueError, match=r"both networks must have one square window and one stride"):
        dense_boxes(vgg(5, config="A", scale="lesson", width=0.25, image_size=64), classifier, images(1, 64, 64))
    with pytest.raises(ValueError, match=r"iou in \(0, 1\], got \(2, 4\), \(2,\), 0"):
        merge_boxes(np.ones((2, 4)), np.ones(2), 0)
    with pytest.raises(ValueError, match=r"two sets \(N, 4\) of as many boxes, got \(2, 4\) and \(3, 4\)"):
        localisation_error(np.ones((2, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"predict_boxes: labels must be \(2,\), one per image, got shape \(3,\)"):
        predict_boxes(box_network(classifier, "pcr"), np.zeros((2, 3, 32, 32), np.float32), np.zeros(3, int))
    with pytest.raises(ValueError, match="EuclideanLoss: wanted at least one image, got an empty batch"):
        EuclideanLoss(32)(tinyconv.zeros(0, 4), tinyconv.zeros(0, 5))
