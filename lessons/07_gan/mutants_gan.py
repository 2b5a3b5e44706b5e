"""Planted bugs of tasks 7.6 to 7.8, as in ``mutants.py``."""


def _mutant(task: str, title: str, old: str, new: str) -> dict:
    return {"task": task, "title": title, "patch": (old, new)}


MUTANTS = [
    # 7.6 maxout_forward
    _mutant("7.6", "the last of equal maxima wins", "value > best", "value >= best"),
    _mutant("7.6", "a NaN never wins", "value > best or value != value", "value > best"),
    _mutant("7.6", "the first NaN is kept", "value != value", "(value != value and best == best)"),
    _mutant("7.6", "begins with 0, so that nothing is negative", "best, at = x[n, u, 0, m], 0", "best, at = 0.0, 0"),
    _mutant("7.6", "the largest in size", "value > best or", "abs(value) > abs(best) or"),
    _mutant("7.6", "the smallest", "value > best or", "value < best or"),
    _mutant("7.6", "switches count the channels", "= best, at\n", "= best, u * x.shape[2] + at\n"),
    _mutant("7.6", "switches count from 1", "= best, at\n", "= best, at + 1\n"),
    _mutant("7.6", "a unit's pieces are not neighbours", "    for n, u, m in np.ndindex(y.shape):\n",
            "    x = x.reshape(len(x), x.shape[2], -1, x.shape[3]).swapaxes(1, 2)\n"
            "    for n, u, m in np.ndindex(y.shape):\n"),
    _mutant("7.6", "the first place only", "value = x[n, u, p, m]", "value = x[n, u, p, 0]"),
    _mutant("7.6", "forgets the last piece", "range(1, x.shape[2])", "range(1, max(x.shape[2] - 1, 1))"),
    # 7.7 maxout_backward
    _mutant("7.7", "all pieces learn", "dx[n, u, switches[n, u, m], m]", "dx[n, u, :, m]"),
    _mutant("7.7", "all pieces share", "dx[n, u, switches[n, u, m], m] = dy[n, u, m]",
            "dx[n, u, :, m] = dy[n, u, m] / dx.shape[2]"),
    _mutant("7.7", "the first piece learns", "switches[n, u, m], m]", "0, m]"),
    _mutant("7.7", "the piece after the winner learns", "switches[n, u, m], m]",
            "(switches[n, u, m] + 1) % dx.shape[2], m]"),
    _mutant("7.7", "losers keep what was there", "    dx[...] = 0\n", ""),
    _mutant("7.7", "the first place's winner at all places", "switches[n, u, m], m]", "switches[n, u, 0], m]"),
    _mutant("7.7", "adds to what was there", "    dx[...] = 0\n", "    dx[...] = np.nan_to_num(dx, nan=1.0)\n"),
    _mutant("7.7", "writes into dy", "    dx[...] = 0\n", "    dx[...] = 0\n    dy *= dy > 0\n"),
    # 7.8 parzen_log_likelihood
    _mutant("7.8", "underflows: the logarithm of 0", "    largest = exponents.max(axis=1)\n",
            "    largest = np.zeros(len(points))\n"),
    _mutant("7.8", "the largest exponent of all points", "exponents.max(axis=1)",
            "np.full(len(points), exponents.max())"),
    _mutant("7.8", "a sum, not a mean, over the centres", "[:, None]).mean(axis=1)", "[:, None]).sum(axis=1)"),
    _mutant("7.8", "the nearest centre only", "+ np.log(sums)", "- np.log(len(centres))"),
    _mutant("7.8", "sigma squared, once", "(2 * sigma**2)", "sigma**2"),
    _mutant("7.8", "sigma, not squared", "(2 * sigma**2)", "(2 * sigma)"),
    _mutant("7.8", "the volume of one dimension", "points.shape[1] * np.log", "np.log"),
    _mutant("7.8", "a volume without sigma", "np.log(sigma * np.sqrt(2 * np.pi))", "np.log(np.sqrt(2 * np.pi))"),
    _mutant("7.8", "the volume is added", "- points.shape[1] *", "+ points.shape[1] *"),
    _mutant("7.8", "a mean of logarithms", "    return largest + np.log(sums)", "    return exponents.mean(axis=1)"),
    _mutant("7.8", "the distance, not its square", "((centres - x) ** 2).sum(axis=1)",
            "np.sqrt(((centres - x) ** 2).sum(axis=1))"),
    _mutant("7.8", "squares first, and has lost the difference", "((centres - x) ** 2).sum(axis=1)",
            "(centres**2).sum(axis=1) - 2 * centres @ x + x @ x"),
    _mutant("7.8", "a number for all points", "np.exp(exponents - largest[:, None]).mean(axis=1)",
            "np.exp(exponents - largest[:, None]).mean()"),
]  # fmt: skip
