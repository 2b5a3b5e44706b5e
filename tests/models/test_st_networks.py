"""The networks for distorted digits: their counts by hand, equal budgets, what comes after a transformer, arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from model_tools import assert_learns_by_heart
from tinyconv import Tensor, models, nn
from tinyconv.models import SpatialTransformer, STNetwork, st_cnn, st_fcn
from tinyconv.models.st_networks import BUDGET
from tinyconv.nn import functional as F

MAKE = {"st_fcn": st_fcn, "st_cnn": st_cnn}
NUMBERS = {"affine": 6, "attention": 3, "projective": 8, "tps": 32}
FORMS = [(None, 1), *((transform, count) for transform in NUMBERS for count in (1, 2))]
SCALES, SIZES = ("paper", "lesson"), (28, 42, 60)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def dense(*sizes: int) -> int:
    """Return the parameters of fully connected layers between these sizes."""
    return sum(a * b + b for a, b in zip(sizes, sizes[1:], strict=False))


def conv(inputs: int, filters: int, side: int) -> int:
    return inputs * side * side * filters + filters


def looks(kind: str, channels: int, side: int, numbers: int) -> int:
    """Return the parameters of the paper's localisation networks, for images of this side."""
    if kind == "fc":  # two hidden layers of 32; above 28 pixels on the image averaged 2x2
        return dense(channels * (side if side <= 28 else side // 2) ** 2, 32, 32, numbers)
    left = (side // 2 - 4) // 2 - 4  # averaged 2x2, 5x5, pooled, 5x5
    return conv(channels, 20, 5) + conv(20, 20, 5) + dense(20 * left**2, 20, numbers)


# -------------------------------------------------------------------------------------------------------------- by hand
def test_the_papers_fully_connected_network() -> None:
    """784 x 256 + 256 x 256 + 256 x 10 and biases; a budget of as much gives as many units, one less a unit less."""
    wanted = 200_704 + 256 + 65_536 + 256 + 2_560 + 10
    model = st_fcn(transform=None, budget=wanted, device="meta")
    assert count(model) == wanted == 269_322
    shapes = [row.output_shape for row in tinyconv.summary(model).rows]
    assert shapes == [(784,), (256,), (256,), (256,), (256,), (10,)]
    assert st_fcn(transform=None, budget=wanted - 1, device="meta").classifier.fc1.weight.shape == (255, 784)


def test_the_papers_convolutional_network() -> None:
    """9x9 on one channel, 7x7 on 64, and 2x2 maps of 64 are left of 28 pixels."""
    wanted = (81 * 64 + 64) + (49 * 64 * 64 + 64) + (256 * 10 + 10)
    model = st_cnn(transform=None, budget=wanted, device="meta")
    assert count(model) == wanted == 208_586
    rows = {row.name: row.output_shape for row in tinyconv.summary(model).rows}
    assert rows["classifier.conv1"] == (64, 20, 20) and rows["classifier.pool1"] == (64, 10, 10)
    assert rows["classifier.conv2"] == (64, 4, 4) and rows["classifier.pool2"] == (64, 2, 2)
    assert rows["classifier.flatten"] == (256,) and rows["classifier.fc4"] == (10,)
    assert st_cnn(transform=None, budget=wanted - 1, device="meta").classifier.conv1.weight.shape[0] == 63


def test_the_localisation_networks() -> None:
    fc = (784 * 32 + 32) + (32 * 32 + 32) + (32 * 6 + 6)
    conv = (25 * 20 + 20) + (25 * 20 * 20 + 20) + (20 * 20 + 20) + (20 * 6 + 6)  # 28 -> 14 -> 10 -> 5 -> 1
    assert (fc, conv) == (26_374, 11_086)
    assert count(st_fcn(device="meta").transformers) == fc
    assert count(st_cnn(device="meta").transformers) == conv
    assert count(st_fcn(localisation="conv", device="meta").transformers) == conv
    assert count(st_cnn(localisation="fc", device="meta").transformers) == fc
    assert count(st_cnn(scale="lesson", device="meta").transformers) == fc  # the lessons' usual one
    rows = {row.name: row.output_shape for row in tinyconv.summary(st_cnn(image_size=42, device="meta")).rows}
    part = "transformers.0.localisation."
    found = [rows[f"{part}{name}"] for name in ("pool0", "conv1", "pool1", "conv2", "flatten", "fc3", "theta")]
    assert found == [(1, 21, 21), (20, 17, 17), (20, 8, 8), (20, 4, 4), (320,), (20,), (6,)]


def test_the_lessons_convolutional_network() -> None:
    """8 of 5x5 and 16 of 5x5 on 8; 4x4 maps are left; 211 hidden units fit into 60,000."""
    model = st_cnn(transform=None, scale="lesson", device="meta")
    assert count(model) == (25 * 8 + 8) + (25 * 8 * 16 + 16) + (256 * 211 + 211) + (211 * 10 + 10) == 59_771


@pytest.mark.parametrize("kind", ["fc", "conv"])
@pytest.mark.parametrize("side", SIZES)
@pytest.mark.parametrize(("transform", "n"), FORMS[1:])
def test_what_transformers_cost(kind: str, side: int, transform: str, n: int) -> None:
    model = st_fcn(
        transform=transform, transformers=n, localisation=kind, in_channels=2, image_size=side, device="meta"
    )
    assert count(model.transformers) == n * looks(kind, 2, side, NUMBERS[transform])


# -------------------------------------------------------------------------------------------------------------- budgets
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("side", SIZES)
@pytest.mark.parametrize("name", MAKE)
def test_all_networks_of_an_experiment_have_as_many_parameters(name: str, side: int, scale: str) -> None:
    """Within 3 %; one pixel is coarser: a unit on 60x60 pixels has 3,601 of 60,000."""
    for transform, n in FORMS:
        arguments = {"transform": transform, "transformers": n, "image_size": side, "scale": scale, "device": "meta"}
        if (scale, side, n) == ("lesson", 60, 2):  # two localisation networks of 900 inputs would be all of it
            with pytest.raises(ValueError, match="transformers=2, in_channels=1 and image_size=60 the network takes"):
                MAKE[name](**arguments)
            arguments["budget"] = 100_000
        model = MAKE[name](**arguments)
        budget = arguments.get("budget", BUDGET[scale])
        part = 0.96 if (name, scale, side, transform) == ("st_fcn", "lesson", 60, None) else 0.97
        assert part * budget < count(model) <= budget, (transform, n)


def test_the_budgets() -> None:
    assert BUDGET == {"paper": 400_000, "lesson": 60_000}
    assert count(st_fcn(budget=123_456, device="meta")) <= 123_456 < count(st_fcn(budget=125_000, device="meta"))


# Two localisation networks, of 2 channels of 28, of 16 and of 21 pixels, and a classifier of one unit for 19 classes:
# 4 channels of 28, of 16 and of 21 pixels; at 28 the usual budget does not suffice, nor at 42.
@pytest.mark.parametrize(("side", "seen", "given"), [(28, 28, 150_000), (32, 16, 75_000), (42, 21, 100_000)])
def test_what_the_addition_of_digits_needs(side: int, seen: int, given: int) -> None:
    taken = 2 * dense(2 * seen**2, 32, 32, 6)
    assert taken == {28: 102_924, 32: 35_340, 42: 59_020}[side]
    assert f"{taken:,}" in " ".join(str(st_fcn.__doc__).split()) and f"{given:,}" in str(st_fcn.__doc__)
    least = taken + dense(4 * seen**2, 1, 1, 19)
    arguments = {"transformers": 2, "in_channels": 2, "image_size": side, "scale": "lesson", "device": "meta"}
    with pytest.raises(ValueError) as error:
        st_fcn(19, **arguments, budget=least - 1)
    assert str(error.value) == (
        f"st_fcn: with transformers=2, in_channels=2 and image_size={side} the network takes {least:,} parameters at "
        f"least, {taken:,} of them the transformers', and budget is {least - 1:,}; give a larger one, such as "
        f"budget={2 * least}"
    )
    assert count(st_fcn(19, **arguments, budget=least)) == least
    for make in (st_fcn, st_cnn):
        for budget in (given, 2 * least):
            assert 0.93 * budget < count(make(19, **arguments, budget=budget)) <= budget
    if side == 32:
        assert count(st_fcn(19, **arguments)) > 0.93 * BUDGET["lesson"]
    else:
        with pytest.raises(ValueError, match="and budget is 60,000; give a larger one"):
            st_fcn(19, **arguments)


def test_a_budget_may_be_numpys_number(tmp_path: Any) -> None:
    model = st_fcn(budget=np.int64(50_000), start=np.float32(0.5))
    tinyconv.save(tmp_path / "a.npz", model)
    again = tinyconv.load(tmp_path / "a.npz")
    assert again.config["arguments"]["budget"] == 50_000 and again.config["arguments"]["start"] == 0.5
    tinyconv.save(tmp_path / "b.npz", st_fcn(start=np.array([0.5, 0, 0, 0, 1, 0])))
    assert tinyconv.load(tmp_path / "b.npz").config["arguments"]["start"] == [0.5, 0, 0, 0, 1, 0]


# ----------------------------------------------------------------------------------------------------- shapes and pools
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "side", "pool"), [
    ("st_fcn", 28, 1), ("st_fcn", 42, 2), ("st_fcn", 60, 2), ("st_cnn", 28, 1), ("st_cnn", 60, 2),
])  # fmt: skip
def test_large_images_are_averaged_after_the_transformer(name: str, side: int, pool: int, scale: str) -> None:
    for transform, n in FORMS[:3]:
        budget = 400_000
        model = MAKE[name](
            transform=transform, transformers=n, image_size=side, scale=scale, budget=budget, device="meta"
        )
        assert model.pool == (pool if transform else 1)  # the plain networks see all pixels
        assert model.input_shape == (1, side, side)
        assert model(tinyconv.zeros(3, 1, side, side, device="meta")).shape == (3, 10)
        rows = {row.name: row.output_shape for row in tinyconv.summary(model).rows}
        seen = (n if transform else 1) * (side // model.pool) ** 2
        if name == "st_fcn":
            assert rows["classifier.flatten"] == (seen,)
        if transform:
            assert rows["transformers.0"] == (1, side, side)


def test_at_42_pixels_the_papers_convolutions_have_no_room_for_an_average() -> None:
    """21 pixels - 9x9 -> 13 -> 6 - 7x7 -> 0; the lesson's 5x5 leave 2x2 maps."""
    assert st_cnn(image_size=42, device="meta").pool == 1
    assert st_cnn(image_size=42, scale="lesson", device="meta").pool == 2


def test_an_average_leaves_the_second_pool_something() -> None:
    """44 pixels: 22 - 9x9 -> 14 -> 7 - 7x7 -> 1, of which a 2x2 pool makes nothing; of 48, 2 are left."""
    assert st_cnn(image_size=44, device="meta").pool == 1
    model = st_cnn(image_size=48, device="meta")
    assert model.pool == 2
    assert {row.name: row.output_shape for row in tinyconv.summary(model).rows}["classifier.pool2"][1:] == (1, 1)


@pytest.mark.parametrize(("side", "seen"), [(28, 28), (29, 14), (30, 15)])
def test_from_29_pixels_on_images_are_averaged(side: int, seen: int) -> None:
    model = st_fcn(image_size=side, device="meta")
    assert model.pool == side // seen
    assert model.classifier.fc1.weight.shape[1] == seen**2
    assert model.transformers[0].localisation.fc1.weight.shape == (32, seen**2)
    assert model(tinyconv.zeros(2, 1, side, side, device="meta")).shape == (2, 10)


def test_the_classifier_sees_the_average_of_four_pixels() -> None:
    tinyconv.manual_seed(0)
    model = st_fcn(3, image_size=30, scale="lesson", dtype=tinyconv.float64)
    x = Tensor(np.random.default_rng(0).random((2, 1, 30, 30)))
    wanted = model.classifier(Tensor(x.numpy().reshape(2, 1, 15, 2, 15, 2).mean((3, 5))))
    np.testing.assert_allclose(model(x).detach().numpy(), wanted.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("name", MAKE)
def test_size_of_the_transformers_output(name: str) -> None:
    model = MAKE[name](image_size=60, out_size=30, scale="lesson", device="meta")
    assert model.pool == 1  # it has been made smaller already
    rows = {row.name: row.output_shape for row in tinyconv.summary(model).rows}
    assert rows["transformers.0"] == (1, 30, 30)
    assert rows.get("classifier.conv1", (8, 26, 26)) == (8, 26, 26)
    assert rows["classifier.flatten"] == ((900,) if name == "st_fcn" else (16 * 4 * 4,))


def test_transformers_side_by_side_pass_all_channels_on_in_order() -> None:
    tinyconv.manual_seed(0)
    where = {"scale": "lesson", "budget": 100_000, "dtype": tinyconv.float64}
    model = st_fcn(19, transformers=2, in_channels=2, image_size=42, **where)
    first, second = model.transformers
    starts = ((0.8, 0, 0.1, 0, 0.8, 0), (0.7, 0, 0, 0.1, 0.7, 0))
    for st, start in zip((first, second), starts, strict=True):
        models.spatial_transformer.start_with(st.localisation, start)
    x = Tensor(np.random.default_rng(0).random((2, 2, 42, 42)))
    looked = [st(x).detach().numpy() for st in (first, second)]
    assert np.abs(looked[0] - looked[1]).max() > 0.1
    both = F.avg_pool2d(Tensor(np.concatenate(looked, 1)), 2)
    np.testing.assert_allclose(model(x).detach().numpy(), model.classifier(both).detach().numpy(), rtol=1e-12)
    assert first.localisation is not second.localisation


def test_the_start_is_the_transformers() -> None:
    model = st_cnn(scale="lesson", transform="attention", start=0.6)
    theta = model.transformers[0].theta(tinyconv.rand(2, 1, 28, 28)).detach().numpy()
    np.testing.assert_allclose(theta, [[0.6, 0, 0]] * 2, rtol=1e-6)
    free = st_cnn(scale="lesson", start=None)
    assert free.transformers[0].localisation.theta.weight.detach().numpy().any()


# ------------------------------------------------------------------------------------------------------------ attended
@pytest.mark.parametrize("n", [1, 2])
def test_where_it_looks(n: int) -> None:
    tinyconv.manual_seed(0)
    model = st_cnn(transformers=n, in_channels=2, out_size=20, scale="lesson", start=0.5, budget=150_000)
    x = tinyconv.rand(3, 2, 28, 28)
    x.requires_grad = True
    found = model.attended(x)
    assert len(found) == n
    for (grid, output), st in zip(found, model.transformers, strict=True):
        assert isinstance(grid, np.ndarray) and (grid.shape, output.shape) == ((3, 20, 20, 2), (3, 2, 20, 20))
        np.testing.assert_allclose(grid[1, [0, -1], [0, -1]], [[-0.5, -0.5], [0.5, 0.5]], atol=1e-6)
        np.testing.assert_array_equal(output, st(x).detach().numpy())
    assert x.grad is None and all(p.grad is None for p in model.parameters())


def test_a_plain_network_looks_nowhere() -> None:
    model = st_fcn(transform=None, scale="lesson")
    assert model.attended(tinyconv.rand(2, 1, 28, 28)) == [] and len(model.transformers) == 0


# ------------------------------------------------------------------------------------------------------------- training
@pytest.mark.parametrize(("transform", "n"), FORMS)
@pytest.mark.parametrize("name", MAKE)
def test_a_step_reaches_every_parameter(name: str, transform: str | None, n: int) -> None:
    tinyconv.manual_seed(0)
    model = MAKE[name](4, transform=transform, transformers=n, scale="lesson", start=0.9, budget=80_000)
    optimizer = tinyconv.optim.SGD(model.parameters(), lr=0.05)
    x, labels = tinyconv.rand(8, 1, 28, 28), Tensor(np.arange(8) % 4)
    for _ in range(2):  # in the first the weights behind theta are 0, and nothing comes before it
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.numpy().any()]
    assert not idle


@pytest.mark.parametrize("name", MAKE)
def test_learns_a_batch_by_heart(name: str) -> None:
    tinyconv.manual_seed(0)
    assert_learns_by_heart(MAKE[name](4, scale="lesson"), steps=40)


# ---------------------------------------------------------------------------------------------- names, files, arguments
@pytest.mark.parametrize("name", MAKE)
def test_a_checkpoint_rebuilds_it(name: str, tmp_path: Any) -> None:
    assert name in models.names()
    arguments = {"transform": "tps", "transformers": 2, "in_channels": 2, "image_size": 42, "out_size": 24}
    model = models.build(name, num_classes=19, scale="lesson", budget=70_000, start=0.8, **arguments)
    assert isinstance(model, STNetwork)
    with tinyconv.no_grad():
        for p in model.parameters():
            p.copy_(tinyconv.randn(*p.shape) * 0.05)
    tinyconv.save(tmp_path / "a.npz", model)
    again = tinyconv.load(tmp_path / "a.npz")
    assert again.config == model.config and again.input_shape == model.input_shape == (2, 42, 42)
    x = tinyconv.rand(2, 2, 42, 42)
    np.testing.assert_array_equal(again(x).detach().numpy(), model(x).detach().numpy())


@pytest.mark.parametrize("name", MAKE)
def test_a_plain_networks_checkpoint_rebuilds_it(name: str, tmp_path: Any) -> None:
    model = models.build(name, transform=None, scale="lesson", dtype=tinyconv.float64)
    tinyconv.save(tmp_path / "a.npz", model)
    again = tinyconv.load(tmp_path / "a.npz")
    x = Tensor(np.random.default_rng(0).random((2, 1, 28, 28)))
    np.testing.assert_array_equal(again(x).detach().numpy(), model(x).detach().numpy())


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"transform": "rigid"}, "transform must be one of 'affine', 'attention', 'projective', 'tps', got 'rigid'"),
        ({"localisation": "deep"}, "localisation must be one of 'fc', 'conv', got 'deep'"),
        ({"localisation": "deep", "transform": None}, "localisation must be one of 'fc', 'conv', got 'deep'"),
        ({"scale": "small"}, "scale must be one of"),
        ({"transformers": 0}, "transformers must be an int of at least 1, got 0; transform=None leaves them out"),
        ({"transformers": True}, "transformers must be an int of at least 1, got True"),
        ({"transformers": 2.0}, "transformers must be an int of at least 1, got 2.0"),
        ({"image_size": (28, 28)}, "image_size must be the side of a square image"),
        ({"image_size": 2}, "use a larger"),
        ({"out_size": 0}, "out_size must be the side"),
        ({"out_size": 2.5}, "out_size must be the side"),
        ({"out_size": 2.5, "transform": None}, "out_size must be the side"),
        ({"out_size": (20, 24)}, "out_size must be the side of a square image in pixels, an int, got (20, 24)"),
        ({"budget": 1000}, "of them the transformers', and budget is 1,000; give a larger one, such as budget=400000"),
        ({"budget": 30, "transform": None}, "with in_channels=1 and image_size=28 the network takes"),
        ({"budget": 0}, "budget must be an int of at least 1, the parameters of the network, got 0"),
        ({"budget": float("nan")}, "budget must be an int of at least 1, the parameters of the network, got nan"),
        ({"budget": True}, "budget must be an int of at least 1, the parameters of the network, got True"),
        ({"budget": "x"}, "budget must be an int of at least 1, the parameters of the network, got 'x'"),
        ({"budget": 50000.5}, "budget must be an int of at least 1, the parameters of the network, got 50000.5"),
        ({"start": "x"}, "start must be a scale or 6 numbers for affine, got 'x'"),
    ],
)
def test_errors(name: str, arguments: dict[str, Any], message: str) -> None:
    if arguments == {"image_size": 2} and name == "st_fcn":
        arguments = {"image_size": 2, "localisation": "conv"}
    with pytest.raises(ValueError) as error:
        MAKE[name](**arguments, device="meta")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_unknown_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="st_cnn: wanted .*got 'transfrom'; did you mean 'transform'"):
        models.build("st_cnn", transfrom="tps")
    with pytest.raises(ValueError, match="did you mean 'st_cnn'"):
        models.build("stcnn")


def test_transformers_are_spatial_transformers() -> None:
    model = st_cnn(transform="projective", transformers=2, device="meta")
    assert [st.transform for st in model.transformers] == ["projective"] * 2
    assert all(isinstance(st, SpatialTransformer) for st in model.transformers)
