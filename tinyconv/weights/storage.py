"""Tensors as views of storages: what PyTorch's files hold. See :func:`rebuild_tensor`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinyconv.weights.problem import UnreadableError

# NumPy has no bfloat16: its 16 bits are the upper half of a float32.
_BFLOAT16 = "bfloat16"
DTYPES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": _BFLOAT16,
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?", "UntypedStorage": "u1", "_UntypedStorage": "u1",
}  # fmt: skip
_MODULES = ("torch", "torch.cuda", "torch.storage")
_AXES = 32  # of a tensor


class Kind(NamedTuple):
    """What a name such as torch.FloatStorage stands for."""

    dtype: str

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return 2 if self.dtype == _BFLOAT16 else np.dtype(self.dtype).itemsize


KINDS = {(module, name): Kind(dtype) for module in _MODULES for name, dtype in DTYPES.items()}


class Storage:
    """Numbers in a row; known by size while the pickle is read, filled afterwards."""

    def __init__(self, key: str, kind: Kind, count: int) -> None:
        self.key, self.kind, self.count = key, kind, count
        self.numbers: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.count * self.kind.itemsize

    def fill(self, raw: np.ndarray, big: bool) -> None:
        """Take the file's bytes (uint8), converted to what this machine computes with."""
        self.numbers = decode(raw, self.kind.dtype, big)


class View(NamedTuple):
    """A tensor: sizes and strides (in numbers) over a storage, from an offset on."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return _product(self.size)

    def array(self) -> np.ndarray:
        """Return the numbers, a view of the storage if they lie there in order."""
        assert self.storage.numbers is not None
        numbers = self.storage.numbers[self.offset :]
        steps = tuple(step * numbers.itemsize for step in self.stride)
        view = np.lib.stride_tricks.as_strided(numbers, self.size, steps)
        return view if view.flags.c_contiguous else np.ascontiguousarray(view)


def decode(raw: np.ndarray, dtype: str, big: bool = False) -> np.ndarray:
    """Return bytes (uint8, a copy of ours) as numbers; 16-bit floats become float32."""
    if dtype == _BFLOAT16:
        halves = raw.view(">u2" if big else "<u2").astype(np.uint32)
        return (halves << np.uint32(16)).view(np.float32)
    if dtype == "?":
        return raw != 0  # any other byte in a NumPy bool is undefined
    found = raw.view(np.dtype(dtype).newbyteorder(">" if big else "<"))
    wanted = np.dtype(np.float32) if dtype == "f2" else np.dtype(dtype)
    return found.astype(wanted, copy=False)


def storage_id(parts: Any) -> tuple[Kind, str, int]:
    """Return (kind, key, count) of a persistent id ("storage", kind, key, location, count, [view])."""
    if type(parts) is not tuple or len(parts) not in (5, 6) or parts[0] != "storage":
        raise UnreadableError("with a persistent id that names no storage")
    _, kind, key, _, count, *rest = parts
    if not isinstance(kind, Kind) or not isinstance(key, str) or not _natural(count):
        raise UnreadableError("with a storage whose kind, name or size is damaged")
    if rest and rest[0] is not None:
        raise UnreadableError(
            "with a storage inside another, as PyTorch 0.1 wrote it", "save it again with a newer PyTorch"
        )
    return kind, key, count


def rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None, meta: Any = None
) -> View:
    """Stand for torch._utils._rebuild_tensor_v2: check that the tensor lies within its storage."""
    if not isinstance(storage, Storage) or type(size) is not tuple or type(stride) is not tuple:
        raise UnreadableError("with a tensor whose storage, size or stride is missing")
    if len(size) != len(stride) or len(size) > _AXES or not all(map(_natural, (offset, *size, *stride))):
        raise UnreadableError("with a tensor whose size or stride is damaged")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    end = offset if 0 in size else last + 1
    if end > storage.count:
        raise UnreadableError(
            f"with a tensor of size {size}, stride {stride} and offset {offset} that leaves its storage "
            f"of {storage.count} numbers"
        )
    return View(storage, offset, size, stride)


def rebuild_parameter(data: Any, requires_grad: Any = True, hooks: Any = None) -> Any:
    """Stand for torch._utils._rebuild_parameter."""
    return data


def _natural(value: Any) -> bool:
    """Return whether this is a size that a file can have."""
    return type(value) is int and 0 <= value < 2**48


def _product(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
