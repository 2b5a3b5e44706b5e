"""Lesson 09: what its claims and its last two steps count, on things that are made up; nothing is trained long."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from _exercises import LESSONS, load
from _steps import check_step, run_step

import tinyconv
from tinyconv import nn
from tinyconv.models.spatial_transformer import SpatialTransformer

LESSON = LESSONS / "09_spatial_transformer"
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def kit():
    """A file of the lesson by its name."""
    return load(LESSON / "claims_digits.py", "lesson_09_claims_of_measuring")._step


@pytest.mark.parametrize("step", ["step9_look_inside", "step10_together"])
def test_steps_say_what_they_need(step):
    check_step(LESSON / f"{step}.py")


@slow
@pytest.mark.parametrize(
    ("step", "says"), [("step9_look_inside", "turned by 180: "), ("step10_together", "both learn, no clutter: ")]
)
def test_steps_run(step, says, tmp_path):
    printed = run_step(LESSON / f"{step}.py", tmp_path)
    assert says in printed
    assert "next: " in printed


# -------------------------------------------------------------------------------------------------------------- claims

CLAIMS = ("claims_digits", "claims_parts")
OTHER_SEEDS = {"error": 0.1, "angle": 0.7, "centre": 3.0}


def test_a_network_is_judged_by_what_its_set_knows(kit):
    """Trials of a second: R and RTS know angles, TC places; plain networks have no transformer."""
    run_one = kit("claims_digits").run_one
    turned, hidden, plain = (
        run_one(name, kind, 3, True) for name, kind in (("ST-FCN", "r"), ("ST-FCN", "tc"), ("CNN", "r"))
    )
    assert set(turned) - set(plain) == {"angle"} and set(hidden) - set(plain) == {"centre"}
    for found in (turned, hidden, plain):
        assert 0 <= found["error"] <= 1
        assert 50_000 < found["parameters"] <= 60_000
        json.dumps(found)
    assert hidden["centre"] > 4, "nothing is learnt in a second"


def run_of(**errors):
    return {name: {**OTHER_SEEDS, "error": error} for name, error in errors.items()}


GOOD = {"FCN": 0.2, "ST-FCN": 0.12, "CNN": 0.1, "ST-CNN": 0.05}


def test_s1_asks_for_the_order_and_for_the_angle(kit):
    holds = kit("claims_digits").rotated_verdict
    good = run_of(**GOOD)
    assert holds([good, good])[0]
    assert "20.0 / 20.0 %" in holds([good, good])[1]
    once = run_of(**{**GOOD, "ST-FCN": 0.21})
    assert not holds([good, once])[0], "the FCN must err most on every seed"
    assert holds([good, run_of(**{**GOOD, "CNN": 0.04})])[0], "the ST-CNN least in the mean: .07, .05"
    assert not holds([good, run_of(**{**GOOD, "CNN": -0.01})])[0], "the CNN's mean is .045"
    for name in ("ST-FCN", "ST-CNN"):
        level = run_of(**GOOD)
        level[name]["angle"] = 0.6
        assert not holds([good, level])[0]


def test_s3_asks_for_the_place(kit):
    holds = kit("claims_digits").cluttered_verdict
    good = run_of(**GOOD)
    assert holds([good])[0]
    far = run_of(**GOOD)
    far["ST-FCN"]["centre"] = 4.0
    assert not holds([good, far])[0]
    assert not holds([good, run_of(**{**GOOD, "CNN": 0.05})])[0], "as good is not better"


def test_s4_is_about_means(kit):
    holds, names = kit("claims_digits").added_verdict, kit("claims_digits").PAIRED
    runs = [run_of(**dict(zip(names, errors, strict=True))) for errors in ((0.6, 0.5, 0.52), (0.6, 0.5, 0.4))]
    assert holds(runs)[0]
    assert not holds(runs[:1])[0]


# ------------------------------------------------------------------------------------------- step 9: what is taken back


def truth(angle, scale, centre, size=42):
    """Return how a digit was drawn, as a set of distorted digits says it."""
    c, s = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    whole = 2 / (size - 1)
    theta = np.array([[c, s, whole * centre[0] - 1], [-s, c, whole * centre[1] - 1]])
    return SimpleNamespace(angle=angle, theta=theta, centre=centre)


class Says:
    """A model whose transformer says given thetas."""

    def __init__(self, thetas):
        self.given = tinyconv.tensor(np.asarray(thetas, np.float32).reshape(-1, 6))
        self.transformers = [self]

    def theta(self, x):
        return self.given

    def attended(self, x):
        grid, output = SpatialTransformer(None).look(x, self.given)
        return [(grid.numpy(), output.numpy())]


def test_a_perfect_transformer_says_what_is_so(kit):
    looking = kit("looking09")
    truths = [truth(a, s, c) for a, s, c in ((30, 0.5, (20, 10)), (-40, 0.7, (12, 30)), (0, 0.6, (25, 21.5)))]
    images = np.zeros((3, 1, 42, 42), np.float32)
    seen = looking.looked(Says([t.theta for t in truths]), images, truths)
    np.testing.assert_allclose(seen.true, [[30, 0.5, 20, 10], [-40, 0.7, 12, 30], [0, 0.6, 25, 21.5]], atol=1e-6)
    np.testing.assert_allclose(seen.found, seen.true, atol=1e-3)
    np.testing.assert_allclose(seen.correlations(), 1, atol=1e-6)
    assert seen.mirrored == 0


def test_a_transformer_that_does_nothing_takes_nothing_back(kit):
    truths = [truth(a, 0.6, (20, 20)) for a in (-10, 0, 10, 45)]
    maps = [[[1, 0, 0], [0, 1, 0]]] * 3 + [[[-1, 0, 0], [0, 1, 0]]]
    seen = kit("looking09").looked(Says(maps), np.zeros((4, 1, 42, 42), np.float32), truths)
    assert seen.correlations()[1:] == [0, 0, 0], "no number is made of nothing"
    assert seen.mirrored == 0.25


def test_digits_are_turned_counter_clockwise_in_the_middle(kit):
    """A dot to the right of the middle goes up at 90 degrees, to the left at 180, down at -90."""
    looking = kit("looking09")
    upright = np.zeros((1, 1, 9, 9), np.float32)
    upright[0, 0, 4, 7] = 1
    found = looking.turned(upright, 21)
    assert found.shape == (len(looking.ANGLES), 1, 1, 21, 21)
    for angle, place in ((0, (10, 13)), (90, (7, 10)), (180, (10, 7)), (-90, (13, 10)), (-180, (10, 7))):
        image = found[int(np.flatnonzero(looking.ANGLES == angle)[0]), 0, 0]
        assert np.unravel_index(image.argmax(), image.shape) == place
        assert image.max() == pytest.approx(1, abs=1e-5)


def test_what_a_turn_does_is_counted_from_upright_and_for_the_right_class(kit):
    """A transformer that takes every angle back, after a fixed turn of each digit; a classifier that likes 3 and 1."""
    looking, fixed = kit("looking09"), np.array([100.0, -40.0])
    angles = np.radians(looking.ANGLES[:, None] + fixed).ravel()
    c, s = np.cos(angles), np.sin(angles)
    model = Says(np.column_stack([c, s, 0 * c, -s, c, 0 * c]))
    scores = np.full((len(angles), 10), -np.inf, np.float32)
    scores[:, [3, 1]] = np.log([0.25, 0.75])
    model.__class__ = type("Tells", (Says,), {"__call__": lambda self, x: tinyconv.tensor(scores)})
    found = looking.through_a_turn(model, np.ones((2, 1, 9, 9), np.float32), np.array([3, 1]), 21)
    wanted = np.where(looking.ANGLES == 180, -180, looking.ANGLES)  # a half turn, either way
    np.testing.assert_allclose((found.back - wanted[:, None] + 180) % 360, 180, atol=1e-3)
    assert np.abs(found.back).max() <= 180
    np.testing.assert_allclose(found.probabilities, [[0.25, 0.75]] * len(looking.ANGLES), rtol=1e-6)
    assert found.images.shape == found.outputs.shape == (len(looking.ANGLES), 2, 1, 21, 21)


def test_apart_is_in_parts_of_two_digits_distance(kit):
    """Two pictures at 0 and 4: 4 apart. Moved by 1 and by 3 in the mean 2, half of that."""
    pictures = np.zeros((3, 2, 1, 1, 1))
    pictures[:, 1] = 4
    pictures[2] += np.array([1, 3]).reshape(2, 1, 1, 1)
    np.testing.assert_array_equal(kit("looking09").apart(pictures), [0, 0, 0.5])


def test_blame_is_measured_from_the_mean_miss(kit):
    """All look 10 degrees aside, which does not count; the wrong ones, most here, another 20, and 5 pixels off."""
    looking = kit("looking09")
    true, off = np.zeros((6, 4)), np.tile([10.0, 0, 3, 3], (6, 1))
    off[[0, 2]] += [-20, 0, 3, 4]
    off[[1, 3]] += [20, 0, -3, -4]
    seen = looking.Looked(true, true + off, 0.0)
    wrong = np.array([True, True, True, True, False, False])
    found = looking.blame(seen, wrong)
    assert found["angle"] == (0, 20) and found["place"] == (0, 5)


def test_drift_is_that_of_the_mean_and_of_what_parts(kit, monkeypatch):
    looking = kit("looking09")
    told = iter([np.zeros((2, 6)), np.array([[3.0, 0, 0, 0, 0, 0], [3, 8, 0, 0, 0, 0]])])
    given = {}

    def learn(model, data, epochs, seed, *, factor, callbacks):
        given.update(epochs=epochs, seed=seed, factor=factor)
        callbacks[0](None)

    monkeypatch.setattr(looking, "thetas", lambda model, images: next(told))
    monkeypatch.setattr(looking, "learn", learn)
    np.testing.assert_array_equal(looking.drift(4, 0.1, 1, 10), [[5, 4]])
    assert given == {"epochs": 1, "seed": 4, "factor": 0.1}


# ----------------------------------------------------------------------------------------------- step 10: which channel


def test_correlations_are_of_each_transformer_with_each_channel(kit):
    rng = np.random.default_rng(0)
    true = rng.standard_normal((50, 2, 3))
    found = np.stack([true[:, 1], -2 * true[:, 0] + 1])
    found[1, :, 2] = 7  # says always the same
    result = kit("together09").correlations(true, found)
    np.testing.assert_allclose(result[0, 1], 1)
    np.testing.assert_allclose(result[1, 0], [-1, -1, 0])
    assert np.abs(result[0, 0]).max() < 0.5


def test_which_channel_on_real_pairs(kit):
    """A transformer that says the truth of the second digit, whatever it sees, follows the second channel."""
    data = kit("digits09").digits("pairs", "test", 0, 40)
    told = tinyconv.tensor(np.stack([data.distorted(i)[1].theta.ravel() for i in range(40)]).astype(np.float32))

    class Told(nn.Module):
        def forward(self, x):
            return told

    model = SimpleNamespace(transformers=[SpatialTransformer(Told(), start=None)])
    found = kit("together09").which_channel(model, data, 40)
    assert found.shape == (1, 2, 3)
    np.testing.assert_allclose(found[0, 1], 1, atol=1e-4)
    assert np.abs(found[0, 0]).max() < 0.6


def test_the_table_takes_each_error_from_its_claim(kit):
    together = kit("together09")

    def runs(*errors):
        return {"runs": {str(seed): run for seed, run in enumerate(errors)}}

    table = together.measured_table(
        {
            "S1": runs({"FCN": {"error": 0.1}, "ST-FCN": {"error": 0.08}}, {"FCN": {"error": 0.12}}),
            "R": runs({"ST-FCN tps": {"error": 0.07}, "ST-CNN conv": {"error": 0.03}}),
            "S2": runs({"ST-CNN": {"error": 0.05}}),
            "E": runs({"ST-CNN affine": {"error": 0.03}}),
            "S3": runs({"FCN": {"error": 0.5}}),
        }
    )
    assert table["FCN"] == {"R": [10, 12]} and table["ST-FCN affine"] == {"R": [8]}
    assert table["ST-FCN tps"] == {"R": [pytest.approx(7)]}
    assert table["ST-CNN affine"] == {"RTS": [5], "E": [3]}
    assert set(table) == set(together.PAPER)


def test_the_table_can_be_made_of_what_was_measured(kit):
    claims = json.loads((LESSON / "results.json").read_text("utf-8"))["claims"]
    table = kit("together09").measured_table(claims)
    assert all(len(table[name]["R"]) >= 3 for name in table)


def test_the_papers_table_is_the_readmes():
    readme = (LESSON / "README.md").read_text("utf-8")
    for name, errors in load(LESSON / "together09.py", "lesson_09_together").PAPER.items():
        row = name.replace(" ", ", ").replace("tps", "TPS")
        assert f"| {row} | {' | '.join(map(str, errors.values()))} |" in readme


# --------------------------------------------------------------------------------------------------- co-localisation


def test_the_hinge_is_the_exercises_in_the_mean(kit):
    """With both ways for the gradient; and with one way only e_n's own terms push it."""
    loss_of = kit("colocalise09").triplet_loss
    exercise = load(LESSON / "exercises.py", "lesson_09_exercises_of_measuring").triplet_hinge
    e, beside = np.random.default_rng(1).standard_normal((2, 6, 3))
    wanted, de, _ = exercise(e, beside)
    given = tinyconv.tensor(e, requires_grad=True)
    loss = loss_of(given, given, tinyconv.tensor(beside))
    assert loss.item() == pytest.approx(wanted / 30)
    np.testing.assert_allclose(tinyconv.grad(loss, [given])[0].numpy(), de / 30, atol=1e-10)
    loss = loss_of(given, given.detach(), tinyconv.tensor(beside))
    assert loss.item() == pytest.approx(wanted / 30)
    active = ((e[:, None] - e) ** 2).sum(2) - ((e - beside) ** 2).sum(1)[:, None] + 1 > 0
    np.fill_diagonal(active, False)
    own = 2 * (active[:, :, None] * (beside[:, None] - e[None])).sum(axis=1)
    np.testing.assert_allclose(tinyconv.grad(loss, [given])[0].numpy(), own / 30, atol=1e-10)


def test_boxes_of_shifts(kit):
    """No shift is the middle third; the largest reach the image's corners."""
    most = 1 - 13 / 41
    boxes = kit("colocalise09").boxes_of(np.array([[0, 0], [most, -most]]), 42)
    np.testing.assert_allclose(boxes, [[14, 14, 28, 28], [28, 0, 42, 14]], atol=1e-9)


def test_the_encoder_brings_layers_to_one_length_and_learns_no_more(kit):
    colocalise09 = kit("colocalise09")
    see = colocalise09.encoder(2, True)
    images = kit("digits09").digits("r", "train", 2).sources.images[:500]
    parts = [part.numpy() for part in see.parts(tinyconv.tensor(images))]
    assert [part.shape[1] for part in parts] == [8 * 12 * 12, 16 * 4 * 4, parts[2].shape[1]]
    lengths = [np.sqrt((part**2).sum(axis=1).mean()) for part in parts]
    np.testing.assert_allclose(lengths, colocalise09.LENGTH, rtol=1e-4)
    assert not any(p.requires_grad for p in see.model.parameters())


def test_windows_stay_inside_and_runs_repeat(kit):
    find = kit("colocalise09").colocalise
    found, again = (find(3, 2, 5, steps=3, n=24, small=True) for _ in range(2))
    assert found["boxes"].min() >= 0 and found["boxes"].max() <= 42
    np.testing.assert_allclose(found["boxes"][:, 2:] - found["boxes"][:, :2], 14)
    for key, value in found.items():
        np.testing.assert_array_equal(again[key], value)
    assert len(found["iou"]) == 24 and len(found["losses"]) == 3


@pytest.mark.parametrize("both", [True, False])
def test_the_other_image_learns_if_it_is_told_to(kit, monkeypatch, both):
    colocalise09, learns = kit("colocalise09"), []
    loss_of = colocalise09.triplet_loss

    def spy(e, other, beside):
        learns.append((e.requires_grad, other.requires_grad))
        return loss_of(e, other, beside)

    monkeypatch.setattr(colocalise09, "triplet_loss", spy)
    colocalise09.colocalise(3, 0, 5, steps=2, n=24, small=True, **({"through_both": True} if both else {}))
    assert learns == [(True, both)] * 2


@slow
def test_threes_are_found_if_the_other_image_is_held_fixed(kit):
    """Fewer images and steps than in the claim: well above what windows in the middle have."""
    found = kit("colocalise09").colocalise(3, 0, 0, steps=150, n=60)
    middle = kit("colocalise09").boxes_of(np.zeros((60, 2)), 42)
    from tinyconv.vision import paired_iou

    assert (found["iou"] > 0.5).mean() > 0.5
    assert (paired_iou(middle, found["true"]) > 0.5).mean() < 0.2
