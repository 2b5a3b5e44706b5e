"""Adversarial training: the closed form for logistic regression, the constant perturbation, modes, a real training."""

import numpy as np
import pytest

import tinyconv
from tinyconv import data, nn, optim, random
from tinyconv import functional as F
from tinyconv.checkpoint import CheckpointError
from tinyconv.explain.adversarial import fgsm, scores
from tinyconv.explain.adversarial_training import AdversarialUpdate
from tinyconv.functional import cross_entropy
from training_tools import assert_same, small, weights


def logistic(outputs, labels):
    """Return the mean of softplus(-y z): the loss of P(y = 1) = sigmoid(z) for labels -1 and 1."""
    return F.softplus(-(outputs.reshape(-1) * labels)).mean()


@pytest.mark.parametrize("label", [-1.0, 1.0, None])
def test_a_linear_logistic_model_has_the_closed_form(label, rng):
    """E softplus(eps |w|_1 - y (w.x + b)) for both labels: the attack always hurts (Goodfellow 2014, sec. 5)."""
    tinyconv.manual_seed(0)
    model = nn.Linear(12, 1, dtype=np.float64)
    x = rng.standard_normal((9, 12))
    y = rng.choice([-1.0, 1.0], 9) if label is None else np.full(9, label)
    w, b, eps = model.weight.data[0].copy(), model.bias.data[0], 0.3
    update = AdversarialUpdate(eps, alpha=0.0, loss=logistic)
    found = update(model, optim.SGD(model.parameters(), 0.0), tinyconv.tensor(x), tinyconv.tensor(y), 0)
    margin = y * (x @ w + b)
    expected = np.logaddexp(0, eps * np.abs(w).sum() - margin).mean()
    assert found.loss == pytest.approx(expected, rel=1e-12)
    assert found.measures["adversarial_loss"] == found.loss
    assert found.measures["clean_loss"] == pytest.approx(np.logaddexp(0, -margin).mean(), rel=1e-12)
    # Not the form with the sign wrong for y = -1, in which the attack would help the model.
    assert found.loss > found.measures["clean_loss"]
    mixed = AdversarialUpdate(eps, alpha=0.25, loss=logistic)
    found = mixed(model, optim.SGD(model.parameters(), 0.0), tinyconv.tensor(x), tinyconv.tensor(y), 0)
    assert found.loss == pytest.approx(0.25 * np.logaddexp(0, -margin).mean() + 0.75 * expected, rel=1e-12)


def network():
    tinyconv.manual_seed(1)
    return nn.Sequential(
        {"flatten": nn.Flatten(), "fc1": nn.Linear(16, 8, dtype=np.float64), "tanh": nn.Tanh(),
         "drop": nn.Dropout(0.5), "fc2": nn.Linear(8, 3, dtype=np.float64)}
    )  # fmt: skip


@pytest.mark.parametrize("clip", [None, (0.0, 1.0), (np.zeros((1, 4, 4)), np.full((1, 4, 4), 0.9))])
def test_the_perturbation_is_a_constant(clip, rng):
    """Weights move by the gradient of the two losses with the attacked images put in, the same masks drawn."""
    x, y, rate = rng.uniform(0.2, 0.9, (5, 1, 4, 4)), np.array([0, 1, 2, 0, 1]), 0.5
    model, twin = network(), network()
    attacked = fgsm(twin, x, y, 0.2, clip=clip)  # in evaluation mode
    with random.training_step(3, np.arange(5)):
        found = AdversarialUpdate(0.2, 0.3, clip)(
            model, optim.SGD(model.parameters(), rate), tinyconv.tensor(x), tinyconv.tensor(y), 3
        )
    with random.training_step(3, np.arange(5)):
        losses = [cross_entropy(twin(tinyconv.tensor(images)), tinyconv.tensor(y)) for images in (x, attacked)]
        total = losses[0] * 0.3 + losses[1] * 0.7
        total.backward()
    assert found.loss == pytest.approx(total.item(), rel=1e-12)
    for (name, moved), start in zip(model.named_parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(moved.data, start.data - rate * start.grad.data, rtol=1e-12, err_msg=name)
    assert model.training and model.drop.training


def test_with_alpha_1_the_weights_move_as_in_plain_training(rng):
    x, y = tinyconv.tensor(rng.uniform(0, 1, (5, 1, 4, 4))), tinyconv.tensor(np.array([0, 1, 2, 0, 1]))
    model, plain = network().eval(), network().eval()
    AdversarialUpdate(0.2, 1.0)(model, optim.SGD(model.parameters(), 0.5), x, y, 0)
    loss = cross_entropy(plain(x), y)
    loss.backward()
    for moved, start in zip(model.parameters(), plain.parameters(), strict=True):
        np.testing.assert_allclose(moved.data, start.data - 0.5 * start.grad.data, rtol=1e-12)


def test_the_attack_neither_draws_masks_nor_moves_statistics(rng):
    tinyconv.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 2))
    x = tinyconv.tensor(rng.uniform(0, 1, (6, 1, 4, 4)).astype(np.float32))
    y = tinyconv.tensor(np.array([0, 1] * 3))
    before = {name: value.data.copy() for name, value in model.state_dict().items()}
    first, second = (AdversarialUpdate(0.1).attack(model, x, y).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.data, before[name], err_msg=name)
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_loss_that_is_not_finite_changes_nothing(rng):
    model = network()
    model.fc1.bias.data[0] = np.nan
    before = model.fc2.weight.data.copy()
    x, y = tinyconv.tensor(rng.uniform(0, 1, (2, 1, 4, 4))), tinyconv.tensor(np.array([0, 1]))
    found = AdversarialUpdate(0.1)(model, optim.SGD(model.parameters(), 1.0), x, y, 0)
    assert not np.isfinite(found.loss)
    np.testing.assert_array_equal(model.fc2.weight.data, before)


def test_a_trained_network_resists_the_attack_it_was_trained_with():
    """8 x 8 digits, 20 epochs: the error under FGSM falls by a third or more, and the history has the measures."""
    test = data.digits("test")
    images, labels = test.images.astype(np.float32) / 16, test.labels

    def trained(update):
        tinyconv.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        loader = data.DataLoader(data.digits("train"), 100, shuffle=True, seed=0)
        optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
        return model, tinyconv.fit(model, loader, optimizer=optimizer, epochs=20, update=update, progress=False)

    (plain, _), (robust, history) = trained(None), trained(AdversarialUpdate(0.1))
    errors = [(scores(m, fgsm(m, images, labels, 0.1, clip=None)).argmax(1) != labels).mean() for m in (plain, robust)]
    assert errors[1] < errors[0] * 2 / 3
    row = history.rows[-1]
    assert row["train_loss"] == pytest.approx((row["clean_loss"] + row["adversarial_loss"]) / 2)
    assert row["clean_loss"] < row["adversarial_loss"] and row["adversarial_accuracy"] < row["train_accuracy"]


def run(folder, update, *, leave=False, resume=False):
    """Train a small network with dropout for two epochs of three steps, or leave after the second step."""

    class Leave:
        def on_step(self, state):
            state.stop = leave and state.step == 2

    model, optimizer, loader = small(dropout=0.3)
    options = {"out": folder, "resume": resume, "callbacks": [Leave()], "progress": False}
    history = tinyconv.fit(model, loader, optimizer=optimizer, epochs=2, update=update, **options)
    return weights(model), [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def halved(outputs, labels):
    """Another loss: half of the cross-entropy."""
    return cross_entropy(outputs, labels) * 0.5


def test_a_resumed_run_is_the_same_bit_by_bit(tmp_path):
    whole, rows = run(tmp_path / "whole", AdversarialUpdate(0.2, 0.3))
    run(tmp_path / "parts", AdversarialUpdate(0.2, 0.3), leave=True)
    resumed, again = run(tmp_path / "parts", AdversarialUpdate(0.2, 0.3), resume=True)
    assert_same(whole, resumed)
    assert rows == again and len(rows) == 2 and rows[0]["adversarial_loss"] > rows[0]["clean_loss"]


@pytest.mark.parametrize(
    "other",
    [{"alpha": 0.4}, {"eps": 0.3}, {"clip": (-9.0, 9.0)}, {"loss": halved}],
    ids=lambda other: next(iter(other)),
)
def test_a_run_cannot_go_on_with_other_settings(other, tmp_path):
    settings = {"eps": 0.2, "alpha": 0.3, "clip": (-8.0, 8.0), "loss": cross_entropy}
    run(tmp_path, AdversarialUpdate(**settings), leave=True)
    with pytest.raises(CheckpointError, match=r"another run \(update: now"):
        run(tmp_path, AdversarialUpdate(**settings | other), resume=True)
    run(tmp_path, AdversarialUpdate(**settings), resume=True)


@pytest.mark.parametrize("gap", [60, 110, 200])
def test_it_attacks_what_the_network_is_sure_of(gap):
    model = nn.Linear(3, 2)
    model.weight.data[:], model.bias.data[:] = [[1, -1, 0.5], [-1, 1, -0.5]], [gap, 0.0]
    x, y = tinyconv.tensor(np.zeros((1, 3), np.float32)), tinyconv.tensor(np.array([0]))
    np.testing.assert_array_equal(AdversarialUpdate(0.25).attack(model, x, y).numpy(), [[-0.25, 0.25, -0.25]])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"eps": -0.1}, ValueError, "^AdversarialUpdate: eps must be finite and at least 0, got -0.1$"),
        ({"eps": float("nan")}, ValueError, "eps must be finite"),
        ({"eps": "big"}, TypeError, "eps must be a number or an array of numbers, got 'big'"),
        ({"alpha": 1.5}, ValueError, r"^AdversarialUpdate: alpha must be a number in \[0, 1\], got 1.5$"),
        ({"alpha": float("nan")}, ValueError, "alpha must be a number"),
        ({"clip": (1, 0)}, ValueError, "clip must be .low, high. with low at most high"),
        ({"clip": 1.0}, TypeError, "clip must be a pair"),
    ],
)
def test_bad_settings(arguments, error, message):
    with pytest.raises(error, match=message):
        AdversarialUpdate(**{"eps": 0.1, **arguments})


def test_images_outside_the_box_and_labels_of_no_class(rng):
    model, y = network(), tinyconv.tensor(np.array([0, 1]))
    optimizer = optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="AdversarialUpdate: images must lie within clip, got values from "):
        AdversarialUpdate(0.1, clip=(0, 1))(model, optimizer, tinyconv.tensor(rng.uniform(-2, 2, (2, 1, 4, 4))), y, 0)
    with pytest.raises(IndexError, match=r"AdversarialUpdate: labels must be in \[0, 3\)"):
        AdversarialUpdate(0.1)(model, optimizer, tinyconv.tensor(rng.uniform(0, 1, (2, 1, 4, 4))), y + 2, 0)
