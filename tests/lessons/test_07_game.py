"""Lesson 07's game in one dimension: its losses, its best discriminator, its generators."""

from __future__ import annotations

import numpy as np
import pytest
from _exercises import LESSONS, load

import tinyconv
from tinyconv import nn

LESSON = LESSONS / "07_gan"


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims_adversarial.py", "lesson_07_claims_of_the_game")


@pytest.fixture(scope="module")
def game07(claims):
    return claims._step("game07")


@pytest.fixture(scope="module")
def step4(claims):
    return claims._step("step4_game")


def test_the_discrete_example_is_the_specifications(step4):
    D, value, jsd = step4.best(np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    np.testing.assert_allclose(D, [0.357143, 0.833333], atol=1e-6)
    assert (value, jsd) == (pytest.approx(-1.182796, abs=1e-6), pytest.approx(0.101749, abs=1e-6))
    assert value == pytest.approx(-np.log(4) + 2 * jsd, abs=1e-12)


def test_the_discriminators_loss_is_minus_the_value_of_the_game(step4, game07):
    """D's logit is x: V = mean log sigmoid(real) + mean log(1 - sigmoid(fake)); log 4 at 0."""
    identity, real, fake = nn.Identity(), np.array([1.0, -2.0]), np.array([0.5])
    sigmoid = lambda s: 1 / (1 + np.exp(-s))  # noqa: E731
    wanted = np.log(sigmoid(real)).mean() + np.log(1 - sigmoid(fake)).mean()
    assert step4.d_loss(identity, game07.column(real), game07.column(fake)).item() == pytest.approx(-wanted)
    nothing = game07.column(np.zeros(3))
    assert step4.d_loss(identity, nothing, nothing).item() == pytest.approx(np.log(4))


@pytest.mark.parametrize(("saturating", "slope"), [(True, -4.54e-5), (False, -0.99995)])
def test_slopes_where_the_discriminator_is_sure(step4, saturating, slope):
    s = tinyconv.tensor(np.array([-10.0]), requires_grad=True)
    assert tinyconv.grad(step4.g_loss(s, saturating), s).numpy()[0] == pytest.approx(slope, rel=1e-3)


@pytest.mark.slow
def test_logistic_regression_learns_the_best_discriminator(step4):
    """The logit of p / (p + q) is .5 - x; within .05 for 100,000 samples."""
    slope, bias = step4.logistic(100_000, seed=7)
    assert (slope, bias) == (pytest.approx(-1, abs=0.05), pytest.approx(0.5, abs=0.05))


def test_densities_and_samples_belong_together(game07):
    for density, sample in ((game07.hills, game07.from_hills), (game07.broad, game07.from_broad)):
        x = np.linspace(-12, 12, 4801)
        p = density(x)
        assert p.sum() * 0.005 == pytest.approx(1, abs=1e-6)
        drawn = sample(np.random.default_rng(0), 200_000)
        for power in (1, 2, 3):
            assert np.mean(drawn**power) == pytest.approx((p * x**power).sum() * 0.005, abs=0.05 * power)
        assert np.mean(drawn < -1) == pytest.approx(p[x < -1].sum() * 0.005, abs=0.005)


def test_only_the_optimizers_own_weights_move(step4, game07):
    D, theta = game07.discriminator(0), tinyconv.tensor(np.float32([-2]), requires_grad=True)
    before = [p.detach().numpy().copy() for p in D.parameters()]
    optimizer = tinyconv.optim.SGD([theta], 0.5)
    game07.descend(optimizer, step4.g_loss(D(game07.column(np.zeros(4)) + theta), saturating=False))
    assert theta.item() != -2
    for p, kept in zip(D.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), kept)


def test_the_generator_moves_only_after_the_discriminators_start(step4, monkeypatch):
    """So many steps of D in all, so many of theta; the samples are the same for both losses."""
    counts = []
    monkeypatch.setattr(step4, "descend", lambda optimizer, loss: counts.append(type(optimizer).__name__))
    path = step4.shift(True, seed=0, ahead=3, steps=2)
    assert counts == ["Adam"] * 3 + ["Adam", "SGD"] * 2
    np.testing.assert_array_equal(path, [-2, -2, -2])


@pytest.mark.slow
def test_the_generator_stalls_or_comes(step4):
    """Both begin at the same place, and go towards the data."""
    saturating, other = (step4.shift(kind, seed=1, ahead=200, steps=60) for kind in (True, False))
    assert saturating[0] == other[0] == -2
    assert 0 < saturating[-1] + 2 < 0.2 * (other[-1] + 2)


def test_the_rate_falls_to_nothing(step4, game07, monkeypatch):
    rates = []
    monkeypatch.setattr(step4, "descend", lambda optimizer, loss: rates.append(optimizer.param_groups[0]["lr"]))
    step4.learn_best(game07.discriminator(0), game07.from_hills, game07.from_broad, 8, 0)
    np.testing.assert_allclose(rates, 0.005 * np.array([1, 1, 1, 1, 1, 0.75, 0.5, 0.25]))


@pytest.mark.slow
def test_the_best_discriminator_is_learnt(step4, game07):
    step4.learn_best(D := game07.discriminator(5), game07.from_hills, game07.from_broad, 300, 5)
    p, q = game07.hills(game07.GRID), game07.broad(game07.GRID)
    assert np.abs(game07.believe(D, game07.GRID) - p / (p + q))[p + q >= 0.1].max() < 0.1


@pytest.mark.slow
def test_a_heap_comes_apart_on_the_two_hills(step4, monkeypatch):
    """Of the data half are left of -.25, and 98 % further than .5 from it; of the heap at the start few are."""
    loss, kinds = step4.g_loss, set()

    def noted(logits, saturating):
        kinds.add(saturating)
        return loss(logits, saturating)

    monkeypatch.setattr(step4, "g_loss", noted)
    (_, first), (_, last) = step4.play(0, (0, 300))
    assert kinds == {False}, "the second loss"
    assert 0.2 < np.mean(last < -0.25) < 0.8
    assert np.mean(np.abs(last + 0.25) > 0.5) > 0.8 > np.mean(np.abs(first + 0.25) > 0.5)


def test_the_strip_shows_what_was_asked_for(step4, game07):
    found = step4.play(0, (0, 2))
    assert len(found) == 2
    for D, samples in found:
        assert D.shape == game07.GRID.shape and samples.shape == (4000,)
        assert ((D > 0) & (D < 1)).all()
    assert (found[0][1] != found[1][1]).any()
