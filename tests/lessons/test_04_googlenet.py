"""Lesson 04, the steps: their network is the library's, what they compute by hand is what the library computes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from _exercises import LESSONS, load
from _steps import check_step, run_step

import tinyconv
from tinyconv import models, nn, views
from tinyconv.lesson import steps_of
from tinyconv.nn import functional as F
from tinyconv.training_state import TrainState

LESSON = LESSONS / "04_googlenet"
STEPS = steps_of(LESSON)


@pytest.fixture(scope="module")
def step6():
    return load(LESSON / "step6_assemble.py", "lesson_04_step6")


@pytest.fixture(scope="module")
def step7():
    return load(LESSON / "step7_train.py", "step7_train")  # the name by which steps 8 and 9 import it


@pytest.fixture(scope="module")
def step8(step7):
    return load(LESSON / "step8_class_maps.py", "lesson_04_step8")


@pytest.fixture(scope="module")
def step9(step7):
    return load(LESSON / "step9_views.py", "lesson_04_step9")


# ------------------------------------------------------------------------------------------------------ the network


def test_the_assembled_network_has_the_librarys_parameters(step6):
    ours, theirs = step6.GoogLeNet(device="meta"), models.googlenet(device="meta")
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in ours.parameters()) == 13_378_280
    summary = tinyconv.summary(ours, (3, 224, 224))
    assert sum(row.params for row in summary.rows if not row.name.startswith("aux")) == 6_998_552
    assert summary.total_macs == 1_582_671_872


def test_all_three_heads_compute_what_the_librarys_do(step6):
    """The same weights and biases, dropout off; in training, when all three outputs are there."""
    tinyconv.manual_seed(0)
    ours, theirs = step6.GoogLeNet(7), models.googlenet(7, device="meta")
    for (name, mine), (_, original) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        if name.endswith("bias"):
            mine.data = (0.1 * tinyconv.randn(*mine.shape)).data
        original.data = mine.data  # the same memory
    for module in [*ours.modules(), *theirs.modules()]:
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    image = tinyconv.randn(1, 3, 224, 224)
    with tinyconv.no_grad():
        mine, wanted = ours.train()(image), theirs.train()(image)
        tested = ours.eval()(image).numpy()
    assert len(mine) == len(wanted) == 3
    for scores, original in zip(mine, wanted, strict=True):
        assert scores.shape == (1, 7) and original.numpy().std() > 1e-3
        np.testing.assert_allclose(scores.numpy(), original.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(tested, mine[0].numpy())


def test_the_assembled_network_starts_as_the_port_does(step6):
    model = step6.GoogLeNet(10)
    for layer, fans in ((model.conv1.conv, 49 * (3 + 64)), (model.aux1.fc1, 2048 + 1024)):
        bound = (6 / fans) ** 0.5  # Glorot & Bengio 2010, eq. 16
        assert 0.99 * bound < np.abs(layer.weight.data).max() <= bound * (1 + 1e-6)
    classifiers = {"fc.bias", "aux1.fc2.bias", "aux2.fc2.bias"}
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            np.testing.assert_array_equal(p.data, np.float32(0.0 if name in classifiers else 0.2), err_msg=name)


# -------------------------------------------------------------------------------------------------- what steps compute


def test_train_and_test_pictures_share_no_clothes_and_show_them_whole(step7):
    train, test = (step7.pictures(split, 40) for split in ("train", "test"))
    assert train.images.dtype == np.uint8 and train.images.shape == test.images.shape == (40, 1, 48, 66)
    assert len({image.tobytes() for image in np.concatenate([train.images, test.images])}) == 80
    drawn = step7.Scenes(40, split="test", items=("fashion",), background="black", colours=("white",), objects=1,
                         size=66, sides=(20, 30))  # fmt: skip
    for i, image in enumerate(test.images):
        assert image.astype(int).sum() == np.rint(255 * drawn[i].image[0]).astype(int).sum(), "rows were cut off"


def test_the_loaders_sample_parts_for_training_and_take_the_middle_for_testing(step7):
    train, test = step7.loaders(32, 5)
    assert next(iter(train)).images.shape == (32, 1, 36, 36)
    batch = next(iter(test)).images.numpy()
    scaled = views.rescale(step7.pictures("test", 5).images.astype(np.float32) / 255, 41)
    assert scaled.shape == (5, 1, 41, 56)
    np.testing.assert_allclose(batch, step7.normaliser()(scaled[:, :, 2:38, 10:46]), atol=1e-5)


def test_the_callback_keeps_losses_and_the_mean_of_the_weights(step7, monkeypatch, capsys):
    monkeypatch.setattr(step7, "MEAN_FROM", 2)
    tinyconv.manual_seed(0)
    model = step7.build()
    watch = step7.Watch()
    state = TrainState(model, None, None)
    state.batch = next(iter(step7.loaders(32, 1)[0]))
    kept = []
    for step, epoch in enumerate((1, 2, 2, 3), 1):
        for p in model.parameters():
            p.data += np.float32(0.01 * step)
        state.step, state.epoch = step + 1, epoch  # not 1, which would print
        with tinyconv.no_grad():
            state.outputs = model.train()(state.batch.images)
        watch.on_step(state)
        if epoch >= 2:
            kept.append(model.fc.weight.data.copy())
    assert np.shape(watch.losses) == (4, 3)
    total = watch.losses[-1][0] + 0.3 * (watch.losses[-1][1] + watch.losses[-1][2])
    assert step7.GoogLeNet.loss(state.outputs, state.batch.labels).item() == pytest.approx(total, rel=1e-5)
    mean = watch.averaged(model, 3)
    np.testing.assert_allclose(mean.fc.weight.data, np.mean(kept, axis=0), rtol=1e-4, atol=1e-6)
    assert not np.array_equal(mean.fc.weight.data, model.fc.weight.data), "the model itself stays as it is"
    assert capsys.readouterr().out == "mean of the weights of 3 of 3 steps\n"
    watch.averaged(model, 4)
    assert "3 of 4 steps; the others were before --resume" in capsys.readouterr().out


def test_without_a_mean_the_weights_are_the_models(step7, capsys):
    model = step7.build()
    found = step7.Watch().averaged(model, 5)
    for mine, p in zip(found.parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(mine.data, p.data)
    assert "0 of 5 steps" in (said := capsys.readouterr().out) and "the model as it is" in said


def test_the_accuracy_of_main_is_what_evaluate_finds(step7):
    tinyconv.manual_seed(3)
    model, loader = step7.build(), step7.loaders(32, 120)[1]
    wanted = tinyconv.evaluate(copy.deepcopy(model), loader)["accuracy"]
    found = step7.accuracies(model, loader)
    assert list(found) == ["main", "aux1", "aux2"] and found["main"] == pytest.approx(wanted)
    assert all(0 <= share <= 1 for share in found.values())
    assert not any(layer._forward_hooks for layer in model.modules()), "the hooks stay"


def test_class_maps_average_to_the_scores_at_any_size(step7, step8):
    tinyconv.manual_seed(1)
    model = step7.build().eval()
    for p in model.fc.parameters():
        p.data += tinyconv.randn(*p.shape).data
    images = tinyconv.randn(2, 1, 108, 72).numpy()
    maps, scores = step8.class_maps(model, images)
    assert maps.shape == (2, 10, 13, 9)  # 108, 54, 27, 13 and 72, 36, 18, 9: three pools, rounded up
    np.testing.assert_allclose(maps.mean((2, 3)), scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores, views.outputs(model, images), rtol=1e-5, atol=1e-5)
    assert not model.inception_5b._forward_hooks, "the hook stays"


def test_a_place_of_the_class_maps_is_eight_pixels(step7, step8):
    """A bright dot that moves by 8 pixels moves the maps by one place, away from the borders."""
    tinyconv.manual_seed(2)
    model = step7.build().eval()
    image = np.zeros((2, 1, 240, 240), np.float32)
    image[0, 0, 120:128, 120:128] = image[1, 0, 120:128, 128:136] = 5.0
    maps, _ = step8.class_maps(model, image)
    middle = slice(8, 22)
    np.testing.assert_allclose(maps[1, :, middle, 9:23], maps[0, :, middle, 8:22], rtol=1e-3, atol=1e-4)
    assert maps[0].std() > 1e-3 and step8.STEP == 8


def test_the_centre_of_a_place_is_where_step_eight_draws_it(step8):
    """Through the three pools (convolutions are symmetric) place 4 sees as much on its left as on its right."""
    dots = tinyconv.tensor(np.eye(72, dtype=np.float32).reshape(72, 1, 1, 72))
    for _ in range(3):
        dots = F.max_pool2d(dots, (1, 3), (1, 2), ceil_mode=True)
    pixels = np.flatnonzero(dots.numpy()[:, 0, 0, 4])
    assert pixels.mean() + 0.5 == 4 * step8.STEP + step8.FIRST  # the middle of pixel 7 lies at 7.5


def test_the_views_of_step_nine_are_the_librarys(step7, step9):
    assert step9.SIDES == (41, 46, 51, 57)
    tinyconv.manual_seed(4)
    model = step7.build()
    images = tinyconv.randn(2, 1, 48, 66).numpy()
    each = step9.all_views(model, images)
    assert each.shape == (2, 144, 10)
    wanted = views.googlenet_views(model, images, 36, sides=step9.SIDES)
    np.testing.assert_allclose(each.mean(1), wanted, rtol=1e-4, atol=1e-6)


# -------------------------------------------------------------------------------------------------------- the steps


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stem)
def test_a_step_says_what_it_needs_and_names_the_next(step):
    check_step(step)


def test_one_step_trains():
    assert [step.name for step in STEPS if step.name.endswith("_train.py")] == ["step7_train.py"]


PRINTED = {  # what the prose of a step promises, and no other test sees
    "step1_one_by_one": ["its gradients pass the check", "caught by the gradient check", "matrices have rank 16"],
    "step2_inception_module": [
        "all gradients pass the check\nAssigned", "Assigned: wrong gradient", "cannot go unnoticed: cat:",
        "likely cause", "Swapped: off from the library's module by 2e+01\n  all gradients pass the check",
    ],
    "step3_costs": ["163,328    387,072", "naive modules on top of each other: maps 3a 416, 3b 832", "5b 4,944"],
    "step4_auxiliary_heads": [
        "3,188,840 parameters", "3,190,888 parameters", "the heads are 48%",
        "not reached by aux2: fc, inception_4e, inception_5a, inception_5b",
    ],
    "step5_no_fully_connected": [
        "sum where mean belongs?", "rounded up                112   56   28   14    7",
        "rounded down              112   55   27   13    6", "rounded up [2 4 6 7], with padding [1 3 5 7]",
    ],
    "step6_assemble": ["6,998,552", "13,378,280", "28 MB of weights without the heads, 53.5", "googlenet(): True"],
    "step9_views": ["144 views, 144 different ones", "144 views, 48 different ones"],
    "step10_equal_cost": ["21,674 parameters, 1,497,888", "17,165 parameters, 1,569,240"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("script", STEPS, ids=lambda script: script.stem)
def test_a_step_runs_and_prints_what_it_promises(script, tmp_path):
    printed = run_step(script, tmp_path)
    assert "next: " in printed
    assert [text for text in PRINTED.get(script.stem, []) if text not in printed] == []


@pytest.mark.slow
def test_a_training_that_is_done_can_be_resumed(tmp_path):
    script = LESSON / "step7_train.py"
    assert "mean of the weights of 3 of 3 steps\n" in run_step(script, tmp_path)
    again = run_step(script, tmp_path, "--resume")
    assert "0 of 3 steps; the others were before --resume, and are lost: no mean, the model as it is" in again
