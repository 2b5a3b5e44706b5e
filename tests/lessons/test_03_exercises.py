"""Lesson 03: its exercises are proven, its tables are the networks, its claims are those that were measured."""

import re

import pytest
from _claims import check_claim
from _exercises import LESSONS, ExerciseProof, load, solutions

import tinyconv
from tinyconv import models
from tinyconv.explain import receptive_field

LESSON = LESSONS / "03_vgg"
CONFIGS = ["A", "A-LRN", "B", "C", "D", "E"]
CLAIMS = ["X7", "LRN", "init", "init'", "from A", "from A'", "signal", "jitter", "views", "boxes"]


class TestExercises(ExerciseProof):
    lesson = "03_vgg"


# ---------------------------------------------------------------------------------------------------------- the README


@pytest.fixture(scope="module")
def readme():
    return (LESSON / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def networks():
    return {config: models.vgg(config=config, device="meta") for config in CONFIGS}


@pytest.fixture(scope="module")
def summaries(networks):
    return {config: tinyconv.summary(network) for config, network in networks.items()}


def cells(readme, first):
    """Return the cells of a table's row after its first one."""
    line = next(line for line in readme.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_the_readmes_totals_are_the_networks(readme, summaries):
    convolutions = {c: [row for row in s.rows if row.name.startswith("conv")] for c, s in summaries.items()}
    wanted = {
        "parameters": [s.total_params for s in summaries.values()],
        "of them in convolutions": [sum(row.params for row in rows) for rows in convolutions.values()],
        "multiply-adds": [s.total_macs for s in summaries.values()],
        "of them in convolutions again": [sum(row.macs for row in rows) for rows in convolutions.values()],
    }
    for name, numbers in wanted.items():
        assert cells(readme, name.replace(" again", ", too")) == [f"{number:,d}" for number in numbers]
    layers = [sum(row.name.startswith(("conv", "fc")) for row in s.rows) for s in summaries.values()]
    assert cells(readme, "layers with weights") == [str(number) for number in layers]


def test_the_readmes_groups_are_the_networks(readme, networks, summaries):
    for group in range(1, 6):
        rows = {row.name: row for row in summaries["D"].rows}
        name = f"{group}: " + "x".join(map(str, rows[f"pool{group}"].output_shape))
        for config, cell in zip(CONFIGS, cells(readme, name), strict=True):
            inside = [getattr(networks[config], row.name) for row in summaries[config].rows
                      if row.name.startswith(f"conv{group}_")]  # fmt: skip
            ones = sum(layer.kernel_size == (1, 1) for layer in inside)
            wanted = f"{len(inside) - ones}" + (f" + {ones} of 1x1" if ones else "")
            assert cell == wanted + (" + LRN" if config == "A-LRN" and group == 1 else "")


def test_the_readmes_receptive_fields_are_the_networks(readme, networks):
    found = [receptive_field(network, "pool5").size for network in networks.values()]
    assert cells(readme, "a value of pool5 sees") == [f"{side}x{side}" for side, _ in found]


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
    return load(LESSON / "claims.py", "lesson_03_claims")


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_was_measured_and_the_readme_says_what_came_out(claims, name):
    check_claim(LESSON, claims, name)


def test_every_claim_is_checked(claims):
    assert list(claims.CLAIMS) == CLAIMS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["X7", "LRN", "init'", "from A", "from A'", "boxes"])
def test_a_claim_can_be_measured(claims, name):
    """A few steps: the programs still run, and their verdicts read what they write."""
    measure, verdict = claims.CLAIMS[name]
    holds, text = verdict([measure(0, steps=3)])
    assert holds in (True, False, None)
    assert "nan" not in text
