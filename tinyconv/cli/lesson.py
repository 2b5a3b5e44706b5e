"""``tinyconv lesson``: list the lessons, run their steps."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import tinyconv
from tinyconv import interrupt
from tinyconv.cli.names import UsageError, choose
from tinyconv.lesson import done_steps, read_header, steps_of

HELP = """list the lessons, or run one

examples:
  tinyconv lesson                        the lessons, their steps, minutes, and a mark on those you have done
  tinyconv lesson alexnet                all steps of lesson 01_alexnet, in order (also: 01_alexnet, 01, 1)
  tinyconv lesson alexnet --step 3       one step
  tinyconv lesson alexnet --main         its main job: assemble, gradient-check, train, look inside
  tinyconv lesson alexnet --smoke        every step for a few seconds, to see that all of it works

Figures and trained models go to ./tinyconv-output/NN."""
_NUMBER = re.compile(r"step(\d+)_")
_SOURCE = "lessons are not part of the installed package: get them with the source of tinyconv (its folder lessons/)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="of the lesson: 01_alexnet, 01, 1 or alexnet")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--step", type=int, metavar="N", help="run only this step")
    what.add_argument("--main", action="store_true", help="run the lesson's main job (its main.py), not its steps")
    parser.add_argument("--smoke", action="store_true", help="only show that it works, in seconds")
    parser.add_argument("--out", metavar="DIR", help="folder for figures and models")
    parser.add_argument("--seed", type=int, metavar="N", help="of every random number")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")


def run(options: argparse.Namespace) -> int:
    """List the lessons, or run steps one after the other; stop at the first that fails, with its exit code."""
    root = find_lessons()
    if root is None:
        raise UsageError(_SOURCE)
    lessons = [folder for folder in sorted(root.iterdir()) if re.match(r"\d+_", folder.name) and steps_of(folder)]
    if options.name is None:
        if options.step is not None or options.main:
            raise UsageError("--step and --main want the lesson's name: tinyconv lesson NAME --step N")
        _list(lessons)
        return 0
    folder = _find(lessons, options.name)
    scripts = _scripts(folder, options)
    passed = ["--smoke"] * options.smoke + ["--resume"] * options.resume
    for name in ("out", "seed"):
        if getattr(options, name) is not None:
            passed += [f"--{name}", str(getattr(options, name))]
    for i, script in enumerate(scripts):
        if len(scripts) > 1:
            print(f"{'' if i == 0 else chr(10)}=== {folder.name}/{script.name} ({i + 1} of {len(scripts)})", flush=True)
        step = _NUMBER.match(script.name)
        command = ["tinyconv", "lesson", folder.name, *(["--step", step[1]] if step else ["--main"]), *passed]
        code = _run_script(script, passed, shlex.join(command))
        if code == -signal.SIGINT:  # it was still importing; later, an interrupted step itself says how to go on
            print(f"{script.stem} was interrupted; run it again with: {shlex.join(command)}", file=sys.stderr)
            return interrupt.EXIT_CODE
        if code != 0:
            code = 128 - code if code < 0 else code
            if code != interrupt.EXIT_CODE:
                print(f"tinyconv: {script.name} failed with exit code {code}", file=sys.stderr)
            return code
    return 0


def find_lessons() -> Path | None:
    """Return the folder ``lessons`` of the checkout this package runs from, or of the one around the current folder."""
    package = Path(tinyconv.__file__).resolve().parent
    for root in (package.parent, Path.cwd(), *Path.cwd().parents):
        if any((root / "lessons").glob("[0-9]*_*/step*.py")):
            return root / "lessons"
    return None


def _find(lessons: list[Path], name: str) -> Path:
    wanted = name.rstrip("/").rsplit("/", 1)[-1].lower()
    for folder in lessons:
        number, _, title = folder.name.partition("_")
        if wanted in (folder.name, title, number) or (wanted.isdigit() and int(wanted) == int(number)):
            return folder
    names = [folder.name for folder in lessons]
    titles = {folder.name.partition("_")[2]: folder for folder in lessons}
    try:
        return titles[choose("lesson", wanted, list(titles))]
    except UsageError as problem:
        text = str(problem).rpartition("(")[0]
        raise UsageError(f"{text}({', '.join(names)})") from None


def _scripts(folder: Path, options: argparse.Namespace) -> list[Path]:
    steps = steps_of(folder)
    if options.main:
        main = folder / "main.py"
        if not main.is_file():
            raise UsageError(f"lesson {folder.name} has no main job; run its steps: tinyconv lesson {folder.name}")
        return [main]
    if options.step is None:
        return steps
    numbered = {int(number[1]): step for step in steps if (number := re.match(r"step(\d+)", step.name))}
    if options.step not in numbered:
        known = ", ".join(map(str, numbered))
        raise UsageError(f"lesson {folder.name} has no step {options.step}; its steps are {known}")
    return [numbered[options.step]]


def _run_script(script: Path, arguments: list[str], command: str) -> int:
    """Run a step in a process of its own, with the tinyconv that runs here, and return its exit code (-N: signal N).

    An interrupted step names ``command``, which runs it alone.
    """
    import tinyconv_kernels

    here = [str(Path(file).resolve().parent.parent) for file in (tinyconv.__file__, tinyconv_kernels.__file__)]
    path = os.pathsep.join([*here, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, interrupt.COMMAND: command}
    process = subprocess.Popen([sys.executable, str(script), *arguments], env=environment)
    before = signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the terminal sent it to the step too, which saves its work and ends
                continue
    finally:
        signal.signal(signal.SIGTERM, before)


def _list(lessons: list[Path]) -> None:
    done = done_steps()
    for folder in lessons:
        marks = done.get(folder.name, {})
        headers = [(step, read_header(step)) for step in steps_of(folder)]
        minutes = sum(header.minutes or 0 for _, header in headers)
        count = sum(step.stem in marks for step, _ in headers)
        print(f"{folder.name}   {count} of {len(headers)} steps done, {minutes:.0f} minutes in all")
        for step, header in headers:
            time = f"{header.minutes:g} min" if header.minutes is not None else ""
            print(f"  [{'x' if step.stem in marks else ' '}] {step.stem:32} {time:>7}  {header.title}")
        if (folder / "main.py").is_file():
            print(f"  [{'x' if 'main' in marks else ' '}] {'main':32} {'':7}  all of it in one go (--main)")
    first = lessons[0].name if lessons else "NAME"
    print(f"\nrun one:  tinyconv lesson {first} --step 1      all of it:  tinyconv lesson {first}")
