"""Layers: each is its function, with PyTorch's arguments, weights and printed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, nn
from tinyconv.nn import functional as F

IMAGE = (2, 4, 6, 6)
# Class, arguments, shape of x; those that PyTorch has under the same name are compared with it.
LAYERS = [
    ("Conv2d", (4, 6, 3), {"padding": 1, "groups": 2}, IMAGE),
    ("Conv2d", (4, 6, (3, 2)), {"stride": 2, "dilation": (1, 2), "bias": False}, IMAGE),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, IMAGE),
    ("ConvTranspose2d", (4, 2, 3), {"dilation": 2, "bias": False}, IMAGE),
    ("Linear", (6, 3), {}, IMAGE),
    ("Linear", (6, 3), {"bias": False}, (6,)),
    ("MaxPool2d", (3,), {"stride": 2, "ceil_mode": True}, IMAGE),
    ("MaxPool2d", (2,), {"dilation": 2}, IMAGE),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, IMAGE),
    ("AdaptiveAvgPool2d", (3,), {}, IMAGE),
    ("AdaptiveMaxPool2d", ((2, None),), {}, IMAGE),
    ("LocalResponseNorm", (3,), {"alpha": 0.5, "k": 2.0}, IMAGE),
    ("BatchNorm2d", (4,), {}, IMAGE),
    ("BatchNorm2d", (4,), {"affine": False, "momentum": None}, IMAGE),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, IMAGE),
    ("BatchNorm1d", (4,), {"eps": 0.1}, (5, 4)),
    ("BatchNorm1d", (4,), {}, (5, 4, 3)),
    ("ReLU", (), {}, IMAGE),
    ("LeakyReLU", (0.3,), {}, IMAGE),
    ("Tanh", (), {}, IMAGE),
    ("Sigmoid", (), {}, IMAGE),
    ("Softmax", (1,), {}, IMAGE),
    ("LogSoftmax", (1,), {}, IMAGE),
    ("Identity", (), {}, IMAGE),
    ("Flatten", (), {}, IMAGE),
    ("Flatten", (0, 2), {}, IMAGE),
    ("Unflatten", (1, (2, 2)), {}, IMAGE),
    ("Unflatten", (-1, (3, 1, 2)), {}, (5, 6)),
    ("Unflatten", (1, (-1, 2)), {}, IMAGE),
    ("Unflatten", (2, [3, -1, 1]), {}, IMAGE),
    ("ZeroPad2d", (2,), {}, IMAGE),
    ("ZeroPad2d", ((0, 1, 2, 3),), {}, IMAGE),
    ("Upsample", (), {"scale_factor": 2}, IMAGE),
    ("Upsample", (), {"size": (4, 9), "mode": "bilinear", "align_corners": True}, IMAGE),
    ("Dropout", (0.0,), {}, IMAGE),
]
ids = [f"{name}{args}{','.join(options)}" for name, args, options, _ in LAYERS]


def image(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS, ids=ids)
def test_equals_torch(name: str, args: tuple, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    ours, theirs = getattr(nn, name)(*args, **options).double(), getattr(torch.nn, name)(*args, **options).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        x = image(shape, seed=training)
        a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = ours(a), theirs(b)
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
        (y * y).sum().backward()
        (z * z).sum().backward()
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-10)
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-10, atol=1e-10, err_msg=key)
    for (key, p), q in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-12, err_msg=key)
    if name in ("Conv2d", "Linear", "Flatten", "LeakyReLU", "Embedding", "ReLU"):
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS, ids=ids)
def test_runs_on_meta(name: str, args: tuple, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    layer = getattr(nn, name)(*args, **options)
    wanted = layer(Tensor(image(shape).astype(np.float32))).shape
    assert layer.to("meta")(tinyconv.empty(*shape, device="meta")).shape == wanted


LOSSES = [
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "ignore_index": 1}, "classes"),
    ("NLLLoss", {"reduction": "sum"}, "classes"),
    ("MultiMarginLoss", {"p": 2}, "classes"),
    ("MSELoss", {"reduction": "sum"}, "values"),
    ("L1Loss", {}, "values"),
    ("SmoothL1Loss", {"beta": 0.3}, "values"),
    ("BCELoss", {}, "unit"),
    ("BCEWithLogitsLoss", {}, "unit"),
    ("KLDivLoss", {"reduction": "batchmean"}, "unit"),
]


@pytest.mark.parametrize(("name", "options", "kind"), LOSSES, ids=[name for name, _, _ in LOSSES])
def test_losses_equal_torch(name: str, options: dict[str, Any], kind: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.9, (6, 4))
    target = {
        "classes": np.arange(6) % 4,
        "values": rng.standard_normal((6, 4)),
        "unit": rng.uniform(0.1, 0.9, (6, 4)),
    }[kind]
    weights = rng.uniform(0.5, 2, 4)
    for extra in ({}, {"weight": weights}, {"pos_weight": weights}):
        takes = {"weight": kind == "classes" or name.startswith("BCE"), "pos_weight": "Logits" in name}
        if not all(takes[key] for key in extra):
            continue
        ours = getattr(nn, name)(**options, **{k: Tensor(v) for k, v in extra.items()})
        theirs = getattr(torch.nn, name)(**options, **{k: torch.tensor(v) for k, v in extra.items()})
        found = ours(Tensor(x), Tensor(target)).item()
        assert found == pytest.approx(theirs(torch.tensor(x), torch.tensor(target)).item(), rel=1e-12)


def test_hinge_loss() -> None:
    x, target = Tensor(np.array([0.5, -2.0, 3.0])), Tensor(np.array([1.0, 1.0, -1.0]))
    assert nn.HingeLoss(reduction="none")(x, target).tolist() == [0.5, 3.0, 4.0]
    assert nn.HingeLoss(margin=0.0)(x, target).item() == pytest.approx(5 / 3)


def test_unpool_embedding_and_dropout() -> None:
    x = Tensor(image((1, 2, 4, 4)))
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    back = nn.MaxUnpool2d(2)(y, indices)
    np.testing.assert_array_equal(back.numpy(), np.where(back.numpy() != 0, x.numpy(), 0))
    assert (back.numpy() != 0).sum() == 8

    table = nn.Embedding(5, 3)
    np.testing.assert_array_equal(
        table(Tensor(np.array([4, 0]))).detach().numpy(), table.weight.detach().numpy()[[4, 0]]
    )

    x = tinyconv.ones(1000)
    for inverted, kept, tested in ((True, 2.0, 1.0), (False, 1.0, 0.5)):
        layer = nn.Dropout(0.5, inverted=inverted)
        found = layer(x).numpy()
        assert set(np.unique(found)) == {0.0, kept}
        assert 400 < (found == 0).sum() < 600
        assert not np.array_equal(layer(x).numpy(), found)
        assert (layer.eval()(x).numpy() == tested).all()
    with pytest.raises(ValueError, match="Dropout: p must be a probability"):
        nn.Dropout(1.5)


def test_paper_lrn_layer() -> None:
    layer = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, alpha_over_size=False)
    assert repr(layer) == "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=2, alpha_over_size=False)"
    found = layer(tinyconv.full((1, 7, 1, 1), 10.0, dtype=tinyconv.float64)).numpy().ravel()
    wanted = [5.8800087, 5.8583778, 5.8369316, 5.8369316, 5.8369316, 5.8583778, 5.8800087]
    np.testing.assert_allclose(found, wanted, atol=5e-8)


def test_batch_norm_runs_on_reference_and_counts_batches() -> None:
    layer = nn.BatchNorm2d(3)
    with tinyconv.backend("reference"):
        layer(Tensor(image((2, 3, 2, 2)).astype(np.float32)))
    assert layer.num_batches_tracked.item() == 1
    with pytest.raises(ValueError, match=r"BatchNorm2d: x must be \(N, C, H, W\), got shape \(2, 3\)"):
        layer(tinyconv.ones(2, 3))
    with pytest.raises(ValueError, match=r"BatchNorm1d: x must be \(N, C\) or \(N, C, L\)"):
        nn.BatchNorm1d(3)(tinyconv.ones(2, 3, 1, 1))


@pytest.mark.parametrize("sizes", [(3, -1), (-1, 3), (0, 4), (5, 2, -1)])
def test_unflatten_of_no_elements_equals_torch(sizes: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    assert (
        nn.Unflatten(1, sizes)(tinyconv.zeros(2, 0, 3)).shape
        == torch.nn.Unflatten(1, sizes)(torch.zeros(2, 0, 3)).shape
    )


@pytest.mark.parametrize("sizes", [4, None, "22", (2.0, 2), (True, 4), (2, None), {2: 2}])
def test_unflatten_takes_a_tuple_of_ints(sizes: Any) -> None:
    with pytest.raises(TypeError, match="^Unflatten: unflattened_size must be a tuple of ints, .* got "):
        nn.Unflatten(1, sizes)


@pytest.mark.parametrize("sizes", [(), (-1, -1), (-2, -2)])
def test_unflatten_infers_one_size_only(sizes: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match="^Unflatten: unflattened_size must be a tuple of ints, one of which may be -1"
    ):
        nn.Unflatten(1, sizes)


@pytest.mark.parametrize(
    ("sizes", "wanted"), [((3, -1), "a multiple of 3"), ((0, -1), "a multiple of 0"), ((2, 3), "6"), ((0, 4), "0")]
)
def test_unflatten_of_what_does_not_fit(sizes: tuple[int, ...], wanted: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    with pytest.raises(RuntimeError):
        torch.nn.Unflatten(1, sizes)(torch.zeros(2, 4, 3))
    with pytest.raises(
        ValueError, match=rf"^Unflatten: axis 1 must have {wanted} elements for .* got shape \(2, 4, 3\)"
    ):
        nn.Unflatten(1, sizes)(tinyconv.zeros(2, 4, 3))


def test_constructor_errors() -> None:
    with pytest.raises(ValueError, match="Conv2d: in_channels must be an int of at least 1, got 0"):
        nn.Conv2d(0, 1, 3)
    with pytest.raises(
        ValueError, match="Conv2d: in_channels and out_channels must be multiples of groups=2, got 3 and 4"
    ):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="Conv2d: stride must be at least 1"):
        nn.Conv2d(1, 1, 3, stride=0)
    with pytest.raises(TypeError, match="MaxPool2d: kernel_size must be an int or a pair"):
        nn.MaxPool2d("3")
    with pytest.raises(ValueError, match="Linear: out_features must be"):
        nn.Linear(1, 2.5)
    with pytest.raises(ValueError, match="BatchNorm2d: num_features must be"):
        nn.BatchNorm2d(-1)
    with pytest.raises(ValueError, match="Embedding: num_embeddings"):
        nn.Embedding(0, 1)
    with pytest.raises(ValueError, match="ZeroPad2d: padding must be an int or"):
        nn.ZeroPad2d((1, 2))


def test_functional_is_reachable_from_nn() -> None:
    assert F.conv2d is nn.functional.conv2d is tinyconv.functional.conv2d
