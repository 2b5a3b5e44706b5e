"""The checks of ``tinyconv doctor``; each returns what it found. The advice comes from the issues named in comments."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

GOOD, NOTE, BROKEN = range(3)


@dataclass
class Finding:
    """One line of the report; ``advice`` is for those that are not GOOD."""

    what: str
    text: str
    advice: str = ""
    level: int = GOOD


def version(package: str) -> str | None:
    """Return the version of an installed distribution."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> list[Finding]:
    """Return what is installed."""
    import tinyconv

    system = f"{platform.system()} {platform.machine()}"
    found = [Finding("tinyconv", f"{tinyconv.__version__} in {Path(tinyconv.__file__).parent}")]
    found.append(Finding("python", f"{platform.python_version()} ({sys.executable}), {system}"))
    names = ("numpy", "numba", "llvmlite", "numba-cuda", "matplotlib", "tqdm", "threadpoolctl")
    found.append(Finding("packages", ", ".join(f"{name} {version(name) or 'no'}" for name in names)))
    for name in ("matplotlib", "tqdm", "threadpoolctl"):
        if version(name) is None:
            advice = f"pip install {name}; without it training or figures fail"
            found.append(Finding(name, "not installed", advice, BROKEN))
    return found


def environment() -> list[Finding]:
    """Return environment variables that make kernels slow, or change what they do."""
    known = {
        "NUMBA_DISABLE_JIT": "kernels run as plain Python, hundreds of times slower; unset it unless you are debugging",
        "NUMBA_BOUNDSCHECK": "every index is checked, several times slower; unset it unless you are debugging",
        "NUMBA_ENABLE_CUDASIM": "numba.cuda is the simulator in this process (it must be set before Python starts)",
        "NUMBA_DEBUG": "Numba prints everything it does; unset it",
    }
    found = []
    for name, advice in known.items():
        if os.environ.get(name, "0") not in ("", "0"):
            found.append(Finding(name, f"is {os.environ[name]}", advice, NOTE))
    return found


def available_cores() -> float:
    """Return how many cores this process may use: its affinity mask, and the container's quota if there is one."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else min(cores, int(quota) / int(period))
    except (OSError, ValueError):
        return cores


def cores() -> list[Finding]:
    """Return the cores and how many threads kernels would use."""
    import numba

    usable, threads = available_cores(), numba.config.NUMBA_NUM_THREADS
    text = f"{os.cpu_count()} in the machine, {usable:g} for this process, {threads} threads for kernels"
    if threads > max(usable, 1):
        advice = f"more threads than cores wait for each other: export NUMBA_NUM_THREADS={max(int(usable), 1)}"
        return [Finding("cores", text, advice, NOTE)]
    return [Finding("cores", text)]


def blas() -> list[Finding]:
    """Return NumPy's matrix library and its threads."""
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if not pools:
        return [Finding("BLAS", "unknown to threadpoolctl (Accelerate?): its threads cannot be limited")]
    text = "{internal_api} {version} for {architecture}, {num_threads} threads"
    return [Finding("BLAS", "; ".join(text.format_map({"architecture": "?", **pool}) for pool in pools))]


def svml() -> list[Finding]:
    """Return whether exp, log and tanh are vectorised by Intel's library."""
    import numba

    used = getattr(numba.config, "USING_SVML", False)
    return [Finding("SVML", "yes" if used else "no (usual with pip: exp, log and tanh in kernels are not vectorised)")]


def cache_folders() -> list[Path]:
    """Return the folders with compiled kernels: of this version of the sources, and of older ones."""
    from tinyconv_kernels import cache_folder

    folder = cache_folder()
    if os.environ.get("NUMBA_CACHE_DIR"):  # others' functions are in there too
        return [path for name in ("cpu_*", "reference_*", "tinyconv_kernels_*") for path in sorted(folder.glob(name))]
    return sorted(folder.parent.glob("numba-*"))


def _cached_files() -> list[Path]:
    return [path for folder in cache_folders() for kind in ("*.nbi", "*.nbc") for path in folder.rglob(kind)]


def clear_cache() -> tuple[int, int]:
    """Delete all compiled kernels; return how many files and bytes."""
    files = _cached_files()
    size = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink(missing_ok=True)
    return len(files), size


def cache() -> list[Finding]:
    """Return where compiled kernels are kept, and whether they can be."""
    from tinyconv_kernels import cache_folder

    folder = cache_folder()
    files = _cached_files()
    text = f"{folder}, {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB"
    probe = folder / f".doctor-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as problem:  # numba#4908, #5566: "cannot cache function: no locator available"
        advice = "kernels are compiled in every process (minutes): export NUMBA_CACHE_DIR=/a/folder/you/can/write"
        return [Finding("cache", f"{folder} cannot be written to ({problem.strerror})", advice, BROKEN)]
    if os.environ.get("NUMBA_CACHE_DIR"):  # numba#9483, #8851
        advice = "set by NUMBA_CACHE_DIR: after an edit in kernels/ callers may be stale; tinyconv doctor --clear-cache"
        return [Finding("cache", text, advice, NOTE)]
    return [Finding("cache", text)]


def kernels() -> list[Finding]:
    """Return whether a kernel compiles and computes what its definition says."""
    from tinyconv_kernels import cpu, reference

    x = np.random.default_rng(0).standard_normal((2, 3, 7, 7)).astype(np.float32)
    results = []
    began = time.perf_counter()
    for backend in (reference, cpu):
        y, switches = np.empty((2, 3, 3, 3), np.float32), np.empty((2, 3, 3, 3), np.int64)
        backend.pool.max_pool2d_forward(x, y, switches, (3, 3), (2, 2), (0, 0), (1, 1))
        results.append((y, switches))
    seconds = time.perf_counter() - began
    if all(np.array_equal(a, b) for a, b in zip(*results, strict=True)):
        return [Finding("kernels", f"max-pooling is compiled and equals its definition ({seconds:.1f} s)")]
    advice = "compiled code is wrong here: run tinyconv doctor --clear-cache, then report it with this output"
    return [Finding("kernels", "max-pooling differs from its definition", advice, BROKEN)]


def disk() -> list[Finding]:
    """Return the free space where output goes."""
    found = []
    free = shutil.disk_usage(Path.cwd()).free
    low = free < 1e9
    advice = "checkpoints need up to 1 GB; make room, or write elsewhere with --out"
    level = NOTE if low else GOOD
    found.append(Finding("disk", f"{free / 1e9:.1f} GB free in {Path.cwd()}", advice if low else "", level))
    if not os.access(Path.cwd(), os.W_OK):
        advice = "lessons write to ./tinyconv-output: go to a folder of yours, or use --out"
        found.append(Finding("disk", f"{Path.cwd()} cannot be written to", advice, NOTE))
    return found


CHECKS: tuple[Callable[[], list[Finding]], ...] = (
    versions, environment, cores, blas, svml, cache, kernels, disk,
)  # fmt: skip
