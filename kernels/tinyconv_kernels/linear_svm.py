"""The inner loop of a linear support vector machine's training. See :func:`dual_sweep`."""

from numba import njit


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _product(row, weights):
    total = 0.0
    for i in range(row.size):
        total += row[i] * weights[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def dual_sweep(features, signs, costs, squares, order, bias, dual, plane):
    """One pass of dual coordinate descent over the examples in ``order`` (Hsieh et al. 2008, algorithm 1).

    features (N, F); signs (N,) of +1 and -1; costs (N,) the upper bounds of the dual variables; squares (N,) = |x|^2 +
    bias^2. Writes dual (N,) and plane (F + 1,) = sum of dual * sign * (x, bias), both float64.
    """
    F = features.shape[1]
    for i in order:
        row = features[i]
        margin = signs[i] * (_product(row, plane) + bias * plane[F])
        if squares[i] > 0.0:
            new = min(max(dual[i] + (1.0 - margin) / squares[i], 0.0), costs[i])
        else:  # an example of zeros costs the same wherever the plane lies
            new = costs[i]
        step = (new - dual[i]) * signs[i]
        if step != 0.0:
            for k in range(F):
                plane[k] += step * row[k]
            plane[F] += step * bias
        dual[i] = new
