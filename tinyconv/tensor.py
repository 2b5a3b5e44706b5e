"""Tensor: an array that remembers how it was made. Its operators and methods call :mod:`tinyconv.functional`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv import autograd, device, errors
from tinyconv.function import Node, mode
from tinyconv.methods import TensorMethods


class _Version:
    """How often an array was written in place; a tensor and its views share one."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Tensor(TensorMethods):
    """A multi-dimensional array with a gradient.

    Parameters
    ----------
    data : array
        Taken as it is, not copied; :func:`tinyconv.tensor` copies.
    requires_grad : bool
        Whether ``backward`` shall fill ``.grad``; floating dtypes only.

    Attributes
    ----------
    data : np.ndarray
        The raw array (a MetaArray on the device "meta").
    grad : Tensor or None
        The sum of the gradients of all ``backward`` calls since it was last set to None; leaves only.
    node : Node or None
        The operation that made this tensor, None for a leaf.
    """

    __slots__ = ("data", "requires_grad", "grad", "node", "output", "hooks", "_version", "__weakref__")
    __array_priority__ = 1000  # np.float32(2) * tensor calls our __rmul__

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data = data if isinstance(data, np.ndarray) else np.asarray(data)
        errors.check_dtype("Tensor", self.data.dtype)
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(f"Tensor: only float32 and float64 tensors can require a gradient, got {self.data.dtype}")
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.node: Node | None = None
        self.output = 0
        self.hooks: list[Callable] = []
        self._version = _Version()

    # ------------------------------------------------------------------------------------------------ what it is
    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype:
        """Type of the elements."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """Name of the device that holds the elements: "cpu", "cuda" or "meta"."""
        return device.of(self.data)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.node is None

    def numel(self) -> int:
        """Return the number of elements."""
        return self.data.size

    def dim(self) -> int:
        """Return the number of axes."""
        return self.data.ndim

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[errors.check_axis("size", dim, self.ndim)]

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len: a 0-d tensor has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        extra = f", device={self.device!r}" if self.device != "cpu" else ""
        extra += f", grad_fn=<{self.node.name}>" if self.node else ", requires_grad=True" if self.requires_grad else ""
        if self.device == "meta":
            return f"tensor(..., shape={self.shape}, dtype={self.dtype}{extra})"
        text = np.array2string(self.data, separator=", ", prefix="tensor(", precision=4, threshold=200)
        return f"tensor({text}, dtype={self.dtype}{extra})"

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return bool(self._single("bool"))

    def __float__(self) -> float:
        return float(self._single("float"))

    def __int__(self) -> int:
        return int(self._single("int"))

    __index__ = __int__

    def _single(self, what: str) -> Any:
        if self.numel() != 1:
            raise ValueError(f"{what}: only a tensor of one element has a value, got shape {self.shape}; use .all() or .any()")
        return device.host(self.data).reshape(())[()]

    # ------------------------------------------------------------------------------------------- leaving the engine
    def numpy(self) -> np.ndarray:
        """Return the elements as a NumPy array that shares their memory."""
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; use tensor.detach().numpy()")
        return device.host(self.data)

    def item(self) -> float | int | bool:
        """Return the value of a tensor of one element."""
        return self._single("item").item()

    def tolist(self) -> Any:
        """Return the elements as nested lists."""
        return device.host(self.data).tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return np.array(array, dtype=dtype) if copy else np.asarray(array, dtype=dtype)

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("dlpack: this tensor requires a gradient; export tensor.detach()")
        # Contiguous: importers abort the process on negative strides.
        return np.ascontiguousarray(device.host(self.data)).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return device.host(self.data).__dlpack_device__()

    def __getstate__(self) -> Any:
        raise TypeError("pickle: a Tensor cannot be pickled; save tensor.numpy(), or a model with tinyconv.save")

    # --------------------------------------------------------------------------------------------------- gradients
    def backward(self, gradient: Tensor | None = None, retain_graph: bool = False) -> None:
        """Add the derivative of this tensor to the ``.grad`` of every leaf it was made from.

        Parameters
        ----------
        gradient : Tensor, shape of self
            The upstream gradient; may be left out for a scalar (then 1).
        retain_graph : bool
            Keep the saved buffers, so that backward can be called again.
        """
        autograd.backward(self, gradient, retain_graph)

    def detach(self) -> Tensor:
        """Return a tensor over the same memory that is no part of the graph."""
        out = Tensor(self.data)
        out._version = self._version
        return out

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether this leaf wants a gradient."""
        if self.node is not None:
            raise RuntimeError("requires_grad_: only a leaf can be changed; use detach() for a copy outside the graph")
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(f"requires_grad_: only float32 and float64 tensors can require a gradient, got {self.dtype}")
        self.requires_grad = requires_grad
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call ``hook(gradient)`` when this tensor's gradient is known; what it returns replaces the gradient.

        Returns a function that removes the hook.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        hooks = self.node.hooks.setdefault(self.output, []) if self.node else self.hooks
        hooks.append(hook)
        return lambda: hooks.remove(hook)

    # ---------------------------------------------------------------------------------------------------- in place
    def _write(self, op: str) -> None:
        if mode.recording and self.requires_grad:
            raise RuntimeError(
                f"{op}: this tensor requires a gradient and cannot be changed in place; "
                "do it under no_grad(), or write x = x + y instead of x += y"
            )
        self._version.value += 1

    def _in_place(self, op: str, other: Any) -> Tensor:
        self._write(op + "_")
        value = other.data if isinstance(other, Tensor) else other
        getattr(device.kernels_for(self.data).elementwise, op)(self.data, _cast(op + "_", value, self), self.data)
        return self

    def add_(self, other: Any) -> Tensor:
        """Add in place."""
        return self._in_place("add", other)

    def sub_(self, other: Any) -> Tensor:
        """Subtract in place."""
        return self._in_place("sub", other)

    def mul_(self, other: Any) -> Tensor:
        """Multiply in place."""
        return self._in_place("mul", other)

    def div_(self, other: Any) -> Tensor:
        """Divide in place."""
        return self._in_place("div", other)

    def fill_(self, value: float) -> Tensor:
        """Set every element to ``value``."""
        self._write("fill_")
        device.kernels_for(self.data).elementwise.fill(self.data, value)
        return self

    def zero_(self) -> Tensor:
        """Set every element to 0."""
        return self.fill_(0)

    def copy_(self, other: Any) -> Tensor:
        """Copy the elements of ``other``, broadcast to this shape."""
        self[...] = other
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        self._write("setitem")
        data = value.data if isinstance(value, Tensor) else value
        self.data[plain_key(key)] = device.host(data) if isinstance(data, np.ndarray) else data

    __iadd__, __isub__, __imul__, __itruediv__ = add_, sub_, mul_, div_


def plain_key(key: Any) -> Any:
    """Return an index expression with NumPy arrays in place of its Tensors."""
    if isinstance(key, tuple):
        return tuple(plain_key(k) for k in key)
    return device.host(key.data) if isinstance(key, Tensor) else key


def _cast(op: str, value: Any, like: Tensor) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    try:
        fits = np.broadcast_shapes(value.shape, like.shape) == like.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{op}: a value of shape {value.shape} cannot be broadcast to the tensor's shape {like.shape}")
    return value.astype(like.dtype, copy=False)
