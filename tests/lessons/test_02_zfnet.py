"""Lesson 02: its steps, its network (the library's), and the plain NumPy parts that later steps rely on."""

import numpy as np
import pytest
from _exercises import LESSONS, load
from _steps import check_step, run_step

import tinyconv
from tinyconv import models
from tinyconv.lesson import steps_of

LESSON = LESSONS / "02_zfnet"
STEPS = steps_of(LESSON)
README = (LESSON / "README.md").read_text("utf-8")


# ------------------------------------------------------------------------------------------------------ the network


@pytest.fixture(scope="module")
def step6():
    return load(LESSON / "step6_assemble.py", "lesson_02_step6")


def test_the_assembled_network_has_the_librarys_parameters(step6):
    ours, theirs = step6.ZFNet(device="meta"), models.zfnet(device="meta")
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in ours.parameters()) == 62_357_608
    rows = tinyconv.summary(ours, (3, 224, 224)).rows
    assert {row.name: row.output_shape[1] for row in rows if row.name in step6.PAPER_SIDES} == step6.PAPER_SIDES
    assert list(step6.PAPER_SIDES.values()) == [110, 55, 26, 13, 13, 13, 13, 6]


def test_the_assembled_network_starts_as_the_paper_says_and_computes_what_the_librarys_does(step6):
    tinyconv.manual_seed(0)
    ours, theirs = step6.ZFNet(num_classes=4), models.zfnet(num_classes=4, device="meta")
    assert not any(p.data.any() for name, p in ours.named_parameters() if name.endswith("bias"))
    assert ours.fc7.weight.data.std() == pytest.approx(0.01, rel=1e-2)
    for mine, original in zip(ours.parameters(), theirs.parameters(), strict=True):
        original.data = mine.data  # the same memory: no second copy of 58 million numbers
    image = tinyconv.randn(1, 3, 224, 224) * 100
    ours.eval(), theirs.eval()
    with tinyconv.no_grad():
        np.testing.assert_allclose(ours(image).numpy(), theirs(image).numpy(), rtol=1e-5)


# -------------------------------------------------------------------------------------------------------- the steps


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stem)
def test_a_step_says_what_it_needs_and_names_the_next(step):
    check_step(step)


@pytest.mark.slow
@pytest.mark.parametrize("script", [*STEPS, LESSON / "main.py"], ids=lambda script: script.stem)
def test_a_step_runs(script, tmp_path):
    assert "next: " in run_step(script, tmp_path) or script.stem == "main"


@pytest.mark.slow
def test_what_the_steps_print_is_what_they_say(tmp_path):
    """Numbers that the texts of steps 1 to 5 name, computed anew: the texts cannot rot."""
    first = run_step(STEPS[0], tmp_path)
    assert "pool5, unit 3: poked, pixels 47 to 217; computed, 47 to 217" in first  # -49 + 3 * 32, 171 wide
    assert "without jumps: 23 pixels" in first and "would see 23 pixels" in STEPS[0].read_text("utf-8")
    second = run_step(STEPS[1], tmp_path)
    assert "write gives it back as 99" in second and "add   gives it back as 396" in second
    assert second.count("DIFFERENT") == 2 and second.count("   equal") == 3
    third = run_step(STEPS[2], tmp_path)
    assert "110 -> 223 without output_padding, 224 with 1" in third and "caught:" in third
    assert "7x7 with stride 2: pixels receive 9 or 12 or 16 stamps" in third
    fourth = run_step(STEPS[3], tmp_path)
    off = [float(line.split("off by")[1].split()[0]) for line in fourth.splitlines() if "off by" in line]
    assert off[0] < 1e-12 and min(off[1:]) > 0.01
    fifth = run_step(STEPS[4], tmp_path)
    assert fifth.count("<- caught") == 3


@pytest.mark.slow
def test_a_later_step_finds_what_the_training_step_left(tmp_path):
    run_step(STEPS[6], tmp_path)
    out = run_step(STEPS[7], tmp_path)
    assert "model: " in out and "now a short" not in out and "evolution: step7_train.py keeps it" not in out
    assert "pool1: like the last, at epochs [0, 1]" in out
    assert (tmp_path / "tinyconv-output/02/smoke/evolution-relu5.png").is_file()
