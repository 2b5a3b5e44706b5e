"""The networks for house numbers: counts by hand, where transformers and dropout stand, the five characters' loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, models, nn
from tinyconv.models import HouseNumbers, SpatialTransformer, st_svhn
from tinyconv.nn import functional as F

# Weights and biases of the eight convolutions of 5x5 on 3 channels.
CONVOLUTIONS = (
    (75 * 48 + 48) + (1200 * 64 + 64) + (1600 * 128 + 128) + (3200 * 160 + 160) + (4000 * 192 + 192)
    + 3 * (4800 * 192 + 192)
)  # fmt: skip
HEADS = (3072 * 3072 + 3072) + (3072 * 55 + 55)  # the second hidden layer, and 5 characters of 11
FIRST = {64: 192 * 4 * 4 * 3072 + 3072, 128: 192 * 8 * 8 * 3072 + 3072}  # after four pools
SMALL = (32 * 32 + 32) + (32 * 6 + 6)  # the second hidden layer of a localisation network, and theta


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def single(side: int) -> int:
    """Two convolutions of 32, with a pool between, and the layers behind."""
    return (75 * 32 + 32) + (800 * 32 + 32) + (32 * (side // 2) ** 2 * 32 + 32) + SMALL


def multi(side: int) -> int:
    """Two layers of 32 units on the image and on the maps of conv1 (pooled), conv2 and conv3 (pooled)."""
    seen = (3 * side**2, 48 * (side // 2) ** 2, 64 * (side // 2) ** 2, 128 * (side // 4) ** 2)
    return sum(inputs * 32 + 32 + SMALL for inputs in seen)


@pytest.mark.parametrize("side", [64, 128])
def test_counts(side: int) -> None:
    plain = CONVOLUTIONS + FIRST[side] + HEADS
    none, one, four = (st_svhn(form=form, image_size=side, device="meta") for form in ("none", "single", "multi"))
    assert count(none) == plain
    assert count(one) == plain + single(side)
    assert count(four) == plain + multi(side)
    assert plain == {64: 23_380_695, 128: 51_692_247}[side]  # the sums above, on paper
    for model in (none, one, four):
        assert model.input_shape == (3, side, side)
        assert model(tinyconv.zeros(2, 3, side, side, device="meta")).shape == (2, 5, 11)


def test_transformers_stand_before_the_first_four_convolutions() -> None:
    model = st_svhn(form="multi", device="meta")
    names = [name for name, _ in model.named_children()]
    stands = [(name, names[names.index(name) + 1]) for name in names if name.startswith("st")]
    assert stands == [(f"st{k}", f"conv{k}") for k in (1, 2, 3, 4)]
    rows = {row.name: row.output_shape for row in tinyconv.summary(model).rows}
    maps = [rows[f"st{k}"] for k in (1, 2, 3, 4)]
    assert maps == [(3, 64, 64), (48, 32, 32), (64, 32, 32), (128, 16, 16)]
    assert all(model.get_submodule(name).transform == "affine" for name, _ in stands)
    only = [name for name, m in st_svhn(form="single", device="meta").named_children() if "st" in name]
    assert only == ["st1"]
    assert not any(isinstance(m, SpatialTransformer) for m in st_svhn(form="none", device="meta").modules())


@pytest.mark.parametrize("form", ["none", "single", "multi"])
def test_pools_and_dropout(form: str) -> None:
    """A pool after conv1, 3, 5 and 7; dropout after all but the first, and in no localisation network."""
    model = st_svhn(form=form, device="meta")
    names = [name for name, _ in model.named_children()]
    assert [name for name in names if name.startswith("pool")] == ["pool1", "pool3", "pool5", "pool7"]
    wanted = [f"dropout{k}" for k in range(2, 11)]
    assert [name for name, m in model.named_modules() if isinstance(m, nn.Dropout)] == wanted
    assert all(model.get_submodule(name).p == 0.5 for name in wanted)
    for k in range(2, 9):
        assert names.index(f"conv{k}") < names.index(f"dropout{k}") < names.index(f"conv{k + 1}" if k < 8 else "fc9")


def test_convolutions_keep_the_size() -> None:
    model = st_svhn(form="none", device="meta")
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.kernel_size, m.padding, m.stride) for m in layers] == [((5, 5), (2, 2), (1, 1))] * 8
    assert [m.weight.shape[0] for m in layers] == [48, 64, 128, 160, 192, 192, 192, 192]


# ------------------------------------------------------------------------------------------------------ five characters
def test_loss_is_the_sum_of_five_cross_entropies() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((3, 5, 11)), rng.integers(0, 11, (3, 5))
    shares = np.exp(scores) / np.exp(scores).sum(2, keepdims=True)
    wanted = -sum(np.log(shares[n, k, labels[n, k]]) for n in range(3) for k in range(5)) / 3
    outputs = Tensor(scores, requires_grad=True)
    loss = HouseNumbers.loss(outputs, Tensor(labels))
    assert loss.item() == pytest.approx(wanted, rel=1e-12)
    loss.backward()
    assert outputs.grad is not None
    np.testing.assert_allclose(outputs.grad.numpy(), (shares - np.eye(11)[labels]) / 3, rtol=1e-9, atol=1e-15)


def test_a_number_is_wrong_if_one_character_is() -> None:
    labels = np.array([[1, 2, 10, 10, 10], [3, 10, 10, 10, 10], [0, 0, 7, 10, 10], [9, 9, 9, 9, 9]])
    said = labels.copy()
    said[1, 4], said[2, 0], said[2, 1] = 5, 3, 3  # one error, two errors
    outputs = Tensor(np.eye(11)[said], requires_grad=True)
    assert HouseNumbers.sequence_error(outputs, Tensor(labels)) == 0.5
    assert HouseNumbers.sequence_error(Tensor(np.eye(11)[labels]), Tensor(labels)) == 0.0


@pytest.mark.parametrize("method", ["loss", "sequence_error"])
@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        ((4, 11), (4, 5), "outputs must be (N, 5, K), got shape (4, 11)"),
        ((4, 5, 11), (4,), "labels must have shape (4, 5) as outputs have (N, 5, K), got (4,)"),
        ((4, 5, 11), (3, 5), "labels must have shape (4, 5) as outputs have (N, 5, K), got (3, 5)"),
        ((4, 5, 11), (4, 5, 11), "labels must have shape (4, 5) as outputs have (N, 5, K), got (4, 5, 11)"),
    ],
)
def test_shapes_that_do_not_fit(method: str, outputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        getattr(HouseNumbers, method)(Tensor(np.zeros(outputs)), Tensor(np.zeros(labels, np.int64)))
    assert str(error.value) == f"HouseNumbers.{method}: {message}"


def test_labels_are_integers_and_there_is_an_image() -> None:
    with pytest.raises(TypeError, match="HouseNumbers.sequence_error: labels must hold integers, got float64"):
        HouseNumbers.sequence_error(Tensor(np.zeros((4, 5, 11))), Tensor(np.zeros((4, 5))))
    with pytest.raises(ValueError, match="HouseNumbers.sequence_error: wanted at least one image, got none"):
        HouseNumbers.sequence_error(Tensor(np.zeros((0, 5, 11))), Tensor(np.zeros((0, 5), np.int64)))


def test_each_character_has_scores_of_its_own() -> None:
    tinyconv.manual_seed(0)
    model = st_svhn(form="none", image_size=16, scale="lesson").eval()
    with tinyconv.no_grad():
        model.scores.weight.copy_(tinyconv.zeros(*model.scores.weight.shape))
        model.scores.bias.copy_(tinyconv.arange(55).float())
    found = model(tinyconv.rand(2, 3, 16, 16)).detach().numpy()
    np.testing.assert_array_equal(found[1], np.arange(55).reshape(5, 11))


# -------------------------------------------------------------------------------------------------- training and files
@pytest.mark.parametrize("form", ["single", "multi"])
def test_a_step_reaches_every_parameter(form: str) -> None:
    tinyconv.manual_seed(0)
    model = st_svhn(form=form, image_size=32, scale="lesson")
    for name, p in model.named_parameters():
        if name.endswith("theta.weight"):  # these begin with 0, and nothing before them would learn at first
            nn.init.normal_(p, std=1e-3)
    labels = Tensor(np.random.default_rng(0).integers(0, 11, (4, 5)))
    loss = model.loss(model(tinyconv.rand(4, 3, 32, 32)), labels)
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.numpy().any()]
    tinyconv.optim.SGD(model.parameters(), lr=0.01).step()
    assert all(np.isfinite(p.detach().numpy()).all() for p in model.parameters())


def test_learns_numbers_by_heart() -> None:
    """Bars whose height is the number of tens and whose brightness that of ones: two characters, then nothing."""
    tinyconv.manual_seed(0)
    model = st_svhn(form="multi", image_size=32, in_channels=1, scale="lesson").eval()
    images, labels = np.zeros((8, 1, 32, 32), np.float32), np.full((8, 5), 10)
    for i in range(8):
        images[i, :, : 8 * (i // 2 + 1), 8:24] = 0.4 + 0.6 * (i % 2)
        labels[i, :2] = i // 2, i % 2
    optimizer = tinyconv.optim.Adam(model.parameters(), 2e-3)
    losses = []
    for _ in range(40):
        loss = model.loss(model(Tensor(images)), Tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 8 and losses[-1] < 0.2 * losses[0]  # 5 ln 11 = 12


@pytest.mark.parametrize("form", ["none", "single", "multi"])
def test_a_checkpoint_rebuilds_it(form: str, tmp_path: Any) -> None:
    model = models.build("st_svhn", form=form, image_size=32, in_channels=1, scale="lesson", width=0.5, num_classes=7)
    tinyconv.save(tmp_path / "a.npz", model)
    again = tinyconv.load(tmp_path / "a.npz")
    assert isinstance(again, HouseNumbers)
    assert again.config == model.config and again.input_shape == (1, 32, 32)
    x = tinyconv.rand(2, 1, 32, 32)
    found = again.eval()(x).detach().numpy()
    assert found.shape == (2, 5, 7)
    np.testing.assert_array_equal(found, model.eval()(x).detach().numpy())


def test_the_lessons_scale() -> None:
    """An eighth of the filters and units; the localisation networks keep their 32."""
    model = st_svhn(scale="lesson", device="meta")
    filters = [m.weight.shape[0] for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert filters == [6, 8, 16, 20, 24, 24, 24, 24]
    assert model.fc9.weight.shape == (384, 24 * 16) and model.st2.localisation.fc3.weight.shape == (32, 6 * 32**2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "double"}, "st_svhn: form must be one of 'none', 'single', 'multi', got 'double'"),
        ({"scale": "small"}, "st_svhn: scale must be one of"),
        ({"width": 0}, "st_svhn: width must be positive"),
        ({"image_size": 60}, "st_svhn: image_size must be a multiple of 16, of which four pools leave a whole, got 60"),
        ({"image_size": (64, 64)}, "st_svhn: image_size must be the side of a square image"),
    ],
)
def test_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        st_svhn(**arguments, device="meta")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_its_cross_entropy_is_functionals_for_one_character() -> None:
    rng = np.random.default_rng(1)
    scores, labels = Tensor(rng.standard_normal((4, 1, 3))), Tensor(rng.integers(0, 3, (4, 1)))
    wanted = F.cross_entropy(scores.reshape(4, 3), labels.reshape(4)).item()
    assert HouseNumbers.loss(scores, labels).item() == pytest.approx(wanted, rel=1e-14)
