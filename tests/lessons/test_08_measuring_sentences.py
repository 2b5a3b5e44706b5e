"""Lesson 08, claims_sentences.py and sentences08.py: they measure what they say. Here nothing is trained."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from _claims import check_claim
from _exercises import LESSONS, load

from tinyconv.captioning.evaluation import evaluate_captions, nearest_neighbours
from tinyconv.captioning.regions import given_regions
from tinyconv.captioning.snippets import Snippets
from tinyconv.claims import import_step
from tinyconv.data.captioned_scenes import CaptionedScenes
from tinyconv.data.sentences import DIGITS
from tinyconv.models.captioner import Description
from tinyconv.text import Vocabulary, bleu
from tinyconv.vision.layout import layout

LESSON = LESSONS / "08_captioning"
CLAIMS = [
    "sentences", "true boxes", "true boxes, first step", "beam", "perplexity", "look", "lstm", "regions", "pipeline"
]  # fmt: skip
SIZES, SEED = (30, 8), 3


@pytest.fixture(scope="module")
def claims():
    return import_step(LESSON, "claims_sentences")


@pytest.fixture(scope="module")
def step(claims):
    return claims._step("sentences08")


@pytest.fixture
def untrained(claims, step, monkeypatch):
    """Nothing is trained; what was to learn is noted, and a generator gets opinions at random."""
    seen = []

    def learn(model, pairs, words, seed=0, **how):
        seen.append((model, pairs, seed, how))
        model.leave.weight.data[...] *= 30
        model.eval()

    def train(model, scenes, words, transform, *, epochs, seed, **_):
        seen.append((model, scenes, seed, epochs))
        for part in (model.sentence, model.snippet):
            part.leave.weight.data[...] *= 30
        size = model.detector.get_submodule("cls_score").in_features
        regions = given_regions(
            model.detector, scenes.scenes.images, [scenes.scenes.truth(i).boxes for i in range(len(scenes))],
            transform=transform,
        )  # fmt: skip
        named = [words.encode(step.mentions(of[0])[0]) for of in scenes.attributes[:4]]  # "a three", as it is
        parts = Snippets(np.arange(4), np.ones(4, int), named)
        assert regions.features.shape[2] == size
        return claims.Learnt(None, {}, regions, parts, step.true_layouts(scenes))

    monkeypatch.setattr(step, "learn", learn)
    monkeypatch.setattr(claims, "train_captioner", train)
    caches = (claims._pipeline, claims._generator, claims._true)
    for one in caches:
        one.cache_clear()
    yield seen
    for one in caches:
        one.cache_clear()


# --------------------------------------------------------------------------------------------------------- sentences08


@pytest.fixture(scope="module")
def scenes():
    return CaptionedScenes(12, seed=SEED, split="test")


def test_true_layouts_are_those_of_the_true_boxes(step, scenes):
    found = step.true_layouts(scenes)
    assert found.shape == (12, 460)
    truth = scenes.scenes.truth(7)
    np.testing.assert_array_equal(found[7], layout(truth.boxes, truth.labels, 10, (64, 64)))


def test_a_fresh_sentence_is_true_and_of_its_own_stream(step, scenes):
    fresh = step.fresh(scenes, SEED)
    assert step.are_true(fresh, scenes, SEED).all() and len(fresh) == 12
    assert step.are_true([of[-1] for of in scenes.sentences], scenes, SEED).all()
    assert 0 < sum(text not in of for text, of in zip(fresh, scenes.sentences, strict=True))
    assert step.fresh(CaptionedScenes(5, seed=SEED, split="test"), SEED) == fresh[:5], "whatever the number"


def test_a_sentence_is_true_of_its_scene_only_if_sizes_and_places_are(step, scenes):
    spoilt = import_step(LESSON, "spoilt08").spoilt
    labels = [scenes.scenes.truth(i).labels.tolist() for i in range(12)]
    found = spoilt(step.fresh(scenes, SEED), labels, np.random.default_rng(0))
    assert step.are_true(found["true"], scenes, SEED).all()
    for name, words in (("places swapped", ("left", "right", "above", "below")), ("sizes swapped", ("big", "small"))):
        for before, after, true in zip(
            found["true"], found[name], step.are_true(found[name], scenes, SEED), strict=True
        ):
            assert len(before.split()) == len(after.split())
            assert (before != after) is any(word in words for word in before.split())
            assert true or before != after
    assert not step.are_true(found["a wrong digit"], scenes, SEED).any()
    wrong = [step.shared_digits(*pair) for pair in zip(found["a wrong digit"], labels, strict=True)]
    right = [step.shared_digits(*pair) for pair in zip(found["true"], labels, strict=True)]
    assert not any(wrong) and all(right)
    assert [sorted(a.split()) for a in found["shuffled"]] == [sorted(a.split()) for a in found["true"]]
    assert found["another scene's"][0] == found["true"][1]


@pytest.mark.parametrize(
    ("sentence", "labels", "right"),
    [
        ("a three and a three", [3, 3, 5], True),
        ("a three and a three", [3, 5], False),
        ("an eight", [8], True),
        ("an eight is above a nine", [8, 1], False),
        ("a big", [8, 1], False),
        ("", [8], False),
    ],
)
def test_digits_that_are_named_are_there(step, sentence, labels, right):
    assert step.shared_digits(sentence, labels) is right


def test_mentions_are_the_grammars(step, scenes):
    for of, own in zip(scenes.attributes, scenes.sentences, strict=True):
        every = [phrase for one in of for phrase in step.mentions(one)]
        assert all(len(phrase.split()) in (2, 3) for phrase in every)
        for sentence in own:
            assert sum(f"{phrase} " in f"{sentence} " for phrase in set(every)) >= 1


def test_unigrams_of_a_fair_die(step):
    """Three words and END, each as often as the others."""
    assert step.unigram_perplexity(Vocabulary(["<end>", "a", "b", "c"], [5, 5, 5, 5])) == pytest.approx(4)
    # 3/4 and 1/4: 2^(entropy), H = 2 - 3/4 log2 3
    wanted = 2 ** (2 - 0.75 * np.log2(3))
    assert step.unigram_perplexity(Vocabulary(["<end>", "a"], [1, 3])) == pytest.approx(wanted)


def test_kinds_of_generators(step):
    words = Vocabulary(["<end>", "a", "b"], [1, 1, 1])
    first, always, lstm = (step.build(words, 4, SEED, kind) for kind in step.KINDS)
    assert (first.look, always.look, lstm.lstm) == ("first", "always", True)
    np.testing.assert_array_equal(first.word.weight.detach().numpy(), always.word.weight.detach().numpy())


# ------------------------------------------------------------------------------------------------------------ measuring


def test_whole_scenes_are_judged_by_their_own_sentences(claims, step, untrained):
    found = claims.measure_true_boxes(SEED, SIZES)
    ((model, pairs, seed, how),) = untrained
    train, test, words = claims._scenes(SEED, SIZES)
    known, seen = step.true_layouts(train), step.true_layouts(test)
    assert (seed, how, len(train), len(test), model.look) == (SEED, {"epochs": 1}, *SIZES, "always")
    np.testing.assert_array_equal(pairs.features, known)
    training = [text for of in train.sentences for text in of]
    values = {}
    for beam in (1, 7):
        best = [each.hypotheses[0] for each in model.generate(seen, beam)]
        texts = [model.decode(one.words) for one in best]
        values[beam] = np.array([one.log_probability for one in best])
        wanted = evaluate_captions(texts, test.sentences, training)
        entry = found[f"beam {beam}"]
        assert [entry[f"bleu {n}"] for n in (1, 2, 3, 4)] == pytest.approx(wanted.bleu)
        assert (entry["cider"], entry["novel"]) == pytest.approx((wanted.cider, wanted.novel))
        assert entry["log"] == pytest.approx(values[beam].mean())
    assert found["higher"] == np.mean(values[7] > values[1] + 1e-4)
    assert found["lower"] == np.mean(values[7] < values[1] - 1e-4)
    near = [train.sentences[i][0] for i in nearest_neighbours(seen, known)]
    assert found["nearest"]["bleu 4"] == pytest.approx(bleu(near, test.sentences).scores[3])
    assert found["nearest"]["novel"] == 0, "they are training sentences"
    assert found["fresh"]["bleu 1"] == pytest.approx(bleu(step.fresh(test, SEED), test.sentences).scores[0])
    count = sum(len(text.split()) + 1 for of in test.sentences for text in of)
    log = sum(
        model.log_probability(seen[i : i + 1], words.encode(text)[None])[0]
        for i, of in enumerate(test.sentences)
        for text in of
    )
    assert found["perplexity"] == pytest.approx(np.exp(-log / count))


def test_true_boxes_are_told_to_the_papers_generator_too(claims, step, untrained):
    """What looks once is that of the claim "lstm", trained once for both."""
    found, lstm = claims.measure_true_first(SEED, SIZES), claims.measure_lstm(SEED, SIZES)
    assert [model.look for model, *_ in untrained] == ["first", "first"] and not untrained[0][0].lstm
    np.testing.assert_array_equal(untrained[0][1].features, step.true_layouts(claims._scenes(SEED, SIZES)[0]))
    assert claims._short(found) == lstm["first"]
    assert claims.CLAIMS["true boxes, first step"] == (claims.measure_true_first, claims.verdict_sentences)


def test_an_lstm_and_an_rnn_learn_the_same(claims, step, untrained):
    found = claims.measure_lstm(SEED, SIZES)
    assert [model.lstm for model, *_ in untrained] == [False, True] and set(found) == {"first", "lstm"}
    assert [model.look for model, *_ in untrained] == ["first", "first"]


def test_the_pipeline_is_run_once_for_all_its_claims(claims, step, untrained):
    found = {name: claims.CLAIMS[name][0](SEED, SIZES) for name in ("sentences", "beam", "regions", "pipeline")}
    ((model, scenes, seed, epochs),) = untrained
    assert (len(scenes), seed, set(epochs.values())) == (30, SEED, {1})
    assert found["beam"]["log"] == {beam: found["sentences"][f"beam {beam}"]["log"] for beam in ("1", "7")}
    assert found["beam"]["known"]["7"] == 1 - found["sentences"]["beam 7"]["novel"]
    look = claims.measure_look(SEED, SIZES)
    first, pairs, seed, how = untrained[1]
    assert (first.look, seed, how, model.sentence.look) == ("first", SEED, {"epochs": 1}, "always")
    np.testing.assert_array_equal(pairs.features, step.true_layouts(scenes))
    assert look["always"]["bleu 4"] == found["sentences"]["beam 7"]["bleu 4"]
    assert look["nearest"] == found["sentences"]["nearest"]["bleu 4"]
    test = claims._scenes(SEED, SIZES)[1]
    said = [model.describe(claims._step("scenes08").NORMAL(image, None)) for image in test.scenes.images]
    wanted = bleu([one.sentence for one in said], test.sentences).scores[3]
    assert found["pipeline"]["scores"]["bleu 4"] == found["sentences"]["beam 7"]["bleu 4"] == pytest.approx(wanted)
    assert found["pipeline"]["nothing"] == np.mean([len(one.boxes) == 0 for one in said])


def test_regions_are_judged_by_the_mentions_of_what_is_in_them(claims, step, untrained):
    found, test = claims.measure_regions(SEED, SIZES), claims._scenes(SEED, SIZES)[1]
    model = untrained[0][0]
    truths = [test.scenes.truth(i) for i in range(len(test))]
    assert found["count"] == sum(len(truth.labels) for truth in truths) and found["snippets"] == 4
    references = [step.mentions(one) for of in test.attributes for one in of]
    regions = given_regions(
        model.detector, test.scenes.images, [truth.boxes for truth in truths], transform=claims._step("scenes08").NORMAL
    )
    features = [regions.features[i, 1 + k] for i, truth in enumerate(truths) for k in range(len(truth.labels))]
    alone = [
        layout(truth.boxes[k][None], truth.labels[k][None], 10, (64, 64))
        for truth in truths
        for k in range(len(truth.labels))
    ]
    texts = {
        name: [one.decode(each.best.words) for each in one.generate(np.array(told), 7)]
        for name, one, told in (("regions", model.snippet, features), ("whole", model.sentence, alone))
    }
    train = claims._scenes(SEED, SIZES)[0]
    first = given_regions(
        model.detector, train.scenes.images[:4], [train.scenes.truth(i).boxes[:1] for i in range(4)],
        transform=claims._step("scenes08").NORMAL,
    ).features[:, 1]  # fmt: skip
    near = [int(np.square(first - own).sum(axis=1).argmin()) for own in features]
    assert len(set(near)) > 1, "else it would not matter which is the nearest"
    texts["nearest"] = [step.mentions(train.attributes[i][0])[0] for i in near]
    for name, given in texts.items():
        assert [found[name]["bleu 1"], found[name]["bleu 2"]] == pytest.approx(bleu(given, references, 2).scores)
        assert found[name]["words"] == pytest.approx(np.mean([len(text.split()) for text in given]))
        right = sum(text in own for text, own in zip(given, references, strict=True))
        assert found[name]["exact"] == pytest.approx(right / len(given))
    assert 0 < found["nearest"]["exact"] < 1


def test_what_is_said_from_pixels_is_judged_scene_by_scene(claims, step, untrained):
    """Of eight descriptions three have all objects, five digits that are there, four are true, one found nothing."""
    model, test = claims._pipeline(SEED, SIZES).model, claims._scenes(SEED, SIZES)[1]
    texts, labels, shown = [], [test.scenes.truth(i).labels for i in range(8)], []
    true = [next(text for text in own if step.digits_said(text)) for own in test.sentences]
    for i in range(8):
        texts.append(true[i] if i in (0, 1, 2, 4) else DIGITS[labels[i][0]] if i == 7 else ("a big", "")[i % 2])
    labels = [rows[::-1] if i in (0, 1, 3) else rows[:0] if i == 5 else rows[:1] for i, rows in enumerate(labels)]

    def describe(image):
        i = len(shown)
        shown.append(image)
        return Description(texts[i], None, np.zeros((len(labels[i]), 4)), labels[i], None, [], None)

    model.describe = describe
    found = claims.measure_pipeline(SEED, SIZES)
    assert [found[key] for key in ("found", "digits", "true", "nothing")] == [3 / 8, 5 / 8, 4 / 8, 1 / 8]
    assert found["scores"]["bleu 1"] == pytest.approx(bleu(texts, test.sentences).scores[0])
    wanted = [claims._step("scenes08").NORMAL(image, None) for image in test.scenes.images]
    np.testing.assert_array_equal(shown, wanted)


def test_a_beam_is_lower_or_higher_by_more_than_rounding(claims, step, untrained, monkeypatch):
    """Of eight scenes two are lower, by 0.5 and 0.0002, one is higher; 0.00005 is nothing."""
    one = -np.arange(1.0, 9)
    values = {1: one, 7: one + [0.5, -0.5, 5e-5, -5e-5, -2e-4, 0, 0, 0]}
    test = claims._scenes(SEED, SIZES)[1]
    monkeypatch.setattr(
        step, "said", lambda model, features, beam=7: ([of[0] for of in test.sentences], values[beam])
    )  # fmt: skip
    found = claims.measure_beam(SEED, SIZES)
    assert (found["lower"], found["higher"]) == (2 / 8, 1 / 8)
    assert found["log"] == {"1": -4.5, "7": pytest.approx(values[7].mean())}


def test_at_full_size_every_model_has_its_own_epochs(claims, step, untrained, monkeypatch):
    """A trial run has one of each."""
    monkeypatch.setattr(claims, "SIZES", SIZES)
    claims._pipeline(SEED, SIZES)
    assert untrained[0][-1] is None, "those of the pipeline"
    for kind in ("first", "always", "lstm"):
        claims._generator(SEED, SIZES, kind)
    assert [how for *_, how in untrained[1:]] == [{"epochs": 40}, {"epochs": 20}, {"epochs": 40}]


def test_a_new_generator_begins_with_the_unigrams(claims, step):
    claims._true.cache_clear()
    found, words = claims.measure_perplexity(SEED, SIZES), claims._scenes(SEED, SIZES)[2]
    assert found["unigrams"] == step.unigram_perplexity(words)
    assert found["start"] == pytest.approx(found["unigrams"], rel=0.02) and found["zero"] == pytest.approx(25, abs=0.1)
    claims._true.cache_clear()


# --------------------------------------------------------------------------------------------------------- the verdicts


def judged(own=0.5, nearest=0.5):
    names = ("bleu 1", "bleu 2", "bleu 3", "bleu 4", "cider", "rouge", "meteor", "novel", "true")
    run = {who: dict.fromkeys(names, 0.5) for who in ("beam 1", "beam 7", "nearest", "fresh")} | {"perplexity": 2.0}
    run["beam 7"]["bleu 4"], run["nearest"]["bleu 4"] = own, nearest
    return run


@pytest.mark.parametrize(("own", "nearest", "holds"), [(0.5, 0.5, True), (0.501, 0.5, True), (0.499, 0.5, False)])
def test_sentences_are_not_below_the_nearest(claims, own, nearest, holds):
    runs = [judged(0.9, 0.1), judged(own, nearest)]
    found, text = claims.verdict_sentences(runs)
    assert found is holds and f"{own - nearest:+.3f}" in text
    assert claims.verdict_true_boxes(runs) == (None, text)


@pytest.mark.parametrize(("always", "holds"), [(0.5625, True), (0.5624, False), (0.5, False)])
def test_looking_always_is_five_points_above_the_nearest(claims, always, holds):
    part = {"bleu 4": 0.6, "perplexity": 2.0, "true": 0.5}
    good = {"first": part, "always": part, "nearest": 0.5125}
    assert claims.verdict_look([good, good | {"always": part | {"bleu 4": always}}])[0] is holds


@pytest.mark.parametrize(
    ("one", "seven", "lower", "holds"),
    [(-4.0, -3.9, 0.049, True), (-4.0, -3.9, 0.05, False), (-4.0, -4.0, 0.0, False), (-4.0, -4.1, 0.0, False)],
)
def test_a_beam_is_better_in_the_mean_and_seldom_worse(claims, one, seven, lower, holds):
    good = {"log": {"1": -5.0, "7": -4.0}, "known": {"1": 0.3, "7": 0.5}, "lower": 0.0, "higher": 0.5}
    run = copy.deepcopy(good) | {"log": {"1": one, "7": seven}, "lower": lower}
    assert claims.verdict_beam([good, run])[0] is holds


@pytest.mark.parametrize(("start", "holds"), [(10.09, True), (9.91, True), (10.11, False), (9.89, False)])
def test_perplexity_within_a_percent(claims, start, holds):
    good = {"start": 10.0, "unigrams": 10.0, "zero": 25.0}
    assert claims.verdict_perplexity([good, good | {"start": start}])[0] is holds


@pytest.mark.parametrize(
    ("own", "holds"), [((0.5, 0.3), True), ((0.4, 0.3), False), ((0.5, 0.2), False), ((0.3, 0.1), False)]
)
def test_regions_are_better_in_both_scores(claims, own, holds):
    def run(regions):
        entry = {"words": 3.0, "exact": 0.1}
        whole = entry | {"bleu 1": 0.4, "bleu 2": 0.2}
        return {
            "regions": entry | {"bleu 1": regions[0], "bleu 2": regions[1]}, "whole": whole, "nearest": dict(whole)
        }  # fmt: skip

    assert claims.verdict_regions([run((0.9, 0.9)), run(own)])[0] is holds


# ---------------------------------------------------------------------------------------------------------- as measured


def test_these_claims_are_among_the_lessons(claims):
    assert list(claims.CLAIMS) == CLAIMS
    assert set(CLAIMS) <= set(load(LESSON / "claims.py", "lesson_08_claims_all_sentences").CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_on_sentences_was_measured_and_the_readme_says_what_came_out(claims, name):
    check_claim(LESSON, claims, name)


def test_the_pipelines_claims_are_of_one_run():
    """One training for each seed: what is said of scenes and from pixels is the same sentence."""
    runs = json.loads((LESSON / "results.json").read_text("utf-8"))["claims"]
    for seed, run in runs["pipeline"]["runs"].items():
        assert run["scores"]["bleu 4"] == pytest.approx(runs["sentences"]["runs"][seed]["beam 7"]["bleu 4"], abs=1e-3)


@pytest.mark.slow
def test_every_claim_can_be_measured(claims):
    for one in (claims._pipeline, claims._generator, claims._true):
        one.cache_clear()
    for name, (measure, verdict) in claims.CLAIMS.items():
        holds, text = verdict([measure(0, (60, 8))] * 2)
        assert holds in (True, False, None) and text, name
