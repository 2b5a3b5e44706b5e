"""The definition of every kernel in plain loops or NumPy: slow, obvious, read first."""

from . import (
    conv,
    elementwise,
    index,
    matmul,
    maxout,
    nms,
    norm,
    optim,
    pool,
    random,
    recurrent,
    reduce,
    resize,
    roi,
    softmax,
)

__all__ = [
    "conv", "elementwise", "index", "matmul", "maxout", "nms", "norm", "optim", "pool", "random", "recurrent", "reduce",
    "resize", "roi", "softmax",
]  # fmt: skip
