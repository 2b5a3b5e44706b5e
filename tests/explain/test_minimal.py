"""The smallest attack: closed forms of linear classifiers, the box, both losses, a network, what cannot be reached."""

import tracemalloc

import numpy as np
import pytest

import tinyconv
from tinyconv import models, nn
from tinyconv.explain.adversarial import distortion, fgsm, scores
from tinyconv.explain.minimal import linear_distance, minimal_attack

LOSSES = ["cross_entropy", "margin"]


def linear(weight, bias):
    """Return the classifier z = W x + b in float64."""
    model = nn.Sequential(nn.Linear(weight.shape[1], len(weight), dtype=np.float64))
    model[0].weight.data[:], model[0].bias.data[:] = weight, bias
    return model


@pytest.fixture
def classifier(rng):
    """Return (W, b) of five classes over 30 pixels, and 40 images."""
    return rng.standard_normal((5, 30)), rng.standard_normal(5), rng.uniform(0, 1, (40, 30))


# --------------------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("loss", LOSSES)
def test_a_logistic_classifier_is_left_at_the_distance_of_its_plane(loss, rng):
    w, b, x = rng.standard_normal(30), 0.3, rng.standard_normal((50, 30))
    model = linear(np.stack([np.zeros(30), w]), [0, b])
    wanted = np.abs(x @ w + b) / np.linalg.norm(w)
    found = minimal_attack(model, x, clip=None, loss=loss)
    assert found.success.all()
    length = found.distortion * np.sqrt(30)
    assert (length >= wanted * (1 - 1e-9)).all() and (length <= 1.01 * wanted).all()
    # The same by --target: to the other side.
    again = minimal_attack(model, x, (x @ w + b <= 0).astype(int), clip=None, loss=loss)
    np.testing.assert_allclose(again.distortion, found.distortion, rtol=0.01)
    labels = (x @ w + b > 0).astype(int)
    np.testing.assert_allclose(linear_distance(w, b, x, labels), wanted, rtol=1e-12)
    assert (linear_distance(w[None], [b], x, 1 - labels) == 0).all()


def test_a_softmax_classifier_is_left_at_its_nearest_border(classifier):
    weight, bias, x = classifier
    z = x @ weight.T + bias
    k = z.argmax(axis=1)
    wanted = [
        min((z[n, k[n]] - z[n, j]) / np.linalg.norm(weight[k[n]] - weight[j]) for j in range(5) if j != k[n])
        for n in range(40)
    ]
    np.testing.assert_allclose(linear_distance(weight, bias, x, k), wanted, rtol=1e-12)
    np.testing.assert_allclose(linear_distance(weight, bias, x.reshape(40, 1, 5, 6), k), wanted, rtol=1e-12)
    found = minimal_attack(linear(weight, bias), x, labels=k, clip=None, loss="margin")
    length = found.distortion * np.sqrt(30)
    assert found.success.all() and (found.images @ weight.T + bias).argmax(axis=1).tolist() != k.tolist()
    assert (length >= np.array(wanted) * (1 - 1e-9)).all() and (length <= 1.01 * np.array(wanted)).all()
    # Cross-entropy pulls away from all other classes: further, but it arrives as well.
    paper = minimal_attack(linear(weight, bias), x, labels=k, clip=None)
    assert paper.success.all() and (paper.distortion >= found.distortion * 0.99).all()


def test_a_target_between_two_borders_is_an_edge():
    """Two pixels, three classes: the nearest point of the third, on one border or where two of them meet.

    z = (1.2, x + 1, y): y >= 1.2 and y >= x + 1, from the origin (0, 1.2). With z_1 = x + 2 the foot (-1, 1) on the
    second border violates the first; what is left is the edge, (-0.8, 1.2).
    """
    weight = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    x = np.zeros((1, 2))
    found = minimal_attack(linear(weight, [1.2, 1.0, 0.0]), x, 2, clip=None, loss="margin")
    np.testing.assert_allclose(found.images[0], (0.0, 1.2), atol=0.02)
    found = minimal_attack(linear(weight, [1.2, 2.0, 0.0]), x, 2, clip=None, loss="margin", searches=12, steps=100)
    assert found.success.all()
    assert np.linalg.norm(found.images[0]) == pytest.approx(np.hypot(0.8, 1.2), rel=0.02)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_box_holds_and_the_way_goes_around_it(loss):
    """The weights (3, 1, 1), x = (0.9, 0.5, 0.5), 1.0 is missing: the box leaves 0.1 of the first pixel.

    Without a box r = w / 11; within it r = (0.1, 0.35, 0.35), whose length is exact.
    """
    w, x = np.array([3.0, 1.0, 1.0]), np.array([[0.9, 0.5, 0.5]])
    model = linear(np.stack([np.zeros(3), w]), [0, -w @ x[0] - 1])
    free = minimal_attack(model, x, 1, clip=None, loss=loss)
    np.testing.assert_allclose(free.images - x, w[None] / 11, rtol=0.01)
    boxed = minimal_attack(model, x, 1, loss=loss)
    assert boxed.success.all() and boxed.images.max() <= 1.0
    np.testing.assert_allclose(boxed.images - x, [[0.1, 0.35, 0.35]], rtol=0.02)
    limits = np.array([0.9, 0.0, 0.0]), np.array([0.95, 1.0, 0.9])  # the third has 0.4, the second what is left
    boxed = minimal_attack(model, x, 1, clip=limits, loss=loss)
    assert (boxed.images >= limits[0]).all() and (boxed.images <= limits[1]).all()
    np.testing.assert_allclose(boxed.images - x, [[0.05, 0.45, 0.4]], rtol=0.02)
    assert (boxed.images - x) @ w == pytest.approx(1.0, rel=0.01)


# ------------------------------------------------------------------------------------------------------------ networks


@pytest.fixture(scope="module")
def digits():
    """Return a trained network on 8 x 8 digits, 100 test images and their labels."""
    from tinyconv import data, optim

    tinyconv.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10))
    loader = data.DataLoader(data.digits("train"), 100, shuffle=True, seed=0)
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    tinyconv.fit(model, loader, optimizer=optimizer, epochs=15, progress=False)
    test = data.digits("test")
    return model.eval(), test.images[:100].astype(np.float32) / 16, test.labels[:100]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_digit_becomes_an_eight(loss, digits):
    model, images, _ = digits
    found = minimal_attack(model, images, 8, loss=loss)
    assert found.success.all() and found.images.dtype == np.float32
    assert (scores(model, found.images).argmax(axis=1) == 8).all()
    assert found.images.min() >= 0 and found.images.max() <= 1
    np.testing.assert_allclose(found.distortion, distortion(images, found.images))
    already = scores(model, images).argmax(axis=1) == 8
    assert already.any() and (found.distortion[already] == 0).all()
    np.testing.assert_array_equal(found.images[already], images[already])


def test_it_is_shorter_than_the_same_way_by_signs_or_by_the_plain_gradient(digits):
    """Against FGSM with the least eps that succeeds, and against the loss's gradient at x, followed straight."""
    model, images, labels = digits
    right = scores(model, images).argmax(axis=1) == labels
    images, labels = images[right], labels[right]
    found = minimal_attack(model, images, labels=labels)
    assert found.success.all()

    def shortest(changed_by):
        least = np.full(len(images), np.inf)
        for size in np.geomspace(0.02, 1, 40)[::-1]:
            changed = changed_by(size)
            wrong = scores(model, changed).argmax(axis=1) != labels
            least[wrong] = distortion(images, changed)[wrong]
        return least

    slope = fgsm_direction(model, images, labels)
    signs = shortest(lambda size: fgsm(model, images, labels, size))
    straight = shortest(lambda size: np.clip(images + 8 * size * slope, 0, 1))
    assert (found.distortion <= signs * 1.001).all() and found.distortion.mean() < 0.7 * signs[signs < 1].mean()
    assert found.distortion.mean() < 0.95 * straight[straight < 1].mean()


def test_without_a_target_it_is_nearly_the_best_of_all_targets(digits):
    """The class is chosen by the linearisation: mostly the nearest, and on average little further."""
    model, images, _ = digits
    says = scores(model, images).argmax(axis=1)
    free, best = minimal_attack(model, images), np.full(len(images), np.inf)
    for target in range(10):
        found = minimal_attack(model, images, target)
        best = np.where(found.success & (says != target), np.minimum(best, found.distortion), best)
    ratio = free.distortion / best
    assert free.success.all() and np.median(ratio) < 1.005 and ratio.mean() < 1.05


def fgsm_direction(model, images, labels):
    """Return each image's loss gradient divided by its length."""
    x = tinyconv.tensor(images, requires_grad=True)
    tinyconv.functional.cross_entropy(model(x), tinyconv.tensor(labels)).backward()
    return x.grad.numpy() / np.linalg.norm(x.grad.numpy().reshape(len(images), -1), axis=1).reshape(-1, 1, 1, 1)


def test_more_values_of_c_give_a_shorter_change(digits):
    model, images, _ = digits
    few, many = (minimal_attack(model, images, 3, searches=searches) for searches in (1, 8))
    both = few.success & (few.distortion > 0)
    assert both.sum() > 20 and many.distortion[both].mean() < 0.98 * few.distortion[both].mean()


def test_an_image_s_result_depends_on_it_alone_and_nothing_is_drawn(digits):
    model, images, _ = digits
    doubled = nn.Sequential(*[layer for layer in model]).double()
    images = images[:9].astype(np.float64)
    whole = minimal_attack(doubled, images, 8)
    again = minimal_attack(doubled, images, 8)
    np.testing.assert_array_equal(whole.images, again.images)
    for n in range(9):
        np.testing.assert_allclose(minimal_attack(doubled, images[n : n + 1], 8).images[0], whole.images[n], atol=1e-6)
    doubled.float()


def test_labels_that_are_wrong_already_and_targets_without_labels(digits):
    model, images, _ = digits
    says = scores(model, images).argmax(axis=1)
    other = (says + 1) % 10
    found = minimal_attack(model, images, labels=other)
    assert found.success.all() and (found.distortion == 0).all()
    default, explicit = minimal_attack(model, images[:5]), minimal_attack(model, images[:5], labels=says[:5])
    np.testing.assert_array_equal(default.images, explicit.images)
    assert (scores(model, default.images).argmax(axis=1) != says[:5]).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name, k, wanted", [("labels", 0, 1), ("labels", 1, 0), ("target", 0, 0), ("target", 1, 1)])
def test_a_tie_is_no_success(name, k, wanted, dtype, loss):
    """Two equal scores: neither class is the answer by more than rounding, so a change is needed, if there is one."""
    x = np.full((1, 3), 0.5)
    model = linear(np.eye(3)[:2], [0.0, 0.0]).to(dtype)
    found = minimal_attack(model, x, **{name: k}, loss=loss)
    z = scores(model, found.images)[0]
    assert found.success.all() and 0 < found.distortion[0] < 1e-4 and z[wanted] > z[1 - wanted]
    blind = minimal_attack(linear(np.zeros((2, 3)), [7.0, 7.0]).to(dtype), x, **{name: k}, loss=loss)
    assert not blind.success.any() and np.array_equal(blind.images, x) and blind.distortion[0] == 0


def test_what_cannot_be_reached_stays_as_it_was(digits):
    """A class whose score is far below whatever the pixels say; a network that does not look at them."""
    weight = np.zeros((3, 4))
    weight[1, 0] = 1.0
    model = linear(weight, [0.5, 0.0, -50.0])
    x = np.array([[0.2, 0.4, 0.6, 0.8], [0.9, 0.1, 0.1, 0.1]])
    found = minimal_attack(model, x, 2)
    assert not found.success.any() and (found.distortion == 0).all()
    np.testing.assert_array_equal(found.images, x)
    found = minimal_attack(model, x, [1, 2])
    assert found.success.tolist() == [True, False]
    blind = minimal_attack(linear(np.zeros((2, 4)), [0.0, 1.0]), x, 0)
    assert not blind.success.any() and np.array_equal(blind.images, x)
    trained, images, _ = digits
    rushed = minimal_attack(trained, images, 8, searches=1, steps=1)  # the steps do not suffice for all
    assert not rushed.success.all() and np.array_equal(rushed.images[~rushed.success], images[~rushed.success])


def test_networks_of_all_kinds_and_no_traces(rng):
    """Distances (LeNet-5's), auxiliary outputs in training mode (GoogLeNet), dropout: as evaluation sees them."""
    tinyconv.manual_seed(0)
    net = models.lenet5()
    images = rng.uniform(-0.1, 1.1, (2, 1, 32, 32)).astype(np.float32)
    answers = net.predict(tinyconv.tensor(images)).numpy()
    found = minimal_attack(net.train(), images, clip=(-0.1, 1.175))
    assert found.success.all()
    assert (net.predict(tinyconv.tensor(found.images)).numpy() != answers).all()
    assert all(module.training for module in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    wide = models.googlenet(4, scale="lesson").train()
    image = rng.standard_normal((1, *wide.input_shape)).astype(np.float32)
    found = minimal_attack(wide, image, clip=None, searches=3, steps=8)
    assert found.images.shape == image.shape and wide.training


# ----------------------------------------------------------------------------------------------------------- bad input

X = np.full((2, 4), 0.5)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"target": 3}, IndexError, r"^minimal_attack: target must be in \[0, 3\), got 3$"),
        ({"labels": [0, -1]}, IndexError, r"^minimal_attack: labels must be in \[0, 3\), got -1$"),
        ({"target": 1.0}, TypeError, "target must be an int, or one int per image, got 1.0"),
        ({"labels": [0, 1, 2]}, ValueError, "labels must be one, or one for each of the 2 images"),
        ({"target": 1, "labels": 0}, ValueError, "give target or labels, not both"),
        ({"loss": "hinge"}, ValueError, "loss must be one of 'cross_entropy', 'margin', got 'hinge'"),
        ({"searches": 0}, ValueError, "searches must be an int of at least 1, got 0"),
        ({"steps": 2.5}, ValueError, "steps must be an int of at least 1, got 2.5"),
        ({"images": X * 3}, ValueError, "images must lie within clip, got values from 1.5 to 1.5; .*PixelModel"),
        ({"images": X * np.nan}, ValueError, "images must be finite, got NaN or infinity"),
        ({"images": X[:0]}, ValueError, r"images must be \(N, F\) with at least one image, got shape \(0, 4\)"),
        ({"images": np.zeros((1, 1, 0, 4))}, ValueError, r"images must be \(N, C, H, W\) with at least one image"),
        ({"images": X[0]}, ValueError, r"images must be \(N, C, H, W\)"),
        ({"images": X > 0}, TypeError, "images must hold numbers, got bool"),
        ({"clip": (0, np.ones(3))}, ValueError, r"clip must broadcast to the images' shape \(2, 4\), got \(3,\)"),
    ],
)
def test_bad_input(arguments, error, message, rng):
    model = linear(rng.standard_normal((3, 4)), np.zeros(3))
    with pytest.raises(error, match=message):
        minimal_attack(model, **{"images": X, **arguments})
    assert model[0].weight.requires_grad


def test_models_that_are_none():
    with pytest.raises(TypeError, match="minimal_attack: model must be a Module, got function"):
        minimal_attack(lambda x: x, X)
    with pytest.raises(ValueError, match=r"must have at least two classes, got scores of shape \(2, 1\)"):
        minimal_attack(linear(np.ones((1, 4)), [0.0]), X)
    with pytest.raises(ValueError, match=r"model must give class scores \(N, K\), got \(2, 3, 1\)"):
        minimal_attack(nn.Sequential(linear(np.ones((3, 4)), np.zeros(3)), nn.Unflatten(1, (3, 1))), X)
    with pytest.raises(FloatingPointError, match="scores must be finite, got NaN or infinity; check the weights"):
        minimal_attack(linear(np.full((3, 4), np.nan), np.zeros(3)), X)


def test_linear_distance_of_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"must fit, got \(3, 5\), \(3,\) and \(2, 4\)"):
        linear_distance(np.ones((3, 5)), np.ones(3), X, 0)
    with pytest.raises(IndexError, match=r"linear_distance: labels must be in \[0, 3\), got 3"):
        linear_distance(np.ones((3, 4)), np.ones(3), X, 3)
    for name, bad in (("weight", np.nan), ("bias", np.inf), ("images", np.nan), ("images", -np.inf)):
        given = {"weight": np.ones((3, 4)), "bias": np.ones(3), "images": X.copy()}
        given[name].flat[-1] = bad
        with pytest.raises(ValueError, match=f"^linear_distance: {name} must be finite, got NaN or infinity$"):
            linear_distance(**given, labels=0)
    same = linear_distance(np.ones((2, 4)), [1.0, 0.0], X, 0)  # two equal rows: no change leaves the class
    assert np.isinf(same).all()


def test_linear_distance_does_not_hold_a_row_for_each_image_and_class(rng):
    """500 images, 50 classes, 200 pixels: 40 MB as (N, K, F), while all the arguments take 1 MB."""
    weight, x = rng.standard_normal((50, 200)), rng.standard_normal((500, 200))
    tracemalloc.start()
    try:
        linear_distance(weight, np.zeros(50), x, (x @ weight.T).argmax(axis=1))
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()
