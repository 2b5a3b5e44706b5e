"""Occlusion: batched equals one at a time, squares cover the image, copies go through in large batches."""

import numpy as np
import pytest

import tinyconv
from tinyconv import models, nn
from tinyconv.explain import occlusion


def one_at_a_time(model, image, target, size, stride, value, layer):
    """Return the three maps with a pass per square, written from the paper's caption."""
    outputs = {}
    hook = model.get_submodule(layer).register_forward_hook(lambda _m, _x, y: outputs.update(maps=y.detach().numpy()))

    def run(picture):
        scores = model(tinyconv.tensor(picture[None])).detach().numpy()[0]
        powers = np.exp(scores - scores.max())
        return outputs["maps"][0].sum(axis=(1, 2)), powers / powers.sum()

    strongest = run(image)[0].argmax()
    rows, columns = (
        [*range(0, side - n, stride), side - n] for side, n in zip(image.shape[1:], size, strict=True)
    )  # fmt: skip
    maps = np.zeros((3, len(rows), len(columns)))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            copy = image.copy()
            copy[:, top : top + size[0], left : left + size[1]] = value
            activity, probability = run(copy)
            maps[:, i, j] = activity[strongest], probability[target], probability.argmax()
    hook.remove()
    return maps


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_batched_equals_one_at_a_time(batch_size, network, images):
    image, before = images[0], images[0].copy()
    found = occlusion(network, image, 1, size=(4, 3), stride=3, value=0.5, layer="pool2", batch_size=batch_size)
    activity, probability, label = one_at_a_time(network, image, 1, (4, 3), 3, 0.5, "pool2")
    assert found.activity.shape == (4, 4)  # rows 0 3 6 8, columns 0 3 6 9
    np.testing.assert_allclose(found.activity, activity, rtol=1e-9)
    np.testing.assert_allclose(found.probability, probability, rtol=1e-9)
    assert np.array_equal(found.label, label)
    assert np.array_equal(image, before)
    assert found.positions[:, 0, 0].tolist() == [0, 3, 6, 8] and found.positions[0, :, 1].tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize("size, stride", [(None, None), (1, 1), (5, 4), ((3, 12), 2), (12, 5)])
def test_every_pixel_is_covered(size, stride, network, images):
    found = occlusion(network, images[0], size=size, stride=stride)
    counts = np.zeros((12, 12))
    for top, left in found.positions.reshape(-1, 2):
        assert 0 <= top <= 12 - found.size[0] and 0 <= left <= 12 - found.size[1]
        counts[top : top + found.size[0], left : left + found.size[1]] += 1
    assert (counts > 0).all()
    if size is None:
        assert found.size == (3, 3) and found.probability.shape == (10, 10)  # a quarter; a third of it apart


def test_a_network_that_looks_at_one_pixel(rng):
    """Its only class depends on pixel (7, 2): exactly the squares over it change anything."""
    model = nn.Sequential({"conv": nn.Conv2d(1, 1, 1, dtype=np.float64), "flat": nn.Flatten(),
                           "fc": nn.Linear(100, 2, dtype=np.float64)})  # fmt: skip
    model.conv.weight.data[:], model.conv.bias.data[:] = 1, 0
    model.fc.weight.data[:], model.fc.bias.data[:] = 0, 0
    model.fc.weight.data[1, 72] = 3.0
    found = occlusion(model, np.ones((1, 10, 10)), size=2, stride=1)
    corners = found.positions
    over = (corners[..., 0] <= 7) & (7 < corners[..., 0] + 2) & (corners[..., 1] <= 2) & (2 < corners[..., 1] + 2)
    assert over.sum() == 4
    assert found.target == found.whole_label == 1 and found.layer == "conv" and found.map == 0
    np.testing.assert_allclose(found.probability[over], 0.5)
    np.testing.assert_allclose(found.probability[~over], 1 / (1 + np.exp(-3)))
    np.testing.assert_allclose(found.activity, 96)  # 100 pixels of 1, four of them covered
    assert np.array_equal(found.label, np.where(over, 0, 1))
    assert abs(found.lowest[0] - 7.5) <= 1 and abs(found.lowest[1] - 2.5) <= 1


def test_the_default_layer_is_the_last_with_maps(network, images):
    assert occlusion(network, images[0], size=6, stride=6).layer == "pool2"
    found = occlusion(network, images[:1], size=6, stride=6, layer="relu1")
    maps = network.relu1(network.conv1(tinyconv.tensor(images[:1]))).detach().numpy()[0].sum(axis=(1, 2))
    assert found.layer == "relu1" and found.map == maps.argmax()
    assert found.whole_activity == pytest.approx(maps.max())


BAD = [
    ({"size": 13}, ValueError, "size must be at most the image's, 12 x 12, got 13 x 13"),
    ({"size": 0}, ValueError, "size must be at least 1, got 0"),
    ({"stride": 0}, ValueError, "stride must be at least 1, got 0"),
    ({"target": 3}, IndexError, r"target must be in \[0, 3\), got 3"),
    ({"target": 2.7}, TypeError, "^occlusion: target must be an int, .*got 2.7$"),
    ({"target": "dog"}, TypeError, "^occlusion: target must be an int, .*got 'dog'$"),
    ({"layer": "conv9"}, ValueError, "layer must be one of conv1, .*got 'conv9'"),
    ({"layer": "fc3"}, ValueError, r"layer 'fc3' must give maps \(N, K, OH, OW\), got shape \(1, 5\)"),
    ({"value": (1, 2, 3)}, ValueError, r"one number, or one per channel \(2\)"),
    ({"image": np.zeros((12, 12))}, ValueError, r"image must be \(N, C, H, W\)"),
    ({"image": np.zeros((2, 2, 12, 12))}, ValueError, "wanted one image"),
    ({"batch_size": 0}, ValueError, "batch_size must be an int of at least 1"),
]


@pytest.mark.parametrize("arguments, error, message", BAD)
def test_bad_input(arguments, error, message, network, images):
    with pytest.raises(error, match=message):
        occlusion(network, **{"image": images[0], **arguments})


def test_models_that_are_no_classifiers(images):
    with pytest.raises(ValueError, match=r"the model must give class scores \(N, K\), got \(1, 3, 12, 12\)"):
        occlusion(nn.Sequential(nn.Conv2d(2, 3, 1, dtype=np.float64)), images[0])
    with pytest.raises(ValueError, match="no layer of the model gives maps"):
        occlusion(nn.Sequential(nn.Flatten(), nn.Linear(288, 2, dtype=np.float64)), images[0])


def test_copies_go_through_the_network_in_few_large_batches():
    """What makes thousands of copies a second (lesson 02, step 9 measures them): 529 copies in two passes, not 529."""
    model = models.zfnet(10, scale="lesson", in_channels=1)
    image = np.random.default_rng(0).standard_normal((1, 28, 28)).astype(np.float32)
    batches = []
    model.register_forward_hook(lambda _module, inputs, _output: batches.append(len(inputs[0])))
    found = occlusion(model, image, size=6, stride=1, layer="pool5")
    assert found.probability.size == 23 * 23
    assert batches == [1, 334, 195]  # the whole image; 2^18 pixels at a time; the rest
