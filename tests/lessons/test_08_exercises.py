"""Lesson 08: its exercises are proven, and listed as they are."""

from __future__ import annotations

import re

import pytest
from _exercises import LESSONS, ExerciseProof, load, solutions

LESSON = LESSONS / "08_captioning"


class TestExercises(ExerciseProof):
    lesson = "08_captioning"


@pytest.fixture(scope="module")
def said():
    """What the docstrings say of each task: (difficulty, minutes), both as text."""
    source = (LESSON / "exercises.py").read_text("utf-8")
    found = re.findall(r"\n    Difficulty (\d) of 3, (\d+) minutes\. Hint: ", source)
    tasks = list(dict.fromkeys(task for task, _ in solutions(source)))
    assert len(found) == len(tasks)
    return dict(zip(tasks, found, strict=True))


def test_the_readme_lists_the_exercises(said):
    rows = (LESSON / "README.md").read_text("utf-8").splitlines()
    for task, numbers in said.items():
        (line,) = [row for row in rows if row.startswith(f"| {task} |")]
        assert tuple(cell.strip() for cell in line.strip("|").split("|")[2:]) == numbers


def test_the_tests_say_what_the_exercises_say(said):
    checked = set()
    for file in sorted(LESSON.glob("test_exercises*.py")):
        module = load(file, f"{file.stem}_of_lesson_08")
        marks = [mark for value in vars(module).values() for mark in getattr(value, "pytestmark", [])]
        kinds = {mark.kwargs["id"]: mark.kwargs for mark in marks if mark.name == "task"}
        for task, kind in kinds.items():
            assert (str(kind["difficulty"]), str(kind["minutes"])) == said[task], f"{file.name}: {task}"
        checked |= set(kinds)
    assert checked == set(said)


def test_every_task_has_four_planted_bugs(said):
    bugs = [
        bug["task"]
        for file in sorted(LESSON.glob("mutants*.py"))
        for bug in load(file, f"{file.stem}_of_08").MUTANTS
    ]  # fmt: skip
    assert {task: bugs.count(task) for task in said if bugs.count(task) < 4} == {}
