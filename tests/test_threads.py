"""Sharing cores: BLAS's threads are limited and restored, OpenMP's sleep, Python threads take turns."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import tinyconv
from tinyconv import nn, threads
from tinyconv.threads import limited_threads, step_lock

ROOT = Path(__file__).parent.parent


def run(code, **environment):
    """Run a program in a process of its own."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=300)


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


def test_openmp_is_loaded_passive_and_the_environment_is_left_alone():
    show = "import os, ctypes, tinyconv; print(os.environ.get('OMP_WAIT_POLICY'))"
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    # GNU OpenMP prints what it has understood when it is loaded.
    done = subprocess.run(
        [sys.executable, "-c", show], env={**clean, "PYTHONPATH": path, "OMP_DISPLAY_ENV": "true"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "None\n"
    if "OMP_WAIT_POLICY" in done.stderr:
        assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
    chosen = run(show, OMP_WAIT_POLICY="ACTIVE", OMP_DISPLAY_ENV="true")
    assert chosen.stdout == "ACTIVE\n" and "'PASSIVE'" not in chosen.stderr


def test_the_lock_is_one_per_process_and_may_be_taken_twice():
    with step_lock(), step_lock():
        taken = []
        thread = threading.Thread(target=lambda: taken.append(step_lock().acquire(blocking=False)))
        thread.start()
        thread.join()
    assert taken == [False]


@pytest.mark.slow
def test_two_threads_evaluate_and_train_under_workqueue():
    """Without the lock Numba ends the process: "Concurrent access has been detected"."""
    code = """
import threading, numpy as np, tinyconv
from tinyconv import nn, optim
tinyconv.manual_seed(0)
batches = [(np.ones((64, 3, 64, 64), np.float32), np.zeros(64, np.int64))] * 6
def work(train):
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(8), nn.Flatten(), nn.Linear(192, 3))
    if train:
        optimizer = optim.SGD(model.parameters(), 0.1)
        tinyconv.fit(model, batches, optimizer=optimizer, epochs=3, progress=False)
    else:
        for _ in range(4):
            tinyconv.evaluate(model, batches)
jobs = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
[job.start() for job in jobs]
[job.join() for job in jobs]
import numba
print(numba.threading_layer(), numba.get_num_threads())
"""
    done = run(code, NUMBA_THREADING_LAYER="workqueue", NUMBA_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "workqueue 2\n"


def test_fit_in_a_thread_that_gets_no_signals():
    import numpy as np

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
