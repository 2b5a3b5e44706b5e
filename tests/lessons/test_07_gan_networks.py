"""Lesson 07, steps 5 to 7: networks and steps are the library's, and judged is what is said."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from _exercises import LESSONS, load
from _steps import check_step, run_step

import tinyconv
from tinyconv import data, models, nn
from tinyconv.checkpoint import Checkpoint
from tinyconv.epoch_pictures import even
from tinyconv.generative.parzen import Parzen, log_likelihood
from tinyconv.generative.training import PAPER, RECIPES
from tinyconv.lesson import steps_of
from tinyconv.random import training_step
from tinyconv_kernels import cpu

LESSON = LESSONS / "07_gan"
STEPS = steps_of(LESSON)[4:7]


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims_gan.py", "lesson_07_claims_gan")


@pytest.fixture(scope="module")
def steps(claims):
    return {n: claims._step(name) for n, name in ((5, "step5_networks"), (6, "step6_train"), (7, "step7_look_inside"))}


@pytest.fixture
def figures(steps, monkeypatch):
    """The figures that step 7 would have saved."""
    found = {}
    monkeypatch.setattr(steps[7].lesson, "save", lambda fig, name, *, alt: found.update({name: fig}))
    yield found
    for fig in found.values():
        steps[7].plt.close(fig)


# ----------------------------------------------------------------------------------------------------- step 5: networks


@pytest.mark.parametrize("shape", [(3, 4, 5, 1), (2, 3, 3, 6)])
def test_maxout_in_loops_is_the_kernels(steps, shape):
    x = np.random.default_rng(0).integers(-3, 3, shape).astype(np.float32)  # with ties
    found = []
    for forward, backward in steps[5].WAYS.values():
        y, switches, dx = np.empty((*shape[:2], shape[3]), x.dtype), np.empty((*shape[:2], shape[3]), int), x + np.nan
        forward(x, y, switches)
        backward(1 + y, switches, dx)
        found.append((y, switches, dx))
    assert len(found) == 3
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_kernels_that_are_timed_are_the_librarys(steps):
    assert steps[5].WAYS["the kernel"] == (cpu.maxout.maxout_forward, cpu.maxout.maxout_backward)


def test_times_are_kept_apart_and_wrong_gradients_found(steps):
    before, pair = tinyconv.get_num_threads(), steps[5].WAYS["NumPy"]
    times = steps[5].time_it({"loops": pair, "others": pair}, 2, np.random.default_rng(0))
    assert list(times) == ["loops", "others"] and min(times.values()) > 0
    assert tinyconv.get_num_threads() == before
    wrong = (pair[0], lambda dy, switches, dx: pair[1](dy, 0 * switches, dx))
    with pytest.raises(AssertionError):
        steps[5].time_it({"loops": pair, "others": wrong}, 2, np.random.default_rng(0))

    def broken(*given):
        raise RuntimeError("no kernel")

    tinyconv.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="no kernel"):
            steps[5].time_it({"loops": (broken, broken)}, 2, np.random.default_rng(0))
        assert tinyconv.get_num_threads() == 2, "put back whatever goes wrong"
    finally:
        tinyconv.set_num_threads(before)


def test_the_gradient_check_finds_both_slips(steps, capsys):
    steps[5].check_gradients()
    found = re.findall(r"^gradient check, (.*) of the pieces learns: (\w+)", capsys.readouterr().out, re.MULTILINE)
    assert found == [("the winner", "passes"), ("all", "caught"), ("the second", "caught")]


def test_the_networks_by_hand_are_the_librarys(steps):
    """The same weights from the same seed, the same images, the same logits, with and without dropout."""
    tinyconv.manual_seed(3)
    G, D = steps[5].networks()
    tinyconv.manual_seed(3)
    theirs = models.gan()
    ours = [*G.parameters(), *D.parameters()]
    assert [p.shape for p in ours] == [p.shape for p in theirs.parameters()]
    for a, b in zip(ours, theirs.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    z = tinyconv.tensor(theirs.latent(4))
    for training in (False, True):
        for module in (G, D, theirs):
            module.train(training)
        logits = []
        for run in (lambda: D(100 * G(z)), lambda: theirs.judge(100 * theirs.fake(z))):
            with training_step(5, range(4)), tinyconv.no_grad():
                logits.append(run().numpy())
        np.testing.assert_array_equal(*logits)
        assert logits[0].std() > 0


def test_the_released_networks(steps):
    """Goodfellow et al. 2014: layers, dropout and initial weights."""
    G, D = steps[5].networks()
    sizes = [(p.shape[1], p.shape[0]) for net in (G, D) for p in net.parameters() if p.ndim > 1]
    assert sizes == [(100, 1200), (1200, 1200), (1200, 784), (784, 240 * 5), (240, 240 * 5), (240, 1)]
    assert sum(p.numel() for net in (G, D) for p in net.parameters()) == 3_735_425
    assert [layer.p for layer in D.modules() if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]
    for net, limit in ((G, 0.05), (D, 0.005)):
        edges = [np.abs(p.detach().numpy()).max() for p in net.parameters() if p.ndim > 1 and p.numel() > 1000]
        np.testing.assert_allclose(edges, limit, rtol=0.01)
        assert all((p.detach().numpy() == 0).all() for p in net.parameters() if p.ndim == 1)


def test_the_table_has_the_librarys_numbers(steps, capsys):
    steps[5].print_table()
    text = capsys.readouterr().out.replace(",", "")
    for row in [(1200, 121200), (1200, 1441200), (784, 941584), (1200, 942000), (1200, 289200), (1, 241)]:
        assert re.search(rf" {row[0]} +{row[1]} ", text), row
    assert len(re.findall(r"^(?:generator|discriminator)\.", text, re.MULTILINE)) == 6


# ----------------------------------------------------------------------------------------------------- step 6: training


@pytest.mark.parametrize("seed", [0, 4])
def test_one_step_by_hand_ends_with_the_librarys_weights(steps, seed):
    still, moved, off = steps[6].compare(seed, 20)
    assert still and off == 0
    assert moved == pytest.approx(5e-4, rel=0.01), "Adam's first step is its rate"


def test_for_d_made_images_are_numbers(steps, monkeypatch):
    """Even if D's optimizer had G's weights too, they would stay in D's part: no gradient comes to them."""
    tinyconv.manual_seed(0)
    model, between = models.gan(scale="lesson"), []
    before, everything, adam = steps[6].weights(model), list(model.parameters()), steps[6].optim.Adam
    monkeypatch.setattr(steps[6].optim, "Adam", lambda parameters, *settings: adam(everything, *settings))
    real = tinyconv.tensor(np.random.default_rng(0).random((4, 1, 28, 28)).astype(np.float32))
    with training_step(0, range(4)):
        steps[6].one_step(model, real, lambda: between.append(steps[6].weights(model)))
    assert steps[6].most(before["generator"], between[0]["generator"]) == 0
    assert steps[6].most(before["discriminator"], between[0]["discriminator"]) > 0
    assert steps[6].most(before["generator"], steps[6].weights(model)["generator"]) > 0


def test_what_is_learnt_and_what_is_held_out(steps, monkeypatch):
    """4,500 digits, 5,000 pieces of clothing; windows are chosen on the 500 digits that follow."""
    seen = []
    monkeypatch.setattr(steps[6], "train_gan", lambda model, images, **how: seen.append((images, how)))
    steps[6].learn("networks", "gan", seed=2)
    steps[6].learn("networks", "dcgan", epochs=1)
    steps[6].learn("networks", "gan", 10)
    assert [len(images) for images, _ in seen] == [4500, 5000, 10]
    assert [how for _, how in seen] == [{"seed": 2}, {"seed": 0, "epochs": 1}, {"seed": 0}]
    train, clothes = data.mnist("train"), data.fashion_mnist("train")
    for i in (0, 9):
        np.testing.assert_array_equal(seen[0][0][i][0], train[i][0])
        np.testing.assert_array_equal(seen[1][0][i][0], clothes[i][0])
    validation, test = steps[6].held_out()
    assert (len(validation), len(test)) == (500, 1000)
    np.testing.assert_array_equal(validation[0], train[4500][0])
    np.testing.assert_array_equal(test[-1], data.mnist("test")[999][0])
    assert [len(part) for part in steps[6].held_out(7)] == [7, 7]


def test_samples_are_judged_by_the_test_digits(steps):
    """Windows around the test digits themselves: they are likelier than around the others."""
    validation, test = steps[6].held_out(60)
    right, wrong = (steps[6].judge(samples, 60) for samples in (test, validation))
    assert right.mean > wrong.mean
    assert right.validation_means.max() == pytest.approx(
        log_likelihood(validation, test, right.sigma).mean(), rel=1e-9
    )  # fmt: skip


def test_what_samples_are_compared_with_are_the_training_digits_alone(steps, monkeypatch):
    """Not the 500 that choose the width; as many as there are samples; by the seed."""
    seen = []
    monkeypatch.setattr(steps[6], "references", lambda *given: seen.append(given))
    steps[6].compared(70, 4500, 9, 3)
    steps[6].compared(70, 20)
    train = data.mnist("train")
    for (images, validation, test, count, seed), n, few, wanted in zip(
        seen, (4500, 20), ((9, 9), (500, 1000)), ((70, 3), (70, 0)), strict=True
    ):
        assert (len(images), (len(validation), len(test)), (count, seed)) == (n, few, wanted)
        np.testing.assert_array_equal(images[-1], train[n - 1][0])
        np.testing.assert_array_equal(validation[0], train[4500][0])
        np.testing.assert_array_equal(test[0], data.mnist("test")[0][0])


def test_the_picture_of_epoch_0_has_the_mean_digit(steps, monkeypatch, tmp_path):
    """That of the first 500, as train_gan would begin; a resumed run has had it."""
    seen = []

    class Watch:
        def __init__(self, model, folder, **how):
            seen.append(how)

        def before(self, model):
            seen.append(model.sample(np.zeros((1, 64), np.float32)))

        def finish(self):
            return []

    monkeypatch.setattr(steps[6], "Watch", Watch)
    monkeypatch.setattr(steps[6], "learn", lambda *given, **how: seen.append((given[1:], how)))
    monkeypatch.setattr(steps[6], "training_curves", lambda *given: None)
    monkeypatch.setattr(steps[6].lesson, "save", lambda fig, name, *, alt: None)
    for resume in (False, True):
        steps[6].watched(models.gan(scale="lesson"), "gan", 600, 180, tmp_path, seed=1, resume=resume)
    (watch, first, (given, how)), rest = seen[:3], seen[3:]
    images = np.stack([data.mnist("train")[i][0] for i in range(600)])
    mean = np.clip(images[:500].mean(axis=0), 1e-3, 1 - 1e-3)
    np.testing.assert_allclose(first[0], mean, atol=1e-6)
    assert np.abs(first[0] - images.mean(axis=0)).max() > 0.01, "not the mean of all"
    assert watch["every"] == 9 and watch["data_spread"] == pytest.approx(steps[6].spread(images))
    assert given == ("gan", 600) and (how["epochs"], how["seed"], how["resume"]) == (180, 1, False)
    assert len(rest) == 2, "no picture of epoch 0"


@pytest.mark.slow
def test_step_6_leaves_two_models_that_can_be_resumed_and_sampled(tmp_path):
    script = LESSON / "step6_train.py"
    text = run_step(script, tmp_path)
    assert "G's are as they were: True" in text and "differ by at most 0.0e+00" in text
    assert "to compare, mean image: " in text
    folder = tmp_path / "tinyconv-output" / "07" / "smoke"
    for name, kind in (("model", "gan"), ("dcgan", "dcgan")):
        assert Checkpoint.read(folder / f"{name}.npz").meta["epoch"] == 1
        model = tinyconv.load(folder / f"{name}.npz")
        assert model.config["builder"] == kind and model.sample(2).shape == (2, 1, 28, 28)
        for file in ("samples.png", "strip.png", "samples.gif", "epoch-0000.png", "epoch-0001.png"):
            assert (folder / f"samples-{kind}" / file).stat().st_size > 0
    before = (folder / "model.npz").read_bytes()
    run_step(script, tmp_path, "--resume")
    assert (folder / "model.npz").read_bytes() == before, "nothing is left to train"


# ------------------------------------------------------------------------------------------------------ step 7: judging


def edges(network):
    """Return the largest weight of each large layer."""
    return [np.abs(p.detach().numpy()).max() for p in network.parameters() if p.ndim > 1 and p.numel() > 1000]


def test_windows_of_a_middle_width_are_likeliest(steps, figures):
    found = steps[7].windows_in_the_plane(200)
    assert list(found) == [0.02, 0.1, 0.5]
    assert found[0.1] > max(found[0.02], found[0.5])
    assert len(figures["windows"].axes) == 3


def test_the_table_of_log_likelihoods_and_its_curves(steps, figures, capsys):
    sigmas = np.array([0.1, 1.0])
    found = {name: Parzen(k, 0.5, 0.1, sigmas, np.array([k, 1.0])) for k, name in enumerate(("GAN", "mean image"))}
    steps[7].print_judgement(found, 200, 4500)
    steps[7].print_judgement(found, 10_000, 4500)
    text = capsys.readouterr().out
    assert "windows around 200 samples or means, 200 training images" in text
    assert "windows around 10,000 samples or means, 4,500 training images" in text
    assert re.search(r"GAN +0\.0 \+- 0\.5, sigma 0\.100", text) and re.search(r"mean image +1\.0 \+- 0\.5", text)
    assert "GAN 225 +- 2, deep GSN 214 +- 1.1, DBN 138 +- 2, stacked CAE 121 +- 1.6" in text
    assert "high variance" in text
    lines = figures["parzen"].axes[0].lines
    assert [line.get_label() for line in lines] == ["GAN", "mean image"]
    np.testing.assert_array_equal(lines[1].get_ydata(), [1.0, 1.0])


def test_samples_and_test_digits_are_as_far_from_the_training_digits_as_is_said(steps, figures, monkeypatch, capsys):
    """Samples that are copies have a distance of 0, test digits that of a search through all pairs."""
    train = np.stack([data.mnist("train")[i][0] for i in range(30)])
    test = np.stack([data.mnist("test")[i][0] for i in range(500)]).reshape(500, 1, 784)
    for name in ("nearest", "interpolations"):
        monkeypatch.setattr(steps[7], name, lambda *given, **how: steps[7].plt.figure())
    steps[7].show(SimpleNamespace(sample=lambda n, seed: train[np.arange(n) % 20]), 30)
    wanted = np.median(np.sqrt(((test - train.reshape(1, 30, 784)) ** 2).sum(axis=2)).min(axis=1))
    text = capsys.readouterr().out
    assert f"nearest training digit: samples 0.00, test digits {wanted:.2f}" in text and wanted > 5
    spreads = [part.std(axis=0).mean() for part in (train[:20], train)]
    assert "spread: samples {:.3f}, training digits {:.3f}".format(*spreads) in text
    assert list(figures) == ["copies", "interpolations"]


@pytest.mark.parametrize(("limit", "figure"), [(None, "rates"), (0.005, "rates-and-weights")])
def test_the_papers_rates_are_the_papers(steps, figures, monkeypatch, limit, figure):
    seen = []
    monkeypatch.setattr(steps[7], "learn", lambda model, name, n, **how: seen.append((model, name, n, how)))
    monkeypatch.setattr(steps[7], "strip", lambda *given, **how: steps[7].plt.figure())
    steps[7].by_the_paper(4500, 21, limit)
    ((model, name, n, how),) = seen
    assert (model.config["arguments"]["scale"], name, n, how["epochs"]) == ("lesson", "gan", 4500, 21)
    assert how["recipe"] is PAPER and list(figures) == [figure]
    assert edges(model.discriminator) == pytest.approx([limit or 784**-0.5, limit or 128**-0.5], rel=0.01)
    assert edges(model.generator) == pytest.approx([0.1] * 3, rel=0.01)
    assert not any(p.data.any() for p in model.parameters() if p.ndim == 1), "all biases 0: train_gan sets the last"
    assert (PAPER.discriminator, PAPER.generator, PAPER.beta1, PAPER.batch_size) == (0.1, 0.1, None, 100)


# ----------------------------------------------------------------------------------------------------------- the README


def cells(first):
    """Return the cells of a table's row after its first one."""
    lines = (LESSON / "README.md").read_text("utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_the_readmes_networks_are_the_librarys():
    both = [models.gan(scale=scale, device="meta") for scale in ("paper", "lesson")]
    for part in ("generator", "discriminator"):
        counts = [sum(p.numel() for p in getattr(model, part).parameters()) for model in both]
        assert cells(f"{part[0].upper()}'s parameters") == [f"{count:,}" for count in counts]
    sizes = [[layer.weight.shape[0] for layer in m.modules() if isinstance(layer, nn.Linear)] for m in both]
    pieces = [next(layer.pieces for layer in m.modules() if isinstance(layer, nn.Maxout)) for m in both]
    for row, (g1, g2, out, d1, d2, one), count, z in zip(
        zip(cells("G"), cells("D"), cells("z"), strict=True), sizes, pieces, both, strict=True
    ):
        assert row[0] == f"{g1:,} ReLU, {g2:,} ReLU, {out} sigmoid"
        assert row[1] == f"{d1 // count} maxout, {d2 // count} maxout, of {count} pieces; {one} logit"
        assert row[2].startswith(f"{z.latent_shape[0]} numbers")


def test_the_lessons_share_of_the_papers_units_and_parameters():
    both = [models.gan(scale=scale, device="meta") for scale in ("lesson", "paper")]
    parameters, units = ([count(model) for model in both] for count in (
        lambda model: sum(p.numel() for p in model.parameters()),
        lambda model: sum(p.shape[1] for p in model.parameters() if p.ndim > 1 and p.shape[1] not in (64, 100, 784)),
    ))  # fmt: skip
    assert units == [2 * (512 + 128), 2 * (1200 + 240)]
    readme = " ".join((LESSON / "README.md").read_text("utf-8").split())
    shares = (100 * small / large for small, large in (units, parameters))
    assert "Not: {:.0f} % of the units and {:.0f} % of the parameters,".format(*shares) in readme


def test_the_strips_rows_are_those_of_the_readme():
    """Step 6 draws every ninth epoch of 180, the strip eight of these."""
    epochs = even(list(range(0, RECIPES["gan", "lesson"].epochs + 1, 9)), 8)
    readme = " ".join((LESSON / "README.md").read_text("utf-8").split())
    assert f"rows for epochs {', '.join(map(str, epochs[:-1]))} and {epochs[-1]}:" in readme


def test_the_readmes_recipe_is_the_librarys():
    recipe = RECIPES["gan", "lesson"]
    assert cells("rates of D, of G") == [
        f"{PAPER.discriminator}, {PAPER.generator}", f"{recipe.discriminator:.4f}, {recipe.generator:.3f}",
    ]  # fmt: skip
    assert cells("epochs, batches of") == [f"{r.epochs}, {r.batch_size}" for r in (PAPER, recipe)]


# ------------------------------------------------------------------------------------------------------------ the files


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stem)
def test_a_step_says_what_it_needs_and_names_the_next(step):
    check_step(step)


def test_one_step_trains():
    assert [step.name for step in steps_of(LESSON) if step.name.endswith("_train.py")] == ["step6_train.py"]


@pytest.mark.slow
@pytest.mark.parametrize("script", [STEPS[0], STEPS[2]], ids=lambda script: script.stem)
def test_a_step_runs(script, tmp_path):
    assert "next: " in run_step(script, tmp_path)
