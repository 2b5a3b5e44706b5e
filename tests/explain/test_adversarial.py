"""The fast gradient sign method by hand and on networks of all kinds; random signs, distortion, transfer, pixels."""

import numpy as np
import pytest

import tinyconv
from explain_tools import small_network
from tinyconv import data, models, nn
from tinyconv import functional as F
from tinyconv.data import CenterCrop, Compose, Normalize, Pad, Resize, SubtractMean
from tinyconv.explain.adversarial import (
    PixelModel,
    distortion,
    fgsm,
    pixel_model,
    random_signs,
    scores,
    transfer_matrix,
)
from tinyconv.explain.layers import probabilities
from tinyconv.models.lenet import map_loss


def logit(features, rng, dtype=np.float64):
    """Return z = (0, w.x + b) as a classifier of two classes, and w."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 2, dtype=dtype))
    model[1].weight.data[0], model[1].bias.data[0] = 0.0, 0.0
    model[1].weight.data[1], model[1].bias.data[1] = rng.standard_normal(features), 0.2
    return model, model[1].weight.data[1].astype(np.float64)


# ------------------------------------------------------------------------------------------------------------ by hand


@pytest.mark.parametrize("shape", [(24,), (2, 3, 4)])
@pytest.mark.parametrize("label, sign", [(0, 1), (1, -1)])
def test_a_linear_logit_moves_by_eps_times_the_l1_norm(label, sign, shape, rng):
    """Exactly eps |w|_1 before clipping, against the label, and no pixel by more than eps (Goodfellow 2014, sec. 3)."""
    model, w = logit(24, rng)
    x, eps = rng.uniform(0, 1, (7, *shape)), 0.25
    changed = fgsm(model, x, label, eps, clip=None)
    moved = (changed - x).reshape(7, -1) @ w
    np.testing.assert_allclose(moved, sign * eps * np.abs(w).sum(), rtol=1e-12)
    assert np.abs(changed - x).max() <= eps * (1 + 1e-15)
    np.testing.assert_allclose(np.abs(changed - x), eps, rtol=1e-12)
    np.testing.assert_allclose(distortion(x, changed), eps, rtol=1e-12)
    # Towards the other class of two is away from this one.
    np.testing.assert_array_equal(fgsm(model, x, None, eps, target=1 - label, clip=None), changed)
    clipped = fgsm(model, x, label, eps)
    np.testing.assert_array_equal(clipped, changed.clip(0, 1))
    assert (np.abs((clipped - x).reshape(7, -1) @ w) < eps * np.abs(w).sum()).all()


def test_pixels_that_nothing_depends_on_stay(rng):
    """sign(0) = 0."""
    model, w = logit(6, rng)
    w[[1, 4]] = 0.0
    model[1].weight.data[1] = w
    x = rng.uniform(0.3, 0.7, (3, 6))
    moved = fgsm(model, x, 0, 0.1) - x
    np.testing.assert_allclose(moved, np.tile(0.1 * np.sign(w), (3, 1)), atol=1e-12)
    assert (moved[:, [1, 4]] == 0).all()


def test_eps_and_clip_may_differ_between_pixels_and_images(rng):
    model, w = logit(6, rng)
    x = rng.uniform(0.2, 0.8, (3, 6))
    sizes = rng.uniform(0, 0.1, (3, 6))
    np.testing.assert_allclose(fgsm(model, x, 0, sizes) - x, sizes * np.sign(w), atol=1e-12)
    per_image = np.array([[0.0], [0.1], [0.05]])
    np.testing.assert_allclose(np.abs(fgsm(model, x, 0, per_image, clip=None) - x), np.tile(per_image, 6), atol=1e-12)
    low, high = x - 0.02, x.max(axis=0) + 0.3
    found = fgsm(model, x, 0, 0.1, clip=(low, high))
    np.testing.assert_allclose(found, x + np.where(w > 0, 0.1, -0.02), atol=1e-12)
    assert (fgsm(model, x, 0, 0.0) == x).all()


def test_a_target_is_stepped_towards(network, images):
    before = scores(network, images)
    target = (before.argmax(axis=1) + 1) % 3
    small = fgsm(network, images, None, 1e-4, target=target, clip=None)
    rows = np.arange(5)

    def probability(z):
        return probabilities(z)[rows, target]

    wanted = tinyconv.tensor(images, requires_grad=True)
    F.cross_entropy(network(wanted), tinyconv.tensor(target), reduction="sum").backward()
    np.testing.assert_allclose(small, images - 1e-4 * np.sign(wanted.grad.numpy()), atol=1e-15)
    moved = np.abs(wanted.grad.numpy()).reshape(5, -1).max(axis=1) > 0
    assert moved.any() and (probability(scores(network, small)) >= probability(before))[moved].all()


# ------------------------------------------------------------------------------------------------------------ networks


def test_the_result_does_not_depend_on_the_batch(rng):
    """One image alone, among others, and across the borders of batches (8 images of 300 x 300 at a time)."""
    network = small_network(rng)
    images, labels = rng.uniform(0, 1, (6, 2, 12, 12)), np.array([0, 1, 2, 2, 1, 0])
    whole = fgsm(network, images, labels, 0.1)
    for n in range(6):
        np.testing.assert_array_equal(fgsm(network, images[n : n + 1], labels[n], 0.1)[0], whole[n])
    tinyconv.manual_seed(0)
    large = nn.Sequential(nn.AvgPool2d(100), nn.Flatten(), nn.Linear(9, 2, dtype=np.float64))
    images, labels = rng.uniform(0, 1, (20, 1, 300, 300)), np.arange(20) % 2
    seen = []
    with large.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0]))):
        whole = fgsm(large, images, labels, 0.1)
    assert seen == [8, 8, 4]
    np.testing.assert_array_equal(fgsm(large, images[7:9], labels[7:9], 0.1), whole[7:9])


@pytest.mark.parametrize("gap", [0, 60, 110, 200, 5000])
def test_a_confident_network_is_attacked_too(gap):
    """However far the right class leads: in float32 its probability is 1 from 17 on, the gradient exactly 0 from 104.

    Of three classes the second pulls and the third, far below, does not.
    """
    model = nn.Sequential(nn.Linear(3, 3))
    model[0].weight.data[:], model[0].bias.data[:] = [[1, -1, 0.5], [-1, 1, -0.5], [9, 9, 9]], [gap, 0.0, -9000.0]
    x = np.full((1, 3), 0.5, np.float32)
    np.testing.assert_array_equal(fgsm(model, x, 0, 0.25), [[0.25, 0.75, 0.25]])
    np.testing.assert_array_equal(fgsm(model, x, None, 0.25, target=0), [[0.75, 0.25, 0.75]])
    np.testing.assert_array_equal(fgsm(model, x, None, 0.25, target=1), [[0.25, 0.75, 0.25]])
    np.testing.assert_array_equal(fgsm(model, x, 2, 0.25), [[0.25, 0.25, 0.25]])  # 8.0 ... 9.5 for all others


def test_evaluation_mode_and_no_traces(rng):
    """Dropout and batch normalisation as in evaluation, the same signs in whatever mode; nothing is left behind."""
    tinyconv.manual_seed(0)
    model = nn.Sequential(
        {"conv": nn.Conv2d(1, 3, 3), "norm": nn.BatchNorm2d(3), "relu": nn.ReLU(), "drop": nn.Dropout(0.5),
         "flat": nn.Flatten(), "fc": nn.Linear(48, 3)}
    )  # fmt: skip
    model.norm.running_var.data[:], model.norm.running_mean.data[:] = 4.0, 0.1
    model.conv.weight.requires_grad = False
    model.fc.weight.grad = tinyconv.tensor(np.full((3, 48), 7, np.float32))
    images, labels = rng.uniform(0, 1, (4, 1, 6, 6)).astype(np.float32), [0, 1, 2, 0]
    model.train()
    model.drop.eval()
    first = fgsm(model, images, labels, 0.1)
    assert model.training and model.norm.training and not model.drop.training
    assert (model.norm.running_var.data == 4).all() and (model.fc.weight.grad.data == 7).all()
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {"conv.weight"}
    assert model.conv.weight.grad is None and model.norm.weight.grad is None
    np.testing.assert_array_equal(first, fgsm(model.eval(), images, labels, 0.1))
    x = tinyconv.tensor(images, requires_grad=True)
    F.cross_entropy(model(x), tinyconv.tensor(np.array(labels)), reduction="sum").backward()
    np.testing.assert_array_equal(first, (images + np.float32(0.1) * np.sign(x.grad.numpy())).clip(0, 1))
    with tinyconv.no_grad():  # somebody else's
        np.testing.assert_array_equal(first, fgsm(model, images, labels, 0.1))


def test_auxiliary_outputs_and_distances(rng):
    """GoogLeNet, whose training has three outputs; LeNet-5, whose smallest distance is the answer."""
    tinyconv.manual_seed(0)
    wide = models.googlenet(4, scale="lesson").train()
    image = rng.standard_normal((1, *wide.input_shape)).astype(np.float32)
    by_loss = fgsm(wide, image, 1, 0.05, clip=None, loss=wide.loss)
    np.testing.assert_array_equal(fgsm(wide, image, 1, 0.05, clip=None), by_loss)
    lenet = models.lenet5()
    digits = rng.uniform(-0.1, 1.175, (4, 1, 32, 32)).astype(np.float32)
    answers, box = lenet.predict(tinyconv.tensor(digits)).numpy(), (-0.1, 1.175)
    rows = np.arange(4)

    def distances(x):
        return lenet(tinyconv.tensor(x)).detach().numpy()

    def room(d):
        """Return how much further the nearest other class is."""
        return np.where(np.arange(10) == answers[:, None], np.inf, d).min(axis=1) - d[rows, answers]

    np.testing.assert_array_equal(scores(lenet, digits), -distances(digits))
    changed = fgsm(lenet, digits, answers, 0.02, clip=box)
    assert (room(distances(changed)) < room(distances(digits))).all()  # nearer to being wrong
    by_hand = fgsm(lenet, digits, answers, 0.02, clip=box, loss=lambda d, t: F.cross_entropy(-d, t))
    np.testing.assert_array_equal(changed, by_hand)
    papers = fgsm(lenet, digits, answers, 0.02, clip=box, loss=map_loss)  # is given the distances themselves
    assert (distances(papers)[rows, answers] > distances(digits)[rows, answers]).all()


def test_a_loss_of_ones_own_with_labels_of_its_own(rng):
    """One output and labels -1, 1: softplus(-y z)."""
    tinyconv.manual_seed(0)
    model = nn.Linear(5, 1, dtype=np.float64)
    x, y = rng.standard_normal((4, 5)), np.array([1.0, -1.0, 1.0, -1.0])
    found = fgsm(model, x, y, 0.1, clip=None, loss=lambda z, t: F.softplus(-(z.reshape(-1) * t)).mean())
    np.testing.assert_allclose(found - x, -0.1 * y[:, None] * np.sign(model.weight.data), atol=1e-12)
    with pytest.raises(ValueError, match=r"fgsm: loss must give one number, the batch's mean, got \(4,\)"):
        fgsm(model, x, y, 0.1, clip=None, loss=lambda z, t: z.reshape(-1))
    with pytest.raises(ValueError, match="fgsm: the loss must depend on the images, this one is a constant of them"):
        fgsm(model, x, y, 0.1, clip=None, loss=lambda z, t: t.sum())


def test_dtypes(rng):
    model, _ = logit(6, rng, np.float32)
    x = rng.uniform(0, 1, (2, 6))
    assert fgsm(model, x, 0, 0.1).dtype == np.float32
    assert fgsm(model.double(), x.astype(np.float32), 0, 0.1).dtype == np.float64
    tensor = tinyconv.tensor(x)
    np.testing.assert_array_equal(fgsm(model, tensor, tinyconv.tensor([0, 1]), 0.1), fgsm(model, x, [0, 1], 0.1))


# ------------------------------------------------------------------------------------------- controls and measurements


def test_random_signs_are_as_large_and_a_function_of_the_seed_and_the_image(rng):
    x = rng.uniform(0.3, 0.7, (50, 1, 8, 8)).astype(np.float32)
    found = random_signs(x, 0.1, seed=3)
    moved = (found - x) / 0.1
    assert found.dtype == np.float32 and np.allclose(np.abs(moved), 1, atol=1e-5)
    assert abs(moved.mean()) < 4 / np.sqrt(x.size)
    np.testing.assert_array_equal(random_signs(x[:7], 0.1, seed=3), found[:7])
    assert (random_signs(x, 0.1, seed=4) != found).any() and (np.sign(moved[0]) != np.sign(moved[1])).any()
    clipped = random_signs(x, 0.5)
    assert clipped.min() == 0 and clipped.max() == 1
    assert random_signs(x, 0.5, clip=None).max() > 1
    assert random_signs(np.zeros((1, 4), np.uint8), 0.5).dtype == np.float32


def test_distortion_is_the_root_mean_square():
    x = np.zeros((2, 1, 2, 2))
    y = np.array([[[[3.0, 4.0], [0.0, 0.0]]], [[[0.1, -0.1], [0.1, 0.1]]]])
    np.testing.assert_allclose(distortion(x, y), [2.5, 0.1], rtol=1e-15)
    large = np.full((1, 10**6), 0.1, np.float32)
    np.testing.assert_allclose(distortion(np.zeros_like(large), large), 0.1, rtol=1e-7)  # summed in float64
    with pytest.raises(ValueError, match=r"changed must have the images' shape \(2, 1, 2, 2\), got \(1, 1, 2, 2\)"):
        distortion(x, y[:1])
    with pytest.raises(ValueError, match="distortion: changed must be finite"):
        distortion(x, np.full_like(x, np.inf))


def test_the_transfer_matrix_by_hand():
    """Two rules on two pixels: the first looks at pixel 0, the second at pixel 1."""
    first, second = (nn.Sequential(nn.Linear(2, 2, dtype=np.float64)) for _ in range(2))
    for k, model in enumerate((first, second)):
        model[0].weight.data[:], model[0].bias.data[:] = 0.0, [0.5, 0.0]
        model[0].weight.data[1, k] = 1.0  # class 1 where pixel k is above 0.5
    labels = [0, 1, 1, 0]
    x = np.array([[0.2, 0.2], [0.8, 0.8], [0.7, 0.9], [0.4, 0.1]])
    made = {"second": x * [1, 0], "first": 1 - x, "none": x}
    found = transfer_matrix({"first": first, "second": second}, made, labels)
    # Rows first, second, none: 1 - x fools both; without pixel 1 the second says 0.
    np.testing.assert_array_equal(found, [[1, 1], [0, 0.5], [0, 0]])
    assert transfer_matrix({"first": first}, {"none": x}, 0).tolist() == [[0.5]]
    with pytest.raises(ValueError, match="at least one model and one set of images, got 0 and 1"):
        transfer_matrix({}, {"none": x}, labels)
    with pytest.raises(ValueError, match="labels must be one, or one for each of the 4 images"):
        transfer_matrix({"first": first}, {"none": x}, [0, 1])
    for wrong in (99, 2, -1):
        with pytest.raises(IndexError, match=rf"^transfer_matrix: labels must be in \[0, 2\), got {wrong}$"):
            transfer_matrix({"first": first}, {"none": x}, [0, 1, 1, wrong])


# -------------------------------------------------------------------------------------------------------------- pixels


@pytest.mark.parametrize("nested", [False, True])
def test_a_pixel_model_is_the_model_behind_its_normalisation(nested, rng):
    network = small_network(rng, dtype=np.float32)
    normal = Normalize((0.4, 0.3), (0.2, 0.1))
    before = [Resize(14), CenterCrop(12)]
    transform = Compose([Compose(before), Compose([normal])]) if nested else Compose([*before, normal])
    geometry, pixels = pixel_model(network, data.from_description(transform.describe()))
    photo = rng.uniform(0, 1, (2, 20, 30)).astype(np.float32)
    cut = geometry(photo)
    assert cut.shape == (2, 12, 12)
    np.testing.assert_allclose(scores(pixels, cut[None]), scores(network, transform(photo)[None]), rtol=1e-4)
    # A step of eps on pixels is one of eps / std on normalised values.
    attacked = fgsm(pixels, cut[None], 1, 0.02, clip=None)
    wanted = fgsm(network, transform(photo)[None], 1, 0.02 / np.array(normal.std).reshape(2, 1, 1), clip=None)
    np.testing.assert_allclose(np.stack([normal(image) for image in attacked]), wanted, atol=1e-5)
    assert {id(p) for p in pixels.parameters()} == {id(p) for p in network.parameters()}
    assert not pixels.state_dict().keys() & {"mean", "std"}


def test_a_pixel_model_without_normalisation_and_of_one_number(rng):
    network = small_network(rng)
    images = rng.uniform(0, 1, (2, 2, 12, 12))
    for transform in (None, Compose([]), CenterCrop(12)):
        np.testing.assert_array_equal(scores(PixelModel(network, transform), images), scores(network, images))
    np.testing.assert_allclose(
        scores(PixelModel(network.train(), Normalize(0.5, 0.25)), images), scores(network, (images - 0.5) / 0.25)
    )
    assert PixelModel(network, None).training


def test_a_pixel_model_leaves_the_modes_of_the_model_s_modules(rng):
    """Such as those of a network in training whose lower half stands still."""
    for training in (True, False):
        network = small_network(rng).train(training)
        network.dropout3.train(not training)
        before = [module.training for module in network.modules()]
        assert PixelModel(network, Normalize(0.5, 0.25)).training is training
        assert [module.training for module in network.modules()] == before


@pytest.mark.parametrize(
    "transform, error, message",
    [
        (
            Compose([Normalize(0.1, 0.3), Pad(2)]),
            ValueError,
            "got Normalize with Pad after it; attack the model itself",
        ),
        (Compose([Normalize(0.1, 0.3), Normalize(0.1, 0.3)]), ValueError, "got Normalize with Normalize after it"),
        (SubtractMean(np.zeros((2, 12, 12), np.float32)), ValueError, "got SubtractMean with it at the end"),
        (np.sqrt, TypeError, "transform must be a Transform or None, got ufunc"),
    ],
)
def test_transforms_that_are_no_normalisation_at_the_end(transform, error, message, rng):
    with pytest.raises(error, match=message):
        PixelModel(small_network(rng), transform)


# ----------------------------------------------------------------------------------------------------------- bad input

X = np.full((2, 6), 0.5)
BAD = [
    ({"labels": 2}, IndexError, r"^fgsm: labels must be in \[0, 2\), got 2$"),
    ({"target": -1}, IndexError, r"^fgsm: target must be in \[0, 2\), got -1$"),
    ({"labels": None}, TypeError, "^fgsm: labels must be an int, or one int per image, got None$"),
    ({"labels": [0.0, 1.0]}, TypeError, "labels must be an int, or one int per image"),
    ({"labels": [0]}, ValueError, r"labels must be one, or one for each of the 2 images, got shape \(1,\)"),
    ({"labels": [[0], [1]]}, ValueError, r"labels must be one, or one for each of the 2 images, got shape \(2, 1\)"),
    ({"eps": -0.1}, ValueError, "eps must be finite and at least 0, got -0.1"),
    ({"eps": np.nan}, ValueError, "eps must be finite and at least 0, got nan"),
    ({"eps": "0.1"}, TypeError, "eps must be a number or an array of numbers, got '0.1'"),
    ({"eps": np.ones(5)}, ValueError, r"eps must broadcast to the images' shape \(2, 6\), got \(5,\)"),
    ({"eps": 1.7e308, "images": X * 1e308, "clip": None}, ValueError, "eps must be at most what float64 holds, 1.8e"),
    ({"clip": (1.0, 0.0)}, ValueError, "clip must be .low, high. with low at most high"),
    ({"clip": (np.nan, 1.0)}, ValueError, "clip must be .low, high. with low at most high"),
    ({"clip": 1.0}, TypeError, r"clip must be a pair \(low, high\) or None, got 1.0"),
    ({"images": X - 1}, ValueError, r"images must lie within clip, got values from -0.5 to -0.5; .*PixelModel"),
    ({"images": X * np.nan}, ValueError, "images must be finite, got NaN or infinity"),
    ({"images": X[:0]}, ValueError, r"images must be \(N, F\) with at least one image, got shape \(0, 6\)"),
    ({"images": np.zeros((1, 1, 2, 0))}, ValueError, r"images must be \(N, C, H, W\) with at least one image"),
    ({"images": X[0]}, ValueError, r"images must be \(N, C, H, W\) with at least one image, got shape \(6,\)"),
    ({"images": X == 0}, TypeError, "images must hold numbers, got bool"),
]


@pytest.mark.parametrize("arguments, error, message", BAD)
def test_bad_input(arguments, error, message, rng):
    model, _ = logit(6, rng)
    with pytest.raises(error, match=message):
        fgsm(model, **{"images": X, "labels": 0, "eps": 0.1, **arguments})
    assert model[1].weight.requires_grad


def test_models_that_cannot_be_attacked(rng):
    model, _ = logit(6, rng)
    model[1].weight.data[1, 0] = np.nan
    with pytest.raises(FloatingPointError, match="fgsm: the gradient must be finite, got NaN or infinity; check the w"):
        fgsm(model, X, 0, 0.1)
    with pytest.raises(TypeError, match="fgsm: model must be a Module, got function"):
        fgsm(lambda x: x, X, 0, 0.1)
    with pytest.raises(RuntimeError, match='the model must have weights, got one on "meta"'):
        fgsm(nn.Linear(6, 2, device="meta"), X, 0, 0.1)
    with pytest.raises(ValueError, match=r"fgsm: the model must give class scores \(N, K\), got \(2, 2, 3\)"):
        fgsm(nn.Sequential(nn.Linear(6, 6, dtype=np.float64), nn.Unflatten(1, (2, 3))), X, 0, 0.1)
    with pytest.raises(ValueError, match=r"fgsm: the model must have at least two classes, got scores of shape \(2, 1"):
        fgsm(nn.Linear(6, 1, dtype=np.float64), X, 0, 0.1)
    with pytest.raises(ValueError, match="random_signs: images must be"):
        random_signs(X[0], 0.1)


@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
def test_a_step_that_the_dtype_cannot_hold(clip, rng):
    """1e300 is infinite in float32, and so are 3e38 + 3e38; 1e38 is not."""
    model, _ = logit(6, rng, np.float32)
    x = X.astype(np.float32)
    for call in (lambda eps: fgsm(model, x, 0, eps, clip=clip), lambda eps: random_signs(x, eps, clip=clip)):
        with pytest.raises(ValueError, match=r"eps must be at most what float32 holds, 3.4e\+38 less .*got 1e\+300"):
            call(1e300)
        assert np.isfinite(call(1e38)).all()
    with pytest.raises(ValueError, match=r"random_signs: eps must be at most what float32 holds"):
        random_signs(np.float32(3e38) * x * 2, 3e38, clip=None)
