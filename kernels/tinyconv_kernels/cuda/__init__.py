"""The kernels for NVIDIA GPUs, compiled by Numba CUDA, or run by its simulator.

Read elementwise.py first: its kernels are one line of ``scalar.py`` each. Then _cuda.py (what Numba gives us),
launch.py (grids), memory.py (where arrays live), _strided.py (views), reduce.py (sums of a block), and conv.py, which
says where its parts are.
"""

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
