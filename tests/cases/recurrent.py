"""Recurrent layers: both functions of the plain one, LSTM; both directions, lengths from 0 to all steps, no sample."""

from __future__ import annotations

from typing import Any

from .case import Case


def _torch_steps(step: Any, kinds: int, x: Any, weight: Any, starts: tuple, lengths: Any, reverse: bool) -> list[Any]:
    """Run PyTorch's cell sample by sample, each only as far as its length; return all states, of each kind."""
    import torch

    (N, T), H = x.shape[:2], weight.shape[1]
    given, eye = [s for s in starts if s is not None], torch.eye(len(weight), dtype=x.dtype)
    touched = 0 * sum(t.sum() for t in (x, weight, *given))  # so that each gets a gradient, if only of zeros
    found = [[[x.new_zeros(H) for _ in range(T)] for _ in range(N)] for _ in range(kinds)]
    for n in range(N):
        length = T if lengths is None else lengths[n]
        state = [x.new_zeros(1, H) if s is None else s[n : n + 1] for s in (*starts, None)[:kinds]]
        for t in range(length - 1, -1, -1) if reverse else range(length):
            result = step(x[n, t][None], state[0] if kinds == 1 else state, eye, weight)
            state = [result] if kinds == 1 else list(result)
            for kind, value in zip(found, state, strict=True):
                kind[n][t] = value[0]
    rows = [[row for sample in kind for row in sample] for kind in found]
    return [(torch.stack(r) if r else x.new_zeros(0)).reshape(N, T, H) + touched for r in rows]


def _torch_rnn(
    x: Any, weight: Any, h0: Any = None, lengths: Any = None, nonlinearity: str = "tanh", reverse: bool = False
) -> Any:
    import torch

    step = getattr(torch, f"rnn_{nonlinearity}_cell")
    return _torch_steps(step, 1, x, weight, (h0,), lengths, reverse)[0]


def _torch_lstm(
    x: Any, weight: Any, h0: Any = None, c0: Any = None, lengths: Any = None, reverse: bool = False
) -> tuple[Any, Any]:
    import torch

    h, c = _torch_steps(torch.lstm_cell, 2, x, weight, (h0, c0), lengths, reverse)
    return h, c


def _rnn(*sizes: int, start: bool = True, values: str = "normal", note: str = "", **options: Any) -> Case:
    N, T, H = sizes
    h0 = ((N, H),) if start else ()
    return Case("rnn", ((N, T, H), (H, H), *h0), options, values, torch=_torch_rnn, note=note)


def _lstm(*sizes: int, starts: int = 2, note: str = "", **options: Any) -> Case:
    N, T, H = sizes
    inputs = (N, T, 4 * H), (4 * H, H), *[(N, H)] * starts
    return Case("lstm", inputs, options, torch=_torch_lstm, note=note)


_RELU = {"nonlinearity": "relu"}
_LENGTHS = (3, 5, 0, 1)  # of 5 steps
_BACK = {"reverse": True}

CASES = [
    _rnn(3, 4, 5, start=False),
    _rnn(3, 4, 5),
    _rnn(3, 4, 5, **_RELU),
    _rnn(3, 4, 5, **_BACK),
    _rnn(3, 4, 5, **_RELU, **_BACK),
    *[_rnn(4, 5, 3, lengths=_LENGTHS, **more) for more in ({}, _RELU, _BACK, {**_RELU, **_BACK})],
    _rnn(4, 5, 3, start=False, lengths=_LENGTHS),
    _rnn(4, 5, 3, start=False, lengths=_LENGTHS, **_BACK),
    _rnn(2, 3, 2, lengths=(0, 0), note="no steps"),
    _rnn(2, 1, 3, note="one step"),
    _rnn(2, 1, 3, note="one step", **_BACK),
    _rnn(1, 6, 1, note="one unit"),
    _rnn(0, 4, 3, note="empty batch"),
    _rnn(2, 0, 3, note="no time"),
    _rnn(2, 0, 3, note="no time", **_BACK),
    *[_rnn(5, 3, 2, values="nan", **more) for more in (_RELU, _BACK)],
    _lstm(3, 4, 2, starts=0),
    _lstm(3, 4, 2),
    _lstm(3, 4, 2, **_BACK),
    _lstm(3, 4, 2, starts=1),
    _lstm(4, 5, 2, lengths=_LENGTHS),
    _lstm(4, 5, 2, lengths=_LENGTHS, **_BACK),
    _lstm(2, 3, 2, lengths=(0, 0), note="no steps"),
    _lstm(2, 1, 2, note="one step"),
    _lstm(0, 4, 3, note="empty batch"),
    _lstm(2, 0, 3, note="no time", **_BACK),
]
