"""Random numbers by position: published Philox vectors, reference = cpu, independence of batch, order and dtype."""

import numpy as np
import pytest

from tinyconv_kernels.cpu import random as cpu
from tinyconv_kernels.reference import random as reference

modules = pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
ONES = 0xFFFFFFFF
# Random123's known answers (Salmon et al. 2011): counter, key, the four words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
]


@pytest.mark.parametrize("counter,key,words", KNOWN)
def test_philox_known_answers(counter, key, words):
    assert tuple(int(w) for w in reference._philox(counter, key)) == words
    arguments = (np.uint64(n) for n in counter + key)
    mix = getattr(cpu._philox, "py_func", cpu._philox)  # the plain function, also under NUMBA_DISABLE_JIT=1
    assert tuple(int(w) for w in mix(*arguments)) == words


def uniform(module, shape, samples, seed=1, stream=2, dtype=np.float32):
    out = np.full(shape, 77, dtype)
    module.random_uniform(out, np.asarray(samples), seed, stream)
    return out


@modules
def test_known_answers_reach_the_output(module):
    """Counter (0, 0, 0, 0) and key (0, 0) are element 0 of sample 0 with seed 0 and stream 0."""
    want = [(w >> 8) / 2**24 for w in KNOWN[0][2]]
    assert uniform(module, (1, 4), [0], 0, 0, np.float64)[0].tolist() == want
    assert uniform(module, (1, 4), [0], 0, 0, np.float32)[0].tolist() == want


@pytest.mark.parametrize("shape", [(3, 10), (2, 5000), (1, 1), (0, 4), (2, 0), (1, 1 << 17)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_backends_agree(shape, dtype):
    samples = np.array([0, 1, 2**40 + 5])[: shape[0]]
    want = uniform(reference, shape, samples, 2**63 + 12345, 2**32 - 1, dtype)
    np.testing.assert_array_equal(uniform(cpu, shape, samples, 2**63 + 12345, 2**32 - 1, dtype), want)
    assert ((want >= 0) & (want < 1)).all()


@modules
def test_a_number_depends_on_its_position_only(module):
    whole = uniform(module, (6, 100), np.arange(6))
    np.testing.assert_array_equal(uniform(module, (2, 100), [4, 1]), whole[[4, 1]])  # other batch, other order
    np.testing.assert_array_equal(uniform(module, (6, 33), np.arange(6)), whole[:, :33])  # other length
    for other in (uniform(module, (6, 100), np.arange(6), seed=3), uniform(module, (6, 100), np.arange(6), stream=3)):
        assert (other != whole).mean() > 0.99
    assert (uniform(module, (1, 100), [2**32]) != whole[:1]).mean() > 0.99  # the high half of the sample counts
    assert (uniform(module, (1, 100), [0], seed=1 + 2**32) != whole[:1]).mean() > 0.99


def test_uniform_is_uniform():
    x = uniform(cpu, (50, 20000), np.arange(50), dtype=np.float64)
    n = x.size
    assert abs(x.mean() - 0.5) < 5 * (1 / 12 / n) ** 0.5
    counts, _ = np.histogram(x, 100, (0, 1))
    assert ((counts - n / 100) ** 2 / (n / 100)).sum() < 99 + 5 * (2 * 99) ** 0.5  # chi-squared, five deviations
    assert abs(np.corrcoef(x[:, 1:].ravel(), x[:, :-1].ravel())[0, 1]) < 5 / n**0.5


@pytest.mark.parametrize("shape", [(3, 10), (2, 5000), (0, 4), (2, 0)])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_dropout(shape, p):
    samples = np.array([3, 1, 2])[: shape[0]]
    draws = uniform(reference, shape, samples, 5, 9, np.float64)
    masks = []
    for module in (reference, cpu):
        for dtype in (np.float32, np.float64):
            x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
            y, mask, dx = np.full_like(x, 77), np.full(shape, True), np.full_like(x, 77)
            module.dropout_forward(x, y, mask, samples, p, 2.5, 5, 9)
            module.dropout_backward(x, mask, dx, 2.5)
            np.testing.assert_array_equal(mask, draws >= p)
            np.testing.assert_allclose(y, x * mask * 2.5, rtol=1e-6)
            np.testing.assert_array_equal(dx, y)
            masks.append(mask)
    assert all((mask == masks[0]).all() for mask in masks)  # one mask for both dtypes and backends


def test_dropout_keeps_the_share():
    x = np.ones((100, 5000), np.float32)
    y, mask = np.empty_like(x), np.empty(x.shape, bool)
    cpu.dropout_forward(x, y, mask, np.arange(100), 0.25, 1 / 0.75, 1, 1)
    assert abs(mask.mean() - 0.75) < 5 * (0.75 * 0.25 / x.size) ** 0.5
