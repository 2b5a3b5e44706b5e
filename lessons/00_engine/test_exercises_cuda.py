"""Tests of task 0.11 of exercises.py, a kernel for GPUs, in Numba's simulator: ``pytest lessons/00_engine -k 0_11``.

The expected values are NumPy's products, in float64.
"""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest


def _beside(name):
    """Import a file of this folder under a name of its own, so that several lessons can be tested together."""
    path = Path(__file__).with_name(name)
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{path.parent.name}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


exercises = _beside("exercises.py")
task = functools.partial(pytest.mark.task, id="0.11", points=1, minutes=40, difficulty=3)

PRODUCTS = {  # M, N, K for tiles of 4 x 4
    "one tile": (4, 4, 4),
    "several tiles": (8, 12, 16),
    "tiles cut off": (6, 9, 7),
    "less than a tile": (3, 2, 1),
}


@functools.cache
def simulated():
    """Run this file as a program, which sees Numba's simulator; return {product: (what is wrong, reads of A and B)}."""
    env = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run([sys.executable, __file__], env=env, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return dict.fromkeys(PRODUCTS, ("the kernel has not ended after 60 seconds: does each loop end?", 0))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@task()
@pytest.mark.parametrize("product", PRODUCTS)
def test_task_0_11_tiled_product(product):
    problem, _ = simulated()[product]
    if "task 0.11:" in problem:
        raise NotImplementedError(problem[problem.index("task 0.11:") :])
    assert not problem, f"(M, N, K) = {PRODUCTS[product]}: {problem}"


@task()
@pytest.mark.parametrize("product", PRODUCTS)
def test_task_0_11_a_block_reads_each_element_once(product):
    test_task_0_11_tiled_product(product)
    (M, N, K), reads = PRODUCTS[product], simulated()[product][1]
    allowed = M * K * -(-N // exercises.TILE) + K * N * -(-M // exercises.TILE)
    assert reads <= allowed, f"{reads} reads of global memory; {allowed} are enough"


def simulate():
    """Run ``tiled_product`` on all products, in a simulator that lets no mistake hide; print the results as JSON."""
    from numba.cuda.simulator import kernel, kernelapi
    from numba.cuda.simulator.cudadrv.devicearray import FakeWithinKernelCUDAArray as Global

    class Thread(kernel.BlockThread):
        """It pauses at each barrier, and at its end."""

        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.go, self.paused, self.ended = threading.Event(), threading.Event(), False

        def run(self):
            super().run()
            self.ended = True
            self.paused.set()

        def syncthreads(self):
            self.paused.set()
            self.go.wait()
            self.go.clear()

    def one_by_one(self, block, *arguments):
        """Run a block's threads in turn, each alone up to its next barrier."""
        places = np.ndindex(*self._block_dim)
        threads = [Thread(lambda: self._f(*arguments), self, block, place, False) for place in places]
        proceed = Thread.start
        while threads:
            for thread in threads:
                thread.paused.clear()
                proceed(thread)
                thread.paused.wait()
                if thread.exception:
                    raise thread.exception[0]
            waiting = [thread for thread in threads if not thread.ended]
            if 0 < len(waiting) < len(threads):
                raise RuntimeError("some threads of a block wait at a barrier, others have returned")
            threads, proceed = waiting, lambda thread: thread.go.set()

    def full_of_nan(self, shape, dtype):
        """Give each call in the kernel's code its own array."""
        place = sys._getframe(1).f_lasti
        if place not in self._allocations:
            self._allocations[place] = np.full(shape, np.nan, getattr(dtype, "name", dtype))
        return self._allocations[place]

    def counted(self, index):
        found = read(self, index)
        nonlocal reads
        reads += np.size(found)
        return found

    kernel.BlockManager.run, kernelapi.FakeCUDAShared.array = one_by_one, full_of_nan
    read, Global.__getitem__, reads, results = Global.__getitem__, counted, 0, {}
    rng, tile = np.random.default_rng(0), exercises.TILE
    for name, (M, N, K) in PRODUCTS.items():
        A, B = rng.standard_normal((M, K), np.float32), rng.standard_normal((K, N), np.float32)
        C, reads, problem = np.full((M, N), 99, np.float32), 0, ""
        try:
            exercises.tiled_product[(-(-N // tile), -(-M // tile)), (tile, tile)](A, B, C)
            wrong = ~(abs(C - A.astype(float) @ B) < 1e-5)
            if wrong.any():
                i, j = (int(n) for n in np.argwhere(wrong)[0])
                found, wanted = C[i, j], A[i].astype(float) @ B[:, j]
                why = ": it was never written" if found == 99 else ""
                why = ": shared memory was read before it was written" if np.isnan(found) else why
                problem = f"{wrong.sum()} of {C.size} elements of C are wrong; "
                problem += f"C[{i}, {j}] must be {wanted:.4f}, but is {found}{why}"
        except Exception as mistake:
            problem = f"{type(mistake).__name__}: {mistake}"
        results[name] = problem, reads
    print(json.dumps(results))


if __name__ == "__main__":
    simulate()
