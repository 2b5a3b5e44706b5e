"""Region proposals without a network: boxes of regions that look alike. See :func:`selective_search`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tinyconv.random import generator
from tinyconv.vision.colour_spaces import COLOUR_SPACES, colour_space, image_planes
from tinyconv_kernels import grouping, segmentation

MEASURES = "ctsf"  # colour, texture, size, fill
COLOUR_BINS, TEXTURE_BINS, DIRECTIONS = 25, 10, 8
MODES = {
    "fast": ((50, 100), ("hsv", "lab"), ("ctsf", "tsf")),
    "quality": ((50, 100, 150, 300), ("hsv", "lab", "rgi", "hue", "intensity"), ("ctsf", "tsf", "f", "s")),
}


class Hierarchy(NamedTuple):
    """A tree of regions: n initial ones, and n - 1 that each merge two of those before, the last being the image.

    Attributes
    ----------
    boxes : array, (2n - 1, 4), float64
        Tightly around each region, x1 y1 x2 y2, +0 convention.
    sizes : array, (2n - 1,), int64
        In pixels.
    children : array, (n - 1, 2), int64
        The two parts of region n + t.
    similarities : array, (n - 1,)
        Of these parts, when they merged.
    colours : array, (2n - 1, 25 C)
        Histogram of each channel, all together of sum 1.
    textures : array, (2n - 1, 80 C)
        Histogram of the slopes of each channel in 8 directions, all together of sum 1.
    """

    boxes: np.ndarray
    sizes: np.ndarray
    children: np.ndarray
    similarities: np.ndarray
    colours: np.ndarray
    textures: np.ndarray

    def similarity(self, i: int, j: int, measure: str) -> float:
        """Return one measure, of "c", "t", "s", "f", of two regions: a number in [0, 1]."""
        features = self.colours, self.textures, self.sizes, self.boxes
        return float(grouping.similarity(i, j, MEASURES.index(measure), *features, int(self.sizes[-1])))

    def level(self, count: int) -> np.ndarray:
        """Return, for each initial region, the region that it belongs to when ``count`` are left: (n,) int64.

        ``level(count)[labels]`` is then the segmentation of that level.
        """
        n = len(self.children) + 1
        if not 1 <= count <= n:
            raise ValueError(f"Hierarchy.level: count must be in 1..{n}, got {count}")
        whole = np.arange(2 * n - 1)
        for t in range(n - count - 1, -1, -1):
            whole[self.children[t]] = whole[n + t]
        return whole[:n]


def felzenszwalb(image: np.ndarray, k: float = 100, sigma: float = 0.8, min_size: int | None = None) -> np.ndarray:
    """Segment an image: neighbouring pixels belong together unless they differ more than within their regions.

    Edges between 8-neighbours weigh the distance of their blurred colours. Taken by ascending weight w, an edge merges
    the regions A and B at its ends if w <= min(Int(A) + k / |A|, Int(B) + k / |B|), where Int(A) is the weight that
    merged A last, and |A| its number of pixels.

    Parameters
    ----------
    image : array, (3, H, W), (1, H, W) or (H, W), float in [0, 1]
    k : float
        On the scale of 0..255: larger k, larger regions.
    sigma : float
        Standard deviation in pixels of the Gaussian blur; 0 for none.
    min_size : int, optional
        Smaller regions then merge, along the edges in the same order; by default k.

    Returns
    -------
    labels : array, (H, W), int64
        0..n-1, in the order of the regions' first pixels by rows.

    Raises
    ------
    ValueError
        The image is none, or not in [0, 1]; k, sigma or min_size is negative or not finite.

    References
    ----------
    Felzenszwalb & Huttenlocher 2004, sec. 3.
    """
    planes = image_planes("felzenszwalb", image) * 255
    return next(_segmentations("felzenszwalb", planes, (k,), sigma, min_size))


def _segmentations(
    who: str, planes: np.ndarray, ks: Sequence[float], sigma: float, min_size: int | None
) -> Iterator[np.ndarray]:
    """Yield the labels of an image (C, H, W) of 0..255 for each k; blur and edges are computed once."""
    if not all(0 <= value < np.inf for value in (*ks, sigma, 0 if min_size is None else min_size)):
        raise ValueError(
            f"{who}: wanted k, sigma and min_size of at least 0 and finite, got {tuple(ks)}, {sigma} and {min_size}"
        )
    blur, _ = _gaussian(sigma)
    first, second, weight = segmentation.pixel_edges(segmentation.separable_filter(planes, blur, blur))
    order = segmentation.stable_order(weight)
    for k in ks:
        labels = np.empty(planes.shape[1:], np.int64)
        least = int(k if min_size is None else min_size)
        segmentation.segment(first, second, weight, order, float(k), least, labels.reshape(-1))
        yield labels


def _gaussian(sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the filters of a Gaussian (sum 1) and of its derivative (1 on a slope of 1), 4 sigma to either side."""
    reach = int(np.ceil(4 * sigma))
    at = np.arange(-reach, reach + 1, dtype=np.float64)
    weights = np.exp(-0.5 * (at / sigma) ** 2) if reach else np.ones(1)
    return weights / weights.sum(), at * weights / max((at**2 * weights).sum(), 1e-300)


class _Bins(NamedTuple):
    """Which bin each pixel falls into, (C, H, W) of colours and (8 C, H, W) of slopes: the same for every labelling."""

    colours: np.ndarray
    textures: np.ndarray


def _bins(planes: np.ndarray) -> _Bins:
    """Return the bins of an image (C, H, W) of 0..255."""
    blur, slope = _gaussian(1.0)
    across, down = (segmentation.separable_filter(planes, *taps) for taps in ((blur, slope), (slope, blur)))
    colours = np.clip(planes * (COLOUR_BINS / 255), 0, COLOUR_BINS - 1).astype(np.uint8)
    return _Bins(colours, grouping.direction_bins(across, down, DIRECTIONS, TEXTURE_BINS))


def hierarchy(image: np.ndarray, labels: np.ndarray, measures: str = "ctsf", colours: str = "rgb") -> Hierarchy:
    """Merge the two most similar neighbouring regions, again and again, until one is left.

    The similarity is the sum of one or more of

    - c, colour: the sum of min(a, b) over the bins of the colours' histograms, 25 per channel;
    - t, texture: the same of the histograms of slopes (derivatives of a Gaussian, sigma 1) in 8 directions, 10 bins
      from 0 to the steepest slope of the channel in the image;
    - s, size: 1 - (size_i + size_j) / size of the image, so small regions merge first;
    - f, fill: 1 - (size of the box around both - size_i - size_j) / size of the image, so regions merge that fit.

    Parameters
    ----------
    image : array, (3, H, W), (1, H, W) or (H, W), float in [0, 1]
    labels : array, (H, W), int
        Initial regions 0..n-1, as :func:`felzenszwalb` returns them.
    measures : str
        Of the letters above, such as "ctsf" or "tsf".
    colours : str
        The colour space, see :func:`~tinyconv.vision.colour_spaces.colour_space`.

    Raises
    ------
    ValueError
        Labels are not those of an image of this size, or leave out a number; a letter is none of the measures.

    References
    ----------
    Uijlings et al. 2013, sec. 3.1 and 3.2. It does not say how slopes are binned: here those below 0 count as 0.
    """
    planes = colour_space(image, colours)
    labels = np.asarray(labels)
    if labels.shape != planes.shape[1:]:
        raise ValueError(f"hierarchy: labels must be {planes.shape[1:]} like the image, got shape {labels.shape}")
    if labels.dtype.kind not in "biu":
        raise ValueError(f"hierarchy: labels must be integers, got {labels.dtype}")
    labels = np.ascontiguousarray(labels, np.int64)
    if labels.min() < 0 or not np.bincount(labels.reshape(-1)).all():
        raise ValueError("hierarchy: labels must be 0..n-1, each at least once")
    return _group(labels, _bins(planes), _check_measures("hierarchy", measures))


def _check_measures(who: str, measures: str) -> str:
    if not measures or len(set(measures)) != len(measures) or not set(measures) <= set(MEASURES):
        raise ValueError(f"{who}: measures must be one or more letters of {MEASURES!r}, each once, got {measures!r}")
    return measures


def _group(labels: np.ndarray, bins: _Bins, measures: str) -> Hierarchy:
    n = int(labels.max()) + 1
    colours = np.empty((2 * n - 1, len(bins.colours) * COLOUR_BINS))
    textures = np.empty((2 * n - 1, len(bins.textures) * TEXTURE_BINS))
    grouping.region_histograms(labels, bins.colours, COLOUR_BINS, colours)
    grouping.region_histograms(labels, bins.textures, TEXTURE_BINS, textures)
    sizes, boxes = np.empty(2 * n - 1, np.int64), np.empty((2 * n - 1, 4))
    grouping.region_boxes(labels, boxes, sizes)
    children, similarities = np.empty((n - 1, 2), np.int64), np.empty(n - 1)
    weights = np.array([measure in measures for measure in MEASURES], np.float64)
    features = colours, textures, sizes, boxes
    grouping.group(grouping.neighbour_pairs(labels, n), weights, *features, labels.size, children, similarities)
    return Hierarchy(boxes, sizes, children, similarities, colours, textures)


def selective_search(
    image: np.ndarray,
    *,
    k: float | Sequence[float] = (50, 100),
    sigma: float = 0.8,
    min_size: int | None = None,
    colours: str | Sequence[str] = ("hsv", "lab"),
    measures: str | Sequence[str] = ("ctsf", "tsf"),
    min_side: float = 20,
    seed: int = 0,
    mode: str | None = None,
) -> np.ndarray:
    """Return boxes that may hold an object, the more promising ones first.

    For each k, colour space and set of measures the image is segmented (:func:`felzenszwalb`) and its regions are
    merged into one (:func:`hierarchy`); all regions on the way give boxes. A box has the rank u i: i is 1 for the
    region merged last, the whole image, and counts down to the initial ones; u is drawn from [0, 1). The boxes of all
    hierarchies are sorted by rank, ascending, and of equal boxes the first one stays.

    Parameters
    ----------
    image : array, (3, H, W), (1, H, W) or (H, W), float in [0, 1]
        An image of one channel is the same in every colour space and is looked at in one.
    k : float or sequence of float
        On the scale of 0..255, see :func:`felzenszwalb`.
    sigma : float
        Of the blur before the segmentation, in pixels.
    min_size : int, optional
        Pixels of an initial region, at least; by default k.
    colours : str or sequence of str
        "hsv", "lab", "rgi", "hue", "intensity", "rgb".
    measures : str or sequence of str
        Each a set of letters of "ctsf".
    min_side : float
        Narrower or lower boxes are left out; at least 0. The default is for images 500 pixels wide.
    seed : int
        Of the draws u.
    mode : {"fast", "quality"}, optional
        Sets k, colours and measures as the paper did, to 8 or 80 hierarchies; "fast" is R-CNN's, and the default.

    Returns
    -------
    array, (P, 4), float64
        x1 y1 x2 y2 in pixels, +0 convention.

    Raises
    ------
    ValueError
        The image is none, or not in [0, 1]; an argument is out of its range or unknown.

    References
    ----------
    Uijlings et al. 2013, sec. 3; its fast mode in Girshick et al. 2014, sec. 2.2.
    """
    who = "selective_search"
    if mode is not None:
        if mode not in MODES:
            raise ValueError(f"{who}: mode must be one of {', '.join(map(repr, MODES))} or None, got {mode!r}")
        k, colours, measures = MODES[mode]
    ks = np.atleast_1d(np.asarray(k, np.float64)).tolist()
    spaces = (colours,) if isinstance(colours, str) else tuple(colours)
    sets = [_check_measures(who, each) for each in ((measures,) if isinstance(measures, str) else measures)]
    if not ks or not sets or not spaces or not set(spaces) <= set(COLOUR_SPACES):
        raise ValueError(
            f"{who}: wanted one or more k, measures and colours of {', '.join(COLOUR_SPACES)}, "
            f"got {k}, {measures} and {colours}"
        )
    if not 0 <= min_side < np.inf:
        raise ValueError(f"{who}: min_side must be finite and at least 0, got {min_side}")
    if len(image_planes(who, image)) == 1:
        spaces = ("intensity",)
    found: list[np.ndarray] = []
    ranks: list[np.ndarray] = []
    for space in spaces:
        planes = colour_space(image, space)
        bins = _bins(planes)
        for labels in _segmentations(who, planes, ks, sigma, min_size):
            for each in sets:
                boxes = _group(labels, bins, each).boxes[::-1]
                draws = generator(seed, "selective search", 0, len(found)).random(len(boxes))
                found.append(boxes)
                ranks.append(draws * np.arange(1, len(boxes) + 1))
    return _ranked(np.concatenate(found), np.concatenate(ranks), min_side)


def _ranked(boxes: np.ndarray, ranks: np.ndarray, min_side: float) -> np.ndarray:
    """Return the boxes by ascending rank, without those with a side below min_side and without later duplicates."""
    large = ((boxes[:, 2:] - boxes[:, :2]) >= min_side).all(1)
    boxes = boxes[large][np.argsort(ranks[large], kind="stable")]
    first = np.unique(boxes, axis=0, return_index=True)[1]
    return boxes[np.sort(first)]
