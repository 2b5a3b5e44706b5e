"""Recurrent layers: for each step one product by NumPy's BLAS, for all samples at once, and a few NumPy loops.

Definition and sources: ``reference/recurrent.py``. A compiled loop, in which a thread takes one sample after the other
through all its steps, was tried and is slower: it reads the whole weight for every sample, BLAS for many at once.

All samples take part in every step, also those that have ended: so the bits of one sample do not depend on the others'
lengths, nor on the direction.
"""

import numpy as np

from tinyconv_kernels.cpu import elementwise

_quiet = np.errstate(all="ignore")  # what lies behind a sample's end may be anything


def _steps(x, reverse):
    """Return the steps in the order in which they are taken."""
    return range(x.shape[1] - 1, -1, -1) if reverse else range(x.shape[1])


def _ended(lengths, steps):
    """Return for each step whether a sample ended before it: (N,) of bool, or None where none has."""
    shortest = lengths.min(initial=steps)
    return [lengths <= t if t >= shortest else None for t in range(steps)]


def _turned(weight, steps):
    """Return the transposed weight: rows that lie in memory as BLAS reads them, where enough steps pay for the copy."""
    return np.ascontiguousarray(weight.T) if steps >= 4 else weight.T


def _before(t, h0, y, ended, reverse):
    """Return the state (N, H) with which step t begins; anything for samples that have no such step."""
    if not reverse:
        return y[:, t - 1] if t else h0
    if t + 1 == y.shape[1]:
        return h0
    return y[:, t + 1] if ended[t + 1] is None else np.where(ended[t + 1][:, None], h0, y[:, t + 1])


def _clear(t, ended, *arrays):
    """Write 0 where a sample has no step t."""
    if ended[t] is not None:
        for a in arrays:
            a[ended[t], t] = 0


def _at_ends(dx, lengths):
    """Return dx (N, ...) at each sample's end, where a reverse run begins: 0 for a sample without steps."""
    return dx[np.arange(len(dx)), np.maximum(lengths, 1) - 1]


def states_before(h0, y, lengths, reverse, before):
    """The state that each step began with: h0, then the outputs. Writes before (N, T, H), 0 behind the end."""
    ended = _ended(lengths, y.shape[1])
    for t in range(y.shape[1]):
        before[:, t] = _before(t, h0, y, ended, reverse)
        _clear(t, ended, before)


@_quiet
def rnn_forward(x, weight, h0, lengths, reverse, relu, y):
    """State h = f(x[t] + weight h), with f = ReLU or tanh. Writes y (N, T, H), all states."""
    ended, turned = _ended(lengths, x.shape[1]), _turned(weight, x.shape[1])
    for t in _steps(x, reverse):
        now = y[:, t]
        np.matmul(_before(t, h0, y, ended, reverse), turned, out=now)
        now += x[:, t]
        if relu:
            np.maximum(now, 0, out=now)
        else:
            np.tanh(now, out=now)
        _clear(t, ended, y)


@_quiet
def rnn_backward(dy, y, weight, lengths, reverse, relu, dx, dh0):
    """From the last step to the first: dx = (dy + weight^T of the next step's dx) f'. Writes dx (N, T, H) and dh0."""
    ended = _ended(lengths, dx.shape[1])
    dh0[...] = 0
    for t in _steps(dx, not reverse):
        dh0 += dy[:, t]
        if relu:
            elementwise.relu_backward(dh0, y[:, t], dx[:, t])
        else:
            elementwise.tanh_backward(dh0, y[:, t], dx[:, t])
        _clear(t, ended, dx)
        np.matmul(dx[:, t], weight, out=dh0)
    if reverse and dx.shape[1]:  # what a short sample had at its end was overwritten since
        np.matmul(_at_ends(dx, lengths), weight, out=dh0)


@_quiet
def lstm_forward(x, weight, h0, c0, lengths, reverse, gates, c, y):
    """Cell c = f c + i g, state h = o tanh c: i, f, o = sigmoid and g = tanh of their quarters of x[t] + weight h.

    Writes gates (N, T, 4 H), in the order i, f, g, o; c and y (N, T, H), all cells and all states.
    """
    ended, turned, H = _ended(lengths, x.shape[1]), _turned(weight, x.shape[1]), y.shape[2]
    for t in _steps(x, reverse):
        now = gates[:, t]
        np.matmul(_before(t, h0, y, ended, reverse), turned, out=now)
        now += x[:, t]
        i, f, g, o = _quarters(now)
        elementwise.sigmoid(now[:, : 2 * H], now[:, : 2 * H])
        np.tanh(g, out=g)
        elementwise.sigmoid(o, o)
        np.multiply(f, _before(t, c0, c, ended, reverse), out=c[:, t])
        c[:, t] += i * g
        np.tanh(c[:, t], out=y[:, t])
        y[:, t] *= o
        _clear(t, ended, gates, c, y)


@_quiet
def lstm_backward(dy, dc, gates, c, c0, weight, lengths, reverse, dx, dh0, dc0):
    """From the last step to the first; dy and dc are what arrives at the states and at the cells from outside.

    Writes dx (N, T, 4 H), the gradient in front of the gates' functions; dh0 and dc0 (N, H).
    """
    ended = _ended(lengths, dx.shape[1])
    dh0[...], dc0[...] = 0, 0
    for t in _steps(dx, not reverse):
        i, f, g, o = _quarters(gates[:, t])
        di, df, dg, do = _quarters(dx[:, t])
        bent, dh = np.tanh(c[:, t]), dh0
        dh += dy[:, t]
        dcell = dc0 + dc[:, t] + dh * o * (1 - bent * bent)
        elementwise.sigmoid_backward(dcell * g, i, di)
        elementwise.sigmoid_backward(dcell * _before(t, c0, c, ended, reverse), f, df)
        elementwise.tanh_backward(dcell * i, g, dg)
        elementwise.sigmoid_backward(dh * bent, o, do)
        _clear(t, ended, dx)
        np.matmul(dx[:, t], weight, out=dh0)
        np.multiply(dcell, f, out=dc0, where=True if ended[t] is None else ~ended[t][:, None])
    if reverse and dx.shape[1]:
        np.matmul(_at_ends(dx, lengths), weight, out=dh0)


def _quarters(a):
    """Return views of the four gates of (N, 4 H)."""
    H = a.shape[1] // 4
    return a[:, :H], a[:, H : 2 * H], a[:, 2 * H : 3 * H], a[:, 3 * H :]
