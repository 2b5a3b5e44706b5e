"""What was measured on: processor, caches, system, versions and thread pools. Nothing that names a person or a host."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from .engines import all_cores, load_torch

LIBRARIES = ("numpy", "numba", "llvmlite", "torch")


def describe() -> dict[str, Any]:
    """Return what the section "Machine" of BENCHMARKS.md shows."""
    return {"processor": processor(), "cores": all_cores(), "caches": _caches(), "system": _system(),
            "versions": versions(), "pools": _pools(), "hash of kernels": kernels()}  # fmt: skip


def versions() -> dict[str, str]:
    """Return {"Python": "3.11.9", "torch": ...}; what is not installed is left out."""
    found = {"Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def kernels() -> str:
    """Return a hash of the kernels' sources: rows of one table with different ones were not measured together."""
    from tinyconv_kernels import _source_hash

    return _source_hash()[:8]


def processor() -> str:
    """Return the processor's name."""
    text = _read("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _caches() -> str:
    """Return `L1d 48K, L2 2048K` of the first core, as the kernel of the system tells it."""
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(folder / name).strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level}{'d' if kind == 'Data' else ''} {size}")
    return ", ".join(found) or "unknown"


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = ""
    return ", ".join(filter(None, [name, f"{platform.system()} {platform.machine()}"]))


def _pools() -> list[str]:
    """Return the pools of threads in this process, one line each."""
    from threadpoolctl import threadpool_info

    from tinyconv_kernels.switches import cores

    torch = load_torch()
    torch.ones(1 << 20).sum()  # it starts its pool with its first work
    lines = [f"tinyconv's kernels: Python threads, {cores()}"]
    for pool in threadpool_info():
        of = (
            "torch" if "torch" in Path(pool["filepath"]).parts else "NumPy" if "numpy" in pool["filepath"] else "system"
        )
        details = [pool["internal_api"], pool.get("version"), pool.get("threading_layer"), pool.get("architecture")]
        lines.append(f"{pool['user_api']} ({of}'s): {', '.join(filter(None, details))}, {pool['num_threads']} threads")
    return lines


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
