"""Strongest images, correspondence, invariance, evolution: brute force and hand calculations."""

import importlib

import numpy as np
import pytest

import tinyconv
from tinyconv import nn, optim
from tinyconv.explain import (
    Evolution,
    correspondence,
    deconvnet,
    features,
    invariance,
    top_activations,
    transformed,
)


def outputs(network, images, layer):
    """Return a layer's outputs, one image at a time."""
    found = []
    for image in images:
        x = tinyconv.tensor(image[None])
        for name, module in network.named_children():
            x = module(x)
            if name == layer:
                found.append(x.detach().numpy()[0])
                break
    return np.stack(found)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("layer, maps", [("relu2", None), ("pool1", [3, 0]), ("fc4", None)])
def test_top_activations_against_brute_force(layer, maps, batch_size, network, rng):
    images = rng.standard_normal((7, 2, 12, 12))
    y = outputs(network, images, layer)
    top = top_activations(network, images, layer, 4, maps, batch_size)
    chosen = range(y.shape[1]) if maps is None else maps
    assert top.values.shape == (len(chosen), 4) and top.positions.shape == (len(chosen), 4, 2)
    for row, k in enumerate(chosen):
        strongest = sorted(range(7), key=lambda i: (-y[i, k].max(), i))[:4]  # noqa: B023
        assert top.images[row].tolist() == strongest
        for column, i in enumerate(strongest):
            assert top.values[row, column] == pytest.approx(y[i, k].max())
            place = np.unravel_index(y[i, k].argmax(), y[i, k].shape) if y.ndim == 4 else (0, 0)
            assert top.positions[row, column].tolist() == list(place)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_of_equal_images_the_earlier_comes_first(batch_size, network, images):
    """Thirty images, three of them different: 1 where i % 3 == 1, ... in every batch, and more than k of each."""
    many = np.concatenate([images[:3]] * 10)
    y = outputs(network, images[:3], "relu2").max(axis=(2, 3))
    top = top_activations(network, many, "relu2", 12, batch_size=batch_size)
    alive = np.flatnonzero(y.max(axis=0) > 0)
    assert alive.size
    for k in range(y.shape[1]):
        assert top.images[k].tolist() == sorted(range(30), key=lambda i: (-y[i % 3, k], i))[:12]  # noqa: B023
    same = top_activations(network, np.repeat(images[:1], 20, axis=0), "pool1", 9, batch_size=batch_size)
    assert (same.images == np.arange(9)).all()


def test_top_activations_keeps_k_values_of_each_map_while_it_reads(monkeypatch):
    """Twelve batches of 4 images: never more than k + 4 values of a map are sorted, or kept."""
    module = importlib.import_module("tinyconv.explain.activations")
    sorted_at_once, better = [], module._better

    def watched(best, more, k):
        found = better(best, more, k)
        sorted_at_once.append(sum(parts[0].shape[1] for parts in (best, more) if parts))
        assert found[0].shape[1] <= k
        return found

    monkeypatch.setattr(module, "_better", watched)
    model = nn.Sequential({"flat": nn.Flatten(), "relu": nn.ReLU()})
    pixels = np.arange(48, dtype=np.float32).reshape(48, 1, 1, 1)
    top = top_activations(model, pixels, "relu", 3, batch_size=4)
    assert top.images.tolist() == [[47, 46, 45]] and top.values.tolist() == [[47, 46, 45]]
    assert len(sorted_at_once) == 12 and max(sorted_at_once) == 7


def test_top_activations_bad_input(network, images):
    for function in (lambda x: top_activations(network, x, "relu1", 1), lambda x: features(network, x, "relu1")):
        with pytest.raises(ValueError, match=r"images must be \(N, C, H, W\) .*got shape \(\)$"):
            function(np.float32(3))
        with pytest.raises(TypeError, match="images must hold numbers, got object"):
            function(None)
    with pytest.raises(ValueError, match="k must be at most the number of images, 5, got 9"):
        top_activations(network, images, "relu1")
    with pytest.raises(ValueError, match="layer must be one of conv1, .*got 'relu9'"):
        top_activations(network, images, "relu9", 1)
    with pytest.raises(IndexError, match=r"maps of 'relu1' must be in \[0, 4\), got 4"):
        top_activations(network, images, "relu1", 1, [4])
    with pytest.raises(ValueError, match="batch_size must be an int of at least 1, got 0"):
        top_activations(network, images, "relu1", 1, batch_size=0)
    with pytest.raises(ValueError, match=r"images must be \(N, C, H, W\)"):
        top_activations(network, images[0], "relu1", 1)


def test_only_the_layers_that_are_needed_run(network, images):
    ran = []
    with network.pool2.register_forward_hook(lambda *_: ran.append("pool2")):
        top_activations(network, images, "relu2", 1)
        assert not ran
        top_activations(network, images, "flatten", 1)
    assert ran == ["pool2"]


# ----------------------------------------------------------------------------------------------------- correspondence


def test_correspondence_by_hand():
    """Signs of three images over four features; ordered pairs, three values, 1 wherever two differ."""
    signs = np.array([[1, 0, -1, 0], [1, 1, -1, 0], [-1, 0, 1, 0]])
    # pairs: (0, 1) differ in 1 feature, (0, 2) in 2, (1, 2) in 3; each twice: 12 of 6 pairs x 4 features
    masked = np.arange(12.0).reshape(3, 4)
    assert correspondence(masked + 0.25 * signs, masked) == 12 / 24
    assert correspondence(masked + np.array([[7.0], [0.1], [3.0]]), masked) == 0  # all change the same way
    assert correspondence(tinyconv.tensor(masked + 0.25 * signs), tinyconv.tensor(masked)) == 12 / 24


def test_correspondence_bad_input():
    with pytest.raises(ValueError, match=r"N of at least 2, got \(1, 4\) and \(1, 4\)"):
        correspondence(np.zeros((1, 4)), np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"must have one shape .*got \(2, 4\) and \(2, 3\)"):
        correspondence(np.zeros((2, 4)), np.zeros((2, 3)))


def test_features(network, images):
    found = features(network, images, "pool2", batch_size=2)
    assert np.array_equal(found, outputs(network, images, "pool2").reshape(5, -1))


# --------------------------------------------------------------------------------------------------------- invariance


def test_transformed_moves_pixels_where_it_says(rng):
    images = rng.uniform(0, 1, (2, 3, 9, 9))
    down = transformed(images, "shift", 2)
    assert np.array_equal(down[:, :, 2:], images[:, :, :-2]) and not down[:, :, :2].any()
    half = transformed(images, "shift", -0.5)
    np.testing.assert_allclose(half[:, :, :-1], (images[:, :, :-1] + images[:, :, 1:]) / 2)
    np.testing.assert_allclose(transformed(images, "rotation", 90), np.rot90(images, axes=(2, 3)), atol=1e-12)
    np.testing.assert_allclose(transformed(images, "rotation", 0), images)
    larger = transformed(images, "scale", 2)
    np.testing.assert_allclose(larger[:, :, ::2, ::2], images[:, :, 2:7, 2:7])
    smaller = transformed(images, "scale", 0.5, background=[5.0, 6.0, 7.0])
    np.testing.assert_allclose(smaller[:, :, 2:7, 2:7], images[:, :, ::2, ::2])
    assert np.allclose(smaller[:, :, 0, 0], [5.0, 6.0, 7.0])
    flat = transformed(np.full((1, 1, 5, 5), 3.0), "rotation", 30, background=3.0)
    np.testing.assert_allclose(flat, 3.0)


def test_transformed_of_bytes_has_means_between_them():
    image = np.array([[0, 100], [200, 255]], np.uint8)[None, None]
    moved = transformed(image, "shift", 0.5, background=255)
    assert moved.dtype == np.float32
    assert moved[0, 0].tolist() == [[127.5, 177.5], [100, 177.5]]  # means of 255 and 0, 255 and 100; 0, 200; 100, 255
    assert transformed(image.astype(np.float64), "shift", 0.5).dtype == np.float64


def test_invariance_against_one_at_a_time(network, images):
    found = invariance(network, images, 1, "shift", (0, 3), ("relu1", "fc4"))
    assert found.distances.shape == (2, 5, 2) and found.probabilities.shape == (5, 2)
    assert not found.distances[:, :, 0].any()
    moved = transformed(images, "shift", 3)
    for i in range(5):
        for j, layer in enumerate(("relu1", "fc4")):
            a, b = (outputs(network, batch[i : i + 1], layer) for batch in (images, moved))
            assert found.distances[j, i, 1] == pytest.approx(np.linalg.norm(a - b))
        scores = outputs(network, moved[i : i + 1], "fc4")[0]
        assert found.probabilities[i, 1] == pytest.approx(np.exp(scores[1]) / np.exp(scores).sum())


def test_invariance_bad_input(network, images):
    with pytest.raises(ValueError, match="transform must be one of 'shift', 'scale', 'rotation', got 'shear'"):
        invariance(network, images, 0, "shear", layers=["relu1"])
    with pytest.raises(ValueError, match="a scale must be positive, got 0"):
        invariance(network, images, 0, "scale", (1, 0), ["relu1"])
    with pytest.raises(IndexError, match=r"labels must be in \[0, 3\), got 3"):
        invariance(network, images, 3, layers=["relu1"])
    with pytest.raises(ValueError, match="layer must be one of .*got 'relu7'"):
        invariance(network, images, 0)


# ---------------------------------------------------------------------------------------------------------- evolution


def test_evolution_keeps_projections_at_the_chosen_epochs(rng):
    tinyconv.manual_seed(0)
    model = nn.Sequential(
        {"conv": nn.Conv2d(1, 3, 3), "relu": nn.ReLU(), "pool": nn.MaxPool2d(2), "flat": nn.Flatten(),
         "fc": nn.Linear(27, 2)}
    )  # fmt: skip
    images = rng.standard_normal((8, 1, 8, 8)).astype(np.float32)
    loader = [(images, np.arange(8) % 2)]
    watch = Evolution(images, {"pool": [2, 0], "fc": None}, epochs=(1, 3))
    optimizer = optim.SGD(model.parameters(), 0.1)
    watch.record(model, 0)
    tinyconv.fit(model, loader, optimizer=optimizer, epochs=3, callbacks=[watch], progress=False)
    assert [s.epoch for s in watch.snapshots["pool"]] == [s.epoch for s in watch.snapshots["fc"]] == [0, 1, 3]
    last = watch.snapshots["pool"][-1]
    model.eval()
    y = outputs(model, images, "pool")
    for row, k in enumerate((2, 0)):
        i = int(y[:, k].max(axis=(1, 2)).argmax())
        assert last.images[row] == i and last.values[row] == pytest.approx(y[i, k].max())
        np.testing.assert_allclose(last.projections[row], deconvnet(model, images[i : i + 1], "pool", k)[0], atol=1e-6)
    first = watch.snapshots["pool"][0]
    assert not np.allclose(first.projections, last.projections)
    assert watch.snapshots["fc"][0].projections.shape == (2, 1, 8, 8)


@pytest.mark.parametrize("unpool, expected", [("write", 36.0), ("add", 144.0)])
def test_evolution_unpools_as_it_is_told(unpool, expected):
    """Four windows share the peak 9; their sum, 36, goes down to each of them: one stays, or they add up."""
    model = nn.Sequential({"pool": nn.MaxPool2d(3, 2), "sum": nn.Conv2d(1, 1, 2, bias=False)})
    model.get_submodule("sum").weight.data[:] = 1
    image = np.zeros((1, 1, 5, 5), np.float32)
    image[0, 0, 2, 2] = 9
    watch = Evolution(image, {"sum": [0]}, unpool=unpool)
    watch.record(model, 0)
    (kept,) = watch.snapshots["sum"]
    assert kept.values.tolist() == [36]
    np.testing.assert_allclose(kept.projections, image / 9 * expected, rtol=1e-6)


def test_evolution_bad_input(images):
    with pytest.raises(ValueError, match="layers must name at least one layer"):
        Evolution(images, [])
    with pytest.raises(ValueError, match="epochs must be an int of at least 1, got 0"):
        Evolution(images, ["relu1"], epochs=(0, 1))
