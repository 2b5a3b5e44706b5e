"""Run every check on the GPU, print one report, and say in the last line whether it is green.

    make gpu-check                      in .venv, with PyTorch beside it
    make gpu-check PYTHON=python3       with that interpreter; nothing is installed (a machine without network)
    make gpu-check ARGS=--write         puts the report into BENCHMARKS.md
    python -m tests.gpu_check --rows max_pool2d --no-speed

Needs NumPy, Numba and numba-cuda; pytest is not needed. PyTorch, if it is there, is timed beside. In the simulator
(``NUMBA_ENABLE_CUDASIM=1``) the rows and small networks run, nothing is timed; --quick takes a minute or two there.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]

import tinyconv  # noqa: E402
from gpu_check import products, report, rows, speed, steps  # noqa: E402 (needs the paths above)


def main() -> int:
    """Run the checks; 0 if all is right, 1 if not, 2 without a GPU."""
    options = _options()
    try:
        tinyconv.device.check_name("cuda")
    except RuntimeError as problem:
        print(f"gpu-check: {problem}", file=sys.stderr)
        return 2
    found, machine = report.Report(), _machine()
    print(f"gpu-check on {machine}\n", flush=True)
    stopped = ""
    try:
        _run(found, options)
    except report.StoppedError as problem:
        stopped = str(problem)
        found.failures.append(stopped)
    if options.json:
        text = json.dumps({"machine": machine, "failures": found.failures, "speed": found.figures}, indent=1)
        Path(options.json).write_text(text, "utf-8")
    if options.write:
        report.write(report.section(found, machine))
        print(f"\nwritten to {' and '.join(str(file.relative_to(ROOT)) for file in report.FILES)}")
    if stopped:
        print(f"\n{stopped}")
    print(f"\n{len(found.failures)} failures" if found.failures else "\ngreen: no difference found")
    return 1 if found.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu_check", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", metavar="WORD", help="only rows of tests/cases with this word in their name")
    parser.add_argument("--quick", action="store_true", help="few rows, small networks, short times: is it worth more?")
    parser.add_argument("--no-speed", action="store_true", help="check results only")
    parser.add_argument("--json", metavar="FILE", help="write failures and figures to FILE, too")
    parser.add_argument("--write", action="store_true", help="put the report into BENCHMARKS.md")
    return parser.parse_args()


def _run(found: report.Report, options: argparse.Namespace) -> None:
    simulated = tinyconv.cuda.device_name() == "simulator"
    if simulated:  # at a barrier every thread of a block needs a turn
        sys.setswitchinterval(1e-4)
    rows.check(found, options.rows, options.quick)
    if options.rows:
        return
    products.check(found, simulated, options.quick)
    steps.check(found, simulated, options.quick)
    if not options.no_speed and not simulated:
        speed.measure(found, options.quick)


def _machine() -> str:
    import numba
    import numpy

    from benchmarks.machine import kernels

    versions = [f"Python {platform.python_version()}", f"NumPy {numpy.__version__}", f"Numba {numba.__version__}"]
    others = {name: _version(name) for name in ("numba-cuda", "torch")}
    versions += [f"{name} {number}" for name, number in others.items() if number]
    return f"{tinyconv.cuda.device_name()}; {', '.join(versions)}; kernels {kernels()}"


def _version(name: str) -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
