"""Elementwise arithmetic with broadcasting, and comparisons."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.tensor import Tensor


def _sum_to(grad: Any, shape: tuple[int, ...]) -> Any:
    """Sum a gradient over the axes that broadcasting made, so that it has ``shape`` again."""
    if grad.shape == shape:
        return grad
    lead = grad.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and grad.shape[lead + i] != 1)
    out = device.empty(grad, [1 if i in axes else n for i, n in enumerate(grad.shape)])
    device.kernels_for(grad).reduce.reduce_sum(grad, out, axes)
    return out.reshape(shape)


def _shape(a: Any) -> tuple[int, ...]:
    return getattr(a, "shape", ())


def _out(op: str, x: Any, y: Any, dtype: Any = None) -> Any:
    """Allocate the broadcast result of two operands, one of which may be a Python number."""
    array = x if isinstance(x, device.ARRAYS) else y
    return device.empty(array, _broadcast(op, _shape(x), _shape(y)), _promote(x, y) if dtype is None else dtype)


def _broadcast(op: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"{op}: shapes {' and '.join(map(str, shapes))} cannot be broadcast together") from None


def _number_dtype(number: float) -> Any:
    return np.bool_ if isinstance(number, builtins.bool) else np.int64 if isinstance(number, int) else np.float32


def _promote(*operands: Any) -> Any:
    """PyTorch's rule: arrays with axes decide, arrays without and then numbers only if of a higher kind.

    The kinds are bool < integers < floats; a float wins over integers whatever their widths.
    """
    arrays = [a for a in operands if isinstance(a, device.ARRAYS)]
    dtype = arrays[0].dtype
    if all(a.dtype == dtype for a in arrays) and (len(arrays) == len(operands) or dtype.kind == "f"):
        return dtype
    numbers = [np.dtype(_number_dtype(a)) for a in operands if not isinstance(a, device.ARRAYS)]
    result, rank = np.dtype(np.bool_), -1
    for group in ([a.dtype for a in arrays if a.ndim], [a.dtype for a in arrays if not a.ndim], numbers):
        highest = max((errors.KINDS[dtype.kind] for dtype in group), default=-1)
        if highest > rank:
            result, rank = np.result_type(*[d for d in group if errors.KINDS[d.kind] == highest]), highest
    return result


def _elementwise(like: Any) -> Any:
    return device.kernels_for(like).elementwise


def _run(op: str, x: Any, y: Any, dtype: Any = None) -> Any:
    out = _out(op, x, y, dtype)
    getattr(_elementwise(out), op)(x, y, out)
    return out


def _map(op: str, x: Any) -> Any:
    out = device.empty(x, x.shape)
    getattr(_elementwise(out), op)(x, out)
    return out


def _choose(condition: Any, x: Any, y: Any, like: Any) -> Any:
    """Return x where the condition holds and y elsewhere, in an array like ``like``."""
    out = device.empty(like, like.shape)
    _elementwise(like).where(condition, x, y, out)
    return out


class Add(Function):
    """x + y."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.shapes = _shape(x), _shape(y)
        return _run("add", x, y)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return tuple(_sum_to(dy, s) if need else None for s, need in zip(ctx.shapes, ctx.needs_input_grad, strict=True))


class Sub(Function):
    """x - y."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.shapes = _shape(x), _shape(y)
        return _run("sub", x, y)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        dx = _sum_to(dy, ctx.shapes[0]) if ctx.needs_input_grad[0] else None
        return dx, _map("neg", _sum_to(dy, ctx.shapes[1])) if ctx.needs_input_grad[1] else None


class Mul(Function):
    """x y; gradients dy * y and dy * x."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save(x, y)
        return _run("mul", x, y)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, y = ctx.saved
        dx = _sum_to(_run("mul", dy, y), _shape(x)) if ctx.needs_input_grad[0] else None
        return dx, _sum_to(_run("mul", dy, x), _shape(y)) if ctx.needs_input_grad[1] else None


class Div(Function):
    """x / y; gradients dy / y and -dy x / y^2. Integers are divided as float32."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save(x, y)
        return _run("div", x, y)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, y = ctx.saved
        quotient = _run("div", dy, y)
        dx = _sum_to(quotient, _shape(x)) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return dx, None
        return dx, _sum_to(_map("neg", _run("mul", quotient, _run("div", x, y))), _shape(y))


class Pow(Function):
    """x ** y; gradients dy y x^(y-1) and dy x^y log x."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        out = _run("pow", x, y)
        ctx.save(x, y, out)
        return out

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, y, out = ctx.saved
        dx = dexponent = None
        if ctx.needs_input_grad[0]:
            lower = _run("sub", y, 1) if isinstance(y, device.ARRAYS) else y - 1
            slope = _run("mul", _run("pow", x, lower), y, dy.dtype)
            # x ** 0 has derivative 0 everywhere, also at 0, where the formula gives inf * 0.
            constant = _run("eq", y, 0, np.bool_) if isinstance(y, device.ARRAYS) else y == 0
            dx = _sum_to(_run("mul", dy, _choose(constant, 0.0, slope, dy)), _shape(x))
        if ctx.needs_input_grad[1]:
            base = x
            if not isinstance(x, device.ARRAYS):
                base = device.empty(dy, ())
                _elementwise(dy).fill(base, x)
            slope = _run("mul", out, _map("log", base), dy.dtype)
            # 0 ** y has derivative 0 in y, not 0 * log 0; below y = 0 it is infinite.
            flat = _run("logical_and", _run("eq", base, 0, np.bool_), _run("ge", y, 0, np.bool_), np.bool_)
            dexponent = _sum_to(_run("mul", dy, _choose(flat, 0.0, slope, dy)), _shape(y))
        return dx, dexponent


class Maximum(Function):
    """The larger of x and y; NaN wins. As in PyTorch each gets half the gradient at ties, and all of it at NaN."""

    kernel, loses = "maximum", "lt"

    @classmethod
    def forward(cls, ctx: Any, x: Any, y: Any) -> Any:
        ctx.save(x, y)
        return _run(cls.kernel, x, y)

    @classmethod
    def backward(cls, ctx: Any, dy: Any) -> Any:
        x, y = ctx.saved
        half = _run("mul", dy, 0.5)

        def share(a: Any, b: Any) -> Any:
            won = _choose(_run("eq", a, b, np.bool_), half, dy, dy)
            return _sum_to(_choose(_run(cls.loses, a, b, np.bool_), 0.0, won, dy), _shape(a))

        return share(x, y) if ctx.needs_input_grad[0] else None, share(y, x) if ctx.needs_input_grad[1] else None


class Minimum(Maximum):
    """The smaller of x and y; ties and NaN as in Maximum."""

    kernel, loses = "minimum", "gt"


class Where(Function):
    """X where the condition holds, else y."""

    @staticmethod
    def forward(ctx: Any, condition: Any, x: Any, y: Any) -> Any:
        ctx.save(condition)
        ctx.shapes = _shape(x), _shape(y)
        out = device.empty(condition, _broadcast("where", condition.shape, *ctx.shapes), _promote(x, y))
        _elementwise(out).where(condition, x, y, out)
        return out

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        (condition,) = ctx.saved
        _, for_x, for_y = ctx.needs_input_grad
        dx = _sum_to(_choose(condition, dy, 0.0, dy), ctx.shapes[0]) if for_x else None
        return None, dx, _sum_to(_choose(condition, 0.0, dy, dy), ctx.shapes[1]) if for_y else None


# ---------------------------------------------------------------------------------------------------------- functions


def _operand(op: str, value: Any, like: Tensor) -> Any:
    """Return a Tensor, or a Python number (which takes the dtype of the other operand)."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (np.ndarray, list, tuple)):
        return Tensor(device.move(np.asarray(value), like.device))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (builtins.bool, int, float)):
        return value
    raise TypeError(f"{op}: operands must be Tensors, arrays or numbers, got {type(value).__name__}")


def _operands(op: str, x: Any, y: Any) -> tuple[Any, Any]:
    like = x if isinstance(x, Tensor) else y
    errors.check_tensor(op, "one operand", like)
    x, y = _operand(op, x, like), _operand(op, y, like)
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        errors.check_same_device(op, x=x, y=y)
    return x, y


def add(x: Any, y: Any) -> Tensor:
    """Return x + y with broadcasting."""
    return Add.apply(*_operands("add", x, y))


def sub(x: Any, y: Any) -> Tensor:
    """Return x - y with broadcasting."""
    x, y = _operands("sub", x, y)
    if all(getattr(a, "dtype", np.dtype(type(a))) == np.bool_ for a in (x, y)):
        raise TypeError("sub: booleans cannot be subtracted; convert them with .long(), or use !=")
    return Sub.apply(x, y)


def mul(x: Any, y: Any) -> Tensor:
    """Return the elementwise product x y with broadcasting."""
    return Mul.apply(*_operands("mul", x, y))


def div(x: Any, y: Any) -> Tensor:
    """Return x / y with broadcasting; integers and booleans are divided as float32."""
    x, y = _operands("div", x, y)
    tensors = [t for t in (x, y) if isinstance(t, Tensor)]
    if all(t.dtype.kind != "f" for t in tensors):
        x, y = (t.float() if isinstance(t, Tensor) else t for t in (x, y))
    return Div.apply(x, y)


def pow(x: Any, exponent: Any) -> Tensor:
    """Return x ** exponent with broadcasting."""
    x, exponent = _operands("pow", x, exponent)
    plain = [a.data if isinstance(a, Tensor) else a for a in (x, exponent)]
    if _promote(*plain).kind != "f" and device.of(plain[1]) != "meta" and _any_negative(plain[1]):
        raise ValueError("pow: integers have no negative integer powers; convert with .float()")
    return Pow.apply(x, exponent)


def _any_negative(exponent: Any) -> bool:
    return bool(np.any((device.host(exponent) if isinstance(exponent, device.ARRAYS) else np.asarray(exponent)) < 0))


def maximum(x: Any, y: Any) -> Tensor:
    """Return the larger of x and y, element by element; a NaN wins."""
    return Maximum.apply(*_operands("maximum", x, y))


def minimum(x: Any, y: Any) -> Tensor:
    """Return the smaller of x and y, element by element; a NaN wins."""
    return Minimum.apply(*_operands("minimum", x, y))


def where(condition: Tensor, x: Any, y: Any) -> Tensor:
    """Return x where the boolean condition holds and y elsewhere, with broadcasting."""
    errors.check_tensor("where", "condition", condition)
    if condition.dtype != np.bool_:
        raise TypeError(
            f"where: condition must be a bool tensor, got {condition.dtype}; compare something, as in x > 0"
        )
    x, y = _operand("where", x, condition), _operand("where", y, condition)
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x = Tensor(np.asarray(x, np.float32 if isinstance(x, float) or isinstance(y, float) else np.int64))
    return Where.apply(condition, x, y)


def _comparison(op: str, sign: str) -> Any:
    def compare(x: Any, y: Any) -> Tensor:
        x, y = (t.data if isinstance(t, Tensor) else t for t in _operands(op, x, y))
        return Tensor(_run(op, x, y, np.bool_))

    compare.__name__ = compare.__qualname__ = op
    compare.__doc__ = f"Return the bool tensor of x {sign} y with broadcasting; it has no gradient."
    return compare


eq, ne = _comparison("eq", "=="), _comparison("ne", "!=")
lt, le, gt, ge = (_comparison(*pair) for pair in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">=")))
logical_and, logical_or = _comparison("logical_and", "and"), _comparison("logical_or", "or")


def logical_not(x: Tensor) -> Tensor:
    """Return the bool tensor of ``not x``."""
    errors.check_tensor("logical_not", "x", x)
    out = device.empty(x.data, x.shape, np.bool_)
    _elementwise(out).logical_not(x.data, out)
    return Tensor(out)


def isnan(x: Tensor) -> Tensor:
    """Return the bool tensor of where x is not a number."""
    errors.check_tensor("isnan", "x", x)
    out = device.empty(x.data, x.shape, np.bool_)
    _elementwise(out).isnan(x.data, out)
    return Tensor(out)
