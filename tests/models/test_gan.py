"""GAN: the released networks, sampling, the last bias."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinyconv
from tinyconv import data, models, nn
from tinyconv.models.gan import GAN, bias_to_mean
from tinyconv.tensor import Tensor


def small(**options) -> GAN:
    tinyconv.manual_seed(0)
    return models.gan(scale="lesson", width=0.1, **options)


def test_the_released_networks() -> None:
    """Section 4.3: z 100, ReLU 1200 twice, sigmoid 784; maxout 240 x 5 twice; dropout .2 and .5."""
    model = models.gan()
    parameters = {name: p.shape for name, p in model.named_parameters()}
    assert [shape for name, shape in parameters.items() if name.endswith("weight")] == [
        (1200, 100), (1200, 1200), (784, 1200), (1200, 784), (1200, 240), (1, 240)
    ]  # fmt: skip
    by_hand = 100 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 784 + 784
    by_hand += 784 * 1200 + 1200 + 240 * 1200 + 1200 + 240 + 1
    assert sum(p.numel() for p in model.parameters()) == by_hand == 3_735_425
    assert tinyconv.summary(model).total_params == by_hand
    layers = list(model.discriminator.children())
    assert [(layer.pieces, layer.dim) for layer in layers if isinstance(layer, nn.Maxout)] == [(5, 1)] * 2
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]
    weights = {name: p.detach().numpy() for name, p in model.named_parameters() if p.ndim > 1}
    for name, value in weights.items():
        limit = 0.05 if name.startswith("generator") else 0.005
        assert np.abs(value).max() <= limit, name
        assert value.std() == pytest.approx(limit / math.sqrt(3), rel=0.1), name
    assert all(not p.detach().numpy().any() for p in model.parameters() if p.ndim == 1)


def test_the_lessons_scale_draws_the_discriminator_by_its_inputs() -> None:
    tinyconv.manual_seed(0)
    model = models.gan(scale="lesson")
    for name, p in model.named_parameters():
        if p.ndim > 1:
            limit = 0.1 if name.startswith("generator") else 1 / math.sqrt(p.shape[1])
            assert p.detach().numpy().std() == pytest.approx(limit / math.sqrt(3), rel=0.2), name


def test_forward_is_the_discriminator_on_the_generator() -> None:
    model = small()
    model.eval()
    z = Tensor(model.latent(5))
    images = model.generator(z)
    assert images.shape == (5, 1, 28, 28)
    np.testing.assert_array_equal(model(z).detach().numpy(), model.discriminator(images).detach().numpy())
    assert model(z).shape == (5,)


def test_latent_points_have_the_prior_and_do_not_depend_on_how_many() -> None:
    model = models.gan()
    points = model.latent(2000, seed=3)
    assert points.shape == (2000, 100) and points.dtype == np.float32
    assert np.abs(points).max() <= math.sqrt(3) and points.std() == pytest.approx(1.0, rel=0.01)
    np.testing.assert_array_equal(points[:7], model.latent(7, seed=3))
    assert not np.array_equal(points[:7], model.latent(7, seed=4))
    normal = GAN(nn.Identity(), nn.Identity(), 4, (1, 2, 2), prior=("normal", 2.0))
    assert normal.latent(5000).std() == pytest.approx(2.0, rel=0.02)
    with pytest.raises(ValueError, match="GAN: prior must be one of"):
        GAN(nn.Identity(), nn.Identity(), 4, (1, 2, 2), prior=("cauchy", 1.0))


@pytest.mark.parametrize("builder", [models.gan, models.dcgan, models.lapgan])
def test_samples_are_pixels_and_depend_on_nothing_but_their_point(builder) -> None:
    tinyconv.manual_seed(0)
    model = builder(scale="lesson", width=0.1)
    model.train()
    model.generator.eval() if hasattr(model, "generator") else None
    modes = [module.training for module in model.modules()]
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    points = model.latent(130)  # more than are made at a time
    images = model.sample(points)
    assert images.shape == (130, 1, 28, 28) and images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1
    np.testing.assert_array_equal(images, model.sample(130))
    np.testing.assert_allclose(images[100:103], model.sample(points[100:103]), atol=1e-6)
    assert [module.training for module in model.modules()] == modes
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key], err_msg=key)


def test_values_of_minus_one_to_one_become_pixels() -> None:
    class Constant(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z.reshape(-1, 1, 1, 1)

    model = GAN(Constant(), nn.Linear(1, 1), 1, (1, 1, 1), value_range=(-1.0, 1.0))
    found = model.sample(np.array([[-1.0], [-0.5], [0.0], [1.0], [3.0]])).ravel()
    np.testing.assert_array_equal(found, [0, 0.25, 0.5, 1, 1])
    np.testing.assert_array_equal(model.scaled(Tensor(np.array([0.0, 0.5, 1.0]))).numpy(), [-1, 0, 1])


def test_a_generator_begins_with_the_mean_image() -> None:
    model, images = small(), data.mnist("test").images[:100].reshape(100, 1, 28, 28)
    images = images.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
    bias_to_mean(model, images)
    made = model.generator(tinyconv.zeros(1, *model.input_shape)).detach().numpy()[0]
    np.testing.assert_allclose(made, np.clip(images.mean(0), 1e-3, 1 - 1e-3), atol=1e-6)


def test_a_last_bias_is_set_where_it_makes_sense() -> None:
    images = np.full((3, 1, 28, 28), 0.5, np.float32)
    for other in (models.dcgan(scale="lesson", width=0.1), models.lapgan(scale="lesson", width=0.1)):
        with pytest.raises(ValueError, match="bias_to_mean: the model must be a gan, .* got (dc|lap)gan"):
            bias_to_mean(other, images)
    for bad in (images * np.nan, images * 3, images[:, :, :5]):
        with pytest.raises(ValueError, match=r"bias_to_mean: images must be \(N, 1, 28, 28\) in \[0, 1\]"):
            bias_to_mean(small(), bad)


def test_no_latent_points_and_bad_ones() -> None:
    model = small()
    assert model.sample(np.zeros((0, 64))).shape == (0, 1, 28, 28)
    with pytest.raises(ValueError, match="latent must be finite, got NaN or infinity"):
        model.sample(np.full((1, 64), np.nan))
    with pytest.raises(ValueError, match="prior must have a positive, finite scale"):
        GAN(nn.Identity(), nn.Identity(), 4, (1, 2, 2), prior=("uniform", math.nan))


def test_saving_and_loading(tmp_path) -> None:
    for builder in (models.gan, models.dcgan, models.lapgan):
        model = builder(scale="lesson", width=0.1, in_channels=3, image_size=16)
        tinyconv.save(tmp_path / "a.npz", model)
        again = tinyconv.load(tmp_path / "a.npz")
        assert type(again) is type(model) and again.config == model.config
        np.testing.assert_array_equal(again.sample(3), model.sample(3))


@pytest.mark.parametrize(
    ("latent", "message"),
    [(0, "at least 1 image, got 0"), (np.zeros((2, 5)), r"a number of images or \(N, 64\), got shape \(2, 5\)")],
)
def test_bad_samples(latent, message: str) -> None:
    with pytest.raises(ValueError, match=f"GAN.sample: latent must be {message}"):
        small().sample(latent)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="gan: image_size must be the side of a square image"):
        models.gan(image_size=0)
    with pytest.raises(ValueError, match="gan: scale must be one of"):
        models.gan(scale="huge")
    with pytest.raises(ValueError, match="gan: width must be positive"):
        models.gan(width=0)
