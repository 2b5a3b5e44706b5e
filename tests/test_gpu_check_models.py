"""``make gpu-check`` knows how to build every model that there is: on a machine with a GPU it would be too late."""

from __future__ import annotations

import numpy as np
import pytest

import tinyconv
from gpu_check import captions, steps


@pytest.mark.parametrize("name", steps.names())
def test_every_model_has_arguments(name):
    for found in filter(None, (steps.chosen(name, simulated) for simulated in (False, True))):
        assert tinyconv.summary(tinyconv.models.build(name, **found, device="meta")).total_macs
    if name in steps.LARGE:
        tinyconv.models.build(name, **steps.LARGE[name], device="meta")


def test_every_builder_is_there():
    assert {"alexnet", "lenet5"} <= set(steps.names()) and "resnet50" not in steps.names()
    assert {tinyconv.models.resolve(name)[0] for name in tinyconv.models.names()} == set(steps.names())


@pytest.mark.parametrize("name", captions.MODELS)
def test_a_step_of_what_aligns_or_speaks_reaches_every_weight(name):
    found = steps.arguments(name)
    loss, gradients = steps.one_step(name, found, "cpu")
    model = tinyconv.models.build(name, **found)
    assert np.isfinite(loss) and loss > 0
    assert gradients.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(gradient.any() for gradient in gradients.values())
    exact, _ = steps.one_step(name, found, "cpu", "float64")
    assert exact == pytest.approx(loss, rel=steps.LOSS)
