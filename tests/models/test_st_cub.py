"""The networks for birds: counts by hand from torchvision's GoogLeNet, where transformers begin, what parts see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from model_tools import quadrants
from tinyconv import Tensor, models, nn
from tinyconv.models import PartsNetwork, st_cub
from tinyconv.nn import functional as F

INCEPTION = 6_624_904 - (1024 * 1000 + 1000)  # torchvision's GoogLeNet without auxiliary classifiers and without fc


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_counts(n: int) -> None:
    parts = max(n, 1)
    head = (1024 * 128 + 128) + (49 * 128 * 128 + 128) + (128 * 2 * n + 2 * n)  # 1x1, hidden layer, the shifts
    wanted = parts * INCEPTION + (1024 * parts * 200 + 200) + (INCEPTION + head if n else 0)
    assert INCEPTION == 5_599_904
    model = st_cub(transformers=n, device="meta")
    assert count(model) == wanted
    assert len(model.transformers) == n and len(model.describers) == parts
    assert model.input_shape == (3, 224, 224)
    assert model(tinyconv.zeros(2, 3, 224, 224, device="meta")).shape == (2, 200)


def test_the_localisation_network_works_on_the_last_maps() -> None:
    model = st_cub(device="meta")
    rows = {row.name: row.output_shape for row in tinyconv.summary(model).rows}
    shapes = [rows[f"localisation.{name}"] for name in ("reduce", "flatten", "fc", "theta")]
    assert shapes == [(128, 7, 7), (128 * 49,), (128,), (8,)]
    assert not any(isinstance(m, (nn.Dropout, nn.AdaptiveAvgPool2d)) for m in model.localisation.modules())


@pytest.mark.parametrize(("scale", "p"), [("paper", 0.7), ("lesson", 0.2)])
def test_dropout_of_every_parts_features(scale: str, p: float) -> None:
    model = st_cub(transformers=2, scale=scale, device="meta")
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [p, p]


def test_448_pixels_are_seen_in_full_by_the_transformers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model = st_cub(transformers=2, image_size=448, device="meta")
    assert count(model) == count(st_cub(transformers=2, device="meta"))
    seen: dict[str, list[tuple[int, ...]]] = {"localisation": [], "st": [], "parts": []}

    def noting(kind: str) -> Any:
        return lambda module, args, output: seen[kind].append((args[0].shape, output.shape))

    model.localisation.register_forward_hook(noting("localisation"))
    for describer in model.describers:
        describer.register_forward_hook(noting("parts"))
    look = models.SpatialTransformer.look

    def noted(self: Any, x: Tensor, theta: Tensor) -> Any:
        seen["st"].append((x.shape, theta.shape))
        return look(self, x, theta)

    monkeypatch.setattr(models.SpatialTransformer, "look", noted)
    assert model(tinyconv.zeros(2, 3, 448, 448, device="meta")).shape == (2, 200)
    assert seen["localisation"] == [((2, 3, 224, 224), (2, 4))]
    assert seen["st"] == [((2, 3, 448, 448), (2, 2))] * 2
    assert seen["parts"] == [((2, 3, 224, 224), (2, 1024))] * 2


@pytest.mark.parametrize("n", [1, 2, 4])
def test_where_transformers_begin(n: int) -> None:
    """Half as high and wide as the image, each at its place; four are the quarters of the image."""
    tinyconv.manual_seed(0)
    model = st_cub(5, transformers=n, in_channels=1, scale="lesson").eval()
    found = model.attended(tinyconv.rand(3, 1, 32, 32))
    assert [(grid.shape, output.shape) for grid, output in found] == [((3, 32, 32, 2), (3, 1, 32, 32))] * n
    places = [(*grid[i, 0, 0], *grid[i, -1, -1]) for grid, _ in found for i in range(3)]
    wanted = {
        1: [(-0.5, -0.5, 0.5, 0.5)],
        2: [(-1, -0.5, 0, 0.5), (0, -0.5, 1, 0.5)],
        4: [(-1, -1, 0, 0), (0, -1, 1, 0), (-1, 0, 0, 1), (0, 0, 1, 1)],
    }[n]
    np.testing.assert_allclose(places, np.repeat(wanted, 3, 0), atol=1e-6)


def test_four_outputs_are_the_quarters_of_the_image() -> None:
    """Of 63 pixels 32 are from the first to the middle one, and from there to the last."""
    tinyconv.manual_seed(0)
    model = st_cub(5, in_channels=1, scale="lesson", dtype=tinyconv.float64).eval()
    x = Tensor(np.random.default_rng(0).random((2, 1, 63, 63)))
    shifts = Tensor(np.tile([-0.5, -0.5, 0.5, -0.5, -0.5, 0.5, 0.5, 0.5], (2, 1)))
    parts = [st.look(x, shifts[:, 2 * k : 2 * k + 2])[1].numpy() for k, st in enumerate(model.transformers)]
    slices = (slice(0, 32), slice(31, 63))
    wanted = [x.numpy()[:, :, rows, columns] for rows in slices for columns in slices]
    for part, quarter in zip(parts, wanted, strict=True):
        np.testing.assert_allclose(part, quarter, rtol=0, atol=1e-12)


def test_features_of_all_parts_are_classified_together() -> None:
    tinyconv.manual_seed(0)
    model = st_cub(5, transformers=2, in_channels=1, scale="lesson", image_size=64, dtype=tinyconv.float64).eval()
    x = Tensor(np.random.default_rng(0).random((2, 1, 64, 64)))
    looked = [output for _, output in model.attended(x)]
    features = [net(Tensor(part)).detach().numpy() for net, part in zip(model.describers, looked, strict=True)]
    scores = np.concatenate(features, 1) @ model.fc.weight.detach().numpy().T + model.fc.bias.detach().numpy()
    np.testing.assert_allclose(model(x).detach().numpy(), scores, rtol=1e-9)
    small = Tensor(x.numpy().reshape(2, 1, 32, 2, 32, 2).mean((3, 5)))
    plain = st_cub(5, transformers=0, in_channels=1, scale="lesson", image_size=64, dtype=tinyconv.float64).eval()
    wanted = plain.fc(plain.describers[0](small)).detach().numpy()
    np.testing.assert_allclose(plain(x).detach().numpy(), wanted, rtol=1e-9)  # without transformers: the whole, smaller
    assert plain.attended(x) == []


def test_attended_keeps_no_graph() -> None:
    model = st_cub(5, transformers=1, in_channels=1, scale="lesson")
    found = model.attended(Tensor(np.zeros((2, 1, 32, 32), np.float32), requires_grad=True))
    assert all(isinstance(part, np.ndarray) for part in found[0])
    assert all(p.grad is None for p in model.parameters())


# -------------------------------------------------------------------------------------------------- training and files
@pytest.mark.parametrize("n", [0, 2])
def test_a_step_reaches_every_parameter(n: int) -> None:
    tinyconv.manual_seed(0)
    model = st_cub(4, transformers=n, in_channels=1, scale="lesson", width=0.5)
    if n:
        nn.init.normal_(model.localisation.theta.weight, std=1e-3)
    x, labels = quadrants(32)
    F.cross_entropy(model(x), labels).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.numpy().any()]
    tinyconv.optim.SGD(model.parameters(), lr=0.01).step()
    assert all(np.isfinite(p.detach().numpy()).all() for p in model.parameters())


def test_learns_a_batch_by_heart() -> None:
    tinyconv.manual_seed(0)
    model = st_cub(4, transformers=2, in_channels=1, scale="lesson", width=0.25)
    x, labels = quadrants(32)
    optimizer = tinyconv.optim.Adam(models.spatial_transformer.parameter_groups(model, 2e-3, 0.1), lr=2e-3)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("n", [0, 4])
def test_a_checkpoint_rebuilds_it(n: int, tmp_path: Any) -> None:
    arguments = {"num_classes": 6, "in_channels": 1, "image_size": 64, "scale": "lesson", "width": 0.25}
    model = models.build("st_cub", transformers=n, **arguments)
    tinyconv.save(tmp_path / "a.npz", model)
    again = tinyconv.load(tmp_path / "a.npz")
    assert isinstance(again, PartsNetwork)
    assert again.config == model.config and again.input_shape == (1, 64, 64)
    x = tinyconv.rand(2, 1, 64, 64)
    np.testing.assert_array_equal(again.eval()(x).detach().numpy(), model.eval()(x).detach().numpy())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"transformers": 3}, "st_cub: transformers must be 0, 1, 2 or 4, got 3"),
        ({"transformers": True}, "st_cub: transformers must be 0, 1, 2 or 4, got True"),
        ({"transformers": 2.0}, "st_cub: transformers must be 0, 1, 2 or 4, got 2.0"),
        ({"transformers": -1}, "st_cub: transformers must be 0, 1, 2 or 4, got -1"),
        ({"image_size": 300}, "st_cub: image_size must be a multiple of 224, got 300"),
        ({"image_size": 48, "scale": "lesson"}, "st_cub: image_size must be a multiple of 32, got 48"),
        ({"image_size": 30, "scale": "lesson"}, "st_cub: image_size must be a multiple of 32, got 30"),
        ({"image_size": 64.0}, "st_cub: image_size must be the side of a square image"),
        ({"scale": "small"}, "st_cub: scale must be one of"),
        ({"width": -1.0}, "st_cub: width must be positive"),
    ],
)
def test_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        st_cub(**arguments, device="meta")
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("n", [0, 2])
@pytest.mark.parametrize("size", [(30, 30), (33, 33), (48, 48), (32, 64), (0, 0)])
def test_images_of_another_size(n: int, size: tuple[int, int]) -> None:
    model = st_cub(5, transformers=n, in_channels=1, scale="lesson", device="meta")
    with pytest.raises(ValueError) as error:
        model(tinyconv.zeros(2, 1, *size, device="meta"))
    assert str(error.value) == (
        f"PartsNetwork: x must be square, its sides a multiple of 32 pixels, got {size[0]} x {size[1]}; "
        "resize the images"
    )
    assert model(tinyconv.zeros(2, 1, 64, 64, device="meta")).shape == (2, 5)
