"""Planted bugs: mistakes that people make in tasks 8.1 to 8.4. The task's tests must catch every one of them.

A patch is (old, new): text that stands exactly once in the task's solution, and what replaces it.
"""


def _mutant(task: str, title: str, old: str, new: str) -> dict:
    return {"task": task, "title": title, "patch": (old, new)}


MUTANTS = [
    # 8.1 rnn_forward
    _mutant("8.1", "keeps what was behind a sample's end", "    y[...] = 0\n", ""),
    _mutant("8.1", "all samples take all steps", "range(length)", "range(x.shape[1])"),
    _mutant("8.1", "in reverse, from the last step of the longest", "range(length - 1, -1, -1)",
            "range(x.shape[1] - 1, -1, -1)"),
    _mutant("8.1", "never in reverse", "range(length - 1, -1, -1) if reverse else range(length)", "range(length)"),
    _mutant("8.1", "always in reverse", "if reverse else range(length)", "if True else range(length)"),
    _mutant("8.1", "misses the last step of the way back", "range(length - 1, -1, -1)", "range(length - 1, 0, -1)"),
    _mutant("8.1", "the weight's columns are units", "weight @ h", "h @ weight"),
    _mutant("8.1", "begins with zeros whatever was before", "h = h0[n]", "h = np.zeros_like(h0[n])"),
    _mutant("8.1", "one first state for all", "h = h0[n]", "h = h0[0]"),
    _mutant("8.1", "the functions exchanged", "if relu else", "if not relu else"),
    _mutant("8.1", "ReLU of what comes from below only", "np.maximum(a, 0)", "np.maximum(x[n, t], 0) + weight @ h"),
    _mutant("8.1", "a sample begins where the one before it ended",
            "    for n, length in enumerate(lengths):\n        h = h0[n]\n",
            "    h = h0[:1].sum(axis=0)\n    for n, length in enumerate(lengths):\n"),
    _mutant("8.1", "the state does not go on", "            h = np.maximum(a, 0) if relu else np.tanh(a)\n"
            "            y[n, t] = h\n", "            y[n, t] = np.maximum(a, 0) if relu else np.tanh(a)\n"),
    _mutant("8.1", "writes into the first states", "            y[n, t] = h\n",
            "            y[n, t] = h\n            h0[n] = h\n"),
    # 8.2 rnn_backward
    _mutant("8.2", "keeps what was behind a sample's end", "    dx[...] = 0\n", ""),
    _mutant("8.2", "goes the way of the forward run",
            "range(length) if reverse else range(length - 1, -1, -1)",
            "range(length - 1, -1, -1) if reverse else range(length)"),
    _mutant("8.2", "forgets what comes back", "dh = dy[n, t] + back", "dh = dy[n, t]"),
    _mutant("8.2", "forgets what comes from above but for the last step", "dh = dy[n, t] + back",
            "dh = dy[n, t] if t == (0 if reverse else length - 1) else back"),
    _mutant("8.2", "goes back along the rows", "weight.T @ dx[n, t]", "weight @ dx[n, t]"),
    _mutant("8.2", "goes back around the function", "weight.T @ dx[n, t]", "weight.T @ dh"),
    _mutant("8.2", "what comes back piles up", "back = weight.T", "back = back + weight.T"),
    _mutant("8.2", "the slope of the state before", "(1 - y[n, t] ** 2)", "(1 - y[n, max(t - 1, 0)] ** 2)"),
    _mutant("8.2", "tanh's slope without its square", "y[n, t] ** 2", "y[n, t]"),
    _mutant("8.2", "tanh's slope as of its input", "(1 - y[n, t] ** 2)", "(1 - np.tanh(y[n, t]) ** 2)"),
    _mutant("8.2", "ReLU's slope where it is off, too", "(y[n, t] > 0)", "(y[n, t] >= 0)"),
    _mutant("8.2", "the functions exchanged", "if relu else dh", "if not relu else dh"),
    _mutant("8.2", "the first state has the first step's gradient", "dh0[n] = back", "dh0[n] = dh if length else 0"),
    _mutant("8.2", "samples share one first state", "dh0[n] = back", "dh0[...] = back"),
    _mutant("8.2", "all samples have all steps", "range(length - 1, -1, -1)", "range(dx.shape[1] - 1, -1, -1)"),
    _mutant("8.2", "limits what comes back at each step", "weight.T @ dx[n, t]", "np.clip(weight.T @ dx[n, t], -5, 5)"),
    # 8.3 brnn
    _mutant("8.3", "the way back begins behind the longest sentence",
            "e = np.maximum(x[n, :length] @", "length = x.shape[1]\n        e = np.maximum(x[n, :length] @"),
    _mutant("8.3", "both ways go up", "range(length - 1, -1, -1)", "range(length)"),
    _mutant("8.3", "both ways with the same weights", "(back, range", "(ahead, range"),
    _mutant("8.3", "the ways exchanged", "((ahead, range(length)), (back, range(length - 1, -1, -1)))",
            "((back, range(length)), (ahead, range(length - 1, -1, -1)))"),
    _mutant("8.3", "e without ReLU", "np.maximum(x[n, :length] @ enter[0].T + enter[1], 0)",
            "x[n, :length] @ enter[0].T + enter[1]"),
    _mutant("8.3", "states without ReLU", "np.maximum(e[t] + weight @ h + bias, 0)", "e[t] + weight @ h + bias"),
    _mutant("8.3", "s without ReLU", "np.maximum(states @ leave[0].T + leave[1], 0)", "states @ leave[0].T + leave[1]"),
    _mutant("8.3", "states without their biases", "weight @ h + bias, 0", "weight @ h, 0"),
    _mutant("8.3", "the last way's states only", "states[t] += h", "states[t] = h"),
    _mutant("8.3", "s by the mean of both ways", "(states @ leave", "(states / 2 @ leave"),
    _mutant("8.3", "the way back goes on from the way up", "            h = np.zeros_like(bias)\n",
            "            h = h if weight is back[0] else np.zeros_like(bias)\n"),
    _mutant("8.3", "weights transposed", "weight @ h", "h @ weight"),
    _mutant("8.3", "behind the end stands what zeros say", "s[n, :length] =",
            "s[n] = np.maximum(leave[1], 0)\n        s[n, :length] ="),
    # 8.4 scores
    _mutant("8.4", "zeros behind the regions may win", "v[k, : counts[k]] @", "np.where(np.arange(v.shape[1])[:, None] "
            "< counts[k], v[k], 0) @"),
    _mutant("8.4", "all regions there may be", "v[k, : counts[k]] @", "v[k] @"),
    _mutant("8.4", "all words there may be", "s[l, : lengths[l]].T", "s[l].T"),
    _mutant("8.4", "a negative best counts as 0", "total[k, l] += products[winner, t]",
            "total[k, l] += max(products[winner, t], 0)"),
    _mutant("8.4", "the last of equally good regions learns", "products.argmax(axis=0)",
            "len(products) - 1 - products[::-1].argmax(axis=0)"),
    _mutant("8.4", "a region learns from one word only", "dv[k, winner] += dscores[k, l] * s[l, t]",
            "dv[k, winner] = dscores[k, l] * s[l, t]"),
    _mutant("8.4", "a word learns from one picture only", "ds[l, t] += dscores[k, l] * v[k, winner]",
            "ds[l, t] = dscores[k, l] * v[k, winner]"),
    _mutant("8.4", "all regions learn", "dv[k, winner] +=", "dv[k, : counts[k]] +="),
    _mutant("8.4", "the gradients of a plain sum of scores", "dv[k, winner] += dscores[k, l] * s[l, t]",
            "dv[k, winner] += s[l, t]"),
    _mutant("8.4", "the worst region wins", "products.argmax(axis=0)", "products.argmin(axis=0)"),
    _mutant("8.4", "the mean over words", "total[k, l] += products[winner, t]",
            "total[k, l] += products[winner, t] / lengths[l]"),
    _mutant("8.4", "DeFrag: all positive products", "total[k, l] += products[winner, t]",
            "total[k, l] += np.maximum(products[:, t], 0).sum()"),
    _mutant("8.4", "the largest in size wins", "products.argmax(axis=0)", "np.abs(products).argmax(axis=0)"),
]  # fmt: skip
