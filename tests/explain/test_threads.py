"""Two threads that look into one model at once: what belongs to the model or the process is afterwards as it was."""

import importlib
import threading

import numpy as np
import pytest

from tinyconv.explain import deconvnet, saliency
from tinyconv_kernels.switches import switches


class Overlap:
    """Runs two calls so that the second begins inside of the first and ends after it, if anything lets it in."""

    def __init__(self):
        self.inside, self.second, self.done = (threading.Event() for _ in range(3))
        self.visitors, self.found = [], {}

    def visit(self, *_):
        """Wait here once, in the middle of a call, for the other thread to get somewhere; not for ever."""
        if threading.get_ident() in self.visitors:
            return
        self.visitors.append(threading.get_ident())
        if len(self.visitors) == 1:
            self.inside.set()
            self.second.wait(0.3)
        elif not self.done.is_set():
            self.second.set()
            self.done.wait(5)

    def run(self, call):
        def first():
            self.found["first"] = call()
            self.done.set()

        def second():
            self.inside.wait(5)
            self.found["second"] = call()

        threads = [threading.Thread(target=run, daemon=True) for run in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        np.testing.assert_array_equal(self.found["first"], self.found["second"])


@pytest.mark.parametrize("rule", ["gradient", "guided"])
def test_saliency_leaves_parameters_modes_and_hooks_as_they_were(rule, network, images):
    network.train()
    network.conv2.weight.requires_grad = False
    overlap = Overlap()
    with network.conv1.register_forward_hook(overlap.visit):
        overlap.run(lambda: saliency(network, images, 1, rule=rule))
    wanted = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    assert wanted == {name: name != "conv2.weight" for name in wanted}
    assert all(module.training for module in network.modules())
    assert not any(module._backward_hooks for module in network.modules())


def test_deconvnet_leaves_winograds_switch_as_it_was(network, images, monkeypatch):
    module, overlap = importlib.import_module("tinyconv.explain.deconvnet"), Overlap()
    down = module.down

    def slowly(*arguments):
        overlap.visit()
        return down(*arguments)

    monkeypatch.setattr(module, "down", slowly)
    monkeypatch.setitem(switches, "winograd", True)  # put back at the end whatever happens here
    overlap.run(lambda: deconvnet(network, images, "conv2", 1))
    assert switches["winograd"] is True
