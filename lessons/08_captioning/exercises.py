"""Exercises of lesson 08: recurrent networks, alignment, sentences. Run ``pytest lessons/08_captioning`` to check them.

Each function below is checked by tests marked with its task. Nothing here needs a trained network: every answer can be
worked out by hand, or from the definition.

Conventions: N sentences of up to T words lie in one array ``(N, T, ...)``; sentence n has ``lengths[n]`` words, 0 to T,
and what lies behind them may be anything, also NaN: it is never used. No function changes what it is handed (kernels
write to their outputs), and none gives a warning. Any way of computing it is right: loops or NumPy.
"""

import numpy as np


def rnn_forward(x, weight, h0, lengths, reverse, relu, y):
    """Write all states of a recurrent layer into ``y`` (N, T, H).

        h = f(x[n, t] + weight @ (the state before))        f is ReLU if ``relu``, else tanh

    ``x`` (N, T, H) is what arrives at the units from below, all biases included; ``weight`` is (H, H) with a row for
    each unit; ``h0`` (N, H) is the state before the first step. Sample n takes ``lengths[n]`` steps: t = 0, 1, ... up
    to its last one or, if ``reverse``, from its last one, lengths[n] - 1, down to 0. The state of step t goes into
    ``y[n, t]``. ``y`` may hold anything before; behind a sample's end it becomes 0. ``lengths`` (N,) is int64; N, T and
    every length may be 0. Nothing is returned. This is a kernel: the library's layers can run on it.

    Difficulty 1 of 3, 20 minutes. Hint: samples do not know each other. Begin with zeros in ``y``, then take one sample
    after the other, and carry its state from step to step in a variable of its own.
    """
    # TASK 8.1
    # BEGIN SOLUTION
    y[...] = 0
    for n, length in enumerate(lengths):
        h = h0[n]
        for t in range(length - 1, -1, -1) if reverse else range(length):
            a = x[n, t] + weight @ h
            h = np.maximum(a, 0) if relu else np.tanh(a)
            y[n, t] = h
    # END SOLUTION


def rnn_backward(dy, y, weight, lengths, reverse, relu, dx, dh0):
    """Write the gradients of ``rnn_forward``: ``dx`` (N, T, H), and ``dh0`` (N, H) of the state before the first step.

    ``dy`` (N, T, H) is the loss's gradient at each state, as far as it comes from above; what later steps made of the
    state comes on top. ``y`` (N, T, H) are the states. The slope of tanh is 1 - h^2; that of ReLU is 1 where h > 0,
    else 0. ``dx`` and ``dh0`` may hold anything before; behind a sample's end ``dx`` becomes 0, and ``dy`` is not used
    there. A sample without steps has a ``dh0`` of 0. Nothing is returned. This is a kernel.

    Difficulty 2 of 3, 30 minutes. Hint: go through the steps in the opposite order. At each one, what has come back so
    far and dy add up to the gradient at the state; times the slope it is dx; ``weight.T @ dx`` is what goes back to the
    state before, and behind all of them to h0.
    """
    # TASK 8.2
    # BEGIN SOLUTION
    dx[...] = 0
    for n, length in enumerate(lengths):
        back = np.zeros_like(dh0[n])
        for t in range(length) if reverse else range(length - 1, -1, -1):
            dh = dy[n, t] + back
            dx[n, t] = dh * (y[n, t] > 0) if relu else dh * (1 - y[n, t] ** 2)
            back = weight.T @ dx[n, t]
        dh0[n] = back
    # END SOLUTION


def brnn(x, lengths, enter, ahead, back, leave):
    """Return s (N, T, h): what each word of a sentence means among its neighbours (Karpathy, Fei-Fei 2015, eq. 3 to 6).

        e_t  = f(W_e x_t + b_e)                     enter = (W_e, b_e), (H, D) and (H,)
        hf_t = f(e_t + W_f hf_{t-1} + b_f)          ahead = (W_f, b_f), (H, H) and (H,)
        hb_t = f(e_t + W_b hb_{t+1} + b_b)          back  = (W_b, b_b), (H, H) and (H,)
        s_t  = f(W_d (hf_t + hb_t) + b_d)           leave = (W_d, b_d), (h, H) and (h,)

    with f = ReLU everywhere. ``x`` (N, T, D) are vectors of words. Before a sentence's first word hf is 0, behind its
    last word hb is 0, wherever that is. Behind a sentence's end s is 0. Sizes are at least 1, a length may be 0.

    Difficulty 2 of 3, 25 minutes. Hint: take one sentence after the other, and cut it at its length first: then nothing
    can come in from behind. One loop goes up and one down, and both see the same e.
    """
    # TASK 8.3
    # BEGIN SOLUTION
    s = np.zeros((*x.shape[:2], len(leave[1])), x.dtype)
    for n, length in enumerate(lengths):
        e = np.maximum(x[n, :length] @ enter[0].T + enter[1], 0)
        states = np.zeros_like(e)
        for (weight, bias), steps in ((ahead, range(length)), (back, range(length - 1, -1, -1))):
            h = np.zeros_like(bias)
            for t in steps:
                h = np.maximum(e[t] + weight @ h + bias, 0)
                states[t] += h
        s[n, :length] = np.maximum(states @ leave[0].T + leave[1], 0)
    return s
    # END SOLUTION


def scores(v, counts, s, lengths, dscores):
    """Return (S, dv, ds): how well I pictures fit N sentences, and the gradients of a loss (ibid., eq. 8).

        S[k, l] = sum over the words t of sentence l of  max over the regions i of picture k of  v[k, i] @ s[l, t]

    ``v`` (I, R, h) are vectors of regions; picture k has ``counts[k]`` of them, 1 to R, and rows behind may be
    anything, also NaN. ``s`` (N, T, h) are vectors of words. A sentence without words scores 0. ``dscores`` (I, N) is
    the loss's gradient at S; ``dv`` and ``ds`` are its gradients at v and s, 0 behind a picture's last region and a
    sentence's end. Only the region that wins a word has a share in it, the first of equally good ones.

    Difficulty 2 of 3, 30 minutes. Hint: the best product of a word may be negative, so that rows of zeros behind a
    picture's regions would win; cut them off. The winner's row gets dscores[k, l] times the word's vector, and the word
    dscores[k, l] times the winner's; a region that wins several words gets several, and ``+=`` with an array of indices
    adds once for each index only.
    """
    # TASK 8.4
    # BEGIN SOLUTION
    total, dv, ds = np.zeros_like(dscores), np.zeros_like(v), np.zeros_like(s)
    for k, l in np.ndindex(total.shape):  # noqa: E741  (as in the paper)
        products = v[k, : counts[k]] @ s[l, : lengths[l]].T
        for t, winner in enumerate(products.argmax(axis=0)):
            total[k, l] += products[winner, t]
            dv[k, winner] += dscores[k, l] * s[l, t]
            ds[l, t] += dscores[k, l] * v[k, winner]
    return total, dv, ds
    # END SOLUTION
