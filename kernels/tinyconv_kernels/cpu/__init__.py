"""The kernels for CPUs, compiled by Numba (elementwise ones are NumPy's own loops)."""

from . import conv, elementwise, index, matmul, pool, reduce

__all__ = ["conv", "elementwise", "index", "matmul", "pool", "reduce"]
