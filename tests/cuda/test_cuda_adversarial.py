"""Attacks on a network that is on a GPU: the same images, in the host's memory, as on the CPU."""

import copy

import numpy as np
import pytest

import tinyconv
from explain_tools import small_network
from tinyconv import nn, optim
from tinyconv.data import Normalize
from tinyconv.explain.adversarial import PixelModel, fgsm, scores
from tinyconv.explain.adversarial_training import AdversarialUpdate
from tinyconv.explain.minimal import minimal_attack

pytestmark = pytest.mark.cuda


@pytest.fixture
def pair():
    """Return a small network on the CPU, the same on the GPU, and two images with labels."""
    rng = np.random.default_rng(0)
    network = small_network(rng)
    return network, copy.deepcopy(network).to("cuda"), rng.uniform(0, 1, (2, 2, 12, 12)), np.array([0, 2])


def test_the_fast_gradient_sign_method_and_its_pixel_model(pair):
    cpu, gpu, images, labels = pair
    found = fgsm(gpu, images, labels, 0.1)
    assert isinstance(found, np.ndarray) and (found != images).any()
    np.testing.assert_array_equal(found, fgsm(cpu, images, labels, 0.1))
    normal = Normalize((0.4, 0.3), (0.2, 0.1))
    np.testing.assert_allclose(
        scores(PixelModel(gpu, normal), images), scores(PixelModel(cpu, normal), images), rtol=1e-9
    )


def test_the_smallest_attack():
    rng = np.random.default_rng(0)
    cpu = nn.Sequential(nn.Flatten(), nn.Linear(9, 3, dtype=np.float64))
    cpu[1].weight.data[:], cpu[1].bias.data[:] = rng.standard_normal((3, 9)), 0.0
    images = rng.uniform(0, 1, (2, 1, 3, 3))
    gpu = copy.deepcopy(cpu).to("cuda")
    found, wanted = (minimal_attack(m, images, searches=2, steps=4) for m in (gpu, cpu))
    assert wanted.success.all() and found.success.all() and wanted.distortion.min() > 0
    np.testing.assert_allclose(found.images, wanted.images, atol=1e-6)


@pytest.mark.parametrize("clip", [None, (np.zeros((12, 12)), 0.95)])
def test_a_step_of_adversarial_training(clip, pair):
    cpu, gpu, images, labels = pair
    images, found = images * 0.9, []
    for model, where in ((cpu, "cpu"), (gpu, "cuda")):
        update = AdversarialUpdate(0.1, 0.5, clip)
        batch = tinyconv.tensor(images).to(where), tinyconv.tensor(labels).to(where)
        found.append(update(model.eval(), optim.SGD(model.parameters(), 0.1), *batch, 0))
    assert found[1].loss == pytest.approx(found[0].loss, rel=1e-9)
    assert found[1].measures == pytest.approx(found[0].measures, rel=1e-9)
    for a, b in zip(cpu.parameters(), gpu.parameters(), strict=True):
        np.testing.assert_allclose(b.to("cpu").detach().numpy(), a.detach().numpy(), rtol=1e-9, atol=1e-12)
