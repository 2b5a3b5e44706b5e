"""Lesson 07, claims_adversarial.py: each claim measures what it says. Here nothing is trained but for a step or two."""

from __future__ import annotations

import copy
import json
import re

import numpy as np
import pytest
from _claims import check_claim
from _exercises import LESSONS, load

from tinyconv import nn
from tinyconv.explain.adversarial import fgsm, random_signs
from tinyconv.explain.adversarial_training import AdversarialUpdate

LESSON = LESSONS / "07_gan"
CLAIMS = ["fooled", "ostrich", "adversarial training", "regularising", "optimal discriminator", "saturation"]
SIZE, SEED = (60, 40, 1), 3


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims_adversarial.py", "lesson_07_claims_adversarial")


@pytest.fixture(scope="module")
def digits07(claims):
    return claims._step("digits07")


@pytest.fixture
def untrained(claims, digits07, monkeypatch):
    """Networks are not trained; what they were to learn is noted."""
    seen = []

    def learn(model, data, **how):
        seen.append((len(data), how))
        return model.eval()

    monkeypatch.setattr(digits07, "learn", learn)
    claims._trained.cache_clear()
    yield seen
    claims._trained.cache_clear()


def test_fooled_judges_gradient_and_random_signs_by_both_rules(claims, digits07, untrained):
    found, test = claims.measure_fooled(SEED, SIZE), digits07.digits("test", 40)
    assert [(n, how["epochs"], how["seed"], how["update"]) for n, how in untrained] == [(60, 1, SEED, None)] * 2
    for name, hidden in (("softmax", ()), ("MLP", (200, 200))):
        model = digits07.network(hidden, seed=SEED)
        for rule, clip in (("free", None), ("clipped", (0.0, 1.0))):
            for i, eps in enumerate((0.0, 0.05, 0.1, 0.25)):
                made = {
                    "gradient": fgsm(model, test.images, test.labels, eps, clip=clip),
                    "random": random_signs(test.images, eps, clip=clip, seed=SEED),
                }
                for kind, images in made.items():
                    entry = found[name][f"{kind}, {rule}"]
                    assert (entry["error"][i], entry["confidence"][i]) == digits07.judge(model, images, test.labels)


def test_ostrich_leaves_eights_alone_and_judges_noise_apart(claims, digits07, untrained):
    found = claims.measure_ostrich(SEED, SIZE)
    assert list(found) == list(digits07.SZEGEDY)
    assert [how["weight_decay"] for _, how in untrained] == [2e-5, 2e-3, 0.2, 0.0]
    test = digits07.digits("test", 40)
    others, labels = test.images[test.labels != 8], test.labels[test.labels != 8]
    assert 0 < len(labels) < 40
    model = digits07.network(seed=SEED)
    attack = claims.minimal_attack(model, others, 8)
    row = found["FC10(1e-4)"]
    assert row["success"] == attack.success.mean() and row["distortion"] == pytest.approx(attack.distortion.mean())
    assert row["others"]["FC10(1e-4)"] == digits07.judge(model, attack.images, labels)[0]
    noise = digits07.noise_like(others, attack.images, SEED)
    assert row["noise"]["FC10(1e-4)"] == digits07.judge(model, noise, labels)[0]
    assert row["test_error"] == digits07.judge(model, test.images, test.labels)[0]


def test_three_ways_of_training_and_their_images(claims, digits07, untrained):
    found, test = claims.measure_adversarial_training(SEED, SIZE), digits07.digits("test", 40)
    updates = [how["update"] for _, how in untrained]
    assert updates[0] is None and all(isinstance(update, AdversarialUpdate) for update in updates[1:])
    assert [(float(update.eps), update.alpha, update.clip is None) for update in updates[1:]] == [
        (0.25, 0.5, True), (0.25, 0.5, False),
    ]  # fmt: skip
    model = digits07.network((200, 200), seed=SEED)
    wanted = {
        "clean": test.images,
        "random, clipped": random_signs(test.images, 0.25, seed=SEED),
        "0.25": fgsm(model, test.images, test.labels, 0.25, clip=None),
        "0.25, clipped": fgsm(model, test.images, test.labels, 0.25),
        "0.1": fgsm(model, test.images, test.labels, 0.1, clip=None),
        "0.1, clipped": fgsm(model, test.images, test.labels, 0.1),
    }
    errors = {kind: digits07.judge(model, images, test.labels)[0] for kind, images in wanted.items()}
    assert found == {"usual": errors, "free": errors, "clipped": errors}
    clean = {"clean": errors["clean"]}
    assert claims.measure_regularising(SEED, SIZE) == {"usual": clean, "free": clean, "clipped": clean}
    assert len(untrained) == 3, "the same three networks"


def test_the_best_discriminator_is_judged_where_samples_are(claims, monkeypatch):
    """D is one half everywhere: off by what p / (p + q) is away from it, which the densities say."""
    step, game = claims._step("step4_game"), claims._step("game07")
    monkeypatch.setattr(step, "learn_best", lambda net, *_: None)
    monkeypatch.setattr(step, "logistic", lambda n, seed: (-1.0, 0.25 * (n == 77)))
    monkeypatch.setattr(game, "believe", lambda net, places: np.full(len(places), 0.5))
    found = claims.measure_optimal_discriminator(SEED, (5, 77))
    assert found["logistic"] == {"slope": -1.0, "bias": 0.25}
    x = np.linspace(-6, 6, 601)
    p, q = game.hills(x), game.broad(x)
    off, both = np.abs(0.5 - p / (p + q)), p + q
    assert found["line"]["largest"] == pytest.approx(off[both >= 0.05].max())
    assert found["line"]["mean"] == pytest.approx((off * both).sum() / both.sum())
    assert off.max() > found["line"]["largest"] > found["line"]["mean"]
    # In the plane: at a corner p = 1 / (8 pi .36) and q is that of a deviation of 2 at distance sqrt 8.
    p, q = 1 / (8 * np.pi * 0.36), np.exp(-1) / (8 * np.pi)
    assert found["plane"]["largest"] >= p / (p + q) - 0.5 - 1e-6


def test_corners_are_sampled_alike(claims):
    drawn = claims._from_corners(np.random.default_rng(0), 20_000)
    signs, counts = np.unique(np.sign(drawn), axis=0, return_counts=True)
    assert len(signs) == 4 and (np.abs(counts / 20_000 - 0.25) < 0.02).all()
    np.testing.assert_allclose((np.abs(drawn) - 2).std(axis=0), 0.6, atol=0.02)


def test_saturation_measures_distances(claims, monkeypatch):
    step, seen = claims._step("step4_game"), []

    def shift(saturating, seed, ahead, steps):
        seen.append((saturating, seed, ahead, steps))
        return np.array([-2.0, -2.5 if saturating else 1.0])

    monkeypatch.setattr(step, "shift", shift)
    assert claims.measure_saturation(SEED) == {"saturating": -0.5, "other": 3.0}
    assert seen == [(True, SEED, 500, 200), (False, SEED, 500, 200)]


# -------------------------------------------------------------------------------------------------------- the verdicts


def fooled(gradient, at_random):
    """Return a run in which clipped attacks and confidence do not matter."""
    entry = {
        f"{kind}, {rule}": {"error": errors if rule == "free" else [0.0] * 4, "confidence": [None, 0.1, 0.1, 0.1]}
        for kind, errors in (("gradient", gradient), ("random", at_random))
        for rule in ("free", "clipped")
    }
    return {"softmax": entry, "MLP": copy.deepcopy(entry)}


@pytest.mark.parametrize(
    ("gradient", "at_random", "holds"),
    [
        ([0.1, 0.2, 0.5, 0.81], [0.1, 0.1, 0.1, 0.31], True),
        ([0.1, 0.2, 0.5, 0.80], [0.1, 0.1, 0.1, 0.10], False),
        ([0.1, 0.2, 0.5, 0.81], [0.1, 0.1, 0.1, 0.32], False),
        ([0.1, 0.5, 0.5, 0.99], [0.1, 0.1, 0.1, 0.10], False),
    ],
)
def test_fooled_is_more_than_80_percent_and_50_points(claims, gradient, at_random, holds):
    run = fooled(gradient, at_random)
    assert claims.verdict_fooled([fooled([0, 0.5, 0.9, 1.0], [0.0] * 4), run])[0] is holds
    other = fooled([0, 0.5, 0.9, 1.0], [0.0] * 4)
    other["MLP"] = run["MLP"]
    assert claims.verdict_fooled([other])[0] is holds, "both networks have to be"


def ostrich():
    """Return a run that holds."""
    names = ["FC10(1e-4)", "FC10(1e-2)", "FC10(1)", "FC100-100-10"]
    return {
        name: {
            "success": 1.0, "distortion": 0.1 * (i + 1), "test_error": 0.1,
            "others": {other: 1.0 if other == name else 0.3 for other in names},
            "noise": dict.fromkeys(names, 0.2),
        }
        for i, name in enumerate(names)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "holds"),
    [
        (("FC10(1)", "test_error"), 0.9, True),
        (("FC100-100-10", "distortion"), 0.01, True),
        (("FC10(1)", "success"), 0.999, False),
        (("FC10(1e-2)", "distortion"), 0.1, False),
        (("FC10(1)", "distortion"), 0.15, False),
        (("FC10(1)", "others", "FC10(1e-4)"), 0.2, False),
        (("FC100-100-10", "noise", "FC10(1)"), 0.31, False),
        (("FC10(1)", "others", "FC10(1)"), 0.99, False),
    ],
)
def test_ostrich_needs_all_of_it(claims, path, value, holds):
    run = ostrich()
    assert claims.verdict_ostrich([run])[0] is True
    inner = run
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert claims.verdict_ostrich([ostrich(), run])[0] is holds


def trained(usual, free):
    """Return a run: (clean, attacked by .25) of two networks; nothing else matters."""
    rest = {"0.1": 0.9, "0.25, clipped": 0.9, "0.1, clipped": 0.9, "random, clipped": 0.9}
    both = {name: {"clean": a, "0.25": b, **rest} for name, (a, b) in (("usual", usual), ("free", free))}
    return both | {"clipped": both["usual"]}


@pytest.mark.parametrize(
    ("usual", "free", "halved", "no_price"),
    [
        ((0.05, 0.9), (0.055, 0.45), True, True),
        ((0.05, 0.9), (0.056, 0.45), True, False),
        ((0.05, 0.9), (0.04, 0.451), False, True),
    ],
)
def test_training_on_attacks_halves_the_error_at_no_price(claims, usual, free, halved, no_price):
    good = trained((0.1, 0.9), (0.1, 0.1))
    assert claims.verdict_adversarial_training([good, trained(usual, free)])[0] is halved
    assert claims.verdict_regularising([good, trained(usual, free)])[0] is no_price


def game(largest, slope, bias):
    part = {"largest": largest, "mean": 0.9}
    return {"line": part, "plane": {"largest": 0.9, "mean": 0.9}, "logistic": {"slope": slope, "bias": bias}}


@pytest.mark.parametrize(
    ("run", "holds"),
    [
        (game(0.02, -1.04, 0.46), True),
        (game(0.021, -1, 0.5), False),
        (game(0.01, -0.94, 0.5), False),
        (game(0.01, -1, 0.56), False),
    ],
)
def test_the_best_discriminator_is_met_within_two_hundredths(claims, run, holds):
    assert claims.verdict_optimal_discriminator([game(0.01, -1, 0.5), run])[0] is holds


@pytest.mark.parametrize(
    ("saturating", "other", "holds"), [(0.5, 2.5, True), (0.5, 2.4, False), (-0.5, 2.5, True), (-0.5, -0.1, False)]
)
def test_five_times_as_far(claims, saturating, other, holds):
    good = {"saturating": 0.01, "other": 4.0}
    assert claims.verdict_saturation([good, {"saturating": saturating, "other": other}])[0] is holds


# ---------------------------------------------------------------------------------------------------------- as measured


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_was_measured_and_the_readme_says_what_came_out(claims, name):
    check_claim(LESSON, claims, name)


def test_every_claim_is_checked(claims):
    assert list(claims.CLAIMS) == CLAIMS


def small_networks():
    """What the README's table must say of steps 1 to 4 by results.json, seed 0: (step, words of the row) -> numbers."""
    runs = json.loads((LESSON / "results.json").read_text("utf-8"))["claims"]
    fooled, ostrich, trained, game, far = (
        runs[name]["runs"]["0"]
        for name in ("fooled", "ostrich", "adversarial training", "optimal discriminator", "saturation")
    )
    free, clipped = (
        [100 * e for m in fooled.values() for e in m[f"gradient, {k}"]["error"]] for k in ("free", "clipped")
    )
    signs = [100 * m[f"random, {kind}"]["error"][-1] for m in fooled.values() for kind in ("free", "clipped")]
    share = lambda name, *kinds: [100 * trained[name][kind] for kind in kinds]  # noqa: E731
    return {
        ("1", "error at eps"): free,
        ("1", "the same, clipped"): clipped,
        ("1", "random signs of .25"): signs,
        ("2", "distortion"): [entry["distortion"] for entry in ostrich.values()],
        ("3", "MLP trained on attacks"): share("free", "clean", "0.1", "0.25"),
        ("3", "trained on clipped"): share("clipped", "clean", "0.25, clipped", "random, clipped"),
        ("4", "logistic D"): [game["logistic"]["slope"], game["logistic"]["bias"]],
        ("4", "two hills"): [game["line"]["largest"]],
        ("4", "way of the"): [far["saturating"] - 2, far["other"] - 2],
    }


@pytest.mark.parametrize("row", list(small_networks()), ids=" ".join)
def test_the_readmes_small_networks_are_seed_0(row):
    lines = (LESSON / "README.md").read_text("utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"| {row[0]} | {row[1]}")]
    said, wanted = re.findall(r"-?\d*\.?\d+", line.strip("| ").split(" | ")[-1]), small_networks()[row]
    for number, value in zip(said, wanted, strict=row[1] != "MLP trained on attacks"):
        assert float(number) == pytest.approx(value, abs=0.501 * 10.0 ** -len(number.partition(".")[2])), line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "small"),
    [
        ("fooled", (SIZE,)), ("ostrich", (SIZE,)), ("adversarial training", (SIZE,)), ("regularising", (SIZE,)),
        ("optimal discriminator", ((3, 100),)), ("saturation", (2, 2)),
    ],
)  # fmt: skip
def test_a_claim_can_be_measured(claims, name, small):
    measure, verdict = claims.CLAIMS[name]
    claims._trained.cache_clear()
    holds, text = verdict([measure(seed, *small) for seed in (0, 1)])
    assert holds in (True, False) and text


def test_the_programs_claims_are_all_of_them(claims):
    """claims.py collects the three parts; no name stands in two."""
    whole = load(LESSON / "claims.py", "lesson_07_claims")
    parts = [load(LESSON / f"{part}.py", f"lesson_07_part_{part}").CLAIMS for part in whole.PARTS]
    assert len(whole.CLAIMS) == sum(map(len, parts))
    assert list(whole.CLAIMS)[: len(CLAIMS)] == CLAIMS


def test_a_network_that_was_trained_on_attacks_is_another_one(claims, untrained):
    """The cache tells networks apart by eps and clip rule."""
    kinds = [(), (0.25,), (0.25, (0.0, 1.0))]
    models = [claims._trained("MLP", SEED, SIZE, *how) for how in kinds]
    assert len({id(model) for model in models}) == 3 and len(untrained) == 3
    assert claims._trained("MLP", SEED, SIZE, 0.25) is models[1]
    assert isinstance(models[0], nn.Module)
