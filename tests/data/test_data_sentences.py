"""Sentences about scenes: a reader that knows only their description finds every one of them true."""

from itertools import permutations

import numpy as np
import pytest

from tinyconv.data import Scenes
from tinyconv.data.captioned_scenes import CaptionedScenes
from tinyconv.data.scenes import Attributes, Scene, relations
from tinyconv.data.sentences import describe, sentences, words

NUMBERS = "zero one two three four five six seven eight nine".split()
PLACES = {"left": "x<", "right": "x>", "above": "y<", "below": "y>"}


def scene_of(*objects):
    """Return a scene of objects (digit, x1, y1, x2, y2); those of 20 pixels and more are large."""
    boxes = np.array([box for _, *box in objects], np.float32).reshape(-1, 4)
    told = tuple(
        Attributes(str(digit), "red", "large" if max(x2 - x1, y2 - y1) >= 20 else "small", "left", "top")
        for digit, x1, y1, x2, y2 in objects
    )
    labels = np.array([digit for digit, *_ in objects], np.int64)
    return Scene(np.zeros((3, 64, 64), np.float32), boxes, labels, told, relations(boxes))


# ------------------------------------------------------------------------------------------------------- the reader


def parse(sentence):
    """Return (objects [(digit, size or None)], claims [(i, place, j)]) of a sentence; ValueError if it is none.

    sentence = ["there" "is"] object {"and" object}
             | ["there" "is"] object place object
             | object "is" place object ["and" place object]
    object = ("a" | "an") ["big" | "small"] digit
    place = "above" | "below" | ["to" "the"] ("left" | "right") "of"
    """
    rest, objects, claims = sentence.split(), [], []

    def take(*wanted):
        if not rest or rest[0] not in wanted:
            raise ValueError(f"{sentence!r}: wanted {wanted}, got {rest[:1]}")
        return rest.pop(0)

    def thing():
        article = take("a", "an")
        size = take("big", "small") if rest[0] in ("big", "small") else None
        digit = take(*NUMBERS)
        assert (article == "an") == (size is None and digit == "eight")
        objects.append((NUMBERS.index(digit), size))

    def place():
        if rest[0] == "to":
            take("to"), take("the")
            word = take("left", "right")
        else:
            word = take(*PLACES)
        if word in ("left", "right"):
            take("of")
        return PLACES[word]

    there = rest[0] == "there"
    if there:
        take("there"), take("is")
    thing()
    if rest and not there and rest[0] == "is":
        take("is")
        while True:
            claims.append((0, place(), len(objects)))
            thing()
            if not rest:
                break
            take("and")
    elif rest and rest[0] != "and":
        claims.append((0, place(), 1))
        thing()
    else:
        while rest:
            take("and")
            thing()
    if rest:
        raise ValueError(f"{sentence!r}: {rest} is too much")
    return objects, claims


def holds(sentence, labels, boxes, middle):
    """Return whether some choice of different objects of the scene makes the sentence true."""
    objects, claims = parse(sentence)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1)

    def placed(first, place, second):
        dx, dy = centres[first] - centres[second]
        along, other = (dx, dy) if place[0] == "x" else (dy, dx)
        dominant = abs(dx) >= abs(dy) if place[0] == "x" else abs(dy) > abs(dx)
        return dominant and (along < 0 if place[1] == "<" else along > 0)

    return any(
        all(
            labels[k] == digit and size in (None, "small" if longer[k] < middle else "big")
            for k, (digit, size) in zip(chosen, objects, strict=True)
        )
        and all(placed(chosen[i], place, chosen[j]) for i, place, j in claims)
        for chosen in permutations(range(len(labels)), len(objects))
    )


def test_the_reader_can_say_no():
    boxes = np.array([[0, 0, 20, 28], [40, 2, 50, 14], [38, 40, 48, 52]], float)
    labels = [3, 8, 3]
    true = (
        "a big three is left of an eight",
        "an eight is right of a three and above a small three",
        "there is a small three below an eight",
        "a three and a three",
        "there is a small eight",
    )
    false = (
        "a small three is left of an eight",
        "an eight is above a three and above a three",
        "a two",
        "there is a small three above an eight",
        "a big three and a big three",
        "a three is above a three",
    )
    assert [holds(sentence, labels, boxes, 20) for sentence in true + false] == [True] * 5 + [False] * 6
    for nonsense in ("a three is", "three", "a three left of", "there is a three is above a two", "a three a two"):
        with pytest.raises((ValueError, IndexError)):
            parse(nonsense)


# -------------------------------------------------------------------------------------------------------- the grammar


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_sentence_is_true_of_its_scene(split):
    data = CaptionedScenes(400, seed=2, split=split)
    middle = sum(Scenes(1).sides) / 2
    for i, told in enumerate(data.sentences):
        truth = data.scenes.truth(i)
        for sentence in told:
            assert holds(sentence, truth.labels, truth.boxes, middle), (i, sentence)


def test_sentences_differ_and_have_a_small_vocabulary():
    data = CaptionedScenes(1000)
    counts = np.bincount([len(told) for told in data.sentences])
    assert counts[:3].sum() == 0 and len(counts) == 6 and counts[3:].min() > 270  # 333 each, standard deviation 15
    assert all(len(set(told)) == len(told) for told in data.sentences)
    used = {word for told in data.sentences for sentence in told for word in sentence.split()}
    assert used == set(words()) and len(words()) == len(set(words())) == 24 and words() == sorted(words())
    lengths = [len(sentence.split()) for told in data.sentences for sentence in told]
    assert min(lengths) == 5 and max(lengths) == 15


def test_of_one_digit_nothing_is_said():
    """Every fourth scene has a three: only what tells scenes apart is worth a sentence."""
    assert sentences(scene_of((3, 0, 0, 12, 18))) == {}


def test_all_that_can_be_said_of_two_digits():
    """The grammar by hand: a big 8 on the left, a small 1 on the right."""
    found = sentences(scene_of((8, 0, 0, 20, 28), (1, 40, 5, 44, 20)))
    eights, ones = ("an eight", "a big eight"), ("a one", "a small one")
    wanted = set()
    for first, second, place in ((eights, ones, "left of"), (ones, eights, "right of")):
        for a in first:
            for b in second:
                wanted |= {f"{a} and {b}", f"there is {a} and {b}", f"there is {a} {place} {b}"}
                wanted |= {f"{a} is {place} {b}", f"{a} is to the {place} {b}"}
    assert set(found) == wanted
    # Of seventeen parts "{a} is {ab} {b}" is six, for two orders; a size is said three times of four.
    assert found["an eight is left of a one"] == pytest.approx(6 / 2 / 16)
    assert found["a big eight is left of a small one"] == pytest.approx(6 / 2 * 9 / 16)
    assert sum(found.values()) == pytest.approx(17)


def test_above_has_one_form_and_equal_digits_one_sentence():
    found = sentences(scene_of((2, 10, 0, 20, 14), (2, 11, 40, 21, 54)))
    assert found["a two is above a two"] == pytest.approx((6 + 3) / 2 / 16)
    assert "a two is to the above a two" not in found
    assert found["a two and a two"] == pytest.approx(2 * 2 / 2 / 16)  # in both orders


def test_nothing_is_said_of_where_two_objects_are_that_share_a_centre():
    found = sentences(scene_of((2, 10, 10, 20, 20), (5, 5, 5, 25, 25)))
    assert "a two and a big five" in found and not [s for s in found if set(s.split()) & set(PLACES)]


def test_the_papers_style():
    scene = scene_of((3, 0, 20, 20, 44), (5, 40, 22, 50, 36), (2, 42, 2, 52, 14))
    said = sentences(scene)
    assert {"a big three is left of a five", "there is a small five below a two",
            "a three is left of a five and left of a small two"} <= set(said)  # fmt: skip


def test_sentences_are_drawn_by_their_weights():
    scene = scene_of((8, 0, 0, 20, 28), (1, 40, 5, 44, 20))
    rng = np.random.default_rng(0)
    drawn = [describe(scene, rng, 1)[0] for _ in range(4000)]
    relational = np.mean([bool(set(s.split()) & set(PLACES)) for s in drawn])
    assert abs(relational - 13 / 17) < 0.03  # standard deviation 0.007
    assert describe(scene, np.random.default_rng(5), 4) == describe(scene, np.random.default_rng(5), 4)
    assert describe(scene, rng, 0) == []
    said = sentences(scene)
    assert sorted(describe(scene, rng, len(said))) == sorted(said)


def test_wrong_demands():
    one = scene_of((3, 0, 0, 12, 18))
    with pytest.raises(ValueError, match=r"describe: count must lie in 0\.\.0, .* scene of 1 objects, got 1"):
        describe(one, np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match=r"count must lie in 0\.\.0"):
        describe(scene_of(), np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match="objects must be digits, got 'Pullover'; take scenes with items"):
        describe(Scenes(1, items=("fashion",), objects=(2, 2), seed=3)[0], np.random.default_rng(0), 1)


# ------------------------------------------------------------------------------------------------ scenes with sentences


def test_a_scenes_sentences_depend_on_seed_split_and_index_only():
    long, short = CaptionedScenes(30, seed=4), CaptionedScenes(5, seed=4)
    assert long.sentences[:5] == short.sentences and len(short) == 5
    np.testing.assert_array_equal(long.scenes.images[:5], short.scenes.images)
    for other in (CaptionedScenes(5, seed=5), CaptionedScenes(5, seed=4, split="val")):
        assert not any(a == b for a, b in zip(short.sentences, other.sentences, strict=True))


def test_scenes_are_those_of_the_detectors_and_can_be_chosen():
    data = CaptionedScenes(6, seed=1, split="val")
    plain = Scenes(6, seed=1, split="val", items=("mnist",), objects=(2, 3), background="textured")
    for i in range(6):
        image, truth = data.scenes.read(i)
        np.testing.assert_array_equal(image, plain[i].image)
        np.testing.assert_array_equal(truth.boxes, plain[i].boxes)
        assert data.attributes[i] == plain[i].attributes
    assert {len(truth.labels) for truth in map(data.scenes.truth, range(6))} == {2, 3}
    other = CaptionedScenes(2, size=96, objects=2, background="black", paraphrases=(1, 1))
    assert other.scenes.images.shape == (2, 3, 96, 96) and [len(told) for told in other.sentences] == [1, 1]
    assert repr(other) == "CaptionedScenes(2 train scenes, 2 sentences)"
    assert len(CaptionedScenes(0)) == 0


def test_wrong_arguments():
    for wrong in ((0, 2), (3, 2), (1.5, 2), 3, (1, 2, 3), (True, 2), None):
        with pytest.raises(ValueError, match="paraphrases must be ints"):
            CaptionedScenes(1, paraphrases=wrong)
    with pytest.raises(ValueError, match="scene of 1 objects"):
        CaptionedScenes(1, objects=1, paraphrases=(5, 5))
    with pytest.raises(ValueError, match="objects must be digits"):
        CaptionedScenes(1, items=("fashion",))
    with pytest.raises(TypeError, match="n must be an int"):
        CaptionedScenes(1.5)
