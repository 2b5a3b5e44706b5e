"""The definition of every kernel in plain loops or NumPy: slow, obvious, read first."""

from . import conv, elementwise, index, matmul, norm, optim, pool, random, reduce, resize, softmax

__all__ = ["conv", "elementwise", "index", "matmul", "norm", "optim", "pool", "random", "reduce", "resize", "softmax"]
