"""`python -m tests.benchmarks` in the checkout, or `python PATH/tests/benchmarks` from any folder."""

import sys
from pathlib import Path

root = Path(__file__).resolve().parents[2]
# The sources beside this file are measured, installed or not. Run by its path, this folder itself came first: there
# conv.py would be a module "conv".
sys.path[: 0 if __package__ else 1] = [str(root), str(root / "kernels"), str(root / "tests")]

if __name__ == "__main__":
    from benchmarks.command import main

    sys.exit(main())
