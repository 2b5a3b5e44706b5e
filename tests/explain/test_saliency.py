"""Saliency: finite differences, the three rules by hand, and what ties them to the deconvnet."""

import numpy as np
import pytest

import tinyconv
from explain_tools import small_network
from tinyconv import models, nn
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

    tinyconv.manual_seed(0)
    model = Branch().train()
    model.conv.bias.data[:] = 1  # whatever was drawn, its units are open somewhere
    found = [saliency(model, images, 1, rule=rule) for rule in ("gradient", "guided", "deconvnet")]
    assert all(f.shape == images.shape for f in found) and found[0].any()
    assert model.training and not model.relu._backward_hooks and not model.relu._forward_hooks
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_it_runs_in_evaluation_mode_and_what_was_frozen_stays_frozen(rng):
    """Batch normalisation with running statistics of its own, and dropout: in training both would change the result."""
    model = nn.Sequential(
        {"conv": nn.Conv2d(1, 2, 3), "norm": nn.BatchNorm2d(2), "relu": nn.ReLU(), "drop": nn.Dropout(0.5),
         "flat": nn.Flatten(), "fc": nn.Linear(32, 2)}
    )  # fmt: skip
    model.norm.running_var.data[:] = 9.0
    model.conv.weight.requires_grad = False
    images = rng.standard_normal((3, 1, 6, 6)).astype(np.float32)
    in_training = saliency(model.train(), images, 1)
    assert model.norm.training and (model.norm.running_var.data == 9).all()
    np.testing.assert_array_equal(in_training, saliency(model.eval(), images, 1))
    # By hand in evaluation mode: through the open units, over the deviation 3 (eps 1e-5 aside).
    z = model.norm(model.conv(tinyconv.tensor(images))).detach().numpy()
    above = (z > 0) * model.fc.weight.data[1].reshape(2, 4, 4) / 3
    expected = np.zeros((3, 1, 6, 6))
    for k, i, j in np.ndindex(2, 3, 3):
        expected[:, 0, i : i + 4, j : j + 4] += above[:, k] * model.conv.weight.data[k, 0, i, j]
    np.testing.assert_allclose(in_training, expected, atol=1e-5)
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {"conv.weight"}


def test_a_layer_that_does_not_run_in_evaluation_mode():
    model = models.googlenet(10, scale="lesson")
    images = np.zeros((1, *model.input_shape), np.float32)
    with pytest.raises(ValueError, match="^saliency: layer 'aux1' does not run in evaluation mode; choose another$"):
        saliency(model, images, 0, layer="aux1")


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
