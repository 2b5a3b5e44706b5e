"""pytest plugin: the ``gradcheck`` and ``rng`` fixtures, the ``task`` marker, and what was deselected and why.

pytest loads it by itself where tinyconv is installed. The module imports nothing of Numba or of the engine: what a test
session sets for Numba must still count, and its start must stay quick.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

# Where running the tests of a marker takes more than ``pytest -m MARKER``.
HOW = {
    "cuda": "NUMBA_ENABLE_CUDASIM=1 pytest -m cuda, or with a GPU pytest -m cuda",
    "claim": "make claims LESSON=01",
}
_counts = pytest.StashKey[Counter]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of the lessons' exercises."""
    config.addinivalue_line("markers", "task(id, points, minutes, difficulty, hint): an exercise of a lesson")
    config.stash[_counts] = Counter()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count deselected tests by the markers that the ``-m`` expression excludes."""
    for item in items:
        excluded = re.findall(r"not\s+(\w+)", item.config.option.markexpr or "")
        reasons = [name for name in excluded if item.get_closest_marker(name)]
        item.config.stash[_counts].update(reasons[:1])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests did not run for their marker, and how to run them."""
    for marker, count in sorted(config.stash[_counts].items()):
        how = HOW.get(marker, f"pytest -m {marker}")
        terminalreporter.write_line(f'deselected: {count} test{"s"[: count > 1]} marked "{marker}"; to run: {how}')


@pytest.fixture
def rng() -> np.random.Generator:
    """Return ``np.random.default_rng(0)``, new for every test: the same numbers whatever ran before."""
    import numpy

    return numpy.random.default_rng(0)


@pytest.fixture
def gradcheck() -> Callable[..., bool]:
    """Return :func:`tinyconv.gradcheck`: call it with a function, Function or Module of yours and its inputs."""
    import tinyconv

    return tinyconv.gradcheck
