"""What a wrong gradient looks like: from the two gradients of :mod:`tinyconv.gradcheck` to a likely cause."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tinyconv.gradcheck_evidence import Evidence, GradientError

CLOSE = 1e-4  # two values this close (relative) count as the same when a pattern is looked for


def report(e: Evidence) -> GradientError:
    """Return the error that says what is wrong, where, and why perhaps."""
    suspects = e.wrong & ~e.kinks if (e.wrong & ~e.kinks).any() else e.wrong
    off = np.where(suspects, np.abs(e.analytic - e.numeric), -1.0)
    off[suspects & ~np.isfinite(off)] = np.inf
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
    analytic, numeric = float(e.analytic[index]), float(e.numeric[index])
    ratio = analytic / numeric if numeric else float("inf") if analytic else float("nan")
    wrong, checked = int(e.wrong.sum()), int(e.checked.sum())
    cause = diagnose(e)
    message = (
        f"{e.op}: wrong gradient of {e.label}, shape {e.analytic.shape}, at {wrong} of {checked} elements checked "
        f"({wrong / checked:.0%})\n  worst at {list(index)}: analytic {analytic:.10g}, numeric {numeric:.10g}, "
        f"ratio {ratio:.6g}\n  likely cause: {cause}"
    )
    worst = {"index": index, "analytic": analytic, "numeric": numeric, "ratio": ratio, "share": wrong / checked}
    return GradientError(message, op=e.op, cause=cause, argument=e.label, **worst)


def diagnose(e: Evidence) -> str:
    """Return the first pattern that fits."""
    ties = e.wrong & e.kinks
    if (ties == e.wrong).all():
        left, right = e.slopes[int(np.flatnonzero(ties)[0])]
        return (
            f"fails only at ties: move the input (a kink: the slope is {left:.4g} to the left and {right:.4g} to the "
            "right, so there is no one gradient; use distinct values)"
        )
    e.wrong, e.checked = e.wrong & ~e.kinks, e.checked & ~e.kinks
    more = f" (and {ties.sum()} more at ties, where there is no one gradient)" if ties.any() else ""
    for pattern in (_not_finite, _not_connected, _ratio, _offset, _moved, _overwritten, _region, _nearly):
        found = pattern(e)
        if found:
            return found + more
    return "none of the known patterns; check the formula on the smallest input that fails" + more


def _same(a: Any, b: Any, scale: float) -> np.ndarray:
    return np.abs(np.asarray(a) - b) <= CLOSE * scale


def _scale(e: Evidence) -> float:
    return float(np.abs(e.numeric[e.checked]).max())


def _constant(values: np.ndarray) -> float | None:
    """Return the one value that all of these share (more than one, so that it says something), or None."""
    middle = float(np.median(values)) if values.size else 0.0
    return middle if values.size > 1 and np.all(_same(values, middle, abs(middle))) else None


def _axis_of_constants(values: np.ndarray, used: np.ndarray) -> int | None:
    """Return the axis along which alone the values change, or None."""
    for axis in range(values.ndim):
        rows = zip(np.moveaxis(values, axis, 0), np.moveaxis(used, axis, 0), strict=True)
        constants = [_constant(row[mask]) for row, mask in rows]
        if len(constants) > 1 and None not in constants:
            return axis
    return None


def _not_finite(e: Evidence) -> str:
    bad = e.wrong & ~np.isfinite(e.analytic)
    if bad.any():
        what = "NaN" if np.isnan(e.analytic[bad]).any() else "infinite"
        return f"the gradient is {what} at {int(bad.sum())} elements: 0 / 0, or log, sqrt or a power at 0, in backward"
    return "forward is NaN or infinite next to the input: move the input" if np.isnan(e.numeric[e.wrong]).any() else ""


def _not_connected(e: Evidence) -> str:
    if e.analytic.any():
        return ""
    return "all zeros: backward not connected (it returns None or zeros, or the graph is cut by .detach() or .numpy())"


def _ratio(e: Evidence) -> str:
    """Recognise a wrong factor, where every gradient that is not 0 is wrong."""
    relevant = e.checked & (np.abs(e.numeric) > CLOSE * _scale(e))
    if not e.wrong[relevant].all() or np.any(np.abs(e.analytic[e.checked & ~relevant]) > CLOSE * _scale(e)):
        return ""
    ratios = e.analytic / np.where(relevant, e.numeric, 1)
    c = _constant(ratios[relevant])
    if c is not None:
        return _name_ratio(c, e)
    axis = _axis_of_constants(ratios, relevant)
    if axis is None:
        return ""
    return f"a wrong factor for each index of axis {axis}: a weight, mask or 1 / std along it is missing"


def _name_ratio(c: float, e: Evidence) -> str:
    if c == 0:
        return ""
    size = max(abs(c), 1 / abs(c))
    whole = round(size) if _same(size, round(size), size) else None
    if whole == 1:
        return "sign flipped"
    text = f"exactly {whole or format(size, '.6g')} times too {'large' if abs(c) > 1 else 'small'}"
    if whole == 2:
        text += ", exactly 2x" if abs(c) > 1 else ", exactly half"
    x = e.input_shape
    for name, shape in {"batch size": x[:1], "number of pixels": x[2:], "number of elements": x}.items():
        if shape and int(np.prod(shape)) == whole:
            text += f": scaled by the {name} ({'sum where mean' if abs(c) > 1 else 'mean where sum'} belongs?)"
            break
    return text if c > 0 else f"sign flipped and {text}"


def _offset(e: Evidence) -> str:
    """Recognise a missing or extra term that many elements share."""
    if not e.wrong[e.checked].all():
        return ""
    off = e.analytic - e.numeric
    c = _constant(off[e.checked])
    if c is not None:
        return f"a constant offset of {c:.6g}: a term too many or too few that is the same for all elements"
    axis = _axis_of_constants(off, e.checked)
    if axis is None:
        return ""
    return f"a constant offset for each index of axis {axis}: the gradient of a sum or mean is missing"


def _moved(e: Evidence) -> str:
    """Recognise the right numbers at wrong places."""
    a, n = e.analytic, e.numeric
    if not e.checked.all() or not np.all(_same(np.sort(a, axis=None), np.sort(n, axis=None), _scale(e))):
        return ""
    for i, j in itertools.combinations(range(a.ndim), 2):
        swapped = np.swapaxes(a, i, j).shape
        if np.all(_same(a.reshape(swapped).swapaxes(i, j), n, _scale(e))):
            return f"looks transposed: axes {i} and {j} are swapped"
    for axes in (tuple(range(-k, 0)) for k in (2, 1) if a.ndim >= k):
        if np.all(_same(np.flip(a, axes), n, _scale(e))):
            return f"mirrored along axes {axes}: a kernel flipped that should not be, or the reverse"
    return "the right values at wrong places: index arithmetic (stride, order of the axes, an offset)"


def _overwritten(e: Evidence) -> str:
    """Recognise a gradient that holds one contribution where several should have been added."""
    picked: list[set[tuple[int, int]]] = []  # per wrong element: (axis, index) of the outputs that alone give its value
    for i in np.flatnonzero(e.wrong):
        terms, value = e.terms[int(i)], e.analytic.flat[i]
        if e.uses.flat[i] < 2:
            return ""
        scale = float(np.abs(terms).max())
        picked.append(set())
        for axis, n in enumerate(e.output_shape):
            sums = np.moveaxis(terms.reshape(e.output_shape), axis, -1).reshape(-1, n).sum(0)
            picked[-1].update((axis, int(k)) for k in np.flatnonzero(_same(sums, value, scale)) if n > 1)
        if value != 0 and not picked[-1] and not np.any(_same(terms[terms != 0], value, scale)):
            return ""
    always = set.intersection(*picked)
    if always and len(picked) > 1 and e.analytic[e.wrong].all():
        axis, k = min(always)
        if axis == 0:
            return f"only sample {k} counts: the sum over the batch is missing"
        return f"only index {k} of the output's axis {axis} counts: the sum over that axis is missing"
    if np.any(e.uses[e.checked & ~e.wrong] > 1):
        return ""  # others that are used more than once are right
    if not e.analytic[e.wrong].any():
        return "zero where windows overlap (where an element is used more than once): the contributions must be added"
    return "zero where windows overlap (or indices repeat) but for one of them: assigned instead of added (= for +=)"


def _region(e: Evidence) -> str:
    """Recognise errors confined to one index of an axis, a block of them, or the image's border."""
    wrong = np.argwhere(e.wrong)
    detail = ""
    if np.all(e.numeric[e.wrong] != 0):
        ratio = _constant(e.analytic[e.wrong] / e.numeric[e.wrong])
        detail = "" if ratio is None else f", there {f'{ratio:.6g} times the right value' if ratio else 'zero'}"
    for axis, size in enumerate(e.analytic.shape):
        hit = np.unique(wrong[:, axis])
        if len(hit) == 1 and size > 1 and (len(wrong) > 1 or e.analytic.ndim == 1):
            where = "the last" if hit[0] == size - 1 else "the first" if hit[0] == 0 else "one"
            return f"only index {hit[0]} of axis {axis} is wrong, {where} of {size} (one channel, bias or row){detail}"
        block = 1 < len(hit) < size and hit[-1] - hit[0] + 1 == len(hit) and np.moveaxis(e.wrong, axis, 0)[hit].all()
        if axis < 2 and block:
            return f"only indices {hit[0]} to {hit[-1]} of axis {axis} are wrong (a group, or part of a batch){detail}"
    if e.analytic.ndim >= 2:
        from_edge = [np.minimum(wrong[:, a], e.analytic.shape[a] - 1 - wrong[:, a]) for a in (-2, -1)]
        width = int(np.minimum(*from_edge).max()) + 1
        if 2 * width < min(e.analytic.shape[-2:]):
            outer = f"the outer {width} rows and columns"
            return f"only borders wrong: padding, or a window cut off by the edge ({outer}){detail}"
    return ""


def _nearly(e: Evidence) -> str:
    if np.all(np.abs(e.analytic - e.numeric)[e.wrong] <= 1e-2 * np.abs(e.numeric[e.wrong])):
        return "nearly right: an epsilon is missing or added, or part of it is computed in float32"
    return ""
