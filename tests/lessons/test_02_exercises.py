"""Lesson 02: its exercises are proven, the README's table is the network's, its claims are those that were measured."""

import pytest
from _claims import check_claim
from _exercises import LESSONS, ExerciseProof, load

import tinyconv
from tinyconv import explain, models

LESSON = LESSONS / "02_zfnet"
README = (LESSON / "README.md").read_text("utf-8")
CLAIMS = ["X3", "X3'", "scenes", "filters", "filters'", "filters''", "evolution", "energy", "parts", "upper layers"]


class TestExercises(ExerciseProof):
    lesson = "02_zfnet"


# -------------------------------------------------------------------------------------------------------- the README


def test_the_readmes_table_is_the_networks():
    model = models.zfnet(device="meta")
    summary = tinyconv.summary(model)
    for row in summary.rows:
        if row.name in {"pool1", "pool2", "pool5"} or row.params:
            shape = "x".join(map(str, row.output_shape))
            cells = f"{row.params:,d} | {row.macs:,d}" if row.params else "|"
            field = explain.receptive_field(model, row.name)
            sight = "all" if field.whole else f"{field.size[0]}, {field.stride[0]}"
            line = next(line for line in README.splitlines() if line.startswith(f"| {row.name} |"))
            assert line.endswith(f"| {shape} | {cells} | {sight} |"), row.name
    assert f"| {summary.total_params:,d} | {summary.total_macs:,d} |" in README
    assert f"{tinyconv.summary(models.zfnet(variant='b', device='meta')).total_params:,d}" in README


def test_the_readme_lists_the_tasks():
    for mark in load(LESSON / "test_exercises.py", "lesson_02_tests").__dict__.values():
        if isinstance(mark, pytest.MarkDecorator):
            task = mark.kwargs
            line = next(line for line in README.splitlines() if line.startswith(f"| {task['id']} |"))
            assert line.endswith(f" | {task['difficulty']} | {task['minutes']} |")


# -------------------------------------------------------------------------------------------------------- the claims


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims.py", "lesson_02_claims")


def test_all_claims_are_checked_here(claims):
    assert list(claims.CLAIMS) == CLAIMS


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_was_measured_and_the_readme_says_what_came_out(claims, name):
    check_claim(LESSON, claims, name)


@pytest.mark.slow
def test_a_claim_can_be_measured(claims):
    """A few steps of those measurements that share one short training: they run, and verdicts read what they write."""
    few = {"X3": {"least": 0.0}, "energy": {}, "parts": {"only_right": False}, "upper layers": {}}
    for name, options in few.items():
        measure, verdict = claims.CLAIMS[name]
        found = measure(0, steps=20, **options)
        assert verdict([found])[0] in (True, False)
    assert claims.measure_energy(0, steps=20)["layer 3"]["field"] == 1
    assert claims.verdict_filters([claims.measure_filters(0, steps=20)])[1].startswith("without: largest RMS 0.01")
