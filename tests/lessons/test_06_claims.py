"""Lesson 06, claims.py: each claim trains and measures what it says. Here nothing is trained, only looked at."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from _exercises import LESSONS, load

import tinyconv
from tinyconv import models
from tinyconv.data.detection import collate
from tinyconv.nn import functional as F
from tinyconv.vision.targets import unpack_targets

SEED, SIZE = 3, (8, 6)  # so many scenes to train and to test on
NEAR, ALL = (0.1, 0.5), (0.0, 0.5)


@pytest.fixture(scope="module")
def claims():
    return load(LESSONS / "06_rcnn" / "claims.py", "lesson_06_claims_measured")


@pytest.fixture
def step8(claims, monkeypatch):
    """Step 8, whose ``learn`` does nothing but note what it was handed; no boxes are searched for."""
    step, trained = claims._step("step8_train"), claims._trained
    step.seen = []
    monkeypatch.setattr(step, "learn", lambda model, n, boxes, **how: step.seen.append((n, boxes, how)))
    monkeypatch.setattr(claims, "_boxes", lambda split, n, seed: f"boxes of {n} {split} scenes, seed {seed}")
    trained.cache_clear()
    yield step
    trained.cache_clear()


# ------------------------------------------------------------------------------------------------- what is trained


@pytest.mark.parametrize(
    ("kind", "pooling", "background", "anchors"),
    [
        ("fast_rcnn", "pool", NEAR, None),
        ("fast_rcnn, class loss", "pool", NEAR, None),
        ("fast_rcnn, all background", "pool", ALL, None),
        ("fast_rcnn, align", "align", NEAR, None),
        ("faster_rcnn", "pool", ALL, 9),
        ("faster_rcnn, one anchor", "pool", ALL, 1),
        ("faster_rcnn, align", "align", ALL, 9),
    ],
)
def test_a_kind_has_its_one_change_and_no_other(claims, step8, kind, pooling, background, anchors):
    model, _ = claims._trained(kind, SEED, SIZE)
    assert (model.pooling, model.sampling.background) == (pooling, background)
    assert (model.sampling.rois, model.sampling.share) == (32, 0.25)
    assert len(getattr(model, "anchors", ())) == (anchors or 0)
    if anchors == 1:
        np.testing.assert_array_equal(model.anchors, [[-9, -9, 9, 9]])
    ((n, boxes, how),) = step8.seen
    assert (n, boxes) == (8, "boxes of 8 train scenes, seed 3" if anchors is None else None)
    assert (how.pop("loss", None) is not None) == (kind == "fast_rcnn, class loss")
    assert how == {"short": True, "seed": SEED, "progress": False}
    assert not model.training


def test_the_seed_gives_the_weights(claims, step8):
    tinyconv.manual_seed(SEED)
    wanted = step8.build("fast_rcnn")
    tinyconv.manual_seed(0)
    found, _ = claims._trained("fast_rcnn", SEED, SIZE)
    np.testing.assert_array_equal(found.cls_score.weight.data, wanted.cls_score.weight.data)


@pytest.mark.parametrize(("n", "short", "epochs"), [(8, True, (1,) * 4), (1000, False, (4,) * 4)])
def test_a_whole_training_is_not_short(claims, step8, monkeypatch, n, short, epochs):
    """In four steps, 1,000 scenes in batches of two: 4 epochs are 2,000 steps each."""
    seen = []
    monkeypatch.setattr(claims, "train_in_four_steps", lambda model, data, **how: seen.append((data, how)))
    monkeypatch.setattr(claims._step("scenes06"), "dataset", lambda split, n, seed: (split, n, seed))
    claims._trained("faster_rcnn, four steps", SEED, (n, 6))
    assert seen == [(("train", n, SEED), {"epochs": epochs, "seed": SEED, "progress": False})]
    assert step8.seen == []
    claims._trained("faster_rcnn", SEED, (n, 6))
    assert step8.seen[0][2]["short"] == short


def test_the_class_loss_is_the_first_term_alone(claims, step8):
    model, _ = claims._trained("fast_rcnn, class loss", SEED, SIZE)
    data = claims._step("scenes06").dataset("train", 2, [np.array([[2.0, 2, 22, 22], [30, 30, 60, 60]])] * 2)
    images, targets = collate([data[0], data[1]])
    maps, targets = model(tinyconv.tensor(images)), tinyconv.tensor(targets)
    loss = step8.seen[0][2]["loss"](maps, targets)
    loss.backward()
    given = unpack_targets(targets.numpy())
    learnt = model.learn(maps, given, [image.proposals for image in given])
    assert (learnt.classes > 0).any()
    assert loss.item() == pytest.approx(F.cross_entropy(learnt.scores, tinyconv.tensor(learnt.classes)).item())
    assert all(p.grad is None or not p.grad.numpy().any() for p in model.bbox_pred.parameters())
    assert model.cls_score.weight.grad.numpy().any()


def test_still_moves_no_box_and_leaves_the_model_as_it_was(claims):
    model, boxes = models.fast_rcnn(10, scale="lesson").eval(), [np.array([[2.0, 2, 22, 22]])]
    model.bbox_pred.bias.data[...] = 1
    with tinyconv.no_grad():
        maps = model(tinyconv.randn(1, 3, 64, 64))
        scores, deltas = claims._still(model).classify(maps, boxes)
        before, moves = model.classify(maps, boxes)
    assert not deltas.numpy().any()
    np.testing.assert_array_equal(scores.numpy(), before.numpy())
    assert moves.numpy().all()


# ------------------------------------------------------------------------------------------------- what is measured


@pytest.fixture
def judged(claims, step8, monkeypatch):
    """A precision that says of which model it is, and how it was measured; trainings take as long as their name."""

    def judge(model, n, boxes, seed, **how):
        assert (n, boxes, seed) == (6, "boxes of 6 test scenes, seed 3", SEED)
        return SimpleNamespace(mean_eleven_point=("11", model, how), mean_all_point=("all", model, how))

    monkeypatch.setattr(step8, "judge", judge)
    monkeypatch.setattr(claims, "_trained", lambda kind, seed, size: (kind, len(kind)))
    monkeypatch.setattr(claims, "_still", lambda model: f"{model}, still")
    return lambda model, **how: {"11-point": ("11", model, how), "all-point": ("all", model, how)}


MEASURED_APART = ("speed", "recall", "SVD")


def test_each_claim_judges_its_kinds(claims, judged):
    fast, faster = "fast_rcnn", "faster_rcnn"
    measured = {name: claims.CLAIMS[name][0](SEED, SIZE) for name in claims.CLAIMS if name not in MEASURED_APART}
    assert measured == {
        "order": {name: judged(name) for name in ("rcnn", fast, faster)},
        "target": {"seconds": 11, **judged(faster)},
        "tasks": {
            "class": judged(f"{fast}, class loss, still"), "still": judged(f"{fast}, still"), "both": judged(fast),
        },
        "SVM": {
            "svm": judged("rcnn"), "softmax": judged("rcnn", scores="softmax"), "still": judged("rcnn", regress=False),
        },
        "background": {"near": judged(fast), "all": judged(f"{fast}, all background")},
        "anchors": {"nine": judged(faster), "one": judged(f"{faster}, one anchor")},
        "four steps": {
            "joint": {"seconds": 11, **judged(faster)}, "four": {"seconds": 23, **judged(f"{faster}, four steps")},
        },
        "align": {kind: judged(kind) for kind in (fast, f"{fast}, align", faster, f"{faster}, align")},
    }  # fmt: skip


def test_network_and_whole_are_not_exchanged(claims, step8, judged, monkeypatch):
    seen = []
    times = {"rcnn": (0.25, 0.5), "fast_rcnn": (0.0625, 0.125), "faster_rcnn": (0.5, 0.75)}
    monkeypatch.setattr(step8, "seconds", lambda *given: seen.append(given) or times)
    assert claims.measure_speed(SEED, SIZE) == {
        "rcnn": {"network": 250, "whole": 500},
        "fast_rcnn": {"network": 62.5, "whole": 125},
        "faster_rcnn": {"network": 500, "whole": 750},
    }
    claims.measure_speed(SEED, (8, 200))
    assert [given[0] for given in seen] == [{name: name for name in times}] * 2
    assert [given[1:] for given in seen] == [
        (5, "boxes of 6 test scenes, seed 3", SEED), (15, "boxes of 200 test scenes, seed 3", SEED),
    ]  # fmt: skip


def test_the_networks_recall_is_not_the_searchs(claims, judged, monkeypatch):
    """The search finds all objects, but behind ten other boxes; the network none."""
    truths = claims._step("scenes06").dataset("test", 6, seed=SEED).truths()
    far, asked = np.tile([0.0, 0, 1, 1], (50, 1)), []

    def none(model, data, count):
        asked.append((model, len(data), count))
        return [far] * len(data)

    monkeypatch.setattr(claims, "proposals_of", none)
    monkeypatch.setattr(
        claims, "_boxes", lambda split, n, seed: [np.concatenate([far[:10], truth.boxes]) for truth in truths]
    )
    assert claims.measure_recall(SEED, SIZE) == {
        "network": {"5": 0, "10": 0, "20": 0, "50": 0},
        "search": {"5": 0, "10": 0, "20": 1, "50": 1},
    }
    assert asked == [("faster_rcnn", 6, 50)]


def test_a_box_that_covers_half_of_an_object_counts_for_recall(claims, judged, monkeypatch):
    """At an IoU of 0.5: the upper 55 % of each object do, the upper 45 % do not."""
    truths = [truth.boxes for truth in claims._step("scenes06").dataset("test", 6, seed=SEED).truths()]

    def upper(share):
        return [np.concatenate([b[:, :3], b[:, 1:2] + share * (b[:, 3:] - b[:, 1:2])], axis=1) for b in truths]

    monkeypatch.setattr(claims, "proposals_of", lambda *_: upper(0.55))
    monkeypatch.setattr(claims, "_boxes", lambda *_: upper(0.45))
    found = claims.measure_recall(SEED, SIZE)
    assert (found["network"]["20"], found["search"]["20"]) == (1, 0)


def test_32_of_fc6s_128_singular_values(claims, step8, monkeypatch):
    """128 x 800 + 128 parameters; 32 x (128 + 800) + 128. The first row is the whole model's."""
    model = models.fast_rcnn(10, scale="lesson")
    monkeypatch.setattr(claims, "_trained", lambda *_: (model, 1.0))
    count = lambda model, *_: sum(p.numel() for p in model.head.fc6.parameters())  # noqa: E731
    monkeypatch.setattr(
        step8, "judge", lambda *given: SimpleNamespace(mean_eleven_point=count(*given), mean_all_point=0)
    )
    assert claims.measure_svd(SEED, SIZE) == {
        "whole": {"parameters": 102_528, "11-point": 102_528, "all-point": 0},
        "rank 32": {"parameters": 29_824, "11-point": 29_824, "all-point": 0},
    }


# ------------------------------------------------------------------------------------------------------ the verdicts


def points(**each):
    """Return a run: (11-point, all-point) of each; 9.0 stands for a metric that must not matter."""
    return {name: {"11-point": a, "all-point": b, "seconds": 1, "parameters": 1} for name, (a, b) in each.items()}


def times(**each):
    """Return a run: milliseconds of the network, and of all, of each."""
    return {name: {"network": a, "whole": b} for name, (a, b) in each.items()}


@pytest.mark.parametrize(
    ("name", "run", "holds"),
    [
        ("order", points(rcnn=(0.9, 9), fast_rcnn=(0.871, 0), faster_rcnn=(0.842, 0)), True),
        ("order", points(rcnn=(0.9, 0), fast_rcnn=(0.869, 9), faster_rcnn=(0.9, 9)), False),
        ("order", points(rcnn=(0.9, 0), fast_rcnn=(0.9, 9), faster_rcnn=(0.869, 9)), False),
        ("speed", times(rcnn=(50, 9), fast_rcnn=(10, 21), faster_rcnn=(99, 20)), True),
        ("speed", times(rcnn=(49, 99), fast_rcnn=(10, 21), faster_rcnn=(1, 20)), False),
        ("speed", times(rcnn=(50, 99), fast_rcnn=(10, 20), faster_rcnn=(1, 20)), False),
        ("target", {"seconds": 299, "11-point": 0.85, "all-point": 0}, True),
        ("target", {"seconds": 300, "11-point": 0.85, "all-point": 9}, False),
        ("target", {"seconds": 299, "11-point": 0.849, "all-point": 9}, False),
        ("tasks", points(**{"class": (9, 0.7), "still": (8, 0.8), "both": (7, 0.9)}), True),
        ("tasks", points(**{"class": (7, 0.8), "still": (8, 0.8), "both": (9, 0.9)}), False),
        ("tasks", points(**{"class": (7, 0.7), "still": (8, 0.9), "both": (9, 0.9)}), False),
        ("SVM", points(svm=(0.9, 0), softmax=(0.8, 9), still=(0.8, 9)), True),
        ("SVM", points(svm=(0.8, 9), softmax=(0.8, 0), still=(0.7, 0)), False),
        ("SVM", points(svm=(0.8, 9), softmax=(0.7, 0), still=(0.8, 0)), False),
        ("SVD", points(**{"whole": (9, 0.9), "rank 32": (0, 0.881)}), True),
        ("SVD", points(**{"whole": (0, 0.9), "rank 32": (9, 0.879)}), False),
        ("anchors", points(nine=(0, 0.9), one=(9, 0.8)), True),
        ("anchors", points(nine=(9, 0.8), one=(0, 0.8)), False),
        ("four steps", points(joint=(0.9, 9), four=(0.929, 0)), True),
        ("four steps", points(joint=(0.9, 0), four=(0.869, 0)), False),
        ("four steps", points(joint=(0.9, 0), four=(0.931, 0)), False),
    ],
)
def test_a_verdict_is_what_it_says(claims, name, run, holds):
    assert claims.CLAIMS[name][1]([run])[0] is holds


@pytest.mark.parametrize(("network", "search", "holds"), [(0.6, 0.5, True), (0.5, 0.5, False)])
def test_recall_is_judged_at_20_boxes_for_every_seed(claims, network, search, holds):
    at = lambda twenty: {"5": 0.5, "10": 0.5, "20": twenty, "50": 0.5}  # noqa: E731
    good = {"network": at(0.9), "search": at(0.1)}
    assert claims.verdict_recall([good, {"network": at(network), "search": at(search)}])[0] is holds
