"""Lesson 09: headers, and the README against results, steps, networks and figures."""

from __future__ import annotations

import json
import re

import pytest
from _claims import check_claim
from _exercises import LESSONS, load
from _steps import check_step, run_in_full, script_of

from tinyconv.lesson import read_header, steps_of

LESSON = LESSONS / "09_spatial_transformer"


@pytest.fixture(scope="module")
def readme():
    return (LESSON / "README.md").read_text("utf-8")


@pytest.mark.parametrize("step", steps_of(LESSON), ids=lambda step: step.stem)
def test_a_step_says_what_it_needs_and_names_the_next(step):
    check_step(step)


def test_there_are_ten_steps():
    assert [int(re.match(r"step(\d+)_", step.name).group(1)) for step in steps_of(LESSON)] == list(range(1, 11))


def test_the_readme_says_how_long_steps_take(readme):
    rows = re.findall(r"^\| \[(step\w+\.py)\]\(.*\) \| (\d+) \|", readme, re.MULTILINE)
    said = {name: float(minutes) for name, minutes in rows}
    assert said == {step.name: read_header(step).minutes for step in steps_of(LESSON)}


def test_the_readmes_hours_are_the_sums_of_its_minutes(readme):
    """Said in words; "nearly" is up to a quarter of an hour less."""
    hours = {"nearly four": (3.75, 4), "four": (4, 4.125), "four and a quarter": (4.125, 4.375)}
    hours["four and a half"] = (4.375, 4.625)
    steps = sum(read_header(step).minutes for step in steps_of(LESSON))
    tasks = sum(int(m) for m in re.findall(r"^\| 9\.\d+ \|.*\| \d \| (\d+) \|$", readme, re.MULTILINE))
    found = re.search(r"\. (\w[\w ]+) hours for the steps, (\w[\w ]+) for the exercises\.", " ".join(readme.split()))
    for minutes, words in ((steps, found[1].lower()), (tasks, found[2])):
        assert hours[words][0] <= minutes / 60 <= hours[words][1], (minutes, words)


def cells(readme, first):
    """Return the numbers of each cell of the paper's table of networks and sets, after the first cell."""
    part = readme.split("## The paper's results")[1].split("## Claims")[0]
    line = next(line for line in part.splitlines() if line.startswith(f"| {first} |"))
    return [float(cell) for cell in line.strip("|").split("|")[1:]]


def test_the_readmes_table_of_the_paper_says_what_the_paper_says(readme):
    """With a transformer every network errs less, on every set; splines least, or as little as any, on E."""
    for plain, kind in (("FCN", "ST-FCN"), ("CNN", "ST-CNN")):
        rows = [cells(readme, f"{kind}, {name}") for name in ("affine", "projective", "TPS")]
        assert all(a < b for row in rows for a, b in zip(row, cells(readme, plain), strict=True))
        assert rows[2][3] == min(row[3] for row in rows)
    assert all(a < b for a, b in zip(cells(readme, "ST-CNN, TPS"), cells(readme, "ST-FCN, TPS"), strict=True))


@pytest.mark.slow
def test_the_readmes_numbers_are_what_steps_print(readme, tmp_path):
    """Steps 1 to 3 in full."""
    one, two, three = (run_in_full(script_of(LESSON, number), tmp_path) for number in (1, 2, 3))

    def row(start):
        line = next(line for line in readme.splitlines() if line.startswith(f"| {start}"))
        return [float(v) for v in re.findall(r"-?\d[\d.]*", line.strip("| ").split(" | ")[-1])]

    def found(pattern, text):
        rows = re.findall(pattern, text, re.MULTILINE)
        return [float(v) for row in rows for v in (row if isinstance(row, tuple) else (row,))]

    assert row("1 | pixels") == found(r"^  (?:turned|twice).* (\d+)$", one)
    assert row("2 | 9 x 9") == found(r"of which ([\d.]+)%", two)
    assert row("2 | stripes") == found(r"9 x 9, .* value ([\d.]+), largest ([\d.]+)$", two)
    at_five = found(r"^  (?:paper|with floor|measured, \w[\w ]*\w) +([\d.]+) +6\.0$", three)
    assert row("3 | 2, 5, 11") == at_five and len(at_five) == 5
    slopes = found(r"^  (?:paper|with floor|measured, \w+) {8,}(-?[\d.]+) +(-?\d+\.\d)$", three.split("dL/dt13")[1])
    assert row("3 | dL/dt13") + row("3 | the same") == slopes and len(slopes) == 8


def test_the_readme_says_what_came_out():
    claims = load(LESSON / "claims.py", "lesson_09_claims_of_the_readme")
    measured = json.loads((LESSON / "results.json").read_text("utf-8"))["claims"]
    assert set(measured) == set(claims.CLAIMS)
    for name in claims.CLAIMS:
        check_claim(LESSON, claims, name)


def test_nothing_is_left_to_be_filled_in(readme):
    assert "<!--" not in readme and "TODO" not in readme
    for heading in re.split(r"^## ", readme, flags=re.MULTILINE)[1:]:
        title, _, text = heading.partition("\n")
        assert text.strip(), f"{title} is empty"
    for figure in re.findall(r"\]\((figures/[\w.-]+)\)", readme.replace("\n", " ")):
        assert (LESSON / figure).is_file(), figure
