"""LAPGAN: the released sizes, its pyramid, how a sample is put together."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from tinyconv import models, nn
from tinyconv.tensor import Tensor
from tinyconv.vision import pyramid


def small(**options) -> models.LAPGAN:
    tinyconv.manual_seed(0)
    return models.lapgan(scale="lesson", width=0.5, dtype=np.float64, **options)


def test_the_released_sizes() -> None:
    """Section 4.5: 8x8 by fully connected networks, 16x16 and 32x32 by convolutions that see noise and colours."""
    model = models.lapgan(device="meta")
    shapes = {row.name: row.output_shape for row in tinyconv.summary(model).rows}
    assert shapes["coarse.generator.image"] == (3, 8, 8)
    units = [p.shape[0] for name, p in model.coarse.named_parameters() if name.endswith("weight")]
    assert units == [8000, 8000, 192, 1600, 1600, 1]
    for level, side in ((0, 32), (1, 16)):
        filters = [p.shape for name, p in model.details[level].generator.named_parameters() if "weight" in name]
        assert filters == [(64, 4, 7, 7), (64, 64, 7, 7), (3, 64, 5, 5)]
        filters = [p.shape for name, p in model.details[level].discriminator.named_parameters() if "weight" in name]
        assert filters == [(64, 3, 5, 5), (64, 64, 5, 5), (1, 64 * (side // 2) ** 2)]
        assert shapes[f"details.{level}.generator.conv3"] == (3, side, side)
    assert model.input_shape == (100 + 16 * 16 + 32 * 32,)


def test_what_the_levels_learn_from_is_the_images_pyramid() -> None:
    model = small()
    images = np.random.default_rng(0).random((3, 1, 28, 28))
    pairs = model.pairs(Tensor(images))
    wanted = pyramid.laplacian_pyramid(2 * images - 1, 2)
    assert [pair.name for pair in pairs] == ["28", "14", "7"]
    for pair, real in zip(pairs, wanted, strict=True):
        np.testing.assert_allclose(pair.real.numpy(), real, atol=1e-12)
    assert pairs[-1].condition is None and pairs[-1].networks is model.coarse
    for pair, below in zip(pairs[:2], ((pairs[1].condition + pairs[1].real), pairs[2].real), strict=True):
        np.testing.assert_allclose(pair.condition.numpy(), pyramid.up(below.numpy()), atol=1e-12)
        np.testing.assert_allclose(pair.networks.judge(pair.real, pair.condition).shape, (3,))
    whole = pairs[0].real + pairs[0].condition
    np.testing.assert_allclose(whole.numpy(), 2 * images - 1, atol=1e-12)


def test_a_sample_is_the_coarse_image_enlarged_with_detail_added() -> None:
    model = small()
    model.eval()
    z = model.latent(2).astype(np.float64)
    first, second, third = np.split(z, np.cumsum([64, 14 * 14]), 1)
    image = model.coarse.generator(Tensor(first))
    for detail, noise, side in ((model.details[1], second, 14), (model.details[0], third, 28)):
        enlarged = Tensor(pyramid.up(image.detach().numpy()))
        inputs = np.concatenate([noise.reshape(2, 1, side, side), enlarged.numpy()], 1)
        image = enlarged + detail.generator(Tensor(inputs))
    stages = model.stages(Tensor(z))
    assert [stage.shape[-1] for stage in stages] == [28, 14, 7]
    np.testing.assert_allclose(stages[0].detach().numpy(), image.detach().numpy(), atol=1e-12)
    wanted = np.clip((image.detach().numpy() + 1) / 2, 0, 1)
    np.testing.assert_allclose(model.sample(z), wanted, atol=1e-6)


def test_the_discriminator_of_a_detail_sees_the_sum() -> None:
    model = small()
    model.eval()
    detail, rng = model.details[0], np.random.default_rng(0)
    h, low = (Tensor(rng.standard_normal((2, 1, 28, 28))) for _ in range(2))
    np.testing.assert_array_equal(detail.judge(h, low).detach().numpy(), detail.discriminator(h + low).detach().numpy())


def test_forward_shows_all_discriminators() -> None:
    model = small()
    model.eval()
    z = Tensor(model.latent(2).astype(np.float64))
    logits = model(z)
    assert [logit.shape for logit in logits] == [(2,)] * 3
    finest = model.details[0].discriminator(model.stages(z)[0])
    np.testing.assert_allclose(logits[0].detach().numpy(), finest.detach().numpy(), atol=1e-12)
    coarse = model.coarse.discriminator(model.stages(z)[2])
    np.testing.assert_allclose(logits[2].detach().numpy(), coarse.detach().numpy(), atol=1e-12)


def test_the_first_m_of_n_latent_points_are_the_same() -> None:
    model = small()
    np.testing.assert_array_equal(model.latent(9)[:4], model.latent(4))
    assert model.latent(500).min() >= -1 and model.latent(500).max() <= 1


def test_the_layers_and_initial_weights() -> None:
    """Section 4.5: a sigmoid after the second layer, dropout after ReLUs, +-.05 and +-.005 for the coarse networks."""
    tinyconv.manual_seed(0)
    model = models.lapgan(scale="paper", width=0.02)
    kinds = [type(layer).__name__ for layer in model.coarse.generator.children()]
    assert kinds == ["Linear", "ReLU", "Linear", "Sigmoid", "Linear", "Unflatten"]
    kinds = [type(layer).__name__ for layer in model.coarse.discriminator.children()]
    assert kinds == ["Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear", "Flatten"]
    for detail in model.details:
        kinds = [type(layer).__name__ for layer in detail.generator.children()]
        assert kinds == ["Conv2d", "ReLU", "Conv2d", "ReLU", "Conv2d"]
        kinds = [type(layer).__name__ for layer in detail.discriminator.children()]
        assert kinds == ["Conv2d", "ReLU", "Conv2d", "ReLU", "Flatten", "Dropout", "Linear", "Flatten"]
    dropped = [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)]
    assert dropped == [0.5] * 4
    for network, limit in ((model.coarse.generator, 0.05), (model.coarse.discriminator, 0.005)):
        for p in network.parameters():
            values = np.abs(p.detach().numpy())
            assert values.max() <= limit and (p.ndim == 1 or values.max() > 0.9 * limit)


def test_a_level_alone_has_no_image_to_enlarge() -> None:
    detail = small().details[0]
    with pytest.raises(ValueError, match="Detail: condition, the enlarged image, is missing; LAPGAN.sample makes"):
        detail.sample(2)
    with pytest.raises(ValueError, match="Detail: condition"):
        detail.judge(Tensor(np.zeros((1, 1, 28, 28))))


def test_sizes_that_cannot_be_halved_twice() -> None:
    with pytest.raises(ValueError, match="lapgan: image_size must be a multiple of 4, got 30; resize the images"):
        models.lapgan(image_size=30)
