"""VGG: the paper's six configurations to the last parameter, weights taken over from A, errors."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from model_tools import assert_equals_torch, assert_learns_by_heart, measured_step
from tinyconv import models, nn
from tinyconv.models.vgg import vgg

# Table 4.1 of the paper's specification: weight layers, parameters, those of convolutions, multiply-accumulates, and
# those of convolutions.
TABLE = {
    "A": (11, 132_863_336, 9_220_480, 7_609_090_048, 7_485_456_384),
    "A-LRN": (11, 132_863_336, 9_220_480, 7_609_090_048, 7_485_456_384),
    "B": (13, 133_047_848, 9_404_992, 11_308_466_176, 11_184_832_512),
    "C": (16, 133_638_952, 9_996_096, 11_770_888_192, 11_647_254_528),
    "D": (16, 138_357_544, 14_714_688, 15_470_264_320, 15_346_630_656),
    "E": (19, 143_667_240, 20_024_384, 19_632_062_464, 19_508_428_800),
}
POOLED = [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]
every_config = pytest.mark.parametrize("config", TABLE)


@every_config
def test_the_papers_table(config: str) -> None:
    found = tinyconv.summary(vgg(config=config, device="meta"))
    convolutions = [row for row in found.rows if row.name.startswith("conv")]
    full = [row for row in found.rows if row.name.startswith("fc")]
    assert (
        len(convolutions) + len(full),
        found.total_params,
        sum(row.params for row in convolutions),
        found.total_macs,
        sum(row.macs for row in convolutions),
    ) == TABLE[config]
    assert [row.output_shape for row in found.rows if row.name.startswith("pool")] == POOLED
    assert [row.params for row in full] == [102_764_544, 16_781_312, 4_097_000]


def test_what_tells_the_configurations_apart() -> None:
    kernels = {
        config: [layer.kernel_size for layer in vgg(config=config, device="meta") if isinstance(layer, nn.Conv2d)]
        for config in TABLE
    }
    assert {k for config in "ABDE" for k in kernels[config]} == {(3, 3)}
    assert [i for i, k in enumerate(kernels["C"]) if k == (1, 1)] == [6, 9, 12]  # the third of groups 3, 4 and 5
    assert kernels["A-LRN"] == kernels["A"]
    plain, normalised = ([name for name, _ in vgg(config=c, device="meta").named_children()] for c in ("A", "A-LRN"))
    assert normalised[:4] == ["conv1_1", "relu1_1", "norm1", "pool1"]
    assert [name for name in normalised if name != "norm1"] == plain
    norm = vgg(config="A-LRN", device="meta").norm1
    assert (norm.size, norm.alpha, norm.beta, norm.k, norm.alpha_over_size) == (5, 1e-4, 0.75, 2.0, False)


# What torchvision 0.29 counts (section 4.1): vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn.
@pytest.mark.parametrize(
    ("config", "params"), [("A", 132_868_840), ("B", 133_053_736), ("D", 138_365_992), ("E", 143_678_248)]
)
def test_batch_normalised(config: str, params: int) -> None:
    model = vgg(config=config, batch_norm=True, device="meta")
    assert tinyconv.summary(model).total_params == params
    assert [name for name, _ in model.named_children()][:4] == ["conv1_1", "bn1_1", "relu1_1", *(
        ["pool1"] if config == "A" else ["conv1_2"]
    )]  # fmt: skip


@pytest.mark.parametrize(("config", "batch_norm"), [("A-LRN", False), ("C", False), ("E", False), ("A", True)])
def test_outputs_and_gradients_equal_torch(config: str, batch_norm: bool) -> None:
    options = {"config": config, "batch_norm": batch_norm, "width": 1 / 32, "image_size": 64}
    assert_equals_torch(vgg(7, **options, dtype=tinyconv.float64).eval())


def test_initial_weights() -> None:
    """Glorot & Bengio 2010: uniform in +-sqrt(6 / (fan_in + fan_out)); He's normal draw at the lesson's scale."""
    for name, layer in vgg(width=1 / 8, image_size=32).named_children():
        if name.startswith(("conv", "fc")):
            weight, window = layer.weight.detach().numpy(), np.prod(layer.weight.shape[2:], dtype=int)
            limit = np.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * window))
            assert 0.97 * limit < np.abs(weight).max() <= limit, name
            assert weight.std() == pytest.approx(limit / np.sqrt(3), rel=0.1), name
            assert not layer.bias.detach().numpy().any(), name
    small = vgg(10, scale="lesson")
    assert small.conv3_2.weight.detach().numpy().std() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.05)


# ---------------------------------------------------------------------------------------------------- weights from A
def test_deeper_nets_begin_with_four_convolutions_and_the_classifier_of_a() -> None:
    shallow, deep = vgg(5, config="A", scale="lesson", width=0.25), vgg(5, config="E", scale="lesson", width=0.25)
    for p in shallow.parameters():
        p.data[...] = np.random.default_rng(p.numel()).standard_normal(p.shape)  # biases too
    before = {name: value.numpy().copy() for name, value in deep.state_dict().items()}
    copied = deep.init_from(shallow)
    assert copied == ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"]
    for name, value in deep.state_dict().items():
        source = shallow.state_dict()[name] if name.rpartition(".")[0] in copied else before[name]
        np.testing.assert_array_equal(np.asarray(source), value.numpy(), err_msg=name)
    shallow.conv1_1.weight.data[...] = 7  # a copy, not the same memory
    assert not (deep.conv1_1.weight.detach().numpy() == 7).any()


def test_init_from_changes_nothing_if_a_layer_does_not_fit() -> None:
    deep = vgg(5, config="D", scale="lesson", width=0.25)
    before = {name: value.numpy().copy() for name, value in deep.state_dict().items()}
    with pytest.raises(ValueError, match=r"init_from: fc8.weight must be \(5, 64\), got \(6, 64\); give a vgg of conf"):
        deep.init_from(vgg(6, config="A", scale="lesson", width=0.25))
    with pytest.raises(ValueError, match="conv1_1.weight must be .* got no such layer"):
        deep.init_from(models.alexnet(5, scale="lesson", width=0.25))
    for name, value in deep.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_a_checkpoint_rebuilds_it() -> None:
    model = models.build("vgg", num_classes=7, config="C", scale="lesson", in_channels=1, width=0.5, batch_norm=True)
    again = models.build(model.config["builder"], **model.config["arguments"])
    assert again.config == model.config
    assert again.input_shape == model.input_shape == (1, 32, 32)
    assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]


@pytest.mark.parametrize("config", ["A", "E"])
def test_lesson_scale_learns_a_batch_by_heart(config: str) -> None:
    tinyconv.manual_seed(0)
    assert_learns_by_heart(vgg(4, config=config, scale="lesson", in_channels=1, width=0.5), steps=40)


def test_errors() -> None:
    with pytest.raises(ValueError, match="vgg: config must be one of 'A', 'A-LRN', 'B', 'C', 'D', 'E', got 'F'"):
        vgg(config="F")
    with pytest.raises(ValueError, match="vgg: image_size=31 is too small, no pixel is left after pool5$"):
        vgg(10, scale="lesson", image_size=31)
    with pytest.raises(ValueError, match=r"vgg: image_size must be the side of a square image .* got \(224, 224\)"):
        vgg(image_size=(224, 224), device="meta")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="VGG.init_from: wanted a vgg of config A, got NoneType"):
        vgg(10, scale="lesson", width=0.125).init_from(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="vgg: scale must be one of"):
        vgg(scale="tiny")


@pytest.mark.slow
def test_one_training_step_at_the_papers_size_fits_in_6_gib() -> None:
    loss, memory = measured_step("vgg(config='D')", 1)
    assert 4 < loss < 10  # log 1000 = 6.9
    assert memory < 6, f"{memory:.2f} GiB"
