"""The kernels for CPUs, compiled by Numba (elementwise ones are NumPy's own loops)."""

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
