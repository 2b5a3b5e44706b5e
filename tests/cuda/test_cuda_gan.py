"""Two steps of algorithm 1, and samples, on the device: the weights and pixels that the CPU gets."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from tinyconv import models, optim
from tinyconv.generative.algorithm import AlgorithmOne
from tinyconv.random import training_step

pytestmark = pytest.mark.cuda
SIZES = {"gan": (2, 0.02), "dcgan": (4, 0.05), "lapgan": (4, 0.05)}  # side of an image, width


def trained(name: str, device: str):
    """Return the networks after two steps from the same beginning."""
    tinyconv.manual_seed(0)
    side, width = SIZES[name]
    model = models.build(name, scale="lesson", in_channels=1, image_size=side, width=width)
    model.to(device)
    images = np.random.default_rng(0).random((3, 1, side, side)).astype(np.float32)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    for step in range(2):
        with tinyconv.use_winograd(False), training_step(step, None):
            found = AlgorithmOne()(model, optimizer, tinyconv.tensor(images, device=device), None, step)
    return model, found


@pytest.mark.parametrize("name", SIZES)
def test_training_and_sampling_equal_the_cpus(name: str) -> None:
    ours, theirs = (trained(name, device) for device in ("cuda", "cpu"))
    assert ours[1].loss == pytest.approx(theirs[1].loss, rel=1e-5)
    assert ours[1].measures == pytest.approx(theirs[1].measures, rel=1e-5)
    wanted = dict(theirs[0].state_dict().items())
    for key, value in ours[0].state_dict().items():
        np.testing.assert_allclose(value.to("cpu").numpy(), wanted[key].numpy(), rtol=1e-4, atol=1e-6, err_msg=key)
    np.testing.assert_allclose(ours[0].sample(2), theirs[0].sample(2), atol=1e-5)
