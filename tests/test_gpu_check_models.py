"""``make gpu-check`` knows how to build every model that there is: on a machine with a GPU it would be too late."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from gpu_check import captions, steps, transformers


@pytest.mark.parametrize("name", steps.names())
def test_every_model_has_arguments(name):
    for found in filter(None, (steps.chosen(name, simulated) for simulated in (False, True))):
        assert tinyconv.summary(tinyconv.models.build(name, **found, device="meta")).total_macs
    if name in steps.LARGE:
        tinyconv.models.build(name, **steps.LARGE[name], device="meta")


def test_every_builder_is_there():
    assert {"alexnet", "lenet5"} <= set(steps.names()) and "resnet50" not in steps.names()
    assert {tinyconv.models.resolve(name)[0] for name in tinyconv.models.names()} == set(steps.names())


@pytest.mark.parametrize("name", [*captions.MODELS, *transformers.MODELS])
def test_a_step_of_what_aligns_speaks_or_looks_reaches_every_weight(name):
    found = steps.arguments(name)
    loss, gradients = steps.one_step(name, found, "cpu")
    model = tinyconv.models.build(name, **found)
    assert np.isfinite(loss) and loss > 0
    assert gradients.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(gradient.any() for gradient in gradients.values())
    exact, _ = steps.one_step(name, found, "cpu", "float64")
    assert exact == pytest.approx(loss, rel=steps.LOSS)


@pytest.mark.parametrize("name", transformers.MODELS)
def test_transformers_look_between_the_pixels(name):
    """On whole pixels a rounding would change a gradient altogether; and no two images are looked at alike."""
    grids = []
    sample = tinyconv.functional.grid_sample

    def noted(x, grid, **options):
        grids.append((grid.detach().numpy() + 1) / 2 * (np.array(x.shape[:1:-1]) - 1))
        return sample(x, grid, **options)

    model = steps._build(name, steps.arguments(name))
    transformers.look_elsewhere(model)
    images, _ = transformers.batch(model, steps.IMAGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tinyconv.models.spatial_transformer.F, "grid_sample", noted)
        model.eval()(tinyconv.tensor(images))
    assert grids
    for places in grids:
        assert (np.abs(places - np.round(places)) > 1e-5).mean() > 0.999
        assert np.abs(places[0] - places[1]).max() > 1e-4
