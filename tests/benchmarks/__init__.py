"""tinyconv beside PyTorch: ``python -m tests.benchmarks`` measures and writes BENCHMARKS.md; see ``command.py``."""
