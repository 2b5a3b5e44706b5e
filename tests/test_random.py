"""Randomness by counting: the same numbers whatever the order, the batch size or the process."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
import tinyconv_kernels
from tinyconv import random
from tinyconv.data import DataLoader
from tinyconv.nn import functional as F

words = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def fresh():
    tc.manual_seed(0)
    yield
    tc.manual_seed(0)


@given(words, st.sampled_from(["shuffle", "augment", 7]), words, words)
def test_a_generator_is_a_function_of_its_counter(seed, stream, step, index):
    first = random.generator(seed, stream, step, index).random(8)
    random.generator(seed, stream, step + 1, index).random(100)  # what happens elsewhere does not matter
    np.testing.assert_array_equal(first, random.generator(seed, stream, step, index).random(8))


def test_every_part_of_the_counter_counts():
    counters = list(itertools.product((0, 1), ("a", "b"), (0, 1), (0, 1)))
    first_numbers = {random.generator(*c).random() for c in counters}
    assert len(first_numbers) == len(counters)


def test_generators_do_not_overlap():
    # Neighbouring counters must not be windows into one sequence.
    rows = [random.generator(0, "a", 0, index).integers(0, 2**63, 1000) for index in range(20)]
    assert len(np.unique(np.concatenate(rows))) == 20_000


def test_streams_have_the_same_number_in_every_process():
    program = "from tinyconv.random import *; print(stream_id('shuffle'), generator(3, 'shuffle').integers(10**9))"
    run = [sys.executable, "-c", program]
    found = {
        subprocess.run(run, capture_output=True, text=True, check=True, env=environment()).stdout for _ in range(2)
    }
    assert found == {f"{random.stream_id('shuffle')} {random.generator(3, 'shuffle').integers(10**9)}\n"}
    assert random.stream_id(2**32 + 5) == 5


def environment():
    """Return the environment with the checkout on the path, however this session found it."""
    roots = [os.path.dirname(os.path.dirname(m.__file__)) for m in (tc, tinyconv_kernels)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}


# ----------------------------------------------------------------------------------------- manual_seed


def test_manual_seed_starts_again():
    def draws():
        tensors = tc.randn(3), tc.rand(2, dtype=tc.float64), tc.randint(0, 9, (4,)), tc.randperm(5)
        return [x.tolist() for x in tensors]

    tc.manual_seed(5)
    first = draws()
    assert first != draws()
    tc.manual_seed(5)
    assert first == draws() and random.initial_seed() == 5
    tc.manual_seed(6)
    assert first != draws()


def test_numbers_are_those_of_their_distribution():
    x, u = tc.randn(100_000).numpy(), tc.rand(100_000).numpy()
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02
    assert 0 <= u.min() and u.max() < 1 and abs(u.mean() - 0.5) < 0.01
    assert set(tc.randint(2, 5, (1000,)).tolist()) == {2, 3, 4}
    assert sorted(tc.randperm(100).tolist()) == list(range(100))


# --------------------------------------------------------------------------------------------- dropout


def masks(samples, step=0, width=64):
    """Return which elements dropout keeps in a step on these samples."""
    with random.training_step(step, samples):
        return F.dropout(tc.ones(len(samples), width), 0.5).numpy() != 0


def test_dropout_of_a_sample_does_not_depend_on_its_batch():
    whole = masks(range(8))
    np.testing.assert_array_equal(masks([5, 2, 7]), whole[[5, 2, 7]])
    np.testing.assert_array_equal(np.concatenate([masks([0, 1, 2]), masks([3]), masks([4, 5, 6, 7])]), whole)


def test_dropout_differs_between_samples_steps_layers_and_seeds():
    whole = masks(range(8))
    assert len({row.tobytes() for row in whole}) == 8
    assert (masks(range(8), step=1) != whole).any()
    with random.training_step(0, range(8)):
        first, second = (F.dropout(tc.ones(8, 64), 0.5).numpy() != 0 for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(first, whole)
    tc.manual_seed(1)
    assert (masks(range(8)) != whole).any()


def test_a_step_repeats_after_other_draws():
    whole = masks(range(4), step=3)
    tc.randn(10)
    masks(range(4), step=2)
    np.testing.assert_array_equal(masks(range(4), step=3), whole)


def test_a_training_step_leaves_what_was_before():
    tc.manual_seed(3)
    wanted = [tc.randn(2).tolist(), tc.randn(2).tolist()]
    tc.manual_seed(3)
    found = [tc.randn(2).tolist()]
    with random.training_step(9, [1, 2]):
        F.dropout(tc.ones(2, 2))
    with pytest.raises(ZeroDivisionError), random.training_step(9, None):
        raise ZeroDivisionError
    assert [*found, tc.randn(2).tolist()] == wanted


def test_a_samples_own_generator_depends_on_no_batch():
    def draws(samples, step=3):
        with random.training_step(step, samples):
            return [[g.random() for g in random.sample_generators("rois", len(samples))] for _ in range(2)]

    first, second = draws([4, 7, 9])
    assert len({*first, *second}) == 6  # of each sample, and of each call
    assert draws([9, 4]) == [[first[2], first[0]], [second[2], second[0]]]
    assert draws([4, 7, 9], step=4)[0][0] != first[0]
    tc.manual_seed(1)
    assert draws([4, 7, 9])[0][0] != first[0]


def test_dropout_outside_a_training_step():
    tc.manual_seed(0)
    first = F.dropout(tc.ones(4, 64)).tolist()
    assert F.dropout(tc.ones(4, 64)).tolist() != first
    tc.manual_seed(0)
    assert F.dropout(tc.ones(4, 64)).tolist() == first


def test_dropout_is_the_same_on_every_backend_and_dtype():
    wanted = masks(range(5))
    with tc.backend("reference"):
        np.testing.assert_array_equal(masks(range(5)), wanted)
    with random.training_step(0, range(5)):
        np.testing.assert_array_equal(F.dropout(tc.ones(5, 64, dtype=tc.float64), 0.5).numpy() != 0, wanted)


def test_threads_share_the_draws_but_not_the_training_step():
    tc.manual_seed(3)
    wanted = [tc.randn(2).tolist() for _ in range(3)]
    tc.manual_seed(3)
    with ThreadPoolExecutor(1) as pool:
        found = [tc.randn(2).tolist(), pool.submit(lambda: tc.randn(2).tolist()).result()]
        with random.seeded(5), random.training_step(9, [4]):
            mask = F.dropout(tc.ones(1, 64)).tolist()
            found.append(pool.submit(lambda: tc.randn(2).tolist()).result())  # that thread is in no step
        assert found == wanted
        tc.manual_seed(5)  # for all threads
        assert pool.submit(random.initial_seed).result() == 5

        def step():
            with random.training_step(9, [4]):
                return F.dropout(tc.ones(1, 64)).tolist()

        assert pool.submit(step).result() == mask


def test_workers_of_a_loader_draw_different_numbers():
    class Noise:
        def __len__(self):
            return 8

        def __getitem__(self, index):
            return tc.rand(1).numpy().copy(), 0

    loader = DataLoader(Noise(), 2, workers=2)
    values = [float(v) for _ in range(2) for batch in loader for v in batch[0].numpy().ravel()]
    assert len(set(values)) == 16
