"""LeNet-5: the paper's counts, the table of C3, subsampling, distances, loss."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, gradcheck, models
from tinyconv.models import lenet
from tinyconv.nn import functional as F

# Paper, sec. II-B: output, trainable parameters, connections.
TABLE = {
    "C1": ((6, 28, 28), 156, 122_304),
    "S2": ((6, 14, 14), 12, 5_880),
    "C3": ((16, 10, 10), 1_516, 151_600),
    "S4": ((16, 5, 5), 32, 2_000),
    "C5": ((120, 1, 1), 48_120, 48_120),
    "F6": ((84,), 10_164, 10_164),
    "OUT": ((10,), 0, 840),
}


def test_the_papers_table() -> None:
    model = models.build("lenet5")
    found = tinyconv.summary(model)
    rows = {row.name: row for row in found.rows}
    counted = lenet.connections(model)
    assert {n: (rows[n].output_shape, rows[n].params, counted[n]) for n in TABLE} == TABLE
    assert found.total_params == 60_000
    assert sum(counted.values()) == 340_908
    assert "340,908" in str(found)
    assert sum(p.numel() for p in model.parameters()) == 60_000


def test_c3_table() -> None:
    sets = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345".split()
    assert ["".join(map(str, inputs)) for inputs in lenet.C3_TABLE] == sets
    assert sum(map(len, lenet.C3_TABLE)) == 60


def test_c3_is_a_convolution_with_holes() -> None:
    layer = models.lenet5(dtype=tinyconv.float64).C3
    x = tinyconv.randn(2, 6, 7, 7, dtype=tinyconv.float64)
    found, kernels, bias = layer(x).detach().numpy(), layer.weight.detach(), layer.bias.detach().numpy()
    start = 0
    for k, inputs in enumerate(lenet.C3_TABLE):
        chosen = kernels[start : start + len(inputs)].reshape(1, len(inputs), 5, 5)
        start += len(inputs)
        seen = Tensor(np.ascontiguousarray(x.numpy()[:, list(inputs)]))
        np.testing.assert_allclose(found[:, k], F.conv2d(seen, chosen).numpy()[:, 0] + bias[k], rtol=1e-10, atol=1e-12)


def test_subsample_squash_and_distances() -> None:
    model = models.lenet5(dtype=tinyconv.float64)
    with tinyconv.no_grad():
        model.S2.weight.fill_(0.5)
        model.S2.bias.fill_(3.0)
    x = tinyconv.ones(1, 6, 2, 2, dtype=tinyconv.float64)
    assert model.S2(x).detach().numpy().ravel().tolist() == [5.0] * 6
    ones = Tensor(np.array([1.0, -1.0, 0.0]))
    np.testing.assert_allclose(model.squash1(ones).numpy(), [1, -1, 0], atol=2e-5)
    codes = lenet.codes()
    found = model.OUT(Tensor(codes.astype(np.float64))).numpy()
    np.testing.assert_array_equal(found, ((codes[:, None] - codes[None]) ** 2).sum(2))
    assert (np.diag(found) == 0).all()


def test_codes() -> None:
    codes = lenet.codes()
    assert codes.shape == (10, 84)
    assert set(np.unique(codes)) == {-1.0, 1.0}
    apart = (codes[:, None] != codes[None]).sum(2) + 84 * np.eye(10, dtype=int)
    assert apart.min() >= 5, "two digits are drawn almost alike"
    many = lenet.codes(95)
    assert many.shape == (95, 84)
    np.testing.assert_array_equal(many, lenet.codes(95))
    assert abs(many.mean()) < 0.05


def test_initial_weights_lie_within_the_fan_in() -> None:
    model = models.lenet5()
    for name, fan_in in (("C1", 25), ("S2", 4), ("S4", 4), ("C5", 400), ("F6", 120)):
        weight = np.abs(model.get_submodule(name).weight.detach().numpy())
        assert 0.5 * 2.4 / fan_in < weight.max() <= 2.4 / fan_in, name
    start = 0
    for inputs in lenet.C3_TABLE:
        weight = np.abs(model.C3.weight.detach().numpy()[start : start + len(inputs)])
        start += len(inputs)
        assert 0.8 * 2.4 / (25 * len(inputs)) < weight.max() <= 2.4 / (25 * len(inputs))


def test_map_loss_by_hand_and_its_gradient() -> None:
    rng = np.random.default_rng(0)
    distances, target = rng.uniform(0, 5, (4, 10)), Tensor(np.array([1, 0, 9, 3]))
    found = lenet.map_loss(Tensor(distances), target, j=2.0).item()
    right = distances[np.arange(4), target.numpy()]
    assert found == pytest.approx(np.mean(right + np.log(np.exp(-2.0) + np.exp(-distances).sum(1))), rel=1e-12)
    assert lenet.map_loss(Tensor(distances), target, j=None).item() == pytest.approx(right.mean(), rel=1e-12)
    gradcheck(lambda d: lenet.map_loss(d, target), [distances])
    far = lenet.map_loss(Tensor(distances + 1e4), target).item()
    assert far == pytest.approx(right.mean() + 1e4 - 1.0, rel=1e-12)


def test_scores_are_negative_distances_and_the_nearest_target_wins() -> None:
    tinyconv.manual_seed(3)
    distances = models.lenet5().eval()
    scores = models.lenet5(output="scores").eval()
    assert scores.load_state_dict(distances.state_dict()) == ([], [])
    x = tinyconv.randn(5, 1, 32, 32)
    np.testing.assert_array_equal(scores(x).detach().numpy(), -distances(x).detach().numpy())
    np.testing.assert_array_equal(distances.predict(x).numpy(), scores(x).detach().numpy().argmax(1))
    assert "OUT.targets" in distances.state_dict()


def test_it_learns_a_batch_by_heart() -> None:
    tinyconv.manual_seed(0)
    model = models.lenet5()
    x, labels = tinyconv.randn(20, 1, 32, 32), Tensor(np.arange(20) % 10)
    optimizer = tinyconv.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = lenet.map_loss(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert (model.predict(x).numpy() == labels.numpy()).mean() == 1


def test_arguments() -> None:
    model = models.build("lenet5", num_classes=4, output="scores")
    assert model.input_shape == (1, 32, 32)
    assert models.build("lenet5", **model.config["arguments"]).config == model.config
    assert tinyconv.summary(models.lenet5(12, device="meta")).rows[-1].output_shape == (12,)
    with pytest.raises(ValueError, match="output must be one of 'distances', 'scores'"):
        models.lenet5(output="x")
    with pytest.raises(ValueError, match="num_classes must be an int of at least 1"):
        models.lenet5(0)
