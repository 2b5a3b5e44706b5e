"""A machine without a GPU: nothing of CUDA is imported, and who asks for it gets one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command, **environment):
    """Run Python in a process of its own, without simulator and without GPU."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    variables = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", **environment}
    return subprocess.run([sys.executable, *command], env=variables, capture_output=True, text=True, timeout=300)


def test_training_imports_nothing_of_cuda():
    code = """
import sys, numpy as np, tinyconv
from tinyconv import nn, optim
model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.ReLU(), nn.Linear(4, 2))
batch = [(np.ones((2, 1, 6, 6), np.float32), np.array([0, 1]))]
tinyconv.fit(model, batch, optimizer=optim.SGD(model.parameters(), 0.1), epochs=1, progress=False)
print([name for name in sys.modules if name.startswith(("numba.cuda", "tinyconv_kernels.cuda", "cuda."))])
"""
    done = run("-c", code)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(
    "ask", ["tinyconv.zeros(2, device='cuda')", "tinyconv.ones(2).to('cuda')", "tinyconv.nn.Linear(2, 2).to('cuda')"]
)
def test_asking_for_a_gpu_says_what_to_do(ask):
    done = run("-c", f"import tinyconv; print(tinyconv.cuda.is_available()); {ask}")
    last = done.stderr.strip().splitlines()[-1]
    assert done.stdout == "False\n"
    assert last.startswith('RuntimeError: device "cuda": ') and 'use device="cpu", or NUMBA_ENABLE_CUDASIM=1' in last
    assert "`tinyconv doctor`" in last


def test_the_command_line_says_it_in_one_line(tmp_path):
    done = run("-m", "tinyconv", "train", "lenet5", "--data", "mnist", "--device", "cuda", "--out", str(tmp_path))
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert 'tinyconv: --device: device "cuda": no NVIDIA GPU' in done.stderr
    done = run(str(ROOT / "tests" / "gpu_check"))
    assert done.returncode == 2 and done.stderr.startswith('gpu-check: device "cuda": no NVIDIA GPU')


def test_a_broken_cuda_package_is_the_reason(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['numba.cuda'] = None\n"  # import raises ImportError, as on macOS without the package
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "kernels")])
    done = run("-c", "import tinyconv; tinyconv.zeros(2, device='cuda')", PYTHONPATH=path)
    assert 'RuntimeError: device "cuda": ' in done.stderr and "use device=" in done.stderr.splitlines()[-1]
