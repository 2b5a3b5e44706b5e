"""Lesson 07, steps 1 to 4: what they write by hand is what the library computes, and their numbers are the papers'."""

from __future__ import annotations

import re

import numpy as np
import pytest
from _exercises import LESSONS, load
from _steps import check_step, imported, run_step, script_of

import tinyconv
from tinyconv import data, nn
from tinyconv.explain.adversarial import distortion, fgsm, random_signs, scores
from tinyconv.explain.minimal import linear_distance
from tinyconv.lesson import steps_of
from tinyconv.nn import functional as F

LESSON = LESSONS / "07_gan"
STEPS = steps_of(LESSON)[:4]


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims_adversarial.py", "lesson_07_claims_of_steps")


@pytest.fixture(scope="module")
def digits07(claims):
    return claims._step("digits07")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A step that was run, by its number, and what it printed; each is run once, as with --smoke."""
    folder, found = tmp_path_factory.mktemp("lesson07"), {}

    def of(number: int):
        if number not in found:
            found[number] = imported(script_of(LESSON, number), folder)
        return found[number][0], found[number][1].getvalue()

    return of


# ----------------------------------------------------------------------------------------------------------- the steps


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stem)
def test_a_step_says_what_it_needs_and_names_the_next(step):
    check_step(step)


@pytest.mark.slow
@pytest.mark.parametrize("script", STEPS, ids=lambda script: script.stem)
def test_a_step_runs(script, tmp_path):
    assert "next: " in run_step(script, tmp_path)


# ------------------------------------------------------------------------------------------------- digits and networks


@pytest.mark.parametrize("side", [28, 14, 7])
def test_smaller_digits_are_means_of_blocks(digits07, side):
    small, block = digits07.digits("test", 3, side), 28 // side
    raw = data.mnist("test").images[1, 0].astype(float) / 255
    assert small.images.shape == (3, 1, side, side) and small.images.dtype == np.float32
    for i, j in ((side // 2, side // 2), (side // 2, side // 3)):
        cell = raw[i * block : (i + 1) * block, j * block : (j + 1) * block]
        assert small.images[1, 0, i, j] == pytest.approx(cell.mean(), abs=1e-6)
    np.testing.assert_array_equal(small.labels, data.mnist("test").labels[:3])


def test_networks_are_those_that_are_named(digits07):
    widths = lambda model: [m.weight.shape for m in model.modules() if isinstance(m, nn.Linear)]  # noqa: E731
    assert widths(digits07.network()) == [(10, 784)]
    assert widths(digits07.network(side=7)) == [(10, 49)]
    assert widths(digits07.network((200, 200))) == [(200, 784), (200, 200), (10, 200)]
    same, again, other = (digits07.network(seed=seed)[1].weight.detach().numpy() for seed in (3, 3, 4))
    np.testing.assert_array_equal(same, again)
    assert (same != other).any()


def test_rivals_are_the_right_class_and_the_best_other():
    """Of label 2 the best other is 7, also where 7 leads; of label 7 it is 2; label 0 is behind both."""
    rivals = load(LESSON / "digits07.py", "lesson_07_digits").rivals
    z = np.zeros((4, 10))
    z[0, [2, 7, 4]], z[1, [2, 7, 4]], z[2, [2, 7, 4]], z[3, [2, 7, 4]] = (3, 2, -5), (2, 3, -5), (2, 3, -5), (2, 3, -5)
    found = rivals(z, np.array([2, 2, 7, 0]))
    assert [(row.argmax(), row.argmin(), np.abs(row).sum()) for row in found] == [
        (2, 7, 2), (2, 7, 2), (7, 2, 2), (0, 7, 2),
    ]  # fmt: skip
    np.testing.assert_array_equal((z * found).sum(axis=1), [1, -1, 1, -3])


def test_szegedys_decays_are_a_fifth_of_the_papers(digits07, monkeypatch):
    """Its loss has decay * |w|^2 / 10, of which the gradient is decay / 5 * w; SGD adds weight_decay * w."""
    seen = {}
    monkeypatch.setattr(digits07, "learn", lambda model, data, **how: seen.setdefault(name, (model, how)))
    for name in digits07.SZEGEDY:
        digits07.szegedy(name, None, epochs=7, seed=2)
    decays = {name: how["weight_decay"] for name, (_, how) in seen.items()}
    assert decays == {"FC10(1e-4)": 1e-4 / 5, "FC10(1e-2)": 1e-2 / 5, "FC10(1)": 1 / 5, "FC100-100-10": 0}
    assert all((how["epochs"], how["seed"]) == (7, 2) for _, how in seen.values())
    assert [how["lr"] for _, how in seen.values()] == [0.1, 0.1, 0.01, 0.3]
    sigmoids = [isinstance(m, nn.Sigmoid) for m in seen["FC100-100-10"][0].modules()]
    assert sum(sigmoids) == 2


@pytest.mark.slow
def test_a_strong_decay_is_trained_to_its_optimum(digits07):
    """Of loss + 0.2 / 2 |w|^2, over all weights, what is left of the gradient is small beside the decay's part."""
    training = digits07.digits("train", 1000)
    model = digits07.szegedy("FC10(1)", training, epochs=60, seed=1)
    loss = F.cross_entropy(model(tinyconv.tensor(training.images)), tinyconv.tensor(training.labels))
    slope, w = tinyconv.grad(loss, model[1].weight).numpy(), model[1].weight.detach().numpy()
    assert np.linalg.norm(slope + 0.2 * w) < 0.2 * np.linalg.norm(0.2 * w)


def test_learn_trains_as_it_says(digits07, monkeypatch):
    seen = []
    monkeypatch.setattr(tinyconv, "fit", lambda model, loader, **how: seen.append((loader, how)))
    model = digits07.network()
    assert digits07.learn(model, digits07.digits("train", 250), epochs=4, seed=5, weight_decay=0.5) is model
    ((loader, how),) = seen
    group = how["optimizer"].param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 0.5)
    assert (how["epochs"], how["seed"], how["update"], loader.batch_size) == (4, 5, None, 100)
    assert not model.training


def test_confidence_is_that_of_mistakes(digits07):
    """Scores are the images: three right ones, and one wrong with softmax (log 3, 0, ...) on ten classes."""
    images = 50 * np.eye(10, dtype=np.float32)[:4].reshape(4, 10, 1, 1)
    images[3] = 0
    images[3, 0] = np.log(3)
    error, sure = digits07.judge(nn.Sequential(nn.Flatten()), images, np.arange(4))
    assert (error, sure) == (0.25, pytest.approx(3 / 12))
    assert np.isnan(digits07.judge(nn.Sequential(nn.Flatten()), images[:3], np.arange(3))[1])


def test_noise_has_the_deviation_of_the_change(digits07):
    rng = np.random.default_rng(0)
    images = rng.random((5, 1, 28, 28))
    changed = images + rng.random((5, 1, 1, 1)) * rng.standard_normal(images.shape)
    noisy = digits07.noise_like(images, changed, 3)
    np.testing.assert_allclose(distortion(images, noisy), distortion(images, changed))
    np.testing.assert_array_equal(digits07.noise_like(images[:2], changed[:2], 3), noisy[:2])
    assert (digits07.noise_like(images, changed, 4) != noisy).all()
    np.testing.assert_array_equal(digits07.noise_like(images, images), images)


# ------------------------------------------------------------------------------------------------------- steps 1 to 3


@pytest.mark.slow
def test_the_step_by_hand_is_the_librarys_but_for_rounding(ran):
    """J's gradient fades where a network is sure: with large weights it is 0, m's is not."""
    step, text = ran(1)
    shares = dict(re.findall(r"^(\w+), eps 0.25 up m: +([\d.]+)% of pixels", text, re.MULTILINE))
    assert set(shares) == {"softmax", "MLP"} and max(map(float, shares.values())) < 0.2
    sure = step.network((), seed=1)
    images = step.images[:20]
    sure[1].weight.data[...] *= 300
    labels = scores(sure, images).argmax(axis=1)
    faded, whole = (step.by_hand(sure, images, labels, 0.25, fades) for fades in (True, False))
    theirs = fgsm(sure, images, labels, 0.25, clip=None)
    assert (faded == images).all(axis=(1, 2, 3)).any()
    assert (whole != images).mean() > 0.99
    np.testing.assert_array_equal(whole, theirs)


@pytest.mark.slow
def test_attacks_are_clipped_where_they_are_said_to_be(ran, digits07):
    step, text = ran(1)
    for (name, kind), errors in step.curves.items():
        clip = (0.0, 1.0) if kind.endswith(", clipped") else None
        for eps, error in zip((0.0, 0.05, 0.1, 0.25), errors, strict=True):
            how = {"random": random_signs(step.images, eps, clip=clip, seed=0)}
            how["gradient"] = fgsm(step.models[name], step.images, step.labels, eps, clip=clip)
            assert error == digits07.judge(step.models[name], how[kind.split(",")[0]], step.labels)[0]
    assert len(step.curves) == 8


@pytest.mark.slow
def test_the_margin_is_what_the_right_class_leads_by(ran):
    """The row of 28x28 pixels is that of step 1's softmax regression."""
    step, text = ran(1)
    model, labels, rows = step.models["softmax"], step.labels, np.arange(len(step.labels))
    row = next(line.split() for line in text.splitlines() if line.split()[:1] == ["784"])
    z, weight = scores(model, step.images), model[1].weight.detach().numpy()
    others = np.where(np.arange(10) == labels[:, None], -np.inf, z)
    one = np.abs(weight[labels] - weight[others.argmax(axis=1)]).sum(axis=1).mean()
    assert float(row[1]) == pytest.approx(one, abs=0.051)
    assert float(row[5]) == pytest.approx((z[rows, labels] - others.max(axis=1)).mean() / one, abs=0.00051)


@pytest.mark.slow
def test_the_nearest_border_is_the_librarys(ran):
    step, text = ran(2)
    rng = np.random.default_rng(1)
    weight, bias, x = rng.standard_normal((6, 9)), rng.standard_normal(6), rng.random((30, 9))
    r, own = step.nearest(x, weight, bias), (x @ weight.T + bias).argmax(axis=1)
    np.testing.assert_allclose(np.linalg.norm(r, axis=1), linear_distance(weight, bias, x, own))
    there = np.sort((x + r) @ weight.T + bias, axis=1)
    np.testing.assert_allclose(there[:, -1], there[:, -2], atol=1e-9)
    rows = [[float(v) for v in line.split()[-3:]] for line in text.splitlines() if line.startswith("  [")]
    assert len(rows) == 7
    for formula, free, inside in rows:
        assert free == pytest.approx(formula, rel=0.01)
        assert inside >= formula - 1e-4
    assert sum(inside > formula + 0.004 for formula, _, inside in rows) == 1, "one point's way leaves the box"


@pytest.mark.slow
def test_the_right_sign_is_the_loss_at_the_attacked_images(ran):
    step, _ = ran(3)
    x, y = step.threes_and_sevens(step.test)
    assert set(y) == {-1, 1} and (step.test.labels == 7).sum() == (y == 1).sum()
    w, b = step.w, step.b
    for label in (1, -1):
        here, sign = x[y == label], y[y == label]
        moved = step.attacked(w.numpy(), here, sign, 0.25)
        tensors = [tinyconv.tensor(v) for v in (here, moved, sign)]
        right, wrong = (step.margin(w, b, tensors[0], tensors[2], 0.25, form).numpy() for form in (False, True))
        wanted = step.margin(w, b, tensors[1], tensors[2], 0.0).numpy()
        np.testing.assert_allclose(right, wanted, rtol=1e-12)
        off = 0 if label == 1 else -2 * 0.25 * np.abs(w.numpy()).sum()
        np.testing.assert_allclose(wrong - right, off, atol=1e-12)


@pytest.mark.slow
def test_each_form_trains_by_itself(ran):
    """After as many steps each form of the loss is smaller for the network that was trained by it."""
    step, _ = ran(3)
    x, y = map(tinyconv.tensor, step.threes_and_sevens(step.training))
    found = {form: step.train(0.25, form) for form in (False, True)}
    losses = {
        (judge, form): F.softplus(step.margin(*found[form], x, y, 0.25, judge)).mean().item()
        for judge in found for form in found
    }  # fmt: skip
    assert losses[False, False] < losses[False, True] and losses[True, True] < losses[True, False]


@pytest.mark.slow
def test_networks_are_trained_on_attacks_by_their_names(ran):
    step, _ = ran(3)
    assert step.WAYS["as usual"] is None
    ways = {name: (float(way.eps), way.alpha, way.clip) for name, way in step.WAYS.items() if way}
    assert ways == {"eps .25": (0.25, 0.5, None), "eps .25, clipped": (0.25, 0.5, (0.0, 1.0))}
    weights = [model[1].weight.detach().numpy() for model in step.models.values()]
    assert all((weights[i] != weights[j]).any() for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.slow
def test_images_of_step_3_are_changed_as_their_rows_say(ran):
    step, _ = ran(3)
    clean, used = step.test.images, step.training.images.mean(axis=0) > 0.01
    assert 0.4 < used.mean() < 0.8
    for title, images in step.tests.items():
        changed = (images(step.models["as usual"]) if callable(images) else images) - clean
        eps = max((float(n) for n in re.findall(r"0\.\d+", title)), default=0.25 if "random" in title else 0)
        assert np.abs(changed).max() == pytest.approx(eps, abs=1e-6), title
        boxed = ((changed + clean >= 0) & (changed + clean <= 1)).all()
        assert boxed == (title.endswith("clipped") or not eps), title
        if title.endswith("used pixels only"):
            assert not changed[:, ~used].any() and (changed[:, used] != 0).mean() > 0.9


@pytest.mark.slow
def test_j_by_hand_is_the_updates(ran):
    by_hand, update = re.search(r"by hand ([\d.]+), by AdversarialUpdate ([\d.]+)", ran(3)[1]).groups()
    assert float(by_hand) == pytest.approx(float(update), abs=2e-6)


def test_scores_of_the_plane_have_three_regions():
    """Step 2's plane, by its weights: each of the three classes is somewhere in the unit square."""
    weight, bias = np.array([[0, 0], [6, -1], [2, 5]]), np.array([0, -2, -3])
    plane = nn.Sequential(nn.Linear(2, 3, dtype=np.float64))
    plane[0].weight.data[...], plane[0].bias.data[...] = weight, bias
    corners = np.array([[0.0, 0], [1, 0], [0, 1]])
    assert list(scores(plane, corners).argmax(axis=1)) == [0, 1, 2]
