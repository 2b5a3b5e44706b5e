"""Sharing cores: BLAS's threads are limited and restored, Python threads may compute at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

import tinyconv
from tinyconv import nn, optim, threads
from tinyconv.threads import limited_threads
from tinyconv_kernels.switches import switches


def blas_threads():
    """Return the number of threads of every BLAS."""
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_a_small_model_has_one_blas_thread_for_as_long_as_anybody_wants_it():
    model = nn.Linear(2, 2)
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        first, second = limited_threads(model), limited_threads(model)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        if before:
            assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == before


def test_a_large_model_keeps_its_threads(monkeypatch):
    monkeypatch.setattr(threads, "_LARGE", 6)
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with limited_threads(nn.Linear(2, 2)):
            assert blas_threads() == before


def test_several_python_threads_train_and_evaluate_as_one_does(monkeypatch):
    """Their kernels share one pool of helpers; each ends where it would have ended alone."""
    monkeypatch.setitem(switches, "threads", 2)
    images = np.random.default_rng(0).standard_normal((32, 3, 64, 64)).astype(np.float32)
    batches = [(images, np.arange(32) % 3)] * 3

    def build():
        tinyconv.manual_seed(0)
        layers = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(31), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3)
        return nn.Sequential(*layers)

    def train(model):
        optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
        tinyconv.fit(model, batches, optimizer=optimizer, epochs=2, progress=False)
        return tinyconv.evaluate(model, batches)["loss"]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(train, [build() for _ in range(4)]))
    assert together == [train(build())] * 4


def test_fit_in_a_thread_that_gets_no_signals():
    model = nn.Linear(4, 2)
    batches = [(np.ones((3, 4), np.float32), np.array([0, 1, 1]))]
    found = []

    def work():
        optimizer = tinyconv.optim.SGD(model.parameters(), 0.1)
        found.append(tinyconv.fit(model, batches, optimizer=optimizer, epochs=2, progress=False))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(found[0]) == 2
