"""tinyconv beside PyTorch: `python -m tests.benchmarks` measures, and writes BENCHMARKS.md. See `command.py`."""
