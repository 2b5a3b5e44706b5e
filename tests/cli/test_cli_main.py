"""The command line as a whole: help texts, wrong names, exit codes, how fast it answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tinyconv
from tinyconv.cli import main as module
from tinyconv.cli.main import COMMANDS, main

KNOWN = ", ".join(COMMANDS)
ROOT = Path(__file__).parent.parent.parent


def run(*arguments, cwd=None, **environment):
    """Run ``python -m tinyconv`` as a user does, warnings being errors."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    command = [sys.executable, "-W", "error", "-m", "tinyconv", *arguments]
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=300)


def failed(capsys, code, *arguments):
    """Return the one line that the command printed on standard error when it ended with ``code``."""
    assert main(arguments) == code
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("tinyconv: "), captured
    return lines[0].removeprefix("tinyconv: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: tinyconv {name}")
    examples = text.split("examples:\n")[1]
    assert all(line.startswith(f"  tinyconv {name}") for line in examples.split("\n\n")[0].splitlines() if line.strip())


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_of_the_help_can_be_parsed(name):
    parser = module._parser()
    for line in COMMANDS[name].HELP.splitlines():
        if line.startswith("  tinyconv"):
            command = re.split(r"\s{3,}", line.strip())[0]
            parser.parse_args(command.split()[1:])


def test_without_a_command_the_help_lists_them(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"    {name} " in text for name in COMMANDS)


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"tinyconv {tinyconv.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["docter"], f"there is no command 'docter'; did you mean 'doctor'? ({KNOWN})"),
        (["xyz"], f"there is no command 'xyz' ({KNOWN})"),
        (["summary", "alexnt"], "there is no model 'alexnt'; did you mean 'alexnet'? (alexnet, "),
        (["summary"], "the following arguments are required: NAME (see tinyconv summary --help)"),
        (["summary", "alexnet", "--variant", "x"], "variant must be one of 'paper', 'ungrouped', 'torchvision'"),
        (["summary", "lenet5", "--variant", "x"], "lenet5: wanted num_classes, output, device, dtype, got 'variant'"),
        (["summary", "alexnet", "--num-classes", "many"], "argument --num-classes: invalid int value: 'many'"),
        (["train", "alexnet"], "the following arguments are required: --data"),
        (["train", "alxnet", "--data", "digits"], "there is no model 'alxnet'; did you mean 'alexnet'?"),
        (["train", "alexnet", "--data", "fashon"], "there is no data set 'fashon'; did you mean 'fashion'? (fashion,"),
        (["train", "alexnet", "--data", "digits", "--epochs", "0"], "--epochs must be at least 1, got 0"),
        (["train", "alexnet", "--data", "digits", "--batch-size", "-1"], "--batch-size must be at least 1, got -1"),
        (["train", "alexnet", "--data", "digits", "--lr", "-1"], "--lr must be a positive number, got -1.0"),
        (["train", "alexnet", "--data", "digits", "--scale", "big"], "argument --scale: invalid choice: 'big'"),
        (["predict", "a.png"], "the following arguments are required: --weights"),
        (["predict", "a.png", "--weights", "no.npz", "--top", "0"], "--top must be at least 1, got 0"),
        (["lesson", "alxnet"], "there is no lesson 'alxnet'; did you mean 'alexnet'? (00_engine, 01_alexnet"),
        (["lesson", "77"], "there is no lesson '77' (00_engine, 01_alexnet"),
        (["lesson", "alexnet", "--step", "99"], "lesson 01_alexnet has no step 99; its steps are 1, 2, 3"),
        (["lesson", "--step", "1"], "--step and --main want the lesson's name"),
        (["lesson", "1", "--step", "1", "--main"], "argument --main: not allowed with argument --step"),
        (["doctor", "--all"], "unrecognized arguments: --all"),
    ],
    ids=" ".join,
)
def test_what_is_not_understood_is_one_line_and_exit_code_2(arguments, error, capsys):
    assert error in failed(capsys, 2, *arguments)


def test_what_fails_is_one_line_and_exit_code_1_and_debug_shows_where(capsys, tmp_path):
    missing = str(tmp_path / "no.npz")
    assert "there is no checkpoint" in failed(capsys, 1, "predict", "a.png", "--weights", missing)
    with pytest.raises(FileNotFoundError):
        main(["predict", "a.png", "--weights", missing, "--debug"])
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"PK\x03\x04 nonsense")
    assert "truncated, damaged or another kind of file" in failed(capsys, 1, "predict", "a.png", "--weights", str(bad))


def test_an_error_of_ours_is_not_hidden(monkeypatch):
    def broken(options):
        raise KeyError("a bug")

    monkeypatch.setattr(COMMANDS["doctor"], "run", broken)
    with pytest.raises(KeyError, match="a bug"):
        main(["doctor"])


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["doctor"], "run", interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_closed_pipe_is_no_error():
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    command = [sys.executable, "-m", "tinyconv", "summary", "alexnet"]
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(timeout=60) == 0
    process.stderr.close()


def test_summary_prints_the_papers_numbers(capsys):
    assert main(["summary", "alexnet"]) == 0
    text = capsys.readouterr().out
    assert "60,965,224" in text and "96 x 55 x 55" in text
    assert main(["summary", "alexnet", "--scale", "lesson", "--num-classes", "7"]) == 0
    assert main(["summary", "lenet5"]) == 0
    assert "60,000" in capsys.readouterr().out


def test_help_and_import_load_nothing_heavy():
    """What makes a start slow is not imported before it is needed; the time itself is the machine's, and printed."""
    code = "import sys, tinyconv.cli.main, tinyconv; print(*sys.modules)"
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    print(f"import took {time.perf_counter() - began:.2f} s")
    loaded = set(done.stdout.split())
    assert not loaded & {"matplotlib", "tqdm", "PIL", "threadpoolctl", "jinja2", "numba.cuda", "tinyconv.data"}


def test_module_and_script_are_the_same_command():
    done = run("docter")
    assert done.returncode == 2 and done.stderr.startswith("tinyconv: there is no command")
