"""A training step of Faster R-CNN on the device: regions and detector, on a small image."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from gpu_check import detectors
from tinyconv.models.faster_rcnn import faster_rcnn

pytestmark = pytest.mark.cuda


def step(device: str) -> tuple[float, dict[str, np.ndarray]]:
    tinyconv.manual_seed(0)
    model = faster_rcnn(2, scale="lesson", width=1 / 8, in_channels=1, image_size=(32, 28))
    images, targets = detectors.batch(model, 1)
    model.to(device).eval()
    loss = detectors.loss(model, model(tinyconv.tensor(images, device=device)), tinyconv.tensor(targets, device=device))
    loss.backward()
    return loss.item(), {name: p.grad.to("cpu").numpy() for name, p in model.named_parameters()}


def test_a_step_gives_what_it_gives_on_the_cpu() -> None:
    with tinyconv.use_winograd(False):
        wanted, gradients = step("cpu")
    found, others = step("cuda")
    assert found == pytest.approx(wanted, rel=1e-5)
    for name, gradient in gradients.items():
        assert np.abs(gradient).max() > 0, name
        np.testing.assert_allclose(others[name], gradient, atol=1e-4 * np.abs(gradient).max(), err_msg=name)


def test_detections_of_a_model_on_the_device() -> None:
    tinyconv.manual_seed(0)
    model = faster_rcnn(2, scale="lesson", width=1 / 8, in_channels=1, image_size=(32, 28))
    image = detectors.batch(model, 1)[0][0]
    with tinyconv.use_winograd(False):
        wanted = model.detect(image, least=0.0, top=3)
    found = model.to("cuda").detect(image, least=0.0, top=3)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
