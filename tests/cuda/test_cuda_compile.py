"""Every CUDA kernel compiles for the GPUs of three generations, in registers and in float32. No GPU is needed.

    pip install "numba-cuda[cu13]" && pytest -m cuda_compile tests/cuda/test_cuda_compile.py

The simulator checks no types: a kernel may pass all tests there and be refused by the compiler, keep its variables in
slow memory, or compute in float64 where float32 was meant. This check sees what the compilers make of the kernels that
the table tests/cases and tests/cuda/calls.py launch.
"""

from __future__ import annotations

from typing import Any

import pytest
from compiling import REGISTERS, SHARED, Compiled, needed

pytestmark = pytest.mark.cuda_compile


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    """Skip everything where nothing can be compiled; not in CI."""
    needed()


@pytest.fixture(scope="module")
def survey() -> tuple[list[Any], list[str]]:
    """Return what became of every launch, and what went wrong before any."""
    import survey

    return survey.everything()


def test_every_function_and_every_kernel_is_reached(survey: tuple[list[Any], list[str]]) -> None:
    assert not survey[1], "calls belong into tests/cases or tests/cuda/calls.py\n" + "\n".join(survey[1])


def test_kernels_need_no_more_than_every_gpu_has(survey: tuple[list[Any], list[str]], capsys: Any) -> None:
    from survey import table

    with capsys.disabled():
        print(f"\n{table(survey[0])}")
    problems = [line for one in survey[0] for line in one.problems()]
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems)


# ------------------------------------------------------------------------------------------ the check sees bad kernels


def problems(kernel: Any, *, threads: int = 256, double: bool = False, options: dict[str, Any] | None = None) -> str:
    """Return what the check says about a kernel of (float32 x, uint32 count)."""
    from numba import cuda, types
    from recording import Launch
    from survey import CAPABILITIES, compiled

    real = types.float64 if double else types.float32
    launch = Launch(cuda.jit(**(options or {}))(kernel), (types.Array(real, 1, "C"), types.uint32), threads)
    found = compiled(launch, CAPABILITIES)
    assert len(found.made) == len(CAPABILITIES) or found.error
    return "\n".join(found.problems())


def test_good_kernel() -> None:
    from numba import cuda, uint32

    def kernel(x: Any, count: Any) -> None:
        i = uint32(cuda.grid(1))
        if i < count:
            x[i] = x[i] * x[i]

    assert problems(kernel) == problems(kernel, double=True) == ""


def test_float64_in_a_float32_kernel() -> None:
    def constant(x: Any, count: Any) -> None:
        x[count] = x[count] * 0.1

    def division(x: Any, count: Any) -> None:
        x[count] = x[count] / count

    assert "float64 instructions (sm_75, sm_80, sm_90)" in problems(constant)
    assert "float64 instructions" in problems(division)
    assert problems(constant, double=True) == ""


def test_float64_constant_of_a_float32_kernels_factory() -> None:
    """It looks like what a float64 kernel is made of."""
    import numpy as np

    tenth = np.float64(0.1)

    def kernel(x: Any, count: Any) -> None:
        x[count] = x[count] * tenth

    assert "float64 instructions (sm_75, sm_80, sm_90)" in problems(kernel)
    assert problems(kernel, double=True) == ""


def test_float64_argument_of_a_float32_kernel() -> None:
    from numba import cuda, types
    from recording import Launch

    @cuda.jit
    def kernel(x: Any, factor: Any) -> None:
        x[0] = x[0] * factor

    single, double = (types.Array(kind, 1, "C") for kind in (types.float32, types.float64))
    assert not Launch(kernel, (single, types.float64), 32).double
    assert Launch(kernel, (double, types.float32), 32).double and Launch(kernel, (types.float64,), 32).double


def test_a_missing_compiler_is_a_failure_in_ci(monkeypatch: Any) -> None:
    import compiling

    monkeypatch.setattr(compiling, "why_not", lambda: "no toolkit")
    monkeypatch.setenv("TINYCONV_NO_SKIPS", "1")
    with pytest.raises(pytest.fail.Exception, match="no toolkit"):
        needed()
    monkeypatch.delenv("TINYCONV_NO_SKIPS")
    with pytest.raises(pytest.skip.Exception, match="no toolkit"):
        needed()


def test_array_in_local_memory() -> None:
    from numba import cuda, float32

    def kernel(x: Any, count: Any) -> None:
        own = cuda.local.array(64, float32)
        for i in range(count):
            own[i % 64] = own[(7 * i) % 64] + x[i]
        x[0] = own[count]

    assert "256 bytes of local memory" in problems(kernel)


def test_too_much_shared_memory() -> None:
    from numba import cuda, float32

    def kernel(x: Any, count: Any) -> None:
        tile = cuda.shared.array((100, 128), float32)
        tile[count, count] = x[count]
        cuda.syncthreads()
        x[count] = tile[0, count]

    assert "shared" in problems(kernel)


def test_shared_memory_is_added_up() -> None:
    from compiling import compile_kernel
    from numba import cuda, float32, float64, types

    @cuda.jit
    def kernel(x: Any, count: Any) -> None:
        one = cuda.shared.array(100, float32)
        two = cuda.shared.array((3, 7), float64)
        one[count], two[0, count] = x[count], x[count]
        cuda.syncthreads()
        x[count] = one[0] + float32(two[1, count])

    (made,) = compile_kernel(kernel, (types.Array(float32, 1, "C"), types.uint32), [(8, 0)])
    assert made.shared == 100 * 4 + 3 * 7 * 8


def test_spilled_registers() -> None:
    from numba import cuda

    def kernel(x: Any, count: Any) -> None:
        a, b, c, d, e, f, g, h = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
        k, m, n, o, p, q, r, s = x[8], x[9], x[10], x[11], x[12], x[13], x[14], x[15]
        cuda.syncthreads()
        for i in range(count):
            a, b, c, d, e, f, g, h = b * x[i], c * a, d * b, e * c, f * d, g * e, h * f, k * g
            k, m, n, o, p, q, r, s = m * h, n * k, o * m, p * n, q * o, r * p, s * q, a * r
        x[0] = a + b + c + d + e + f + g + h + k + m + n + o + p + q + r + s

    assert problems(kernel) == ""
    assert "bytes spilled" in problems(kernel, options={"max_registers": 16})


def test_what_numba_cannot_type() -> None:
    def kernel(x: Any, count: Any) -> None:
        x[count] = x.no_such_thing

    assert "does not compile: TypingError" in problems(kernel)


def test_blocks_too_large_for_their_registers() -> None:
    made = Compiled(registers=80, shared=SHARED, spilled=0, local=0, doubles=0)
    assert made.problems(threads=768, double=False) == []
    assert made.problems(threads=1024, double=True) == ["80 registers for each of 1024 threads"]
    assert 80 * 1024 > REGISTERS
