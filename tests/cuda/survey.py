"""Every kernel of the CUDA backend, compiled for several GPUs by as many processes as there is room for."""

from __future__ import annotations

import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import calls
from compiling import Capability, Compiled, architecture, compile_kernel
from recording import Launch, kernels_in_sources, public, recording

CAPABILITIES: list[Capability] = [(7, 5), (8, 0), (9, 0)]
TENSOR_CORES = (8, 0)  # have TF32 from here on
# Functions of ``scalar.py`` that may use float64 and local memory, for arrays of these types: sine and cosine do beyond
# |x| = 105615, where they take pi to more digits; float32 and int64 are compared as float64, by NumPy on the CPU too.
EXEMPT = {("sin", ("float32[]",)), ("cos", ("float32[]",))}
EXEMPT |= {(name, ("float32[]", "int64[]")) for name in ("eq", "ne", "lt", "le", "gt", "ge")}


@dataclass
class Found:
    """What became of one launch: what each architecture made of it, or why nothing could."""

    source: tuple[str, int]
    name: str
    text: str
    threads: int
    double: bool
    exempt: bool
    made: dict[Capability, Compiled] = field(default_factory=dict)
    error: str = ""

    def problems(self) -> list[str]:
        """Return a line for each thing that is wrong."""
        where = f"{self.source[0]}:{self.source[1]}"
        if self.error:
            return [f"{where} does not compile: {self.error}\n    {self.text}"]
        lines: dict[str, list[str]] = defaultdict(list)
        for (major, minor), compiled in self.made.items():
            for problem in compiled.problems(self.threads, self.double or self.exempt):
                lines[problem].append(f"sm_{major}{minor}")
        return [f"{where}: {problem} ({', '.join(archs)})\n    {self.text}" for problem, archs in lines.items()]


def launches() -> tuple[list[tuple[Launch, list[Capability]]], list[str]]:
    """Return every launch with the architectures it happens on, and what went wrong before any: a line for each."""
    wrong = []
    with recording() as record, architecture(TENSOR_CORES):
        for name, call in calls.everything():
            wrong += _failure(name, call)
        everywhere = len(record.launches)
        for name, call in calls.tensor_cores():
            wrong += _failure(name, call)
    wrong += [f"nothing calls {name}" for name in sorted(public().keys() - record.called)]
    missing = kernels_in_sources().keys() - {launch.source for launch in record.launches}
    wrong += [f"nothing launches the kernel at {file}:{line}" for file, line in sorted(missing)]
    modern = [c for c in CAPABILITIES if c >= TENSOR_CORES]
    return [(launch, CAPABILITIES if i < everywhere else modern) for i, launch in enumerate(record.launches)], wrong


def _failure(name: str, call: Callable[[], None]) -> list[str]:
    try:
        call()
    except Exception as problem:  # one call must not hide the others
        return [f"{name}: {type(problem).__name__}: {problem}"]
    return []


def compiled(launch: Launch, capabilities: list[Capability]) -> Found:
    """Compile one launch."""
    exempt = any(name in launch.made_of and all(k in launch.text for k in kinds) for name, kinds in EXEMPT)
    found = Found(launch.source, launch.name, launch.text, launch.threads, launch.double, exempt)
    try:
        made = compile_kernel(launch.kernel, launch.signature, capabilities)
        found.made = dict(zip(capabilities, made, strict=True))
    except Exception as problem:  # Numba's and the linker's errors have no common class
        found.error = f"{type(problem).__name__}: {str(problem)[:1000]}"
    return found


def share(part: int, parts: int) -> tuple[list[Found], list[str]]:
    """Compile every ``parts``-th launch. Kernels cannot be sent to another process, so each records them itself."""
    recorded, wrong = launches()
    return [compiled(*one) for one in recorded[part::parts]], wrong


def everything() -> tuple[list[Found], list[str]]:
    """Compile every launch; return what became of them, and what went wrong before any."""
    parts = min(4, os.cpu_count() or 1)
    with ProcessPoolExecutor(parts, multiprocessing.get_context("spawn")) as pool:
        shares = list(pool.map(share, range(parts), [parts] * parts))
    return [one for found, _ in shares for one in found], shares[0][1]


def table(found: Iterable[Found]) -> str:
    """Return what the kernels need at most: registers on each architecture, shared memory, threads of a block."""
    rows: dict[tuple, list[Found]] = defaultdict(list)
    for one in found:
        rows[*one.source, one.name, "float64" if one.double else ""].append(one)
    archs = "".join(f"  sm_{a}{b}" for a, b in CAPABILITIES)
    lines = [f"{'registers:':58}{archs}  shared  threads"]
    for (file, line, name, dtype), group in sorted(rows.items()):
        registers = "".join(f"{_most(group, c, 'registers') or '':>7}" for c in CAPABILITIES)
        shared = max(_most(group, c, "shared") for c in CAPABILITIES)
        what = f"{file}:{line} {name} {dtype}".ljust(50) + f"{len(group):>4} of"
        lines.append(f"{what:58}{registers}{shared or '':>8}{max(one.threads for one in group):>9}")
    return "\n".join(lines)


def _most(group: list[Found], capability: Capability, what: str) -> int:
    return max((getattr(one.made[capability], what) for one in group if capability in one.made), default=0)
