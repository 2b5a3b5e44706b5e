"""The kernels for NVIDIA GPUs, compiled by Numba CUDA, or run by its simulator."""

import importlib
from pathlib import Path

_ALL = ["conv", "elementwise", "index", "matmul", "norm", "optim", "pool", "random", "reduce", "resize", "softmax"]
__all__ = [name for name in _ALL if (Path(__file__).parent / f"{name}.py").exists()]
for _name in __all__:
    globals()[_name] = importlib.import_module(f"{__name__}.{_name}")
