"""Lesson 03, the steps: their network is the library's, what they compute by hand is what the library computes."""

from __future__ import annotations

import numpy as np
import pytest
from _exercises import LESSONS, load
from _steps import check_step, run_step

import tinyconv
from tinyconv import models, views
from tinyconv.lesson import steps_of
from tinyconv.nn import Sequential

LESSON = LESSONS / "03_vgg"
STEPS = steps_of(LESSON)


@pytest.fixture(scope="module")
def step5():
    return load(LESSON / "step5_assemble.py", "lesson_03_step5")


@pytest.fixture(scope="module")
def step7():
    return load(LESSON / "step7_train.py", "lesson_03_step7")


# ------------------------------------------------------------------------------------------------------ the network


def test_the_assembled_network_has_the_librarys_parameters(step5):
    ours, theirs = step5.VGG16(device="meta"), models.vgg(config="D", device="meta")
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in ours.parameters()) == 138_357_544
    summary = tinyconv.summary(ours, (3, 224, 224))
    assert summary.total_macs == 15_470_264_320
    assert summary.rows[-1].output_shape == (1000,)


def test_its_convolutions_compute_what_the_librarys_do(step5):
    """The same weights, an image of 64 pixels; the fully connected layers only fit images of 224."""
    tinyconv.manual_seed(0)
    theirs = models.vgg(4, config="D", image_size=64, device="meta")
    theirs = theirs[: [name for name, _ in theirs.named_children()].index("flatten")]
    ours = step5.VGG16(4, device="meta")
    for name, layer in theirs.named_children():
        if name.startswith("conv"):
            weight = tinyconv.randn(*layer.weight.shape) * (2 / np.prod(layer.weight.shape[1:])) ** 0.5
            bias = 0.1 * tinyconv.randn(*layer.bias.shape)
            for model in (ours, theirs):
                twin = getattr(model, name)
                twin.weight.data, twin.bias.data = weight.data, bias.data  # the same memory
    image = tinyconv.randn(1, 3, 64, 64)
    with tinyconv.no_grad():
        mine, wanted = ours.features(image).numpy(), theirs(image).numpy()
    assert mine.shape == (1, 512, 2, 2) and mine.std() > 0.1
    np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_whole_network_computes_what_the_librarys_does(step5):
    tinyconv.manual_seed(0)
    ours, theirs = step5.VGG16(1000), models.vgg(device="meta")
    for layer, fans in ((ours.fc7, 4096 + 4096), (ours.conv5_3, 9 * (512 + 512))):
        bound = (6 / fans) ** 0.5  # Glorot & Bengio 2010, eq. 16
        assert 0.999 * bound < np.abs(layer.weight.data).max() <= bound * (1 + 1e-6)
    for (name, mine), (_, original) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        if name.endswith("bias"):
            assert not mine.data.any()
            mine.data = (0.1 * tinyconv.randn(*mine.shape)).data
        original.data = mine.data  # no second copy of 138 million numbers
    image = tinyconv.randn(1, 3, 224, 224)
    ours.eval(), theirs.eval()
    with tinyconv.no_grad():
        mine, wanted = ours(image).numpy(), theirs(image).numpy()
    assert wanted.std() > 0.01
    np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-4 * wanted.std())


# -------------------------------------------------------------------------------------------------- what steps claim


def test_the_training_step_leaves_a_network_for_dense_evaluation(step7):
    model = step7.build()
    dense = models.fully_convolutional(model)
    assert dense.window == (64, 64) and isinstance(model, Sequential)
    sides = {q: dense(tinyconv.zeros(1, 3, q, q)).shape[2] for q in (64, 80, 96, 128)}
    assert sides == {64: 1, 80: 1, 96: 2, 128: 3}  # printed by step 8: floor(q / 32) - 1


def test_train_and_test_pictures_share_no_clothes(step7):
    train, test = (step7.pictures(split, 30) for split in ("train", "test"))
    assert train.images.dtype == np.uint8 and train.images.shape == (30, 3, 64, 64)
    assert step7.scenes("train", 1).split == "train" and step7.scenes("test", 1).split == "test"
    assert len({image.tobytes() for image in np.concatenate([train.images, test.images])}) == 60


def test_the_loaders_resize_and_crop_the_training_images_only(step7):
    train, test = step7.loaders(8, 6)
    assert next(iter(train)).images.shape == (8, 3, 64, 64)
    batch = next(iter(test)).images.numpy()
    normal = test.transform.transforms[-1]
    wanted = normal(step7.pictures("test", 6).images.astype(np.float32) / 255)
    np.testing.assert_allclose(batch, wanted, atol=1e-6)


def test_step_eights_convolutions_by_hand(step7, monkeypatch):
    monkeypatch.syspath_prepend(str(LESSON))
    step8 = load(LESSON / "step8_dense.py", "lesson_03_step8")
    tinyconv.manual_seed(1)
    model = step7.build().eval()
    images = tinyconv.randn(2, 3, 96, 128)
    with tinyconv.no_grad():
        mine = step8.by_hand(model, images)
        wrong = step8.by_hand(model, images, "channel last")
    wanted = views.outputs(models.fully_convolutional(model), images.numpy())
    assert mine.shape == (2, 10, 2, 3)
    np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    assert np.abs(wrong - wanted).max() > 0.1 * np.abs(wanted).max()


# -------------------------------------------------------------------------------------------------------- the steps


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stem)
def test_a_step_says_what_it_needs_and_names_the_next(step):
    check_step(step)


def test_one_step_trains():
    assert [step.name for step in STEPS if step.name.endswith("_train.py")] == ["step7_train.py"]


@pytest.mark.slow
@pytest.mark.parametrize("script", STEPS, ids=lambda script: script.stem)
def test_a_step_runs(script, tmp_path):
    assert "next: " in run_step(script, tmp_path)
