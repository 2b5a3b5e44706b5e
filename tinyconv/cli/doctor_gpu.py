"""What ``tinyconv doctor`` says about GPUs, without importing numba.cuda unless it is asked to."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from tinyconv.cli.doctor_checks import BROKEN, NOTE, Finding, version

_LIBRARY = {"win32": "nvcuda.dll"}.get(sys.platform, "libcuda.so.1")


def driver() -> list[Finding]:
    """Return the NVIDIA driver and its devices, asked of the driver's own library."""
    found = _toolkit_path()
    try:
        cuda = ctypes.CDLL(_LIBRARY)
    except OSError:
        return [Finding("GPU", "no NVIDIA driver; tinyconv computes on the CPU"), *found]
    number, count = ctypes.c_int(), ctypes.c_int()
    code = cuda.cuInit(0)
    if code != 0:
        advice = "the driver does not start: run nvidia-smi; in a container, pass the GPU in (docker run --gpus all)"
        return [Finding("GPU", f"driver present, cuInit gives error {code}", advice, NOTE), *found]
    cuda.cuDriverGetVersion(ctypes.byref(number))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    name = ctypes.create_string_buffer(100)
    names = []
    for i in range(count.value):
        cuda.cuDeviceGetName(name, len(name), i)
        names.append(name.value.decode(errors="replace"))
    major, minor = number.value // 1000, number.value % 1000 // 10
    text = f"{', '.join(names) or 'no device'}; the driver supports CUDA {major}.{minor}"
    text += '; use it with device="cuda"'
    return [Finding("GPU", text), *_newer_toolkit(major, minor), *missing(major), *found]


def missing(major: int) -> list[Finding]:
    """Return a finding for each library that compiling for a GPU needs and that is not found."""
    if version("numba-cuda") is None:
        return [Finding("numba-cuda", "is not installed", f'pip install "tinyconv[cuda{major}]"', BROKEN)]
    from cuda.pathfinder import load_nvidia_dynamic_lib  # it comes with numba-cuda

    found = []
    for library, use in (("nvvm", "compiles kernels"), ("nvrtc", "knows the GPUs"), ("nvJitLink", "links them")):
        try:
            load_nvidia_dynamic_lib(library)
        except Exception:  # its errors differ between versions
            advice = f'pip install "tinyconv[cuda{major}]"'
            found.append(Finding(library, f"NVIDIA's library that {use} was not found", advice, BROKEN))
    return found


def _newer_toolkit(major: int, minor: int) -> list[Finding]:
    """Return a note if an installed CUDA compiler is newer than the driver: CUDA_ERROR_UNSUPPORTED_PTX_VERSION."""
    found = []
    for package in ("cuda-toolkit", "nvidia-cuda-nvcc", "nvidia-cuda-nvcc-cu12", "nvidia-cuda-nvrtc-cu12"):
        installed = version(package)
        if installed and tuple(int(n) for n in installed.split(".")[:2] if n.isdigit()) > (major, minor):
            # numba-cuda#163, #120; googlecolab/colabtools#5081
            advice = f'fails with CUDA_ERROR_UNSUPPORTED_PTX_VERSION: pip install "cuda-toolkit=={major}.{minor}.*"'
            found.append(Finding(package, f"{installed} is newer than the driver's CUDA {major}.{minor}", advice, NOTE))
    return found


def _toolkit_path() -> list[Finding]:
    """Return a note if CUDA_HOME is not one existing folder (numba#9216, #10169: libnvvm is not found)."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if home and not Path(home).is_dir():
        advice = "must be one existing folder, not a list; unset it to use the toolkit that pip installed"
        return [Finding("CUDA_HOME", f"is {home!r}", advice, NOTE)]
    return []


def cuda_package() -> list[Finding]:
    """Return what numba.cuda says; imports it."""
    if version("numba-cuda") is None:
        advice = 'pip install "tinyconv[cuda13]" (or cuda12)'
        return [Finding("numba.cuda", "numba-cuda is not installed", advice, NOTE)]
    try:
        from tinyconv_kernels.cuda import memory  # which has the one import of numba.cuda
    except Exception as problem:
        advice = "pip install --upgrade numba-cuda"
        return [Finding("numba.cuda", f"cannot be imported ({type(problem).__name__}: {problem})", advice, BROKEN)]
    maker, folder = memory.package()
    return [Finding("numba.cuda", f"{maker}, {folder}, {memory.why_not() or 'finds a GPU'}"), *_try_kernel()]


def _try_kernel() -> list[Finding]:
    """Return whether a kernel of tinyconv runs: on the GPU, or in the simulator."""
    import tinyconv

    if not tinyconv.cuda.is_available():
        return []
    x = tinyconv.tensor([3.0, 4.0], device="cuda")
    if (x * x).sum().item() == 25:
        return [Finding("kernels", f"compute on the {tinyconv.cuda.device_name()}")]
    return [Finding("kernels", "give wrong numbers on the GPU", "run make gpu-check and report its output", BROKEN)]
