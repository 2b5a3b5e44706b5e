"""Lesson 08, claims_alignment.py: each claim measures what it says, and asserts it. Nothing here is trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
from _claims import check_claim
from _exercises import LESSONS, load

from tinyconv.data.sentences import DIGITS

LESSON = LESSONS / "08_captioning"
CLAIMS = [
    "retrieval", "grounding", "no dropout", "dropout", "norms", "segments", "detected", "no places", "defrag",
    "words alone",
]  # fmt: skip


@pytest.fixture(scope="module")
def claims():
    return load(LESSON / "claims_alignment.py", "lesson_08_claims_alignment")


@pytest.fixture
def steps(claims, monkeypatch):
    """The lesson's files, with a detector that has learnt nothing and networks that learn nothing.

    What they were to learn is noted: scenes, and how.
    """
    scenes08, small = claims._step("scenes08"), claims._step("alignment08")
    from tinyconv import manual_seed
    from tinyconv.models.faster_rcnn import faster_rcnn

    manual_seed(0)
    finder, seen = faster_rcnn(10, scale="lesson").eval(), []

    def learn(words, train, seed, **how):
        seen.append({"scenes": len(train.truths), "seed": seed, "train": train, **how})
        how.pop("epochs", None)
        return small.build(words, train.regions.features.shape[2], seed, **how).eval()

    monkeypatch.setattr(scenes08, "detector", lambda lesson, seed: finder)
    monkeypatch.setattr(small, "learn", learn)
    claims._seen.cache_clear()
    claims._learnt.cache_clear()
    yield seen
    claims._seen.cache_clear()
    claims._learnt.cache_clear()


SIZES, SEED = (16, 6), 5


def test_every_variant_differs_in_one_thing(claims, steps):
    """What is learnt: the lesson's settings, or another dropout, no places, found regions; or the small network's."""
    small = claims._step("alignment08")
    for name in claims.VARIANTS:
        claims._retrieval(name, SEED, SIZES)
    assert [one["scenes"] for one in steps] == [16] * 8 and {one["seed"] for one in steps} == {SEED}
    usual, bare, plain, detected, *others = steps
    settings = [{key: one[key] for key in one if key not in ("scenes", "seed", "train")} for one in steps]
    little = {"hidden": 64, "embedding": 64, "epochs": 20, "dropout": 0.1}
    changes = [{}, {"dropout": 0.0}, {"score": "defrag"}, {"text": "words"}]
    assert settings == [{}, {"dropout": 0.0}, {}, {}] + [little | change for change in changes]
    assert small.MODEL["dropout"] > 0 and small.PLACES
    assert bare["train"] is usual["train"] and all(one["train"] is plain["train"] for one in others)
    assert plain["train"].regions.features.shape[2] == usual["train"].regions.features.shape[2] - 4
    np.testing.assert_array_equal(plain["train"].regions.boxes, usual["train"].regions.boxes)
    assert detected["train"].regions.boxes.shape[1] <= 6 and detected["train"].regions.features.shape[2] == 132


def test_networks_are_trained_once(claims, steps):
    claims.measure_retrieval(SEED, SIZES)
    claims.measure_grounding(SEED, SIZES)
    claims.measure_norms(SEED, SIZES)
    claims.measure_segments(SEED, SIZES)
    assert len(steps) == 1
    claims.measure_no_dropout(SEED, SIZES)
    names = ["usual", "no dropout"]
    for name in ("defrag", "words", "no places", "detected"):
        found = getattr(claims, f"measure_{name.replace(' ', '_')}")(SEED, SIZES)
        names.append(name)
        assert len(steps) == len(names)
        assert found == {part: getattr(claims, f"_{part}")(name, SEED, SIZES) for part in ("retrieval", "grounding")}
    claims.measure_small(SEED, SIZES)
    assert len(steps) == 8


def test_retrieval_ranks_test_scenes(claims, steps, monkeypatch):
    """Scores by which scene i's sentences are right for all even i, and all others come after them for odd i."""
    model, _, test = claims._learnt("usual", SEED, SIZES)
    assert len(test.truths) == 6

    def rate(features, counts, words):
        assert len(features) == len(counts) == 6 and words is test.words
        own = test.image_of[None] == np.arange(6)[:, None]
        return np.where(np.arange(6)[:, None] % 2, -1.0, 1.0) * own

    monkeypatch.setattr(type(model), "rate", lambda self, *how: rate(*how))
    found = claims.measure_retrieval(SEED, SIZES)
    assert found["annotation"]["R@1"] == 50 and found["annotation"]["R@10"] < 100
    odd = np.isin(test.image_of, (1, 3, 5))
    assert found["search"]["R@1"] == pytest.approx(100 * (1 - odd.mean()))
    assert found["search"]["R@5"] == pytest.approx(100 * (1 - odd.mean())), "the sixth of six"


def test_grounding_counts_digits_words(claims, steps, monkeypatch):
    """All words point at region 1, the first object of a scene."""
    model, words, test = claims._learnt("usual", SEED, SIZES)
    products = np.zeros((*test.words.shape, test.regions.boxes.shape[1]))
    products[..., 1] = 1
    monkeypatch.setattr(claims._step("alignment08"), "match", lambda *_: products)
    found, right, total = claims.measure_grounding(SEED, SIZES), 0, 0
    for row, i in zip(test.words, test.image_of, strict=True):
        for word in words.decode(row).split():
            if word in DIGITS:
                total += 1
                right += DIGITS.index(word) == test.truths[i].labels[0]
    assert 0 < right < total
    # Regions that are no true box cover less than 30 % of a digit; two digits' boxes have no IoU of 0.5 either.
    assert found["all"] == pytest.approx(right / total)
    assert set(found["digits"]) == {w for row in test.words for w in words.decode(row).split()} & set(DIGITS)


# -------------------------------------------------------------------------------------------------------- the verdicts


def recalls(first):
    ranks = {"R@1": first, "R@5": 60.0, "R@10": 70.0, "median": 4.0}
    return {"annotation": ranks, "search": {**ranks, "R@1": 1.0}}


@pytest.mark.parametrize(("recall", "holds"), [(30.0, True), (29.5, False)])
def test_retrieval_is_30_percent_for_every_seed(claims, recall, holds):
    verdict = claims.verdict_retrieval([recalls(50.0), recalls(recall)])
    assert verdict[0] is holds and f"annotation R@1 50.0 / {recall:.1f}" in verdict[1]
    assert "search R@1 1.0 / 1.0" in verdict[1] and "Med r 4 / 4" in verdict[1]


def grounding(share, worst):
    return {"all": share, "chance": 0.2, "digits": dict.fromkeys(DIGITS, 0.99) | {"four": worst}}


@pytest.mark.parametrize(
    ("share", "worst", "holds"), [(0.96, 0.8, True), (0.95, 0.9, False), (0.99, 0.79, False), (0.99, 1.0, True)]
)
def test_grounding_needs_all_words_and_every_digit(claims, share, worst, holds):
    runs = [grounding(0.99, 0.97), grounding(share, worst)]
    assert claims.verdict_grounding(runs)[0] is holds


@pytest.mark.parametrize(("worst", "holds"), [(0.49, True), (0.5, False)])
def test_without_dropout_some_digit_is_below_one_half(claims, worst, holds):
    runs = [grounding(0.7, 0.0) | {"retrieval": recalls(40.0)}, grounding(0.9, worst) | {"retrieval": recalls(45.0)}]
    found = claims.verdict_no_dropout(runs)
    assert found[0] is holds
    assert "four 0%" in found[1] and f"digits below 50 %: 1 / {int(holds)}" in found[1] and "40.0 / 45.0 %" in found[1]


@pytest.mark.parametrize(("right", "worst", "holds"), [(0.97, 0.3, True), (0.94, 0.3, False), (0.97, 0.6, False)])
def test_dropout_asserts_both(claims, right, worst, holds):
    run = {
        "small": grounding(right, 0.9) | {"retrieval": recalls(28.0)},
        "small, no dropout": grounding(0.7, worst) | {"retrieval": recalls(45.0)},
    }
    found = claims.verdict_small([run])
    assert found[0] is holds and "28.0 %. No dropout: right 70%" in found[1]


@pytest.mark.parametrize(
    ("change", "holds"),
    [({}, True), ({"four": 0.6}, False), ({"a": 0.7}, False), ({"is": 0.7}, False), ({"above": 9.0}, True)],
)
def test_norms_are_three_times_those_of_a_and_is(claims, change, holds):
    words = ("a", "is", "and", "left", "above", "big", "small")
    run = dict.fromkeys(DIGITS, 2.0) | dict.fromkeys(words, 0.2)
    assert claims.verdict_norms([run, run | change])[0] is holds


@pytest.mark.parametrize(("lengths", "holds"), [((1, 2, 3, 9), True), ((1, 2, 2, 9), False), ((1, 3, 2, 9), False)])
def test_segments_grow_with_every_beta(claims, lengths, holds):
    run = {str(beta): {"length": float(n), "right": 0.9} for beta, n in zip((0, 1, 10, 100), lengths, strict=True)}
    good = {beta: {**one, "length": float(k)} for k, (beta, one) in enumerate(run.items())}
    assert claims.verdict_segments([good, run])[0] is holds


def test_variants_assert_nothing(claims):
    found = claims.verdict_variant([{"retrieval": recalls(12.0), "grounding": grounding(0.9, 0.5)}])
    assert found[0] is None and "annotation R@1 12.0" in found[1]
    assert "right 90%, by chance 20%; worst digit four 50%" in found[1]
    assert [claims.CLAIMS[name][1] for name in CLAIMS[6:]] == [claims.verdict_variant] * 4


# ------------------------------------------------------------------------------------------------------ what came out


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_were_measured_and_the_readme_says_what_came_out(claims, name):
    check_claim(LESSON, claims, name)


def test_the_program_has_both_parts(claims):
    program = load(LESSON / "claims.py", "lesson_08_claims")
    assert list(program.CLAIMS)[: len(CLAIMS)] == CLAIMS == list(claims.CLAIMS)
    assert set(json.loads((LESSON / "results.json").read_text("utf-8"))["claims"]) == set(program.CLAIMS)
