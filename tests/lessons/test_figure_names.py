"""Two steps of a lesson must not save a figure under one name: the later one would write over the earlier one's."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest
from _steps import LESSONS

from tinyconv.lesson import steps_of


def saved(step: Path) -> set[str]:
    """Return the names, written out in full, that a step gives to ``lesson.save``."""
    calls = [node for node in ast.walk(ast.parse(step.read_text("utf-8"))) if isinstance(node, ast.Call)]
    names = [call.args[1] for call in calls if ast.unparse(call.func) == "lesson.save" and len(call.args) > 1]
    return {name.value for name in names if isinstance(name, ast.Constant)}


@pytest.mark.parametrize("lesson", sorted(path.name for path in LESSONS.iterdir() if steps_of(path)))
def test_every_figure_has_a_name_of_its_own(lesson: str) -> None:
    of = defaultdict(list)
    for step in steps_of(LESSONS / lesson):
        for name in saved(step):
            of[name].append(step.name)
    assert of, "no step saves a figure"
    assert {name: steps for name, steps in of.items() if len(steps) > 1} == {}
