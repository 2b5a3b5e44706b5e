"""torchvision's names of AlexNet's and VGG's layers; loading by them; which builder a message names.

The numbers of ``features`` are written down from torchvision's networks, not computed.
"""

from __future__ import annotations

import numpy as np
import pytest

from tinyconv import models, nn, weights
from tinyconv.weights import WeightsError

FEATURES = {
    "alexnet": (0, 3, 6, 8, 10),
    "A": (0, 3, 6, 8, 11, 13, 16, 18),
    "B": (0, 2, 5, 7, 10, 12, 15, 17, 20, 22),
    "D": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    "E": (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
    "A+": (0, 4, 8, 11, 15, 18, 22, 25),
}
CLASSIFIER = {"alexnet": (1, 4, 6)}


def small(kind, classes=5, **arguments):
    """Return a narrow network."""
    if kind == "alexnet":
        return models.alexnet(classes, variant="torchvision", width=1 / 32, **arguments)
    norm = kind.endswith("+")
    return models.vgg(classes, config=kind.rstrip("+"), batch_norm=norm, width=1 / 32, image_size=32, **arguments)


def state_of(kind, model, seed=1):
    """Return random tensors with torchvision's names and the model's shapes, in torchvision's order."""
    rng = np.random.default_rng(seed)
    convs = [layer for _, layer in model.named_children() if isinstance(layer, nn.Conv2d)]
    full = [layer for _, layer in model.named_children() if isinstance(layer, nn.Linear)]
    places = zip(FEATURES[kind] + CLASSIFIER.get(kind, (0, 3, 6)), convs + full, strict=True)
    state = {}
    for place, layer in places:
        part = f"{'features' if isinstance(layer, nn.Conv2d) else 'classifier'}.{place}"
        for name in ("weight", "bias"):
            state[f"{part}.{name}"] = rng.standard_normal(getattr(layer, name).shape).astype(np.float32)
        if kind.endswith("+") and isinstance(layer, nn.Conv2d):
            norm, size = f"features.{place + 1}", layer.weight.shape[0]
            for name in ("weight", "bias", "running_mean", "running_var"):
                state[f"{norm}.{name}"] = rng.random(size, np.float32)
            state[f"{norm}.num_batches_tracked"] = np.array(7 + place)
    return state


def saved(tmp_path, state):
    """Write a state."""
    return weights.save_safetensors(tmp_path / "net.safetensors", state)


@pytest.mark.parametrize("kind", FEATURES)
def test_every_tensor_lands_in_its_layer(kind, tmp_path):
    model = small(kind)
    state = state_of(kind, model)
    assert weights.load_torchvision(model, saved(tmp_path, state)) is model
    order = [layer for _, layer in model.named_children() if hasattr(layer, "weight")]
    assert sum(len(list(layer.state_dict())) for layer in order) == len(state)
    # Both list the layers from the image to the classes, so the order alone says which belongs to which.
    values = iter(state.values())
    for layer in order:
        for name, tensor in layer.state_dict().items():
            assert np.array_equal(tensor.numpy(), next(values)), name


def test_old_files_have_no_counters_and_dataparallel_puts_a_word_before_names(tmp_path):
    model = small("A+")
    state = {f"module.{name}": array for name, array in state_of("A+", model).items() if "tracked" not in name}
    weights.load_torchvision(model, saved(tmp_path, state))
    assert np.array_equal(model.bn1_1.running_var.numpy(), state["module.features.1.running_var"])
    assert model.bn1_1.num_batches_tracked.item() == 0


@pytest.mark.parametrize("kind", ["alexnet", "A", "A+"])
def test_a_file_of_dataparallel_is_recognised(kind):
    state = state_of(kind, small(kind))
    found = weights.guess({f"module.{name}": array for name, array in state.items()})
    assert found is not None and found == weights.guess(state)
    assert weights.guess({"module.other": np.zeros(3), **state}) == found  # no prefix of all: nothing is renamed
    assert weights.guess({}) is None


@pytest.mark.parametrize(
    ("model", "file", "says"),
    [
        ("D", "E", r"a VGG-19: build vgg\(config='E', num_classes=5\)"),
        ("E", "D", r"a VGG-16: build vgg\(config='D', num_classes=5\)"),
        ("D", "B", r"a VGG-13: build vgg\(config='B'"),
        ("D", "alexnet", r"torchvision's AlexNet: build alexnet\(variant='torchvision', num_classes=5\)"),
        ("alexnet", "A", r"a VGG-11: build vgg\(config='A'"),
        ("A", "A+", r"a VGG-11 with batch normalisation: build vgg\(config='A', batch_norm=True"),
        ("A+", "A", r"a VGG-11: build vgg\(config='A', num_classes=5\)"),
    ],
)
def test_a_file_of_another_network_says_what_to_build(model, file, says, tmp_path):
    ours, state = small(model), state_of(file, small(file))
    before = {name: tensor.numpy().copy() for name, tensor in ours.state_dict().items()}
    with pytest.raises(WeightsError, match=says) as caught:
        weights.load_torchvision(ours, saved(tmp_path, state))
    assert len(str(caught.value).splitlines()) == 1 and "Nothing was loaded" in str(caught.value)
    assert all(np.array_equal(before[name], tensor.numpy()) for name, tensor in ours.state_dict().items())


def test_messages_name_tensors_that_are_missing_unexpected_or_of_another_shape(tmp_path):
    model = small("A")
    state = state_of("A", model)
    weight = state.pop("features.3.weight")
    with pytest.raises(WeightsError, match=r"got .*: features\.3\.weight \(conv2_1\.weight\) is missing\. Nothing"):
        weights.load_torchvision(model, saved(tmp_path, state))
    with pytest.raises(WeightsError, match=r"'features\.99\.weight' of shape \(4, 2, 3, 3\) is not expected"):
        weights.load_torchvision(model, saved(tmp_path, {**state, "features.99.weight": weight}))
    odd = saved(tmp_path, {**state, "two\nlines\ud800": weight})
    with pytest.raises(WeightsError, match=r"missing; 'two\\nlines\\ud800' of shape") as caught:
        weights.load_torchvision(model, odd)
    assert str(caught.value).encode("utf-8")  # it can be printed
    wrong = r"features\.3\.weight \(conv2_1\.weight\) must have shape \(4, 2, 3, 3\), got \(2, 4, 3, 3\)"
    with pytest.raises(WeightsError, match=wrong):
        weights.load_torchvision(model, saved(tmp_path, {**state, "features.3.weight": weight.reshape(2, 4, 3, 3)}))
    with pytest.raises(WeightsError, match=r"features\.3\.weight \(conv2_1\.weight\) must be float32, got int32"):
        weights.load_torchvision(model, saved(tmp_path, {**state, "features.3.weight": weight.astype(np.int32)}))
    with pytest.raises(WeightsError, match=r"\(fc8\.weight\) .* a VGG-11: build vgg\(config='A', num_classes=5"):
        weights.load_torchvision(small("A", classes=7), saved(tmp_path, state_of("A", model)))


def test_other_networks_and_other_models(tmp_path):
    file = saved(tmp_path, {"layer1.0.conv1.weight": np.zeros(3), "fc.weight": np.zeros(3)})
    with pytest.raises(WeightsError, match="and 20 more. Nothing was loaded; the file is a ResNet, which is not read"):
        weights.load_torchvision(small("A"), file)
    with pytest.raises(WeightsError, match="not of torchvision's AlexNet, VGG, GoogLeNet or ResNet, or"):
        weights.load_torchvision(small("A"), saved(tmp_path, {"a": np.zeros(3)}))
    for model in (models.alexnet(5, width=0.1), models.vgg(5, config="C", width=0.1), models.zfnet(5, width=0.1)):
        with pytest.raises(WeightsError, match=r"torchvision has no network like .*; build alexnet\(variant="):
            weights.load_torchvision(model, file)
    with pytest.raises(WeightsError, match="wanted a model of tinyconv.models, got Linear"):
        weights.load_torchvision(nn.Linear(2, 3), file)
