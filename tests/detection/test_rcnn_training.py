"""R-CNN's training: which boxes each stage learns from, and that the stages together find objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv.detection.rcnn_batches import WarpedBatches, candidates, object_crops
from tinyconv.detection.rcnn_training import fine_tune, fit_regressors, fit_svms, pretrain, train_rcnn
from tinyconv.models.rcnn import RCNN, Features, rcnn
from tinyconv.random import generator
from tinyconv.vision import Truth, box_iou, encode_boxes, truth
from tinyconv.vision.svm import LinearSVM, Plane
from tinyconv.vision.voc_eval import evaluate_detections
from tinyconv.vision.warp import warp

SIZE = 40


def scene(i: int, objects: int = 2) -> tuple[np.ndarray, Truth, np.ndarray]:
    """Return an image of bright bars, lying (class 0) or standing (1), in noise; its truth; boxes around and beside."""
    rng = generator(0, "bars", 0, i)
    image = (0.1 * rng.random((3, SIZE, SIZE))).astype(np.float32)
    boxes, labels = [], []
    for half in range(objects):  # one on the left, one on the right
        label = int(rng.integers(2))
        long, short = int(rng.integers(12, 17)), int(rng.integers(5, 8))
        width, height = (long, short) if label == 0 else (short, long)
        x = half * SIZE // 2 + int(rng.integers(0, SIZE // 2 - width + 1))
        y = int(rng.integers(0, SIZE - height + 1))
        image[:, y : y + height, x : x + width] = rng.uniform(0.6, 1, (3, 1, 1))
        boxes.append([x, y, x + width, y + height])
        labels.append(label)
    found = np.array(boxes, float)
    near = found[rng.integers(len(found), size=15)] + rng.integers(-2, 3, (15, 4))
    low = rng.integers(0, SIZE - 6, (15, 2))
    far = np.concatenate([low, low + rng.integers(5, 20, (15, 2))], axis=1)
    proposals = np.concatenate([near, far])
    sides = proposals[:, 2:] - proposals[:, :2]
    return image, truth(found, np.array(labels)), proposals[(sides > 1).all(1)]


def data(n: int, first: int = 0) -> tuple[np.ndarray, list[Truth], list[np.ndarray]]:
    scenes = [scene(first + i) for i in range(n)]
    return np.stack([s[0] for s in scenes]), [s[1] for s in scenes], [s[2] for s in scenes]


def model_of(classes: int = 2, **how: Any) -> RCNN:
    tinyconv.manual_seed(0)
    return rcnn(classes, scale="lesson", **how)


# ----------------------------------------------------------------------------------------------------------- batches


def test_a_batch_is_a_quarter_of_objects() -> None:
    images, truths, proposals = data(6)
    batches = WarpedBatches(model_of(), images, truths, proposals, steps=3)
    crops, classes = batches.batch(0)
    assert crops.shape == (128, 3, 32, 32) and crops.dtype == np.float32
    assert (classes[:32] > 0).all() and (classes[32:] == 0).all()
    assert set(classes.tolist()) == {0, 1, 2}
    # Every crop is that of a proposal or an object of its class, by the overlap of 0.5.
    every = {0: [], 1: [], 2: []}  # type: dict[int, list[np.ndarray]]
    for image, true, proposed in zip(images, truths, proposals, strict=True):
        for box in np.concatenate([proposed, true.boxes]):
            overlap = box_iou(box[None], true.boxes)[0]
            kind = int(true.labels[overlap.argmax()]) + 1 if overlap.max() >= 0.5 else 0
            every[kind].append(warp(image, box, 32, 4))
    assert sum(map(len, every.values())) == len(batches.rois)
    for crop, kind in zip(crops, classes, strict=True):
        assert any(np.allclose(crop, other, atol=1e-6) for other in every[int(kind)])


def test_batches_depend_on_seed_and_step_only() -> None:
    images, truths, proposals = data(4)
    model = model_of()
    batches = WarpedBatches(model, images, truths, proposals, steps=3, seed=5)
    first = [crops for crops, _ in batches]
    second = [crops for crops, _ in batches]  # the next epoch
    assert len(batches) == len(first) == 3
    for i, crops in enumerate(first + second):
        np.testing.assert_array_equal(crops, batches.batch(i)[0])
    assert not np.array_equal(first[0], second[0])
    batches.start_at(1, 2)  # as a resumed training does
    (last,) = list(batches)
    np.testing.assert_array_equal(last[0], second[2])
    apart = WarpedBatches(model, list(images), truths, proposals, steps=3, seed=5)  # images one by one
    np.testing.assert_array_equal(apart.batch(1)[0], batches.batch(1)[0])
    other = WarpedBatches(model, images, truths, proposals, steps=3, seed=6)
    assert not np.array_equal(other.batch(1)[0], batches.batch(1)[0])


def test_mirrored_crops() -> None:
    images, truths, proposals = data(4)
    plain, mirrored = (
        WarpedBatches(model_of(), images, truths, proposals, steps=1, mirror=mirror).batch(0)
        for mirror in (False, True)
    )
    np.testing.assert_array_equal(plain[1], mirrored[1])
    turned = [not np.array_equal(a, b) for a, b in zip(plain[0], mirrored[0], strict=True)]
    assert 40 < sum(turned) < 88  # of 128
    for a, b, other in zip(plain[0], mirrored[0], turned, strict=True):
        np.testing.assert_array_equal(a, b[..., ::-1] if other else b)


def test_the_pixels_mean_is_taken_off() -> None:
    images, truths, proposals = data(2)
    model = model_of()
    model.set_pixels(np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.5, 2]))
    prepared = WarpedBatches(model_of(), model.prepare(images), truths, proposals, steps=1).batch(0)[0]
    np.testing.assert_allclose(WarpedBatches(model, images, truths, proposals, steps=1).batch(0)[0], prepared)


def test_difficult_objects_are_not_learnt() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    marked = truth(boxes, np.array([0, 1]), np.array([False, True]))
    every, classes, overlaps, _ = candidates(marked, np.array([[20.0, 20, 30, 30], [0, 0, 10, 9]]))
    assert every.tolist() == [[20, 20, 30, 30], [0, 0, 10, 9], [0, 0, 10, 10]]
    assert classes.tolist() == [0, 1, 1] and overlaps.tolist() == [0, 0.9, 1]
    images = np.random.default_rng(0).random((1, 3, SIZE, SIZE)).astype(np.float32)
    crops, labels = object_crops(model_of(), images, [marked])
    np.testing.assert_allclose(crops[0], warp(images[0], boxes[0], 32, 4), atol=1e-6)
    assert labels.tolist() == [0] and crops.shape == (1, 3, 32, 32)


# ---------------------------------------------------------------------------------------------------------- the stages


def test_pretraining_leaves_the_last_layer_alone() -> None:
    images, truths, _ = data(40)
    model = model_of(5)
    before = {name: p.detach().numpy().copy() for name, p in model.network.named_parameters()}
    crops, labels = object_crops(model, images, truths)
    history = pretrain(model, crops, labels, steps=6, batch_size=16, progress=False)
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"]
    assert history.rows[-1]["step"] == 10  # two whole epochs of 5 batches
    for name, p in model.network.named_parameters():
        assert np.array_equal(p.detach().numpy(), before[name]) == name.startswith("fc8."), name
    assert model.network.fc8.out_features == 6
    with pytest.raises(ValueError, match="pretrain: wanted at least one batch of 64 crops, got 3"):
        pretrain(model, crops[:3], labels[:3], progress=False)


def test_fine_tuning_decays_weights_by_5e_4() -> None:
    """After one step: lr * decay * weight less than without decay, of the paper's 5e-4."""
    images, truths, proposals = data(2)
    before, (decayed, plain) = model_of(dtype=np.float64), (model_of(dtype=np.float64) for _ in range(2))
    fine_tune(decayed, images.astype(float), truths, proposals, steps=1, lr=0.1, progress=False)
    fine_tune(plain, images.astype(float), truths, proposals, steps=1, lr=0.1, weight_decay=0, progress=False)
    for start, one, other in zip(*(model.network.parameters() for model in (before, decayed, plain)), strict=True):
        change = other.detach().numpy() - one.detach().numpy()
        np.testing.assert_allclose(change, 0.1 * 5e-4 * start.detach().numpy(), atol=1e-12)


class Recorded(LinearSVM):
    """Remembers the first training of each class, and returns a plane of zeros, so that every negative is hard."""

    def fit(self, features: np.ndarray, labels: np.ndarray, seed: int = 0) -> Plane:
        seen.append((features[labels], features[~labels]))
        return Plane(np.zeros(features.shape[1]), 0.0, np.zeros(len(features)), 0.0, 0.0)


seen: list[tuple[np.ndarray, np.ndarray]] = []


def boxes_as_features(self: RCNN, image: np.ndarray, boxes: np.ndarray) -> Features:
    """Return features that are the image's number and the box, so that a test sees who went where."""
    top = np.zeros((len(boxes), 64), np.float32)
    top[:, 0], top[:, 1:5] = image[0, 0, 0], boxes
    return Features(top, np.zeros((len(boxes), 512), np.float32), np.zeros((len(boxes), 3), np.float32))


def test_svms_learn_from_objects_and_from_what_is_far_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RCNN, "look", boxes_as_features)
    images = np.zeros((2, 3, SIZE, SIZE), np.float32)
    images[1] = 1
    truths = [
        truth(np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]]), np.array([0, 1])),
        truth(np.array([[0.0, 20, 10, 30], [20, 20, 30, 30]]), np.array([0, 0]), np.array([False, True])),
    ]
    proposals = [
        # IoU .9, .345, .3 and .25 with the object of class 0
        np.array([[0.0, 0, 10, 9], [0, 0, 10, 29], [0, 0, 3, 10], [0, 0, 10, 40]]),
        np.array([[20.0, 20, 30, 29], [5, 0, 9, 9]]),  # IoU .9 with a difficult object of class 0; none
    ]
    seen.clear()
    caches = fit_svms(model_of(2), images, truths, proposals, svm=Recorded(), progress=False)
    tops = np.concatenate([boxes_as_features(model_of(2), i, p).top for i, p in zip(images, proposals, strict=True)])
    scale = 20 / np.linalg.norm(tops, axis=1).mean()

    def where(rows: np.ndarray) -> list[list[float]]:
        return np.round(rows[:, :5] / np.float32(scale), 3).tolist()

    first = {0: seen[0], 1: seen[1]}  # after the first image
    assert where(first[0][0]) == [[0, 0, 0, 10, 10], [1, 0, 20, 10, 30]]  # of both images, without the difficult one
    assert where(first[1][0]) == [[0, 20, 0, 30, 10]]
    assert where(first[0][1]) == [[0, 0, 0, 10, 40], [0, 20, 0, 30, 10]]  # far of class 0; the object of class 1, too
    assert where(first[1][1]) == [
        [0, 0, 0, 10, 9],
        [0, 0, 0, 10, 29],
        [0, 0, 0, 3, 10],
        [0, 0, 0, 10, 40],
        [0, 0, 0, 10, 10],
    ]
    # Of the second image nothing near a difficult object of the class is a negative.
    assert where(caches[0].negatives)[2:] == [[1, 5, 0, 9, 9]]
    assert where(caches[1].negatives)[5:] == [[1, 20, 20, 30, 29], [1, 5, 0, 9, 9], [1, 0, 20, 10, 30]]
    seen.clear()
    fit_svms(model_of(2), images, truths, proposals, svm=Recorded(), negative=0.5, progress=False)
    assert where(seen[0][1])[0] == [0, 0, 0, 10, 29]  # IoU .345


@pytest.mark.parametrize(("count", "wanted"), [(3, range(3)), (200, range(200)), (399, range(0, 399, 2)),
                                               (1000, range(0, 1000, 5))])  # fmt: skip
def test_features_are_measured_on_200_images_at_most(
    count: int, wanted: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(self: RCNN, image: np.ndarray, boxes: np.ndarray) -> Features:
        asked.append(int(image[0, 0, 0]))
        return boxes_as_features(self, image, boxes)

    asked: list[int] = []
    monkeypatch.setattr(RCNN, "look", looked)
    images = np.tile(np.arange(count, dtype=np.float32)[:, None, None, None], (1, 3, 1, 1))
    nothing, proposals = truth([], []), np.array([[0.0, 0, 1, 1]])
    fit_svms(model_of(1), images, [nothing] * count, [proposals] * count, svm=Recorded(), progress=False)
    # Then every image is looked at twice: at its objects, and at what is far of them.
    assert asked == [*wanted, *range(count), *range(count)] and len(wanted) <= 200


def test_regressors_learn_from_pairs_that_overlap_by_more_than_06(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(self: RCNN, image: np.ndarray, boxes: np.ndarray) -> Features:
        asked.append(boxes)
        pool = np.random.default_rng(len(asked)).random((len(boxes), 512), np.float32)
        return Features(np.zeros((len(boxes), 64), np.float32), pool, np.zeros((len(boxes), 3), np.float32))

    asked: list[np.ndarray] = []
    monkeypatch.setattr(RCNN, "look", looked)
    truths = [truth(np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]]), np.array([0, 0])), truth(np.zeros((0, 4)), [])]
    proposals = [np.array([[0.0, 0, 10, 6], [0, 0, 10, 6.1], [20, 1, 30, 10]]), np.array([[0.0, 0, 5, 5]])]
    model = model_of(2)
    found = fit_regressors(model, np.zeros((2, 3, SIZE, SIZE), np.float32), truths, proposals, progress=False)
    (near,) = asked  # nothing of the second image; of the first not the pair at exactly 0.6, but the objects themselves
    assert near.tolist() == [[0, 0, 10, 6.1], [20, 1, 30, 10], [0, 0, 10, 10], [20, 0, 30, 10]]
    assert found[1] is None and found[0] is not None
    targets = encode_boxes(near, truths[0].boxes[[0, 1, 0, 1]])
    np.testing.assert_allclose(found[0].whitening.mean, targets.mean(0))
    np.testing.assert_allclose(model.regressors.mean.numpy(), [targets.mean(0), [0] * 4], rtol=1e-6)
    # lambda is 1000 for 9216 features: the solution's gradient is 0 for 1000 * 512 / 9216.
    pool = np.random.default_rng(1).random((4, 512), np.float32)
    scale = float(model.regressors.scale.numpy()[0])
    assert np.linalg.norm(pool * scale, axis=1).mean() == pytest.approx(20, rel=1e-5)
    design = np.column_stack([pool * np.float32(scale), np.ones(4)])
    white = (targets - targets.mean(0)) @ found[0].whitening.forward
    gradient = design.T @ (design @ found[0].weights - white) + 1000 * 512 / 9216 * found[0].weights
    assert np.abs(gradient).max() < 1e-4
    with pytest.raises(ValueError, match="no proposal overlaps an object by more than 0.6 in 1 images"):
        fit_regressors(model, np.zeros((1, 3, SIZE, SIZE), np.float32), truths[1:], proposals[1:], progress=False)


# ------------------------------------------------------------------------------------------------------------ together


def test_trained_stage_by_stage_it_finds_objects(capsys: pytest.CaptureFixture) -> None:
    images, truths, proposals = data(60)
    held, known, proposed = data(30, first=1000)
    model = model_of(2)
    train_rcnn(model, images, truths, proposals, items=(images, truths), pretrain_steps=10, steps=80)
    text = capsys.readouterr().out
    for part in ("pre-training on 120 single objects", "fine-tuning on", "2 SVMs:", "box regressors:"):
        assert part in text
    np.testing.assert_allclose(model.mean.numpy(), images.mean((0, 2, 3)), rtol=1e-4)
    assert not model.training

    def precision(**how: Any) -> float:
        found = [model.detect(image, boxes, **how) for image, boxes in zip(held, proposed, strict=True)]
        return evaluate_detections(found, known, ["lying", "standing"]).mean_all_point

    assert precision() > 0.8
    assert precision(scores="softmax") > 0.8
    model.svms.load([Plane(plane, 0.0, np.zeros(0), 0.0, 0.0) for plane in -model.svms.weight.numpy()], 1.0)
    assert precision() < 0.3  # the SVMs are what ranks


def test_the_same_seed_gives_the_same_detector() -> None:
    images, truths, proposals = data(8)
    items = data(32)[:2]  # one batch of objects
    first, again, other = (
        train_rcnn(
            model_of(2), images, truths, proposals, items=items, pretrain_steps=1, steps=2, seed=seed,
            progress=False,
        ).state_dict()
        for seed in (0, 0, 1)
    )  # fmt: skip
    for name, value in first.items():
        np.testing.assert_array_equal(value.numpy(), again[name].numpy(), err_msg=name)
    assert not np.array_equal(first["svms.weight"].numpy(), other["svms.weight"].numpy())


def test_errors() -> None:
    images, truths, proposals = data(2)
    model = model_of(2)
    with pytest.raises(ValueError, match="wanted as many images, truths and proposals, at least one, got 2, 2, 1"):
        train_rcnn(model, images, truths, proposals[:1], progress=False)
    for stage in (fine_tune, fit_svms, fit_regressors):
        with pytest.raises(ValueError, match="wanted as many images, truths and proposals, at least one, got 0, 0, 0"):
            stage(model, images[:0], [], [], progress=False)
    nothing = [truth(np.zeros((0, 4)), []), truth(np.zeros((0, 4)), [])]
    with pytest.raises(ValueError, match="among .* proposals there is none that shows objects"):
        fine_tune(model, images, nothing, proposals, progress=False)
    with pytest.raises(ValueError, match=r"RCNN: images must be floating \(C, H, W\) with C = 3, got float32 of shape"):
        fine_tune(model, images[:, :1], truths, proposals, progress=False)
