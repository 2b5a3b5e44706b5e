"""Felzenszwalb & Huttenlocher's segmentation: the merging rule by hand and against sets of pixels, edges, order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.vision.selective_search import felzenszwalb
from tinyconv_kernels import segmentation


def by_sets(pixels: np.ndarray, k: float, min_size: int) -> np.ndarray:
    """Segment pixels (H, W, C) of 0..255 by the paper's rule, with sets in place of a forest."""
    height, width, _ = pixels.shape
    edges = []
    for h, w in itertools.product(range(height), range(width)):
        for y, x in ((h, w + 1), (h + 1, w), (h + 1, w + 1), (h - 1, w + 1)):
            if 0 <= y < height and x < width:
                edges.append((np.float32(math.dist(pixels[h, w], pixels[y, x])), (h, w), (y, x)))
    edges.sort(key=lambda edge: edge[0])
    region = {at: frozenset([at]) for at in itertools.product(range(height), range(width))}
    within: dict[frozenset, float] = {single: 0.0 for single in region.values()}

    def merge(a: frozenset, b: frozenset, weight: float) -> None:
        within[a | b] = weight
        for at in a | b:
            region[at] = a | b

    for weight, p, q in edges:
        a, b = region[p], region[q]
        if a != b and weight <= min(within[a] + k / len(a), within[b] + k / len(b)):
            merge(a, b, float(weight))
    for weight, p, q in edges:
        a, b = region[p], region[q]
        if a != b and min(len(a), len(b)) < min_size:
            merge(a, b, float(weight))
    numbers: dict[frozenset, int] = {}
    flat = [numbers.setdefault(region[at], len(numbers)) for at in itertools.product(range(height), range(width))]
    return np.reshape(flat, (height, width))


def test_two_halves() -> None:
    """4 x 4 pixels, left half 0, right half 100: 8 pixels each, so they merge iff 100 <= k / 8."""
    image = np.zeros((4, 4))
    image[:, 2:] = 100 / 255
    apart = felzenszwalb(image, k=799, sigma=0, min_size=1)
    assert apart.tolist() == [[0, 0, 1, 1]] * 4 and apart.dtype == np.int64
    assert not felzenszwalb(image, k=800, sigma=0, min_size=1).any()
    # Too small, they merge whatever k is; by default that bound is k.
    assert felzenszwalb(image, k=1, sigma=0, min_size=8).tolist() == apart.tolist()
    assert not felzenszwalb(image, k=1, sigma=0, min_size=9).any()
    assert not felzenszwalb(image, k=9, sigma=0).any()


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3]), st.integers(0, 10**6), st.integers(0, 5))
def test_against_sets(height: int, width: int, channels: int, seed: int, min_size: int) -> None:
    rng = np.random.default_rng(seed)
    # Few different values: many edges of equal weight, whose order decides.
    image = rng.integers(0, 4, (channels, height, width)) / 3 if seed % 2 else rng.random((channels, height, width))
    k = float(rng.choice([0, 20, 100, 400]))
    found = felzenszwalb(image, k, 0, min_size)
    np.testing.assert_array_equal(found, by_sets(np.moveaxis(image * 255, 0, -1), k, min_size))


def test_regions_are_connected_and_large_enough(rng: np.random.Generator) -> None:
    image = np.clip(rng.random((3, 24, 30)).cumsum(2) / 20, 0, 1)
    labels = felzenszwalb(image, k=40, min_size=12)
    sizes = np.bincount(labels.reshape(-1))
    assert len(sizes) > 3 and sizes.min() >= 12
    first = np.unique(labels, return_index=True)[1]
    assert (np.diff(first) > 0).all()  # numbered by their first pixel
    for label in range(len(sizes)):
        inside = labels == label
        reached = np.zeros((26, 32), bool)
        reached[first[label] // 30 + 1, first[label] % 30 + 1] = True
        for _ in range(24 * 30):
            grown = np.zeros_like(reached)
            for y, x in itertools.product((0, 1, 2), repeat=2):
                grown[1:-1, 1:-1] |= reached[y : y + 24, x : x + 30]
            grown[1:-1, 1:-1] &= inside
            if (grown == reached).all():
                break
            reached = grown
        assert (reached[1:-1, 1:-1] == inside).all()


def test_larger_k_gives_larger_regions(rng: np.random.Generator) -> None:
    image = np.clip(rng.random((3, 32, 32)).cumsum(1) / 30, 0, 1)
    counts = [felzenszwalb(image, k, min_size=1).max() + 1 for k in (1, 20, 100, 500, 1e6)]
    assert counts == sorted(counts, reverse=True) and counts[0] > 50 and counts[-1] == 1


def test_blur() -> None:
    """A filter is a sum over the window, with the border's pixels beyond it; the blur is a Gaussian of sum 1."""
    rng = np.random.default_rng(0)
    image, down, across = rng.random((2, 5, 4)), rng.random(3), rng.random(5)
    found = segmentation.separable_filter(image, down, across)
    padded = np.pad(image, ((0, 0), (1, 1), (2, 2)), mode="edge")
    wanted = sum(
        down[y] * across[x] * padded[:, y : y + 5, x : x + 4] for y, x in itertools.product(range(3), range(5))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    # A spot of one pixel, blurred away: it no longer stands out.
    spot = np.zeros((9, 9))
    spot[4, 4] = 1
    assert felzenszwalb(spot, 50, 0, 1).max() == 1
    assert felzenszwalb(spot, 50, 3, 1).max() == 0


def test_edges() -> None:
    for height, width in ((1, 1), (1, 5), (4, 1), (3, 4)):
        first, second, weight = segmentation.pixel_edges(np.zeros((1, height, width)))
        pairs = {(min(p), max(p)) for p in zip(first.tolist(), second.tolist(), strict=True)}
        places = list(itertools.product(range(height), range(width)))
        wanted = {
            (places.index(p), places.index(q))
            for p, q in itertools.combinations(places, 2)
            if max(abs(p[0] - q[0]), abs(p[1] - q[1])) == 1
        }
        assert pairs == wanted and len(pairs) == len(first) and weight.dtype == np.float32
    image = np.array([[[0.0, 3]], [[0, 4]]])
    assert segmentation.pixel_edges(image)[2].tolist() == [5]


@given(st.lists(st.floats(0, 441, width=32), max_size=40))
def test_order_is_stable(weights: list[float]) -> None:
    weight = np.array(weights, np.float32) + np.float32(0)  # no -0
    np.testing.assert_array_equal(segmentation.stable_order(weight), np.argsort(weight, kind="stable"))
    many = np.repeat(weight, 3)
    np.testing.assert_array_equal(segmentation.stable_order(many), np.argsort(many, kind="stable"))


def test_errors() -> None:
    for shape in ((2, 4, 4), (1, 3, 4, 4), (4,), (3, 0, 4), (0, 0)):
        with pytest.raises(ValueError, match=r"felzenszwalb: image must be \(3, H, W\), \(1, H, W\) or \(H, W\)"):
            felzenszwalb(np.zeros(shape))
    for image in (np.full((4, 4), 1.5), np.full((4, 4), -0.1), np.full((4, 4), np.nan), np.zeros((4, 4), np.uint8)):
        with pytest.raises(ValueError, match=r"image must be floats in \[0, 1\], .* divide bytes by 255"):
            felzenszwalb(image)
    for wrong in (
        {"k": -1},
        {"k": math.nan},
        {"k": math.inf},
        {"sigma": -1},
        {"sigma": math.inf},
        {"sigma": math.nan},
        {"min_size": -1},
        {"min_size": math.inf},
    ):
        with pytest.raises(ValueError, match="felzenszwalb: wanted k, sigma and min_size of at least 0"):
            felzenszwalb(np.zeros((4, 4)), **wrong)
