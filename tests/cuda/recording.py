"""Run the CUDA backend without a device: kernels are not launched, but noted with the types of their arguments.

The host's side of the backend runs as it is, from ``tinyconv`` down to ``launch.py``. Only memory is the host's, full
of zeros, and a launch notes what would have been compiled: so the types are those that a GPU would see.
"""

from __future__ import annotations

import ast
import functools
import importlib
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class Launch:
    """A kernel, the Numba types of its arguments, and the threads of a block."""

    kernel: Any
    signature: tuple[Any, ...]
    threads: int

    @property
    def source(self) -> tuple[str, int]:
        """The file and the line where the kernel is written."""
        code = self.kernel.py_func.__code__
        return Path(code.co_filename).name, code.co_firstlineno

    @property
    def name(self) -> str:
        """The kernel's name, or that of the function which made it."""
        return _name(self.kernel)

    @property
    def made_of(self) -> list[str]:
        """The device functions that it was made with, by the names of those that made them."""
        return list(dict.fromkeys(_name(c) for c in _constants(self.kernel) if hasattr(c, "py_func")))

    @property
    def text(self) -> str:
        """Name, what it was made of, and the types of its arguments."""
        made_of = f"[{' '.join(self.made_of)}]" if self.made_of else ""
        return f"{self.name}{made_of}({', '.join(map(_short, self.signature))})"

    @property
    def double(self) -> bool:
        """Whether it may compute in float64: it has float64 arrays, or no arrays of floats and was made for float64.

        A number of a float32 kernel, argument or constant, is no excuse: that is the mistake to be found.
        """
        arrays = {str(kind.dtype) for kind in self.signature if hasattr(kind, "layout")}
        if "float64" in arrays or "float32" in arrays:
            return "float64" in arrays
        return "float64" in f"{self.signature} {list(_constants(self.kernel))}"


def _short(kind: Any) -> str:
    """Write array(float32, 1d, C) as float32[], UniTuple(uint32 x 2) as uint32 x 2."""
    return str(kind).replace("array(", "").replace(", 1d, C)", "[]").replace("UniTuple(", "").replace(")", "")


def _name(kernel: Any) -> str:
    return str(kernel.py_func.__qualname__).partition(".")[0]


def _constants(kernel: Any) -> Iterator[Any]:
    """Yield what a kernel or a device function took from the function that made it, and so on inwards."""
    for cell in kernel.py_func.__closure__ or ():
        yield cell.cell_contents
        if hasattr(cell.cell_contents, "py_func"):
            yield from _constants(cell.cell_contents)


@dataclass
class Record:
    """What was launched, each once and in order; and the public functions of the backend that were called."""

    launches: dict[Launch, None] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)

    def launch(self, kernel: Any, where: Any) -> Any:
        """Stand in for ``kernel[grid, threads]``."""
        threads = int(np.prod(where[1]))
        return lambda *arguments: self.launches.setdefault(Launch(kernel, tuple(map(_type, arguments)), threads))

    def noting(self, name: str, function: Any) -> Any:
        """Return the function, which also notes that it was called."""

        @functools.wraps(function)
        def wrapper(*arguments: Any) -> Any:
            self.called.add(name)
            return function(*arguments)

        return wrapper


class HostMemory(np.ndarray):
    """Stands in for Numba's device array."""

    def copy_to_host(self) -> np.ndarray:
        """Return a copy as NumPy's array."""
        return np.array(self)

    def copy_to_device(self, array: np.ndarray) -> None:
        """Write the elements of a NumPy array."""
        self[...] = array


def _type(value: Any) -> Any:
    from numba import from_dtype, typeof
    from numba.types import Array

    if isinstance(value, HostMemory):
        return Array(from_dtype(value.dtype), 1, "C")
    return typeof(value)


@contextmanager
def recording() -> Iterator[Record]:
    """Inside, the device "cuda" has memory and no arithmetic; yields the record of what it is asked for."""
    from numba import cuda
    from numba.cuda.dispatcher import CUDADispatcher

    from tinyconv import device

    memory = importlib.import_module("tinyconv_kernels.cuda.memory")
    record = Record()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CUDADispatcher, "__getitem__", lambda kernel, where: record.launch(kernel, where))
        patch.setattr(cuda, "device_array", lambda size, dtype: np.zeros(size, dtype).view(HostMemory))
        patch.setattr(memory, "_give_back", lambda raw, size: None)  # kept memory would not be zeros any more
        patch.setattr(memory, "why_not", lambda: "")
        for name, (module, function) in public().items():
            patch.setattr(module, function.__name__, record.noting(name, function))
        device._cuda.cache_clear()
        try:
            yield record
        finally:
            device._cuda.cache_clear()


def public() -> dict[str, tuple[Any, Any]]:
    """Return {name: (module, function)} of every function that the rest of tinyconv may call."""
    backend = importlib.import_module("tinyconv_kernels.cuda")
    modules = [getattr(backend, name) for name in backend.__all__]
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": (module, value)
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__ and name[0] != "_"
    }


def kernels_in_sources() -> dict[tuple[str, int], str]:
    """Return {(file, line): name} of every kernel that the backend's sources define, from the sources alone."""
    folder = Path(importlib.import_module("tinyconv_kernels").__file__ or "").parent / "cuda"
    found = {}
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for decorator in getattr(node, "decorator_list", []):
                text = ast.unparse(decorator)
                if text.startswith("cuda.jit") and "device=True" not in text:
                    found[path.name, decorator.lineno] = node.name
    return found
