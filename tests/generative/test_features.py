"""Discriminators as feature extractors: the papers' counts, by hand, in evaluation mode; machines that judge them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import models, nn
from tinyconv.generative import features as module
from tinyconv.generative.features import discriminator_features, svm_error
from tinyconv.vision.svm import LinearSVM


def stack(channels: int, widths: tuple[int, ...], strides: tuple[int, ...], kernel: int, side: int) -> nn.Sequential:
    """Return a discriminator: convolutions with batch normalisation (but the first) and LeakyReLU, then one logit."""
    layers: dict[str, nn.Module] = {}
    for k, (before, after, stride) in enumerate(zip((channels, *widths), widths, strides, strict=False), 1):
        layers[f"conv{k}"] = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2)
        if k > 1:
            layers[f"bn{k}"] = nn.BatchNorm2d(after)
        layers[f"lrelu{k}"] = nn.LeakyReLU(0.2)
        side = -(-side // stride)
    layers["flatten"], layers["fc"] = nn.Flatten(), nn.Linear(widths[-1] * side * side, 1)
    layers["sigmoid"] = nn.Sigmoid()  # an activation without maps
    return nn.Sequential(layers)


@pytest.fixture
def judge(rng: np.random.Generator) -> nn.Sequential:
    """Return a small discriminator of (2, 16, 16) images with statistics that no batch has, in training mode."""
    tinyconv.manual_seed(0)
    model = stack(2, (3, 5), (2, 2), 3, 16)
    model.bn2.running_mean.data[:] = rng.standard_normal(5)
    model.bn2.running_var.data[:] = rng.uniform(0.5, 2, 5)
    return model.train()


@pytest.mark.parametrize(
    ("widths", "strides", "kernel", "wanted"),
    [
        ((64, 128, 256), (2, 2, 2), 5, 7168),
        ((128, 128, 256, 256, 512, 512), (1, 2, 1, 2, 1, 2), 3, 28672),
    ],
)
def test_the_papers_numbers_of_features(
    widths: tuple[int, ...], strides: tuple[int, ...], kernel: int, wanted: int, rng: np.random.Generator
) -> None:
    images = rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    found = discriminator_features(stack(3, widths, strides, kernel, 32), images)
    assert found.shape == (1, wanted) and found.dtype == np.float32
    assert wanted == 16 * sum(widths)


def test_by_hand(judge: nn.Sequential, rng: np.random.Generator) -> None:
    """Maps of 8 and 4 pixels, normalised by the population's statistics, pooled by 2 and by 1."""
    images = rng.standard_normal((3, 2, 16, 16)).astype(np.float32)
    first = judge.conv1(tinyconv.tensor(images)).detach().numpy()
    first = np.where(first > 0, first, 0.2 * first)
    second = judge.conv2(tinyconv.tensor(first)).detach().numpy()
    mean, variance = (b.numpy()[:, None, None] for b in (judge.bn2.running_mean, judge.bn2.running_var))
    second = (second - mean) / np.sqrt(variance + judge.bn2.eps)
    second = np.where(second > 0, second, 0.2 * second)
    assert second.shape == (3, 5, 4, 4)
    pooled = first.reshape(3, 3, 4, 2, 4, 2).max(axis=(3, 5))
    wanted = np.concatenate([pooled.reshape(3, -1), second.reshape(3, -1)], axis=1)
    np.testing.assert_allclose(discriminator_features(judge, images), wanted, rtol=1e-5, atol=1e-6)


def test_an_images_features_do_not_depend_on_the_others(judge: nn.Sequential, rng: np.random.Generator) -> None:
    images = rng.standard_normal((7, 2, 16, 16)).astype(np.float32)
    before = {name: value.numpy().copy() for name, value in judge.state_dict().items()}
    judge.bn2.eval()  # every module keeps its own mode
    modes = [m.training for m in judge.modules()]
    together = discriminator_features(judge, images)
    for batch in (1, 3):
        np.testing.assert_allclose(discriminator_features(judge, images, batch=batch), together, rtol=1e-6, atol=1e-6)
    changed = np.concatenate([images[:1], 100 * images[1:]])
    np.testing.assert_allclose(discriminator_features(judge, changed)[0], together[0], rtol=1e-6, atol=1e-6)
    assert [m.training for m in judge.modules()] == modes and len(set(modes)) == 2
    for name, value in judge.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_layers_and_sizes(judge: nn.Sequential, rng: np.random.Generator) -> None:
    images = rng.standard_normal((2, 2, 16, 16)).astype(np.float32)
    both = discriminator_features(judge, images)
    np.testing.assert_array_equal(discriminator_features(judge, images, ["lrelu1"]), both[:, : 3 * 16])
    np.testing.assert_array_equal(discriminator_features(judge, images, "lrelu2"), both[:, 3 * 16 :])
    assert discriminator_features(judge, images, ["conv2"]).shape == (2, 5 * 16)
    assert discriminator_features(judge, images, size=1).shape == (2, 3 + 5)
    assert discriminator_features(judge, images, size=8).shape == (2, 3 * 64 + 5 * 16)  # nothing is enlarged
    pair = nn.Module()
    pair.generator, pair.discriminator = nn.Linear(4, 4), judge  # as in a GAN
    np.testing.assert_array_equal(discriminator_features(pair, images), both)
    maxout = nn.Sequential(nn.Conv2d(2, 6, 3), nn.Maxout(3), nn.Flatten(), nn.Linear(392, 1))
    assert discriminator_features(maxout, images).shape == (2, 2 * 16)


def test_a_gans_images_are_in_0_to_1_and_scaled_by_it(rng: np.random.Generator) -> None:
    """DCGAN's networks see [-1, 1], the first GAN's [0, 1]; from outside nobody need know."""
    images = rng.uniform(0, 1, (3, 1, 8, 8)).astype(np.float32)
    for build, seen in ((models.dcgan, 2 * images - 1), (models.gan, images)):
        tinyconv.manual_seed(0)
        model = build(image_size=8, scale="lesson", width=0.1)
        if build is models.gan:
            model.discriminator = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
        wanted = discriminator_features(model.discriminator, seen)
        np.testing.assert_array_equal(discriminator_features(model, images), wanted)
        np.testing.assert_array_equal(discriminator_features(model, tinyconv.tensor(images)), wanted)
        for bad, what in ((2 * images - 1, "-"), (images * 255, "0.* to 2"), (images * np.nan, "nan to nan")):
            with pytest.raises(ValueError, match=rf"^discriminator_features: a GAN's images must be .* got {what}"):
                discriminator_features(model, bad)
    edges = np.stack([np.zeros((1, 8, 8)), np.ones((1, 8, 8))])
    assert np.isfinite(discriminator_features(model, edges)).all()


IMAGES = np.zeros((1, 2, 16, 16), np.float32)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"images": IMAGES[0]}, ValueError, r"images must be \(N, C, H, W\) with at least one image"),
        ({"images": IMAGES[:0]}, ValueError, r"images must be \(N, C, H, W\) with at least one image"),
        ({"images": IMAGES[:, :, :0]}, ValueError, r"images must be \(N, C, H, W\)"),
        ({"layers": ["lrelu3"]}, ValueError, "layer must be one of conv1, lrelu1, .*, got 'lrelu3'"),
        ({"layers": ["lrelu1", "fc"]}, ValueError, r"layer 'fc' must give maps \(N, K, OH, OW\), got shape \(1, 1\)"),
        ({"layers": []}, ValueError, "wanted a layer that gives maps"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(512, 4), nn.ReLU())}, ValueError, "wanted a layer that gives"),
        ({"model": nn.Sequential(nn.Flatten())}, ValueError, "wanted a layer that gives maps"),
        ({"model": nn.Linear(2, 3)}, TypeError, "model must be an nn.Sequential"),
        ({"model": "dcgan"}, TypeError, "model must be a Module, got str"),
        ({"size": 0}, ValueError, "size must be an int of at least 1, got 0"),
        ({"batch": 0}, ValueError, "batch must be an int of at least 1, got 0"),
    ],
)
def test_features_refused(judge: nn.Sequential, arguments: dict[str, Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=f"^discriminator_features: {message}"):
        discriminator_features(**{"model": judge, "images": IMAGES, **arguments})


# -------------------------------------------------------------------------------------------------- linear machines


def corners(rng: np.random.Generator, n: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return n examples of three classes, numbered 2, 5 and 7, around three corners."""
    y = rng.integers(0, 3, n)
    return np.eye(3)[y] + noise * rng.standard_normal((n, 3)), np.array([2, 5, 7])[y]


def test_separable_classes_are_told_apart(rng: np.random.Generator) -> None:
    train, validation, test = (corners(rng, n, 0.05) for n in (40, 20, 30))
    assert svm_error(*train, *validation, *test).error == 0
    assert svm_error(*train, *validation, *test, costs=[0.01, 1e-3, 0.1]) == (0, 1e-3)  # of equally good ones the least
    x, y = test
    wrong = y.copy()
    wrong[:6] = np.where(y[:6] == 2, 5, 2)
    assert svm_error(*train, *validation, x, wrong).error == 6 / 30
    wrong[6:9] = 99  # a class that was not learnt
    assert svm_error(*train, *validation, x, wrong).error == 9 / 30


def test_scale_does_not_matter_and_is_the_training_features(rng: np.random.Generator) -> None:
    sets = [corners(rng, n, 0.6) for n in (60, 40, 50)]
    found = svm_error(*sets[0], *sets[1], *sets[2], costs=[1e-3])
    assert 0 < found.error < 0.5
    for factor in (1e-3, 1e3):
        scaled = [part for x, y in sets for part in (factor * x, y)]
        assert svm_error(*scaled, costs=[1e-3]) == found
    # Machines are those of features of mean norm 20.
    x, y = sets[0]
    scale = 20 / np.linalg.norm(x, axis=1).mean()
    planes = [LinearSVM(C=1e-3, positive_weight=1, tolerance=1e-2).fit(scale * x, y == k) for k in (2, 5, 7)]
    guess = np.array([2, 5, 7])[np.argmax([p.scores(scale * sets[2][0]) for p in planes], axis=0)]
    assert found.error == (guess != sets[2][1]).mean()


def test_the_cost_is_the_validation_examples_choice(rng: np.random.Generator) -> None:
    """Three in ten of 60 labels are wrong: a small cost averages that away, a large one learns it by heart."""
    costs = (1e-7, 1e-5, 1e-3, 1e-1)
    x, y = rng.standard_normal((60, 30)), np.arange(60) % 2
    x[:, 0] += 2.0 * y
    noisy = np.where(rng.random(60) < 0.3, 1 - y, y)
    held, truth = rng.standard_normal((400, 30)), np.arange(400) % 2
    held[:, 0] += 2.0 * truth
    each = {c: svm_error(x, noisy, held, truth, held, truth, costs=[c]).error for c in costs}
    assert len(set(each.values())) > 1
    best = min(costs, key=lambda c: (each[c], c))
    assert svm_error(x, noisy, held, truth, held[:1], truth[:1], costs=costs[::-1]).cost == best
    # By the training examples' own noise another cost is best, and the test's labels have no say.
    learnt = {c: svm_error(x, noisy, x, noisy, x, noisy, costs=[c]).error for c in costs}
    other = min(costs, key=lambda c: (learnt[c], c))
    assert other != best
    assert svm_error(x, noisy, held, truth, x, noisy, costs=costs).cost == best
    found = svm_error(x, noisy, x, noisy, held, truth, costs=costs)
    assert (found.cost, found.error) == (other, each[other])


def test_costs_beyond_the_hard_margin_are_not_tried(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    class Noted(LinearSVM):
        def __post_init__(self) -> None:
            tried.append(self.C)

    monkeypatch.setattr(module, "LinearSVM", Noted)
    train = corners(rng, 40, 0.01)
    assert svm_error(*train, *train, *train, costs=[1e-5, 10.0, 100.0, 1000.0]).error == 0
    assert tried == [1e-5, 10.0]


def test_machines_are_at_most_1_percent_above_their_minimum(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Noted(LinearSVM):
        def fit(self, *examples: Any) -> Any:
            plane = super().fit(*examples)
            made.append((self, plane))
            return plane

    monkeypatch.setattr(module, "LinearSVM", Noted)
    train = corners(rng, 60, 0.6)
    svm_error(*train, *train, *train, costs=[1e-3, 1e-1])
    assert len(made) == 6
    for svm, plane in made:
        assert (svm.tolerance, svm.positive_weight) == (0.01, 1)
        assert plane.gap <= 0.01 * plane.objective


X, Y = np.eye(4), np.arange(4)
GOOD: dict[str, Any] = {
    "train": X, "labels": Y, "validation": X, "validation_labels": Y, "test": X, "test_labels": Y,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": X[:0], "labels": Y[:0]}, r"train must be .* of at least one example, got float64 of shape \(0, 4\)"),
        ({"test": X[:, :3]}, r"test must be float32 or float64 \(n, 4\) .* of shape \(4, 3\)"),
        ({"validation": X[:0], "validation_labels": Y[:0]}, "validation must be .* of at least one example"),
        ({"train": X[0]}, "train must be float32 or float64"),
        ({"train": X.astype(int)}, "train must be float32 or float64 .* got int64"),
        ({"test": X * np.nan}, "test must be finite, got NaN or infinity"),
        ({"labels": Y[:3]}, r"labels of train must be 4 ints, .* got int64 of shape \(3,\)"),
        ({"test_labels": Y * 1.0}, "labels of test must be 4 ints, .* got float64"),
        ({"labels": Y * 0}, r"labels must be of at least two classes, got only \[0\]"),
        ({"costs": []}, "costs must have at least one number, got none"),
    ],
)
def test_machines_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^svm_error: {message}"):
        svm_error(**{**GOOD, **changed})
    with pytest.raises(ValueError, match="LinearSVM: C must be positive"):
        svm_error(**GOOD, costs=[0.0])
