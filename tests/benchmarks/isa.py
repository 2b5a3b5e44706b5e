"""The same measurements on narrower vectors: the command runs again in an environment that hides the wider ones."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .engines import BenchmarkError


class Isa(NamedTuple):
    """An instruction set: what it is called by each library, and what of the processor has to be hidden for it."""

    cpu: str  # LLVM's name of a processor that has it
    hidden: tuple[str, ...]  # LLVM's features that begin so
    numpy: tuple[str, ...]  # the same for NumPy's
    variables: dict[str, str]  # PyTorch, oneDNN, MKL, OpenBLAS


_ABOVE_AVX2 = ("avx512", "avx10", "amx", "avxvnni", "avxifma", "avxneconvert", "apx", "egpr")
ISAS = {
    "avx2": Isa(
        "haswell",
        _ABOVE_AVX2,
        ("AVX512", "X86_V4"),
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
        },
    ),
    "sse": Isa(
        "nehalem",
        ("avx", "amx", "apx", "egpr", "fma", "f16c", "bmi", "vaes", "vpclmul", "gfni", "sha", "lzcnt", "movbe"),
        ("AVX", "X86_V3", "X86_V4", "FMA"),
        {
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
            "OPENBLAS_CORETYPE": "Nehalem",
        },
    ),
}
NATIVE = "native"
TITLES = {NATIVE: "all its vectors", "avx2": "AVX2 only (256 bits)", "sse": "SSE only (128 bits)"}
_MARK = "TINYCONV_BENCHMARK_ISA"  # set in the environment of the second run


def current() -> str:
    """Return what this process was started for: "native", "avx2" or "sse"."""
    return os.environ.get(_MARK, NATIVE)


def run_again(isa: str, arguments: Sequence[str]) -> int:
    """Run the command with the same arguments in the environment of ``isa``; return its exit status.

    Raises
    ------
    BenchmarkError
        The processor has no such vectors to begin with.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise BenchmarkError(f"--isa {isa}: only on x86 processors; this one is {platform.machine()}")
    command = [sys.executable, str(Path(__file__).parent), *arguments]
    return subprocess.call(command, env={**os.environ, **environment(isa)})


def environment(isa: str) -> dict[str, str]:
    """Return the variables under which every library takes ``isa`` for the best that there is."""
    import llvmlite.binding as llvm
    from numpy._core._multiarray_umath import __cpu_dispatch__ as dispatched

    from tinyconv_kernels import cache_folder

    rule, features = ISAS[isa], llvm.get_host_cpu_features()
    if isa == "avx2" and not features.get("avx2"):
        raise BenchmarkError("--isa avx2: this processor has no AVX2")
    shown = {name: on and not name.startswith(rule.hidden) for name, on in features.items()}
    return {
        _MARK: isa,
        "NUMBA_CPU_NAME": rule.cpu,
        "NUMBA_CPU_FEATURES": ",".join(f"{'+' if on else '-'}{name}" for name, on in shown.items()),
        "NUMBA_CACHE_DIR": f"{cache_folder()}-{isa}",
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in dispatched if name.startswith(rule.numpy)),
        **rule.variables,
    }
