"""What the tests of ``explain`` are given."""

import pytest

from explain_tools import small_network


@pytest.fixture
def network(rng):
    """Return :func:`small_network` with signed weights."""
    return small_network(rng)


@pytest.fixture
def images(rng):
    """Return five non-negative images (5, 2, 12, 12)."""
    return rng.uniform(0, 1, (5, 2, 12, 12))
