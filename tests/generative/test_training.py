"""train_gan: its two rates, resuming bit by bit, what it refuses, that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tinyconv
from tinyconv import data, models
from tinyconv.generative.measures import nearest_distance
from tinyconv.generative.training import PAPER, RECIPES, Recipe, optimizers, recipe_of, train_gan
from tinyconv.models.gan import bias_to_mean
from training_tools import assert_same, weights


def pictures(n: int = 60, side: int = 8, channels: int = 1) -> data.ArrayDataset:
    """Return bright discs of one size at two places, a little noisy."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    images = np.zeros((n, channels, side, side), np.float32)
    for i in range(n):
        middle = side * (0.3 if i % 2 else 0.7)
        disc = np.hypot(y - middle, x - middle) < side / 4
        images[i] = 0.9 * disc + rng.uniform(0, 0.1, (side, side))
    return data.ArrayDataset(images, np.zeros(n, np.int64))


def small(name: str = "gan", **options):
    tinyconv.manual_seed(0)
    return models.build(name, scale="lesson", in_channels=1, image_size=8, width=0.1, **options)


FEW = Recipe(5e-3, 1e-2, 0.5, batch_size=20, epochs=2, hold=0.5)


@pytest.mark.parametrize("name", ["gan", "dcgan", "lapgan"])
def test_a_resumed_run_ends_with_the_same_bits(name: str, tmp_path) -> None:
    """Noise, dropout masks, running statistics, Adam's means and the schedule all go on where they were."""

    class Leave:
        def on_step(self, state) -> None:
            state.stop = state.step == 4  # within the second epoch

    whole = small(name)
    rows = train_gan(whole, pictures(), recipe=FEW, out=tmp_path / "a", progress=False).rows
    cut = small(name)
    train_gan(cut, pictures(), recipe=FEW, out=tmp_path / "b", callbacks=[Leave()], progress=False)
    tinyconv.manual_seed(5)  # whatever is drawn meanwhile
    again = models.build(name, **cut.config["arguments"])
    history = train_gan(again, pictures(), recipe=FEW, out=tmp_path / "b", resume=True, progress=False)
    assert_same(weights(whole), weights(again))
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in found] for found in (rows, history.rows)]
    assert timeless[0] == timeless[1]
    assert {"train_loss", "generator_loss", "discriminator_accuracy"} <= rows[0].keys()


def test_both_networks_have_a_rate_of_their_own_which_falls_after_its_hold() -> None:
    model = small()
    optimizer, schedule = optimizers(model, FEW, None, epochs=2, steps=3)
    groups = optimizer.param_groups
    assert [group["lr"] for group in groups] == [5e-3, 1e-2] and groups[0]["betas"] == (0.5, 0.999)
    for group, network in zip(groups, (model.discriminator, model.generator), strict=True):
        assert {id(p) for p in group["params"]} == {id(p) for p in network.parameters()}
    found = []
    for _ in range(6):
        found.append(groups[1]["lr"])
        schedule.step()
    assert found == pytest.approx([1e-2, 1e-2, 1e-2, 1e-2, 1e-2 * 2 / 3, 1e-2 / 3])
    optimizer, _ = optimizers(model, FEW, (1.0, 2.0), epochs=2, steps=3)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 2.0]


def test_the_papers_recipe_is_sgd_whose_momentum_rises_in_250_epochs() -> None:
    model = models.gan(width=0.05)
    assert recipe_of(model) == PAPER
    optimizer, schedule = optimizers(model, PAPER, None, epochs=250, steps=2)
    assert isinstance(optimizer, tinyconv.optim.AlexNetSGD)
    assert [(g["lr"], g["momentum"], g["weight_decay"]) for g in optimizer.param_groups] == [(0.1, 0.5, 0.0)] * 2
    for _ in range(250):
        schedule.step()
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.6)
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0.1 / 1.000004**250)


def test_every_level_of_a_pyramid_is_in_the_optimizer() -> None:
    model = small("lapgan")
    optimizer, _ = optimizers(model, FEW, None, 1, 1)
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in model.parameters()}
    of_generators = {id(p) for level in (*model.details, model.coarse) for p in level.generator.parameters()}
    assert {id(p) for p in optimizer.param_groups[1]["params"]} == of_generators


def test_a_recipe_for_every_builder_and_scale() -> None:
    for name in ("gan", "dcgan", "lapgan"):
        for scale in ("paper", "lesson"):
            assert recipe_of(models.build(name, scale=scale, width=0.05, device="meta")) is RECIPES[name, scale]


def test_it_learns_what_the_images_have_in_common() -> None:
    """The generator draws discs, perhaps one of the two only: far nearer to a training image than the mean image is."""
    dataset = pictures(400)
    model = small()
    train_gan(model, dataset, recipe=Recipe(2e-3, 4e-3, 0.5, batch_size=50, epochs=60), progress=False)
    samples, real = model.sample(200), dataset.images
    assert nearest_distance(samples, real).mean() < 0.5 * nearest_distance(real.mean(0, keepdims=True), real).mean()


def test_the_generator_begins_with_the_mean_image_and_only_the_gans() -> None:
    dataset = pictures()
    model, other = small(), small()
    train_gan(model, dataset, recipe=FEW, rates=(1e-12, 1e-12), epochs=1, progress=False)
    bias_to_mean(other, dataset.images)
    np.testing.assert_allclose(model.sample(2), other.sample(2), atol=1e-5)


def test_what_a_run_is_asked_for_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """k, loss, seed and the schedule's unit: each shows in what fit is given."""
    from tinyconv.generative import training

    given = {}
    monkeypatch.setattr(training, "fit", lambda model, loader, **how: given.update(how, loader=loader))
    train_gan(small(), pictures(), recipe=FEW, k=2, loss="saturating", seed=7, out="somewhere")
    assert given["update"].settings == {"k": 2, "loss": "saturating"}
    assert (given["seed"], given["loader"].seed, given["loader"].shuffle) == (7, 7, True)
    assert (given["schedule_per"], given["epochs"], given["out"]) == ("step", 2, "somewhere")
    assert given["loader"].drop_last and given["loader"].batch_size == 20


def test_the_rate_falls_within_an_epoch() -> None:
    rows = train_gan(small(), pictures(), recipe=FEW, epochs=2, progress=False).rows
    assert [row["lr"] for row in rows] == pytest.approx([5e-3, 0.0], abs=1e-12)  # after three steps, after six


def test_the_papers_recipe_resumes_with_the_same_bits(tmp_path) -> None:
    class Leave:
        def on_step(self, state) -> None:
            state.stop = state.step == 4

    short = replace(PAPER, discriminator=0.01, generator=0.01, batch_size=20)
    whole, cut = small(), small()
    train_gan(whole, pictures(), recipe=short, epochs=2, progress=False)
    how = {"recipe": short, "epochs": 2, "out": tmp_path, "progress": False}
    train_gan(cut, pictures(), callbacks=[Leave()], **how)
    again = small()
    train_gan(again, pictures(), resume=True, **how)
    assert_same(weights(whole), weights(again))


def test_a_generator_that_has_learnt_keeps_its_bias() -> None:
    model = small()
    train_gan(model, pictures(), recipe=FEW, progress=False)
    before = weights(model)["generator.fc3.bias"]
    train_gan(model, pictures(), recipe=FEW, rates=(1e-12, 1e-12), epochs=1, progress=False)
    np.testing.assert_allclose(weights(model)["generator.fc3.bias"], before, atol=1e-6)


def test_networks_of_float64_learn_from_images_of_float32() -> None:
    for name in ("gan", "dcgan", "lapgan"):
        history = train_gan(small(name, dtype=np.float64), pictures(), recipe=FEW, epochs=1, progress=False)
        assert np.isfinite(history.last["generator_loss"])


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"rates": 0.1}, ValueError, "rates must be two positive numbers, .* got 0.1"),
        ({"rates": (0.1, 0.2, 0.3)}, ValueError, "rates must be two positive numbers"),
        ({"rates": (0.1, -1)}, ValueError, "rates must be two positive numbers"),
        ({"epochs": 0}, ValueError, "train_gan: epochs must be an int of at least 1, got 0"),
        ({"dataset": np.zeros((60, 1, 8, 8), np.float32)}, TypeError, r"pairs \(image, label\), got ndarray"),
    ],
)
def test_bad_arguments(how, error, message: str) -> None:
    dataset = how.pop("dataset", None)
    with pytest.raises(error, match=message):
        train_gan(small(), pictures() if dataset is None else dataset, recipe=FEW, **how)


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match="model must be a gan, dcgan or lapgan, got LeNet5; classifiers: tinyconv.fit"):
        train_gan(models.lenet5(), pictures())
    with pytest.raises(ValueError, match=r"dataset must have images of shape \(1, 8, 8\), got \(3, 8, 8\)"):
        train_gan(small(), pictures(channels=3), recipe=FEW)
    normalised = data.ArrayDataset(pictures().images * 2 - 1, np.zeros(60, np.int64))
    with pytest.raises(ValueError, match=r"dataset must have images in \[0, 1\], got -0.99.* to .*; do not normalise"):
        train_gan(small(), normalised, recipe=FEW)
    with pytest.raises(ValueError, match="at least one batch of 100 images, got 60; give more images or a smaller"):
        train_gan(small(), pictures(), batch_size=100)


def test_a_rate_that_is_far_too_high_is_named(tmp_path) -> None:
    model = small("dcgan")
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="wanted a finite loss, got (nan|inf)"):
        train_gan(model, pictures(), recipe=PAPER, rates=(1e30, 1e30), batch_size=20, epochs=3, progress=False)
