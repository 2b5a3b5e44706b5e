"""Hierarchical grouping of regions (Uijlings et al. 2013), for the host only: see :func:`group`."""

import heapq

import numpy as np
from numba import njit

from tinyconv_kernels.segmentation import root_of

COLOUR, TEXTURE, SIZE, FILL = 0, 1, 2, 3  # the measures, in the order of :func:`similarity`


@njit(cache=True, nogil=True)
def direction_bins(across, down, directions, bins):
    """Return (C * directions, H, W) uint8: each pixel's bin of the slope of image (C, H, W) in each direction.

    across and down are its derivatives. Direction i is at angle 2 pi i / directions; a slope below 0 counts as 0. Bins
    are of equal width, from 0 to the channel's steepest slope in any direction.
    """
    C, H, W = across.shape
    out = np.zeros((C * directions, H, W), np.uint8)
    for c in range(C):
        steepest = 0.0
        for i in range(directions):
            x, y = np.cos(2 * np.pi * i / directions), np.sin(2 * np.pi * i / directions)
            for h in range(H):
                for w in range(W):
                    steepest = max(steepest, x * across[c, h, w] + y * down[c, h, w])
        if steepest <= 1e-9:  # what rounding leaves of a flat channel
            continue
        for i in range(directions):
            x, y = np.cos(2 * np.pi * i / directions), np.sin(2 * np.pi * i / directions)
            for h in range(H):
                for w in range(W):
                    slope = max(0.0, x * across[c, h, w] + y * down[c, h, w])
                    out[c * directions + i, h, w] = min(bins - 1, int(slope / steepest * bins))
    return out


@njit(cache=True, nogil=True)
def region_histograms(labels, planes, bins, out):
    """Write out (>= R, P * bins): the histograms of planes (P, H, W) over each region of labels, each row of sum 1."""
    P, H, W = planes.shape
    size = np.zeros(out.shape[0], np.int64)
    out[:] = 0
    for h in range(H):
        for w in range(W):
            region = labels[h, w]
            size[region] += 1
            for p in range(P):
                out[region, p * bins + planes[p, h, w]] += 1
    for region in range(out.shape[0]):
        if size[region]:
            out[region] /= size[region] * P


@njit(cache=True, nogil=True)
def region_boxes(labels, boxes, sizes):
    """Write boxes (>= R, 4), x1 y1 x2 y2 in the +0 convention, and sizes (>= R,) in pixels of the regions of labels."""
    H, W = labels.shape
    sizes[:] = 0
    boxes[:, :2], boxes[:, 2:] = max(H, W), 0
    for h in range(H):
        for w in range(W):
            region = labels[h, w]
            sizes[region] += 1
            box = boxes[region]
            box[0], box[1] = min(box[0], w), min(box[1], h)
            box[2], box[3] = max(box[2], w + 1), max(box[3], h + 1)


@njit(cache=True, nogil=True)
def neighbour_pairs(labels, count):
    """Return (E, 2): pairs a < b of regions of which two pixels are 8-neighbours, each once, in ascending order."""
    H, W = labels.shape
    found = [np.int64(0) for _ in range(0)]
    for h in range(H):
        for w in range(W):
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                y, x = h + down, w + right
                if y < H and 0 <= x < W and labels[h, w] != labels[y, x]:
                    a, b = labels[h, w], labels[y, x]
                    found.append(min(a, b) * count + max(a, b))
    keys = np.unique(np.array(found, np.int64))
    pairs = np.empty((keys.size, 2), np.int64)
    for e in range(keys.size):
        pairs[e, 0], pairs[e, 1] = keys[e] // count, keys[e] % count
    return pairs


@njit(cache=True, nogil=True)
def intersection(first, second):
    """Return the sum of the smaller of two histograms' bins."""
    a = b = c = d = 0.0  # four sums, whose additions need not wait for each other
    for i in range(0, first.size - 3, 4):
        a += min(first[i], second[i])
        b += min(first[i + 1], second[i + 1])
        c += min(first[i + 2], second[i + 2])
        d += min(first[i + 3], second[i + 3])
    for i in range(first.size // 4 * 4, first.size):
        a += min(first[i], second[i])
    return (a + b) + (c + d)


@njit(cache=True, nogil=True)
def similarity(i, j, measure, colours, textures, sizes, boxes, pixels):
    """Return one of the four measures of regions i and j, in [0, 1] (Uijlings et al. 2013, sec. 3.2)."""
    if measure == COLOUR:
        return intersection(colours[i], colours[j])
    if measure == TEXTURE:
        return intersection(textures[i], textures[j])
    together = sizes[i] + sizes[j]
    if measure == SIZE:
        return 1 - together / pixels
    width = max(boxes[i, 2], boxes[j, 2]) - min(boxes[i, 0], boxes[j, 0])
    height = max(boxes[i, 3], boxes[j, 3]) - min(boxes[i, 1], boxes[j, 1])
    return 1 - (width * height - together) / pixels


@njit(cache=True, nogil=True)
def group(pairs, weights, colours, textures, sizes, boxes, pixels, children, similarities):
    """Merge the most similar neighbours again and again. Writes rows R.. of the features, children and similarities.

    The first R of 2 R - 1 rows of colours, textures, sizes and boxes hold the regions' features; pairs (E, 2) are the
    neighbours. Region R + t comes from children[t], whose weighted sum of measures is similarities[t]. Of equally
    similar pairs the one with the smaller numbers merges first.
    """
    R = children.shape[0] + 1
    parent = np.arange(2 * R - 1)  # of a merged region, the one it became a part of
    seen = np.full(2 * R - 1, -1, np.int64)  # the last new region whose neighbour this one was found to be
    # Neighbours of each region when it came to be; what became of them since, parent tells.
    degree = np.zeros(R, np.int64)
    for a, b in pairs:
        degree[a] += 1
        degree[b] += 1
    around = [np.empty(count, np.int64) for count in degree]
    for a, b in pairs:
        degree[a] -= 1
        degree[b] -= 1
        around[a][degree[a]], around[b][degree[b]] = b, a
    heap = [(-_sum(a, b, weights, colours, textures, sizes, boxes, pixels), a, b) for a, b in pairs]
    heapq.heapify(heap)
    t = R
    while t < 2 * R - 1:
        value, i, j = heapq.heappop(heap)
        if parent[i] != i or parent[j] != j:
            continue  # one of them has been merged: the pair is no more
        children[t - R, 0], children[t - R, 1], similarities[t - R] = i, j, -value
        _propagate(i, j, t, colours, sizes)
        _propagate(i, j, t, textures, sizes)
        sizes[t] = sizes[i] + sizes[j]
        for side in range(2):
            boxes[t, side] = min(boxes[i, side], boxes[j, side])
            boxes[t, 2 + side] = max(boxes[i, 2 + side], boxes[j, 2 + side])
        parent[i] = parent[j] = t
        seen[t] = t
        found = np.empty(around[i].size + around[j].size, np.int64)
        count = 0
        for old in (i, j):
            for neighbour in around[old]:
                m = root_of(parent, neighbour)
                if seen[m] != t:
                    seen[m] = t
                    found[count] = m
                    count += 1
                    heapq.heappush(heap, (-_sum(m, t, weights, colours, textures, sizes, boxes, pixels), m, t))
        around.append(found[:count])
        t += 1


@njit(cache=True, nogil=True)
def _sum(i, j, weights, colours, textures, sizes, boxes, pixels):
    total = 0.0
    for measure in range(4):
        if weights[measure] != 0:
            total += weights[measure] * similarity(i, j, measure, colours, textures, sizes, boxes, pixels)
    return total


@njit(cache=True, nogil=True)
def _propagate(i, j, t, histograms, sizes):
    """Write row t: the histogram of regions i and j together, without a look at the pixels (sec. 3.2)."""
    together = sizes[i] + sizes[j]
    for k in range(histograms.shape[1]):
        histograms[t, k] = (sizes[i] * histograms[i, k] + sizes[j] * histograms[j, k]) / together
