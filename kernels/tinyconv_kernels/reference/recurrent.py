"""Recurrent layers, defined: one sample after the other, step by step. x is (N, T, H), or (N, T, 4 H) for the LSTM.

x holds the projected inputs with all biases; what a step adds to them is the product of ``weight`` and the state before
it. Sample n takes ``lengths[n]`` steps: from the first on, or, if ``reverse``, from its last one down to the first.
What lies behind its end is not read, and 0 in every output.

Sources: Elman 1990, "Finding Structure in Time"; Karpathy & Fei-Fei 2015, sec. 3.1.2 (two directions, ReLU);
Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", with the forget gate of Gers et al. 2000.
"""

import numpy as np


def _steps(length, reverse):
    """Return the steps of one sample in the order in which they are taken."""
    return range(length - 1, -1, -1) if reverse else range(length)


def states_before(h0, y, lengths, reverse, before):
    """The state that each step began with: h0, then the outputs. Writes before (N, T, H), 0 behind the end."""
    before[...] = 0
    for n, length in enumerate(lengths):
        h = h0[n]
        for t in _steps(length, reverse):
            before[n, t] = h
            h = y[n, t]


def rnn_forward(x, weight, h0, lengths, reverse, relu, y):
    """State h = f(x[t] + weight h), with f = ReLU or tanh. Writes y (N, T, H), all states."""
    y[...] = 0
    for n, length in enumerate(lengths):
        h = h0[n]
        for t in _steps(length, reverse):
            a = x[n, t] + weight @ h
            h = np.maximum(a, 0) if relu else np.tanh(a)
            y[n, t] = h


def rnn_backward(dy, y, weight, lengths, reverse, relu, dx, dh0):
    """From the last step to the first: dx = (dy + weight^T of the next step's dx) f'. Writes dx (N, T, H) and dh0."""
    dx[...] = 0
    for n, length in enumerate(lengths):
        dh = np.zeros_like(dh0[n])
        for t in reversed(_steps(length, reverse)):
            dh = dh + dy[n, t]
            dx[n, t] = np.where(y[n, t] <= 0, 0, dh) if relu else dh * (1 - y[n, t] ** 2)
            dh = weight.T @ dx[n, t]
        dh0[n] = dh


def lstm_forward(x, weight, h0, c0, lengths, reverse, gates, c, y):
    """Cell c = f c + i g, state h = o tanh c: i, f, o = sigmoid and g = tanh of their quarters of x[t] + weight h.

    Writes gates (N, T, 4 H), in the order i, f, g, o; c and y (N, T, H), all cells and all states.
    """
    gates[...], c[...], y[...] = 0, 0, 0
    for n, length in enumerate(lengths):
        h, cell = h0[n], c0[n]
        for t in _steps(length, reverse):
            i, f, g, o = np.split(x[n, t] + weight @ h, 4)
            i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
            cell = f * cell + i * g
            h = o * np.tanh(cell)
            gates[n, t], c[n, t], y[n, t] = np.concatenate([i, f, g, o]), cell, h


def lstm_backward(dy, dc, gates, c, c0, weight, lengths, reverse, dx, dh0, dc0):
    """From the last step to the first; dy and dc are what arrives at the states and at the cells from outside.

    Writes dx (N, T, 4 H), the gradient in front of the gates' functions; dh0 and dc0 (N, H).
    """
    dx[...] = 0
    for n, length in enumerate(lengths):
        dh, dcell = np.zeros_like(dh0[n]), np.zeros_like(dc0[n])
        steps = list(_steps(length, reverse))
        for k in reversed(range(length)):
            t = steps[k]
            cell, before = c[n, t], c[n, steps[k - 1]] if k else c0[n]
            i, f, g, o = np.split(gates[n, t], 4)
            dh, bent = dh + dy[n, t], np.tanh(cell)
            dcell = dcell + dc[n, t] + dh * o * (1 - bent**2)
            di, df = dcell * g * i * (1 - i), dcell * before * f * (1 - f)
            dg, do = dcell * i * (1 - g**2), dh * bent * o * (1 - o)
            dx[n, t] = np.concatenate([di, df, dg, do])
            dh, dcell = weight.T @ dx[n, t], dcell * f
        dh0[n], dc0[n] = dh, dcell


def _sigmoid(x):
    small = np.exp(-np.abs(x))  # cannot overflow
    return np.where(x > 0, 1, small) / (1 + small)
