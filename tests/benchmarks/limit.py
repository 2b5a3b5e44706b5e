"""What the machine can do at most: multiply-adds in registers alone, and copying memory. See :func:`measure`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyconv_kernels.cpu._share import share

# Tried one after another: how many independent sums, and bytes per vector. A sum waits for its own last addition only,
# so enough of them keep every unit busy; too many do not fit in the registers. What does not fit the processor is slow.
VARIANTS = tuple((sums, width) for width in (16, 32, 64) for sums in (8, 10, 12, 20, 24))
_TURNS = 1 << 16
_ARGUMENTS = _TURNS, np.float32(0.5), np.float32(1.0)  # sums go to 2: neither overflow nor denormals
_i64 = ir.IntType(64)


def _loop(sums: int, width: int) -> Any:
    """Return an intrinsic: ``turns`` times sum <- sum * a + b in ``sums`` vector registers; the sum of all lanes."""
    lanes = width // 4
    vector = ir.VectorType(ir.FloatType(), lanes)

    @intrinsic
    def multiply_adds(typing: Any, turns: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            turns, a, b = arguments
            name = f"llvm.fmuladd.v{lanes}f32"
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, name)

            def spread(value: Any) -> Any:
                one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                return builder.shuffle_vector(one, one, zeros)

            a, b = spread(a), spread(b)
            registers = [cgutils.alloca_once(builder, vector) for _ in range(sums)]
            for i, register in enumerate(registers):  # each begins elsewhere, or LLVM would see that all are equal
                builder.store(builder.fmul(b, ir.Constant(vector, [float(i + 1)] * lanes)), register)
            with cgutils.for_range(builder, turns, intp=_i64):
                for register in registers:
                    builder.store(builder.call(fma, [builder.load(register), a, b]), register)
            total = ir.Constant(ir.FloatType(), 0.0)
            for register in registers:
                value = builder.load(register)
                for lane in range(lanes):
                    total = builder.fadd(total, builder.extract_element(value, ir.Constant(ir.IntType(32), lane)))
            return total

        return types.float32(types.int64, types.float32, types.float32), codegen

    return multiply_adds


def _compiled(sums: int, width: int) -> Any:
    """Return a kernel whose tasks are one run of the loop each."""
    loop = _loop(sums, width)

    @njit(nogil=True)
    def runs(first: int, last: int, turns: int, a: Any, b: Any) -> Any:
        total = np.float32(0.0)
        for _ in range(first, last):
            total += loop(turns, a, b)
        return total

    return runs


def _rate(function: Callable[[], Any], work: float, seconds: float) -> float:
    """Return the best of many runs, in units of work per second: a limit is what is reached undisturbed."""
    function()
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return work / best


@functools.cache
def _best() -> tuple[Any, float, float]:
    """Return the fastest kernel, the operations of one of its tasks, and its rate on one thread."""
    found = []
    for sums, width in VARIANTS:
        kernel, flop = _compiled(sums, width), 2.0 * sums * (width // 4) * _TURNS
        found.append((kernel, flop, _rate(functools.partial(kernel, 0, 1, *_ARGUMENTS), flop, 0.05)))
    return max(found, key=lambda variant: variant[2])


def multiply_adds(count: int) -> float:
    """Return float32 operations per second (a multiply-add is 2) that ``count`` threads reach in registers."""
    kernel, flop, rate = _best()
    if count == 1:
        return rate
    tasks = 6 * count
    return _rate(lambda: share(count, kernel, tasks, *_ARGUMENTS), flop * tasks, 0.25)


@njit(nogil=True)
def _copy(first: int, last: int, source: np.ndarray, target: np.ndarray) -> None:
    target[first:last] = source[first:last]


def copy_rate(count: int, megabytes: int = 256) -> float:
    """Return bytes per second (read plus written) of copying an array that no cache close to a core holds."""
    source = np.ones((16 * count, megabytes * (1 << 20) // (64 * count)), np.float32)
    target = np.zeros_like(source)
    return _rate(lambda: share(count, _copy, len(source), source, target), 2 * source.nbytes, 0.5)


def measure(count: int) -> dict[str, Any]:
    """Return the limits of ``count`` threads."""
    return {"threads": count, "flops": float(f"{multiply_adds(count):.4g}"), "copy": float(f"{copy_rate(count):.4g}")}
