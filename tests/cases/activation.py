"""Functions of single elements, and softmax: at their kinks, at NaN, and where a naive formula overflows."""

from __future__ import annotations

from typing import Any

from .case import Case

_SMOOTH = ["neg", "exp", "square", "sin", "cos", "tanh", "sigmoid", "softplus"]
_POSITIVE = ["log", "sqrt"]
_KINKED = ["abs", "relu", "leaky_relu"]
_SHAPES = [(3, 4), (), (0, 3), (2, 1, 3, 2)]
_LIMITS = [{"min": -0.5, "max": 0.5}, {"min": -0.25}, {"max": 0}, {"min": 1.0, "max": -1.0}]

_DIMS = [((3, 4), 1), ((3, 4), 0), ((2, 3, 4, 5), 1), ((2, 3, 4), -1), ((5,), 0), ((0, 3), 1), ((3, 1), 1), ((), 0)]


def _torch_sign(x: Any) -> Any:
    return x.detach().sign()  # ours has no gradient, PyTorch's is 0


CASES = [
    *[Case(op, (shape,)) for op in _SMOOTH for shape in _SHAPES],
    *[Case(op, (shape,), values="positive") for op in _POSITIVE for shape in _SHAPES],
    *[Case(op, (shape,), values="distinct") for op in _KINKED for shape in _SHAPES],
    *[Case(op, ((50,),), values=v) for op in (*_SMOOTH, *_POSITIVE, *_KINKED) for v in ("ties", "extreme")],
    # PyTorch gives |x| the slope 0 at NaN, we NaN.
    *[Case(op, ((50,),), values="nan", parity=op != "abs") for op in (*_SMOOTH, *_POSITIVE, *_KINKED)],
    Case("leaky_relu", ((3, 4),), {"negative_slope": 0.2}),
    Case("leaky_relu", ((3, 4),), {"negative_slope": -0.5}),
    Case("relu", ((300, 400),), values="distinct", note="large enough for threads"),
    *[Case("sign", ((40,),), values=v, differentiable=False, torch=_torch_sign) for v in ("normal", "ties")],
    *[Case("clamp", ((3, 4),), limits, "distinct") for limits in _LIMITS],
    *[Case("clamp", ((40,),), {"min": -1, "max": 1.0}, v) for v in ("ties", "nan", "extreme")],
    *[Case(op, (shape,), {"dim": dim}) for op in ("softmax", "log_softmax") for shape, dim in _DIMS],
    *[Case(op, ((6, 5),), {"dim": 1}, v) for op in ("softmax", "log_softmax") for v in ("ties", "nan", "extreme")],
]
