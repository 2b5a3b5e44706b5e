"""Regions of interest, defined: loops over the regions, their bins and what each bin reads, all channels at once.

Sources: Girshick 2015, sec. 2.1, in the quantisation of its released layer (maximum over whole cells); He et al. 2017,
sec. 3 (averages of samples between the cells), in torchvision's two conventions. A region is (image, x1, y1, x2, y2) in
pixels of the image; ``scale`` takes them to cells of the map.
"""

import math

import numpy as np

# Infinities and NaN take their IEEE way without a warning, as in PyTorch.
_quiet = np.errstate(all="ignore")

LIMIT = 1 << 24  # cells: a region that reaches further is cut there, and all numbers of it stay exact


def _axes(rois, r, scale):
    """Return a region's two ends in cells, of the rows and of the columns."""
    x1, y1, x2, y2 = np.clip(rois[r, 1:] * rois.dtype.type(scale), -LIMIT, LIMIT)
    return (y1, y2), (x1, x2)


# -------------------------------------------------------------------------------------------------------------- maximum
def _cell(position):
    """Nearest whole number, halves away from zero as C's round has it; NumPy's rint would make 2 of 2.5."""
    whole = int(position)
    return whole + int(np.sign(position)) if abs(position - whole) >= 0.5 else whole


def _bin(i, bins, ends, size):
    """Cells of bin i: floor(i length / bins) up to ceil((i + 1) length / bins) from the first one, inside the map.

    Both ends are cells of the region, hence the + 1. Bins may share a cell; a region has at least one.
    """
    first, last = _cell(ends[0]), _cell(ends[1])
    length = max(last - first + 1, 1)
    start, end = first + i * length // bins, first - (-(i + 1) * length // bins)
    return range(max(start, 0), min(end, size))


def roi_pool_forward(x, rois, y, switches, scale):
    """One output is the maximum of its bin. Writes y and switches (int64 h * W + w); an empty bin gives 0 and -1.

    First maximum wins; a NaN beats every number and the last NaN is kept.
    """
    (H, W), (PH, PW) = x.shape[2:], y.shape[2:]
    for r in range(len(rois)):
        image, (rows, columns) = x[int(rois[r, 0])], _axes(rois, r, scale)
        for i, j in np.ndindex(PH, PW):
            best, at = np.zeros(x.shape[1], x.dtype), np.full(x.shape[1], -1)
            for h in _bin(i, PH, rows, H):
                for w in _bin(j, PW, columns, W):
                    value = image[:, h, w]
                    take = (value > best) | np.isnan(value) | (at < 0)  # > and not >=: the first maximum wins
                    best[take], at[take] = value[take], h * W + w
            y[r, :, i, j], switches[r, :, i, j] = best, at


@_quiet
def roi_pool_backward(dy, rois, switches, dx, scale):
    """One output's gradient goes to its switch. Writes dx: regions that overlap ADD, one region after the other."""
    dx[...] = 0
    flat = dx.reshape(*dx.shape[:2], -1)
    for r, i, j in np.ndindex(dy.shape[0], *dy.shape[2:]):
        at = switches[r, :, i, j]
        (filled,) = np.nonzero(at >= 0)
        flat[int(rois[r, 0]), filled, at[filled]] += dy[r, filled, i, j]


# ------------------------------------------------------------------------------------------------- average of samples
def _samples(i, bins, ends, sampling_ratio, aligned):
    """Positions along one axis that bin i reads, evenly spread; centres of cells are whole numbers.

    ``aligned`` moves them by the half cell between a pixel's corner, which boxes mean, and its centre; without it a
    region is at least one cell long. A sampling_ratio below 1 takes as many samples as a bin is long, rounded up.
    """
    real = ends[0].dtype.type
    start, length = ends[0], ends[1] - ends[0]
    if aligned:
        start = start - real(0.5)
    else:
        length = max(length, real(1))
    size = length / real(bins)
    count = sampling_ratio if sampling_ratio > 0 else max(math.ceil(size), 0)
    return [start + real(i) * size + real(k + 0.5) * size / real(count) for k in range(count)]


def _neighbours(position, size):
    """Cells around a position, each with its weight; the border's, all of it, up to one cell outside the map.

    Beyond there is none, and a cell of weight 0 is not read either.
    """
    if position < -1 or position > size:
        return []
    position = max(position, 0)
    low = int(position)
    if low >= size - 1:
        return [(size - 1, 1)]
    return [(at, weight) for at, weight in ((low, low + 1 - position), (low + 1, position - low)) if weight > 0]


def _readings(rois, r, out, size, scale, sampling_ratio, aligned):
    """For each output of a region yield (i, j), (h, w) and the weight of this cell in the output's average."""
    ends = _axes(rois, r, scale)
    for at in np.ndindex(*out):
        axes = [_samples(at[a], out[a], ends[a], sampling_ratio, aligned) for a in (0, 1)]
        count = rois.dtype.type(max(len(axes[0]) * len(axes[1]), 1))
        for down in axes[0]:
            for across in axes[1]:
                for h, a in _neighbours(down, size[0]):
                    for w, b in _neighbours(across, size[1]):
                        yield at, (h, w), a * b / count


@_quiet
def roi_align_forward(x, rois, y, scale, sampling_ratio, aligned):
    """One output is the mean of its bin's samples, each mixed of the four cells around it. Writes y."""
    y[...] = 0
    for r in range(len(rois)):
        for (i, j), (h, w), weight in _readings(rois, r, y.shape[2:], x.shape[2:], scale, sampling_ratio, aligned):
            y[r, :, i, j] += weight * x[int(rois[r, 0]), :, h, w]


@_quiet
def roi_align_backward(dy, rois, dx, scale, sampling_ratio, aligned):
    """One output's gradient goes to the cells that it was mixed of, with their weights. Writes dx: all of it ADDS."""
    dx[...] = 0
    for r in range(len(rois)):
        for (i, j), (h, w), weight in _readings(rois, r, dy.shape[2:], dx.shape[2:], scale, sampling_ratio, aligned):
            dx[int(rois[r, 0]), :, h, w] += weight * dy[r, :, i, j]
