"""Lesson 01: its exercises are proven, its network is the library's, its claims are those that were measured."""

import numpy as np
import pytest
from _claims import check_claim
from _exercises import LESSONS, ExerciseProof, load
from _steps import check_step, run_step

import tinyconv
from tinyconv import models
from tinyconv.lesson import steps_of

LESSON = LESSONS / "01_alexnet"
STEPS = steps_of(LESSON)
README = (LESSON / "README.md").read_text("utf-8")


class TestExercises(ExerciseProof):
    lesson = "01_alexnet"


# ------------------------------------------------------------------------------------------------------ the network


@pytest.fixture(scope="module")
def step8():
    return load(LESSON / "step8_assemble.py", "lesson_01_step8")


def test_the_assembled_network_has_the_librarys_parameters(step8):
    ours, theirs = step8.AlexNet(device="meta"), models.alexnet(device="meta")
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in ours.parameters()) == 60_965_224


def test_the_assembled_network_starts_as_the_paper_says_and_computes_what_the_librarys_does(step8):
    tinyconv.manual_seed(0)
    ours, theirs = step8.AlexNet(num_classes=4), models.alexnet(num_classes=4, device="meta")
    biases = {name: set(np.unique(p.data)) for name, p in ours.named_parameters() if name.endswith("bias")}
    ones = {f"{layer}.bias" for layer in ("conv2", "conv4", "conv5", "fc6", "fc7")}
    assert biases == {name: {1.0} if name in ones else {0.0} for name in biases}
    assert ours.fc7.weight.data.std() == pytest.approx(0.01, rel=1e-2)
    for mine, original in zip(ours.parameters(), theirs.parameters(), strict=True):
        original.data = mine.data  # the same memory: no second copy of 57 million numbers
    image = tinyconv.randn(1, 3, 227, 227) * 100
    ours.eval(), theirs.eval()
    with tinyconv.no_grad():
        np.testing.assert_allclose(ours(image).numpy(), theirs(image).numpy(), rtol=1e-5)


def test_the_readmes_table_is_the_networks():
    summary = tinyconv.summary(models.alexnet(device="meta"))
    for row in summary.rows:
        if row.params:
            shape = "x".join(map(str, row.output_shape))
            line = next(line for line in README.splitlines() if line.startswith(f"| {row.name} |"))
            assert f"| {shape} | {row.params:,d} | {row.macs:,d} |" in line
    assert f"| {summary.total_params:,d} | {summary.total_macs:,d} |" in README


# -------------------------------------------------------------------------------------------------------- the steps


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stem)
def test_a_step_says_what_it_needs_and_names_the_next(step):
    check_step(step, "lesson 02_zfnet")


@pytest.mark.slow
@pytest.mark.parametrize("script", [*STEPS, LESSON / "main.py"], ids=lambda script: script.stem)
def test_a_step_runs(script, tmp_path):
    assert "next: " in run_step(script, tmp_path) or script.stem == "main"


# ------------------------------------------------------------------------------------------------------- the claims


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims.py", "lesson_01_claims")


@pytest.mark.parametrize("name", ["X1", "X1'", "X4", "X4'", "X5", "X6"])
def test_a_claim_was_measured_and_the_readme_says_what_came_out(claims, name):
    check_claim(LESSON, claims, name)


@pytest.mark.slow
def test_a_claim_can_be_measured(claims):
    """A few steps of three of the measurements: the program still runs, and its verdicts read what it writes."""
    for name in ("X4'", "X5", "X6"):
        measure, verdict = claims.CLAIMS[name]
        found = measure(0, steps=20)
        assert len(found) == 2
        assert all(0 <= variant["test_error"] <= 1 for variant in found.values())
        assert verdict([found])[0] in (True, False, None)
