"""Spatial transformer networks beside PyTorch's affine_grid and grid_sample: outputs, gradients, steps of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import Tensor, nn
from tinyconv.models import SpatialTransformer, st_cnn
from tinyconv.models.spatial_transformer import TRANSFORMS
from tinyconv.nn import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
T = torch.nn.functional

DOUBLE: dict[str, Any] = {"dtype": tinyconv.float64}
# No output position of these falls on a pixel, where a rounding of the position would choose another derivative.
STARTS = ((0.83, 0.11, 0.07, -0.13, 0.79, -0.05), (1.3, -0.2, 0.31, 0.4, 1.1, -0.17))


def in_torch(model: nn.Module) -> dict[str, Any]:
    """Return the model's parameters by name, as PyTorch's."""
    return {name: torch.tensor(p.detach().numpy().copy(), requires_grad=True) for name, p in model.named_parameters()}


def sampled(x: Any, theta: Any, size: tuple[int, int]) -> Any:
    grid = T.affine_grid(theta.reshape(-1, 2, 3), [*x.shape[:2], *size], align_corners=True)
    return T.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def varied(model: nn.Module, std: float) -> None:
    """Give the last layers of localisation networks weights, so that images are looked at differently."""
    rng = np.random.default_rng(7)
    with tinyconv.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("theta.weight"):
                p.copy_(Tensor(rng.normal(0, std, p.shape)))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("out", [(7, 8), (5, 11)])
def test_the_layer_between_two_convolutions(start: tuple[float, ...], out: tuple[int, int]) -> None:
    """Every output and gradient to 1e-10: of the image, of what comes before, of the localisation network."""
    tinyconv.manual_seed(0)
    look = nn.Sequential(
        {"flatten": nn.Flatten(), "fc": nn.Linear(3 * 56, 6, **DOUBLE), "theta": nn.Linear(6, 6, **DOUBLE)}
    )
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(2, 3, 3, **DOUBLE),
            "st": SpatialTransformer(look, "affine", out, start=start),
            "conv2": nn.Conv2d(3, 4, 3, **DOUBLE),
        }
    )
    varied(model, 0.01)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((3, 2, 9, 10))
    up = rng.standard_normal((3, 4, out[0] - 2, out[1] - 2))
    x, theirs, w = Tensor(images, requires_grad=True), torch.tensor(images, requires_grad=True), in_torch(model)
    maps = T.conv2d(theirs, w["conv1.weight"], w["conv1.bias"])
    hidden = T.linear(maps.flatten(1), w["st.localisation.fc.weight"], w["st.localisation.fc.bias"])
    theta = T.linear(hidden, w["st.localisation.theta.weight"], w["st.localisation.theta.bias"])
    wanted = T.conv2d(sampled(maps, theta, out), w["conv2.weight"], w["conv2.bias"])
    found = model(x)
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=0, atol=1e-10)
    found.backward(Tensor(up))
    wanted.backward(torch.tensor(up))
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), theirs.grad.numpy(), rtol=0, atol=1e-10)
    for name, p in model.named_parameters():
        assert p.grad is not None and np.abs(p.grad.numpy()).max() > 1e-6, name
        np.testing.assert_allclose(p.grad.numpy(), w[name].grad.numpy(), rtol=1e-10, atol=1e-10, err_msg=name)


def scores(x: Any, w: dict[str, Any], pool: bool) -> Any:
    """Run ST-CNN of the lessons' scale by PyTorch's functions."""
    at, of = "transformers.0.localisation.", "classifier."
    seen = T.avg_pool2d(x, 2) if pool else x
    for name in ("fc1", "fc2"):
        seen = torch.relu(T.linear(seen.flatten(1), w[f"{at}{name}.weight"], w[f"{at}{name}.bias"]))
    theta = T.linear(seen, w[f"{at}theta.weight"], w[f"{at}theta.bias"])
    y = sampled(x, theta, x.shape[2:])
    y = T.avg_pool2d(y, 2) if pool else y
    for name in ("conv1", "conv2"):
        y = T.max_pool2d(torch.relu(T.conv2d(y, w[f"{of}{name}.weight"], w[f"{of}{name}.bias"])), 2)
    y = torch.relu(T.linear(y.flatten(1), w[f"{of}fc3.weight"], w[f"{of}fc3.bias"]))
    return T.linear(y, w[f"{of}fc4.weight"], w[f"{of}fc4.bias"])


@pytest.mark.parametrize(("side", "start"), [(28, 0.9), (42, 0.93), (33, 1.0)])
def test_training_st_cnn(side: int, start: float) -> None:
    """Five steps of SGD end with equal weights; of 33 pixels whole positions are exact, so the identity is too."""
    tinyconv.manual_seed(0)
    model = st_cnn(scale="lesson", image_size=side, start=start, dtype=tinyconv.float64)
    w = in_torch(model)
    ours = tinyconv.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    theirs = torch.optim.SGD(list(w.values()), lr=0.05, momentum=0.9)
    rng = np.random.default_rng(0)
    first = model.transformers[0].localisation.theta.bias.detach().numpy().copy()
    for _ in range(5):
        images, labels = rng.random((6, 1, side, side)), rng.integers(0, 10, 6)
        ours.zero_grad()
        loss = F.cross_entropy(model(Tensor(images)), Tensor(labels))
        loss.backward()
        ours.step()
        theirs.zero_grad()
        wanted = T.cross_entropy(scores(torch.tensor(images), w, side > 28), torch.tensor(labels))
        wanted.backward()
        theirs.step()
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-9)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.detach().numpy(), w[name].detach().numpy(), rtol=0, atol=1e-9, err_msg=name)
    moved = np.abs(model.transformers[0].localisation.theta.bias.detach().numpy() - first)
    assert moved.min() > 1e-5 and model.transformers[0].localisation.theta.weight.detach().numpy().any()


@pytest.mark.parametrize("transform", ["affine", "attention", "projective", "tps"])
def test_every_transform_is_sampled_as_pytorch_does(transform: str) -> None:
    """PyTorch makes grids of affine maps only: it is given ours."""
    st = SpatialTransformer(None, transform, (6, 7))
    rng = np.random.default_rng(1)
    theta = np.asarray(TRANSFORMS[transform].start(0.8)) + rng.uniform(-0.2, 0.2, (3, st.numbers))
    images = rng.standard_normal((3, 2, 8, 9))
    x, theirs = Tensor(images, requires_grad=True), torch.tensor(images, requires_grad=True)
    grid, found = st.look(x, Tensor(theta))
    wanted = T.grid_sample(theirs, torch.tensor(grid.detach().numpy()), align_corners=True)
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=0, atol=1e-10)
    up = rng.standard_normal(found.shape)
    found.backward(Tensor(up))
    wanted.backward(torch.tensor(up))
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), theirs.grad.numpy(), rtol=0, atol=1e-10)
