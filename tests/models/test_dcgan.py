"""DCGAN: the paper's sizes and rules; PyTorch's networks of the same weights."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from tinyconv import models, nn
from tinyconv.tensor import Tensor


def test_the_papers_sizes() -> None:
    """Figure 1: z 100 -> 4x4x1024 -> 8x8x512 -> 16x16x256 -> 32x32x128 -> 64x64x3, 5x5 windows of stride 2."""
    model = models.dcgan(device="meta")
    shapes = {row.name: row.output_shape for row in tinyconv.summary(model).rows}
    maps = [shapes[f"generator.{name}"] for name in ("maps", "deconv1", "deconv2", "deconv3", "deconv4")]
    assert maps == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]
    maps = [shapes[f"discriminator.conv{i}"] for i in (1, 2, 3, 4)]
    assert maps == [(128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4)]
    assert model.input_shape == (100,) and model.image_shape == (3, 64, 64) and model.value_range == (-1.0, 1.0)
    filters = 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    norms = 2 * (1024 + 512 + 256 + 128), 2 * (256 + 512 + 1024)
    by_hand = 100 * 16384 + filters + 3 + norms[0], filters + 128 + norms[1] + 16384 + 1
    networks = (model.generator, model.discriminator)
    assert tuple(sum(p.numel() for p in network.parameters()) for network in networks) == by_hand


@pytest.mark.parametrize("scale", ["paper", "lesson"])
def test_the_papers_rules(scale: str) -> None:
    model = models.dcgan(scale=scale, device="meta")
    generator, discriminator = (list(n.named_children()) for n in (model.generator, model.discriminator))
    kinds = [[type(layer).__name__ for _, layer in network] for network in (generator, discriminator)]
    assert not any("Pool" in kind for kind in kinds[0] + kinds[1])
    steps = len(models.dcgan.__globals__["SCALES"][scale][3])
    assert kinds[0] == ["Linear", "Unflatten", *["BatchNorm2d", "ReLU", "ConvTranspose2d"] * steps, "Tanh"]
    tail = ["Conv2d", "BatchNorm2d", "LeakyReLU"] * (steps - 1)
    assert kinds[1] == ["Conv2d", "LeakyReLU", *tail, "Flatten", "Linear", "Flatten"]
    assert {layer.negative_slope for _, layer in discriminator if isinstance(layer, nn.LeakyReLU)} == {0.2}
    assert all(layer.stride == (2, 2) for _, layer in generator + discriminator if hasattr(layer, "stride"))


def test_initial_weights() -> None:
    tinyconv.manual_seed(0)
    model = models.dcgan(scale="lesson")
    for name, p in model.named_parameters():
        if p.ndim > 1:
            assert p.detach().numpy().std() == pytest.approx(0.02, rel=0.1), name
        else:
            assert set(np.unique(p.detach().numpy())) == ({1.0} if ".bn" in name and "weight" in name else {0.0}), name


def test_equals_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'tinyconv[parity]'")
    tinyconv.manual_seed(0)
    model = models.dcgan(scale="lesson", width=0.25, dtype=np.float64)
    t, (wide, narrow) = torch.nn, (16, 8)
    generator = t.Sequential(
        t.Linear(64, wide * 49, bias=False), t.Unflatten(1, (wide, 7, 7)), t.BatchNorm2d(wide), t.ReLU(),
        t.ConvTranspose2d(wide, narrow, 5, 2, 2, 1, bias=False), t.BatchNorm2d(narrow), t.ReLU(),
        t.ConvTranspose2d(narrow, 1, 5, 2, 2, 1), t.Tanh(),
    ).double()  # fmt: skip
    discriminator = t.Sequential(
        t.Conv2d(1, narrow, 5, 2, 2), t.LeakyReLU(0.2), t.Conv2d(narrow, wide, 5, 2, 2, bias=False),
        t.BatchNorm2d(wide), t.LeakyReLU(0.2), t.Flatten(), t.Linear(wide * 49, 1), t.Flatten(0),
    ).double()  # fmt: skip
    for theirs, ours in ((generator, model.generator), (discriminator, model.discriminator)):
        values = [value.numpy() for value in ours.state_dict().values()]
        theirs.load_state_dict({k: torch.tensor(v) for k, v in zip(theirs.state_dict(), values, strict=True)})
    z = model.latent(6).astype(np.float64)
    ours = model(Tensor(z))
    theirs = discriminator(generator(torch.tensor(z)))
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-12)
    (ours * ours).sum().backward()
    (theirs * theirs).sum().backward()
    wanted = [p.grad.numpy() for network in (generator, discriminator) for p in network.parameters()]
    for (name, p), grad in zip(model.named_parameters(), wanted, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), grad, rtol=1e-8, atol=1e-12, err_msg=name)


def test_sizes_that_cannot_be_halved() -> None:
    with pytest.raises(
        ValueError, match="dcgan: image_size must be a multiple of 16 for 4 convolutions of stride 2, got 28"
    ):
        models.dcgan(image_size=28)
    with pytest.raises(ValueError, match="dcgan: image_size must be a multiple of 4"):
        models.dcgan(image_size=30, scale="lesson")
    with pytest.raises(ValueError, match="dcgan: image_size must be the side"):
        models.dcgan(image_size=-4)
