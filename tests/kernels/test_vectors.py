"""Convolution compiled for other processors' vectors than this one's: the same tests, in a process of their own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numba
import pytest

HASWELL = "+avx2,+fma,+avx,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2,+sse,+popcnt,+bmi,+bmi2,+f16c"
TESTS = ["test_micro.py", "test_transforms.py", "test_winograd.py", "test_conv.py"]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these are x86's vectors")
@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="needs the compiled loops")
@pytest.mark.parametrize(
    ("name", "features", "size"), [("haswell", HASWELL, 32), ("generic", "+sse2", 16)], ids=["AVX2", "SSE2"]
)
def test_other_vectors(name, features, size, tmp_path):
    if name == "haswell" and not llvm.get_host_cpu_features().get("avx2"):
        pytest.skip("this processor has no AVX2")
    chosen = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    here = Path(__file__).parent
    program = (
        "import sys, pytest; from tinyconv_kernels.cpu import _micro; "
        f"assert _micro.VECTOR_BYTES == {size}; sys.exit(pytest.main(sys.argv[1:]))"
    )
    root = here.parents[1]
    paths = os.pathsep.join(str(path) for path in (root, root / "kernels"))
    done = subprocess.run(
        [sys.executable, "-c", program, "-q", "-p", "no:cacheprovider", *(str(here / test) for test in TESTS)],
        cwd=root, env={**os.environ, **chosen, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
