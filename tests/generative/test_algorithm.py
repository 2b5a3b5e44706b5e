"""Algorithm 1: each network's step leaves the other as it is; its gradients; k; what it measures; bad numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinyconv
from tinyconv import models, nn, optim
from tinyconv.generative.algorithm import AlgorithmOne, discriminator_loss, generator_loss
from tinyconv.models.gan import GAN
from tinyconv.random import training_step
from tinyconv.tensor import Tensor

BUILDERS = {
    "gan": {"image_size": 4, "width": 0.05},
    "dcgan": {"image_size": 8, "width": 0.1},
    "lapgan": {"image_size": 8, "width": 0.1},
}


def build(name: str) -> GAN:
    tinyconv.manual_seed(0)
    model = models.build(name, scale="lesson", in_channels=1, **BUILDERS[name])
    assert isinstance(model, GAN)
    return model


def images(model: GAN, n: int = 6) -> Tensor:
    return tinyconv.tensor(np.random.default_rng(0).random((n, *model.image_shape)).astype(np.float32))


def state(model: GAN) -> dict[str, np.ndarray]:
    return {key: value.numpy().copy() for key, value in model.state_dict().items()}


def of_generator(key: str) -> bool:
    return "generator" in key.split(".")


def adam(model: GAN, lr: float = 1e-2) -> optim.Adam:
    return optim.Adam(model.parameters(), lr=lr)


class Watched(AlgorithmOne):
    """The algorithm, which notes the state after each network's turn."""

    def __init__(self, model: GAN, **options) -> None:
        super().__init__(**options)
        self.model, self.turns = model, []

    def _discriminate(self, *arguments):
        before, found = state(self.model), super()._discriminate(*arguments)
        self.turns.append(("discriminator", before, state(self.model)))
        return found

    def _generate(self, *arguments):
        before, found = state(self.model), super()._generate(*arguments)
        self.turns.append(("generator", before, state(self.model)))
        return found


@pytest.mark.parametrize("loss", ["non-saturating", "saturating"])
@pytest.mark.parametrize("name", BUILDERS)
def test_what_one_network_learns_leaves_the_other_weights_and_statistics(name: str, loss: str) -> None:
    model = build(name)
    update, optimizer = Watched(model, loss=loss), adam(model)
    for step in range(2):
        with training_step(step, None):
            update(model, optimizer, images(model), None, step)
    pairs = 3 if name == "lapgan" else 1
    assert [turn for turn, *_ in update.turns] == ["discriminator", "generator"] * pairs * 2
    for turn, before, after in update.turns:
        changed = {key for key in before if not np.array_equal(before[key], after[key])}
        assert changed, turn
        assert all(of_generator(key) == (turn == "generator") for key in changed), (turn, changed)
    if name == "dcgan":
        statistics = {key for key in state(model) if "running_mean" in key}
        assert {of_generator(key) for key in statistics} == {True, False}
        first, last = update.turns[0][1], update.turns[-1][2]
        assert all(not np.array_equal(first[key], last[key]) for key in statistics)  # each in its own turn


def test_levels_of_a_pyramid_learn_apart() -> None:
    model = build("lapgan")
    update, optimizer = Watched(model), adam(model)
    update(model, optimizer, images(model), None, 0)
    prefixes = [
        {".".join(key.split(".")[:2] if key.startswith("details") else key.split(".")[:1])
         for key in before if not np.array_equal(before[key], after[key])}
        for _, before, after in update.turns
    ]  # fmt: skip
    assert prefixes == [{"details.0"}] * 2 + [{"details.1"}] * 2 + [{"coarse"}] * 2


class Logit(nn.Module):
    """A discriminator a x + b of images of one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(np.array([value], np.float64)) for value in (0.7, -0.2))

    def forward(self, x: Tensor) -> Tensor:
        return (x.reshape(-1, 1) * self.a + self.b).reshape(-1)


class Shift(nn.Module):
    """A generator z + m."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Parameter(np.array([1.5], np.float64))

    def forward(self, z: Tensor) -> Tensor:
        return (z + self.m).reshape(-1, 1, 1, 1)


def sigmoid(s: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-s))


@pytest.mark.parametrize("loss", ["non-saturating", "saturating"])
def test_one_step_by_hand(loss: str) -> None:
    """The discriminator's gradients, then the generator's through the discriminator that has already learnt."""
    model, lr = GAN(Shift(), Logit(), 1, (1, 1, 1)), 0.3
    a, b, m = 0.7, -0.2, 1.5
    x = np.random.default_rng(1).random((50, 1, 1, 1))
    tinyconv.manual_seed(3)
    streams = ("gan.discriminator", "gan.generator")
    first, second = (model.latent(50, 3, stream, 9)[:, 0].astype(float) for stream in streams)
    real, fake = x.ravel(), first + m
    assert not np.allclose(first, second)
    missed, taken = sigmoid(-(a * real + b)), sigmoid(a * fake + b)
    a -= lr * 0.5 * (-(missed * real).mean() + (taken * fake).mean())
    b -= lr * 0.5 * (-missed.mean() + taken.mean())
    s = a * (second + m) + b
    slope = -(1 - sigmoid(s)) if loss == "non-saturating" else -sigmoid(s)
    wanted = m - lr * (slope * a).mean()
    found = AlgorithmOne(loss=loss)(model, optim.SGD(model.parameters(), lr), Tensor(x), None, 9)
    np.testing.assert_allclose([p.item() for p in (model.discriminator.a, model.discriminator.b)], [a, b], rtol=1e-12)
    np.testing.assert_allclose(model.generator.m.item(), wanted, rtol=1e-12)
    right = ((0.7 * real - 0.2 > 0).mean() + (0.7 * fake - 0.2 < 0).mean()) / 2
    assert found.measures["discriminator_accuracy"] == pytest.approx(right)
    value = np.log1p(np.exp(-s)).mean() if loss == "non-saturating" else -np.log1p(np.exp(s)).mean()
    assert found.measures["generator_loss"] == pytest.approx(value)


def test_losses_and_their_gradients_where_the_discriminator_is_sure() -> None:
    """Section 4.6: at a logit of -10 the game's own loss has a gradient of 4.54e-5, the other one of .99995."""
    for loss, size in (("saturating", 4.54e-5), ("non-saturating", 0.99995)):
        s = tinyconv.tensor(np.array([-10.0]), requires_grad=True)
        generator_loss(s, loss).backward()
        assert -s.grad.item() == pytest.approx(size, rel=1e-3)
    s = tinyconv.tensor(np.zeros(4))
    assert discriminator_loss(s, s).item() == pytest.approx(math.log(2), abs=1e-15)
    far = tinyconv.tensor(np.array([1000.0, -1000.0]))
    assert discriminator_loss(far, -far).item() == 500.0 and generator_loss(far).item() == 500.0
    with pytest.raises(ValueError, match="loss must be one of"):
        generator_loss(s, "minimax")


def test_k_steps_of_the_discriminator_for_one_of_the_generator() -> None:
    model = build("gan")
    update, optimizer = Watched(model, k=3), adam(model)
    measures = [update(model, optimizer, images(model), None, step).measures for step in range(6)]
    d, g = "discriminator", "generator"
    assert [turn for turn, *_ in update.turns] == [d, d, d, g] * 2
    assert ["generator_loss" in found for found in measures] == [False, False, True] * 2


def test_noise_is_a_function_of_seed_and_step() -> None:
    after = []
    for seed, step in ((0, 4), (0, 4), (0, 5), (1, 4)):
        model = build("gan")
        tinyconv.manual_seed(seed)
        with training_step(step, None):
            AlgorithmOne()(model, optim.SGD(model.parameters(), 0.1), images(model), None, step)
        after.append(state(model)["generator.fc1.weight"])
    assert np.array_equal(after[0], after[1])
    assert not np.array_equal(after[0], after[2]) and not np.array_equal(after[0], after[3])


def test_the_accuracies_of_a_pyramid_have_names_and_a_mean() -> None:
    model = build("lapgan")
    measures = AlgorithmOne()(model, adam(model), images(model), None, 0).measures
    levels = [measures[f"discriminator_accuracy_{side}"] for side in (8, 4, 2)]
    assert measures["discriminator_accuracy"] == pytest.approx(np.mean(levels))


def test_a_pyramids_losses_are_means_and_its_levels_have_noise_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model, found, streams = build("lapgan"), {"d": [], "g": []}, []

    class Noted(AlgorithmOne):
        def _discriminate(self, *arguments):
            found["d"].append(super()._discriminate(*arguments))
            return found["d"][-1]

        def _generate(self, *arguments):
            found["g"].append(super()._generate(*arguments))
            return found["g"][-1]

    latent = GAN.latent
    monkeypatch.setattr(GAN, "latent", lambda self, n, seed, stream, step: streams.append(stream) or latent(self, n, seed, stream, step))  # noqa: E501
    updated = Noted()(model, adam(model), images(model), None, 0)
    assert updated.loss == pytest.approx(np.mean([loss for loss, _ in found["d"]]))
    assert updated.measures["generator_loss"] == pytest.approx(np.mean(found["g"]))
    assert len(set(streams)) == len(streams) == 6


def test_a_generators_loss_that_is_not_finite_takes_no_step_by_it() -> None:
    """A discriminator whose own step explodes: its loss was finite, the generator's is not."""
    model = GAN(Shift(), Logit(), 1, (1, 1, 1))
    x = Tensor(np.random.default_rng(1).random((5, 1, 1, 1)))
    with np.errstate(all="ignore"):
        found = AlgorithmOne()(model, optim.SGD(model.parameters(), 1e308), x * 1e200, None, 0)
    assert not math.isfinite(found.loss) and found.measures == {}
    assert model.generator.m.item() == 1.5


@pytest.mark.parametrize("broken", ["discriminator.fc3.bias", "generator.fc1.bias"])
def test_a_loss_that_is_not_finite_changes_nothing(broken: str) -> None:
    model = build("gan")
    dict(model.named_parameters())[broken].data[...] = np.nan
    before = state(model)
    found = AlgorithmOne()(model, adam(model), images(model), None, 0)
    assert math.isnan(found.loss)
    for key, value in state(model).items():
        np.testing.assert_array_equal(value, before[key], err_msg=key)


def test_bad_settings() -> None:
    for k in (0, 1.5, True):
        with pytest.raises(ValueError, match="AlgorithmOne: k must be an int of at least 1"):
            AlgorithmOne(k=k)
    with pytest.raises(ValueError, match="AlgorithmOne: loss must be one of"):
        AlgorithmOne(loss="wasserstein")
