"""``tinyconv lesson``: the list with its marks, which scripts run, exit codes, no lessons."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinyconv.checkpoint import Checkpoint
from tinyconv.cli import lesson as command
from tinyconv.cli.main import main

ROOT = Path(__file__).parent.parent.parent
STEP = """# %% [markdown]
# # A title
#
# minutes 3 | needs nothing | next step2_b.py

# %%
import sys
from pathlib import Path
import tinyconv
lesson = tinyconv.lesson_step(__name__)
with open("log", "a") as log:
    log.write(f"{Path(__file__).name} {sys.argv[1:]}\\n")
"""


TRAINING = """import os, signal, sys
import numpy as np
import tinyconv
from tinyconv import data, nn, optim
lesson = tinyconv.lesson_step(__name__)
loader = data.DataLoader(data.ArrayDataset(np.zeros((4, 1, 2, 2), np.float32), np.arange(4) % 2), 2)
model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
def stop(state):
    if "--resume" not in sys.argv:
        os.kill(os.getpid(), signal.SIGINT)
def train(**how):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    tinyconv.fit(model, loader, optimizer=optimizer, epochs=2, callbacks=[stop], progress=False, **how)
"""
KEPT = "train(checkpoint=lesson.checkpoint(), resume=lesson.resume)\n"


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """Return a folder of made-up lessons that the command finds; the current folder is empty."""
    root = tmp_path / "lessons"
    for folder, steps in {"03_first": ("step1_a", "step2_b", "step10_c"), "11_second": ("step1_x",)}.items():
        (root / folder).mkdir(parents=True)
        for step in steps:
            (root / folder / f"{step}.py").write_text(STEP)
    (root / "03_first" / "main.py").write_text(STEP)
    (root / "04_not_yet").mkdir()
    monkeypatch.setattr(command, "find_lessons", lambda: root)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return root


def log():
    """Return what the steps have written, and forget it."""
    lines = Path("log").read_text().splitlines()
    Path("log").unlink()
    return lines


def test_list_with_minutes_and_marks(lessons, capsys):
    Path("tinyconv-output").mkdir()
    marks = {"step2_b": "2026-11-22", "main": "2026-11-22"}
    Path("tinyconv-output/done.json").write_text(json.dumps({"03_first": marks}))
    assert main(["lesson"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "03_first   1 of 3 steps done, 9 minutes in all"
    starts = ["  [ ] step1_a ", "  [x] step2_b ", "  [ ] step10_c ", "  [x] main "]
    assert all(line.startswith(start) for line, start in zip(lines[1:5], starts, strict=True))
    assert lines[1].endswith("3 min  A title")
    assert lines[5].startswith("11_second   0 of 1 steps done")
    assert "tinyconv lesson 03_first --step 1" in lines[-1]


def test_a_damaged_done_file_is_no_obstacle(lessons, capsys):
    Path("tinyconv-output").mkdir()
    for text in ("{broken", "[]"):
        Path("tinyconv-output/done.json").write_text(text)
        assert main(["lesson"]) == 0


@pytest.mark.parametrize("name", ["03_first", "03", "3", "first", "FIRST", "lessons/03_first/"])
def test_names(name, lessons):
    assert command._find(sorted(lessons.iterdir())[:1], name).name == "03_first"


def test_all_steps_run_in_order_and_are_marked(lessons, capfd):
    assert main(["lesson", "3", "--seed", "5", "--out", "o"]) == 0
    assert log() == [f"step{n}.py ['--out', 'o', '--seed', '5']" for n in ("1_a", "2_b", "10_c")]
    assert "=== 03_first/step10_c.py (3 of 3)" in capfd.readouterr().out
    done = json.loads(Path("tinyconv-output/done.json").read_text())
    assert set(done["03_first"]) == {"step1_a", "step2_b", "step10_c"}


def test_one_step_or_the_main_job(lessons):
    assert main(["lesson", "first", "--step", "10", "--smoke", "--resume"]) == 0
    assert log() == ["step10_c.py ['--smoke', '--resume']"]
    assert main(["lesson", "first", "--main"]) == 0
    assert log() == ["main.py []"]


def test_a_lesson_without_a_main_job(lessons, capsys):
    assert main(["lesson", "second", "--main"]) == 2
    assert "lesson 11_second has no main job; run its steps: tinyconv lesson 11_second" in capsys.readouterr().err


def test_the_first_failure_ends_it_with_its_code(lessons, capfd):
    (lessons / "03_first" / "step2_b.py").write_text("raise SystemExit(7)")
    assert main(["lesson", "3"]) == 7
    assert [line.split()[0] for line in log()] == ["step1_a.py"]
    assert "tinyconv: step2_b.py failed with exit code 7" in capfd.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="sends signals to a process group")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_step_which_saves(number, lessons, tmp_path):
    """Ctrl-C goes to the whole foreground group, SIGTERM to the command alone: the step ends in order either way."""
    (lessons / "03_first" / "step1_a.py").write_text(
        "import time\nfrom pathlib import Path\nfrom tinyconv import interrupt\n"
        "with interrupt.Interrupts() as asked:\n    Path('started').touch()\n"
        "    while not asked.requested:\n        time.sleep(0.02)\n"
        "Path('saved').touch()\ninterrupt.leave()\n"
    )
    code = (
        "import sys; from pathlib import Path; from tinyconv.cli import lesson; from tinyconv.cli.main import main\n"
        f"lesson.find_lessons = lambda: Path({str(lessons)!r}); sys.exit(main(['lesson', '3']))"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True)
    end = time.monotonic() + 60
    while not Path("started").exists() and time.monotonic() < end:
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(timeout=60) == 130
    assert Path("saved").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends signals to a process group")
def test_ctrl_c_outside_of_a_training_is_a_line(lessons, tmp_path):
    (lessons / "03_first" / "step1_a.py").write_text(
        "import time\nfrom pathlib import Path\nimport tinyconv\nlesson = tinyconv.lesson_step(__name__)\n"
        "Path('started').touch()\ntime.sleep(60)\n"
    )
    code = (
        "import sys; from pathlib import Path; from tinyconv.cli import lesson; from tinyconv.cli.main import main\n"
        f"lesson.find_lessons = lambda: Path({str(lessons)!r}); sys.exit(main(['lesson', '3']))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while not Path("started").exists() and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in error
    assert error.strip() == "step1_a was interrupted; run it again with: tinyconv lesson 03_first --step 1"


def advice(captured):
    """Return the lines that tell the reader what to do after an interruption."""
    words = ("was interrupted", "run it again", "go on with", "resume with")
    return [line for line in (captured.out + captured.err).splitlines() if any(word in line for word in words)]


@pytest.mark.skipif(os.name != "posix", reason="the step sends itself a signal")
def test_an_interrupted_training_names_the_command_that_goes_on(lessons, capfd):
    (lessons / "03_first" / "step1_a.py").write_text(TRAINING + KEPT)
    assert main(["lesson", "3", "--step", "1", "--seed", "5", "--out", "my run"]) == 130
    line = "resume with: tinyconv lesson 03_first --step 1 --out 'my run' --seed 5 --resume"
    assert advice(capfd.readouterr()) == [line]
    assert main(shlex.split(line.removeprefix("resume with: tinyconv"))) == 0
    assert not advice(capfd.readouterr())
    assert [file.name for file in Path("my run").glob("*.npz")] == ["model.npz"]  # a new start keeps the old file, too
    assert Checkpoint.read(Path("my run/model.npz")).meta["epoch"] == 2


@pytest.mark.skipif(os.name != "posix", reason="the step sends itself a signal")
@pytest.mark.parametrize(
    "rest, line",
    [
        ("train()\n", "run it again with: tinyconv lesson 03_first --step 1 --out o --seed 3"),
        ("stop(None)\n", "run it again with: tinyconv lesson 03_first --step 1 --out o --seed 3"),
        ("lesson.resume\nstop(None)\n", "go on with: tinyconv lesson 03_first --step 1 --out o --seed 3 --resume"),
    ],
    ids=["a training without a place", "no training", "between two trainings"],
)
def test_an_interrupted_step_gives_one_piece_of_advice(rest, line, lessons, capfd):
    (lessons / "03_first" / "step1_a.py").write_text(TRAINING + rest)
    assert main(["lesson", "3", "--step", "1", "--seed", "3", "--out", "o"]) == 130
    assert advice(capfd.readouterr()) == [f"step1_a was interrupted; {line}"]
    assert not Path("tinyconv-output/done.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="the step sends itself a signal")
def test_a_step_that_is_interrupted_while_it_imports(lessons, capfd):
    (lessons / "03_first" / "step1_a.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n" + STEP)
    assert main(["lesson", "3", "--seed", "2"]) == 130
    assert advice(capfd.readouterr()) == [
        "step1_a was interrupted; run it again with: tinyconv lesson 03_first --step 1 --seed 2"
    ]
    assert not Path("tinyconv-output/done.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="the step sends itself a signal")
def test_an_interrupted_main_job_names_itself(lessons, capfd):
    (lessons / "03_first" / "main.py").write_text(TRAINING + "stop(None)\n")
    assert main(["lesson", "3", "--main"]) == 130
    assert advice(capfd.readouterr()) == [
        "main was interrupted; run it again with: tinyconv lesson 03_first --main",
    ]


def test_without_a_checkout_it_says_where_the_lessons_are(monkeypatch, capsys):
    monkeypatch.setattr(command, "find_lessons", lambda: None)
    assert main(["lesson"]) == 2
    error = capsys.readouterr().err
    assert "lessons are not part of the installed package" in error and len(error.splitlines()) == 1


def test_the_checkouts_own_lessons_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.find_lessons() == ROOT / "lessons"


def test_lessons_around_the_current_folder_are_found_by_an_installed_package(tmp_path, monkeypatch):
    import tinyconv

    monkeypatch.setattr(tinyconv, "__file__", str(tmp_path / "site-packages" / "tinyconv" / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    assert command.find_lessons() is None
    monkeypatch.chdir(ROOT / "lessons" / "01_alexnet")
    assert command.find_lessons() == ROOT / "lessons"
