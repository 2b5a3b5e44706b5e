"""Run every check on the GPU, print one report, and say in the last line whether it is green.

    make gpu-check                      in .venv, with PyTorch beside it
    make gpu-check PYTHON=python3       with that interpreter; nothing is installed (a machine without network)
    python -m tests.gpu_check --rows max_pool2d --no-speed

Needs NumPy, Numba and numba-cuda; pytest is not needed. PyTorch, if it is there, is timed beside. In the simulator
(``NUMBA_ENABLE_CUDASIM=1``) the rows and the small networks run, nothing is timed.
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
from gpu_check import rows, speed, steps  # noqa: E402 (needs the paths above)


def main() -> int:
    """Run the checks; 0 if all is right, 1 if not, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu_check", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", metavar="WORD", help="only rows of tests/cases with this word in their name")
    parser.add_argument("--no-speed", action="store_true", help="check results only")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE, too")
    options = parser.parse_args()
    try:
        tinyconv.device.check_name("cuda")
    except RuntimeError as problem:
        print(f"gpu-check: {problem}", file=sys.stderr)
        return 2
    import numba
    import numpy

    simulated = tinyconv.cuda.device_name() == "simulator"
    versions = f"Python {platform.python_version()}, NumPy {numpy.__version__}, Numba {numba.__version__}"
    print(f"gpu-check on {tinyconv.cuda.device_name()}; {versions}\n", flush=True)
    failures = rows.check(options.rows)
    if not options.rows:
        failures += steps.check(small=simulated)
    figures = [] if options.no_speed or simulated or options.rows else speed.measure()
    if options.json:
        Path(options.json).write_text(json.dumps({"failures": failures, "speed": figures}, indent=1), "utf-8")
    print("\n" + "\n".join(failures) + f"\n{len(failures)} failures" if failures else "\ngreen: no difference found")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
