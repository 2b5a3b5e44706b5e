"""lesson_step: arguments, output, figures with descriptions, checkpoints of the training step, done marks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import lesson as module
from tinyconv import nn
from tinyconv.lesson import Lesson, lesson_step, read_header, steps_of

ROOT = Path(__file__).parent.parent
STEP = """# %% [markdown]
# # Step 2: a made-up step
#
# minutes 12.5 | needs step1_a.py | next step3_c.py
#
# Text.

# %%
import tinyconv

lesson = tinyconv.lesson_step(__name__)
print(lesson.name, lesson.number, lesson.smoke, lesson.seed, lesson.resume, lesson.out, lesson.rng.integers(10**6))
"""
FIGURE = """
from matplotlib import pyplot as plt
figure, axes = plt.subplots()
axes.plot([1, 2])
lesson.save(figure, "line", alt="a line that [rises]")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a made-up lesson's folder; the current folder is an empty one beside it."""
    lesson = tmp_path / "lessons" / "07_gan"
    lesson.mkdir(parents=True)
    for name in ("step1_a.py", "step3_train.py", "step10_z.py"):
        (lesson / name).write_text("")
    (lesson / "step2_b.py").write_text(STEP)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return lesson


def run(script, *arguments, **environment):
    """Run a step as a student does, warnings being errors."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    command = [sys.executable, "-W", "error", str(script), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)


def make(folder, *arguments, file="step2_b.py"):
    """Return the helper of a step, as if run with these arguments."""
    return Lesson(folder / file, module._parse(folder / file, list(arguments)))


def test_a_step_runs_from_any_folder_and_is_marked_done(folder):
    done = run(folder / "step2_b.py", "--unknown", "-f", "kernel.json", "rest")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:6] == ["07_gan", "07", "False", "0", "False", "tinyconv-output/07"]
    assert Path("tinyconv-output/07").is_dir()
    marks = json.loads(Path("tinyconv-output/done.json").read_text())
    assert list(marks) == ["07_gan"] and list(marks["07_gan"]) == ["step2_b"]
    assert module.done_steps() == marks


@pytest.mark.parametrize("text", ["{broken", "[]", '{"07_gan": 3}'])
def test_a_damaged_done_file_is_written_anew(text, folder, capsys):
    Path("tinyconv-output").mkdir()
    Path("tinyconv-output/done.json").write_text(text)
    make(folder).next()
    assert list(module.done_steps()["07_gan"]) == ["step2_b"]


def test_arguments(folder, tmp_path):
    done = run(folder / "step2_b.py", "--smoke", "--out", str(tmp_path / "o"), "--seed", "4", "--resume")
    assert done.stdout.split()[:6] == ["07_gan", "07", "True", "4", "True", str(tmp_path / "o")]
    assert not Path("tinyconv-output").exists()  # a smoke run leaves no mark
    assert run(folder / "step2_b.py").stdout.split()[-1] != done.stdout.split()[-1]
    smoke = run(folder / "step2_b.py", TINYCONV_SMOKE="1").stdout.split()
    assert smoke[2] == "True" and smoke[5] == "tinyconv-output/07/smoke"
    text = run(folder / "step2_b.py", "--help").stdout
    assert "Step 2: a made-up step" in text and "--smoke" in text


def test_a_failed_or_interrupted_step_is_not_done(folder):
    for end, code in (("1 / 0", 1), ("from tinyconv import interrupt; interrupt.leave()", 130)):
        (folder / "step2_b.py").write_text(STEP + end)
        assert run(folder / "step2_b.py").returncode == code
        assert not Path("tinyconv-output/done.json").exists()


def test_figures_without_a_display(folder):
    (folder / "step2_b.py").write_text(STEP + FIGURE)
    done = run(folder / "step2_b.py", "--smoke", DISPLAY="", WAYLAND_DISPLAY="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "figure: tinyconv-output/07/smoke/line.png"


def test_imported_steps_take_no_arguments_and_leave_no_mark(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest", "--smoke", "--seed", "3"])
    globals_ = {"__file__": str(folder / "step2_b.py"), "__name__": "step2_b", "lesson_step": lesson_step}
    exec("lesson = lesson_step(__name__)", globals_)
    lesson = globals_["lesson"]
    assert (lesson.smoke, lesson.seed, lesson.number) == (False, 0, "07")


def test_in_a_notebook_the_folder_tells_the_lesson(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "ipykernel", module)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "/run/kernel-1.json", "--seed", "x"])
    globals_ = {"__name__": "__main__", "lesson_step": lesson_step}
    exec("lesson = lesson_step(__name__)", globals_)
    assert globals_["lesson"].number == "07" and globals_["lesson"].seed == 0


def test_the_seed_is_that_of_the_engine_too(folder):
    draws = []
    for seed in (0, 0, 1):
        lesson = make(folder, "--seed", str(seed))
        tinyconv.manual_seed(lesson.seed)
        draws.append((lesson.rng.random(), tinyconv.randn(1).item()))
    assert draws[0] == draws[1] != draws[2]


# ---------------------------------------------------------------------------------------------------------- figures
def test_save_writes_png_description_and_index(folder, capsys):
    from matplotlib.figure import Figure
    from PIL import Image

    lesson = make(folder)
    for name, alt in (("a", "first"), ("b", "a line\n that [rises]"), ("a.png", "the first, again")):
        path = lesson.save(Figure(), name, alt=alt)
    assert path == Path("tinyconv-output/07/a.png")
    assert capsys.readouterr().out.splitlines() == [f"figure: tinyconv-output/07/{n}.png" for n in "aba"]
    with Image.open(path) as image:
        assert image.format == "PNG" and image.text["Description"] == "the first, again"
    index = Path("tinyconv-output/07/figures.md").read_text()
    assert index == "# Figures of lesson 07_gan\n\n![a line that (rises)](b.png)\n\n![the first, again](a.png)\n"


def test_saved_pyplot_figures_are_closed(folder):
    from matplotlib import pyplot as plt

    lesson = make(folder)
    figure, _ = plt.subplots()
    lesson.save(figure, "a", alt="nothing")
    assert not plt.fignum_exists(figure.number)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"alt": "  "}, ValueError, "alt must say in a sentence what the figure 'a' shows"),
        ({"name": "b/c", "alt": "x"}, ValueError, "name must be a plain file name"),
        ({"fig": np.ones(3), "alt": "x"}, TypeError, "fig must be a matplotlib Figure, got ndarray"),
        ({}, TypeError, "alt"),
    ],
)
def test_bad_figures(arguments, error, match, folder):
    from matplotlib.figure import Figure

    arguments = {"fig": Figure(), "name": "a", **arguments}
    with pytest.raises(error, match=match):
        make(folder).save(arguments.pop("fig"), arguments.pop("name"), **arguments)
    assert not list(Path().rglob("*.png"))


def test_an_output_folder_that_cannot_be_made_is_said(folder):
    Path("tinyconv-output").write_text("a file")
    with pytest.raises(OSError, match="cannot write to the folder tinyconv-output/07 .*--out DIR"):
        make(folder).out  # noqa: B018
    done = run(folder / "step2_b.py")
    assert done.returncode == 1 and done.stdout == "", "said before the step works, and not after"
    assert len(done.stderr.splitlines()) == 1 and "choose one: --out DIR" in done.stderr


# ----------------------------------------------------------------------------------------------------------- models
def build():
    """Return an untrained model."""
    tinyconv.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 2), nn.Dropout())


def set_to(value):
    """Return a training that sets the bias."""
    return lambda model: model[0].bias.data.fill(value)


def test_load_or_train(folder, capsys):
    lesson = make(folder)
    model = lesson.load_or_train(build, set_to(5), short="1 epoch, 3 s")
    assert model[0].bias.detach().numpy().tolist() == [5, 5] and not model.training
    assert capsys.readouterr().out == (
        "model: no tinyconv-output/07/model.npz yet (step3_train.py makes it), so now 1 epoch, 3 s\n"
    )
    model = lesson.load_or_train(build, set_to(6), short="1 epoch, 3 s")  # kept, not trained again
    assert model[0].bias.detach().numpy().tolist() == [5, 5]
    assert "model-short.npz: 1 epoch, 3 s; step3_train.py trains in full" in capsys.readouterr().out

    trained = build()
    set_to(7)(trained)
    tinyconv.save(lesson.checkpoint(), trained, epoch=8)
    model = lesson.load_or_train(build, set_to(6))
    assert model[0].bias.detach().numpy().tolist() == [7, 7]
    assert capsys.readouterr().out == "model: tinyconv-output/07/model.npz, 8 epochs\n"


def test_load_or_train_names_the_step_that_leaves_the_model(folder, capsys):
    lesson = make(folder)
    lesson.load_or_train(build, set_to(5), name="other", short="2 s", step="step2_y.py")
    assert capsys.readouterr().out == ("model: no tinyconv-output/07/other.npz yet (step2_y.py makes it), so now 2 s\n")
    lesson.load_or_train(build, set_to(5), name="other", short="2 s", step="step2_y.py")
    assert capsys.readouterr().out.endswith("other-short.npz: 2 s; step2_y.py trains in full\n")


def test_load_or_train_may_be_the_whole_training(folder, capsys):
    """No step leaves the model; what is trained here is kept under its own name."""
    lesson = make(folder)
    for value in (5, 6):
        model = lesson.load_or_train(build, set_to(value), name="eyes", short="2 s", step="")
        assert model[0].bias.detach().numpy().tolist() == [5, 5]
    assert capsys.readouterr().out.splitlines() == [
        "model: no tinyconv-output/07/eyes.npz yet, so now 2 s", "model: tinyconv-output/07/eyes.npz",
    ]  # fmt: skip


def test_a_training_that_was_interrupted_in_its_first_epoch_does_not_count(folder, capsys):
    lesson = make(folder)
    tinyconv.save(lesson.checkpoint(), build(), epoch=0)
    model = lesson.load_or_train(build, set_to(5))
    assert model[0].bias.detach().numpy().tolist() == [5, 5]


def test_a_checkpoint_of_an_earlier_version_of_the_lesson_says_what_to_do(folder):
    lesson = make(folder)
    tinyconv.save(lesson.checkpoint(), nn.Linear(3, 3), epoch=1)
    with pytest.raises(ValueError, match="model.npz does not fit the model.*If the lesson has changed since, delete"):
        lesson.load_or_train(build, set_to(5))


def test_resume_is_offered_to_the_interrupted(folder, monkeypatch):
    from tinyconv import interrupt

    monkeypatch.setattr(interrupt, "_resume_option", None)
    monkeypatch.setattr(sys, "orig_argv", ["python", "a b.py"])
    assert interrupt.resume_command(Path("c.npz")) == 'the same program, with fit(..., resume="c.npz")'
    assert make(folder).resume is False
    assert interrupt.resume_command(Path("c.npz")) == "python 'a b.py' --resume"
    monkeypatch.setattr(sys, "orig_argv", ["python", "a.py", "--resume"])
    assert make(folder, "--resume").resume is True
    assert interrupt.resume_command(Path("c.npz")) == "python a.py --resume"


# ------------------------------------------------------------------------------------------------------ steps, headers
def test_next_names_the_next_step_by_number(folder, capsys):
    make(folder).next()
    make(folder, file="step3_train.py").next(why="deeper")
    make(folder, file="step10_z.py").next()
    make(folder).next("../08_x/step1_y.py", why="words")
    assert capsys.readouterr().out.splitlines() == [
        "next: step3_train.py", "next: step10_z.py, deeper", "next: the lesson ends here",
        "next: ../08_x/step1_y.py, words",
    ]  # fmt: skip
    assert sorted(module.done_steps()["07_gan"]) == ["step10_z", "step2_b", "step3_train"]


def test_headers_and_order(folder):
    header = read_header(folder / "step2_b.py")
    assert (header.title, header.minutes, header.needs, header.next) == (
        "Step 2: a made-up step", 12.5, "step1_a.py", "step3_c.py",
    )  # fmt: skip
    assert read_header(folder / "step1_a.py").title == "step1_a"
    assert [p.name for p in steps_of(folder)] == ["step1_a.py", "step2_b.py", "step3_train.py", "step10_z.py"]


def test_every_lesson_step_says_title_minutes_needs_and_next():
    scripts = sorted(ROOT.glob("lessons/*/step*.py"))
    assert scripts
    for script in scripts:
        header = read_header(script)
        assert header.title != script.stem and header.minutes and header.needs and header.next, script
        assert "lesson = tinyconv.lesson_step(__name__)" in script.read_text(), script
