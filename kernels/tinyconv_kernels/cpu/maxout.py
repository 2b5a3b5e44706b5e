"""Maxout; one thread owns whole units (n, u). Definition and source: ``reference/maxout.py``."""

from numba import njit

from tinyconv_kernels.cpu._share import share, threads_for


def _units(x):
    """View (N, U, P, M) as (N * U, P, M), and (N, U, M) as (N * U, M)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def maxout_forward(x, y, switches):
    """One thread owns some units. Writes y (N, U, M) and switches (int64, the winning piece).

    First maximum wins; a NaN beats every number and the last NaN is kept.
    """
    arrays = _units(x), _units(y), _units(switches)
    share(threads_for(x.size), _forward, len(arrays[0]), *arrays)


@njit(cache=True, nogil=True)
def _forward(first, last, x, y, switches):
    pieces, places = x.shape[1:]
    if places == 1:  # a linear layer's units: their pieces are neighbours
        for t in range(first, last):
            best, at = x[t, 0, 0], 0
            for p in range(1, pieces):
                value = x[t, p, 0]
                take = value > best or value != value
                best, at = value if take else best, p if take else at
            y[t, 0], switches[t, 0] = best, at
        return
    for t in range(first, last):
        best, at = y[t], switches[t]
        best[:] = x[t, 0]
        at[:] = 0
        for p in range(1, pieces):
            row = x[t, p]
            for m in range(places):
                take = row[m] > best[m] or row[m] != row[m]
                best[m] = row[m] if take else best[m]
                at[m] = p if take else at[m]


def maxout_backward(dy, switches, dx):
    """One thread owns some units. Writes dx (N, U, P, M): dy at the winning piece, 0 at the others."""
    arrays = _units(dy), _units(switches), _units(dx)
    share(threads_for(dx.size), _backward, len(arrays[0]), *arrays)


@njit(cache=True, nogil=True)
def _backward(first, last, dy, switches, dx):
    pieces, places = dx.shape[1:]
    zero = dx.dtype.type(0)
    if places == 1:
        dx[first:last] = zero
        for t in range(first, last):
            dx[t, switches[t, 0], 0] = dy[t, 0]
        return
    for t in range(first, last):
        for p in range(pieces):
            row = dx[t, p]
            for m in range(places):
                row[m] = dy[t, m] if switches[t, m] == p else zero
