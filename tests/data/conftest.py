"""Fixtures of the data tests."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """A generator that starts the same in every test."""
    return np.random.default_rng(20121203)
