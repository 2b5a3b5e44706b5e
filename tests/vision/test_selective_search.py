"""Grouping against a slow version of its definition, the measures by hand, and the ranked boxes."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinyconv.data import Scenes, photographs
from tinyconv.random import generator
from tinyconv.vision.colour_spaces import colour_space
from tinyconv.vision.selective_search import Hierarchy, felzenszwalb, hierarchy, selective_search
from tinyconv.vision.voc_eval import recall_and_mabo


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Return a scene with digits on a textured background."""
    return Scenes(4, items=("mnist",), background="textured")[3].image


def members(tree: Hierarchy, i: int) -> list[int]:
    """Return the initial regions of region i."""
    n = len(tree.children) + 1
    return [i] if i < n else [m for child in tree.children[i - n] for m in members(tree, int(child))]


def histograms(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the histograms of colours and slopes of the masked pixels, by NumPy, from the definition."""
    planes = image.astype(float) * 255
    colours = [np.histogram(plane[mask], 25, (0, 255))[0] for plane in planes]
    at = np.arange(-4, 5)
    blur = np.exp(-(at**2) / 2)
    slope = at * blur / (at**2 * blur).sum()
    blur /= blur.sum()
    textures = []
    for plane in planes:
        padded = np.pad(plane, 4, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9))
        across, down = (np.einsum("hwyx,y,x->hw", windows, *taps) for taps in ((blur, slope), (slope, blur)))
        angles = 2 * np.pi * np.arange(8) / 8
        slopes = np.cos(angles)[:, None, None] * across + np.sin(angles)[:, None, None] * down
        textures += [np.histogram(np.maximum(one, 0)[mask], 10, (0, slopes.max()))[0] for one in slopes]
    colour, texture = np.concatenate(colours), np.concatenate(textures)
    return colour / colour.sum(), texture / texture.sum()


def test_size_and_fill_by_hand() -> None:
    """10 x 10 pixels: rows 0-1 and rows 2-3 of columns 0-4 are regions 1 and 2, rows 8-9 of columns 5-9 region 3."""
    labels = np.zeros((10, 10), int)
    labels[0:2, 0:5], labels[2:4, 0:5], labels[8:10, 5:10] = 1, 2, 3
    tree = hierarchy(np.zeros((10, 10)), labels)
    assert tree.sizes[1:4].tolist() == [10, 10, 10]
    assert tree.similarity(1, 2, "s") == pytest.approx(0.8)
    assert tree.similarity(1, 2, "f") == pytest.approx(1.0)
    assert tree.similarity(1, 3, "f") == pytest.approx(0.2)
    assert tree.similarity(1, 2, "c") == tree.similarity(1, 3, "t") == pytest.approx(1)  # all of one colour
    assert tree.boxes[:4].tolist() == [[0, 0, 10, 10], [0, 0, 5, 2], [0, 2, 5, 4], [5, 8, 10, 10]]
    assert tree.children[0].tolist() == [1, 2]


def test_colour_and_texture_by_hand() -> None:
    # Two channels agree, one is 0 in one region and 1 in the other: two thirds in common.
    image = np.full((3, 4, 8), 0.5)
    image[2, :, :4], image[2, :, 4:] = 0, 1
    labels = np.repeat([[0, 1]], 4, 0).repeat(4, 1)
    tree = hierarchy(image, labels, "c")
    assert tree.similarity(0, 1, "c") == pytest.approx(2 / 3)
    assert tree.similarities.tolist() == [pytest.approx(2 / 3)]
    # Stripes across the left half, along the right: slopes in other directions, and no colour tells them apart.
    stripes = np.zeros((16, 32))
    stripes[::4, :16] = stripes[1::4, :16] = 1
    stripes[:, 16::4] = stripes[:, 17::4] = 1
    halves = np.repeat([[0, 1]], 16, 0).repeat(16, 1)
    tree = hierarchy(stripes, halves, "t")
    assert tree.similarity(0, 1, "c") == pytest.approx(1)
    assert tree.similarity(0, 1, "t") < 0.9
    # A ramp upwards to the right rises at angles -45, 0 and 45 degrees only, at 0 as steeply as anywhere.
    ramp = np.repeat(np.linspace(0, 1, 40)[None], 40, 0)
    tree = hierarchy(ramp, np.pad(np.ones((20, 20), int), 10), "t")
    inside = tree.textures[1].reshape(8, 10) * 8
    np.testing.assert_allclose(inside[[2, 3, 4, 5, 6], 0], 1)
    np.testing.assert_allclose([inside[0, 9], inside[1, 7], inside[7, 7]], 1)


@pytest.mark.parametrize("measures", ["ctsf", "tsf", "s", "c"])
def test_against_the_definition(measures: str, image: np.ndarray) -> None:
    """Every step takes the most similar pair of touching regions, of features recomputed from the merged pixels."""
    image = image[:, :32, :40].astype(float)
    image[0, 20:25, 3:9] = 1  # values at the upper end fall into the last bin
    labels = felzenszwalb(image, 60, min_size=15)
    n = labels.max() + 1
    assert 5 < n < 60
    tree = hierarchy(image, labels, measures)
    assert len(tree.boxes) == len(tree.sizes) == len(tree.colours) == len(tree.textures) == 2 * n - 1
    assert tree.sizes[-1] == labels.size and tree.boxes[-1].tolist() == [0, 0, 40, 32]
    masks = [labels == i for i in range(n)]
    alive = set(range(n))
    for t, (i, j) in enumerate(tree.children.tolist()):
        assert {i, j} <= alive
        grown = np.pad(masks[i], 1)
        near = sum(grown[y : y + 32, x : x + 40] for y, x in itertools.product((0, 1, 2), repeat=2))
        assert (near.astype(bool) & masks[j]).any()  # they touch
        if t % 4 == 0:
            sums = {}
            for a, b in itertools.combinations(sorted(alive), 2):
                grown = np.pad(masks[a], 1)
                near = sum(grown[y : y + 32, x : x + 40] for y, x in itertools.product((0, 1, 2), repeat=2))
                if (near.astype(bool) & masks[b]).any():
                    sums[a, b] = sum(tree.similarity(a, b, m) for m in measures)
            assert tree.similarities[t] == pytest.approx(max(sums.values()), abs=1e-12)
            assert sums[min(i, j), max(i, j)] == pytest.approx(max(sums.values()), abs=1e-12)
        masks.append(masks[i] | masks[j])
        alive = alive - {i, j} | {n + t}
    for i in (0, 1, n, n + (n - 1) // 2, 2 * n - 3, 2 * n - 2):
        rows, columns = np.nonzero(masks[i])
        assert tree.boxes[i].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert tree.sizes[i] == masks[i].sum()
        colour, texture = histograms(image, masks[i])  # merged histograms are those of the merged pixels
        np.testing.assert_allclose(tree.colours[i], colour, atol=1e-12)
        np.testing.assert_allclose(tree.textures[i], texture, atol=1e-12)


def test_histograms_propagate_exactly(image: np.ndarray) -> None:
    """The histogram of a merged region is that of its pixels, counted anew with the region as an initial one."""
    labels = felzenszwalb(image, 60, min_size=15)
    tree = hierarchy(image, labels)
    n = labels.max() + 1
    for count in (2, 5, n // 2):
        whole = tree.level(count)
        names, flat = np.unique(whole[labels], return_inverse=True)
        again = hierarchy(image, flat.reshape(labels.shape))
        np.testing.assert_allclose(again.colours[:count], tree.colours[names], atol=1e-12)
        np.testing.assert_allclose(again.textures[:count], tree.textures[names], atol=1e-12)
        np.testing.assert_array_equal(again.boxes[:count], tree.boxes[names])
        assert all(sorted(members(tree, i)) == np.flatnonzero(whole == i).tolist() for i in names)
    assert tree.level(n).tolist() == list(range(n)) and set(tree.level(1)) == {2 * n - 2}
    with pytest.raises(ValueError, match=r"Hierarchy\.level: count must be in 1\.\."):
        tree.level(0)
    np.testing.assert_allclose(tree.colours.sum(1), 1)
    np.testing.assert_allclose(tree.textures.sum(1), 1)


def test_regions_that_touch_at_a_corner_are_neighbours() -> None:
    for grey, pair in (([[0.5, 0], [1, 0.5]], [0, 3]), ([[0, 0.5], [0.5, 1]], [1, 2])):
        tree = hierarchy(np.array(grey), np.array([[0, 1], [2, 3]]), "c")
        assert tree.children[0].tolist() == pair and tree.similarities[0] == 1


def test_one_region_and_one_pixel() -> None:
    for shape in ((1, 1), (5, 7)):
        tree = hierarchy(np.full(shape, 0.5), np.zeros(shape, int))
        assert tree.boxes.tolist() == [[0, 0, shape[1], shape[0]]] and tree.children.shape == (0, 2)
        assert selective_search(np.full(shape, 0.5), min_side=1).tolist() == tree.boxes.tolist()


def test_ranking(image: np.ndarray) -> None:
    """Boxes come in the order of u i, i = 1 being the whole image; of equal boxes the first stays."""
    options = {"k": (40, 80), "colours": ("hsv", "lab"), "measures": ("ctsf", "s")}
    found = selective_search(image, **options, min_side=5, seed=3)
    ranked = []
    strategies = itertools.product(options["colours"], options["k"], options["measures"])
    for index, (space, k, measures) in enumerate(strategies):
        planes = colour_space(image, space) / 255
        labels = felzenszwalb(np.clip(planes, 0, 1), k)
        boxes = hierarchy(image, labels, measures, space).boxes
        draws = generator(3, "selective search", 0, index).random(len(boxes))
        for i, draw in enumerate(draws, 1):
            x1, y1, x2, y2 = boxes[-i]
            if min(x2 - x1, y2 - y1) >= 5:
                ranked.append((draw * i, (x1, y1, x2, y2)))
    wanted = list(dict.fromkeys(box for _, box in sorted(ranked)))
    assert found.dtype == np.float64 and len(wanted) < len(ranked)
    assert found.tolist() == [list(box) for box in wanted]
    other = selective_search(image, **options, min_side=5, seed=4)
    assert other.tolist() != found.tolist() and sorted(other.tolist()) == sorted(found.tolist())


def test_min_side_and_modes(image: np.ndarray) -> None:
    boxes = selective_search(image, min_side=14)
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.min() == 14
    every = selective_search(image, min_side=0)
    assert {tuple(box) for box in every[((every[:, 2:] - every[:, :2]) >= 14).all(1)]} == {tuple(b) for b in boxes}
    assert selective_search(image, min_side=65).shape == (0, 4)
    np.testing.assert_array_equal(selective_search(image, mode="fast", min_side=14), boxes)
    quality = selective_search(image, mode="quality", min_side=14)
    assert {tuple(box) for box in boxes} < {tuple(box) for box in quality}


def test_grey_images_are_looked_at_once(image: np.ndarray) -> None:
    grey = image.mean(0)
    found = selective_search(grey, min_side=5)
    np.testing.assert_array_equal(found, selective_search(grey[None], colours="intensity", min_side=5))
    np.testing.assert_array_equal(found, selective_search(grey, colours=("lab", "hsv", "rgb"), min_side=5))


def test_same_boxes_in_threads_and_of_views(image: np.ndarray) -> None:
    wanted = selective_search(image, min_side=5)
    before = image.copy()
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda _: selective_search(image, min_side=5), range(6)):
            np.testing.assert_array_equal(found, wanted)
    view = np.asfortranarray(image.astype(np.float64))
    np.testing.assert_array_equal(selective_search(view, min_side=5), wanted)
    np.testing.assert_array_equal(image, before)


def test_objects_of_scenes_are_found() -> None:
    """Measured in another prototype on such scenes: recall .995, MABO .907 with some 120 boxes."""
    scenes = [Scenes(40, items=("mnist",))[i] for i in range(40)]
    boxes = [selective_search(scene.image, k=(30, 60), min_size=8, min_side=4) for scene in scenes]
    recall, mabo = recall_and_mabo(boxes, [scene.boxes for scene in scenes])
    assert recall >= 0.97 and mabo >= 0.85


def test_photograph() -> None:
    photograph = photographs()[1][0][:, ::2, ::2]
    boxes = selective_search(photograph)
    assert 100 < len(boxes) < 3000 and len(np.unique(boxes, axis=0)) == len(boxes)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= [320, 214]).all()
    assert ((boxes[:, 2:] - boxes[:, :2]) >= 20).all()


def test_errors(image: np.ndarray) -> None:
    labels = np.zeros((64, 64), int)
    with pytest.raises(ValueError, match=r"hierarchy: labels must be \(64, 64\) like the image, got shape \(64, 63\)"):
        hierarchy(image, labels[:, 1:])
    for wrong in (labels - 1, labels + 1):
        with pytest.raises(ValueError, match=r"hierarchy: labels must be 0\.\.n-1, each at least once"):
            hierarchy(image, wrong)
    with pytest.raises(ValueError, match="hierarchy: labels must be integers, got float64"):
        hierarchy(image, labels + 0.7)
    for measures in ("", "cc", "ctsx"):
        with pytest.raises(ValueError, match="measures must be one or more letters of 'ctsf', each once, got"):
            hierarchy(image, labels, measures)
    with pytest.raises(ValueError, match="selective_search: measures must be one or more letters"):
        selective_search(image, measures="colour")
    with pytest.raises(ValueError, match="mode must be one of 'fast', 'quality' or None, got 'slow'"):
        selective_search(image, mode="slow")
    for wrong in ({"colours": "hsl"}, {"colours": ()}, {"k": ()}, {"measures": ()}):
        with pytest.raises(
            ValueError, match="selective_search: wanted one or more k, measures and colours of rgb, hsv"
        ):
            selective_search(image, **wrong)
    for wrong in ({"k": -1}, {"k": np.inf}, {"k": (50, np.nan)}, {"sigma": np.inf}, {"min_size": np.inf}):
        with pytest.raises(ValueError, match="selective_search: wanted k, sigma and min_size of at least 0 and finite"):
            selective_search(image, **wrong)
    for side in (np.nan, np.inf, -1):
        with pytest.raises(ValueError, match="selective_search: min_side must be finite and at least 0, got"):
            selective_search(image, min_side=side)
    with pytest.raises(ValueError, match="selective_search: image must be floats in"):
        selective_search(image * np.nan)
