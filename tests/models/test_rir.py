"""Resnet in Resnet: the streams' equations, ResNet Init, the wide network's counts and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from model_tools import assert_learns_by_heart
from tinyconv import Tensor, models, nn
from tinyconv.models.rir import GeneralisedBlock, RiRBlock, add_identity, rir
from tinyconv.nn import functional as F

DOUBLE: dict[str, Any] = {"dtype": tinyconv.float64}


def streams(channels: int, side: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return Tensor(rng.standard_normal((2, channels, side, side))), Tensor(
        rng.standard_normal((2, channels, side, side))
    )


def shuffled(block: nn.Module) -> nn.Module:
    rng = np.random.default_rng(3)
    for p in block.parameters():
        p.data[...] = rng.standard_normal(p.shape)
    return block


def widened(x: np.ndarray, extra: int, stride: int) -> np.ndarray:
    """The shortcut by hand: every stride-th pixel from 0, zero channels after the others."""
    x = x[:, :, ::stride, ::stride]
    return np.concatenate([x, np.zeros((len(x), extra, *x.shape[2:]))], axis=1)


@pytest.mark.parametrize(("out", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_the_streams_equations(out: int, stride: int) -> None:
    """R' = s(conv(r, W_rr) + conv(t, W_tr) + shortcut(r)), t' = s(conv(r, W_rt) + conv(t, W_tt)), by four products."""
    block = shuffled(GeneralisedBlock(3, out, stride, **DOUBLE))
    r, t = streams(3)
    w = block.conv.weight
    parts = {"rr": w[:out, :3], "tr": w[:out, 3:], "rt": w[out:, :3], "tt": w[out:, 3:]}

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, parts[name], None, stride, 1)

    inner = conv(r, "rr") + conv(t, "tr") + Tensor(widened(r.numpy(), out - 3, stride))
    wanted = F.relu(block.norm_r(inner)), F.relu(block.norm_t(conv(r, "rt") + conv(t, "tt")))
    for found, want in zip(block(r, t), wanted, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), want.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_without_the_transient_stream_it_is_a_residual_layer() -> None:
    """W_tr = W_rt = W_tt = 0 and BN the identity (running statistics 0 and 1, eps 0): r' = ReLU(conv(r) + r)."""
    block = shuffled(GeneralisedBlock(3, 3, **DOUBLE)).eval()
    block.conv.weight.data[:3, 3:] = 0
    block.conv.weight.data[3:] = 0
    for norm in (block.norm_r, block.norm_t):
        norm.eps = 0.0
        norm.weight.data[...], norm.bias.data[...] = 1, 0
    r, t = streams(3)
    found, silent = block(r, t)
    wanted = np.maximum(F.conv2d(r, block.conv.weight[:3, :3], padding=1).detach().numpy() + r.numpy(), 0)
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-12, atol=1e-13)
    assert not silent.detach().numpy().any()


@pytest.mark.parametrize(("out", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_resnet_init_is_the_same_function(out: int, stride: int) -> None:
    block = shuffled(GeneralisedBlock(3, out, stride, **DOUBLE))
    r, t = streams(3)
    wanted = [y.detach().numpy() for y in block(r, t)]
    before = block.conv.weight.detach().numpy().copy()
    add_identity(block)
    assert block.shortcut is None
    changed = block.conv.weight.detach().numpy() - before
    places = np.argwhere(changed)
    assert places.tolist() == [[k, k, 1, 1] for k in range(3)]  # only r -> r, only the centre
    np.testing.assert_allclose(changed[changed != 0], 1, rtol=1e-12)
    for found, want in zip(block(r, t), wanted, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), want, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="add_identity: wanted a block with a shortcut"):
        add_identity(block)


def test_the_outer_shortcut_comes_after_the_last_relu() -> None:
    block = shuffled(RiRBlock(3, 5, 2, **DOUBLE))
    r, t = streams(3)
    inner, transient = block.second(*block.first(r, t))
    found = block(r, t)
    np.testing.assert_allclose(
        found[0].detach().numpy(), inner.detach().numpy() + widened(r.numpy(), 2, 2), rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(found[1].detach().numpy(), transient.detach().numpy(), rtol=1e-10)
    assert found[0].detach().numpy().min() < 0  # no further ReLU


def test_gradients() -> None:
    block = shuffled(RiRBlock(2, 3, 2, **DOUBLE))
    r, t = streams(2, 4)
    tinyconv.gradcheck(lambda r, t: tinyconv.cat(list(block(r, t)), 1), [r, t])


# Section 6.5 of the papers' specification: parameters for 10 and 100 classes, multiply-accumulates, shapes of a stream.
def test_counts_and_shapes_of_the_wide_network() -> None:
    found = tinyconv.summary(rir(device="meta"))
    assert (found.total_params, found.total_macs) == (9_469_940, 1_531_723_776)
    assert tinyconv.summary(rir(100, device="meta")).total_params == 9_504_680
    model = rir(device="meta").eval()
    shapes = []
    for block in model.blocks:
        block.register_forward_hook(lambda m, args, y: shapes.append([stream.shape[1:] for stream in y]))
    assert model(tinyconv.zeros(2, 3, 32, 32, device="meta")).shape == (2, 10)
    assert [shapes[i] for i in (1, 4, 7)] == [[(48, 32, 32)] * 2, [(96, 16, 16)] * 2, [(192, 8, 8)] * 2]
    strides = [(b.first.conv.stride[0], b.second.conv.stride[0]) for b in model.blocks]
    assert strides == [(1, 1), (1, 1), (1, 2), (1, 1), (1, 1), (1, 2), (1, 1), (1, 1)]
    widths = [(b.first.out, b.second.out) for b in model.blocks]
    assert widths == [(48, 48)] * 2 + [(96, 96)] * 3 + [(192, 192)] * 3


def test_a_checkpoint_rebuilds_it_and_it_learns() -> None:
    model = models.build("rir", num_classes=7, scale="lesson", in_channels=1, width=0.5)
    again = models.build(model.config["builder"], **model.config["arguments"])
    assert again.config == model.config
    assert again.input_shape == model.input_shape == (1, 28, 28)
    tinyconv.manual_seed(0)
    assert_learns_by_heart(rir(4, scale="lesson", in_channels=1, width=0.5))


def test_errors() -> None:
    with pytest.raises(ValueError, match="rir: scale must be one of"):
        rir(scale="wide")
