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
    sampler,
    softmax,
)

__all__ = [
    "conv", "elementwise", "index", "matmul", "maxout", "nms", "norm", "optim", "pool", "random", "recurrent", "reduce",
    "resize", "roi", "sampler", "softmax",
]  # fmt: skip
