"""Random numbers on the device have the reference's bits, whatever the length of a row, the seed and the dtype."""

import numpy as np
import pytest
from on_device import home, kernels, moved

from tinyconv_kernels.reference import random as reference

pytestmark = pytest.mark.cuda
SEEDS = [(0, 0), (2**63 + 12345, 2**32 - 1), (2**64 - 1, 7)]
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def samples_of(count):
    """Return sample numbers, one of which needs the high word."""
    return np.array([3, 2**40 + 5, 0, 2**32 - 1, 1, 2**31])[:count]


@dtypes
@pytest.mark.parametrize("shape", [(3, 10), (1, 1), (2, 7), (6, 65), (2, 8), (0, 4), (2, 0)], ids=str)
@pytest.mark.parametrize("seed,stream", SEEDS)
def test_uniform_is_the_reference(shape, seed, stream, dtype):
    random, samples = kernels("random"), samples_of(shape[0])
    want, out = np.full(shape, 77, dtype), moved(np.full(shape, 77, dtype))
    reference.random_uniform(want, samples, seed, stream)
    random.random_uniform(out, moved(samples), seed, stream)
    np.testing.assert_array_equal(home(out), want)


def test_published_words():
    """Random123's known answer (Salmon et al. 2011) for counter and key 0: element 0 of sample 0, seed 0, stream 0."""
    words = 0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8
    out = moved(np.zeros((1, 4)))
    kernels("random").random_uniform(out, moved(np.array([0])), 0, 0)
    assert home(out)[0].tolist() == [(w >> 8) / 2**24 for w in words]


@dtypes
@pytest.mark.parametrize("shape", [(3, 10), (2, 65), (0, 4), (2, 0)], ids=str)
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_dropout_is_the_reference(shape, p, dtype):
    random, samples = kernels("random"), samples_of(shape[0])
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    x[:, ::5] = np.nan  # a NaN that is dropped stays NaN: 0 x
    wanted = [np.full_like(x, 77), np.full(shape, True), np.full_like(x, 77)]
    found = [moved(a) for a in wanted]
    for module, to, (y, mask, dx) in ((reference, np.asarray, wanted), (random, moved, found)):
        module.dropout_forward(to(x), y, mask, to(samples), p, 2.5, 5, 9)
        module.dropout_backward(to(x), mask, dx, 2.5)
    for want, got in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(home(got), want)


def test_nothing_outside_is_written():
    random, memory = kernels("random"), kernels("memory")
    whole = memory.to_device(np.full(14, 7.0))
    random.random_uniform(whole[2:12].reshape(2, 5), memory.to_device(np.arange(2)), 1, 2)
    assert home(whole)[[0, 1, 12, 13]].tolist() == [7] * 4
