"""Filters as the micro-kernel reads them: panels of a few vectors of output channels, one row per input and tap.

A group's output channels ("lanes") are cut into panels of at most VECTORS vectors, as even as can be; panel p holds
row r = (input channel, tap) of its lanes side by side. Lanes that do not exist are zero.
"""

import numpy as np
from numba import njit
from numba import uint64 as u64

from tinyconv_kernels.cpu._micro import VECTOR_BYTES, VECTORS, copy_row, transpose_block


@njit(cache=True, error_model="numpy")
def count_panels(lanes, itemsize):
    """(vectors that ``lanes`` output channels fill, panels they are cut into)."""
    vectors = -(-lanes * itemsize // VECTOR_BYTES)
    return vectors, -(-vectors // VECTORS)


@njit(cache=True, error_model="numpy")
def find_panel(panel, vectors, panels):
    """(first vector, number of vectors) of a panel."""
    few, more = divmod(vectors, panels)
    return panel * few + min(panel, more), few + (panel < more)


@njit(cache=True, error_model="numpy")
def panel_of(vector, vectors, panels):
    """(first vector, number of vectors) of the panel that a vector is in."""
    for panel in range(panels):
        begin, wide = find_panel(panel, vectors, panels)
        if vector < begin + wide:
            break
    return begin, wide


@njit(cache=True, nogil=True, error_model="numpy")
def pack_filters(
    first_task, last_task, weight, packed, groups, lanes, phase_lanes, channels, taps, strides, tap_row, tap_lane, rows
):
    """packed[panel, c * rows + tap_row[e], tap_lane[e] + l] = weight of lane l, channel c, tap e.

    A task is one vector of lanes of one group. ``strides`` are the elements of weight from one group, lane and
    channel to the next; a tap whose row is -1 is left out. Each tap has lanes ``tap_lane[e]`` onwards to itself: the
    phases of a strided backward pass lie side by side (cpu/_axes.py), in ``phase_lanes`` lanes each.
    """
    unit = VECTOR_BYTES // weight.itemsize
    by_group, by_lane, by_channel = strides
    vectors, panels = count_panels(lanes, weight.itemsize)
    block = np.empty(unit * unit, weight.dtype)
    zero, lowest = weight.dtype.type(0), weight.dtype.type(-np.inf)
    filled, in_order = 0, True
    for e in range(taps):
        filled += phase_lanes if tap_row[e] >= 0 else 0
        in_order &= tap_row[e] == tap_row[0] + e and tap_row[e] >= 0
    for task in range(first_task, last_task):
        group, vector = divmod(task, vectors)
        begin, wide = panel_of(vector, vectors, panels)
        width = wide * unit
        base = (group * vectors + begin) * unit * channels * rows + (vector - begin) * unit
        l0, l1 = vector * unit, vector * unit + unit
        if filled < rows * lanes or l1 > lanes:  # lanes or rows that no tap fills
            for r in range(channels * rows):
                for l in range(unit):
                    packed[u64(base + r * width + l)] = zero
        # Whole vectors of lanes of one phase: transpose in registers, where that reads nothing behind the end.
        whole = phase_lanes == lanes and by_lane > 1 and l1 <= lanes
        for c in range(channels):
            for e0 in range(0, taps, unit):
                e1 = min(taps, e0 + unit)
                source = group * by_group + c * by_channel + e0
                if whole and source + (l1 - 1) * by_lane + unit <= weight.size:
                    if in_order and e1 - e0 == unit:
                        at = u64(base + (c * rows + tap_row[e0]) * width)
                        transpose_block(weight, u64(source + l0 * by_lane), u64(by_lane), packed, at, u64(width))
                        continue
                    transpose_block(weight, u64(source + l0 * by_lane), u64(by_lane), block, u64(0), u64(unit))
                    for e in range(e0, e1):
                        if tap_row[e] >= 0:
                            at = u64(base + (c * rows + tap_row[e]) * width)
                            copy_row(block, u64((e - e0) * unit), packed, at, u64(unit), zero, lowest)
                    continue
                for e in range(e0, e1):
                    if tap_row[e] < 0:
                        continue
                    first, last = max(l0, tap_lane[e]), min(l1, tap_lane[e] + phase_lanes)
                    at = base + (c * rows + tap_row[e]) * width - l0
                    s = source + e - e0 - tap_lane[e] * by_lane
                    if by_lane == 1 and first < last:
                        copy_row(weight, u64(s + first), packed, u64(at + first), u64(last - first), zero, lowest)
                        continue
                    for l in range(first, last):
                        packed[u64(at + l)] = weight[u64(s + l * by_lane)]
