"""ResNet: the paper's counts for every depth and shortcut, its blocks, torchvision's outputs; 1202 layers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tinyconv
from model_tools import assert_learns_by_heart, torchvision_models
from tinyconv import Tensor, models, nn
from tinyconv.models.residual import BasicBlock, Bottleneck, SubsampleAndPad
from tinyconv.models.resnet import resnet, resnet_cifar
from tinyconv.nn import functional as F

# Section 6.1 of the papers' specification: parameters, and multiply-accumulates with the stride in the first 1x1 (v1)
# or in the 3x3 (v1.5).
IMAGENET = {
    18: (11_689_512, 1_814_073_344, 1_814_073_344),
    34: (21_797_672, 3_663_761_408, 3_663_761_408),
    50: (25_557_032, 3_857_973_248, 4_089_184_256),
    101: (44_549_160, 7_570_194_432, 7_801_405_440),
    152: (60_192_808, 11_282_415_616, 11_513_626_624),
}
# Parameters, multiply-accumulates and number of projections with shortcuts A, B and C.
SHORTCUTS = {
    (18, "A"): (11_515_688, 1_794_805_760, 0),
    (18, "B"): (11_689_512, 1_814_073_344, 3),
    (18, "C"): (12_043_816, 1_878_298_624, 8),
    (34, "A"): (21_623_848, 3_644_493_824, 0),
    (34, "B"): (21_797_672, 3_663_761_408, 3),
    (34, "C"): (22_716_840, 3_830_747_136, 16),
    (50, "B"): (25_557_032, 3_857_973_248, 4),
}
# Section 6.4: parameters with shortcuts A and B, multiply-accumulates with A.
CIFAR = {
    20: (269_722, 272_474, 40_551_040),
    32: (464_154, 466_906, 68_862_592),
    44: (658_586, 661_338, 97_174_144),
    56: (853_018, 855_770, 125_485_696),
    110: (1_727_962, 1_730_714, 252_887_680),
}
WHERE: dict[str, Any] = {"device": "cpu", "dtype": tinyconv.float64}


def counts(model: nn.Module) -> tuple[int, int]:
    found = tinyconv.summary(model)
    return found.total_params, found.total_macs


@pytest.mark.parametrize("depth", IMAGENET)
def test_the_papers_table(depth: int) -> None:
    params, v1, v15 = IMAGENET[depth]
    assert counts(resnet(depth, device="meta")) == (params, v1)
    assert counts(resnet(depth, variant="v1.5", device="meta")) == (params, v15)


@pytest.mark.parametrize(("depth", "kind"), SHORTCUTS)
def test_shortcuts(depth: int, kind: str) -> None:
    model = resnet(depth, shortcut=kind, device="meta")
    projections = sum(isinstance(block.shortcut, nn.Sequential) for _, block in model.blocks())
    assert (*counts(model), projections) == SHORTCUTS[depth, kind]


@pytest.mark.parametrize("depth", [18, 34])
def test_plain_nets_count_as_option_a(depth: int) -> None:
    plain = resnet(depth, residual=False, device="meta")
    assert counts(plain) == SHORTCUTS[depth, "A"][:2]
    assert not any(isinstance(m, (SubsampleAndPad, nn.Identity)) for m in plain.modules())


@pytest.mark.parametrize("depth", CIFAR)
def test_the_papers_table_for_cifar(depth: int) -> None:
    a, b, macs = CIFAR[depth]
    assert counts(resnet_cifar(depth, device="meta")) == (a, macs)
    assert counts(resnet_cifar(depth, shortcut="B", device="meta"))[0] == b
    assert counts(resnet_cifar(depth, residual=False, device="meta")) == (a, macs)


def test_stages_and_names() -> None:
    rows = {row.name: row.output_shape for row in tinyconv.summary(resnet(101, device="meta")).rows}
    for name, shape in {
        "conv1": (64, 112, 112), "pool1": (64, 56, 56), "conv2_3.conv3": (256, 56, 56), "conv3_4.conv3": (512, 28, 28),
        "conv4_23.conv3": (1024, 14, 14), "conv5_3.conv3": (2048, 7, 7), "avgpool": (2048, 1, 1), "fc": (1000,),
    }.items():  # fmt: skip
        assert rows[name] == shape
    weighted = [m for m in resnet(101, shortcut="A", device="meta").modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == 101
    small = resnet_cifar(20, device="meta")
    assert len([m for m in small.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]) == 20
    rows = {row.name: row.output_shape for row in tinyconv.summary(small).rows}
    assert [rows[f"conv{n}_3.conv2"] for n in (2, 3, 4)] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_every_rectifier_is_a_module_that_hooks_see() -> None:
    for model, count in ((resnet_cifar(20, device="meta"), 19), (resnet(18, device="meta"), 17)):
        assert sum(isinstance(m, nn.ReLU) for m in model.modules()) == count
    assert sum(isinstance(m, nn.ReLU) for m in resnet(50, device="meta").modules()) == 49


def test_the_pool_of_the_stem() -> None:
    for options, padding, ceil in (({}, 0, True), ({"variant": "v1.5"}, 1, False), ({"stem_pool": "pad1"}, 1, False)):
        pool = resnet(18, device="meta", **options).pool1
        assert (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode) == (3, 2, padding, ceil)


def test_where_a_bottleneck_strides() -> None:
    strides = {
        variant: [
            (block.conv1.stride, block.conv2.stride)
            for name, block in resnet(50, variant=variant, device="meta").blocks()
            if name == "conv3_1"
        ]
        for variant in ("v1", "v1.5")
    }
    assert strides == {"v1": [((2, 2), (1, 1))], "v1.5": [((1, 1), (2, 2))]}


# ---------------------------------------------------------------------------------------------------------- the blocks
def test_shortcut_a_takes_pixels_0_2_4_and_appends_zero_channels() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 5))
    wanted = np.concatenate([x[:, :, ::2, ::2], np.zeros((2, 2, 4, 3))], axis=1)
    np.testing.assert_array_equal(SubsampleAndPad(2, 2)(Tensor(x)).numpy(), wanted)
    tinyconv.gradcheck(SubsampleAndPad(2, 2), [x])


@pytest.mark.parametrize("kind", ["A", "B", "C"])
@pytest.mark.parametrize(("block", "width"), [(BasicBlock, 4), (Bottleneck, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_whose_last_norm_is_zero_is_the_relu_of_its_shortcut(
    block: Any, width: int, stride: int, kind: str
) -> None:
    rng = np.random.default_rng(1)
    made = block(4, width, stride, kind, "v1", WHERE)
    for p in made.parameters():
        p.data[...] = rng.standard_normal(p.shape)
    x = Tensor(rng.standard_normal((3, 4, 6, 6)))
    assert not np.allclose(made(x).detach().numpy(), F.relu(made.shortcut(x)).detach().numpy())
    made.last_norm.weight.data[...] = 0
    made.last_norm.bias.data[...] = 0
    np.testing.assert_array_equal(made(x).detach().numpy(), F.relu(made.shortcut(x)).detach().numpy())


@pytest.mark.parametrize("shortcut", ["A", "B", "C", None])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_gradients_of_blocks(block: Any, shortcut: str | None) -> None:
    made = block(2, 2, 2, shortcut, "v1.5", WHERE)
    rng = np.random.default_rng(2)
    names = [name for name, _ in made.named_parameters()]
    values = [rng.standard_normal(p.shape) for p in made.parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        # Parameters are replaced by the tensors that the check varies.
        for name, value in zip(names, parameters, strict=True):
            owner, _, own = name.rpartition(".")
            (made.get_submodule(owner) if owner else made)._parameters[own] = value
        return made(x)

    tinyconv.gradcheck(run, [rng.standard_normal((2, 2, 5, 5)), *values])


# --------------------------------------------------------------------------------------------------------- torchvision
def theirs_to_ours(name: str) -> str:
    """The one difference is in names: layer1.0 is conv2_1, and downsample the shortcut."""
    head, _, rest = name.partition(".")
    if head.startswith("layer"):
        number, _, rest = rest.partition(".")
        rest = rest.replace("downsample.0", "shortcut.conv").replace("downsample.1", "shortcut.bn")
        head = f"conv{int(head[5:]) + 1}_{int(number) + 1}"
    return f"{head}.{rest}"


def torchvisions(depth: int) -> tuple[Any, dict[str, np.ndarray]]:
    """Return torchvision's network with running statistics that are not 0 and 1, and its state by our names."""
    theirs = getattr(torchvision_models(), f"resnet{depth}")(num_classes=7)
    import torch

    torch.manual_seed(0)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return theirs, {theirs_to_ours(name): value.numpy().copy() for name, value in theirs.state_dict().items()}


@pytest.mark.parametrize("depth", [18, 50])
def test_evaluation_equals_torchvisions(depth: int) -> None:
    theirs, state = torchvisions(depth)
    import torch

    ours = resnet(depth, 7, variant="v1.5").eval()
    ours.load_state_dict(state)
    x = np.random.default_rng(0).standard_normal((2, 3, 96, 96)).astype(np.float32)
    with torch.no_grad():
        wanted = theirs.eval()(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours(Tensor(x)).detach().numpy(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [18, pytest.param(50, marks=pytest.mark.slow)])
def test_training_equals_torchvisions(depth: int) -> None:
    """In float64. In float32 roundings push values over the ReLUs' zero: PyTorch's own gradients are off by 2 %."""
    theirs, state = torchvisions(depth)
    import torch

    x, labels = np.random.default_rng(0).standard_normal((4, 3, 64, 64)), np.array([0, 3, 6, 1])
    loss = torch.nn.functional.cross_entropy(theirs.double().train()(torch.tensor(x)), torch.tensor(labels))
    loss.backward()
    ours = resnet(depth, 7, variant="v1.5", dtype=tinyconv.float64)
    ours.load_state_dict(state)
    found = F.cross_entropy(ours.train()(Tensor(x)), Tensor(labels))
    found.backward()
    assert found.item() == pytest.approx(loss.item(), rel=1e-10)
    gradients = {theirs_to_ours(name): p.grad.numpy() for name, p in theirs.named_parameters()}
    for name, p in ours.named_parameters():
        scale = np.abs(gradients[name]).max()
        np.testing.assert_allclose(p.grad.numpy(), gradients[name], rtol=0, atol=1e-9 * scale, err_msg=name)
    after = {theirs_to_ours(name): value.numpy() for name, value in theirs.state_dict().items()}
    for name, value in ours.state_dict().items():
        np.testing.assert_allclose(value.numpy(), after[name], rtol=1e-10, atol=1e-12, err_msg=name)


# ----------------------------------------------------------------------------------------------- arguments, training
def test_a_checkpoint_rebuilds_it() -> None:
    for name, options in (
        ("resnet", {"depth": 18, "shortcut": "C"}),
        ("resnet_cifar", {"depth": 8, "residual": False}),
    ):
        model = models.build(name, num_classes=7, scale="lesson", in_channels=1, width=0.5, **options)
        again = models.build(model.config["builder"], **model.config["arguments"])
        assert again.config == model.config
        assert again.input_shape == model.input_shape == (1, 28, 28)
        assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]


def test_other_names() -> None:
    assert models.resolve("resnet50") == ("resnet", {"depth": 50})
    assert models.resolve("alexnet") == ("alexnet", {})
    for name, config in {
        "resnet50": ("resnet", "depth", 50), "resnet20": ("resnet_cifar", "depth", 20), "vgg16": ("vgg", "config", "D"),
    }.items():  # fmt: skip
        model = models.build(name, num_classes=3, device="meta")
        builder, argument, value = config
        assert (model.config["builder"], model.config["arguments"][argument]) == (builder, value)
        assert argument in models.parameters(name)
    assert {"resnet", "resnet50", "resnet1202", "vgg19", "googlenet"} <= set(models.names())
    with pytest.raises(TypeError, match="resnet: wanted depth, num_classes, .*got 'deepness'"):
        models.build("resnet18", deepness=3)


def test_learn_a_batch_by_heart() -> None:
    tinyconv.manual_seed(0)
    assert_learns_by_heart(resnet_cifar(8, 4, in_channels=1, scale="lesson", width=0.5))
    assert_learns_by_heart(resnet(18, 4, in_channels=1, scale="lesson", width=0.5))


def test_errors() -> None:
    with pytest.raises(ValueError, match="resnet: depth must be one of 18, 34, 50, 101, 152, got 20"):
        resnet(20)
    with pytest.raises(ValueError, match=r"resnet_cifar: depth must be 6 n \+ 2, such as 8, 20.*, got 51"):
        resnet_cifar(51)
    with pytest.raises(ValueError, match="resnet_cifar: depth must be .*, got 20.0"):
        resnet_cifar(20.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="resnet: image_size must be the side of a square image"):
        resnet(18, image_size=0)
    with pytest.raises(ValueError, match="resnet_cifar: depth must be .*, got 2$"):
        resnet_cifar(2)
    with pytest.raises(ValueError, match="resnet: shortcut must be one of 'A', 'B', 'C', got 'D'"):
        resnet(18, shortcut="D")
    with pytest.raises(ValueError, match="resnet: variant must be one of 'v1', 'v1.5', got 'v2'"):
        resnet(18, variant="v2")
    with pytest.raises(ValueError, match="resnet: stem_pool must be one of 'ceil', 'pad1', got 'floor'"):
        resnet(18, stem_pool="floor")
    with pytest.raises(ValueError, match="resnet_cifar: scale must be one of"):
        resnet_cifar(20, scale="large")


STEP = """
import resource, tinyconv
from tinyconv.nn import functional as F
model = tinyconv.models.resnet_cifar(1202)
optimizer = tinyconv.optim.SGD(model.parameters(), 0.01, momentum=0.9)
x, labels = tinyconv.randn(8, 3, 32, 32), tinyconv.randint(0, 10, (8,))
before = model.conv1.weight.detach().numpy().copy()
loss = F.cross_entropy(model(x), labels)
loss.backward()
optimizer.step()
assert (before != model.conv1.weight.detach().numpy()).any()
print(loss.item(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_1202_layers_take_a_step_within_4_gib() -> None:
    assert counts(resnet_cifar(1202, device="meta")) == (19_421_274, 2_829_238_912)
    run = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    loss, kib = map(float, run.stdout.split())
    assert np.isfinite(loss)
    assert kib / 2**20 < 4, f"{kib / 2**20:.2f} GiB"
