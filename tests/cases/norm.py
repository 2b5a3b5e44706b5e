"""Normalisation: both readings of alpha, windows at the ends of the channels, batch and running statistics."""

from __future__ import annotations

from typing import Any

from .case import Case

_PAPER = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0, "alpha_over_size": False}
# Large alpha, so that the neighbours' part of the gradient is not lost beside the direct part.
_STRONG = {"alpha": 0.7, "k": 1.5}


def _torch_lrn(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, alpha_over_size: bool = True
) -> Any:
    import torch

    scaled = alpha if alpha_over_size else alpha * size
    return torch.nn.functional.local_response_norm(x, size, scaled, beta, k)


def _lrn(shape: tuple[int, ...], kwargs: dict[str, Any], note: str = "", **options: Any) -> Case:
    return Case("local_response_norm", (shape,), kwargs, torch=_torch_lrn, note=note, **options)


def _torch_eval(x: Any, mean: Any, var: Any, weight: Any, bias: Any, **options: Any) -> Any:
    import torch

    return torch.nn.functional.batch_norm(x, mean.detach(), var.detach(), weight, bias, **options)


_IMAGE, _VECTOR = (4, 3, 5, 2), (3,)
_AFFINE = (_IMAGE, None, None, _VECTOR, _VECTOR)

CASES = [
    _lrn((2, 7, 4, 3), _PAPER, "the paper's"),
    _lrn((2, 7, 4, 3), {"size": 5}, "Caffe's"),
    *[
        _lrn((2, 6, 3, 2), {"size": n, "alpha_over_size": over, **_STRONG})
        for n in (1, 2, 3, 4, 5)
        for over in (True, False)
    ],
    _lrn((2, 3, 3, 2), {"size": 7, **_STRONG}, "fewer channels than size"),
    _lrn((2, 1, 3, 2), {"size": 5, **_STRONG}, "one channel"),
    _lrn((2, 6, 3, 2), {"size": 5, "alpha": 0.7, "beta": 0.5}, "beta not 3/4"),
    _lrn((2, 5, 6), {"size": 3, **_STRONG}, "(N, C, L)"),
    _lrn((0, 5, 3, 3), {"size": 3}, "empty batch"),
    _lrn((2, 6, 3, 2), {"size": 3, **_STRONG}, values="nan"),
    _lrn((1, 9, 40, 30), {"size": 5, **_STRONG}, "more pixels than one tile"),
    Case("batch_norm", (_IMAGE, None, None), {"training": True}),
    Case("batch_norm", _AFFINE, {"training": True}),
    Case("batch_norm", _AFFINE[:4], {"training": True, "eps": 0.1}, note="no bias"),
    # Running statistics are no function's arguments in the sense of a gradient: test_norm.py checks the others'.
    *[
        Case(
            "batch_norm", (shape, _VECTOR, _VECTOR, _VECTOR, _VECTOR), values=v, differentiable=False, torch=_torch_eval
        )
        for shape, v in ((_IMAGE, "positive"), ((4, 3), "positive"), ((0, 3, 5, 2), "positive"))
    ],
    Case("batch_norm", ((6, 3), None, None, (3,), (3,)), {"training": True}, note="(N, C)"),
    Case("batch_norm", ((4, 3, 5), None, None, (3,), (3,)), {"training": True}, note="(N, C, L)"),
    Case("batch_norm", ((2, 1, 1, 1), None, None, (1,), (1,)), {"training": True, "eps": 1.0}, note="two values"),
    Case("batch_norm", _AFFINE, {"training": True, "eps": 1e4}, note="variance far below eps"),
    Case("batch_norm", ((0, 3, 5, 2), *_AFFINE[1:]), {"training": True}, note="empty batch"),
    Case("batch_norm", _AFFINE, {"training": True}, "nan"),
    *[Case("normalize", ((3, 4, 2),), {"p": p, "dim": d}, "distinct") for p in (1, 2) for d in (0, 1, -1)],
    Case("normalize", ((0, 4),), note="empty batch"),
    Case("normalize", ((3, 4),), values="nan"),
]
