"""The operators and methods of Tensor, one line each: see the function of that name in :mod:`tinyconv.functional`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tinyconv.tensor import Tensor

Dims = int | Sequence[int] | None


def _f() -> Any:
    # The one import against the direction of the layers: an operator of Tensor is a functional.
    from tinyconv import functional

    return functional


class TensorMethods:
    """What can be written ``x + y`` or ``x.sum()``."""

    __slots__ = ()

    if TYPE_CHECKING:  # what Tensor itself defines

        @property
        def shape(self) -> tuple[int, ...]: ...

        def __len__(self) -> int: ...

    # fmt: off
    def __add__(self, other: Any) -> Tensor: return _f().add(self, other)
    def __radd__(self, other: Any) -> Tensor: return _f().add(other, self)
    def __sub__(self, other: Any) -> Tensor: return _f().sub(self, other)
    def __rsub__(self, other: Any) -> Tensor: return _f().sub(other, self)
    def __mul__(self, other: Any) -> Tensor: return _f().mul(self, other)
    def __rmul__(self, other: Any) -> Tensor: return _f().mul(other, self)
    def __truediv__(self, other: Any) -> Tensor: return _f().div(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return _f().div(other, self)
    def __pow__(self, exponent: Any) -> Tensor: return _f().pow(self, exponent)
    def __rpow__(self, base: Any) -> Tensor: return _f().pow(base, self)
    def __matmul__(self, other: Any) -> Tensor: return _f().matmul(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return _f().matmul(other, self)
    def __neg__(self) -> Tensor: return _f().neg(self)
    def __abs__(self) -> Tensor: return _f().abs(self)
    def __eq__(self, other: Any) -> Any: return False if other is None else _f().eq(self, other)
    def __ne__(self, other: Any) -> Any: return True if other is None else _f().ne(self, other)
    def __lt__(self, other: Any) -> Tensor: return _f().lt(self, other)
    def __le__(self, other: Any) -> Tensor: return _f().le(self, other)
    def __gt__(self, other: Any) -> Tensor: return _f().gt(self, other)
    def __ge__(self, other: Any) -> Tensor: return _f().ge(self, other)
    def __and__(self, other: Any) -> Tensor: return _f().logical_and(*_booleans("&", self, other))
    def __or__(self, other: Any) -> Tensor: return _f().logical_or(*_booleans("|", self, other))
    def __invert__(self) -> Tensor: return _f().logical_not(*_booleans("~", self))
    def __getitem__(self, key: Any) -> Tensor: return _f().getitem(self, key)

    def add(self, other: Any) -> Tensor: return _f().add(self, other)
    def sub(self, other: Any) -> Tensor: return _f().sub(self, other)
    def mul(self, other: Any) -> Tensor: return _f().mul(self, other)
    def div(self, other: Any) -> Tensor: return _f().div(self, other)
    def pow(self, exponent: Any) -> Tensor: return _f().pow(self, exponent)
    def matmul(self, other: Any) -> Tensor: return _f().matmul(self, other)
    def neg(self) -> Tensor: return _f().neg(self)
    def exp(self) -> Tensor: return _f().exp(self)
    def log(self) -> Tensor: return _f().log(self)
    def sqrt(self) -> Tensor: return _f().sqrt(self)
    def square(self) -> Tensor: return _f().square(self)
    def abs(self) -> Tensor: return _f().abs(self)
    def sign(self) -> Tensor: return _f().sign(self)
    def sin(self) -> Tensor: return _f().sin(self)
    def cos(self) -> Tensor: return _f().cos(self)
    def isnan(self) -> Tensor: return _f().isnan(self)
    def tanh(self) -> Tensor: return _f().tanh(self)
    def sigmoid(self) -> Tensor: return _f().sigmoid(self)
    def relu(self) -> Tensor: return _f().relu(self)
    def softmax(self, dim: int) -> Tensor: return _f().softmax(self, dim)
    def log_softmax(self, dim: int) -> Tensor: return _f().log_softmax(self, dim)
    def clamp(self, min: float | None = None, max: float | None = None) -> Tensor: return _f().clamp(self, min, max)
    def maximum(self, other: Any) -> Tensor: return _f().maximum(self, other)
    def minimum(self, other: Any) -> Tensor: return _f().minimum(self, other)

    def sum(self, dim: Dims = None, keepdim: bool = False) -> Tensor: return _f().sum(self, dim, keepdim)
    def mean(self, dim: Dims = None, keepdim: bool = False) -> Tensor: return _f().mean(self, dim, keepdim)
    def var(self, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Tensor:
        return _f().var(self, dim, correction, keepdim)
    def std(self, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Tensor:
        return _f().std(self, dim, correction, keepdim)
    def max(self, dim: int | None = None, keepdim: bool = False) -> Any: return _f().max(self, dim, keepdim)
    def min(self, dim: int | None = None, keepdim: bool = False) -> Any: return _f().min(self, dim, keepdim)
    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor: return _f().argmax(self, dim, keepdim)
    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor: return _f().argmin(self, dim, keepdim)
    def all(self, dim: Dims = None, keepdim: bool = False) -> Tensor: return _f().all(self, dim, keepdim)
    def any(self, dim: Dims = None, keepdim: bool = False) -> Tensor: return _f().any(self, dim, keepdim)
    def norm(self) -> Tensor: return _f().norm(self)

    def reshape(self, *shape: Any) -> Tensor: return _f().reshape(self, shape[0] if _is_shape(shape) else shape)
    def view(self, *shape: Any) -> Tensor: return _f().view(self, shape[0] if _is_shape(shape) else shape)
    def expand(self, *shape: Any) -> Tensor: return _f().expand(self, shape[0] if _is_shape(shape) else shape)
    def permute(self, *dims: Any) -> Tensor: return _f().permute(self, dims[0] if _is_shape(dims) else dims)
    def transpose(self, dim0: int, dim1: int) -> Tensor: return _f().transpose(self, dim0, dim1)
    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor: return _f().flatten(self, start_dim, end_dim)
    def squeeze(self, dim: int | None = None) -> Tensor: return _f().squeeze(self, dim)
    def unsqueeze(self, dim: int) -> Tensor: return _f().unsqueeze(self, dim)
    def split(self, size: Any, dim: int = 0) -> tuple[Tensor, ...]: return _f().split(self, size, dim)
    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]: return _f().chunk(self, chunks, dim)
    def contiguous(self) -> Tensor: return _f().contiguous(self)
    def clone(self) -> Tensor: return _f().clone(self)
    def to(self, *targets: Any, **by_name: Any) -> Tensor: return _f().to(self, *targets, **by_name)
    def float(self) -> Tensor: return _f().to(self, np.float32)
    def double(self) -> Tensor: return _f().to(self, np.float64)
    def long(self) -> Tensor: return _f().to(self, np.int64)
    def bool(self) -> Tensor: return _f().to(self, np.bool_)
    def cpu(self) -> Tensor: return _f().to(self, "cpu")
    def cuda(self) -> Tensor: return _f().to(self, "cuda")

    @property
    def T(self) -> Tensor: return _f().permute(self, tuple(range(len(self.shape)))[::-1])  # noqa: N802
    # fmt: on

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))


def _booleans(sign: str, *operands: Any) -> tuple:
    for x in operands:
        if not isinstance(x, bool) and getattr(x, "dtype", None) != np.bool_:
            raise TypeError(f"{sign}: both sides must be bool tensors, as in (x > 0) & (x < 1), got {type(x).__name__}")
    return operands


def _is_shape(arguments: tuple) -> bool:
    return len(arguments) == 1 and isinstance(arguments[0], (tuple, list))
