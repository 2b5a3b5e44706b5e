"""One call of a kernel on the reference and on the device, and how near their arrays must be."""

import sys

import numpy as np
import pytest
from on_device import home, kernels, moved

from tinyconv_kernels import reference


@pytest.fixture
def quick_barriers():
    """Give threads turns of 0.1 ms, not 5: at a barrier of the simulator every thread of the block needs one."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


def both(file, name, *arguments):
    """Call a kernel of reference and of the device; return the NumPy arrays among the arguments, as each left them."""
    results = []
    for module, to, back in ((getattr(reference, file), np.copy, np.asarray), (kernels(file), moved, home)):
        copies = [to(a) if isinstance(a, np.ndarray) else a for a in arguments]
        getattr(module, name)(*copies)
        results.append([back(c) for c, a in zip(copies, arguments, strict=True) if isinstance(a, np.ndarray)])
    return results


def assert_equal(results):
    """The same bits, NaN being NaN."""
    for want, got in zip(*results, strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_array_equal(got, want)


def assert_close(results, rtol=None):
    """Near, measured against an array's largest value; NaN and infinities at the same places."""
    for want, got in zip(*results, strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        near = (1e-5 if want.dtype == np.float32 else 1e-12) if rtol is None else rtol
        finite = np.abs(want[np.isfinite(want)])
        np.testing.assert_allclose(got, want, rtol=near, atol=near * finite.max(initial=0))


def rubbish(shape, dtype=np.float64):
    """An output that must be overwritten completely."""
    return np.full(shape, 77, dtype)
