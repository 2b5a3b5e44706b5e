"""The definition of every kernel in plain loops or NumPy: slow, obvious, read first."""

from . import elementwise, index, matmul, pool, reduce

__all__ = ["elementwise", "index", "matmul", "pool", "reduce"]
