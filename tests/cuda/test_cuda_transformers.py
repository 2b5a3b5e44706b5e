"""A spatial transformer network on the device: a step of training, and what it attends to, as on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyconv
from gpu_check import transformers
from tinyconv import models
from tinyconv.explain.attended import centre, outline, rotation
from tinyconv.explain.attended_figures import picture
from tinyconv.explain.attended_watch import AttendedWatch

pytestmark = pytest.mark.cuda

IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 1, 8, 8)).astype(np.float32)


@pytest.fixture(params=["affine", "tps"])
def pair(request: Any) -> tuple[Any, Any]:
    """Return two equal networks, whose transformers look elsewhere: on the CPU and on the device."""
    return network(request.param, "cpu"), network(request.param, "cuda")


def network(transform: str, device: str) -> Any:
    tinyconv.manual_seed(0)
    model = models.st_fcn(3, transform=transform, image_size=8, scale="lesson", budget=12000)
    transformers.look_elsewhere(model)
    return model.to(device)


def step(model: Any, device: str) -> tuple[float, dict[str, np.ndarray], np.ndarray]:
    """Return the loss, all gradients and the images' gradient."""
    x = tinyconv.tensor(IMAGES, device=device, requires_grad=True)
    loss = tinyconv.functional.cross_entropy(model(x), tinyconv.tensor([0, 2, 1], device=device))
    loss.backward()
    gradients = {name: p.grad.to("cpu").numpy() for name, p in model.named_parameters()}
    return loss.item(), gradients, x.grad.to("cpu").numpy()


def test_a_step_gives_what_it_gives_on_the_cpu(pair: tuple[Any, Any]) -> None:
    wanted, gradients, image = step(pair[0], "cpu")
    found, others, other = step(pair[1], "cuda")
    assert found == pytest.approx(wanted, rel=1e-5)
    for name, gradient in gradients.items():
        assert np.abs(gradient).max() > 0, name
        np.testing.assert_allclose(others[name], gradient, atol=1e-4 * np.abs(gradient).max(), err_msg=name)
    assert np.abs(image).max() > 0
    np.testing.assert_allclose(other, image, atol=1e-4 * np.abs(image).max())


def test_what_is_attended(pair: tuple[Any, Any]) -> None:
    on_device = tinyconv.tensor(IMAGES, device="cuda")
    ((wanted, seen),) = pair[0].attended(tinyconv.tensor(IMAGES))
    ((grid, output),) = pair[1].attended(on_device)
    assert type(grid) is type(output) is np.ndarray and np.ptp(grid, axis=0).max() > 1e-3  # not one for all images
    np.testing.assert_allclose(grid, wanted, atol=1e-5)
    np.testing.assert_allclose(output, seen, atol=1e-5)
    transformer = pair[1].transformers[0]
    theta = transformer.theta(on_device)  # on the device and with its graph, as is the grid
    looked = transformer.grid(theta, (8, 8))
    np.testing.assert_allclose(outline(looked), outline(wanted), atol=1e-5)
    np.testing.assert_allclose(centre(looked), centre(wanted), atol=1e-5)
    if theta.shape[1] == 6:
        np.testing.assert_array_equal(rotation(theta), rotation(theta.detach().to("cpu").numpy()))


def test_a_watch_draws_a_model_on_the_device(pair: tuple[Any, Any], tmp_path: Path) -> None:
    watch = AttendedWatch(pair[1], tmp_path, tinyconv.tensor(IMAGES, device="cuda"))
    watch.before()
    from PIL import Image

    with Image.open(tmp_path / "epoch-0000.png") as found:
        drawn = np.asarray(found, np.int64)
    wanted = picture(IMAGES, pair[0].attended(tinyconv.tensor(IMAGES)))
    assert drawn.shape == wanted.shape
    assert (np.abs(drawn - wanted).max(axis=-1) > 1).mean() < 0.001  # a line's end may be rounded to the next pixel
    assert next(pair[1].parameters()).device == "cuda"
