"""Training detectors: the recipe's schedule, resuming, precision in the log, four steps and what each may change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, data
from tinyconv.data import DetectionDataset, SceneDetection, Scenes
from tinyconv.detection import alternating
from tinyconv.detection.alternating import proposals_of, train_in_four_steps, with_proposals
from tinyconv.detection.evaluation import Precision, detect_all, evaluate_detector
from tinyconv.detection.search import search
from tinyconv.detection.training import recipe, train_detector
from tinyconv.models import FasterRCNN, fast_rcnn, faster_rcnn
from tinyconv.vision.detections import Detections
from tinyconv.vision.selective_search import selective_search
from tinyconv.vision.voc_eval import recall_and_mabo

NORMAL = data.Normalize(0.5, 0.25)


def scenes(n: int = 6, **options: Any) -> SceneDetection:
    return SceneDetection(Scenes(n, items=("mnist",), **options))


def small(**options: Any) -> FasterRCNN:
    tinyconv.manual_seed(0)
    return faster_rcnn(10, scale="lesson", width=0.25, **options)


def weights(model: Any) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


@pytest.mark.parametrize(("steps", "warm", "fall"), [(3000, 100, 2100), (200, 20, 140), (5, 1, 4)])
def test_the_rate_rises_and_falls(steps: int, warm: int, fall: int) -> None:
    p = Tensor(np.zeros(1, np.float32), requires_grad=True)
    optimizer, schedule = recipe([p], steps, 0.02)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        p.grad = Tensor(np.array([1000.0], np.float32))
        before = float(p.detach().numpy()[0])
        optimizer.step()
        schedule.step()
        if len(rates) == 1:  # the gradient's norm is limited to 10
            assert before - float(p.detach().numpy()[0]) == pytest.approx(10 * rates[0], rel=1e-4)
    assert rates[0] == pytest.approx(0.002) and rates[warm] == pytest.approx(0.02)
    assert rates[fall - 1] == pytest.approx(0.02 if fall > warm + 1 or steps > 5 else rates[fall - 1])
    assert rates[-1] == pytest.approx(0.002) and rates.index(pytest.approx(0.002), 1) == fall


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    source = scenes()
    dataset = DetectionDataset(source, NORMAL, mirror=True)
    whole, part = small(), small()
    train_detector(whole, dataset, epochs=2, seed=3, progress=False)

    class Stop:
        def on_step(self, state: Any) -> None:
            state.stop = state.step == 4  # in the second epoch

    for resume, callbacks in ((False, [Stop()]), (True, [])):
        tinyconv.manual_seed(9)
        train_detector(
            part, dataset, epochs=2, seed=3, progress=False, out=tmp_path, resume=resume, callbacks=callbacks
        )  # fmt: skip
    for name, value in weights(whole).items():
        np.testing.assert_array_equal(weights(part)[name], value, err_msg=name)


def test_precision_is_logged_and_the_checkpoint_is_of_use(tmp_path: Path) -> None:
    source = scenes(4)
    dataset = DetectionDataset(source, NORMAL)
    precision = Precision(dataset)
    model = small()
    train_detector(model, dataset, epochs=1, test=dataset, callbacks=[precision], out=tmp_path, progress=False)
    row = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[-1])
    assert row["map"] == round(precision.evaluation.mean_eleven_point, 4)
    again = tinyconv.load(tmp_path / "checkpoint.npz")
    assert again.meta["classes"] == source.classes and again.meta["transform"]["kind"] == "Normalize"
    image = NORMAL(source.read(0)[0])
    for a, b in zip(model.detect(image, least=0.0), again.detect(image, least=0.0), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_test_images_the_checkpoint_has_the_transform_too(tmp_path: Path) -> None:
    train_detector(small(), DetectionDataset(scenes(2), NORMAL), epochs=1, out=tmp_path, progress=False)
    assert tinyconv.load(tmp_path / "checkpoint.npz").meta["transform"] == NORMAL.describe()


def test_what_a_detector_cannot_learn_from() -> None:
    dataset, fast = DetectionDataset(scenes(2), NORMAL), fast_rcnn(10, scale="lesson", width=0.25)
    for model, images, kind, message in (
        (tinyconv.models.rcnn(10, scale="lesson"), dataset, TypeError, "must be a fast_rcnn or faster_rcnn, got RCNN"),
        (small(), Scenes(2), TypeError, r"must be a DetectionDataset, got Scenes.*DetectionDataset\(scenes.detection"),
        (faster_rcnn(3, scale="lesson"), dataset, ValueError, "has 10 classes, the model 3; build it with"),
        (fast, dataset, ValueError, "Fast R-CNN learns from proposals, and the dataset has none"),
    ):
        with pytest.raises(kind, match=f"train_detector: .*{message}"):
            train_detector(model, images, epochs=1)  # type: ignore[arg-type]


class Perfect:
    """A detector that knows the truth, in the pixels it is shown."""

    def __init__(self, source: SceneDetection, scale: float) -> None:
        self.source, self.scale, self.number, self.given = source, scale, 0, []
        self.training = True

    def modules(self) -> list[Any]:
        return [self]

    def parameters(self) -> list[Any]:
        return []

    def eval(self) -> None:
        self.training = False

    def detect(self, image: np.ndarray, proposals: np.ndarray | None, **how: Any) -> Detections:
        self.given.append(proposals)
        assert image.shape == (3, round(64 * self.scale), round(64 * self.scale)) and how == {"iou": 0.4}
        true = self.source.truth(self.number)
        self.number += 1
        return Detections(true.boxes * self.scale, true.labels, np.ones(len(true.labels)))


def test_boxes_come_back_in_the_sources_pixels() -> None:
    source = scenes(3)
    dataset = DetectionDataset(source, data.Resize(96))
    proposals = [np.array([[2.0, 4, 10, 20]])] * 3
    model = Perfect(source, 1.5)
    found, seconds = detect_all(model, dataset, proposals=proposals, iou=0.4)
    for one, true in zip(found, dataset.truths(), strict=True):
        np.testing.assert_allclose(one.boxes, true.boxes, rtol=1e-6)
    assert model.given[0].tolist() == [[3, 6, 15, 30]] and model.training
    assert seconds.shape == (3,) and (seconds > 0).all()
    assert evaluate_detector(Perfect(source, 1.5), dataset, iou=0.4).mean_eleven_point == pytest.approx(1)


def test_search_finds_what_one_image_after_the_other_finds() -> None:
    source, seen = scenes(5), []
    found = search(source, lambda: seen.append(1), k=50, min_side=4, top=20)
    assert len(found) == len(seen) == 5
    for i, boxes in enumerate(found):
        np.testing.assert_array_equal(boxes, selective_search(source.read(i)[0], k=50, min_side=4)[:20])


def test_each_of_the_four_steps_trains_what_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    source = scenes()
    dataset = DetectionDataset(source, NORMAL)
    model = small()
    model.sampling = model.sampling._replace(rois=9)
    seen: list[tuple[Any, dict[str, np.ndarray], dict[str, np.ndarray], bool]] = []

    def watched(trained: Any, images: DetectionDataset, **how: Any) -> Any:
        before = weights(trained)
        result = train_detector(trained, images, **how)
        seen.append((trained, before, weights(trained), len(images[0][1]) > 1 + len(source.truth(0).labels)))
        return result

    monkeypatch.setattr(alternating, "train_detector", watched)
    assert train_in_four_steps(model, dataset, epochs=(1, 1, 1, 1), progress=False) is model
    changed = []
    for _, before, after, proposed in seen:
        changed.append({name.split(".")[0] for name in before if (before[name] != after[name]).any()})
        assert proposed == (len(changed) in (2, 4))  # the detector is given proposals
    regions, detector = {"rpn_conv", "rpn_score", "rpn_delta"}, {"head", "cls_score", "bbox_pred"}
    assert changed == [{"backbone"} | regions, {"backbone"} | detector, regions, detector]
    for name in regions:  # step 3 begins with new weights
        assert np.abs(seen[2][1][f"{name}.weight"] - seen[0][2][f"{name}.weight"]).max() > 0.01
    assert seen[1][0].sampling == model.sampling
    assert seen[1][0] is seen[3][0] is not model and seen[0][0] is seen[2][0] is model
    # One set of convolutions in the end: those of step 2. And the head of step 4.
    for name, value in weights(model).items():
        other = seen[1][2] if name.startswith("backbone") else seen[3][2]
        if name in other:
            np.testing.assert_array_equal(value, other[name], err_msg=name)
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="train_in_four_steps: epochs must be four numbers"):
        train_in_four_steps(model, dataset, epochs=(1, 1))  # type: ignore[arg-type]


def test_step_two_may_begin_with_a_classifier() -> None:
    source = scenes(2)
    classifier = fast_rcnn(10, scale="lesson", width=0.25).backbone  # has conv1 to conv3 by name
    model = small()
    started: dict[str, np.ndarray] = {}

    def note(detector: Any, images: DetectionDataset, **how: Any) -> Any:
        if detector is not model and not started:
            started.update(weights(detector))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alternating, "train_detector", note)
        train_in_four_steps(model, DetectionDataset(source, NORMAL), epochs=(1, 1, 1, 1), classifier=classifier)
    np.testing.assert_array_equal(started["backbone.conv2.weight"], classifier.conv2.weight.detach().numpy())


def test_precision_is_measured_as_often_as_wanted() -> None:
    source = scenes(2)
    model, rows = small(), []
    precision = Precision(DetectionDataset(source, NORMAL), every=2)
    train_detector(
        model, DetectionDataset(source, NORMAL), epochs=3, progress=False,
        callbacks=[precision, lambda state: rows.append("map" in state.row)],
    )  # fmt: skip
    assert rows == [False, True, False]


def test_proposals_of_a_whole_set() -> None:
    source = scenes(3)
    dataset = DetectionDataset(source, data.Compose([data.Resize(96), NORMAL]), mirror=True)
    found = proposals_of(small(), dataset, 7)
    assert [boxes.shape for boxes in found] == [(7, 4)] * 3
    assert max(boxes.max() for boxes in found) <= 64  # in the source's pixels
    # Of the pictures as they are, however the data set mirrors them.
    straight = proposals_of(small(), DetectionDataset(source, dataset.transform), 7)
    for boxes, others in zip(found, straight, strict=True):
        np.testing.assert_array_equal(boxes, others)
    other = with_proposals(dataset, found)
    assert other.mirror and len(other[0][1]) == 1 + len(source.truth(0).labels) + 7


@pytest.mark.slow
def test_small_detectors_learn_on_few_scenes() -> None:
    """200 scenes, 4 epochs: far from good, but no detector that guesses comes near (half a minute)."""
    train = scenes(200, objects=1, background="plain")
    test = DetectionDataset(scenes(60, objects=1, background="plain", split="test"), NORMAL)
    tinyconv.manual_seed(0)
    model = faster_rcnn(10, scale="lesson")
    train_detector(model, DetectionDataset(train, NORMAL), epochs=8, progress=False)
    assert evaluate_detector(model, test).mean_eleven_point > 0.3
    recall, _ = recall_and_mabo(proposals_of(model, test, 20), [t.boxes for t in test.truths()])
    assert recall > 0.9
    tinyconv.manual_seed(0)
    fast, boxes = fast_rcnn(10, scale="lesson"), search(train, **fast_rcnn(10, scale="lesson").search)
    train_detector(fast, DetectionDataset(train, NORMAL, proposals=boxes), epochs=8, progress=False)
    assert evaluate_detector(fast, test).mean_eleven_point > 0.3
