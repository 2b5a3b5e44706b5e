"""Fast R-CNN: counts at the paper's scale, its loss by hand, its use, truncated SVD, weights of a classifier."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, gradcheck, models, nn
from tinyconv.models.fast_rcnn import DELTA_STD, FastRCNN, Learnt, Sampling, fast_rcnn, multitask_loss
from tinyconv.models.svd import compress
from tinyconv.vision.boxes import decode_boxes, encode_boxes
from tinyconv.vision.targets import pack_targets

BOXES = np.array([[4.0, 6, 24, 30], [30, 30, 50, 58]])
PROPOSALS = np.array([[5.0, 6, 24, 28], [31, 28, 52, 60], [0, 0, 20, 12], [40, 2, 60, 20]])


def small(dtype: type = np.float32, **options: object) -> FastRCNN:
    tinyconv.manual_seed(0)
    return fast_rcnn(3, scale="lesson", dtype=dtype, **options)


def targets(boxes: np.ndarray = BOXES, proposals: np.ndarray = PROPOSALS) -> Tensor:
    return Tensor(pack_targets((64, 64), boxes, np.arange(len(boxes)), proposals)[None])


def images(n: int = 1, dtype: type = np.float32) -> Tensor:
    return Tensor(np.random.default_rng(0).standard_normal((n, 3, 64, 64)).astype(dtype))


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_the_papers_networks() -> None:
    vgg16 = fast_rcnn(device="meta")
    # Convolutions of VGG-16; fc6 and fc7 of its classifier; K + 1 scores, 4 K box outputs.
    heads = 4096 * 21 + 21 + 4096 * 80 + 80
    assert count(vgg16) == 14_714_688 + 102_764_544 + 16_781_312 + heads
    outputs = vgg16(tinyconv.zeros(1, 3, 600, 800, device="meta"))
    assert outputs.shape == (1, 512, 37, 50)  # 600, 300, 150, 75, 37
    assert (vgg16.stride, vgg16.roi) == (16, 7)
    zf = fast_rcnn(backbone="zf", device="meta")
    assert zf(tinyconv.zeros(1, 3, 608, 800, device="meta")).shape == (1, 256, 38, 50)
    assert (zf.stride, zf.roi, zf.head.fc6.in_features) == (16, 6, 9216)
    assert vgg16.sampling == Sampling(64, 0.25, (0.1, 0.5))  # 2 images make the 128 proposals of a step


def test_truncated_svd_has_the_papers_parameters() -> None:
    """Fc6 with 1024 singular values, fc7 with 256 (section 2.2 of the specification), without biases."""
    head = fast_rcnn(svd=(1024, 256), device="meta").head
    weights = {name: sum(p.numel() for p in head.get_submodule(name).parameters() if p.ndim == 2) for name in
               ("fc6", "fc7")}  # fmt: skip
    assert weights == {"fc6": 29_884_416, "fc7": 2_097_152}
    assert 25088 * 4096 == 102_760_448 and 4096 * 4096 == 16_777_216
    assert head.fc6.first.bias is None and head.fc6.second.bias is not None


def test_rois_over_the_map_see_what_lies_under_the_box() -> None:
    """With a map that is the image itself, pooling a box to 5x5 gives the maxima of its cells."""
    model = small()
    x = np.arange(64 * 64, dtype=np.float32).reshape(1, 1, 64, 64)
    model.stride = 1
    seen: list[np.ndarray] = []
    model.head = nn.Sequential(nn.Flatten())
    model.cls_score = model.bbox_pred = nn.Identity()
    scores, _ = model.classify(Tensor(x), [np.array([[10.0, 20, 20, 30]])])
    seen = scores.numpy().reshape(5, 5)
    rows, columns = np.arange(20, 30).reshape(5, 2).max(1), np.arange(10, 20).reshape(5, 2).max(1)
    np.testing.assert_array_equal(seen, 64 * rows[:, None] + columns)


def test_features_are_what_both_outputs_share() -> None:
    """Of two images' boxes, one image after the other; the outputs are two linear layers on them."""
    model = small(np.float64).eval()
    boxes = [BOXES, PROPOSALS[:1]]
    with tinyconv.no_grad():
        maps = model(images(2, np.float64))
        shared, alone = model.features(maps, boxes).numpy(), model.features(maps[1:], boxes[1:]).numpy()
        outputs = model.classify(maps, boxes)
    assert shared.shape == (3, model.cls_score.in_features) and shared.min() == 0 < shared.max()
    np.testing.assert_allclose(shared[2:], alone, atol=1e-12)
    for output, layer in zip(outputs, (model.cls_score, model.bbox_pred), strict=True):
        by_hand = shared @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        np.testing.assert_allclose(output.numpy(), by_hand, atol=1e-12)


def test_the_loss_by_hand() -> None:
    """Two proposals of K = 2 classes: class 1 with a box, and background."""
    scores = Tensor(np.array([[0.0, 1, 0], [2, 0, 0]]))
    deltas = Tensor(np.array([[9.0, 9, 9, 9, 0.5, 0, 2, 0], [7, 7, 7, 7, 7, 7, 7, 7]]))
    learnt = Learnt(scores, deltas, np.array([2, 0]), np.array([[0.2, 0, -1, 0.0], [0, 0, 0, 0]]))
    first = math.log(2 + math.e)  # class 2 has score 0
    second = math.log(math.e**2 + 2) - 2
    boxes = 0.5 * 0.3**2 + (3 - 0.5)  # of class 2's four outputs, 0.3 and 3 off; the mean over both proposals
    assert float(multitask_loss(learnt).item()) == pytest.approx((first + second) / 2 + boxes / 2)
    only = multitask_loss(learnt._replace(classes=np.array([0, 0])))
    assert float(only.item()) == pytest.approx((math.log(2 + math.e) + second) / 2)


def test_targets_of_sampled_proposals() -> None:
    model = small().eval()
    outputs = model(images())
    (image,) = tinyconv.vision.targets.unpack_targets(targets().numpy())
    learnt = model.learn(outputs, [image], [image.proposals])
    assert learnt.scores.shape[1:] == (4,) and learnt.deltas.shape[1:] == (12,)
    # The true boxes are candidates too, and have nothing to move; each object is seen twice.
    assert sorted(learnt.classes[learnt.classes > 0].tolist()) == [1, 1, 2, 2]
    moved = learnt.wanted * np.array(DELTA_STD)
    still = (moved == 0).all(1)
    assert still[learnt.classes > 0].sum() == 2 and still[learnt.classes == 0].all()
    wanted = encode_boxes(PROPOSALS[:2], BOXES)
    np.testing.assert_allclose(sorted(moved[~still].tolist()), sorted(wanted.tolist()), rtol=1e-5)


def test_the_gradient_of_the_whole_detector() -> None:
    model, x = small(np.float64, pooling="align").eval(), images(dtype=np.float64)

    def loss(weight: Tensor, score: Tensor) -> Tensor:
        model.backbone.conv3._parameters["weight"], model.cls_score._parameters["weight"] = weight, score
        return model.loss(model(x), targets())

    given = [p.detach().numpy().copy() for p in (model.backbone.conv3.weight, model.cls_score.weight)]
    gradcheck(loss, given, rtol=1e-4)


def test_no_proposals_no_objects() -> None:
    model = small()
    none = np.zeros((0, 4))
    outputs = model(images())
    assert math.isfinite(float(model.loss(outputs, targets(none)).item()))  # all background
    assert math.isfinite(float(model.loss(outputs, targets(proposals=none)).item()))  # the true boxes alone
    with pytest.raises(ValueError, match="FastRCNN: a batch must have proposals or objects to learn from, got none"):
        model.loss(outputs, targets(none, none))
    found = model.detect(images().numpy()[0], none)
    assert (found.boxes.shape, found.labels.shape, found.scores.shape) == ((0, 4), (0,), (0,))
    for wrong, message in (
        (np.zeros((4, 5)), r"FastRCNN.detect: boxes must be \(\.\.\., 4\)"),
        (np.array([[9.0, 0, 5, 5]]), "FastRCNN.detect: proposals must be finite"),
        (np.array([[np.nan, 0, 5, 5]]), "FastRCNN.detect: proposals must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            model.detect(images().numpy()[0], wrong)
    with pytest.raises(ValueError, match="FastRCNN.detect: top must be at least 1, got -1"):
        model.detect(images().numpy()[0], none, top=-1)
    flat = np.array([[5.0, 5, 5, 9], [7, 7, 7, 7]])  # without area
    assert np.isfinite(model.detect(images().numpy()[0], flat, least=0).boxes).all()
    with pytest.raises(ValueError, match=r"FastRCNN.detect: wanted one image \(C, H, W\), got shape \(1, 3, 64, 64\)"):
        model.detect(images().numpy(), none)


def test_detections_are_sorted_inside_the_image_and_suppressed() -> None:
    model = small()
    model.train()
    found = model.detect(images().numpy()[0], np.repeat(PROPOSALS, 3, 0), least=0.0, top=2)
    assert model.training  # as it was
    assert (np.diff(found.scores) <= 0).all() and (np.bincount(found.labels) <= 2).all()
    assert found.boxes.min() >= 0 and found.boxes.max() <= 64
    assert len(model.detect(images().numpy()[0], PROPOSALS, least=0.9)) == 3


def test_a_box_moves_by_the_output_times_the_deviation() -> None:
    model = small()
    for layer in (model.cls_score, model.bbox_pred):
        layer.weight.data[...] = 0
    model.cls_score.bias.data[...] = [0, 0, 5, 0]  # class 1, whatever it sees
    model.bbox_pred.bias.data[...] = [9, 9, 9, 9, 1, -0.5, 0.5, -1, 9, 9, 9, 9]
    found = model.detect(images().numpy()[0], PROPOSALS[:1], least=0.5)
    assert found.labels.tolist() == [1]
    wanted = decode_boxes(PROPOSALS[:1], np.array([[0.1, -0.05, 0.1, -0.2]]))
    np.testing.assert_allclose(found.boxes, wanted, rtol=1e-5)


def test_each_part_keeps_its_mode() -> None:
    model = small().train()
    model.head.eval()
    model.detect(images().numpy()[0], PROPOSALS)
    assert model.training and model.backbone.training and not model.head.training


def test_training_draws_by_the_step_and_evaluation_always_the_same() -> None:
    def sample(step: int) -> list[float]:
        with tinyconv.random.training_step(step, [5]):
            return [g.random() for g in model._generators("rois", 1)]

    model = small()
    assert sample(1) == sample(1) != sample(2)
    model.eval()
    assert sample(1) == sample(2)


def test_compressing_keeps_what_was_set() -> None:
    model = small().eval()
    model.head.fc6.bias.data[...] = np.arange(128)
    model.sampling, model.search = Sampling(7, 0.5, (0.0, 0.5)), {"k": 9}
    model.freeze("conv2")
    twin = compress(model, (9,))
    np.testing.assert_array_equal(twin.head.fc6.second.bias.detach().numpy(), np.arange(128))
    assert (twin.sampling, twin.search, twin.training) == (model.sampling, {"k": 9}, False)
    assert not twin.backbone.conv2.weight.requires_grad and twin.backbone.conv3.weight.requires_grad
    with pytest.raises(ValueError, match="compress: wanted a fast_rcnn or faster_rcnn, got rcnn"):
        compress(models.rcnn(2, scale="lesson"), (9,))  # type: ignore[arg-type]


def test_compressing_with_all_singular_values_changes_nothing() -> None:
    model = small(np.float64).eval()
    full = min(model.head.fc6.weight.shape)
    pooled = Tensor(np.random.default_rng(1).standard_normal((6, 32, 5, 5)))
    wanted = model.head(pooled).detach().numpy()
    np.testing.assert_allclose(compress(model, (full,)).head(pooled).detach().numpy(), wanted, atol=1e-10)
    weight = model.head.fc6.weight.detach().numpy()
    few = compress(model, (9,))
    product = few.head.fc6.second.weight.detach().numpy() @ few.head.fc6.first.weight.detach().numpy()
    # Eckart and Young: no matrix of rank 9 is nearer; its distance is what the other singular values say.
    lost = np.linalg.svd(weight, compute_uv=False)[9:]
    assert np.linalg.norm(weight - product) == pytest.approx(np.sqrt((lost**2).sum()), rel=1e-9)
    assert np.linalg.matrix_rank(product) == 9
    with pytest.raises(ValueError, match="compress: wanted a detector with whole layers"):
        compress(few, (5,))
    for ranks, message in (
        ((0,), "a rank must lie in 1..128"),
        ((4, 4), "svd must be 1 numbers"),
        (32, "svd must be 1 numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            compress(model, ranks)


def test_a_checkpoint_holds_the_detector(tmp_path: Path) -> None:
    model = compress(small().eval(), (7,))
    tinyconv.save(tmp_path / "model.npz", model)
    again = tinyconv.load(tmp_path / "model.npz")
    x = images().numpy()[0]
    for a, b in zip(model.detect(x, PROPOSALS), again.detect(x, PROPOSALS), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.search == model.search


def test_weights_of_a_classifier() -> None:
    classifier = models.vgg(10, scale="paper", width=1 / 32, image_size=32)
    model = fast_rcnn(4, width=1 / 32)
    with pytest.raises(ValueError, match="FastRCNN.init_from: wanted a classifier with.* fc6 have other shapes"):
        model.init_from(classifier)
    whole = models.vgg(10, scale="paper", width=1 / 32)
    copied = model.init_from(whole)
    assert copied[:2] == ["conv1_1", "conv1_2"] and copied[-2:] == ["fc6", "fc7"] and len(copied) == 15
    own, given = (layer.weight.detach().numpy() for layer in (model.backbone.conv5_3, whole.conv5_3))
    np.testing.assert_array_equal(own, given)
    with pytest.raises(ValueError, match="that has none of them"):
        model.init_from(nn.Sequential(nn.ReLU()))
    assert model.freeze("conv2_2") == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]  # section 4.5
    assert not model.backbone.conv2_2.weight.requires_grad and model.backbone.conv3_1.weight.requires_grad


def test_what_the_builder_refuses() -> None:
    for arguments, message in (
        ({"backbone": "alexnet"}, "fast_rcnn: backbone at scale='paper' must be"),
        ({"backbone": "vgg16", "scale": "lesson"}, "must be"),
        ({"pooling": "mean"}, "fast_rcnn: pooling must be"),
        ({"scale": "large"}, "fast_rcnn: scale must be"),
        ({"search": "everywhere"}, "fast_rcnn: search must be"),
        ({"num_classes": 2.5}, "fast_rcnn: num_classes must be an int of at least 1, got 2.5"),
    ):
        with pytest.raises(ValueError, match=message):
            fast_rcnn(device="meta", **arguments)
