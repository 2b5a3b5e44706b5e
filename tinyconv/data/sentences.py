"""The grammar of scenes: what can be said of two or three digits in an image. See :func:`describe`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tinyconv.data.scenes import Scene

# Every sentence is one of these, read aloud: {a}, {b}, {c} are different objects, and {ab} is how the first is placed
# against the second. Beside it how often it is drawn, against the others that fit the scene. None mentions one object
# only: "a three" is true of every fourth scene.
# fmt: off
TEMPLATES = (
    (2, "{a} and {b}"),                     # a small five and a two
    (2, "there is {a} and {b}"),            # there is a small five and a big two
    (6, "{a} is {ab} {b}"),                 # a big three is left of a five
    (3, "{a} is {to_ab} {b}"),              # a big three is to the left of a five
    (4, "there is {a} {ab} {b}"),           # there is a small five below a two
    (6, "there is {a} and {b} and {c}"),    # there is a three and a big five and a two
    (12, "{a} is {ab} {b} and {ac} {c}"),   # a three is left of a five and above a small two
)
# fmt: on
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZES = {"small": "small", "large": "big"}  # as data.scenes says it, as sentences do
TOLD = 0.75  # how often an object's size is said
RELATIONS = {  # as in {ab}, as in {to_ab}
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "above"),
    "below": ("below", "below"),
}


def describe(scene: Scene, rng: np.random.Generator, count: int) -> list[str]:
    """Return some different sentences about a scene of digits, all of them true.

    The sentences are templated: each is a line of ``TEMPLATES``, filled in. Drawn are the line, which objects are
    mentioned, and of each whether its size is said. "a three is left of a five" is true if some three is left of some
    five; what is mentioned in one sentence are always different objects, so two threes are "a three and a three".
    Words are lower case with single spaces between them, 5 to 15 of them.

    Parameters
    ----------
    scene : Scene
        Of two or more digits: names "0" to "9".
    rng : numpy.random.Generator
    count : int
        How many sentences.

    Returns
    -------
    list of str
        In the order drawn.

    Raises
    ------
    ValueError
        There are fewer true sentences than ``count``, or an object is no digit.

    Examples
    --------
    >>> from tinyconv.data import Scenes
    >>> scene = Scenes(9, items=("mnist",), objects=2)[0]
    >>> describe(scene, np.random.default_rng(0), 2)
    ['a big six is to the right of a small three', 'a six is right of a small three']
    """
    said = sentences(scene)
    if not 0 <= count <= len(said):
        raise ValueError(
            f"describe: count must lie in 0..{len(said)}, the number of true sentences about a scene of "
            f"{len(scene.labels)} objects, got {count!r}"
        )
    if not count:
        return []
    odds = np.array(list(said.values()))
    drawn = rng.choice(len(said), count, replace=False, p=odds / odds.sum())
    found = list(said)
    return [found[k] for k in drawn]


def sentences(scene: Scene) -> dict[str, float]:
    """Return every sentence that the grammar can say of a scene, and how often it is drawn, against the others.

    A template's share is divided among the ways to fill it in: evenly among the objects, sizes as often as ``TOLD``.
    """
    names = [_phrases(attributes.name, attributes.size) for attributes in scene.attributes]
    placed = {(i, j): relation for i, relation, j in scene.relations}
    said: dict[str, float] = {}
    for weight, template in TEMPLATES:
        ways = list(_filled(template, names, placed))
        total = sum(odds for _, odds in ways)
        for sentence, odds in ways:
            said[sentence] = said.get(sentence, 0.0) + weight * odds / total
    return said


def words() -> list[str]:
    """Return all words of the grammar, in the alphabet's order.

    Examples
    --------
    >>> len(words()), words()[:5]
    (24, ['a', 'above', 'an', 'and', 'below'])
    """
    fixed = [word for _, template in TEMPLATES for word in template.split() if "{" not in word]
    placed = [word for pair in RELATIONS.values() for phrase in pair for word in phrase.split()]
    return sorted({"a", "an", *fixed, *placed, *DIGITS, *SIZES.values()})


def _phrases(name: str, size: str) -> tuple[str, str]:
    """Return an object's name without and with its size: "an eight", "a big eight"."""
    if not (len(name) == 1 and name in "0123456789"):
        raise ValueError(f"describe: objects must be digits, got {name!r}; take scenes with items=('mnist',)")
    digit = DIGITS[int(name)]
    return f"{'an' if digit == 'eight' else 'a'} {digit}", f"a {SIZES[size]} {digit}"


def _filled(
    template: str, names: list[tuple[str, str]], placed: dict[tuple[int, int], str]
) -> Iterator[tuple[str, float]]:
    """Yield the template with every choice of objects and sizes, each with its odds.

    None where a relation that it needs does not hold.
    """
    roles = [role for role in "abc" if f"{{{role}}}" in template]
    for chosen in permutations(range(len(names)), len(roles)):
        place = dict(zip(roles, chosen, strict=True))
        told = {}
        for pair in ("ab", "ac"):
            if f"{pair}}}" in template and (place[pair[0]], place[pair[1]]) in placed:
                told[pair], told[f"to_{pair}"] = RELATIONS[placed[place[pair[0]], place[pair[1]]]]
        if any(f"{pair}}}" in template and pair not in told for pair in ("ab", "ac")):
            continue  # their centres are one point
        for sizes in product((0, 1), repeat=len(roles)):
            mentioned = {role: names[place[role]][said] for role, said in zip(roles, sizes, strict=True)}
            odds = float(np.prod([TOLD if said else 1 - TOLD for said in sizes]))
            yield template.format(**mentioned, **told), odds
