"""Lesson 07, steps 8 to 10 and the claims on images: networks and parts are the library's, measured is what is said."""

from __future__ import annotations

import re
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from _claims import check_claim
from _exercises import LESSONS, load
from _steps import check_step, run_step

import tinyconv
from tinyconv import data, models, nn
from tinyconv.generative.features import discriminator_features, svm_error
from tinyconv.generative.measures import sharpness, spread
from tinyconv.generative.training import RECIPES, Recipe
from tinyconv.nn import functional as F
from tinyconv.nn.modes import held
from tinyconv.vision import pyramid

LESSON = LESSONS / "07_gan"
CLAIMS = ["features", "lapgan", "dcgan"]


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims_images.py", "lesson_07_claims_images")


@pytest.fixture(scope="module")
def steps(claims):
    return {n: claims._step(name) for n, name in ((8, "step8_dcgan"), (9, "step9_features"), (10, "step10_lapgan"))}


# -------------------------------------------------------------------------------------------------------- step 8: DCGAN


@pytest.mark.parametrize(("k", "stride", "padding", "extra"), [(5, 2, 2, 1), (4, 2, 1, 0), (3, 1, 1, 0), (5, 3, 0, 2)])
def test_stamps_are_a_transposed_convolution(steps, k, stride, padding, extra):
    x, w = (np.random.default_rng(k).standard_normal(shape) for shape in ((4, 3), (k, k)))
    given = (tinyconv.tensor(v[None, None]) for v in (x, w))
    wanted = F.conv_transpose2d(*given, None, stride, padding, extra).numpy()[0, 0]
    np.testing.assert_allclose(steps[8].stamped(x, w, stride, padding, extra), wanted, atol=1e-12)


def test_figure_1_is_the_papers_and_the_librarys(steps):
    """Radford et al. 2015, fig. 1: 1024, 512, 256, 128 maps from 4x4 to 32x32, then three of 64x64."""
    for ours, theirs, shape in (
        (steps[8].generator(device="meta"), models.dcgan(device="meta").generator, (2, 100)),
        (steps[8].discriminator(device="meta"), models.dcgan(device="meta").discriminator, (2, 3, 64, 64)),
    ):
        mine, wanted = ({name: p.shape for name, p in one.named_parameters()} for one in (ours, theirs))
        assert mine == wanted
        assert ours(tinyconv.zeros(*shape, device="meta")).shape == ((2, 3, 64, 64) if len(shape) == 2 else (2,))
    x, sizes = tinyconv.zeros(1, 100, device="meta"), []
    for name, layer in steps[8].generator(device="meta").named_children():
        x = layer(x)
        if name == "maps" or name.startswith("deconv"):
            sizes.append(x.shape[1:])
    assert sizes == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]


def test_the_readmes_table_is_the_librarys(steps):
    text, model = (LESSON / "README.md").read_text("utf-8"), models.dcgan(device="meta")
    for network, x in ((model.generator, (1, 100)), (model.discriminator, (1, 3, 64, 64))):
        norms, x = 0, tinyconv.zeros(*x, device="meta")
        for name, layer in network.named_children():
            x, count = layer(x), sum(p.numel() for p in layer.parameters())
            if isinstance(layer, nn.BatchNorm2d):
                norms += count
            elif count:
                assert f"| {name} | {' x '.join(map(str, x.shape[1:]))} | {count:,} |" in text
        assert f"| batch normalisation | | {norms:,} |" in text
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in text


@pytest.mark.parametrize("training", [False, True])
def test_the_networks_by_hand_are_the_librarys(steps, training):
    """At the lesson's sizes, with the same weights: the same images, the same logits."""
    tinyconv.manual_seed(1)
    theirs = models.dcgan(scale="lesson")
    ours = steps[8].generator((64, 32), 1, 7, 64), steps[8].discriminator((32, 64), 1, 7)
    for mine, other in zip(ours, (theirs.generator, theirs.discriminator), strict=True):
        mine.load_state_dict(other.state_dict())
        mine.train(training)
        other.train(training)
    z = tinyconv.tensor(theirs.latent(5))
    with tinyconv.no_grad():
        images, wanted = ours[0](z).numpy(), theirs.generator(z).numpy()
        np.testing.assert_array_equal(images, wanted)
        x = tinyconv.tensor(np.random.default_rng(1).uniform(-1, 1, images.shape).astype(np.float32))
        np.testing.assert_array_equal(ours[1](x).numpy(), theirs.discriminator(x).numpy())
    assert np.ptp(wanted) > 0


def test_in_ds_turn_gs_statistics_move_unless_it_is_held(steps):
    tinyconv.manual_seed(2)
    model = models.dcgan(scale="lesson")
    before, z = model.state_dict(), tinyconv.tensor(model.latent(10))
    assert steps[8].noted(model, z, lambda network: nullcontext()) > 1e-3
    assert steps[8].noted(model, z, held) == 0
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(before[name]), err_msg=name)


def test_a_batch_of_both_kinds_is_another_function(steps):
    """Images of one pixel, whose normalised value is the logit. Alone, those below their mean are called made."""
    norm = nn.BatchNorm2d(1)
    model = SimpleNamespace(discriminator=nn.Sequential(norm, nn.Flatten(0)))
    real, fake = (tinyconv.tensor(np.float32(v).reshape(-1, 1, 1, 1)) for v in ([7, 8, 9], [1, 1, 4, 4]))
    assert steps[8].told_right(model, real, fake) == {"alone": 0.5, "mixed": 1.0}  # means 2.5 and 34 / 7
    assert norm.running_mean.item() == 0, "nothing is noted"


# ----------------------------------------------------------------------------------------------------- step 9: features


@pytest.mark.parametrize(("plan", "count"), [("SVHN", 7168), ("CIFAR", 28672)])
def test_as_many_features_as_the_papers(steps, plan, count):
    judge = steps[9].convolutions(*getattr(steps[9], plan))
    x = tinyconv.tensor(np.random.default_rng(0).uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32))
    found = steps[9].by_hand(judge, x)
    assert found.shape == (2, count)
    np.testing.assert_allclose(found, discriminator_features(judge, x.numpy()), rtol=1e-5, atol=1e-6)


def test_features_are_of_images_as_d_sees_them(steps):
    model, sets = steps[9].build(4), steps[9].parts(30)
    steps[9].settle(model, sets["learn"][0])
    for name, (images, _) in sets.items():
        found = steps[9].features(model, sets)[name]
        wanted = steps[9].by_hand(model.discriminator, model.scaled(tinyconv.tensor(images)))
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        assert found.shape == (30, 16 * 48)
        np.testing.assert_array_equal(steps[9].features(None, sets)[name], images.reshape(30, 784))


def test_d_has_the_statistics_of_the_real_images(steps):
    """Of the second convolution's maps; whatever was noted before, and no weight moves."""
    model, images = steps[9].build(5), steps[9].digits("train").images[:64]
    before = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    model.discriminator.bn2.running_mean.data[...] = 7
    assert steps[9].settle(model, images) is model
    x = model.scaled(tinyconv.tensor(images))
    for layer in list(model.discriminator.children())[:3]:
        x = layer(x)
    maps = x.detach().numpy().astype(np.float64)
    np.testing.assert_allclose(model.discriminator.bn2.running_mean.numpy(), maps.mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(model.discriminator.bn2.running_var.numpy(), maps.var((0, 2, 3)), rtol=1e-3)
    assert not model.discriminator.training
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.detach().numpy(), before[name])


def test_level_features_have_the_same_mean_norm_in_both_layers(steps):
    rng = np.random.default_rng(7)
    given = {name: rng.random((20, 5)) * [1, 1, 9, 9, 9] for name in ("learn", "test")}
    found = steps[9].level(given, 2)
    for cut in (slice(0, 2), slice(2, None)):
        assert np.linalg.norm(found["learn"][:, cut], axis=1).mean() == pytest.approx(1)
        np.testing.assert_allclose(found["test"][:, cut] / found["learn"][:1, cut],
                                   given["test"][:, cut] / given["learn"][:1, cut])  # fmt: skip
    model, sets = steps[9].build(4), steps[9].parts(10)
    first = steps[9].features(model, sets)["learn"][:, : 16 * 16]
    maps = discriminator_features(model.discriminator, 2 * sets["learn"][0] - 1, ["lrelu1"])
    np.testing.assert_array_equal(first, maps, err_msg="256 are the first layer's")


def test_labels_are_drawn_by_the_seed_from_the_digits_to_learn(steps, monkeypatch):
    """A cost is chosen on the 500 digits that follow, the error is that of the test digits."""
    train, test, seen = data.mnist(), data.mnist("test"), []
    sets = steps[9].parts()
    assert {name: len(labels) for name, (_, labels) in sets.items()} == {"learn": 4500, "choose": 500, "test": 1000}
    np.testing.assert_array_equal(sets["choose"][1], train.labels[4500:])
    np.testing.assert_array_equal(sets["test"][1], test.labels)
    places = {name: np.arange(len(labels), dtype=np.float64)[:, None] for name, (_, labels) in sets.items()}

    def judge(x, y, choose, choose_labels, x_test, y_test, costs):
        seen.append(x[:, 0].astype(int))
        np.testing.assert_array_equal(y, train.labels[seen[-1]])
        np.testing.assert_array_equal(choose_labels, train.labels[4500:])
        assert len(x_test) == len(y_test) == 1000 and costs == (0.003, 0.01, 0.03)
        return type("Found", (), {"error": len(seen) / 10})

    monkeypatch.setattr(steps[9], "svm_error", judge)
    found = steps[9].errors({"a": places, "b": places}, sets, 100, 6, 2)
    assert found == {"a": [0.1, 0.3], "b": [0.2, 0.4]}
    np.testing.assert_array_equal(seen[0], seen[1], err_msg="both kinds learn the same digits")
    assert set(seen[0]) != set(seen[2]), "a draw of its own"
    assert len(set(seen[0])) == 100
    steps[9].errors({"a": places}, sets, 100, 7, 1)
    assert set(seen[-1]) != set(seen[0])


def test_an_error_is_that_of_the_librarys_machines(steps):
    sets = steps[9].parts(60)
    kinds = {"pixels": steps[9].features(None, sets)}
    (found,) = steps[9].errors(kinds, sets, 60, 0, 1)["pixels"]
    given = [part for name in sets for part in (kinds["pixels"][name], sets[name][1])]
    assert found == pytest.approx(svm_error(*given, (0.003, 0.01, 0.03)).error, abs=0.02), "the order is another"


# ------------------------------------------------------------------------------------------------------ step 10: LAPGAN


@pytest.mark.parametrize(("shape", "levels"), [((2, 1, 28, 28), 2), ((1, 3, 16, 8), 3)])
def test_the_pyramid_by_hand_is_the_librarys(steps, shape, levels):
    images = np.random.default_rng(levels).random(shape)
    parts, library = steps[10].split(images, levels), pyramid.laplacian_pyramid(images, levels)
    for ours, theirs in zip([*parts, steps[10].join(parts)], [*library, images], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(steps[10].join(parts), pyramid.collapse(parts), atol=1e-12)


def test_the_rival_has_as_many_parameters(steps):
    count = sum(p.numel() for p in models.lapgan(scale="lesson").parameters())
    rival = steps[10].rival(count)
    assert sum(p.numel() for p in rival.parameters()) == pytest.approx(count, rel=0.01)
    assert rival.image_shape == (1, 28, 28)


def test_the_smallest_networks_learn_alone_first(steps, monkeypatch):
    seen = []
    monkeypatch.setattr(steps[10], "train_gan", lambda model, images, **how: seen.append((model, images, how)))
    model = models.lapgan(scale="lesson")
    steps[10].learn(model, 3, 9, 50, 2, recipe="another")
    (first, small, early), (second, large, late) = seen
    assert first is model.coarse and second is model
    np.testing.assert_allclose(small.images, pyramid.down(pyramid.down(large.images)), atol=1e-6)
    assert len(small) == len(large) == 50
    assert early == {"rates": (2e-3, 1e-3), "seed": 2, "progress": False, "epochs": 9}
    assert late == {"recipe": "another", "seed": 2, "progress": False, "epochs": 3}


def test_what_is_said_of_the_recipe_is_the_librarys(steps):
    recipe, text = RECIPES["lapgan", "lesson"], (LESSON / "README.md").read_text("utf-8")
    assert (recipe.discriminator, recipe.generator) == steps[10].RATES
    assert f"(LAPGAN: {recipe.discriminator} and {recipe.generator}, batches of {recipe.batch_size}," in text
    assert f"LAPGAN, {steps[10].ALL * 5000 // recipe.batch_size} steps of all levels" in text
    assert f"GAN of as many parameters, {steps[10].SINGLE * 50:,} steps" in text


def test_stages_are_the_samples_of_every_size(steps):
    tinyconv.manual_seed(6)
    model = models.lapgan(scale="lesson")
    z = model.latent(4, 1)
    found = steps[10].stages(model, z)
    assert list(found) == ["7x7", "14x14", "enlarged", "28x28"]
    np.testing.assert_allclose(found["28x28"], model.sample(z), atol=1e-6)
    np.testing.assert_allclose(found["enlarged"], pyramid.up(found["14x14"]), atol=1e-6)
    assert np.abs(found["28x28"] - found["enlarged"]).max() > 1e-3
    for name, images in zip(("28x28", "14x14", "7x7"), model.stages(tinyconv.tensor(z)), strict=True):
        np.testing.assert_allclose(found[name], np.clip((images.detach().numpy() + 1) / 2, 0, 1), atol=1e-6)


def test_tiles_enlarge_each_pixel(steps):
    found = steps[10].tiles(np.arange(8.0).reshape(2, 1, 2, 2), side=4)
    np.testing.assert_array_equal(found, np.repeat([[0, 0, 1, 1, 4, 4, 5, 5], [2, 2, 3, 3, 6, 6, 7, 7]], 2, axis=0))


# ------------------------------------------------------------------------------------------------------------- scripts


@pytest.mark.slow
@pytest.mark.parametrize("number", [8, 9, 10])
def test_the_step_runs(number, tmp_path):
    (script,) = LESSON.glob(f"step{number}_*.py")
    check_step(script)
    text = run_step(script, tmp_path)
    for wanted in {
        8: ("together 36,087,940; the library's 36,087,940", "filters of 5x5: 4, 6, 9 stamps", "by 0.000 in held()"),
        9: ("= 7,168 features", "= 28,672 features", "768 features, by hand and the library's: 0e+00 apart"),
        10: ("the library's parts 0e+00 apart", "LAPGAN: 150,918 parameters", "GAN: 149,945 parameters"),
    }[number]:
        assert wanted in text
    assert "half a minute" not in text, "not of one epoch of 100 images"
    assert len(re.findall(r"^figure: ", text, re.MULTILINE)) == {8: 3, 9: 1, 10: 2}[number]


# ----------------------------------------------------------------------------------------------------------- the claims


@pytest.fixture
def untrained(claims, steps, monkeypatch):
    """Trainings that only note what they are given, and how the weights began."""
    seen = []

    def train(model, images, **how):
        weights = next(model.generator.parameters()).detach().numpy().copy() if hasattr(model, "generator") else None
        seen.append((model, len(images), how, weights))
        rows = [{"epoch": k, "step": 50 * k, "discriminator_accuracy": 1.0, "train_loss": 0.1} for k in (1, 2, 3)]
        return type("History", (), {"rows": rows, "last": rows[-1]})

    for module in (claims, steps[9], steps[10]):
        monkeypatch.setattr(module, "train_gan", train)
    return seen


def test_features_compares_one_network_before_and_after(claims, steps, untrained, monkeypatch):
    """The seed gives weights and labels; the trained D begins as the random one."""
    given = []

    def errors(kinds, sets, count, seed, draws):
        given.append((kinds, count, seed, draws))
        return {kind: [0.25] * draws for kind in kinds}

    monkeypatch.setattr(steps[9], "errors", errors)
    run = claims.measure_features(3)
    ((model, n, how, weights),) = untrained
    assert (n, how) == (4500, {"epochs": 33, "seed": 3, "progress": False})
    np.testing.assert_array_equal(weights, next(steps[9].build(3).generator.parameters()).detach().numpy())
    assert [part[1:] for part in given] == [(100, 3, 5), (1000, 3, 1)]
    kinds = given[0][0]
    assert list(kinds) == ["trained", "random", "pixels", "trained, level", "random, level"]
    np.testing.assert_allclose(kinds["trained"]["test"], kinds["random"]["test"], err_msg="nothing was learnt here")
    assert kinds["pixels"]["learn"].shape == (4500, 784) and kinds["random"]["learn"].shape == (4500, 768)
    assert run["100"] == run["1,000"] == dict.fromkeys(kinds, 0.25)


def test_lapgan_and_gan_have_their_own_epochs(claims, untrained):
    run, measured_by = claims.measure_lapgan(4), Recipe(2e-3, 1e-3, 0.5, 20, 4, hold=0.4)
    seen = [(n, how.get("rates"), how["epochs"], how.get("recipe")) for _, n, how, _ in untrained]
    assert seen == [(5000, (2e-3, 1e-3), 40, None), (5000, None, 4, measured_by), (5000, None, 90, None)]
    assert run["verdict"] == dict.fromkeys(("LAPGAN", "GAN"), "the generator has collapsed"), "nothing was learnt here"
    assert run["parameters"] == {"LAPGAN": 150918, "GAN": 149945}
    images = data.mnist().images[:5000].astype(np.float32) / 255
    assert run["data"] == pytest.approx({"sharpness": sharpness(images), "spread": spread(images)}, rel=1e-5)
    lap, gan = untrained[1][0], untrained[2][0]
    assert run["LAPGAN"]["sharpness"] == pytest.approx(sharpness(lap.sample(1000, 4)))
    assert run["GAN"]["spread"] == pytest.approx(spread(gan.sample(1000, 4)))
    tinyconv.manual_seed(4)
    began = next(models.lapgan(scale="lesson").coarse.parameters()).detach().numpy()
    np.testing.assert_array_equal(next(lap.coarse.parameters()).detach().numpy(), began)


def test_dcgan_learns_clothes_by_the_recipe_and_a_collapse_is_named(claims, untrained):
    run = claims.measure_dcgan(5, (300, None))
    ((model, n, how, _),) = untrained
    assert (model.config["builder"], n, how) == ("dcgan", 300, {"epochs": None, "seed": 5, "progress": False})
    images = data.fashion_mnist().images[:300].astype(np.float32) / 255
    assert run["data"]["spread"] == pytest.approx(spread(images), rel=1e-5)
    assert run["samples"]["spread"] < 0.1 * run["data"]["spread"], "nothing was learnt here"
    assert run["verdict"] == "the generator has collapsed"


def features_run(trained, random, pixels):
    """Return what the claim on features stores."""
    errors = {"trained": trained, "random": random, "pixels": pixels, "trained, level": 0.9, "random, level": 0.0}
    return {"100": errors, "1,000": errors, "seconds": 1.0}


@pytest.mark.parametrize(
    ("errors", "holds"), [((0.1, 0.2, 0.3), True), ((0.2, 0.1, 0.3), False), ((0.1, 0.3, 0.2), False)]
)
def test_trained_before_random_before_pixels(claims, errors, holds):
    assert claims.verdict_features([features_run(*errors)] * 3)[0] is holds


@pytest.mark.parametrize(("lapgan", "gan", "holds"), [(0.03, 0.01, True), (0.03, 0.05, True), (0.01, 0.02, False)])
def test_sharpness_is_compared_as_a_ratio(claims, lapgan, gan, holds):
    """The data's is 0.032: 0.05 is further away than 0.03, and 0.01 is further than 0.02."""
    kinds = {"data": 0.032, "LAPGAN": lapgan, "GAN": gan}
    run = {kind: {"sharpness": value, "spread": 0.1} for kind, value in kinds.items()}
    run |= {"seconds": {"LAPGAN": 2.0, "GAN": 1.0}, "parameters": {"LAPGAN": 1000, "GAN": 999}}
    found, text = claims.verdict_lapgan([run] * 3)
    assert found is holds and "wrong" not in text, "the first runs did not store what went wrong"
    failed = (None, "the generator has collapsed", None)
    _, text = claims.verdict_lapgan([{**run, "verdict": {"LAPGAN": None, "GAN": one}} for one in failed])
    assert "; LAPGAN nothing wrong; GAN nothing wrong / the generator has collapsed / nothing wrong; param" in text


@pytest.mark.parametrize(("failed", "holds"), [([None] * 3, True), ([None, "the generator has collapsed"], False)])
def test_nothing_may_be_wrong_with_any_seed(claims, failed, holds):
    judged = {"sharpness": 0.01, "spread": 0.1}
    run = {"data": judged, "samples": judged, "accuracy": 0.7, "steps": 750, "seconds": 60.0}
    found, text = claims.verdict_dcgan([{**run, "verdict": one} for one in failed])
    assert found is holds
    assert ("collapsed" in text) is not holds


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("features", (200, 1)), ("lapgan", (100, 1, 1, 1)), ("dcgan", (200, 1))])
def test_a_claim_on_images_can_be_measured(claims, name, size):
    measure, verdict = claims.CLAIMS[name]
    holds, text = verdict([measure(0, size)])
    assert holds in (True, False)
    assert "nan" not in text


def test_these_claims_are_among_the_lessons(claims):
    assert list(claims.CLAIMS) == CLAIMS
    assert set(CLAIMS) <= set(load(LESSON / "claims.py", "lesson_07_claims_with_images").CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_readme_says_what_was_measured_on_images(claims, name):
    check_claim(LESSON, claims, name)
