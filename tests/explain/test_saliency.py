"""Saliency: finite differences, the three rules by hand, and what ties them to the deconvnet."""

import numpy as np
import pytest

import tinyconv
from explain_tools import small_network
from tinyconv import nn
from tinyconv.explain import deconvnet, saliency


def test_the_gradient_rule_is_the_scores_derivative(network, images):
    found = saliency(network, images, [0, 1, 2, 0, 1])
    step, rng = 1e-6, np.random.default_rng(0)
    for i, target in enumerate([0, 1, 2, 0, 1]):
        direction = rng.standard_normal(images.shape[1:])
        ends = [network(tinyconv.tensor((images[i] + s * direction)[None])).detach().numpy() for s in (step, -step)]
        slope = (ends[0] - ends[1])[0, target] / (2 * step)
        assert (found[i] * direction).sum() == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_the_three_rules_by_hand():
    """Two units over one pixel x = 1: z = (1, -1), weights above (-3, 2) and (5, 4).

    Signals above the ReLU: class 0 (-3, 2), class 1 (5, 4). Down through filters (1, -1).
    """
    first, second = nn.Conv2d(1, 2, 1, dtype=np.float64), nn.Conv2d(2, 2, 1, dtype=np.float64)
    model = nn.Sequential(first, nn.ReLU(), second, nn.Flatten())
    first.weight.data[:, 0, 0, 0], first.bias.data[:] = (1.0, -1.0), 0.0
    second.weight.data[:, :, 0, 0], second.bias.data[:] = ((-3.0, 2.0), (5.0, 4.0)), 0.0
    image = np.ones((1, 1, 1, 1))
    expected = {"gradient": (-3.0, 5.0), "deconvnet": (-2.0, 1.0), "guided": (0.0, 5.0)}
    for rule, values in expected.items():
        assert tuple(saliency(model, image, k, rule=rule).item() for k in (0, 1)) == values
    assert saliency(model, image).item() == 5.0  # by default the class it names: scores are -3 and 5


@pytest.mark.parametrize("pool", [(2, 2), (3, 2)])
@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "relu2", "pool2", "fc3", "relu3", "dropout3", "fc4"])
def test_the_deconvnet_rule_times_the_activation_is_the_deconvnet(layer, pool, images, rng):
    """Without normalisation and with unpool="add"; a signal's sign, so what it starts from, must be positive."""
    network = small_network(rng, pool=pool)
    x = tinyconv.tensor(images)
    for name, module in network.named_children():
        x = module(x)
        if name == layer:
            break
    planes = x.detach().numpy().reshape(len(images), x.shape[1], -1)
    strongest = planes.max(axis=(1, 2))
    assert (strongest > 0).any()
    found = saliency(network, images, rule="deconvnet", layer=layer) * strongest[:, None, None, None]
    positive = strongest > 0
    expected = deconvnet(network, images, layer, unpool="add")
    np.testing.assert_allclose(found[positive], expected[positive], atol=1e-9)


def test_guided_is_zero_wherever_no_positive_path_was_open(network, images):
    guided, gradient = (saliency(network, images, 1, rule=rule, layer="relu1") for rule in ("guided", "gradient"))
    np.testing.assert_allclose(guided, gradient)  # no ReLU below the first: all rules agree
    assert guided.any()


def test_any_model_and_no_traces(images):
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(2, 3, 3, dtype=np.float64), nn.ReLU()

        def forward(self, x):
            y = self.relu(self.conv(x))
            return y.mean((2, 3)), None

    model = Branch().train()
    found = [saliency(model, images, 1, rule=rule) for rule in ("gradient", "guided", "deconvnet")]
    assert all(f.shape == images.shape for f in found) and found[0].any()
    assert model.training and not model.relu._backward_hooks and not model.relu._forward_hooks
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


BAD = [
    ({"rule": "smooth"}, ValueError, "rule must be one of 'gradient', 'guided', 'deconvnet', got 'smooth'"),
    ({"target": 3}, IndexError, r"target must be in \[0, 3\), got 3"),
    ({"layer": "conv9"}, ValueError, "layer must be one of conv1, .*got 'conv9'"),
    ({"images": np.zeros((2, 12, 12))}, ValueError, r"images must be \(N, C, H, W\)"),
]


@pytest.mark.parametrize("arguments, error, message", BAD)
def test_bad_input(arguments, error, message, network, images):
    with pytest.raises(error, match=message):
        saliency(network, **{"images": images, **arguments})
    assert not network.relu1._backward_hooks and network.conv1.weight.requires_grad


def test_a_model_without_relu_modules(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(288, 2, dtype=np.float64))
    assert saliency(model, images, 0).shape == images.shape
    with pytest.raises(ValueError, match="rule 'guided' acts in nn.ReLU modules, and the model has none"):
        saliency(model, images, 0, rule="guided")
    with pytest.raises(TypeError, match="saliency: model must be a Module, got function"):
        saliency(lambda x: x, images)
