"""R-CNN: the paper's sizes, features where they should come from, detection by hand, the whole detector in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyconv
from model_tools import assert_equals_torch, assert_learns_by_heart
from tinyconv.models.alexnet import alexnet
from tinyconv.models.backbones import SEARCH
from tinyconv.models.rcnn import RCNN, Features, rcnn
from tinyconv.vision import encode_boxes
from tinyconv.vision.box_regression import Regression, Whitening
from tinyconv.vision.nms import class_nms
from tinyconv.vision.svm import Plane
from tinyconv.vision.warp import warp_many

PLANE = Plane(np.zeros(64), 0.0, np.zeros(0), 0.0, 0.0)
EYE = Whitening(np.zeros(4), np.eye(4), np.eye(4))


def small(classes: int = 2, **how: Any) -> RCNN:
    tinyconv.manual_seed(0)
    return rcnn(classes, scale="lesson", **how)


def fitted(classes: int = 2) -> RCNN:
    """Return a model whose SVM k looks at unit k of fc6 only, and whose regressors leave boxes where they are."""
    model = small(classes)
    model.svms.load([PLANE._replace(weights=np.eye(64)[k], bias=-1.0) for k in range(classes)], 2.0)
    model.regressors.load([None] * classes, 1.0)
    return model


def seeing(monkeypatch: pytest.MonkeyPatch, model: RCNN, *tops: list[float]) -> None:
    """Make the model see, in its i-th proposal, these values of the first units of fc6."""
    top = np.zeros((len(tops), 64), np.float32)
    for row, values in zip(top, tops, strict=True):
        row[: len(values)] = values
    pool = np.arange(len(tops) * 512, dtype=np.float32).reshape(-1, 512)
    scores = np.zeros((len(tops), model.num_classes + 1), np.float32)
    monkeypatch.setattr(RCNN, "look", lambda self, image, boxes: Features(top, pool, scores))


IMAGE = np.zeros((3, 40, 60), np.float32)


# ------------------------------------------------------------------------------------------------------ architecture


def test_the_papers_sizes() -> None:
    model = rcnn(device="meta")
    assert (model.crop, model.padding, model.input_shape) == (227, 16, (3, 227, 227))
    assert model.svms.weight.shape == (20, 4096)  # fc7
    assert model.regressors.weight.shape == (20, 9217, 4)  # pool5 and a 1
    wanted = tinyconv.summary(alexnet(21, device="meta")).total_params  # 20 classes and the background
    assert tinyconv.summary(model).total_params == wanted == 60_965_224 - 979 * 4097
    deep = rcnn(backbone="vgg16", device="meta")
    assert deep.crop == 224 and deep.regressors.weight.shape == (20, 7 * 7 * 512 + 1, 4)
    assert rcnn(backbone="zf", device="meta").svms.weight.shape == (20, 4096)


def test_the_lessons_network() -> None:
    model = small(10)
    found = tinyconv.summary(model)
    rows = {row.name: (row.output_shape, row.params) for row in found.rows if row.params}
    assert rows == {
        "network.conv1": ((16, 32, 32), 448),
        "network.conv2": ((32, 16, 16), 4640),
        "network.conv3": ((32, 8, 8), 9248),
        "network.fc6": ((64,), 32832),
        "network.fc8": ((11,), 715),
    }
    assert (model.crop, model.padding) == (32, 4)
    assert model.svms.weight.shape == (10, 64) and model.regressors.weight.shape == (10, 513, 4)
    assert rcnn(3, scale="lesson", backbone="alexnet", device="meta").svms.weight.shape == (3, 256)
    assert small(3, width=0.5).svms.weight.shape == (3, 32)


def test_outputs_and_gradients_equal_torch() -> None:
    assert_equals_torch(small(6, dtype=tinyconv.float64).network.eval())


def test_learns_a_batch_by_heart() -> None:
    tinyconv.manual_seed(0)
    assert_learns_by_heart(rcnn(3, scale="lesson", in_channels=1), 40)


# ---------------------------------------------------------------------------------------------------------- features


@pytest.mark.parametrize("backbone", ["small", "alexnet"])
def test_features_are_those_of_the_layers(backbone: str) -> None:
    model = small(4, backbone=backbone, dtype=tinyconv.float64).train()
    crops = np.random.default_rng(0).standard_normal((3, 3, 32, 32))
    found, layers = model.features(crops), dict(model.network.named_children())
    assert all(module.training for module in model.modules())  # as before
    x, wanted = tinyconv.tensor(crops), {}
    model.eval()
    for name, layer in layers.items():
        wanted[name] = x = layer(x)
    top = "relu6" if backbone == "small" else "relu7"  # before the dropout, which would halve it
    np.testing.assert_allclose(found.top, wanted[top].detach().numpy())
    pool = "pool3" if backbone == "small" else "pool5"
    np.testing.assert_allclose(found.pool, wanted[pool].detach().numpy().reshape(3, -1))
    np.testing.assert_allclose(found.scores, wanted["fc8"].detach().numpy())
    np.testing.assert_allclose(found.scores, model(tinyconv.tensor(crops)).detach().numpy())


def test_many_crops_give_what_each_gives() -> None:
    model = small(2, dtype=tinyconv.float64)
    crops = np.random.default_rng(1).standard_normal((130, 3, 32, 32))  # more than go at once
    every = model.features(crops)
    for i in (0, 127, 128, 129):
        for whole, one in zip(every, model.features(crops[i : i + 1]), strict=True):
            np.testing.assert_allclose(whole[i], one[0], rtol=1e-12, atol=1e-15)


def test_boxes_are_prepared_and_warped() -> None:
    model = small(2, dtype=tinyconv.float64)
    model.set_pixels(np.array([0.1, 0.2, 0.3]), np.array([0.5, 1, 2]))
    image = np.random.default_rng(2).random((3, 30, 50))
    boxes = np.array([[2.0, 3, 20, 28], [-5, -5, 9, 12]])
    prepared = (image - np.array([0.1, 0.2, 0.3])[:, None, None]) / np.array([0.5, 1, 2])[:, None, None]
    wanted = model.features(warp_many(prepared, boxes, 32, 4))
    for found, other in zip(model.look(image, boxes), wanted, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-12)
    empty = model.look(image, np.zeros((0, 4)))
    assert [part.shape for part in empty] == [(0, 64), (0, 512), (0, 3)]


# --------------------------------------------------------------------------------------------------------- detection


def test_detection_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 12], [30, 0, 40, 10], [5, 0, 15, 10]])
    # Scores are 2 * unit - 1. Box 1 has IoU 10/12 with box 0, box 3 has 1/3 with box 0 and 1/3.4 < 0.3 with box 1.
    seeing(monkeypatch, model, [2.0, 0], [2.5, 0.25], [0.5, 0.5], [1.5, 0])
    found = model.detect(IMAGE, boxes)
    assert [(label, score, box) for box, label, score in zip(*map(np.ndarray.tolist, found), strict=True)] == [
        (0, 4.0, [0, 0, 10, 12]),
        (0, 2.0, [5, 0, 15, 10]),
        (0, 0.0, [30, 0, 40, 10]),
        (1, 0.0, [30, 0, 40, 10]),
        (1, -0.5, [0, 0, 10, 12]),
        (1, -1.0, [5, 0, 15, 10]),
    ]
    assert found.labels.dtype == np.int64
    assert model.detect(IMAGE, boxes, least=0).scores.tolist() == [4, 2, 0, 0]
    assert model.detect(IMAGE, boxes, top=1).scores.tolist() == [4, 0]
    assert len(model.detect(IMAGE, boxes, iou=0.95).boxes) == 8
    assert model.detect(IMAGE, boxes, iou=0).boxes.shape == (4, 4)


def test_suppression_is_that_of_class_nms(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    model, low = fitted(3), rng.uniform(0, 30, (40, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 20, (40, 2))], axis=1)
    tops = rng.integers(0, 9, (40, 3)).astype(float)  # some are equal
    seeing(monkeypatch, model, *tops.tolist())
    for least, top in ((None, 100), (3.0, 5)):
        found = model.detect(IMAGE, boxes, least=least, top=top, regress=False)
        lowest = -np.inf if least is None else least
        wanted = class_nms(np.repeat(boxes[:, None], 3, axis=1), 2 * tops - 1, 0.3, least=lowest, top=top)
        for part, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(part, other)
    seeing(monkeypatch, model, [np.nan, 0, 0], [1, 1, 1])
    with pytest.raises(ValueError, match="RCNN.detect: wanted finite boxes and no NaN"):
        model.detect(IMAGE, boxes[:2], least=0)  # not less than 0, and not more


def test_boxes_are_regressed_once_after_suppression(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(2)
    boxes = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10], [50, 30, 60, 40]])
    seeing(monkeypatch, model, [3], [2], [1])
    weights = np.zeros((513, 4))
    weights[-1] = [1, 0, 0, np.log(2)]  # one width to the right, twice as high
    model.regressors.load([Regression(weights, EYE), None], 1.0)
    found = model.detect(IMAGE, boxes)
    mine = found.boxes[found.labels == 0]
    # 10 wide to the right; 20 high about the centre, cut at the image's borders.
    np.testing.assert_allclose(mine, [[10, 0, 20, 15], [30, 0, 40, 15], [60, 25, 60, 40]], atol=1e-5)
    assert sorted(found.boxes[found.labels == 1].tolist()) == boxes.tolist()  # no regressor: where they were
    np.testing.assert_array_equal(model.detect(IMAGE, boxes, regress=False).boxes[found.labels == 0], boxes)
    # Regressed boxes that fall together are not compared again.
    weights[-1] = [2, 0, 0, 0]
    seeing(monkeypatch, model, [3, -9], [2, -9])
    model.regressors.load([Regression(weights, EYE), None], 1.0)
    both = model.detect(IMAGE, np.array([[0.0, 0, 10, 10], [5, 0, 15, 10]]), iou=0.4, least=-2)
    assert len(both.boxes) == 2


def test_regressors_see_the_scaled_pool_of_their_box(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(1)
    proposals = np.array([[10.0, 10, 20, 20], [30, 10, 40, 20]])
    seeing(monkeypatch, model, [1], [2])
    # Features: pool unit 0 is 0 for box 0 and 512 for box 1; times 1/512 it is 0 and 1.
    wanted = np.array([[11.0, 9, 20, 22], [30, 12, 44, 18]])
    targets = encode_boxes(proposals, wanted)
    white = Whitening(np.array([0.1, 0, 0, 0.2]), np.eye(4), np.diag([2.0, 1, 1, 4]))
    whitened = (targets - white.mean) @ np.linalg.inv(white.inverse)
    weights = np.zeros((513, 4))
    weights[0], weights[-1] = whitened[1] - whitened[0], whitened[0]
    model.regressors.load([Regression(weights, white)], 1 / 512)
    np.testing.assert_allclose(model.detect(IMAGE, proposals).boxes, wanted[::-1], atol=1e-4)  # best first


def test_softmax_in_place_of_svms() -> None:
    model = small(2)
    image = np.random.default_rng(3).random((3, 40, 60)).astype(np.float32)
    boxes = np.array([[0.0, 0, 20, 20], [30, 5, 55, 35]])
    found = model.detect(image, boxes, scores="softmax")
    logits = model.look(image, boxes).scores
    wanted = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(np.sort(found.scores), np.sort(wanted[:, 1:].ravel()), rtol=1e-5)
    assert found.labels[0] == wanted[:, 1:].max(0).argmax()


def test_proposals_are_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinyconv.vision import selective_search as module

    asked: dict[str, Any] = {}

    def search(image: np.ndarray, **settings: Any) -> np.ndarray:
        asked.update(settings, image=image)
        return np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])

    monkeypatch.setattr(module, "selective_search", search)
    model = fitted(1)
    model.set_pixels(np.full(3, 0.5), np.full(3, 0.25))
    image = np.full((3, 40, 60), 0.5, np.float32)
    assert len(model.detect(image).boxes) == 2
    assert asked.pop("image") is image  # as it is, and not minus the mean
    assert asked == model.search == SEARCH["lesson"]
    assert rcnn(device="meta").search == {"mode": "fast"}  # sigma 0.8, k 50 and 100, HSV and Lab, 20 px


@pytest.mark.parametrize("proposals", [np.zeros((0, 4)), [], np.zeros(0)])
def test_nothing_proposed(proposals: Any) -> None:
    found = fitted(3).detect(IMAGE, proposals)
    assert found.boxes.shape == (0, 4) and found.labels.shape == found.scores.shape == (0,)


# -------------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_holds_the_whole_detector(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    model = small(3, width=0.5, padding=2)
    model.svms.load([PLANE._replace(weights=rng.standard_normal(32), bias=k / 2) for k in range(3)], 3.0)
    regression = Regression(0.01 * rng.standard_normal((257, 4)), Whitening(rng.random(4) / 9, np.eye(4), np.eye(4)))
    model.regressors.load([regression, None, regression], 0.5)
    model.set_pixels(np.array([0.1, 0.2, 0.3]), np.ones(3))
    path = tinyconv.save(tmp_path / "rcnn.npz", model)
    again = tinyconv.load(path)
    assert again.config == model.config and again.padding == 2
    image, boxes = rng.random((3, 40, 60)).astype(np.float32), np.array([[0.0, 0, 20, 20], [30, 5, 55, 35]])
    for found, wanted in zip(again.detect(image, boxes), model.detect(image, boxes), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert again.svms.trained and again.regressors.trained
    assert not small(3).svms.trained and not small(3).regressors.trained


# -------------------------------------------------------------------------------------------------------------- errors


def test_untrained_parts_say_what_to_call() -> None:
    model, boxes = small(2), np.array([[0.0, 0, 10, 10]])
    with pytest.raises(RuntimeError, match=r'svms are not trained; call .*fit_svms\(.*or say scores="softmax"'):
        model.detect(IMAGE, boxes)
    with pytest.raises(
        RuntimeError, match=r"regressors are not trained; call .*fit_regressors\(.*or say regress=False"
    ):
        model.detect(IMAGE, boxes, scores="softmax", regress=True)
    assert len(model.detect(IMAGE, boxes, scores="softmax").boxes) == 2


def test_errors_of_detection() -> None:
    model, boxes = fitted(), np.array([[0.0, 0, 10, 10]])
    for image in (IMAGE[:1], IMAGE[None], IMAGE.astype(np.uint8)):
        with pytest.raises(ValueError, match=r"RCNN.detect: image must be one floating \(3, H, W\), got"):
            model.detect(image, boxes)
    with pytest.raises(ValueError, match=r"boxes must be \(P, 4\), got shape \(4,\)"):
        model.detect(IMAGE, boxes[0])
    for bad in ([0, 0, 0, 5], [0, 0, np.nan, 5]):
        with pytest.raises(ValueError, match="warp: boxes must be finite with x1 < x2 and y1 < y2"):
            model.detect(IMAGE, np.array([bad]))
    with pytest.raises(ValueError, match="RCNN.detect: scores must be one of 'svm', 'softmax', got 'svms'"):
        model.detect(IMAGE, boxes, scores="svms")
    with pytest.raises(ValueError, match=r"RCNN.features: crops must be \(P, 3, 32, 32\), got \(2, 3, 31, 32\)"):
        model.features(np.zeros((2, 3, 31, 32), np.float32))


def test_errors_of_what_is_put_in() -> None:
    model = small(2)
    with pytest.raises(ValueError, match=r"Machines.load: weight must have shape \(2, 64\), got \(1, 64\)"):
        model.svms.load([PLANE], 1.0)
    with pytest.raises(ValueError, match="Machines.load: scale must be positive and finite, got 0"):
        model.svms.load([PLANE, PLANE], 0.0)
    with pytest.raises(ValueError, match="Regressors.load: wanted 2 regressors, got 1"):
        model.regressors.load([None], 1.0)
    with pytest.raises(
        ValueError, match=r"RCNN.set_pixels: std must be 3 finite numbers, .* above 0, got \[1.0, 1.0, 0.0\]"
    ):
        model.set_pixels(np.zeros(3), np.array([1.0, 1, 0]))
    with pytest.raises(ValueError, match=r"RCNN.set_pixels: mean must be 3 finite numbers"):
        model.set_pixels(np.zeros(1), np.ones(3))


def test_errors_of_the_builder() -> None:
    with pytest.raises(
        ValueError, match="rcnn: backbone at scale='paper' must be one of 'alexnet', 'vgg16', 'zf', got"
    ):
        rcnn(backbone="small", device="meta")
    with pytest.raises(ValueError, match="rcnn: scale must be one of"):
        rcnn(scale="huge")
    with pytest.raises(ValueError, match="rcnn: num_classes must be an int of at least 1, got 0"):
        rcnn(0, scale="lesson")
    with pytest.raises(ValueError, match="rcnn: image_size=7 is too small, no pixel is left after pool3"):
        rcnn(2, scale="lesson", image_size=7)
    with pytest.raises(ValueError, match=r"wanted padding >= 0 and crop > 2 \* padding, got padding=16 and crop=32"):
        rcnn(2, scale="lesson", padding=16)
