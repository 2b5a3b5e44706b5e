"""Losses: every reduction, ignored and weighted classes, maps of classes, single samples, probabilities at 0 and 1."""

from __future__ import annotations

from typing import Any

from .case import Case, Ints

_REDUCTIONS = ("mean", "sum", "none")
_PAIR = ((3, 4), (3, 4))
_CLASSES = ((4, 5), Ints((4,), 5))
_MAP = ((2, 4, 3, 2), Ints((2, 3, 2), 4))


def _torch_soft(x: Any, target: Any, **kwargs: Any) -> Any:
    import torch

    return torch.nn.functional.cross_entropy(x, target, **kwargs)


def _torch_hinge(x: Any, target: Any, reduction: str = "mean") -> Any:
    import torch

    loss = torch.relu(1.0 - target * x)
    return loss if reduction == "none" else getattr(loss, reduction)()


def _weighted(op: str, inputs: tuple, kwargs: dict, values: str = "positive") -> Case:
    """A row with weights per class, which are constants: the gradient check of test_losses.py leaves them out."""

    def oracle(x: Any, target: Any, weight: Any, **options: Any) -> Any:
        import torch

        return getattr(torch.nn.functional, op)(x, target, weight=weight.detach(), **options)

    return Case(op, inputs, kwargs, values, differentiable=False, torch=oracle, note="weight")


CASES = [
    *[Case("cross_entropy", _CLASSES, {"reduction": r}) for r in _REDUCTIONS],
    *[
        Case("cross_entropy", _MAP, {"reduction": r, "label_smoothing": s, "ignore_index": 2})
        for r in _REDUCTIONS
        for s in (0.0, 0.3)
    ],
    Case("cross_entropy", ((5,), Ints((), 5)), note="one sample"),
    Case("cross_entropy", ((3, 1), Ints((3,), 1)), note="one class"),
    Case("cross_entropy", ((0, 5), Ints((0,), 5)), {"reduction": "sum"}, note="empty batch"),
    Case("cross_entropy", ((4, 5), Ints((4,), 5)), values="nan"),
    *[Case("cross_entropy", ((4, 5), (4, 5)), {"label_smoothing": s}, torch=_torch_soft) for s in (0.0, 0.2)],
    Case("cross_entropy", ((2, 4, 3), (2, 4, 3)), {"reduction": "none"}, torch=_torch_soft),
    *[
        _weighted(op, (*_MAP, (4,)), {"reduction": r, "ignore_index": 2})
        for op in ("cross_entropy", "nll_loss")
        for r in _REDUCTIONS
    ],
    _weighted("cross_entropy", (*_MAP, (4,)), {"label_smoothing": 0.3, "ignore_index": 0}),
    _weighted("cross_entropy", ((4, 5), (4, 5), (5,)), {"label_smoothing": 0.3}),
    *[Case("nll_loss", _CLASSES, {"reduction": r}) for r in _REDUCTIONS],
    *[Case("nll_loss", _MAP, {"reduction": r, "ignore_index": 1}) for r in _REDUCTIONS],
    Case("nll_loss", ((5,), Ints((), 5)), note="one sample"),
    Case("nll_loss", ((0, 5), Ints((0,), 5)), {"reduction": "sum"}, note="empty batch"),
    *[Case("multi_margin_loss", _CLASSES, {"p": p, "margin": m}, "distinct") for p in (1, 2) for m in (1.0, 0.3)],
    *[Case("multi_margin_loss", _CLASSES, {"reduction": r}, "distinct") for r in _REDUCTIONS[1:]],
    *[Case("hinge_loss", _PAIR, {"reduction": r}, torch=_torch_hinge) for r in _REDUCTIONS],
    *[
        Case(op, _PAIR, {"reduction": r}, "distinct")
        for op in ("mse_loss", "l1_loss", "smooth_l1_loss")
        for r in _REDUCTIONS
    ],
    *[Case("smooth_l1_loss", _PAIR, {"beta": b}, "distinct") for b in (0.0, 0.25, 0.7)],
    *[
        Case(op, ((0, 3), (0, 3)), {"reduction": "sum"}, note="empty batch")
        for op in ("mse_loss", "l1_loss", "smooth_l1_loss")
    ],
    *[Case("mse_loss", _PAIR, values=v) for v in ("nan", "ties")],
    *[Case("binary_cross_entropy", _PAIR, {"reduction": r}, "unit") for r in _REDUCTIONS],
    _weighted("binary_cross_entropy", ((3, 4), (3, 4), (4,)), {}, "unit"),
    *[Case("binary_cross_entropy_with_logits", _PAIR, {"reduction": r}) for r in _REDUCTIONS],
    _weighted("binary_cross_entropy_with_logits", ((3, 4), (3, 4), (4,)), {}),
    Case("binary_cross_entropy_with_logits", _PAIR, values="nan"),
    *[Case("kl_div", _PAIR, {"reduction": r}, "unit") for r in ("batchmean", "sum", "none")],
    Case("kl_div", _PAIR, {"reduction": "batchmean", "log_target": True}),
]
