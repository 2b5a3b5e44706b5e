"""Lesson 00's steps with CUDA: they run in the simulator, and their kernels compile for three generations of GPUs."""

import ast
import os
import subprocess
import sys

import numpy as np
import pytest
from _steps import LESSONS

FOLDER = LESSONS / "00_engine"
STEPS = ("step8_cuda", "step9_shared", "step10_registers")


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_step_runs_in_the_simulator_and_claims_no_time(step, tmp_path):
    path = os.pathsep.join([str(LESSONS.parent), str(LESSONS.parent / "kernels")])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / f"{step}.py"), "--smoke", "--out", str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": path},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("This runs on: simulator\n")
    assert " ms" not in done.stdout and "FLOP/s\n" not in done.stdout.replace("allows, TFLOP/s\n", "")
    assert list(tmp_path.glob("*.png"))


def definitions(name):
    """Return what a file imports and defines, without running the rest: launching a kernel would need a GPU."""
    path = FOLDER / f"{name}.py"
    tree = ast.parse(path.read_text("utf-8"), str(path))
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef)
    tree.body = [node for node in tree.body if isinstance(node, kept) or ast.unparse(node).startswith("TILE =")]
    found = {"__name__": name}
    exec(compile(tree, str(path), "exec"), found)
    return found


def kernels():
    """Yield (kernel, shapes and dtypes of its arguments, threads of a block) of the steps, and of task 0.11."""
    matrices = [(2, np.float32)] * 3
    step8, step9, step10, exercises = map(definitions, (*STEPS, "exercises"))
    yield step8["product"], matrices, 256
    yield step8["noted"], matrices[:2] + [(4, np.int32)] * 2, 32
    yield exercises["tiled_product"], matrices, 16
    for note in (True, False):
        for tile in (2, 8, 32):
            yield step9["make"](tile, note=note), matrices + [(5, np.int32)] * 2, tile**2
        for tile, outputs in ((8, 1), (8, 2), (8, 4), (8, 8), (16, 1), (16, 2), (16, 4), (16, 8)):
            yield step10["make"](tile, outputs, note), [*matrices, (1, np.uint64)], tile**2


@pytest.mark.cuda_compile
def test_the_kernels_compile_for_gpus_in_registers_and_float32():
    from compiling import why_not

    if reason := why_not():
        pytest.skip(reason)
    from numba import from_dtype, types
    from recording import Launch
    from survey import CAPABILITIES, compiled

    problems = []
    for kernel, arguments, threads in kernels():
        signature = tuple(types.Array(from_dtype(np.dtype(dtype)), ndim, "C") for ndim, dtype in arguments)
        problems += compiled(Launch(kernel, signature, threads), CAPABILITIES).problems()
    assert not problems, "\n".join(problems)
