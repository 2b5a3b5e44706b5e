"""Lesson 05: its exercises are proven, its tables are the networks, its claims are those that were measured."""

import re

import pytest
from _claims import check_claim
from _exercises import LESSONS, ExerciseProof, load, solutions

import tinyconv
from tinyconv import models, nn

LESSON = LESSONS / "05_resnet"
DEPTHS = [18, 34, 50, 101, 152]
CIFAR = [20, 32, 44, 56, 110, 1202]
CLAIMS = ["X2", "X9", "one less", "ensemble", "shortcuts", "RiR", "clothes", "gradients", "accuracy"]


class TestExercises(ExerciseProof):
    lesson = "05_resnet"


# ---------------------------------------------------------------------------------------------------------- the README


@pytest.fixture(scope="module")
def readme():
    return (LESSON / "README.md").read_text("utf-8")


def cells(readme, first):
    """Return the cells of a table's row after its first one."""
    line = next(line for line in readme.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


@pytest.fixture(scope="module")
def imagenet():
    return {depth: models.resnet(depth, device="meta") for depth in DEPTHS}


def test_the_readmes_stages_are_the_networks(readme, imagenet):
    for stage, side in zip((2, 3, 4, 5), (56, 28, 14, 7), strict=True):
        for depth, cell in zip(DEPTHS, cells(readme, f"conv{stage}_x: {side}x{side}"), strict=True):
            blocks = [block for name, block in imagenet[depth].blocks() if name.startswith(f"conv{stage}_")]
            convs = [layer for name, layer in blocks[-1].named_children() if name.startswith("conv")]
            inside = ", ".join(f"{layer.kernel_size[0]}x{layer.kernel_size[0]} {layer.out_channels}" for layer in convs)
            assert cell == f"{len(blocks)} x [{inside}]"
        rows = {row.name: row.output_shape for row in tinyconv.summary(imagenet[18]).rows}
        assert rows[f"conv{stage}_2.conv2"][1:] == (side, side)


def test_the_readmes_totals_are_the_networks(readme, imagenet):
    v1 = [tinyconv.summary(model) for model in imagenet.values()]
    v15 = [tinyconv.summary(models.resnet(depth, variant="v1.5", device="meta")) for depth in DEPTHS]
    assert cells(readme, "parameters") == [f"{s.total_params:,d}" for s in v1] == [f"{s.total_params:,d}" for s in v15]
    assert cells(readme, "multiply-adds, v1") == [f"{s.total_macs:,d}" for s in v1]
    assert cells(readme, "multiply-adds, v1.5") == [f"{s.total_macs:,d}" for s in v15]


def test_the_readmes_shortcuts_are_the_networks(readme):
    for depth in (18, 34):
        for kind, options in {"plain": {"residual": False}, **{k: {"shortcut": k} for k in "ABC"}}.items():
            model = models.resnet(depth, device="meta", **options)
            summary = tinyconv.summary(model)
            projections = sum(isinstance(block.shortcut, nn.Sequential) for _, block in model.blocks())
            wanted = [f"{projections}", f"{summary.total_params:,d}", f"{summary.total_macs:,d}"]
            assert cells(readme, f"{depth}, {kind}")[:3] == wanted


def test_the_readmes_family_is_the_networks(readme):
    for depth in CIFAR:
        a, b = (models.resnet_cifar(depth, shortcut=kind, device="meta") for kind in "AB")
        summary = tinyconv.summary(a)
        found = cells(readme, f"{(depth - 2) // 6} | {depth}")
        wanted = [summary.total_params, tinyconv.summary(b).total_params, summary.total_macs]
        assert found[2:5] == [f"{number:,d}" for number in wanted]


def test_the_readmes_rir_is_the_network(readme):
    summary = tinyconv.summary(models.rir(device="meta"))
    assert f"{summary.total_params:,d} parameters" in readme and f"{summary.total_macs:,d} multiply-adds" in readme


def test_the_readme_lists_the_exercises(readme):
    source = (LESSON / "exercises.py").read_text("utf-8")
    said = re.findall(r"\n    Difficulty (\d) of 3, (\d+) minutes\. Hint: ", source)
    tasks = [task for task, _ in solutions(source)]
    assert len(said) == len(tasks)
    for task, (difficulty, minutes) in zip(tasks, said, strict=True):
        assert cells(readme, task)[1:] == [difficulty, minutes]


# ---------------------------------------------------------------------------------------------------------- the claims


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims.py", "lesson_05_claims")


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_was_measured_and_the_readme_says_what_came_out(claims, name):
    check_claim(LESSON, claims, name)


def test_every_claim_is_checked(claims):
    assert list(claims.CLAIMS) == CLAIMS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["X2", "X9", "one less", "ensemble", "shortcuts", "RiR", "clothes", "gradients"])
def test_a_claim_can_be_measured(claims, name):
    """A few steps: the programs still run, and their verdicts read what they write."""
    measure, verdict = claims.CLAIMS[name]
    holds, text = verdict([measure(0) if name == "gradients" else measure(0, steps=3)])
    assert holds in (True, False, None)
    assert "nan" not in text


@pytest.mark.slow
def test_the_accuracy_can_be_measured(claims):
    found = claims.measure_accuracy(0, epochs=1, images=128)
    assert list(found) == ["accuracy"]
    assert 0 <= found["accuracy"] <= 1
    holds, text = claims.verdict_accuracy([found])
    assert holds == (found["accuracy"] >= 0.88)
    assert f"{found['accuracy']:.1%}" in text
