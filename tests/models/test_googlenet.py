"""GoogLeNet: every row of the paper's table, the auxiliary classifiers and their loss, torchvision's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from model_tools import assert_learns_by_heart, torchvision_models
from tinyconv import Tensor, models, nn
from tinyconv.models.googlenet import MODULES, GoogLeNet, Outputs, googlenet
from tinyconv.models.inception import Inception, NaiveInception, Widths
from tinyconv.nn import functional as F

# Section 5.1 of the papers' specification: output, parameters, multiply-accumulates of each row.
TABLE = {
    "conv1": ((64, 112, 112), 9_472, 118_013_952),
    "pool1": ((64, 56, 56), 0, 0),
    "conv2": ((192, 56, 56), 114_944, 359_661_568),  # with its 1x1
    "pool2": ((192, 28, 28), 0, 0),
    "inception_3a": ((256, 28, 28), 163_696, 128_049_152),
    "inception_3b": ((480, 28, 28), 388_736, 304_267_264),
    "pool3": ((480, 14, 14), 0, 0),
    "inception_4a": ((512, 14, 14), 376_176, 73_608_192),
    "inception_4b": ((512, 14, 14), 449_160, 87_908_352),
    "inception_4c": ((512, 14, 14), 510_104, 99_850_240),
    "inception_4d": ((528, 14, 14), 605_376, 118_515_712),
    "inception_4e": ((832, 14, 14), 868_352, 169_996_288),
    "pool4": ((832, 7, 7), 0, 0),
    "inception_5a": ((832, 7, 7), 1_043_456, 51_079_168),
    "inception_5b": ((1024, 7, 7), 1_444_080, 70_697_984),
    "avgpool": ((1024, 1, 1), 0, 0),
    "fc": ((1000,), 1_025_000, 1_024_000),
}
# Section 5.2: parameters and millions of multiply-accumulates of a module with reductions and without, and the maps
# that either puts out, at the maps it gets.
NAIVE = {
    "3a": (192, 28, 256, 416, 163_328, 387_072),
    "3b": (256, 28, 480, 672, 388_096, 1_089_536),
    "4a": (480, 14, 512, 928, 375_552, 1_566_720),
    "4e": (528, 14, 832, 1232, 867_328, 3_345_408),
    "5b": (832, 7, 1024, 1728, 1_442_816, 5_857_280),
}


def test_the_papers_table() -> None:
    model = googlenet(aux=False, device="meta")
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda m, args, y, name=name: shapes.__setitem__(name, y.shape[1:]))
    model.eval()(tinyconv.zeros(1, 3, 224, 224, device="meta"))
    found = tinyconv.summary(model)
    for name, (shape, params, macs) in TABLE.items():
        rows = [row for row in found.rows if row.name.partition(".")[0] in {name, f"{name}_reduce"}]
        assert (shapes[name], sum(r.params for r in rows), sum(r.macs for r in rows)) == (shape, params, macs), name
    assert (found.total_params, found.total_macs) == (6_998_552, 1_582_671_872)


def test_auxiliary_classifiers() -> None:
    model = googlenet(device="meta")
    assert tinyconv.summary(model).total_params == 13_378_280
    sizes = [sum(p.numel() for p in getattr(model, name).parameters()) for name in ("aux1", "aux2")]
    assert sizes == [3_188_840, 3_190_888]
    x = tinyconv.zeros(2, 3, 224, 224, device="meta")
    outputs = model.train()(x)
    assert [scores.shape for scores in outputs] == [(2, 1000)] * 3
    assert model.eval()(x).shape == (2, 1000)
    pooled = [model.aux1[0](tinyconv.zeros(1, c, 14, 14, device="meta")).shape for c in (512, 528)]
    assert pooled == [(1, 512, 4, 4), (1, 528, 4, 4)]
    macs = [tinyconv.summary(head, (c, 14, 14)).total_macs for head, c in ((model.aux1, 512), (model.aux2, 528))]
    assert macs == [4_169_728, 4_202_496]


def test_torchvisions_variant_counts() -> None:
    with_heads = tinyconv.summary(googlenet(variant="torchvision", device="meta"))
    without = tinyconv.summary(googlenet(variant="torchvision", aux=False, device="meta"))
    assert (with_heads.total_params, without.total_params) == (13_004_888, 6_624_904)
    assert without.total_macs == 1_498_376_192


@pytest.mark.parametrize("part", NAIVE)
def test_cost_of_the_naive_module(part: str) -> None:
    channels, side, out, naive_out, weights, naive_weights = NAIVE[part]
    for kind, maps, wanted in ((Inception, out, weights), (NaiveInception, naive_out, naive_weights)):
        found = tinyconv.summary(kind(channels, MODULES[part], device="meta"), (channels, side, side))
        biases = sum(row.output_shape[0] for row in found.rows if row.kind == "Conv2d")
        assert found.total_params - biases == wanted
        assert found.total_macs == wanted * side * side
        assert kind(channels, MODULES[part], device="meta")(
            tinyconv.zeros(1, channels, side, side, device="meta")
        ).shape == (1, maps, side, side)


def test_the_module_concatenates_its_branches_in_order() -> None:
    rng = np.random.default_rng(0)
    module = Inception(3, Widths(2, 2, 4, 2, 6, 8), dtype=tinyconv.float64)
    x = Tensor(rng.standard_normal((2, 3, 6, 6)))
    y = module(x).detach().numpy()
    one, three, five, pooled = (list(b.modules()) for b in (module.ones, module.threes, module.fives, module.pooled))
    convolutions = [[m for m in ms if isinstance(m, nn.Conv2d)] for ms in (one, three, five, pooled)]

    def run(x: Tensor, layers: list[Any]) -> np.ndarray:
        for layer in layers:
            x = F.relu(F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2))
        return x.detach().numpy()

    wanted = [run(x, layers) for layers in convolutions[:3]] + [run(F.max_pool2d(x, 3, 1, 1), convolutions[3])]
    np.testing.assert_allclose(y, np.concatenate(wanted, axis=1), rtol=1e-12)
    assert [part.shape[1] for part in wanted] == [2, 4, 6, 8]


def test_loss_and_gradients_are_main_plus_three_tenths_of_each_auxiliary_one() -> None:
    tinyconv.manual_seed(0)
    model = googlenet(4, scale="lesson", in_channels=1, width=0.25, dtype=tinyconv.float64)
    x, labels = tinyconv.randn(5, 1, 28, 28, dtype=tinyconv.float64), tinyconv.tensor([0, 1, 2, 3, 1])
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the three losses below see the same network
    outputs = model(x)
    assert isinstance(outputs, Outputs)
    parts = [F.cross_entropy(scores, labels) for scores in outputs]
    total = GoogLeNet.loss(outputs, labels)
    assert total.item() == pytest.approx(parts[0].item() + 0.3 * parts[1].item() + 0.3 * parts[2].item(), rel=1e-12)

    def gradient(loss: Tensor) -> list[np.ndarray]:
        for p in model.parameters():
            p.grad = None
        loss.backward()
        return [np.zeros(p.shape) if p.grad is None else p.grad.numpy().copy() for p in model.parameters()]

    whole = gradient(GoogLeNet.loss(model(x), labels))
    main, aux1, aux2 = (gradient(F.cross_entropy(model(x)[i], labels)) for i in range(3))
    for (name, _), g, a, b, c in zip(model.named_parameters(), whole, main, aux1, aux2, strict=True):
        np.testing.assert_allclose(g, a + 0.3 * b + 0.3 * c, rtol=1e-9, atol=1e-14, err_msg=name)
    heads = dict(zip((name for name, _ in model.named_parameters()), whole, strict=True))
    assert all(np.abs(heads[f"aux{n}.fc1.weight"]).max() > 0 for n in (1, 2))
    assert GoogLeNet.loss(model.eval()(x), labels).item() == pytest.approx(parts[0].item())


# --------------------------------------------------------------------------------------------------------- torchvision
BRANCHES = {"branch1": "ones", "branch2": "threes", "branch3": "fives", "branch4": "pooled"}


def theirs_to_ours(name: str) -> str:
    head, _, rest = name.partition(".")
    head = {"conv2": "conv2_reduce", "conv3": "conv2"}.get(head, head.replace("inception", "inception_"))
    branch, _, last = rest.partition(".")
    return f"{head}.{BRANCHES[branch]}.{last}" if branch in BRANCHES else f"{head}.{rest}"


@pytest.mark.slow
def test_equals_torchvisions() -> None:
    theirs = torchvision_models().googlenet(weights=None, num_classes=7, init_weights=False).double()
    import torch

    torch.manual_seed(0)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    ours = googlenet(7, variant="torchvision", dtype=tinyconv.float64)
    for module in ours.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ours.load_state_dict({theirs_to_ours(name): v.numpy().copy() for name, v in theirs.state_dict().items()})
    x, labels = np.random.default_rng(0).standard_normal((2, 3, 224, 224)), np.array([6, 0])
    with torch.no_grad():
        wanted = theirs.eval()(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours.eval()(Tensor(x)).detach().numpy(), wanted, rtol=1e-9, atol=1e-11)

    outputs = theirs.train()(torch.tensor(x))  # (main, the head on 4d, the head on 4a)
    cross_entropy = torch.nn.functional.cross_entropy
    main, aux2, aux1 = (cross_entropy(scores, torch.tensor(labels)) for scores in outputs)
    (main + 0.3 * aux1 + 0.3 * aux2).backward()
    GoogLeNet.loss(ours.train()(Tensor(x)), Tensor(labels)).backward()
    gradients = {theirs_to_ours(name): p.grad.numpy() for name, p in theirs.named_parameters()}
    for name, p in ours.named_parameters():
        scale = np.abs(gradients[name]).max()
        np.testing.assert_allclose(p.grad.numpy(), gradients[name], rtol=0, atol=1e-8 * scale, err_msg=name)


# ------------------------------------------------------------------------------------------------ arguments, training
def test_ingredients() -> None:
    model = googlenet(device="meta")
    for norm in (model.norm1, model.norm2):
        assert (norm.size, norm.alpha, norm.beta, norm.k, norm.alpha_over_size) == (5, 1e-4, 0.75, 1.0, True)
    for n in (1, 2, 3, 4):
        pool = getattr(model, f"pool{n}")
        assert (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode) == (3, 2, 0, True)
    assert (model.dropout.p, model.aux1.dropout.p) == (0.4, 0.7)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    weighted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    # 3 convolutions and 6 in each of 9 modules, fc; 3 in each head. 22 of them lie behind one another.
    assert len(weighted) == 3 + 9 * 6 + 1 + 2 * 3


def test_initial_weights() -> None:
    model = googlenet(scale="paper", width=0.125)
    assert (model.conv1.conv.bias.detach().numpy() == np.float32(0.2)).all()
    assert not model.fc.bias.detach().numpy().any()
    assert not model.aux1.fc2.bias.detach().numpy().any()
    weight = model.conv2.conv.weight.detach().numpy()
    limit = np.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * 9))
    assert 0.97 * limit < np.abs(weight).max() <= limit


def test_a_checkpoint_rebuilds_it() -> None:
    model = models.build("googlenet", num_classes=7, scale="lesson", in_channels=1, width=0.5, aux=False)
    again = models.build(model.config["builder"], **model.config["arguments"])
    assert again.config == model.config
    assert again.input_shape == model.input_shape == (1, 28, 28)
    assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]


def test_sizes() -> None:
    assert googlenet(device="meta").input_shape == (3, 224, 224)
    assert googlenet(in_channels=1, device="meta").input_shape == (1, 224, 224)
    assert googlenet(scale="lesson", device="meta").input_shape == (3, 32, 32)
    large = googlenet(variant="torchvision", image_size=299, device="meta")  # its heads pool to 4x4 maps of any size
    assert large.aux1.fc1.weight.shape == (1024, 2048)
    assert [y.shape for y in large.train()(tinyconv.zeros(1, 3, 299, 299, device="meta"))] == [(1, 1000)] * 3
    for side in (12, 13, 33):
        lesson = googlenet(4, scale="lesson", aux=False, image_size=side, device="meta")
        assert lesson(tinyconv.zeros(1, 3, side, side, device="meta")).shape == (1, 4)
    whole = googlenet(4, aux=False, image_size=47, device="meta")
    assert whole(tinyconv.zeros(1, 3, 47, 47, device="meta")).shape == (1, 4)
    assert googlenet(scale="lesson", aux=False, image_size=64, device="meta").input_shape == (3, 64, 64)


@pytest.mark.parametrize("variant", ["paper", "torchvision"])
def test_learns_a_batch_by_heart(variant: str) -> None:
    tinyconv.manual_seed(0)
    assert_learns_by_heart(googlenet(4, variant=variant, scale="lesson", in_channels=1, aux=False, width=0.5), steps=30)


def test_errors() -> None:
    with pytest.raises(ValueError, match="googlenet: variant must be one of 'paper', 'torchvision', got 'bn'"):
        googlenet(variant="bn")
    with pytest.raises(
        ValueError,
        match="image_size=64 is too small, the auxiliary classifiers need maps of 5x5 and get 4x4; aux=False",
    ):
        googlenet(image_size=64, device="meta")
    with pytest.raises(ValueError, match="googlenet: scale must be one of"):
        googlenet(scale="small")
