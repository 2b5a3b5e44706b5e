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
    if not (e.wrong & ~e.kinks).any():
        left, right = e.slopes[int(np.flatnonzero(e.wrong)[0])]
        return (
            f"fails only at ties: move the input (a kink: the slope is {left:.4g} to the left and {right:.4g} to the right, "
            "so there is no one gradient; use distinct values)"
        )
    ties = int((e.wrong & e.kinks).sum())
    e.wrong = e.wrong & ~e.kinks
    for pattern in (_not_finite, _not_connected, _ratio, _offset, _moved, _overwritten, _region, _nearly):
        found = pattern(e)
        if found:
            return found + (f" (and {ties} more at ties, where there is no one gradient)" if ties else "")
    return "none of the known patterns; check the formula on the smallest input that fails"


def _same(a: Any, b: Any, scale: float) -> np.ndarray:
    return np.abs(np.asarray(a) - b) <= CLOSE * scale


def _scale(e: Evidence) -> float:
    return float(np.abs(e.numeric[e.checked]).max())


def _constant(values: np.ndarray) -> float | None:
    """Return the one value that all of these share (more than one, so that it says something), or None."""
    middle = float(np.median(values)) if values.size else 0.0
    return middle if values.size > 1 and np.all(_same(values, middle, abs(middle))) else None


def _not_finite(e: Evidence) -> str:
    bad = e.wrong & ~np.isfinite(e.analytic)
    if bad.any():
        what = "NaN" if np.isnan(e.analytic[bad]).any() else "infinite"
        return f"the gradient is {what} at {int(bad.sum())} elements: 0 / 0, or log, sqrt or a power at 0, in backward"
    return "forward is NaN or infinite next to the input: move the input" if np.isnan(e.numeric[e.wrong]).any() else ""


def _not_connected(e: Evidence) -> str:
    if e.analytic.any():
        return ""
    return "all zeros: backward not connected (it returns None or zeros here, or the graph is cut by .detach() or .numpy())"


def _ratio(e: Evidence) -> str:
    relevant = e.checked & (np.abs(e.numeric) > CLOSE * _scale(e))
    if not e.wrong[relevant].all() or (e.analytic[e.checked & ~relevant] > CLOSE * _scale(e)).any():
        return ""
    ratios = e.analytic / np.where(relevant, e.numeric, 1)
    c = _constant(ratios[relevant])
    if c is not None:
        return _name_ratio(c, e)
    for axis in range(e.analytic.ndim):
        rows, used = np.moveaxis(ratios, axis, 0), np.moveaxis(relevant, axis, 0)
        if len(rows) > 1 and all(used.sum() > 1 and _constant(r[used]) is not None for r, used in zip(rows, used, strict=True)):
            return f"a wrong factor for each index of axis {axis}: a weight, mask or 1 / std along it is missing or doubled"
    return ""


def _name_ratio(c: float, e: Evidence) -> str:
    size = max(abs(c), 1 / abs(c))
    whole = round(size) if _same(size, round(size), size) else None
    sign = "sign flipped" if c < 0 else ""
    if whole == 1:
        return sign
    many, way = f"{whole or format(size, '.6g')}", "large" if abs(c) > 1 else "small"
    text = f"exactly {many} times too {way}" + ("" if whole != 2 else ", exactly 2x" if abs(c) > 1 else ", exactly half")
    sizes = {"batch size": e.input_shape[:1], "number of pixels": e.input_shape[2:], "number of elements": e.input_shape}
    named = [name for name, shape in sizes.items() if shape and int(np.prod(shape)) == whole]
    if named:
        text += f": scaled by the {named[0]} ({'sum where mean' if abs(c) > 1 else 'mean where sum'} belongs?)"
    return f"{sign} and {text}" if sign else text


def _offset(e: Evidence) -> str:
    off = np.where(e.checked, e.analytic - e.numeric, np.nan)
    if not e.wrong[e.checked].all():
        return ""
    c = _constant(off[e.checked])
    if c is not None:
        return f"a constant offset of {c:.6g}: a term too many or too few that is the same for all elements"
    for axis in range(e.analytic.ndim):
        rows = np.moveaxis(off, axis, 0).reshape(off.shape[axis], -1)
        if len(rows) > 1 and rows.shape[1] > 1 and all(_constant(r[~np.isnan(r)]) is not None for r in rows):
            return f"a constant offset for each index of axis {axis}: the gradient through a sum or mean along it is missing"
    return ""


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
    """Recognise a gradient that holds only one of the contributions that should have been added."""
    picked: list[set[tuple[int, int]]] = []
    for i in np.flatnonzero(e.wrong):
        terms = e.terms[int(i)]
        if np.count_nonzero(terms) < 2:
            return ""
        value, scale = e.analytic.flat[i], float(np.abs(terms).max())
        by_output = terms.reshape(e.output_shape)
        axes = range(by_output.ndim)
        sums = {axis: by_output.sum(tuple(a for a in axes if a != axis)) for axis in axes}
        picked.append({(axis, int(k)) for axis, s in sums.items() if s.size > 1 for k in np.flatnonzero(_same(s, value, scale))})
        if not picked[-1] and not np.any(_same(terms[terms != 0], value, scale)) and value != 0:
            return ""
    always = set.intersection(*picked)
    if always and len(picked) > 1 and any(e.analytic[e.wrong]):
        axis, k = min(always)
        of = "sample" if axis == 0 else f"index of axis {axis}"
        return f"only {of} {k} of the output counts: the sum over {'the batch' if axis == 0 else 'that axis'} is missing"
    if not e.analytic[e.wrong].any():
        return "zero where windows overlap (or an element is used more than once): the contributions must be added"
    return "zero where windows overlap but for one of them: assigned instead of added (= for +=), also at repeated indices"


def _region(e: Evidence) -> str:
    """Recognise errors confined to one index of an axis, a block of them, or the image's border."""
    wrong = np.argwhere(e.wrong)
    ratio = _constant(e.analytic[e.wrong] / np.where(e.numeric[e.wrong] == 0, np.inf, e.numeric[e.wrong]))
    detail = "" if ratio is None else f", there {'zero' if ratio == 0 else f'{ratio:.6g} times the right value'}"
    for axis, size in enumerate(e.analytic.shape):
        hit = np.unique(wrong[:, axis])
        rows = np.moveaxis(e.wrong, axis, 0)
        if len(hit) == 1 and size > 1 and (len(wrong) > 1 or e.analytic.ndim == 1):
            where = "the last" if hit[0] == size - 1 else "the first" if hit[0] == 0 else "one"
            return f"only index {hit[0]} of axis {axis} is wrong, {where} of {size} (one channel, bias or row){detail}"
        if axis < 2 and 1 < len(hit) < size and hit[-1] - hit[0] + 1 == len(hit) and rows[hit].all():
            return f"only indices {hit[0]} to {hit[-1]} of axis {axis} are wrong (a group, or part of the batch){detail}"
    if e.analytic.ndim >= 2:
        H, W = e.analytic.shape[-2:]  # noqa: N806
        h, w = wrong[:, -2], wrong[:, -1]
        width = int(np.minimum(np.minimum(h, H - 1 - h), np.minimum(w, W - 1 - w)).max()) + 1
        if 2 * width < min(H, W):
            return f"only borders wrong: padding, or a window cut off by the edge (the outer {width} rows and columns){detail}"
    return ""


def _nearly(e: Evidence) -> str:
    if np.all(np.abs(e.analytic - e.numeric)[e.wrong] <= 1e-2 * np.abs(e.numeric[e.wrong])):
        return "nearly right: an epsilon is missing or added, or part of it is computed in float32"
    return ""
