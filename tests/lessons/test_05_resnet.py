"""Lesson 05, the steps: their networks are the library's, what they compute by hand is what the library computes."""

from __future__ import annotations

import numpy as np
import pytest
from _exercises import LESSONS, load
from _steps import check_step, run_step

import tinyconv
from tinyconv import models, nn, views
from tinyconv.lesson import steps_of

LESSON = LESSONS / "05_resnet"
STEPS = steps_of(LESSON)


@pytest.fixture(scope="module")
def step5():
    return load(LESSON / "step5_assemble.py", "lesson_05_step5")


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims.py", "lesson_05_claims")


@pytest.fixture(scope="module")
def step7(claims):
    return claims._step("step7_train")


@pytest.fixture(scope="module")
def step8(claims):
    return claims._step("step8_look_inside")


# ------------------------------------------------------------------------------------------------------ the network

COUNTS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.mark.parametrize("variant", ["v1", "v1.5"])
@pytest.mark.parametrize("depth", COUNTS)
def test_the_assembled_networks_have_the_librarys_parameters(step5, depth, variant):
    ours, theirs = (
        step5.ResNet(depth, v15=variant == "v1.5", device="meta"),
        models.resnet(depth, variant=variant, device="meta"),
    )
    shapes = [[(name, p.shape) for name, p in model.named_parameters()] for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in ours.parameters()) == COUNTS[depth]
    summaries = [tinyconv.summary(model, (3, 224, 224)) for model in (ours, theirs)]
    assert summaries[0].total_macs == summaries[1].total_macs
    assert summaries[0].rows[-1].output_shape == (1000,)


@pytest.mark.parametrize(("depth", "variant"), [(18, "v1"), (18, "v1.5"), (50, "v1"), (50, "v1.5")])
def test_they_compute_what_the_librarys_do(step5, depth, variant):
    """The same weights and running statistics, images of 64 pixels."""
    tinyconv.manual_seed(0)
    ours, theirs = step5.ResNet(depth, 7, v15=variant == "v1.5"), models.resnet(depth, 7, variant=variant)
    rng = np.random.default_rng(1)
    state = {}
    for name, value in theirs.state_dict().items():
        array = value.numpy().copy()
        if name.endswith(("bn1.bias", "bn2.bias", "bn3.bias", "bn.bias", "running_mean")):
            array = rng.normal(0, 0.1, array.shape).astype(np.float32)
        elif name.endswith("running_var"):
            array = rng.uniform(0.5, 2, array.shape).astype(np.float32)
        state[name] = array
    ours.load_state_dict(state), theirs.load_state_dict(state)
    image = tinyconv.randn(2, 3, 64, 64)
    with tinyconv.no_grad():
        mine, wanted = ours.eval()(image).numpy(), theirs.eval()(image).numpy()
    assert mine.shape == (2, 7) and wanted.std() > 1e-3
    np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_its_initial_weights_are_hes(step5):
    tinyconv.manual_seed(0)
    model = step5.ResNet(18, 10)
    for layer in (model.conv1, model.conv3_1.conv1, model.conv5_2.conv2):
        fan_in = np.prod(layer.weight.shape[1:])
        assert layer.weight.data.std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.03)


# -------------------------------------------------------------------------------------------------- what steps claim


def test_the_plain_twin_has_the_same_parameters(step7):
    residual, plain = step7.build(), step7.build(residual=False)
    shapes = [[(name, p.shape) for name, p in model.named_parameters()] for model in (residual, plain)]
    assert shapes[0] == shapes[1] and len(residual.blocks()) == 6
    assert all(block.shortcut is None for _, block in plain.blocks())


def test_the_loaders_move_the_training_images_only(step7):
    train, test = step7.loaders(6, 6)
    batch = next(iter(test)).images.numpy()
    clothes = tinyconv.data.fashion_mnist("test").images[:6].astype(np.float32) / 255
    fitted = tinyconv.data.fashion_mnist("train").images.astype(np.float64) / 255
    np.testing.assert_allclose(batch, (clothes - fitted.mean()) / fitted.std(), atol=1e-4)
    moved = next(iter(train)).images.numpy()
    assert moved.shape == (6, 1, 28, 28)
    background = -fitted.mean() / fitted.std()  # black; the border that is added is 0, the mean grey
    assert any(np.abs(image[0, :, 0]).max() < 1e-6 or np.abs(image[0, 0]).max() < 1e-6 for image in moved)
    assert abs(background) > 0.5


def test_what_is_left_of_a_block_is_the_relu_of_its_shortcut(step7, step8):
    tinyconv.manual_seed(0)
    model = step7.build()
    for name, block in model.blocks():
        channels = block.conv1.in_channels
        x = tinyconv.tensor(np.random.default_rng(0).standard_normal((2, channels, 6, 6)).astype(np.float32))
        block.last_norm.weight.data[...] = block.last_norm.bias.data[...] = 0
        np.testing.assert_array_equal(step8.Bypass(block)(x).numpy(), block(x).detach().numpy(), err_msg=name)


def test_one_block_less_puts_every_block_back(step7, step8):
    tinyconv.manual_seed(0)
    model = step7.build().eval()
    images, labels = np.random.default_rng(1).standard_normal((20, 1, 28, 28)).astype(np.float32), np.arange(20) % 10
    before, blocks = views.outputs(model, images), model.blocks()
    errors = step8.one_less(model, images, labels)
    assert list(errors) == [name for name, _ in blocks] and len(errors) == 6
    assert model.blocks() == blocks
    np.testing.assert_array_equal(views.outputs(model, images), before)


def test_responses_are_taken_after_bn_and_before_relu(step7, step8):
    model = step7.build(residual=False)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.data[...], layer.weight.data[...], layer.bias.data[...] = 0, 0, -3
    model.bn1.weight.data[...] = 2
    images = np.random.default_rng(2).standard_normal((4, 1, 28, 28)).astype(np.float32)
    found = step8.responses(model, images)
    assert list(found)[:3] == ["bn1", "conv2_1.bn1", "conv2_1.bn2"] and len(found) == 13
    with tinyconv.no_grad():
        wanted = model.eval().bn1(model.conv1(tinyconv.tensor(images))).numpy().std()
    assert found["bn1"] == pytest.approx(float(wanted), rel=1e-5)
    assert found["conv4_2.bn2"] == pytest.approx(0, abs=1e-6), "a constant of -3: no deviation, though not 0"


def test_step_nine_says_what_to_fetch(claims, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCONV_DATA", str(tmp_path))
    step9 = claims._step("step9_trained")
    assert step9.missing() == ["cifar10", "resnet20", "resnet56", "resnet110"]
    (tmp_path / "resnet56.npz").touch()
    assert "resnet56" not in step9.missing()


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
