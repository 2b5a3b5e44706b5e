"""Lesson 06, the steps and the README: networks and tables are the library's, claims are those that were measured."""

from __future__ import annotations

import numpy as np
import pytest
from _claims import check_claim
from _exercises import LESSONS, load
from _steps import check_step, run_step

import tinyconv
from tinyconv import data, models
from tinyconv.cli.detect import open_detector
from tinyconv.cli.main import main
from tinyconv.data import Scenes
from tinyconv.detection.alternating import train_in_four_steps
from tinyconv.lesson import steps_of
from tinyconv.random import generator
from tinyconv.vision.anchors import anchor_boxes, faithful_anchors, label_anchors
from tinyconv.vision.detections import Detections, truth
from tinyconv.vision.targets import unpack_targets
from tinyconv.vision.voc_eval import evaluate_detections

LESSON = LESSONS / "06_rcnn"
STEPS = steps_of(LESSON)
CLAIMS = [
    "order", "speed", "recall", "target", "tasks", "SVM", "background", "SVD", "anchors", "four steps", "align",
]  # fmt: skip


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims.py", "lesson_06_claims")


@pytest.fixture(scope="module")
def steps(claims):
    return {n: claims._step(next(s.stem for s in STEPS if s.name.startswith(f"step{n}_"))) for n in (6, 7, 8, 9, 10)}


@pytest.fixture(scope="module")
def scenes06(claims):
    return claims._step("scenes06")


# ------------------------------------------------------------------------------------------------------------ anchors

NINE = """ -84  -40   99   55  -176  -88  191  103  -360 -184  375  199
           -56  -56   71   71  -120 -120  135  135  -248 -248  263  263
           -36  -80   51   95   -80 -168   95  183  -168 -344  183  359"""


def test_the_nine_anchors_are_the_papers(steps):
    wanted = np.array(NINE.split(), float).reshape(9, 4)
    np.testing.assert_array_equal(steps[6].paper_anchors(), wanted)
    np.testing.assert_array_equal(faithful_anchors(), wanted)


def test_the_labels_by_hand_are_the_librarys(steps, scenes06):
    source, anchors = scenes06.scenes("test", 20), steps[6].anchors
    for i in range(20):
        boxes = source.truth(i).boxes
        np.testing.assert_array_equal(
            steps[6].labels_by_hand(anchors, boxes, (64, 64)), label_anchors(anchors, boxes, (64, 64))[0]
        )


def test_the_trap_makes_every_anchor_inside_an_object(steps):
    tiny = np.array([[0.0, 0, 8, 8]])
    for guarded, wanted in ((True, 0), (False, 8151)):
        assert (steps[6].labels_by_hand(steps[6].every, tiny, (600, 1000), guarded) == 1).sum() == wanted


# -------------------------------------------------------------------------------------------------------- the network

COUNTS = {"zf": 59_278_363, "vgg16": 137_061_851}


@pytest.mark.parametrize("name", COUNTS)
def test_the_assembled_networks_have_the_librarys_parameters(steps, name):
    ours = steps[7].FasterRCNN(name, 20, faithful_anchors(), device="meta")
    theirs = models.faster_rcnn(20, backbone=name, device="meta")
    shapes = [[(n, p.shape) for n, p in sorted(model.named_parameters())] for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in ours.parameters()) == COUNTS[name]
    summaries = [tinyconv.summary(model, (3, 600, 1000)) for model in (ours, theirs)]
    assert summaries[0].total_macs == summaries[1].total_macs


@pytest.fixture
def twins(steps):
    """The step's small network and the library's, with the same weights, outputs that matter, and a batch of one."""
    tinyconv.manual_seed(3)
    theirs = models.faster_rcnn(10, scale="lesson").eval()
    for layer in (theirs.rpn_score, theirs.rpn_delta, theirs.bbox_pred):
        layer.weight.data[...] *= 20
    ours = steps[7].FasterRCNN("small", 10, anchor_boxes((12, 18, 26), (0.5, 1, 2)))
    ours.load_state_dict(theirs.state_dict())
    return ours.eval(), theirs


@pytest.mark.parametrize("size", [(64, 64), (48, 72)])
def test_it_computes_what_the_librarys_does(twins, size):
    ours, theirs = twins
    image = tinyconv.randn(1, 3, *size)
    with tinyconv.no_grad():
        outputs = theirs(image)
        mine = ours(image)
        for a, b in zip(mine, outputs, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        wanted, _ = theirs.proposals(outputs, [size])[0]
        found = ours.proposals(mine[1].numpy()[0], mine[2].numpy()[0], size)
        np.testing.assert_array_equal(found, wanted)
        assert len(found) > 5
        for a, b in zip(ours.classify(mine[0], found), theirs.classify(outputs.maps, [wanted]), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("i", [0, 3, 5])
def test_the_loss_by_hand_is_the_librarys(steps, twins, scenes06, i):
    ours, theirs = twins
    image, targets = scenes06.dataset("train", 6)[i]
    with tinyconv.no_grad():
        outputs = theirs(tinyconv.tensor(image[None]))
        wanted = theirs.regions_loss(outputs, unpack_targets(targets[None])).item()
    (target,) = unpack_targets(targets[None])
    scores, deltas = outputs.scores.numpy()[0], outputs.deltas.numpy()[0]
    found = steps[7].proposal_loss(ours, scores, deltas, target.boxes, (64, 64), generator(0, "anchors", 0, 0))
    assert found == pytest.approx(wanted, rel=1e-5)


# ---------------------------------------------------------------------------------------------------- the other steps


def test_all_detectors_see_the_same_scenes_and_only_two_need_boxes(steps, monkeypatch):
    seen = []

    def note(model, data, *, proposals, **how):
        seen.append((data[0][0], proposals, how))

    monkeypatch.setattr(steps[8], "evaluate_detector", note)
    boxes = [np.array([[0.0, 0, 20, 20]])] * 2
    for name in steps[8].BUILDERS:
        steps[8].judge(steps[8].build(name), 2, boxes, top=5)
    assert [proposals for _, proposals, _ in seen] == [boxes, boxes, None]
    np.testing.assert_allclose((seen[0][0] - 0.5) / 0.25, seen[1][0], atol=1e-6)
    np.testing.assert_array_equal(seen[1][0], seen[2][0])
    assert all(how == {"top": 5} for *_, how in seen)


@pytest.mark.parametrize("seed", [0, 2])
def test_pretraining_uses_digits_of_the_training_split(steps, monkeypatch, seed):
    """One digit each, on textures, and not the scenes that are learnt from later."""
    made = []
    monkeypatch.setattr(steps[8], "Scenes", lambda *args, **how: made.append(Scenes(*args, **how)) or made[-1])
    single = steps[8].singles(4, seed)
    assert all(len(single.truth(i).boxes) == 1 for i in range(4))
    (scenes,) = made
    assert (scenes.split, scenes.items, scenes.background) == ("train", ("mnist",), "textured")
    assert scenes.seed == 1000 + seed


def test_mistakes_by_hand(steps):
    there = truth(np.array([[0.0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]]), np.array([1, 2, 3]))
    boxes = [[0, 0, 10, 9], [0, 0, 10, 8], [20, 20, 30, 29], [50, 0, 60, 10], [40, 40, 50, 50]]
    boxes += [[20, 20, 30, 25], [20, 20, 30, 21.5], [20, 20, 30, 20.9]]  # an IoU of 0.5, 0.15, 0.09
    found = Detections(
        np.array(boxes, float), np.array([1, 1, 5, 1, 3, 2, 3, 2]), np.array([0.9] * 4 + [0.4] + [0.6] * 3)
    )
    assert steps[9].mistakes(found, there, 0.5) == {
        "right": 1, "other class": 1, "twice": 1, "badly placed": 2, "nothing there": 2, "missed": 2,
    }  # fmt: skip


def test_the_pooled_curve_of_one_class_is_that_class(steps):
    there = [truth(np.array([[0.0, 0, 10, 10]]), np.array([0]))] * 3
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    found = [Detections(boxes, np.array([0, 0]), np.array([0.9 - i / 10, 0.85])) for i in range(3)]
    recall, precision = steps[9].pooled(found, there, ["a"])
    curve = evaluate_detections(found, there, ["a"]).curves[0]
    np.testing.assert_allclose(recall, curve.recall)
    np.testing.assert_allclose(precision, curve.precision)


def test_four_steps_by_hand_end_with_the_librarys_weights(steps, scenes06):
    results = []
    for train in (
        lambda model: steps[10].four_steps(model, 4, 1, 2),
        lambda model: train_in_four_steps(
            model, scenes06.dataset("train", 4), epochs=(1, 1, 1, 1), seed=0, progress=False
        ),
    ):
        tinyconv.manual_seed(0)
        model = steps[8].build("faster_rcnn")
        train(model)
        results.append(model.state_dict())
    for name, value in results[0].items():
        np.testing.assert_array_equal(value.numpy(), results[1][name].numpy(), err_msg=name)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stem)
def test_a_step_says_what_it_needs_and_names_the_next(step):
    check_step(step)


def test_one_step_trains():
    assert [step.name for step in STEPS if step.name.endswith("_train.py")] == ["step8_train.py"]


@pytest.mark.slow
@pytest.mark.parametrize("script", STEPS, ids=lambda script: script.stem)
def test_a_step_runs(script, tmp_path):
    assert "next: " in run_step(script, tmp_path)


@pytest.mark.slow
def test_what_step_8_saves_finds_objects_in_a_picture(steps, scenes06, tmp_path, monkeypatch, capsys):
    """The checkpoints name the classes, and what makes a picture into what step 8 judged them on."""
    script = next(step for step in STEPS if step.stem == "step8_train")
    run_step(script, tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tinyconv-output" / "06" / "smoke"
    image = data.read_image(folder / "scene.png")
    (i,) = [i for i, scene in enumerate(scenes06.scenes("test", 4).images) if abs(scene - image).max() < 0.01]
    seen = {"rcnn": scenes06.scenes("test", 4).images[i]}  # R-CNN subtracts the training images' mean itself
    for name, file in steps[8].FILES.items():
        model, transform, classes = open_detector(folder / f"{file}.npz")
        assert "transform" in model.meta and (transform is None) == (name == "rcnn")
        assert classes == scenes06.scenes("test", 4).classes and len(classes) == 10
        prepared = image if transform is None else transform(image, None)
        wanted = seen.get(name, scenes06.dataset("test", 4)[i][0])
        np.testing.assert_allclose(prepared, wanted, atol=0.02, err_msg=name)
        weights = ["--weights", str(folder / f"{file}.npz")]
        assert main(["detect", str(folder / "scene.png"), *weights, "--least", "0"]) == 0
    assert capsys.readouterr().out.count("scene.png: ") == 3


# ---------------------------------------------------------------------------------------------------------- the README


@pytest.fixture(scope="module")
def readme():
    return (LESSON / "README.md").read_text("utf-8")


def cells(readme, first):
    """Return the cells of a table's row after its first one."""
    line = next(line for line in readme.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_the_readmes_networks_are_the_librarys(readme):
    """Parameters of each part, and billions of multiply-adds of an image of 600 x 1000 and 300 regions."""
    parts = {
        "convolutions": ("backbone",),
        "region proposal network": ("rpn",),
        "fc6, fc7": ("head",),
        "scores and boxes": ("cls", "bbox"),
    }
    summaries = [tinyconv.summary(models.faster_rcnn(20, backbone=b, device="meta"), (3, 600, 1000)) for b in COUNTS]
    total = np.zeros(2)
    for title, names in parts.items():
        rows = [[row for row in s.rows if row.name.startswith(names)] for s in summaries]
        params = [sum(row.params or 0 for row in part) for part in rows]
        macs = [sum(row.macs or 0 for row in part) or 300 * count for part, count in zip(rows, params, strict=True)]
        wanted = [f"{v:,}" for v in params] + [f"{v / 1e9:.1f}" for v in macs]
        assert cells(readme, title) == wanted
        total += macs
    assert cells(readme, "all") == [f"{s.total_params:,}" for s in summaries] + [f"{v / 1e9:.1f}" for v in total]


def test_the_readmes_anchors_are_the_papers(readme):
    for k, ratio in enumerate(("1/2", "1", "2")):
        boxes = [", ".join(f"{v:.0f}" for v in box) for box in faithful_anchors()[3 * k : 3 * k + 3]]
        assert cells(readme, f"ratio {ratio}") == boxes


# ---------------------------------------------------------------------------------------------------------- the claims


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_was_measured_and_the_readme_says_what_came_out(claims, name):
    check_claim(LESSON, claims, name)


def test_every_claim_is_checked(claims):
    assert list(claims.CLAIMS) == CLAIMS


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_can_be_measured(claims, name):
    """A few steps on a few scenes: the programs still run, and their verdicts read what they write."""
    measure, verdict = claims.CLAIMS[name]
    holds, text = verdict([measure(0, (16, 6))])
    assert holds in (True, False, None)
    assert "nan" not in text
