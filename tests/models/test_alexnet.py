"""AlexNet: the paper's table, its initial weights, two towers, dropout; variants and scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from model_tools import assert_equals_torch, assert_learns_by_heart, measured_step, torchvision_models
from tinyconv import Tensor, models, nn
from tinyconv.models.alexnet import AlexNet, alexnet
from tinyconv.nn import functional as F

# Table 2.1 of the paper's specification: output, parameters, multiply-accumulates.
TABLE = {
    "conv1": ((96, 55, 55), 34_944, 105_415_200),
    "norm1": ((96, 55, 55), 0, 0),
    "pool1": ((96, 27, 27), 0, 0),
    "conv2": ((256, 27, 27), 307_456, 223_948_800),
    "norm2": ((256, 27, 27), 0, 0),
    "pool2": ((256, 13, 13), 0, 0),
    "conv3": ((384, 13, 13), 885_120, 149_520_384),
    "conv4": ((384, 13, 13), 663_936, 112_140_288),
    "conv5": ((256, 13, 13), 442_624, 74_760_192),
    "pool5": ((256, 6, 6), 0, 0),
    "fc6": ((4096,), 37_752_832, 37_748_736),
    "fc7": ((4096,), 16_781_312, 16_777_216),
    "fc8": ((1000,), 4_097_000, 4_096_000),
}


def test_the_papers_table() -> None:
    found = tinyconv.summary(alexnet(device="meta"))
    rows = {row.name: (row.output_shape, row.params, row.macs) for row in found.rows}
    assert {name: rows[name] for name in TABLE} == TABLE
    assert (found.total_params, found.total_macs) == (60_965_224, 724_406_816)
    order = (
        "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 flatten fc6 relu6 "
    )
    assert [row.name for row in found.rows] == (order + "dropout6 fc7 relu7 dropout7 fc8").split()


@pytest.mark.parametrize(
    ("variant", "params", "macs"),
    [("ungrouped", 62_378_344, 1_135_256_096), ("torchvision", 61_100_840, 714_188_480)],
)
def test_variants(variant: str, params: int, macs: int) -> None:
    found = tinyconv.summary(models.build("alexnet", variant=variant, device="meta"))
    assert (found.total_params, found.total_macs) == (params, macs)


def test_neurons_of_the_paper() -> None:
    shapes = {row.name: row.output_shape for row in tinyconv.summary(alexnet(device="meta")).rows}
    counts = [int(np.prod(shapes[name])) for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")]
    assert counts == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert sum(counts) == 659_272


def test_torchvision_has_the_same_layers() -> None:
    theirs = torchvision_models().alexnet()
    ours = tinyconv.models.alexnet(variant="torchvision", device="meta")
    shapes = [tuple(p.shape) for p in theirs.state_dict().values()]
    assert [p.shape for p in ours.state_dict().values()] == shapes


def test_initial_weights_of_the_paper() -> None:
    model = alexnet(width=0.125, dtype=tinyconv.float64)
    for name, layer in model.named_children():
        if name.startswith(("conv", "fc")):
            wanted = 1.0 if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0.0
            assert (layer.bias.detach().numpy() == wanted).all(), name
            weight = layer.weight.detach().numpy()
            assert weight.std() == pytest.approx(0.01, rel=0.1), name
            assert abs(weight.mean()) < 0.1 * weight.std(), name


def test_same_seed_same_network_in_both_dtypes() -> None:
    def build(seed: int, **options: Any) -> np.ndarray:
        tinyconv.manual_seed(seed)
        return alexnet(10, scale="lesson", in_channels=1, **options).fc8.weight.detach().numpy()

    np.testing.assert_array_equal(build(1), build(1))
    assert not np.array_equal(build(1), build(2))
    # Drawn in float32; only the scaling rounds differently.
    np.testing.assert_allclose(build(1), build(1, dtype=tinyconv.float64), rtol=1e-6)


def test_dropout_halves_outputs_when_testing() -> None:
    model = alexnet(10, scale="lesson", in_channels=1).eval()
    x = tinyconv.randn(2, 256)
    np.testing.assert_array_equal(model.dropout6(x).numpy(), x.numpy() * np.float32(0.5))
    trained = model.train().dropout6(x).numpy()
    assert set(np.unique(trained[trained != 0])) <= set(x.numpy().ravel())  # kept values are not scaled up
    modern = alexnet(10, scale="lesson", in_channels=1, variant="torchvision").eval()
    np.testing.assert_array_equal(modern.dropout6(x).numpy(), x.numpy())


def test_ingredients() -> None:
    model = alexnet(device="meta")
    for norm in (model.norm1, model.norm2):
        assert (norm.size, norm.alpha, norm.beta, norm.k, norm.alpha_over_size) == (5, 1e-4, 0.75, 2.0, False)
    for pool in (model.pool1, model.pool2, model.pool5):
        assert (pool.kernel_size, pool.stride, pool.padding) == (3, 2, 0)
    for drop in (model.dropout6, model.dropout7):
        assert (drop.p, drop.inverted) == (0.5, False)
    lesson = alexnet(10, scale="lesson", device="meta")
    assert [name for name, _ in lesson.named_children()] == [name for name, _ in model.named_children()]
    assert [lesson.get_submodule(f"conv{n}").groups for n in range(1, 6)] == [1, 2, 1, 2, 2]


@pytest.mark.parametrize("variant", ["paper", "ungrouped", "torchvision"])
def test_outputs_and_gradients_equal_torch(variant: str) -> None:
    assert_equals_torch(alexnet(7, variant=variant, width=0.1, image_size=99, dtype=tinyconv.float64).eval())


# --------------------------------------------------------------------------------------------------------- two towers


def towers(model: AlexNet, x: Tensor, norm: bool) -> Tensor:
    """Two half-width networks, one per GPU, that see each other's maps only at conv3 and the fully connected layers."""

    def half(parameter: Tensor, g: int) -> Tensor:
        n = parameter.shape[0] // 2
        return parameter[g * n : (g + 1) * n]

    def own(maps: list[Tensor], name: str) -> list[Tensor]:
        layer = model.get_submodule(name)
        sizes = {"stride": layer.stride, "padding": layer.padding}
        return [F.conv2d(m, half(layer.weight, g), half(layer.bias, g), **sizes).relu() for g, m in enumerate(maps)]

    def normalised(maps: list[Tensor]) -> list[Tensor]:
        return [F.local_response_norm(m, 5, 1e-4, 0.75, 2.0, False) if norm else m for m in maps]

    def pooled(maps: list[Tensor]) -> list[Tensor]:
        return [F.max_pool2d(m, 3, 2) for m in maps]

    maps = pooled(normalised(own([x, x], "conv1")))
    maps = pooled(normalised(own(maps, "conv2")))
    both = tinyconv.cat(maps, 1)
    maps = pooled(own(own(own([both, both], "conv3"), "conv4"), "conv5"))
    features = tinyconv.cat(maps, 1).flatten(1)
    for name in ("fc6", "fc7"):
        layer = model.get_submodule(name)
        parts = [F.linear(features, half(layer.weight, g), half(layer.bias, g)).relu() for g in (0, 1)]
        features = tinyconv.cat(parts, 1) * 0.5
    return F.linear(features, model.fc8.weight, model.fc8.bias)


class PerTower(nn.Module):
    """LRN over the channels of one GPU at a time, as in the original."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        return tinyconv.cat([self.whole(half) for half in x.chunk(2, 1)], 1)


@pytest.mark.parametrize("norm", [True, False], ids=["LRN per tower on both sides", "without LRN"])
def test_groups_equal_two_towers(norm: bool) -> None:
    model = alexnet(11, width=0.25, image_size=99, dtype=tinyconv.float64).eval()
    for name in ("norm1", "norm2"):
        setattr(model, name, PerTower(model.get_submodule(name)) if norm else nn.Identity())
    assert [row.name for row in tinyconv.summary(model).rows if row.macs][1] == "conv2"
    x = tinyconv.randn(2, 3, 99, 99, dtype=tinyconv.float64)
    wanted, found = model(x).detach().numpy(), towers(model, x, norm).detach().numpy()
    assert np.abs(found).max() > 1e-3
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12 * np.abs(wanted).max())


# ------------------------------------------------------------------------------------------------- arguments, training


def test_arguments_are_kept() -> None:
    model = models.build("alexnet", num_classes=7, scale="lesson", in_channels=1)
    assert model.input_shape == (1, 28, 28)
    again = models.build(model.config["builder"], **model.config["arguments"])
    assert again.input_shape == model.input_shape
    assert again.config == model.config
    assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]
    assert models.build("alexnet", scale="lesson", device="meta").input_shape == (3, 32, 32)


def test_width_keeps_even_numbers() -> None:
    model = alexnet(5, scale="lesson", width=0.1, device="meta")
    assert all(layer.out_channels % 2 == 0 for layer in model if isinstance(layer, nn.Conv2d))
    assert tinyconv.summary(model).rows[-1].output_shape == (5,)


def test_errors() -> None:
    with pytest.raises(ValueError, match="variant must be one of 'paper', 'ungrouped', 'torchvision', got 'cafe'"):
        alexnet(variant="cafe")
    with pytest.raises(ValueError, match="scale must be one of"):
        alexnet(scale="huge")
    with pytest.raises(ValueError, match='image_size=32 is too small.*scale="lesson" is for small images'):
        alexnet(image_size=32, device="meta")
    with pytest.raises(ValueError, match="image_size=12 is too small, no pixel is left after pool5$"):
        alexnet(image_size=12, scale="lesson")
    with pytest.raises(ValueError, match="width must be positive"):
        alexnet(width=0)
    with pytest.raises(ValueError, match="out_features must be an int of at least 1, got 0"):
        alexnet(0, device="meta")
    with pytest.raises(ValueError, match="wanted one of .*alexnet.*, got 'alexnt'; did you mean 'alexnet'"):
        models.build("alexnt")
    with pytest.raises(TypeError, match="got 'varaint'; did you mean 'variant'"):
        models.build("alexnet", varaint="paper")
    assert {"alexnet", "lenet5"} <= set(models.names())


@pytest.mark.parametrize("variant", ["paper", "ungrouped", "torchvision"])
def test_lesson_scale_learns_a_batch_by_heart(variant: str) -> None:
    tinyconv.manual_seed(0)
    assert_learns_by_heart(alexnet(4, scale="lesson", in_channels=1, variant=variant, width=0.25))


@pytest.mark.slow
def test_one_training_step_at_the_papers_size_fits_in_4_gib() -> None:
    loss, memory = measured_step("alexnet()", 16)
    assert 5 < loss < 9  # log 1000 = 6.9
    assert memory < 4, f"{memory:.2f} GiB"
