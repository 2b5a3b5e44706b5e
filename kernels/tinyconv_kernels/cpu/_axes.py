"""Which input pixel each tap of a filter sees, per axis: the one table behind all passes of a convolution.

Along one axis (height or width) an output position u meets tap t at input pixel  u * STEP + offset[t].  Forward, STEP
is the stride and offset[t] = t * dilation - padding. Backward to the input, pixel h of the result met tap i in output
(h + padding - i * dilation) / stride, where that is whole: pixels with equal (h + padding) mod stride, a *phase*, are a
correlation of their own with STEP 1 and the taps that fit the phase.

The pixels that positions see are copied into a window (cpu/_window.py) that has SPAN slots for each position, from
offset LOW on, or shares the slots of neighbours where they overlap; the rest of the row is zero-padding.
"""

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

# Columns of Axis.table: positions; pixels from one to the next, and slots (fewer, if pixels between are never seen);
# the lowest offset; slots seen from one position; slots of the whole row.
COUNT, STEP, SLOTS, LOW, SPAN, PITCH = range(6)


class Axis(NamedTuple):
    """``taps`` are slots behind a position; tap ``filter_taps[phase][t]`` of the filter is at taps[t], or -1: none."""

    table: np.ndarray
    taps: np.ndarray
    starts: tuple[int, ...]
    filter_taps: tuple[tuple[int, ...], ...]


def _axis(size, step, phases):
    """Make the table from [(start, count, {filter tap: offset in pixels})] of the phases that share it."""
    count = max(1, *(count for _, count, _ in phases))
    offsets = sorted({offset for _, _, taps in phases for offset in taps.values()})
    # A tap far outside sees zeros from any offset outside: the nearest one, or the padding would take all memory.
    clamped = [max(-(count - 1) * step - 1, min(offset, size)) for offset in offsets] or [0]
    low, span = min(clamped), max(clamped) - min(clamped) + 1
    slots = min(step, span)
    table = np.array([count, step, slots, low, span, (count - 1) * slots + span], np.int64)
    where = [{offset: tap for tap, offset in taps.items()} for _, _, taps in phases]
    return Axis(
        table,
        np.array([offset - low for offset in clamped[: len(offsets)]], np.int64),
        tuple(start for start, _, _ in phases),
        tuple(tuple(taps.get(offset, -1) for offset in offsets) for taps in where),
    )


class Pass(NamedTuple):
    """One pass of a convolution as cpu/_direct.py computes it: positions, and lanes (output channels) at each.

    ``terms`` is the side of a square filter that slides pixel by pixel, else 0: what Winograd's method needs.
    ``places[l]`` is (output channel of its group, first row, first column) of lane l. The packed filters have a row for
    each of ``channels`` and taps: tap e of the filter becomes row ``tap_row[e]`` of ``rows`` (-1: none), and fills
    ``phase_lanes`` lanes from ``tap_lane[e]`` on.
    """

    axis_h: Axis
    axis_w: Axis
    places: np.ndarray
    channels: int
    rows: int
    tap_row: np.ndarray
    tap_lane: np.ndarray
    phase_lanes: int
    terms: int


def _terms(axis_h, axis_w):
    taps = tuple(axis_h.taps)
    slides = axis_h.table[STEP] == axis_w.table[STEP] == 1
    return len(taps) if slides and taps == tuple(axis_w.taps) == tuple(range(len(taps))) else 0


def _correlation_axis(size, out, kernel, stride, padding, dilation):
    return _axis(size, stride, [(0, out, {i: i * dilation - padding for i in range(kernel)})])


def _transposed_axes(size, out, kernel, stride, padding, dilation, together):
    """One axis for each phase, or one for all of them (``together``): a position then owns one pixel of each phase."""
    phases = []
    for start in range(min(stride, out)):
        taps = {i: (start + padding - i * dilation) // stride for i in range(kernel)}
        fitting = {i: offset for i, offset in taps.items() if (start + padding - i * dilation) % stride == 0}
        phases.append((start, -(-(out - start) // stride), fitting))
    if together:
        return [_axis(size, 1, phases)]
    return [_axis(size, 1, [phase]) for phase in phases]


@lru_cache(maxsize=1024)
def correlation(channels, lanes, sizes, outs, kernel, stride, padding, dilation):
    """The forward pass of a group with so many input channels and filters (``lanes``); the rest are pairs (h, w)."""
    axes = [_correlation_axis(*side) for side in zip(sizes, outs, kernel, stride, padding, dilation, strict=True)]
    places = np.zeros((lanes, 3), np.int64)
    places[:, 0] = np.arange(lanes)
    # A filter's channels and taps lie behind one another, in the order of the rows: one long row of taps.
    depth = channels * kernel[0] * kernel[1]
    return Pass(*axes, places, 1, depth, np.arange(depth), np.zeros(depth, np.int64), lanes, _terms(*axes))


@lru_cache(maxsize=1024)
def transposed(channels, lanes, unit, sizes, outs, kernel, stride, padding, dilation):
    """The backward pass from so many filters (``channels``) to input channels (``lanes``), ``unit`` lanes to a vector.

    All phases in one pass are best when there are few lanes (AlexNet's conv1: 16 phases of 3 channels fill 3 vectors,
    and 9.5 times the speed was measured); one pass for each when some taps of other phases would be wasted.
    """
    sides = list(zip(sizes, outs, kernel, stride, padding, dilation, strict=True))
    choices = []
    for together in (True, False):
        rows, columns = (_transposed_axes(*side, together) for side in sides)
        choices.append([_transposed_pass(h, w, channels, lanes, kernel, stride) for h in rows for w in columns])
    return min(choices, key=lambda passes: sum(p.rows * -(-len(p.places) // unit) for p in passes))


def _transposed_pass(axis_h, axis_w, channels, lanes, kernel, stride):
    tap_row, tap_lane = np.full(kernel, -1, np.int64), np.zeros(kernel, np.int64)
    places = []
    for start_h, taps_h in zip(axis_h.starts, axis_h.filter_taps, strict=True):
        for start_w, taps_w in zip(axis_w.starts, axis_w.filter_taps, strict=True):
            for row, (i, j) in enumerate(product(taps_h, taps_w)):
                if i >= 0 and j >= 0:
                    tap_row[i, j], tap_lane[i, j] = row, len(places)
            places += [(lane, start_h, start_w) for lane in range(lanes)]
    rows = len(axis_h.taps) * len(axis_w.taps)
    flat = tap_row.reshape(-1), tap_lane.reshape(-1)
    # One phase of several may look like a filter that slides, but its results are no neighbours.
    terms = _terms(axis_h, axis_w) if stride == (1, 1) else 0
    return Pass(axis_h, axis_w, np.array(places, np.int64), channels, rows, *flat, lanes, terms)
