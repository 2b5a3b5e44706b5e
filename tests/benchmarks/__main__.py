"""`python -m tests.benchmarks`, or `python tests/benchmarks` from any folder."""

import sys
from pathlib import Path

if not __package__:  # run by its path: the folder itself is on sys.path, where conv.py would be a module "conv"
    root = Path(__file__).resolve().parents[2]
    sys.path[:1] = [str(root), str(root / "kernels"), str(root / "tests")]
    from benchmarks.command import main
else:
    from .command import main

if __name__ == "__main__":
    sys.exit(main())
