"""The proof that a lesson's exercises work. A lesson's test is derived from :class:`ExerciseProof`, or from
:class:`ListedExercises`, which compares README and tests, too.

Run as a program, ``python _exercises.py FOLDER``, it prints which test catches which planted bug.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "lessons"
slow = pytest.mark.slow
_REGION = re.compile(
    r"^(?P<indent>[ \t]*)# TASK (?P<task>\d+\.\d+)\n[ \t]*# BEGIN SOLUTION\n(?P<body>.*?)^[ \t]*# END SOLUTION\n",
    re.MULTILINE | re.DOTALL,
)


def solutions(source: str) -> list[tuple[str, str]]:
    """Return (task, text of the solution) of every region, and raise if a marker stands outside of one."""
    found = [(m["task"], m["body"]) for m in _REGION.finditer(source)]
    for marker in ("# TASK ", "# BEGIN SOLUTION\n", "# END SOLUTION\n"):
        count = source.count(marker)
        if count != len(found):
            raise ValueError(f"exercises: {count} lines with {marker.strip()!r}, but {len(found)} complete regions")
    return found


def in_order(tasks: set[str]) -> list[str]:
    """Return the tasks by number: 0.10 comes after 0.9."""
    return sorted(tasks, key=lambda task: [int(number) for number in task.split(".")])


def skeleton(source: str, tasks: set[str] | None = None) -> str:
    """Return the source with the solutions of ``tasks`` (None: all) replaced by ``raise NotImplementedError``."""

    def replaced(m: re.Match) -> str:
        if tasks is not None and m["task"] not in tasks:
            return m[0]
        task, indent = m["task"], m["indent"]
        return f'{indent}# TASK {task}\n{indent}raise NotImplementedError("task {task}: write this part")\n'

    return _REGION.sub(replaced, source)


def mutate(source: str, mutant: dict[str, Any]) -> str:
    """Return the source with a mutant's patch in the solution of its task."""
    old, new = mutant["patch"]
    count = sum(body.count(old) for task, body in solutions(source) if task == mutant["task"])
    if count != 1:
        task, title = mutant["task"], mutant["title"]
        raise ValueError(
            f"mutants: {title!r} must change one place of task {task}, but this is there {count} times: {old}"
        )

    def replaced(m: re.Match) -> str:
        return m[0].replace(old, new) if m["task"] == mutant["task"] else m[0]

    return _REGION.sub(replaced, source)


def load(path: Path, name: str) -> Any:
    """Import a file under a name of its own."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------------------------------------- running the tests


class _Recorder:
    """A pytest plugin: runs the tests of one task or all, and notes task, outcome and message of each."""

    def __init__(self, only: str | None) -> None:
        self.only = only
        self.tests: dict[str, dict[str, str | None]] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            mark = item.get_closest_marker("task")
            self.tests[item.name] = {"task": mark.kwargs["id"] if mark else None, "outcome": "not run", "message": ""}
        if self.only is not None:
            items[:] = [item for item in items if self.tests[item.name]["task"] == self.only]

    def pytest_runtest_logreport(self, report: Any) -> None:
        test = self.tests[report.location[2]]
        if report.when == "call" or report.outcome != "passed":
            crash = getattr(report.longrepr, "reprcrash", None)
            test["outcome"], test["message"] = report.outcome, crash.message if crash else str(report.longrepr or "")


def run_variant(lesson: Path, source: str, only: str | None = None, first_failure: bool = False) -> dict[str, dict]:
    """Run the lesson's tests, in this process, on a copy with this exercises.py; return name -> result."""
    path, modules, write = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    recorder = _Recorder(only)
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / lesson.name
        copy.mkdir()
        (copy / "exercises.py").write_text(source, "utf-8")
        for test in lesson.glob("test_exercises*.py"):
            (copy / test.name).write_text(test.read_text("utf-8"), "utf-8")
        # No assertion rewriting and no garbage collection between the runs: there are dozens of them.
        plugins = "-p no:cacheprovider -p no:unraisableexception -p tinyconv.pytest_plugin"
        options = f"-c {ROOT / 'setup.cfg'} --rootdir {folder} -q --tb=line --assert=plain {plugins}"
        try:
            pytest.main([*options.split(), *["-x"][: int(first_failure)], str(copy)], plugins=[recorder])
        finally:
            sys.path[:], sys.dont_write_bytecode = path, write
            for name in set(sys.modules) - modules:
                if str(getattr(sys.modules[name], "__file__", "") or "").startswith(folder):
                    del sys.modules[name]
    return recorder.tests


def run_all(lesson: Path) -> dict[str, Any]:
    """Run the solution, the skeleton, each task stripped alone, and each mutant against its task's tests."""
    source = (lesson / "exercises.py").read_text("utf-8")
    tasks = in_order({task for task, _ in solutions(source)})
    results = {
        "solution": run_variant(lesson, source),
        "skeleton": run_variant(lesson, skeleton(source)),
        "stripped": {task: run_variant(lesson, skeleton(source, {task}), only=task) for task in tasks},
        "mutants": [],
    }
    files = sorted(lesson.glob("mutants*.py"))
    for mutant in [m for file in files for m in load(file, f"{file.stem}_{lesson.name}").MUTANTS]:
        tests = run_variant(lesson, mutate(source, mutant), mutant["task"], first_failure=True)
        caught = next(((name, t["message"]) for name, t in tests.items() if t["outcome"] == "failed"), None)
        results["mutants"].append({"task": mutant["task"], "title": mutant["title"], "caught": caught})
    return results


@cache
def proof_of(lesson: Path) -> dict[str, Any]:
    """Return :func:`run_all`'s results, from a process of its own: its pytest must not meet the one we are in."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        paths = [str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [sys.executable, __file__, str(lesson), str(out)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert out.exists(), f"the proof of {lesson.name} broke off:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return json.loads(out.read_text("utf-8"))


# ------------------------------------------------------------------------------------------------------------ the proof


class ExerciseProof:
    """What must hold of every lesson's exercises: derive a class ``Test...`` from it and set ``lesson``.

    Attributes
    ----------
    lesson : str
        The lesson's folder in ``lessons/``.
    """

    lesson: str

    @property
    def folder(self) -> Path:
        """The lesson's folder."""
        return LESSONS / self.lesson

    @property
    def source(self) -> str:
        """The text of exercises.py."""
        return (self.folder / "exercises.py").read_text("utf-8")

    @pytest.fixture
    def proof(self) -> dict[str, Any]:
        """The results of all runs."""
        return proof_of(self.folder)

    def test_tasks_are_numbered_and_stripped(self) -> None:
        tasks = in_order({task for task, _ in solutions(self.source)})
        number = int(self.lesson[:2])
        assert tasks == [f"{number}.{i + 1}" for i in range(len(tasks))]
        assert len(tasks) >= 5
        empty = skeleton(self.source)
        assert "SOLUTION" not in empty
        compile(empty, "skeleton", "exec")

    def test_kernels_have_the_engines_signatures(self) -> None:
        from tinyconv_kernels import reference

        module = load(self.folder / "exercises.py", f"signatures_of_{self.lesson}")
        kernels = {n: k for file in vars(reference).values() if inspect.ismodule(file) for n, k in vars(file).items()}
        for name, function in vars(module).items():
            if inspect.isfunction(function) and name in kernels and not name.startswith("_"):
                assert inspect.signature(function) == inspect.signature(kernels[name]), name

    @slow
    def test_the_solution_passes(self, proof: dict[str, Any]) -> None:
        assert {name: t["message"] for name, t in proof["solution"].items() if t["outcome"] != "passed"} == {}

    @slow
    def test_every_task_has_tests(self, proof: dict[str, Any]) -> None:
        assert {t["task"] for t in proof["solution"].values()} - {None} == {task for task, _ in solutions(self.source)}

    @slow
    def test_the_skeleton_fails_exactly_the_tasks_tests(self, proof: dict[str, Any]) -> None:
        for name, t in proof["skeleton"].items():
            assert t["outcome"] == ("passed" if t["task"] is None else "failed"), name
            if t["task"]:
                assert t["message"].startswith("NotImplementedError: task "), f"{name}: {t['message']}"

    @slow
    def test_a_task_missing_alone_is_named_by_its_tests(self, proof: dict[str, Any]) -> None:
        for task, tests in proof["stripped"].items():
            for name, t in tests.items():
                if t["task"] == task:
                    assert t["message"].startswith(f"NotImplementedError: task {task}:"), f"{name}: {t['message']}"

    @slow
    def test_every_task_has_three_mutants(self, proof: dict[str, Any]) -> None:
        for task in {task for task, _ in solutions(self.source)}:
            assert sum(m["task"] == task for m in proof["mutants"]) >= 3, task

    @slow
    def test_every_mutant_is_caught_by_its_tasks_tests(self, proof: dict[str, Any]) -> None:
        assert [f"{m['task']} {m['title']}" for m in proof["mutants"] if not m["caught"]] == []


class ListedExercises(ExerciseProof):
    """Also: README, exercises and their tests say the same of every task, and each has four planted bugs or more.

    Attributes
    ----------
    tasks : int
        How many there are.
    """

    tasks: int

    @pytest.fixture
    def said(self) -> dict[str, tuple[str, str]]:
        """What the docstrings say of each task: (difficulty, minutes), both as text."""
        found = re.findall(r"\n    Difficulty (\d) of 3, (\d+) minutes\. Hint: ", self.source)
        tasks = list(dict.fromkeys(task for task, _ in solutions(self.source)))  # some have two functions
        assert len(found) == len(tasks) == self.tasks
        return dict(zip(tasks, found, strict=True))

    def test_the_readme_lists_the_exercises(self, said: dict[str, tuple[str, str]]) -> None:
        rows = (self.folder / "README.md").read_text("utf-8").splitlines()
        for task, numbers in said.items():
            (line,) = [row for row in rows if row.startswith(f"| {task} |")]
            assert tuple(cell.strip() for cell in line.strip("|").split("|")[2:]) == numbers

    def test_the_tests_say_what_the_exercises_say(self, said: dict[str, tuple[str, str]]) -> None:
        checked = set()
        for file in sorted(self.folder.glob("test_exercises*.py")):
            module = load(file, f"{file.stem}_of_{self.lesson}")
            marks = [mark for value in vars(module).values() for mark in getattr(value, "pytestmark", [])]
            kinds = {mark.kwargs["id"]: mark.kwargs for mark in marks if mark.name == "task"}
            assert kinds, file.name
            for task, kind in kinds.items():
                assert (str(kind["difficulty"]), str(kind["minutes"])) == said[task], f"{file.name}: {task}"
            checked |= set(kinds)
        assert checked == set(said)

    def test_every_task_has_four_planted_bugs(self, said: dict[str, tuple[str, str]]) -> None:
        files = sorted(self.folder.glob("mutants*.py"))
        bugs = [bug["task"] for file in files for bug in load(file, f"{file.stem}_of_{self.lesson}").MUTANTS]
        assert {task: bugs.count(task) for task in said if bugs.count(task) < 4} == {}


if __name__ == "__main__":
    found = run_all(Path(sys.argv[1]).resolve())
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(json.dumps(found), "utf-8")
    print(f"\n{'task':6}{'planted bug':84}caught by")
    for m in found["mutants"]:
        print(f"{m['task']:6}{m['title']:84}{m['caught'][0] if m['caught'] else 'NOTHING'}")
