"""The kernels for CPUs, compiled by Numba (elementwise ones are NumPy's own loops)."""

from . import conv, elementwise, index, matmul, norm, optim, pool, random, reduce, resize, softmax

__all__ = ["conv", "elementwise", "index", "matmul", "norm", "optim", "pool", "random", "reduce", "resize", "softmax"]
