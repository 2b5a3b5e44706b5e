"""``make gpu-check`` in the simulator: it passes, and it sees a wrong kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.cuda
ROOT = Path(__file__).parents[2]


def test_rows_of_one_operation_are_green(tmp_path):
    command = [sys.executable, "-m", "tests.gpu_check", "--rows", "relu", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("gpu-check on simulator") and done.stdout.endswith("green: no difference found\n")
    assert '"failures": []' in (tmp_path / "found.json").read_text()


def test_a_wrong_kernel_is_seen(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    from gpu_check import rows
    from tinyconv_kernels.cuda import elementwise

    right = elementwise.relu_backward
    monkeypatch.setattr(elementwise, "relu_backward", lambda dy, y, dx: right(dy, dy, dx))
    failures = rows.check("leaky_relu") + rows.check("relu-")
    assert failures and all("differs at" in line and "the CPU gives" in line for line in failures)


def test_differences_are_named():
    from gpu_check.rows import differences

    a, b = np.array([1.0, np.nan, np.inf]), np.array([1.0, 2.0, np.inf])
    assert list(differences([b], [b], 0.0)) == []
    assert "array 0 differs at (1,): " in next(differences([a], [b], 1.0))
    assert "float64 (3,), the CPU's float32 (3,)" in next(differences([a], [b.astype(np.float32)], 1.0))
    assert next(differences([], [b], 1.0)) == "0 arrays, the CPU gives 1"
