"""How many cores kernels use, and which methods: the two knobs of speed."""

from __future__ import annotations

from tinyconv_kernels import switches as kernels


def get_num_threads() -> int:
    """Return how many threads a kernel uses if its work is large enough."""
    return int(kernels.switches["threads"])


def set_num_threads(count: int) -> None:
    """Let kernels and BLAS use ``count`` threads, 1 up to the number of cores, in the whole process.

    Kernels sum in an order that does not depend on the count; BLAS (linear layers, ``matmul``) may not. At the start it
    is all cores, or what the environment says: NUMBA_NUM_THREADS, and OPENBLAS_NUM_THREADS or its like.

    Raises
    ------
    ValueError
        ``count`` is no whole number from 1 to the number of cores.
    """
    cores = kernels.cores()
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= cores:
        raise ValueError(f"set_num_threads: count must be a whole number from 1 to {cores} (cores), got {count!r}")
    kernels.switches["threads"] = count
    from threadpoolctl import threadpool_limits  # here: it is slow to import

    threadpool_limits(count, user_api="blas")


def _yes_or_no(op: str, enabled: bool) -> bool:
    if not isinstance(enabled, bool):
        raise TypeError(f"{op}: wanted True or False, got {enabled!r}")
    return enabled


class use_winograd:  # noqa: N801  (a function that can also be used with `with`, as torch.set_grad_enabled)
    """Allow or forbid Winograd's method for 3x3 and 5x5 convolutions in float32 (Lavin & Gray 2016).

    It takes a quarter of the multiplications (3x3), and its results have relative errors of up to 1e-5 instead of 1e-6
    (BENCHMARKS.md has the times and the errors of each layer). It holds for the whole process, in all its
    threads.

    ``use_winograd(False)`` forbids it from now on, ``with use_winograd(False):`` inside the block; the environment
    variable ``TINYCONV_WINOGRAD=0`` from the start.
    """

    def __init__(self, enabled: bool) -> None:
        self._before = kernels.switches["winograd"]
        kernels.switches["winograd"] = _yes_or_no("use_winograd", enabled)

    def __enter__(self) -> use_winograd:
        return self

    def __exit__(self, *exception: object) -> None:
        kernels.switches["winograd"] = self._before


class allow_tf32:  # noqa: N801
    """Allow or forbid tensor cores on NVIDIA GPUs: float32 matrix products and convolutions with inputs of 10 bits.

    TF32 keeps float32's range and rounds each factor to 10 bits behind the point, so that products have relative errors
    of up to 1e-3 instead of 1e-7; sums stay float32. Off by default. Used as :class:`use_winograd` is.
    """

    def __init__(self, enabled: bool) -> None:
        self._before = kernels.switches["tf32"]
        kernels.switches["tf32"] = _yes_or_no("allow_tf32", enabled)

    def __enter__(self) -> allow_tf32:
        return self

    def __exit__(self, *exception: object) -> None:
        kernels.switches["tf32"] = self._before
