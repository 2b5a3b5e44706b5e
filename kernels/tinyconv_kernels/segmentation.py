"""Segmentation of Felzenszwalb & Huttenlocher (2004), for the host only: see :func:`segment`.

These functions run once per image, not in a network, so there is one version of them, and they return new arrays.
"""

import numpy as np
from numba import njit

_RADIX = 11  # bits that one pass of the sort looks at; three passes see all of a float32


@njit(cache=True, nogil=True)
def separable_filter(image, down, across):
    """Return image (C, H, W) correlated with odd filters, ``down`` its columns and ``across`` its rows.

    Beyond the border are the pixels at the border.
    """
    C, H, W = image.shape
    above, before = down.size // 2, across.size // 2
    between, out = np.empty((H, W)), np.empty((C, H, W))
    for c in range(C):
        for h in range(H):
            row = between[h]
            row[:] = 0
            for tap in range(down.size):
                source, weight = image[c, min(max(h + tap - above, 0), H - 1)], down[tap]
                for w in range(W):
                    row[w] += weight * source[w]
        for h in range(H):
            row = between[h]
            for w in range(W):
                total = 0.0
                if before <= w < W - before:
                    for tap in range(across.size):
                        total += across[tap] * row[w + tap - before]
                else:
                    for tap in range(across.size):
                        total += across[tap] * row[min(max(w + tap - before, 0), W - 1)]
                out[c, h, w] = total
    return out


@njit(cache=True, nogil=True)
def pixel_edges(image):
    """Return the edges between 8-neighbours of image (C, H, W): two flat pixel indices (E,) and a weight, float32 (E,).

    The weight is the Euclidean distance of the colours. Edges are in the order of their first pixel; those of a pixel
    go right, down, down and right, up and right.
    """
    C, H, W = image.shape
    most = max(0, 4 * H * W - 3 * (H + W) + 2)
    first, second, weight = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.float32)
    e = 0
    for h in range(H):
        for w in range(W):
            for down, right in ((0, 1), (1, 0), (1, 1), (-1, 1)):
                y, x = h + down, w + right
                if 0 <= y < H and x < W:
                    total = 0.0
                    for c in range(C):
                        total += (image[c, h, w] - image[c, y, x]) ** 2
                    first[e], second[e], weight[e] = h * W + w, y * W + x, np.sqrt(total)
                    e += 1
    return first, second, weight


@njit(cache=True, nogil=True)
def stable_order(weight):
    """Return the order (E,) that sorts float32 weights >= 0 ascending; equal ones stay as they were.

    A radix sort: the bits of such floats, read as whole numbers, are in the same order as the floats.
    """
    bits = weight.view(np.uint32)
    order, other = np.arange(weight.size), np.empty(weight.size, np.int64)
    for shift in range(0, 32, _RADIX):
        start = np.zeros((1 << _RADIX) + 1, np.int64)
        for e in range(bits.size):
            start[((bits[e] >> shift) & ((1 << _RADIX) - 1)) + 1] += 1
        start = np.cumsum(start)
        for e in order:
            digit = (bits[e] >> shift) & ((1 << _RADIX) - 1)
            other[start[digit]] = e
            start[digit] += 1
        order, other = other, order
    return order


@njit(cache=True, nogil=True)
def root_of(parent, i):
    """Return the root of i in a forest, whose paths become shorter on the way (union-find)."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def segment(first, second, weight, order, k, min_size, labels):
    """Merge pixels along edges in ascending order of weight. Writes labels (P,): regions by their first pixel.

    Two regions merge if the edge weighs at most Int(A) + k / |A| and Int(B) + k / |B|, where Int is the largest edge
    within (Felzenszwalb & Huttenlocher 2004, sec. 3). Then regions of fewer than min_size pixels merge.
    """
    parent, size = np.arange(labels.size), np.ones(labels.size, np.int64)
    bound = np.full(labels.size, k, np.float64)  # of each root: Int + k / size
    for merging_small in (False, True):
        for e in order:
            a, b = root_of(parent, first[e]), root_of(parent, second[e])
            if a == b:
                continue
            if merging_small:
                wanted = min(size[a], size[b]) < min_size
            else:
                wanted = weight[e] <= bound[a] and weight[e] <= bound[b]
            if wanted:
                if size[a] < size[b]:
                    a, b = b, a
                parent[b] = a
                size[a] += size[b]
                bound[a] = weight[e] + k / size[a]
    count = 0
    number = np.full(labels.size, -1, np.int64)  # of each root
    for p in range(labels.size):
        root = root_of(parent, p)
        if number[root] < 0:
            number[root] = count
            count += 1
        labels[p] = number[root]
