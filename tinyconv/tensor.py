"""Tensor: an array that remembers how it was made. Its operators and methods call :mod:`tinyconv.functional`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv import autograd, device, errors, exchange
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
    data : array
        The raw array (a MetaArray on the device "meta", a DeviceArray on "cuda").
    grad : Tensor or None
        The sum of the gradients of all ``backward`` calls since it was last set to None; leaves only.
    node : Node or None
        The operation that made this tensor, None for a leaf.
    """

    __slots__ = ("data", "requires_grad", "grad", "node", "output", "hooks", "_version", "__weakref__")
    __array_priority__ = 1000  # np.float32(2) * tensor calls our __rmul__

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data: Any = data if isinstance(data, device.ARRAYS) else np.asarray(data)
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
        text = np.array2string(device.host(self.data), separator=", ", prefix="tensor(", precision=4, threshold=200)
        return f"tensor({text}, dtype={self.dtype}{extra})"

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return bool(self._single("bool"))

    def __float__(self) -> float:
        return float(self._single("float"))

    def __int__(self) -> int:
        return int(self._single("int"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"index: only an integer tensor can be an index or a count, got {self.dtype}")
        return int(self)

    def _single(self, what: str) -> Any:
        if self.numel() != 1:
            hint = "; use .all() or .any()" if what == "bool" else ""
            raise ValueError(f"{what}: only a tensor of one element has a value, got shape {self.shape}{hint}")
        return device.host(self.data).reshape(())[()]

    # ------------------------------------------------------------------------------------------- leaving the engine
    def numpy(self) -> np.ndarray:
        """Return the elements as a NumPy array that shares their memory."""
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; use tensor.detach().numpy()")
        if self.device == "cuda":
            raise RuntimeError('numpy: this tensor is on "cuda", whose memory NumPy cannot share; use .to("cpu") first')
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
        return exchange.dlpack(self.data, **options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return exchange.dlpack_device(self.data)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.requires_grad and self.device == "cuda":
            raise RuntimeError("cuda array interface: this tensor requires a gradient; export tensor.detach()")
        return exchange.cuda_array_interface(self.data)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.node is not None:
            raise RuntimeError("deepcopy: only a leaf can be copied; use detach().clone()")
        out = type(self)(self.data.copy(), self.requires_grad)
        out.grad = copy.deepcopy(self.grad, memo)
        return out

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
            raise TypeError(
                f"requires_grad_: only float32 and float64 tensors can require a gradient, got {self.dtype}"
            )
        self.requires_grad = requires_grad
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call ``hook(gradient)`` when this tensor's gradient is known; what it returns replaces the gradient.

        Returns a function that removes the hook.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        if not callable(hook):
            raise TypeError(f"register_hook: wanted a function, got {type(hook).__name__}")
        hooks = self.node.hooks.setdefault(self.output, []) if self.node else self.hooks
        hooks.append(hook)
        return lambda: hooks.remove(hook)

    # ---------------------------------------------------------------------------------------------------- in place
    def _writing(self, op: str, value: Any) -> Any:
        """Check that ``value`` may be written into this tensor, count the write, and return the plain value."""
        if mode.recording and (self.requires_grad or getattr(value, "requires_grad", False)):
            which = "this tensor" if self.requires_grad else "the value"
            raise RuntimeError(
                f"{op}: {which} requires a gradient, and a change in place is not recorded; "
                "do it under no_grad(), or write x = x + y instead of x += y"
            )
        if not self.data.flags.writeable:
            raise RuntimeError(
                f"{op}: elements of this tensor share memory (expand, or a read-only array); use clone()"
            )
        if isinstance(value, Tensor):
            errors.check_same_device(op, self=self, value=value)
            value = value.data
        self._version.value += 1
        if isinstance(value, (bool, int, float)) or device.of(value) == self.device:
            return value
        return device.move(np.asarray(value), self.device)

    def _in_place(self, op: str, other: Any) -> Tensor:
        value = self._writing(op + "_", other)
        errors.check_in_place(op + "_", self, value)
        getattr(device.kernels_for(self.data).elementwise, op)(self.data, value, self.data)
        return self

    def _assign(self, op: str, key: Any, value: Any) -> None:
        value, key = self._writing(op, value), plain_key(key, self.device)
        try:
            if self.device == "meta":
                np.broadcast_to(value, self.data[key].shape)
            else:
                self.data[key] = value
        except (IndexError, ValueError) as problem:
            raise type(problem)(f"{op}: {problem}; the tensor has shape {self.shape}") from None

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
        device.kernels_for(self.data).elementwise.fill(self.data, self._writing("fill_", value))
        return self

    def zero_(self) -> Tensor:
        """Set every element to 0."""
        return self.fill_(0)

    def copy_(self, other: Any) -> Tensor:
        """Copy the elements of ``other``, broadcast to this shape and converted to this dtype."""
        self._assign("copy_", ..., other)
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        self._assign("setitem", key, value)

    __iadd__, __isub__, __imul__, __itruediv__ = add_, sub_, mul_, div_


def plain_key(key: Any, indexed: str) -> Any:
    """Return an index expression into a tensor on the device ``indexed``, with NumPy arrays in place of its Tensors."""
    if isinstance(key, tuple):
        return tuple(plain_key(k, indexed) for k in key)
    if not isinstance(key, Tensor):
        return key
    if indexed == key.device == "meta" and key.dtype.kind in "iu":
        return np.broadcast_to(np.int64(0), key.shape)  # only its shape counts
    return device.host(key.data)
