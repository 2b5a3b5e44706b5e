"""Explanations of a model on a GPU: the same arrays, in the host's memory, as on the CPU."""

import copy

import numpy as np
import pytest

from explain_tools import small_network
from tinyconv import explain

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module")
def pair():
    """Return a small network on the CPU, the same on the GPU, and two images."""
    rng = np.random.default_rng(0)
    network = small_network(rng, norm=True)
    return network, copy.deepcopy(network).to("cuda"), rng.uniform(0, 1, (2, 2, 12, 12))


@pytest.mark.parametrize("unpool", ["write", "add"])
def test_deconvnet(pair, unpool):
    cpu, gpu, images = pair
    found = explain.deconvnet(gpu, images, "pool2", unpool=unpool)
    assert isinstance(found, np.ndarray) and found.any()
    np.testing.assert_allclose(found, explain.deconvnet(cpu, images, "pool2", unpool=unpool), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", ["gradient", "deconvnet", "guided"])
def test_saliency(pair, rule):
    cpu, gpu, images = pair
    found = explain.saliency(gpu, images, rule=rule)
    np.testing.assert_allclose(found, explain.saliency(cpu, images, rule=rule), rtol=1e-9, atol=1e-12)


def test_strongest_images_and_occlusion(pair):
    cpu, gpu, images = pair
    top, wanted = (explain.top_activations(model, images, "relu2", 2) for model in (gpu, cpu))
    assert np.array_equal(top.images, wanted.images) and np.array_equal(top.positions, wanted.positions)
    found, wanted = (explain.occlusion(model, images[0], size=6, stride=6) for model in (gpu, cpu))
    np.testing.assert_allclose(found.probability, wanted.probability, rtol=1e-9)
    np.testing.assert_allclose(found.activity, wanted.activity, rtol=1e-9)
