"""Every check of a user's input, and its message: who, what was wanted, what came, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import device
from tinyconv_kernels.geometry import output_size

if TYPE_CHECKING:
    from tinyconv.tensor import Tensor

DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}  # NumPy's letters for bool, integers, floats: a higher kind wins
_FLOATS = np.dtype(np.float32), np.dtype(np.float64)
_NATIVE = frozenset(np.dtype(name) for name in DTYPES)


def pair(op: str, name: str, value: int | Sequence[int], minimum: int = 0) -> tuple[int, int]:
    """Return ``value`` as (height, width); an int stands for both."""
    if type(value) is int and value >= minimum:  # nearly always
        return value, value
    both = (value, value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else value
    if not isinstance(both, (tuple, list)) or len(both) != 2 or not all(isinstance(v, (int, np.integer)) for v in both):
        raise TypeError(f"{op}: {name} must be an int or a pair (height, width) of ints, got {value!r}")
    if min(both) < minimum:
        raise ValueError(f"{op}: {name} must be at least {minimum}, got {value!r}")
    return int(both[0]), int(both[1])


def check_tensor(op: str, name: str, x: Any) -> None:
    """Raise unless x is a Tensor."""
    if not hasattr(x, "requires_grad") or not isinstance(x.data, device.ARRAYS):  # PyTorch's have the first
        kind = type(x).__name__ if type(x).__name__ != "Tensor" else f"{type(x).__module__}.Tensor"
        raise TypeError(f"{op}: {name} must be a Tensor, got {kind}; wrap it in tinyconv.tensor(...)")


def check_ndim(op: str, name: str, x: Tensor, ndim: int | tuple[int, ...], layout: str) -> None:
    """Raise unless x is a Tensor of the wanted rank; ``layout`` names its axes, such as "(N, C, H, W)"."""
    check_tensor(op, name, x)
    wanted = (ndim,) if isinstance(ndim, int) else ndim
    if x.ndim not in wanted:
        raise ValueError(f"{op}: {name} must be {layout}, got shape {x.shape}")


def check_float(op: str, name: str, x: Tensor) -> None:
    """Raise unless x is float32 or float64."""
    if x.dtype not in _FLOATS:
        raise TypeError(f"{op}: {name} must be float32 or float64, got {x.dtype}; convert it with {name}.float()")


def check_integer(op: str, name: str, x: Tensor) -> None:
    """Raise unless x holds integers."""
    if not np.issubdtype(x.dtype, np.integer):
        raise TypeError(f"{op}: {name} must hold integers, got {x.dtype}; convert it with {name}.long()")


def check_same(op: str, **tensors: Tensor | None) -> None:
    """Raise unless all tensors given have one dtype and one device."""
    first_name, first = "", None
    for name, t in tensors.items():
        if t is None:
            continue
        check_tensor(op, name, t)
        if first is None:
            first_name, first = name, t
        elif t.dtype != first.dtype:
            raise TypeError(
                f"{op}: {first_name} and {name} must have one dtype, got {first.dtype} and {t.dtype}; "
                f"convert one with .float() or .double()"
            )
    check_same_device(op, **tensors)


def check_target(op: str, targets: Sequence[Any], where: str | None, dtype: Any) -> tuple[str | None, Any]:
    """Return (device or None, dtype or None) of ``to``'s arguments, in any order, or raise."""
    for target in targets:
        if isinstance(target, str) and target in device.NAMES:
            where = target
        else:
            dtype = target
    if where is not None:
        where = device.check_name(where)
    if isinstance(dtype, str):
        try:
            np.dtype(dtype)
        except TypeError:
            wanted = 'a device ("cpu", "cuda", "meta") or a dtype such as "float64"'
            raise ValueError(f"{op}: wanted {wanted}, got {dtype!r}") from None
    return where, None if dtype is None else check_dtype(op, dtype)


def check_same_device(op: str, **tensors: Tensor | None) -> None:
    """Raise unless all tensors given are on one device."""
    first_name, first = "", None
    for name, t in tensors.items():
        if t is None:
            continue
        if first is None:
            first_name, first = name, t
        elif t.device != first.device:
            raise RuntimeError(
                f'{op}: {first_name} and {name} must be on one device, got "{first.device}" and "{t.device}"; '
                f'move one with .to("{first.device}") or .to("{t.device}")'
            )


def check_shape(op: str, name: str, x: Tensor, shape: tuple[int, ...], why: str = "") -> None:
    """Raise unless x has exactly this shape."""
    check_tensor(op, name, x)
    if tuple(x.shape) != tuple(shape):
        raise ValueError(f"{op}: {name} must have shape {tuple(shape)}{' ' + why if why else ''}, got {x.shape}")


def check_in_place(op: str, x: Tensor, value: Any) -> None:
    """Raise unless x's memory can hold the result of an operation of x and value."""
    try:
        shape = value.shape if isinstance(value, device.ARRAYS) else np.shape(value)
        fits = np.broadcast_shapes(shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{op}: a value of shape {shape} cannot be broadcast to the tensor's shape {x.shape}")
    dtype = value.dtype if isinstance(value, device.ARRAYS) else np.asarray(value).dtype
    kind = "f" if op == "div_" else dtype.kind
    if KINDS.get(kind, 3) > KINDS[x.dtype.kind]:
        result = {"i": "integer", "u": "integer", "f": "floating"}.get(kind, "no number")
        raise TypeError(f"{op}: the result is {result} and does not fit into this {x.dtype} tensor; convert it first")


def check_window(
    op: str,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
    ceil_mode: bool = False,
) -> tuple[int, int]:
    """Return the output size (OH, OW), or raise if the window does not fit into the padded image."""
    if min(size) < 1:
        raise ValueError(f"{op}: the image must have at least one pixel, got {size[0]} x {size[1]}")
    for axis, name in enumerate(("height", "width")):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        if size[axis] + 2 * padding[axis] < reach:
            raise ValueError(
                f"{op}: the window's {name} {reach} is larger than the padded image's {name} "
                f"{size[axis] + 2 * padding[axis]} ({size[axis]} + 2 * {padding[axis]}); "
                "use a larger image or more padding"
            )
    out = [output_size(size[a], kernel[a], stride[a], padding[a], dilation[a], ceil_mode) for a in (0, 1)]
    return out[0], out[1]


def check_pool_padding(op: str, kernel: tuple[int, int], padding: tuple[int, int]) -> None:
    """Raise if a pooling window could lie wholly in the padding."""
    if padding[0] > kernel[0] // 2 or padding[1] > kernel[1] // 2:
        raise ValueError(f"{op}: padding must be at most half of kernel_size {kernel}, got {padding}")


def check_axis(op: str, axis: int, ndim: int) -> int:
    """Return the axis counted from 0, or raise if there is none such."""
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"{op}: dim must be an int, got {axis!r}")
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise IndexError(f"{op}: dim must be in [{-max(ndim, 1)}, {max(ndim, 1) - 1}], got {axis}")
    return int(axis) % max(ndim, 1)


def check_range(op: str, name: str, indices: np.ndarray, limit: int, ignore: int | None = None) -> None:
    """Raise unless every index is in [0, limit), entries equal to ``ignore`` aside."""
    if not indices.size or (indices.min() >= 0 and indices.max() < limit):
        return
    valid = (indices >= 0) & (indices < limit)
    if ignore is not None:
        valid |= indices == ignore
    if not valid.all():
        bad = indices[~valid].ravel()[0]
        raise IndexError(f"{op}: {name} must be in [0, {limit}), got {bad}")


def check_probability(op: str, name: str, p: float) -> None:
    """Raise unless p is in [0, 1]."""
    if isinstance(p, bool) or not isinstance(p, (int, float, np.number)):
        raise TypeError(f"{op}: {name} must be a number, got {p!r}")
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: {name} must be a probability in [0, 1], got {p}")


def check_choice(op: str, name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise unless value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{op}: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_dtype(op: str, dtype: Any) -> np.dtype:
    """Return the NumPy dtype (float32 for None), or raise if tinyconv has no kernels for it."""
    try:
        if dtype in _NATIVE:
            return dtype if isinstance(dtype, np.dtype) else np.dtype(dtype)
        found = np.dtype(np.float32 if dtype is None else dtype)
    except TypeError:
        raise TypeError(f"{op}: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}") from None
    if found.name not in DTYPES:
        raise TypeError(f"{op}: dtype must be one of {', '.join(DTYPES)}, got {found.name}")
    if not found.isnative:
        raise TypeError(f"{op}: bytes must be in this machine's order; convert with array.astype(np.{found.name})")
    return found


def check_filters(op: str, x: Tensor, weight: Tensor, groups: int, transposed: bool = False) -> None:
    """Raise unless weight is a bank of filters for the channels of x (N, C, H, W) in this many groups."""
    channels = x.shape[1]
    layout = "(C, K // groups, KH, KW)" if transposed else "(K, C // groups, KH, KW)"
    check_ndim(op, "weight", weight, 4, layout)
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)):
        raise TypeError(f"{op}: groups must be an int, got {groups!r}")
    if groups < 1 or channels % groups:
        raise ValueError(f"{op}: groups must divide the {channels} channels of x, got {groups}")
    if min(weight.shape) < 1:
        raise ValueError(f"{op}: weight must have at least one filter, channel and pixel, got shape {weight.shape}")
    if transposed and weight.shape[0] != channels:
        raise ValueError(f"{op}: weight must be {layout} with C = {channels} as x has, got shape {weight.shape}")
    if not transposed and weight.shape[1] != channels // groups:
        raise ValueError(
            f"{op}: weight must be {layout} with C // groups = {channels} // {groups} = {channels // groups}, "
            f"got shape {weight.shape}; x has {channels} channels, this weight reads {weight.shape[1] * groups}"
        )
    if weight.shape[0] % groups:
        raise ValueError(f"{op}: groups must divide the {weight.shape[0]} filters, got {groups}")
