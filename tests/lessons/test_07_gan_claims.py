"""Lesson 07, the claims on the GAN: what they train and judge is what they say, and their verdicts, at the bounds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from _claims import check_claim
from _exercises import LESSONS, load

import tinyconv
from tinyconv import data, models
from tinyconv.generative.training import PAPER, Recipe
from tinyconv.models.gan import bias_to_mean

LESSON = LESSONS / "07_gan"
CLAIMS = ["parzen", "sgd", "weights"]


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims_gan.py", "lesson_07_claims_gan_measured")


@pytest.fixture
def untrained(claims, monkeypatch):
    """Trainings that set a bias, by epoch, and nothing else: from which weights, and by which recipe."""
    seen, rows = [], [{"epoch": k, "discriminator_accuracy": 1.0} for k in range(3)]

    def learn(model, name, n, *, callbacks, **how):
        seen.append((name, n, how, [p.detach().numpy().copy() for p in model.parameters()]))
        for epoch, bias in ((1, -1.0), (44, 0.0), (45, -1.0), (46, 0.0)):
            model.generator.fc3.bias.data[...] = bias
            for look in callbacks:
                look(SimpleNamespace(epoch=epoch, history=rows))
        model.generator.fc3.bias.data[...] = -2.0
        return rows

    monkeypatch.setattr(claims._step("step6_train"), "learn", learn)
    claims._by_recipe.cache_clear()
    yield seen
    claims._by_recipe.cache_clear()


TRIAL = (200, 60)


def test_parzen_trains_by_the_recipe_and_judges_start_and_end(claims, untrained):
    run = claims.measure_parzen(2, TRIAL)
    ((name, n, how, weights),) = untrained
    assert (name, n) == ("gan", 200)
    assert how == {"seed": 2, "epochs": 1, "recipe": None, "progress": False}
    tinyconv.manual_seed(2)
    model = models.gan(scale="lesson")
    for found, p in zip(weights, model.parameters(), strict=True):
        np.testing.assert_array_equal(found, p.detach().numpy())
    step = claims._step("step6_train")
    images = data.Subset(data.mnist(), range(200))
    bias_to_mean(model, np.stack([image for image, _ in images]))
    assert run["start"]["nat"] == pytest.approx(step.judge(model.sample(60, 2), 60).mean, rel=1e-6)
    model.generator.fc3.bias.data[...] = -2.0
    assert run["end"]["nat"] < run["start"]["nat"] - 10, "all pixels grey"
    assert list(run["references"]) == ["training images", "Gaussian", "mean image"]
    assert run["end"]["accuracy"] == 1.0 and run["end"]["verdict"] in (
        "the generator has collapsed",
        "the discriminator is too far ahead",
    )
    assert run["data spread"] == pytest.approx(0.187, abs=0.02)


def test_a_training_begins_with_the_mean_of_500_digits_and_so_does_the_start(claims):
    """The start that is judged has the bias that train_gan gives: of the first 500 digits, not of all."""
    start = claims._untrained(3, (600, 60))
    mean = np.stack([data.mnist()[i][0] for i in range(500)]).astype(np.float64).mean(axis=0).ravel()
    mean = np.clip(mean, 1e-3, 1 - 1e-3)
    np.testing.assert_allclose(start.generator.fc3.bias.data, np.log(mean / (1 - mean)), rtol=1e-5, atol=1e-6)
    tinyconv.manual_seed(3)
    model = models.gan(scale="lesson")
    nothing = Recipe(1e-12, 1e-12, 0.5, batch_size=100, epochs=1)
    claims._step("step6_train").learn(model, "gan", 600, seed=3, recipe=nothing, progress=False)
    for ours, trained in zip(start.parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(ours.data, trained.data, atol=1e-6)


def test_both_claims_share_the_recipes_training(claims, untrained, monkeypatch):
    """The paper's SGD has 45 epochs, the recipe all of its own; after 45 it is looked at."""
    bias = lambda model: float(model.generator.fc3.bias.data[0])  # noqa: E731
    monkeypatch.setattr(claims, "_judge", lambda model, seed, size: {"nat": bias(model), "spread": 0.1})
    sgd, parzen = claims.measure_sgd(1, claims.SIZE), claims._by_recipe(1, claims.SIZE)
    assert [(n, how["epochs"], how["recipe"]) for _, n, how, _ in untrained] == [(4500, 45, PAPER), (4500, None, None)]
    for ours, others in zip(untrained[0][3], untrained[1][3], strict=True):
        np.testing.assert_array_equal(ours, others, err_msg="the same weights")
    assert (sgd["paper"]["nat"], sgd["recipe"]["nat"], parzen["end"]["nat"]) == (-2, -1, -2)
    assert sgd["paper"]["verdict"] == "the discriminator is too far ahead"
    assert claims._few(claims.SIZE) is None and claims._few(TRIAL) == 60


def test_to_look_on_the_way_changes_nothing(claims):
    """Samples of the trained networks halfway: the weights at the end are those without."""
    found = []
    for looks in ([], [lambda state: claims._judge(model, 0, TRIAL)]):  # noqa: B023
        tinyconv.manual_seed(0)
        model = models.gan(scale="lesson")
        claims._step("step6_train").learn(model, "gan", 200, epochs=2, progress=False, callbacks=looks)
        found.append([p.detach().numpy() for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_are_those_of_the_paper_in_d_alone(claims, untrained):
    claims.measure_sgd(1, TRIAL)
    claims.measure_weights(1, TRIAL)
    (*_, ours), _, (*_, papers) = untrained
    assert untrained[2][2] == untrained[0][2], "the same training"
    assert untrained[2][2]["recipe"] is PAPER
    count = len(list(models.gan(scale="lesson", device="meta").generator.parameters()))
    for a, b in zip(ours[:count], papers[:count], strict=True):
        np.testing.assert_array_equal(a, b)
    assert [np.abs(w).max() <= 0.005 for w in papers[count:]] == [True] * 6
    assert np.abs(papers[count]).max() > 0.0049


def run_of(nat, start=0.0, mean=0.0):
    """Return what the claim on Parzen windows stores, with these log-likelihoods."""
    judged = {"nat": nat, "error": 1.0, "sigma": 0.2, "spread": 0.1, "accuracy": 0.8, "seconds": 1, "verdict": None}
    known = {"training images": 9.0, "Gaussian": 5.0, "mean image": mean}
    return {"start": {**judged, "nat": start}, "end": judged, "references": known, "data spread": 0.1}


@pytest.mark.parametrize(
    ("run", "holds"),
    [(run_of(1), True), (run_of(0, mean=-1), False), (run_of(0, start=-1), False), (run_of(-1), False)],
)
def test_above_the_start_and_the_mean_image_for_every_seed(claims, run, holds):
    assert claims.verdict_parzen([run_of(50.0), run])[0] is holds


@pytest.mark.parametrize(("paper", "holds"), [(0.5, True), (1.0, False), (2.0, False)])
def test_the_papers_sgd_is_below_the_recipe_for_every_seed(claims, paper, holds):
    two = lambda nat: {"paper": run_of(nat)["end"], "recipe": run_of(1.0)["end"]}  # noqa: E731
    assert claims.verdict_sgd([two(0.0), two(paper)])[0] is holds


def test_a_failure_is_named(claims):
    run = {"paper": {**run_of(0)["end"], "verdict": "the generator has collapsed"}, "recipe": run_of(1)["end"]}
    text = claims.verdict_sgd([run, run])[1]
    assert "SGD 0 / 0 nat" in text and text.count("the generator has collapsed") == 1 and "no failure" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_on_the_gan_can_be_measured(claims, name):
    measure, verdict = claims.CLAIMS[name]
    holds, text = verdict([measure(0, TRIAL)])
    assert holds in ((None,) if name == "weights" else (True, False))
    assert "nan" not in text


def test_these_claims_are_among_the_lessons(claims):
    assert list(claims.CLAIMS) == CLAIMS
    assert set(CLAIMS) <= set(load(LESSON / "claims.py", "lesson_07_claims_all").CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_on_the_gan_was_measured_and_the_readme_says_what_came_out(claims, name):
    check_claim(LESSON, claims, name)
