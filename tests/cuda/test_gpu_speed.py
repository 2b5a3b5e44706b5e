"""The part of ``make gpu-check`` that times: no GPU is here, but every call is made, with launches that do nothing."""

from __future__ import annotations

import numpy as np
import pytest
from compiling import architecture, needed

import tinyconv
from gpu_check import speed, work
from gpu_check.report import Report

pytestmark = pytest.mark.cuda_compile


def test_everything_that_is_timed_runs(monkeypatch, capsys):
    needed()
    from recording import recording

    monkeypatch.setattr(speed, "BATCH", 1)
    monkeypatch.setattr(speed.Clock, "__call__", lambda clock, run, wait=None: (run(), 0.5)[1])
    monkeypatch.setattr(tinyconv.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(tinyconv.cuda, "empty_cache", lambda: None)
    found = Report()
    with recording() as record, architecture((8, 0)):
        speed.measure(found)
    assert not found.failures
    names = [row["what"] for row in found.figures]
    assert {f"{name}, float32" for name in work.OPERATIONS} <= set(names) and len(set(names)) == len(names)
    assert "matmul 4096, TF32" in names and "step of AlexNet (groups, LRN), 1 images, TF32" in names
    assert all(row["share"] > 0 for row in found.figures[1:])
    assert {launch.name for launch in record.launches} >= {"tiled", "by_tiles", "weights_by_tiles", "_sgd"}
    limit = next(row for row in found.figures if row["what"] == "matmul 4096, float32")
    assert limit["share"] == 1.0 and limit["ours"] == pytest.approx(2 * 4096**3 / 1e9 / 0.5)


def test_a_steps_arithmetic():
    model = tinyconv.models.alexnet(device="meta")
    first = 96 * 55 * 55 * 3 * 11 * 11
    assert work.step_flops(model) == 2 * (3 * 724_406_816 - first)


@pytest.mark.parametrize("name", ["lenet5", "alexnet"])
def test_a_training_step_of_a_network_copies_nothing_but_the_loss(name):
    """At the papers' sizes: nothing is computed here, and what is copied is counted."""
    needed()
    from recording import recording

    from benchmarks import networks
    from tinyconv_kernels.cuda import memory

    network = next(network for network in networks.ALL if network.name == name)
    model = networks.build(network)
    images, labels = networks.batch(model, 2)
    with recording():
        model.to("cuda")
        optimizer = tinyconv.optim.SGD(model.parameters(), **networks.OPTIONS)
        data = (tinyconv.tensor(a, device="cuda") for a in (images, labels))
        step = networks._step(tinyconv.functional, model, *data, optimizer)
        step()  # the tables of the convolutions are made, and go to the device
        before = memory.copies()
        step()
        assert np.subtract(memory.copies(), before).tolist() == [1, 0]
