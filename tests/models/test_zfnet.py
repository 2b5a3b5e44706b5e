"""ZF Net: the paper's table in both variants, its initial weights, its order of layers; what the builder refuses."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from model_tools import assert_equals_torch, assert_learns_by_heart, measured_step
from tinyconv import models, nn
from tinyconv.models.zfnet import zfnet

# Table 3.1 of the paper's specification: output, parameters, multiply-accumulates.
TABLE = {
    "conv1": ((96, 110, 110), 14_208, 170_755_200),
    "pool1": ((96, 55, 55), 0, 0),
    "norm1": ((96, 55, 55), 0, 0),
    "conv2": ((256, 26, 26), 614_656, 415_334_400),
    "pool2": ((256, 13, 13), 0, 0),
    "norm2": ((256, 13, 13), 0, 0),
    "conv3": ((384, 13, 13), 885_120, 149_520_384),
    "conv4": ((384, 13, 13), 1_327_488, 224_280_576),
    "conv5": ((256, 13, 13), 884_992, 149_520_384),
    "pool5": ((256, 6, 6), 0, 0),
    "fc6": ((4096,), 37_752_832, 37_748_736),
    "fc7": ((4096,), 16_781_312, 16_777_216),
    "fc8": ((1000,), 4_097_000, 4_096_000),
}
ORDER = (
    "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 flatten "
    "fc6 relu6 dropout6 fc7 relu7 dropout7 fc8"
).split()


def test_the_papers_table() -> None:
    found = tinyconv.summary(zfnet(device="meta"))
    rows = {row.name: (row.output_shape, row.params, row.macs) for row in found.rows}
    assert {name: rows[name] for name in TABLE} == TABLE
    assert [row.name for row in found.rows] == ORDER
    assert (found.total_params, found.total_macs) == (62_357_608, 1_168_032_896)
    assert models.build("zfnet", device="meta").input_shape == (3, 224, 224)


def test_model_b() -> None:
    found = tinyconv.summary(zfnet(variant="b", device="meta"))
    assert (found.total_params, found.total_macs) == (107_627_624, 2_476_704_896)
    shapes = {row.name: row.output_shape for row in found.rows}
    assert [shapes[name][0] for name in ("conv3", "conv4", "conv5")] == [512, 1024, 512]


def test_ingredients() -> None:
    model = zfnet(device="meta")
    for norm in (model.norm1, model.norm2):
        assert (norm.size, norm.alpha, norm.beta, norm.k, norm.alpha_over_size) == (5, 1e-4, 0.75, 2.0, False)
    assert all(layer.groups == 1 for layer in model if isinstance(layer, nn.Conv2d))
    for drop in (model.dropout6, model.dropout7):
        assert (drop.p, drop.inverted) == (0.5, False)
    lesson = zfnet(10, scale="lesson", device="meta")
    assert [name for name, _ in lesson.named_children()] == ORDER
    assert models.build("zfnet", scale="lesson", in_channels=1, device="meta").input_shape == (1, 28, 28)


def test_initial_weights_of_the_paper() -> None:
    model = zfnet(width=0.125, dtype=tinyconv.float64)
    for name, layer in model.named_children():
        if name.startswith(("conv", "fc")):
            assert not layer.bias.detach().numpy().any(), name
            assert layer.weight.detach().numpy().std() == pytest.approx(0.01, rel=0.1), name


@pytest.mark.parametrize("variant", ["fig3", "b"])
def test_outputs_and_gradients_equal_torch(variant: str) -> None:
    assert_equals_torch(zfnet(7, variant=variant, width=0.1, image_size=98, dtype=tinyconv.float64).eval())


@pytest.mark.parametrize("variant", ["fig3", "b"])
def test_lesson_scale_learns_a_batch_by_heart(variant: str) -> None:
    tinyconv.manual_seed(0)
    assert_learns_by_heart(zfnet(4, scale="lesson", in_channels=1, variant=variant, width=0.25))


def test_a_checkpoint_rebuilds_it() -> None:
    model = zfnet(7, scale="lesson", in_channels=1, variant="b", width=0.5)
    again = models.build(model.config["builder"], **model.config["arguments"])
    assert again.config == model.config
    assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]


def test_errors() -> None:
    with pytest.raises(ValueError, match="zfnet: variant must be one of 'fig3', 'b', got 'c'"):
        zfnet(variant="c")
    with pytest.raises(ValueError, match="zfnet: scale must be one of"):
        zfnet(scale="huge")
    with pytest.raises(ValueError, match='zfnet: image_size=28 is too small.*scale="lesson" is for small images'):
        zfnet(image_size=28, device="meta")
    with pytest.raises(ValueError, match="zfnet: width must be positive, got nan"):
        zfnet(width=np.nan)


@pytest.mark.slow
def test_one_training_step_at_the_papers_size_fits_in_6_gib() -> None:
    loss, memory = measured_step("zfnet()", 4)
    assert 5 < loss < 9  # log 1000 = 6.9
    assert memory < 6, f"{memory:.2f} GiB"
