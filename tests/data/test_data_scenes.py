"""Scenes: exact boxes, splits without common images, each scene a function of (seed, split, i)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyconv.data import DataLoader, Scenes
from tinyconv.data.scene_parts import PALETTE, cut_sprite, source
from tinyconv.data.scenes import relations

BACKGROUNDS = ("black", "plain", "gradient", "textured", "photograph")


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("image", "boxes", "labels")) and (
        (a.attributes, a.relations) == (b.attributes, b.relations)
    )


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_scene_depends_on_seed_split_and_index_only(background):
    long, short = (Scenes(n, seed=3, background=background, clutter=2, noise=0.02) for n in (40, 6))
    backwards = {i: long[i] for i in reversed(range(6))}
    assert all(same(short[i], backwards[i]) for i in range(6))
    for other in ({"seed": 4}, {"split": "test"}):
        changed = Scenes(6, **{"seed": 3, "background": background, "clutter": 2, "noise": 0.02} | other)
        assert not any(same(short[i], changed[i]) for i in range(6))


def test_objects_do_not_depend_on_what_is_around_them():
    plain, busy = Scenes(20), Scenes(20, background="photograph", clutter=5, noise=0.1)
    for i in range(20):
        np.testing.assert_array_equal(plain[i].boxes, busy[i].boxes)
        assert plain[i].attributes == busy[i].attributes


@given(st.integers(0, 10**6), st.sampled_from(BACKGROUNDS[:4]), st.integers(20, 80), st.integers(0, 4))
@settings(max_examples=25)
def test_the_box_is_exactly_around_what_an_object_changes(i, background, size, clutter):
    """The difference to the same scene without objects is not 0 on each side of the box, and 0 outside."""
    options = {"background": background, "size": size, "clutter": clutter}
    scene = Scenes(i + 1, objects=1, **options)[i]
    empty = Scenes(i + 1, objects=0, **options)[i]
    assert empty.boxes.shape == (0, 4) and empty.relations == empty.attributes == ()
    changed = (scene.image != empty.image).any(0)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert scene.boxes.tolist() == [[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]]
    assert scene.image.shape == (3, size, size) and scene.image.dtype == np.float32
    assert 0 <= scene.image.min() <= scene.image.max() <= 1


@given(st.integers(1, 5), st.sampled_from([0.0, 0.1, 0.4]), st.integers(0, 10**6))
@settings(max_examples=20)
def test_boxes_keep_sizes_overlap_and_image(count, overlap, i):
    scene = Scenes(i + 1, objects=count, overlap=overlap, sides=(14, 24))[i]
    boxes = scene.boxes
    assert boxes.shape == (count, 4) and boxes.dtype == np.float32 and scene.labels.dtype == np.int64
    assert boxes.min() >= 0 and boxes.max() <= 64
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1)
    assert longer.min() >= 12 and longer.max() <= 24  # a faint border may be lost on both sides
    for a in range(count):
        for b in range(a):
            width, height = np.minimum(boxes[a, 2:], boxes[b, 2:]) - np.maximum(boxes[a, :2], boxes[b, :2])
            areas = [np.prod(boxes[k, 2:] - boxes[k, :2]) for k in (a, b)]
            assert max(width, 0) * max(height, 0) <= overlap * min(areas) + 1e-6


def test_numbers_of_objects_and_classes_are_drawn_evenly():
    scenes = [Scenes(600, objects=(1, 3), size=48)[i] for i in range(600)]
    counts = np.bincount([len(scene.boxes) for scene in scenes])
    assert counts[0] == 0 and counts[1:].min() > 150  # 200 each, standard deviation 12
    labels = np.bincount(np.concatenate([scene.labels for scene in scenes]), minlength=20)
    assert len(labels) == 20 and labels.min() > 30  # 60 each, standard deviation 8
    colours = {attributes.colour for scene in scenes for attributes in scene.attributes}
    assert colours == set(PALETTE)


def test_classes_are_those_of_the_items():
    assert Scenes(1, items=["mnist"]).classes == [str(d) for d in range(10)]
    assert Scenes(1).classes[8:12] == ["8", "9", "T-shirt/top", "Trouser"]
    assert Scenes(1, items="fashion").classes[0] == "T-shirt/top"


def test_attributes_and_relations_say_what_the_boxes_say():
    data = Scenes(150, objects=3, sides=(12, 26))
    for i in range(150):
        scene = data[i]
        for box, label, told in zip(scene.boxes, scene.labels, scene.attributes, strict=True):
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            assert told.horizontal == ("left" if x < 32 else "right")
            assert told.vertical == ("top" if y < 32 else "bottom")
            assert told.size == ("small" if max(box[2] - box[0], box[3] - box[1]) < 19 else "large")
            assert told.name == data.classes[label] and told.colour in PALETTE
        for first, relation, second in scene.relations:
            (ax, ay), (bx, by) = ((b[:2] + b[2:]) / 2 for b in scene.boxes[[first, second]])
            assert {"left of": ax < bx, "right of": ax > bx, "above": ay < by, "below": ay > by}[relation]
            dominant = abs(ax - bx) >= abs(ay - by)
            assert dominant == (relation in ("left of", "right of"))
            opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}[relation]
            assert (second, opposite, first) in scene.relations


def test_relations_by_hand():
    boxes = np.array([[0, 0, 4, 4], [10, 3, 14, 7], [1, 20, 5, 24]])
    assert relations(boxes) == (
        (0, "left of", 1), (0, "above", 2), (1, "right of", 0), (1, "above", 2), (2, "below", 0), (2, "below", 1),
    )  # fmt: skip
    assert relations(boxes[[0, 0]]) == ()  # one centre: nothing to say


def test_colours_are_the_named_ones():
    for name, colour in PALETTE.items():
        image = Scenes(3, background="black", objects=1, colours=[name], items=("mnist",), seed=1)[2].image
        brightest = image[:, *np.unravel_index(image.sum(0).argmax(), image.shape[1:])]
        np.testing.assert_allclose(brightest, colour, atol=0.02)


# -------------------------------------------------------------------------------------------------------- the sources


@pytest.mark.parametrize("items", [("mnist",), ("fashion",)])
def test_splits_share_no_source_image(items):
    parts = {split: source(items, split) for split in ("train", "val", "test")}
    seen = {split: {image.tobytes() for image in part.images} for split, part in parts.items()}
    assert not seen["train"] & seen["val"] and not seen["train"] & seen["test"] and not seen["val"] & seen["test"]
    assert len(parts["train"].images) == 9 * len(parts["val"].images)
    for part in parts.values():
        assert sorted(np.concatenate(part.members)) == list(range(len(part.images)))
        assert min(map(len, part.members)) > 20


def test_splits_use_different_parts_of_the_photographs(monkeypatch):
    from tinyconv.data import scene_parts

    picture = np.zeros((3, 100, 200), np.float32)
    picture[:, :, 120:] = 1
    monkeypatch.setattr(scene_parts, "_photographs", lambda: (picture,))
    for split, value in (("train", 0.0), ("val", 0.7), ("test", 0.7)):
        scenes = Scenes(20, objects=0, background="photograph", split=split)
        for i in range(20):
            np.testing.assert_allclose(scenes[i].image, value, rtol=1e-6)


def test_a_sprite_is_tight_and_of_the_wanted_length():
    found = source(("mnist", "fashion"), "train")
    for index in range(0, 13000, 500):
        for side in (10, 20, 35):
            sprite = cut_sprite(found, index, side, "red")
            alpha = sprite.alpha
            assert side - 2 <= max(alpha.shape) <= side
            assert all(edge.any() for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))
            assert sprite.pixels.shape == (3, *alpha.shape) and 0 <= alpha.min() <= alpha.max() == 1


def test_clutter_is_small_and_under_the_objects():
    bare, busy = (Scenes(30, background="black", clutter=n, clutter_side=5, objects=1) for n in (0, 6))
    for i in range(30):
        scene, other = bare[i], busy[i]
        x1, y1, x2, y2 = scene.boxes[0].astype(int)
        opaque = np.zeros((64, 64), bool)
        opaque[y1:y2, x1:x2] = (scene.image[:, y1:y2, x1:x2] > 0).all(0)
        changed = (scene.image != other.image).any(0)
        assert 0 < changed.sum() <= 6 * 25
        # Where the item is opaque the distractor cannot be seen; only half-transparent borders may mix.
        assert (changed & opaque).sum() <= 0.35 * opaque.sum()


def test_noise_has_the_wanted_deviation_where_nothing_is_clipped():
    clean, noisy = (Scenes(4, objects=0, noise=noise, seed=5)[2].image for noise in (0, 0.05))
    inner = (clean > 0.2) & (clean < 0.8)
    assert inner.sum() > 1000
    assert (noisy - clean)[inner].std() == pytest.approx(0.05, rel=0.1)


def test_noise_and_clutter_are_drawn_from_streams_of_their_own(monkeypatch):
    from tinyconv.data import scenes

    bare, busy = (Scenes(4, objects=0, clutter=n, noise=0.05, background="plain", seed=5)[2].image for n in (0, 3))
    clean = Scenes(4, objects=0, clutter=3, background="plain", seed=5)[2].image
    untouched = (clean == np.median(clean, (1, 2), keepdims=True)).all(0)  # of one colour, but for the distractors
    assert 64 * 64 > untouched.sum() > 64 * 64 - 3 * 6 * 6 - 1
    np.testing.assert_array_equal(bare[:, untouched], busy[:, untouched])  # the same noise beside the distractors
    asked, draw = [], scenes.generator

    def noted(*key):
        asked.append(key)
        return draw(*key)

    monkeypatch.setattr(scenes, "generator", noted)
    Scenes(4, clutter=3, noise=0.05)[2]
    assert len(asked) == len(set(asked)) == 4  # objects, background, clutter, noise


@pytest.mark.parametrize("background", BACKGROUNDS[:4])
def test_drawn_backgrounds_are_dark_and_colours_bright(background):
    for i in range(30):
        assert Scenes(30, objects=0, size=16, background=background)[i].image.max() <= 0.45 + 1e-6
    assert min(max(colour) for colour in PALETTE.values()) == 0.85


# --------------------------------------------------------------------------------------- datasets of one-object scenes


def test_single_objects_for_classification_and_localisation():
    scenes = Scenes(12, size=32, objects=1)
    images, labels, boxes = scenes.arrays()
    assert images.shape == (12, 3, 32, 32) and boxes.shape == (12, 4)
    for i in range(12):
        assert np.array_equal(images[i], scenes[i].image) and labels[i] == scenes[i].labels[0]
        assert np.array_equal(boxes[i], scenes[i].boxes[0])
    data = scenes.classification()
    assert data.classes == scenes.classes and data[3][1] == labels[3]
    batch = next(iter(DataLoader(data, 5)))
    np.testing.assert_array_equal(batch.labels.numpy(), labels[:5])
    for transform in (None, lambda image, rng: 2 * image):
        located = scenes.localisation(transform)
        image, target = located[4]
        np.testing.assert_array_equal(target, [labels[4], *boxes[4]])
        batch = next(iter(DataLoader(located, 5)))
        np.testing.assert_array_equal(batch.labels.numpy(), np.column_stack([labels, boxes])[:5])
        np.testing.assert_array_equal(batch.images.numpy(), images[:5] * (1 if transform is None else 2))


def test_scenes_of_several_objects_go_through_a_loader():
    scenes = Scenes(5, size=32)

    def collate(items):
        return np.stack([image for image, _ in items]), [scene for _, scene in items]

    loader = DataLoader(scenes, 2, shuffle=True, collate_fn=collate)
    seen = [(batch.indices, batch) for batch in loader]
    assert sorted(np.concatenate([indices for indices, _ in seen])) == list(range(5))
    for indices, (images, found) in seen:
        for index, image, scene in zip(indices, images.numpy(), found, strict=True):
            assert same(scene, scenes[int(index)]) and np.array_equal(image, scene.image)


def test_index_and_iteration():
    scenes = Scenes(3)
    assert same(scenes[-1], scenes[2]) and len(scenes) == 3 and len(list(scenes)) == 3
    with pytest.raises(IndexError, match=r"Scenes: index must lie in 0\.\.2, got 3"):
        scenes[3]
    assert repr(scenes) == "Scenes(3 train scenes of 64x64, 20 classes)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"background": "sea"}, r"Scenes: background must be one of .*plain.*, got 'sea'"),
        ({"split": "all"}, r"split must be one of .*, got 'all'"),
        ({"items": ("mnist", "cars")}, r"items must be one or more of mnist, fashion, each once, got"),
        ({"colours": []}, r"colours must be one or more of red, .*, got \[\]"),
        ({"n": -1}, r"wanted n >= 0, size >= 8, .*, got -1, 64, 0, 6"),
        ({"objects": (3, 1)}, r"objects must be 0 <= low <= high, got \(3, 1\)"),
        ({"sides": (2, 9)}, r"sides must be 4 <= low <= high, got \(2, 9\)"),
        ({"sides": (10, 65)}, r"sides must be at most size=64, got \(10, 65\)"),
        ({"overlap": 1.5}, r"wanted overlap in \[0, 1\] and noise >= 0, got 1.5 and 0.0"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scenes(**{"n": 1} | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": "3"}, "^Scenes: n must be an int, got '3'$"),
        ({"n": 3.0}, "^Scenes: n must be an int, got 3.0$"),
        ({"seed": None}, "^Scenes: seed must be an int, got None$"),
        ({"size": 64.5}, "^Scenes: size must be an int, got 64.5$"),
        ({"clutter": True}, "^Scenes: clutter must be an int, got True$"),
        ({"clutter_side": "6"}, "^Scenes: clutter_side must be an int, got '6'$"),
        ({"objects": (1, 2, 3)}, r"^Scenes: objects must be an int or a pair \(low, high\) of ints, got \(1, 2, 3\)$"),
        ({"objects": 1.5}, r"^Scenes: objects must be an int or a pair \(low, high\) of ints, got 1.5$"),
        ({"sides": 20}, r"^Scenes: sides must be a pair \(low, high\) of ints, got 20$"),
    ],
)
def test_wrong_types(arguments, message):
    with pytest.raises(TypeError, match=message):
        Scenes(**{"n": 1} | arguments)


def test_a_crowd_that_does_not_fit_says_so():
    with pytest.raises(ValueError, match="9 objects of 30 to 30 px do not fit into 64x64 with overlap=0.1"):
        Scenes(1, objects=9, sides=(30, 30), items=("fashion",))[0]
    with pytest.raises(ValueError, match="wanted scenes of one object, got objects=\\(1, 3\\); say objects=1"):
        Scenes(1).arrays()
