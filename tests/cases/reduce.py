"""Reductions: over each axis, several, all, none; ties, NaN, empty tensors."""

from .case import Case, Ints

_X = ((2, 3, 4),)
_KEPT = [{"dim": (1,), "keepdim": True}, {"dim": (0, 1, 2), "keepdim": True}]
_DIMS = [{}, {"dim": 0}, {"dim": -1}, {"dim": (0, 2)}, *_KEPT]
_INDICES = Ints((2, 2, 4), 3)

CASES = [
    *[Case(op, _X, k) for op in ("sum", "mean", "var", "std") for k in _DIMS],
    *[Case(op, _X, {"dim": 1, "correction": c, "keepdim": True}) for op in ("var", "std") for c in (0, 2)],
    *[Case(op, ((),), k) for op in ("sum", "mean") for k in ({}, {"dim": 0})],
    *[Case("sum", ((0, 3),), k) for k in ({"dim": 0}, {"dim": 1})],
    *[Case("mean", ((0, 3),), k, differentiable=False) for k in ({"dim": 0}, {"dim": 1})],
    Case("sum", ((0, 3),)),
    *[Case("sum", (Ints((2, 3), 5),), k, differentiable=False) for k in ({}, {"dim": 0})],
    Case("sum", _X, {"dim": 1}, "nan"),
    *[Case(op, _X, {}, v) for op in ("max", "min") for v in ("distinct", "ties", "nan")],
    *[Case(op, _X, {"dim": d}, v) for op in ("max", "min") for d in (0, 1, -1) for v in ("distinct", "ties", "nan")],
    *[Case(op, _X, {"dim": 1, "keepdim": True}, "distinct") for op in ("max", "min")],
    *[Case(op, ((),), k) for op in ("max", "min") for k in ({}, {"dim": 0})],
    *[Case(op, ((0, 3),), {"dim": 1}, differentiable=False) for op in ("max", "min", "argmax")],
    *[Case(op, _X, k, v, differentiable=False)
      for op in ("argmax", "argmin")
      for k in ({}, {"dim": 1}, {"dim": -1, "keepdim": True})
      for v in ("distinct", "ties", "nan")],
    *[Case(op, ((),), k, differentiable=False) for op in ("argmax", "argmin") for k in ({}, {"dim": 0})],
    Case("norm", _X),
    Case("norm", ((0,),), differentiable=False),
    *[Case(op, (Ints((2, 3), high, low),), differentiable=False, meta=False, note=note)
      for op in ("all", "any") for low, high, note in ((0, 2, "some"), (1, 2, "all"), (0, 1, "none"))],
    *[Case(op, ((0,),), differentiable=False, meta=False, note="empty") for op in ("all", "any")],
    Case("take_along_dim", (*_X, _INDICES), {"dim": 1}),
    Case("take_along_dim", (*_X, Ints((2, 3, 6), 4)), {"dim": -1}, note="duplicates"),
]  # fmt: skip
