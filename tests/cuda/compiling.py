"""Compile a CUDA kernel for a GPU that this machine need not have, and read what the compilers made of it.

Numba makes PTX, NVIDIA's linker makes machine code of it and says how many registers it took; both are wheels (extra
cuda13), and neither asks for a driver. Only Numba's device functions ask for a GPU's number: ``architecture`` gives it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SHARED = 48 * 1024  # bytes of static shared memory that every GPU gives a block
REGISTERS = 64 * 1024  # of a multiprocessor: a block's threads share them
_BYTES = {"8": 1, "16": 2, "32": 4, "64": 8}
_OPTIONS = {"fastmath", "launch_bounds", "opt"}  # of @cuda.jit that change code; max_registers goes to the linker
Capability = tuple[int, int]


@dataclass(frozen=True)
class Compiled:
    """What one kernel needs: registers of a thread; bytes; instructions that touch a float64."""

    registers: int
    shared: int
    spilled: int
    local: int
    doubles: int

    def problems(self, threads: int, double: bool) -> list[str]:
        """Return what is wrong with a kernel for blocks of so many threads; ``double``: it computes in float64."""
        warps = -(-threads // 32)
        found = {
            f"{self.shared} bytes of shared memory": self.shared > SHARED,
            f"{self.registers} registers for each of {threads} threads": self.registers * warps * 32 > REGISTERS,
            f"{self.spilled} bytes spilled": self.spilled > 0 and not double,
            f"{self.local} bytes of local memory": self.local > 0 and not double,
            f"{self.doubles} float64 instructions": self.doubles > 0 and not double,
        }
        return [text for text, wrong in found.items() if wrong]


def why_not() -> str:
    """Return why nothing can be compiled for a GPU here, "" if it can."""
    problems: tuple[type[Exception], ...] = (ImportError, OSError)  # numba-cuda's own are ImportErrors
    try:
        from numba import config, cuda, types

        if config.ENABLE_CUDASIM:
            return "NUMBA_ENABLE_CUDASIM is set: the simulator compiles nothing"
        from cuda.core import Linker  # noqa: F401
        from cuda.pathfinder import DynamicLibNotFoundError

        problems += (DynamicLibNotFoundError,)
        compile_kernel(cuda.jit(_nothing), (types.int32,), [(8, 0)])
    except problems as problem:
        first = str(problem).strip().partition("\n")[0][:100]
        return f'no toolkit to compile with: pip install "numba-cuda[cu13]" ({type(problem).__name__}: {first})'
    return ""


def needed() -> None:
    """Skip the test where nothing can be compiled; fail it in CI, which installs all (TINYCONV_NO_SKIPS is set)."""
    import pytest

    if reason := why_not():
        (pytest.fail if os.environ.get("TINYCONV_NO_SKIPS") else pytest.skip)(reason)


def _nothing(n: int) -> None:
    pass


@contextmanager
def architecture(capability: Capability) -> Iterator[None]:
    """Inside, Numba finds a GPU of this compute capability when it asks for one."""

    class Device:
        compute_capability = capability
        id = 0
        name = b"none"

    asking = [m for name, m in sys.modules.items() if name.startswith("numba.cuda") and "get_current_device" in vars(m)]
    real = [m.get_current_device for m in asking]  # type: ignore[attr-defined]
    try:
        for m in asking:
            m.get_current_device = Device  # type: ignore[attr-defined]
        yield
    finally:
        for m, function in zip(asking, real, strict=True):
            m.get_current_device = function  # type: ignore[attr-defined]


def compile_kernel(kernel: Any, signature: tuple[Any, ...], capabilities: Sequence[Capability]) -> list[Compiled]:
    """Compile a ``@cuda.jit`` kernel for arguments of these Numba types; raises what Numba or the linker raises."""
    found = []
    for capability, ptx in zip(capabilities, to_ptx(kernel, signature, capabilities), strict=True):
        log = _link(ptx, capability, kernel.targetoptions.get("max_registers"))
        registers = max(_numbers(r"Used (\d+) registers", log))
        spilled = sum(_numbers(r"(\d+) bytes spill stores", log) + _numbers(r"(\d+) bytes spill loads", log))
        local = sum(_numbers(r"(\d+) bytes stack frame", log))
        found.append(Compiled(registers, _shared(ptx), spilled, local, _doubles(ptx)))
    return found


def to_ptx(kernel: Any, signature: tuple[Any, ...], capabilities: Sequence[Capability]) -> list[str]:
    """Return a kernel's PTX for each architecture, with the options of its decorator."""
    # Numba's own step from types to LLVM: the slow part, done once. numba.cuda.compile would repeat it each time.
    from numba.cuda.compiler import _compile_pyfunc_with_fixup

    options = {name: kernel.targetoptions[name] for name in _OPTIONS & kernel.targetoptions.keys()}
    first = capabilities[0]
    with architecture(first):
        library, _ = _compile_pyfunc_with_fixup(
            kernel.py_func, signature, device=False, abi="numba", cc=first, **options
        )
        return ["\n".join(library.get_asm_strs(cc=capability)) for capability in capabilities]


def _link(ptx: str, capability: Capability, max_registers: int | None) -> str:
    """Return what the linker says while it makes machine code."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    arch = f"sm_{capability[0]}{capability[1]}"
    options = LinkerOptions(arch=arch, max_register_count=max_registers, ptxas_options=["-v"])
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    linker.link("cubin")
    return linker.get_info_log()


def _numbers(pattern: str, log: str) -> list[int]:
    found = [int(n) for n in re.findall(pattern, log)]
    assert found, f"the linker did not say {pattern}: {log!r}"
    return found


def _shared(ptx: str) -> int:
    """Return the bytes of static shared memory; the linker does not tell."""
    found = re.findall(r"\.shared\s+(?:\.align\s+\d+\s+)?\.[a-z](\d+)\s+[^\s\[;]+(?:\[(\d+)\])?;", ptx)
    return sum(_BYTES[bits] * int(count or 1) for bits, count in found)


def _doubles(ptx: str) -> int:
    """Return how many instructions read or write a float64. Lines that begin with a dot declare, and do nothing."""
    code = (re.sub(r"^@!?%p\d+\s+", "", line.strip()) for line in ptx.splitlines())
    return sum(".f64" in line.split(maxsplit=1)[0] for line in code if line and line[0] != ".")
