"""DeviceArray: where elements lie in a device's memory. It has NumPy's layout, and none of its arithmetic.

Shape, strides and views are worked out here, on the host; elements are touched by kernels alone. Whoever asks for them
by mistake (``np.asarray(x)``, ``float(x)``) gets an error instead of whatever the host's memory holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


class _Flags:
    """What NumPy calls ``array.flags``, as far as anybody asks."""

    __slots__ = ("c_contiguous", "writeable", "owndata")

    def __init__(self, c_contiguous: bool, writeable: bool, owndata: bool) -> None:
        self.c_contiguous, self.writeable, self.owndata = c_contiguous, writeable, owndata


class DeviceArray:
    """A view of a block of device memory.

    Attributes
    ----------
    block : object
        The memory (cuda/memory.py); it goes back to the pool when the last view of it has gone.
    shape : tuple of int
    dtype : np.dtype
    offset : int
        Position of the first element in the block, in elements.
    steps : tuple of int
        Elements from one index to the next along each axis; 0 repeats, negative goes backwards.
    base : DeviceArray or None
        What this is a view of, None if it was allocated.
    """

    __slots__ = ("block", "shape", "dtype", "offset", "steps", "base", "_dense", "__weakref__")
    __array_ufunc__ = None  # np.add(array, x), array + x: TypeError

    def __init__(
        self, block: Any, shape: tuple[int, ...], dtype: Any, offset: int = 0, steps: Any = None, base: Any = None
    ) -> None:
        self.block, self.shape, self.dtype, self.offset = block, shape, np.dtype(dtype), offset
        self.steps = row_major(shape) if steps is None else steps
        self.base, self._dense = base, True if steps is None else None

    # ---------------------------------------------------------------------------------------------- what it looks like
    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one index to the next along each axis."""
        return tuple(n * self.itemsize for n in self.steps)

    @property
    def flags(self) -> _Flags:
        """Whether the elements lie in row-major order, and whether each index has an element of its own."""
        repeated = any(step == 0 and n > 1 for n, step in zip(self.shape, self.steps, strict=True))
        return _Flags(self.is_dense(), not repeated, self.base is None)

    def is_dense(self) -> bool:
        """Whether the elements lie in row-major order, without gaps; worked out once."""
        if self._dense is None:
            self._dense = self._row_major()
        return self._dense

    def _row_major(self) -> bool:
        expected = 1
        for n, step in zip(reversed(self.shape), reversed(self.steps), strict=True):
            if n != 1:
                if step != expected:
                    return 0 in self.shape
                expected *= n
        return True

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype})"

    # ----------------------------------------------------------------------------------------------------------- views
    def _view(self, shape: Sequence[int], offset: int, steps: Sequence[int]) -> DeviceArray:
        return DeviceArray(
            self.block, tuple(shape), self.dtype, offset, tuple(steps), self if self.base is None else self.base
        )

    def reshape(self, *shape: Any) -> DeviceArray:
        """Return a view in another shape; of a copy, where the elements do not lie in row-major order."""
        wanted = tuple(int(n) for n in (shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape))
        if -1 in wanted:
            rest = math.prod(n for n in wanted if n != -1)
            wanted = tuple(self.size // max(1, rest) if n == -1 else n for n in wanted)
        if math.prod(wanted) != self.size:
            raise ValueError(f"cannot reshape array of size {self.size} into shape {wanted}")
        steps = self._steps_of(wanted)
        if steps is None:
            return self.copy().reshape(wanted)
        return self._view(wanted, self.offset, steps)

    def _steps_of(self, wanted: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the steps of the same elements in another shape, None where they cannot be a view."""
        if self.is_dense():
            return row_major(wanted)
        old = [(n, step) for n, step in zip(self.shape, self.steps, strict=True) if n != 1]
        new, steps = [n for n in wanted if n != 1], []
        while old:
            # The fewest axes on both sides that hold the same elements; then axes are joined, or cut, or both.
            joined, step = old.pop(0)
            sizes = [new.pop(0)]
            while math.prod(sizes) != joined:
                if math.prod(sizes) < joined:
                    sizes.append(new.pop(0))
                elif old and step == old[0][0] * old[0][1]:
                    n, step = old.pop(0)
                    joined *= n
                else:
                    return None
            steps += [step * inner for inner in row_major(sizes)]
        left = iter(steps)
        return tuple(0 if n == 1 else next(left) for n in wanted)

    def transpose(self, *axes: Any) -> DeviceArray:
        """Return a view with the axes in another order; reversed without arguments."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        order = tuple(order) or tuple(reversed(range(self.ndim)))
        return self._view([self.shape[i] for i in order], self.offset, [self.steps[i] for i in order])

    @property
    def T(self) -> DeviceArray:  # noqa: N802 (NumPy's name)
        """The axes in reverse order: a view."""
        return self.transpose()

    def swapaxes(self, first: int, second: int) -> DeviceArray:
        """Return a view with two axes exchanged."""
        order = list(range(self.ndim))
        order[first], order[second] = order[second], order[first]
        return self.transpose(order)

    def broadcast_to(self, shape: Sequence[int]) -> DeviceArray:
        """Return a view in which axes of size 1 are repeated, and new ones put in front."""
        shape = tuple(shape)
        if np.broadcast_shapes(self.shape, shape) != shape:
            raise ValueError(f"cannot broadcast shape {self.shape} to {shape}")
        lead = len(shape) - self.ndim
        kept = [
            step if n == wanted else 0 for n, step, wanted in zip(self.shape, self.steps, shape[lead:], strict=True)
        ]
        return self._view(shape, self.offset, [0] * lead + kept)

    def __getitem__(self, key: Any) -> DeviceArray:
        """Return a view: integers, slices, None and ... only (NumPy's rules)."""
        parts = _parts(key)
        used = sum(part is not None and part is not Ellipsis for part in parts)
        if used > self.ndim:
            raise IndexError(f"too many indices for array: array is {self.ndim}-dimensional, but {used} were indexed")
        at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
        parts[at : at + 1] = [slice(None)] * (self.ndim - used)
        shape, steps, offset, axis = [], [], self.offset, 0
        for part in parts:
            if part is None:
                shape.append(1)
                steps.append(0)
                continue
            n, step = self.shape[axis], self.steps[axis]
            if isinstance(part, slice):
                first, last, stride = part.indices(n)
                count = len(range(first, last, stride))
                offset += first * step if count else 0
                shape.append(count)
                steps.append(step * stride)
            elif isinstance(part, (int, np.integer)) and not isinstance(part, bool):
                if not -n <= part < n:
                    raise IndexError(f"index {part} is out of bounds for axis {axis} with size {n}")
                offset += (int(part) % n) * step
            else:
                raise IndexError(
                    f"an array on a device takes integers, slices, None and ..., got {type(part).__name__}"
                )
            axis += 1
        return self._view(shape, offset, steps)

    # -------------------------------------------------------------------------------------------------- through kernels
    def copy(self, order: str = "C") -> DeviceArray:
        """Return a copy in row-major order."""
        return self.astype(self.dtype)

    def astype(self, dtype: Any, copy: bool = True) -> DeviceArray:
        """Return a copy in another dtype; itself if nothing changes and ``copy`` is False."""
        if not copy and self.dtype == np.dtype(dtype):
            return self
        from tinyconv_kernels.cuda import elementwise, memory  # not before somebody has an array on a device

        out = memory.empty(self.shape, dtype)
        elementwise.copy(self, out)
        return out

    def __setitem__(self, key: Any, value: Any) -> None:
        from tinyconv_kernels.cuda import elementwise, memory

        if isinstance(value, np.ndarray):
            value = memory.to_device(np.ascontiguousarray(value.astype(self.dtype)))
        if any(isinstance(part, (np.ndarray, list, bool, np.bool_)) for part in _parts(key)):
            return self._write_at(np.arange(self.size).reshape(self.shape)[key], value)
        target = self[key]
        if isinstance(value, DeviceArray):
            elementwise.copy(value.broadcast_to(target.shape), target)
        else:
            elementwise.fill(target, value)

    def _write_at(self, positions: np.ndarray, value: Any) -> None:
        """Write to elements by their numbers; of several values for one element, the last (NumPy's rule).

        Every element is read and written, and 9 bytes for each go to the device: for many values, and not inside of a
        loop. A thread for each value would be a race where two of them name one element.
        """
        from tinyconv_kernels.cuda import elementwise, index, memory

        last = np.full(self.size, -1)
        last[positions.reshape(-1)] = np.arange(positions.size)  # NumPy lets the last one win
        written = memory.to_device((last >= 0).reshape(self.shape))
        if isinstance(value, DeviceArray):
            values = value.broadcast_to(positions.shape).astype(self.dtype).reshape(-1)
            if not positions.size:
                return
            value = memory.empty(self.shape, self.dtype)
            index.gather(values, memory.to_device(np.maximum(last, 0)), value.reshape(-1))
        elementwise.where(written, value, self, self)

    # ------------------------------------------------------------------------------------- the host may not touch it
    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            f'an array of shape {self.shape} is in the GPU\'s memory; move the tensor with .to("cpu"), '
            "or call an operation of tinyconv"
        )

    __array__ = __float__ = __int__ = __bool__ = __index__ = __iter__ = tolist = item = _refuse


def _parts(key: Any) -> list[Any]:
    return list(key) if isinstance(key, tuple) else [key]


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the steps, in elements, of a shape whose last axis varies fastest."""
    steps, step = [], 1
    for n in reversed(shape):
        steps.append(step)
        step *= n
    return tuple(reversed(steps))
