"""Lesson 09: the claims train what their docstrings and the README say. Nothing is trained here."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from _exercises import LESSONS, load

import tinyconv
from tinyconv import data, nn, optim
from tinyconv.models.spatial_transformer import SpatialTransformer

LESSON = LESSONS / "09_spatial_transformer"
FOUR, PAIRED = ("FCN", "ST-FCN", "CNN", "ST-CNN"), ("FCN", "ST-FCN", "2xST-FCN")
COARSE = {"out_size": 21}
#: claim -> {network: (set, epochs, further settings)}
WANTED = {
    "S1": {name: ("r", 40, {}) for name in FOUR},
    "S2": {name: ("rts", 20, {}) for name in FOUR},
    "S3": {name: ("tc", 40, {}) for name in FOUR},
    "S3, 21x21": {name: ("tc", 40, COARSE if "ST" in name else {}) for name in FOUR},
    "S3, 21x21, 20 epochs": {name: ("tc", 20, COARSE if "ST" in name else {}) for name in FOUR},
    "S4": {name: ("pairs", 40, {"factor": 0.3}) for name in PAIRED},
    "S4, 20 epochs": {name: ("pairs", 20, {"factor": 0.3}) for name in PAIRED},
    "S4, digits 0 to 9": {name: ("pairs10", 40, {"factor": 0.3}) for name in PAIRED},
    "R": {
        **{f"{net} {kind}": ("r", 40, {"transform": kind}) for net in FOUR[1::2] for kind in ("projective", "tps")},
        "ST-CNN conv": ("r", 40, {"localisation": "conv"}),
    },
    "P": {
        "FCN": ("p", 20, {}), "CNN": ("p", 20, {}), "ST-CNN affine": ("p", 20, {}),
        **{f"{net} projective": ("p", 20, {"transform": "projective"}) for net in FOUR[1::2]},
    },
    "E": {
        "FCN": ("e", 20, {}), "CNN": ("e", 20, {}), "ST-CNN affine": ("e", 20, {}),
        **{f"{net} tps": ("e", 20, {"transform": "tps"}) for net in FOUR[1::2]},
    },
    "S6": {
        "start .6": ("tc", 20, COARSE), "identity": ("tc", 20, COARSE | {"start": 1.0}),
        "random": ("tc", 20, COARSE | {"start": None}), "rate x .1": ("tc", 20, COARSE | {"factor": 0.1}),
        "conv": ("tc", 20, COARSE | {"localisation": "conv"}),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def kit():
    """A file of the lesson by its name."""
    return load(LESSON / "claims_digits.py", "lesson_09_claims_of_settings")._step


@pytest.mark.parametrize("claim", WANTED)
def test_a_claim_trains_what_it_says(kit, claim, monkeypatch):
    ours, parts = kit("claims_digits"), kit("claims_parts")
    monkeypatch.setattr(parts, "_step", lambda name: ours if name == "claims_digits" else kit(name))

    def told(name, kind, seed, small=False, epochs=ours.EPOCHS, **options):
        assert (seed, small) == (7, False)
        return {"name": name, "set": (kind, epochs, options)}

    monkeypatch.setattr(ours, "run_one", told)
    found = {**ours.CLAIMS, **parts.CLAIMS}[claim][0](7)
    assert {name: run["set"] for name, run in found.items()} == WANTED[claim]
    for name, run in found.items():
        assert run["name"] == ("ST-CNN" if claim == "S6" else name.partition(" ")[0])


@pytest.mark.parametrize("factor", [{}, {"factor": 0.3}])
@pytest.mark.parametrize(("kind", "measured"), [("r", {"angle"}), ("rts", {"angle"}), ("tc", {"centre"}), ("e", set())])
def test_one_run_hands_on_what_it_is_told(kit, monkeypatch, kind, measured, factor):
    ours, told = kit("claims_digits"), []
    model = SimpleNamespace(transformers=[None], parameters=lambda: [tinyconv.zeros(2, 3), tinyconv.zeros(4)])

    class Kit:
        digits = staticmethod(lambda *given: given)
        build = staticmethod(lambda *given, **options: told.append((given, options)) or model)
        learn = staticmethod(lambda model, *given, **options: told.append((given, options)))
        judge = staticmethod(lambda model, test: {"test": 0.25}[test[1]])
        undone = centre_error = staticmethod(lambda model, test, count: {"test": count}[test[1]])

    monkeypatch.setattr(ours, "_step", {"digits09": Kit}.__getitem__)
    found = ours.run_one.__wrapped__("ST-CNN", kind, 7, False, 33, out_size=21, **factor)
    train = (kind, "train", 7, None)
    assert told == [(("ST-CNN", kind, 7), {"out_size": 21}), ((train, 33, 7), factor)]
    assert found.pop("seconds") >= 0
    assert found == {"error": 0.25, "parameters": 10, **{name: 4 for name in measured}}


def test_co_localisation_is_measured_with_and_without_clutter(kit, monkeypatch):
    parts, calls = kit("claims_parts"), []

    class Kit:
        @staticmethod
        def colocalise(digit, clutter, seed, **options):
            calls.append((digit, clutter, seed, options))
            return {"iou": np.array([0.2, 0.45, 0.55, 0.9])}

    monkeypatch.setattr(parts, "_step", lambda name: Kit)
    found = parts.together(7)
    assert calls == [(digit, clutter, 7, {}) for clutter in (0, 16) for digit in (3, 7)]
    assert found == {name: {"3": 0.5, "7": 0.5} for name in ("clean", "16 pieces")}


def test_networks_are_built_as_the_readme_says(kit):
    build = kit("digits09").build
    cluttered, two = build("ST-CNN", "tc", 0).transformers[0], build("2xST-FCN", "pairs", 0).transformers
    assert (cluttered.transform, cluttered.out_size) == ("attention", (28, 28))
    images = tinyconv.rand(2, 1, 42, 42)
    assert cluttered.theta(images).data == pytest.approx(np.array([[0.6, 0, 0]] * 2))
    assert [t.out_size for t in two] == [(16, 16)] * 2
    assert two[0].theta(tinyconv.rand(1, 2, 32, 32)).data == pytest.approx(np.array([[0.8, 0, 0, 0, 0.8, 0]]))
    assert len(build("CNN", "tc", 0).transformers) == 0
    first, again, other = (build("CNN", "r", seed).classifier.conv1.weight.data for seed in (0, 0, 1))
    assert (first == again).all() and not (first == other).all()


def test_learning_has_the_rates_that_the_readme_says(kit, monkeypatch):
    digits09, seen = kit("digits09"), {}
    monkeypatch.setattr(digits09.tinyconv, "fit", lambda model, loader, **given: seen.update(given, loader=loader))
    digits09.learn(digits09.build("ST-CNN", "r", 0), digits09.digits("r", "test", 0, 64), 10, 5, factor=0.3)
    assert [group["lr"] for group in seen["optimizer"].param_groups] == pytest.approx([0.002, 0.0006])
    loader = seen["loader"]
    assert (seen["epochs"], seen["seed"], loader.seed, loader.batch_size, loader.shuffle) == (10, 5, 5, 64, True)
    rates = []
    for _ in range(10):
        rates.append(seen["optimizer"].param_groups[0]["lr"])
        seen["schedule"].step()
    assert rates == pytest.approx([0.002] * 7 + [0.0004] * 3)
    assert isinstance(seen["optimizer"], optim.Adam)


class Says(nn.Module):
    """A network whose transformer says, of image i, row i of a table."""

    def __init__(self, table, transform="affine"):
        super().__init__()
        self.table = tinyconv.tensor(table.astype(np.float32))
        self.transformers = nn.ModuleList([SpatialTransformer(None, transform, 28)])
        self.transformers[0].theta = lambda x: self.table[: len(x)]


def test_angles_and_middles_are_compared_with_the_true_ones(kit):
    digits09 = kit("digits09")
    turned, hidden = digits09.digits("r", "test", 0, 40), digits09.digits("tc", "test", 0, 40)
    true = np.stack([turned.distorted(i).theta.ravel() for i in range(40)])
    assert digits09.undone(Says(true), turned, 40) == pytest.approx(1, abs=1e-5)
    projective = np.concatenate([true, np.full((40, 2), 0.1)], axis=1)
    assert digits09.undone(Says(projective, "projective"), turned, 40) == pytest.approx(1, abs=1e-5)
    mirrored = true * np.array([1, -1, 1, -1, 1, 1])  # the angle's sign
    assert digits09.undone(Says(mirrored), turned, 40) == pytest.approx(-1, abs=1e-5)
    places = np.stack([hidden.distorted(i).theta.ravel() for i in range(40)])
    assert digits09.centre_error(Says(places), hidden, 40) == pytest.approx(0, abs=1e-4)
    places[:, 2] += 2 / 41  # a pixel of 42 to the right
    assert digits09.centre_error(Says(places), hidden, 40) == pytest.approx(1, abs=1e-4)


def test_the_error_is_the_share_of_wrong_answers(kit):
    class Threes(nn.Module):
        def forward(self, x):
            scores = np.zeros((len(x), 10), np.float32)
            scores[:, 3] = 1
            return tinyconv.tensor(scores)

    labels = [3, 3, 3, 1]
    assert kit("digits09").judge(Threes(), data.ArrayDataset(np.zeros((4, 1, 8, 8), np.float32), labels)) == 0.25
