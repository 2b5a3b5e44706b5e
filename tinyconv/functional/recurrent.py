"""Recurrent layers over whole sequences: see :func:`rnn` and :func:`lstm`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import device, errors
from tinyconv.function import Function
from tinyconv.tensor import Tensor


def _dweight(dx: Any, h0: Any, y: Any, lengths: Any, reverse: bool) -> Any:
    """Return the recurrent weight's gradient, one product over all samples and steps: sum dx[t] h[t - 1]^T."""
    kernels, before = device.kernels_for(dx), device.empty(y, y.shape)
    kernels.recurrent.states_before(h0, y, lengths, reverse, before)
    dweight = device.empty(dx, (dx.shape[2], y.shape[2]))
    kernels.matmul.matmul(dx.reshape(-1, dx.shape[2]).T, before.reshape(-1, y.shape[2]), dweight)
    return dweight


class RNN(Function):
    """All states of a recurrent layer; see :func:`rnn`."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, h0: Any, lengths: Any, reverse: bool, relu: bool) -> Any:
        x, weight, h0 = device.contiguous(x), device.contiguous(weight), _start(h0, x, weight.shape[1])
        ctx.options, y = (reverse, relu), device.empty(x, x.shape)
        device.kernels_for(x).recurrent.rnn_forward(x, weight, h0, lengths, reverse, relu, y)
        ctx.save(weight, h0, lengths, y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        (weight, h0, lengths, y), (reverse, relu) = ctx.saved, ctx.options
        dy, dx, dh0 = device.contiguous(dy), device.empty(dy, y.shape), device.empty(dy, h0.shape)
        device.kernels_for(dy).recurrent.rnn_backward(dy, y, weight, lengths, reverse, relu, dx, dh0)
        dweight = _dweight(dx, h0, y, lengths, reverse) if ctx.needs_input_grad[1] else None
        return dx, dweight, dh0, None, None, None


class LSTM(Function):
    """All states and cells of a layer of long short-term memory; see :func:`lstm`."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, h0: Any, c0: Any, lengths: Any, reverse: bool) -> Any:
        x, weight, H = device.contiguous(x), device.contiguous(weight), weight.shape[1]
        h0, c0 = _start(h0, x, H), _start(c0, x, H)
        gates, c, y = (device.empty(x, (*x.shape[:2], size)) for size in (4 * H, H, H))
        device.kernels_for(x).recurrent.lstm_forward(x, weight, h0, c0, lengths, reverse, gates, c, y)
        ctx.reverse = reverse
        ctx.save(weight, h0, c0, lengths, gates, c, y)
        return y, c

    @staticmethod
    def backward(ctx: Any, dy: Any, dc: Any) -> Any:
        weight, h0, c0, lengths, gates, c, y = ctx.saved
        dy, dc, dx = device.contiguous(dy), device.contiguous(dc), device.empty(dy, gates.shape)
        dh0, dc0 = device.empty(dy, h0.shape), device.empty(dy, c0.shape)
        kernel = device.kernels_for(dy).recurrent.lstm_backward
        kernel(dy, dc, gates, c, c0, weight, lengths, ctx.reverse, dx, dh0, dc0)
        dweight = _dweight(dx, h0, y, lengths, ctx.reverse) if ctx.needs_input_grad[1] else None
        return dx, dweight, dh0, dc0, None, None


def _start(state: Any, x: Any, hidden: int) -> Any:
    """Return the first state, of zeros if none is given."""
    return device.zeros(x, (x.shape[0], hidden)) if state is None else device.contiguous(state)


def rnn(
    x: Tensor,
    weight: Tensor,
    h0: Tensor | None = None,
    lengths: Any = None,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> Tensor:
    """Recurrent layer over whole sequences (Elman 1990; Karpathy & Fei-Fei 2015, sec. 3.1.2).

    h[n, t] = f(x[n, t] + weight h[n, t - 1]) with h[n, -1] = h0[n]. A reverse layer begins with h0 behind a sample's
    last step and goes down: h[n, t] = f(x[n, t] + weight h[n, t + 1]). Sample n has ``lengths[n]`` steps; from there on
    x is not read and the result is 0. So the state after its last step is h[n, lengths[n] - 1], or h[n, 0] in reverse.

    Parameters
    ----------
    x : Tensor, (N, T, H), float32 or float64
        The inputs as they reach the units: projected, with all biases added (:func:`linear` does both).
    weight : Tensor, (H, H)
        From the states (columns) to the units (rows).
    h0 : Tensor, (N, H), optional
        0 by default.
    lengths : array or Tensor of N ints in [0, T], optional
        T by default.
    nonlinearity : "tanh" or "relu"
    reverse : bool

    Returns
    -------
    Tensor, (N, T, H)
        All states.

    Raises
    ------
    ValueError
        A shape does not fit, a length is not in [0, T], or ``nonlinearity`` is another.
    TypeError
        Lengths are no integers, or dtypes differ.

    Examples
    --------
    >>> x = Tensor(np.array([[[1.0], [2.0], [3.0]]]))
    >>> rnn(x, Tensor(np.array([[0.5]])), nonlinearity="relu", lengths=[2]).tolist()
    [[[1.0], [2.5], [0.0]]]
    """
    op = "rnn"
    errors.check_choice(op, "nonlinearity", nonlinearity, ("tanh", "relu"))
    _check(op, x, weight, 1, h0=h0)
    return RNN.apply(x, weight, h0, _lengths(op, lengths, x), bool(reverse), nonlinearity == "relu")


def lstm(
    x: Tensor,
    weight: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    lengths: Any = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Long short-term memory over whole sequences (Hochreiter & Schmidhuber 1997, with Gers et al. 2000's forget gate).

    With a = x[n, t] + weight h[n, t - 1] in four quarters: i, f, o = sigmoid and g = tanh of theirs, in PyTorch's order
    i, f, g, o; c[n, t] = f c[n, t - 1] + i g; h[n, t] = o tanh c[n, t]. Lengths and ``reverse`` as in :func:`rnn`.

    Parameters
    ----------
    x : Tensor, (N, T, 4 H), float32 or float64
        The inputs as they reach the gates: projected, with all biases added.
    weight : Tensor, (4 H, H)
    h0, c0 : Tensor, (N, H), optional
        0 by default.
    lengths : array or Tensor of N ints in [0, T], optional
        T by default.
    reverse : bool

    Returns
    -------
    h : Tensor, (N, T, H)
        All states.
    c : Tensor, (N, T, H)
        All cells.

    Raises
    ------
    ValueError
        A shape does not fit, or a length is not in [0, T].
    TypeError
        Lengths are no integers, or dtypes differ.
    """
    op = "lstm"
    _check(op, x, weight, 4, h0=h0, c0=c0)
    return LSTM.apply(x, weight, h0, c0, _lengths(op, lengths, x), bool(reverse))


def _check(op: str, x: Tensor, weight: Tensor, gates: int, **states: Tensor | None) -> None:
    """Raise unless weight (gates H, H), the inputs (N, T, gates H) and the states (N, H) fit together."""
    size = "H" if gates == 1 else f"{gates} H"
    errors.check_ndim(op, "x", x, 3, f"(N, T, {size})")
    errors.check_float(op, "x", x)
    errors.check_ndim(op, "weight", weight, 2, f"({size}, H)")
    errors.check_same(op, x=x, weight=weight, **states)
    H = weight.shape[1]
    if H < 1 or weight.shape[0] != gates * H:
        raise ValueError(f"{op}: weight must be ({size}, H) with H of at least 1, got shape {weight.shape}")
    if x.shape[2] != gates * H:
        raise ValueError(
            f"{op}: x must be (N, T, {gates * H}) for a weight of shape {weight.shape}, got shape {x.shape}; "
            "project it with linear first"
        )
    for name, state in states.items():
        if state is not None:
            errors.check_shape(op, name, state, (x.shape[0], H), "for these x and weight")


def _lengths(op: str, lengths: Any, x: Tensor) -> Any:
    """Return the lengths as int64 (N,) where x is, checked; all T if there are none."""
    N, T = x.shape[:2]
    given = lengths.data if isinstance(lengths, Tensor) else np.full(N, T) if lengths is None else np.asarray(lengths)
    if given.shape != (N,):
        raise ValueError(f"{op}: lengths must be (N,) with N = {N} as x has, got shape {given.shape}")
    if given.dtype.kind not in "iu" and N:  # an empty list becomes an array of floats
        raise TypeError(f"{op}: lengths must be integers, got {given.dtype}")
    if x.device == "meta":
        return device.empty(x.data, (N,), np.int64)
    found = np.array(device.host(given), np.int64)
    if N and (found.min() < 0 or found.max() > T):
        bad = found[(found < 0) | (found > T)][0]
        raise ValueError(f"{op}: lengths must be in [0, {T}], the steps of x, got {bad}")
    return device.move(found, x.device)
