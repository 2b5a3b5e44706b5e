"""Lesson 08, steps 1 to 3, and the README: what is by hand is the library's, numbers are true."""

from __future__ import annotations

import json
import re
from math import exp, log

import numpy as np
import pytest
from _claims import check_claim
from _exercises import LESSONS, load
from _steps import check_step, imported, run_in_full, run_step, script_of

import tinyconv
from tinyconv import models
from tinyconv.captioning.pipeline import TOP
from tinyconv.captioning.training import BATCH_SIZE, LARGEST
from tinyconv.data.scenes import Scenes
from tinyconv.data.sentences import words
from tinyconv.lesson import read_header, steps_of
from tinyconv.models.alignment import alignment, ranking_loss
from tinyconv.text import Vocabulary
from tinyconv_kernels import reference

LESSON = LESSONS / "08_captioning"


@pytest.mark.parametrize("step", steps_of(LESSON), ids=lambda step: step.stem)
def test_a_step_says_what_it_needs_and_names_the_next(step):
    check_step(step)


def test_the_readme_says_how_long_steps_take():
    text = (LESSON / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| \[(step\w+\.py)\]\(.*\) \| (\d+) \|", text, re.MULTILINE)
    said = {name: float(minutes) for name, minutes in rows}
    assert said == {step.name: read_header(step).minutes for step in steps_of(LESSON)}


def test_there_are_ten_steps():
    assert [int(re.match(r"step(\d+)_", step.name).group(1)) for step in steps_of(LESSON)] == list(range(1, 11))


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_step_runs(ran, number):
    assert "next: " in ran(number)[1]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A step by its number: imported as with --smoke, and what it prints as a program; both once."""
    folder, found = tmp_path_factory.mktemp("lesson08"), {}

    def of(number: int):
        if number not in found:
            script = script_of(LESSON, number)
            found[number] = imported(script, folder)[0], run_step(script, folder)
        return found[number]

    return of


@pytest.fixture(scope="module")
def scenes08():
    return load(LESSON / "scenes08.py", "lesson_08_scenes")


# -------------------------------------------------------------------------------------------------------------- step 1


@pytest.mark.slow
def test_words_are_counted_as_by_the_library(ran):
    step, text = ran(1)
    texts = ["It's a dog.", "a DOG, a cat!", "The cat"]
    for threshold in (1, 2, 3):
        wanted = Vocabulary.build(texts, threshold)
        assert step.build(texts, threshold) == (wanted.words, wanted.counts)
    assert "by hand and the library's: True" in text and ": False" not in text


@pytest.mark.slow
def test_perplexities_are_those_of_their_models(ran):
    """A fair die has that of its sides; unigrams and bigrams are counted once more, word by word."""
    step, text = ran(1)
    assert step.perplexity(np.log(np.full(5, 1 / 6))) == pytest.approx(6)
    vocabulary, logs, pairs = step.vocabulary, [], []
    table, total = {}, sum(step.vocabulary.counts)
    for line in step.spoken:
        ids = [0, *vocabulary.encode(line), 0]
        for a, b in zip(ids, ids[1:], strict=False):
            table[a, b] = table.get((a, b), 0) + 1
    for line in step.unseen:
        ids = [0, *vocabulary.encode(line), 0]
        for a, b in zip(ids, ids[1:], strict=False):
            logs.append(log(vocabulary.counts[b] / total))
            behind = sum(n for (first, _), n in table.items() if first == a) + 0.1 * len(vocabulary)
            pairs.append(log((table.get((a, b), 0) + 0.1) / behind))
    said = dict(re.findall(r"^  (\S.*\S) +([\d.]+)$", text, re.MULTILINE))
    assert float(said["all words alike"]) == len(vocabulary)
    assert float(said["unigrams"]) == pytest.approx(exp(-sum(logs) / len(logs)), abs=0.0051)
    assert float(said["bigrams"]) == pytest.approx(exp(-sum(pairs) / len(pairs)), abs=0.0051)
    assert float(said["who knows scene and grammar"]) < float(said["bigrams"]) < float(said["unigrams"])


@pytest.mark.slow
def test_the_grammar_gives_its_own_sentences_their_odds(ran):
    step, _ = ran(1)
    found = step.by_grammar(2)
    drawn = Scenes(2, seed=0, split="test", items=("mnist",), objects=(2, 3), background="textured")
    np.testing.assert_array_equal(drawn[1].image, step.test.scenes.images[1])
    assert len(found) == sum(map(len, step.test.sentences[:2])) and max(found) < 0
    odds = step.sentences(drawn[0])
    assert sum(odds.values()) * exp(found[0]) == pytest.approx(odds[step.test.sentences[0][0]])


# -------------------------------------------------------------------------------------------------------------- step 2


@pytest.mark.slow
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_recurrence_by_hand_is_the_definition(ran, reverse, relu):
    step, _ = ran(2)
    rng = np.random.default_rng(0)
    (x, dy), weight, h0 = rng.standard_normal((2, 3, 5, 4)), rng.standard_normal((4, 4)), rng.standard_normal((3, 4))
    found = {}
    for name, way in (("ours", step), ("theirs", None)):
        kernels = (way.forward, way.backward) if way else (
            reference.recurrent.rnn_forward, reference.recurrent.rnn_backward)  # fmt: skip
        y, dx, dh0 = np.full_like(x, np.nan), np.full_like(x, np.nan), np.full_like(h0, np.nan)
        kernels[0](x, weight, h0, np.array([5, 0, 2]), reverse, relu, y)
        kernels[1](dy, y, weight, np.array([5, 0, 2]), reverse, relu, dx, dh0)
        found[name] = y, dx, dh0
    for ours, theirs in zip(*found.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.slow
def test_the_gradient_check_passes_the_loops_and_catches_the_slips(ran):
    _, text = ran(2)
    checks = re.findall(r"^gradient check, (.*): (passes|caught)$", text, re.MULTILINE)
    assert checks == [("as above", "passes"), ("only from above", "caught"), ("back by W", "caught")]


@pytest.mark.slow
def test_padding_is_read_only_if_nobody_says_where_a_sentence_ends(ran):
    """The short sample alone, by hand: from its second word down to its first."""
    step, text = ran(2)
    x, weight = np.random.default_rng(4).standard_normal((2, 6, 4)), 0.5 * np.eye(4)
    second = np.maximum(x[1, 1], 0)
    first = np.maximum(x[1, 0] + 0.5 * second, 0)
    np.testing.assert_allclose(step.from_behind(x, weight, [6, 2])[1], [first, second, *np.zeros((4, 4))])
    told, blind = (np.array(row.split(), float) for row in re.findall(r"first state of sample 1 \[(.*)\]", text))
    assert np.abs(blind - told).max() > 0.5


@pytest.mark.slow
def test_gradients_vanish_and_explode_as_said(ran):
    """Norms through one matrix of known length: a scale of the orthogonal one to the power of the steps, without f."""
    step, text = ran(2)
    never = lambda dy, y, *rest: reference.recurrent.rnn_backward(dy, np.ones_like(y), *rest)  # noqa: E731
    norms = step.on_the_way(never, True, 0.5, np.random.default_rng(1), steps=6)
    np.testing.assert_allclose(norms, 0.5 ** np.arange(7), rtol=1e-9)
    rows = re.findall(r"^(tanh|ReLU), weight ([\d.]+) x .*, 30 steps back (\S+)$", text, re.MULTILINE)
    far = {(name, float(scale)): float(norm) for name, scale, norm in rows}
    assert len(far) == 8
    assert max(far["tanh", 0.5], far["ReLU", 0.5], far["ReLU", 1.0]) < 1e-3
    assert min(far["tanh", 2.0], far["ReLU", 2.0]) > 100
    assert 0.1 < far["tanh", 1.0] < 10 and 0.1 < far["ReLU", 1.41] < 10


@pytest.mark.slow
def test_a_limit_saves_the_unit(ran):
    """Without one the first step is 0.001 * 60 w^59 - ..., by hand; w then is negative and its ReLU off for ever."""
    step, _ = ran(2)
    free, limited = step.one_unit(None, 3), step.one_unit(5.0, 200)
    slope = 2 * (1.2**30 - 1) * 30 * 1.2**29
    assert free[1] == pytest.approx(1.2 - 0.001 * slope, rel=1e-4) and free[1] == free[2] == free[3]
    assert limited[1] == pytest.approx(1.2 - 0.001 * 5) and limited[-1] == pytest.approx(1, abs=0.01)


# -------------------------------------------------------------------------------------------------------------- step 3


@pytest.mark.slow
def test_words_and_scores_by_hand_are_the_librarys(ran):
    step, text = ran(3)
    assert text.count(": True") == 4 and ": False" not in text
    shares = [float(v) for v in re.findall(r"([\d.]+) %", text.split("changes by:")[1].splitlines()[0])]
    assert len(shares) == 8 and shares == sorted(shares) and shares[0] > 0, "nearer words change more, all change"
    model = alignment(9, scale="lesson", dtype=np.float64).eval()
    p = {name: value.numpy() for name, value in model.state_dict().items()}
    ids = np.array([3, 1, 4, 1, 5])
    with tinyconv.no_grad():
        wanted = model.embed_words(ids[None]).numpy()[0]
    np.testing.assert_allclose(step.brnn(p["word.weight"][ids], p), wanted, atol=1e-12)


@pytest.mark.slow
def test_who_learns(ran):
    step, text = ran(3)
    assert "max    S = 8.0, gradient at the products [[1, 0], [0, 1], [1, 0], [0, 1]]" in text
    assert "DeFrag S = 8.9, gradient at the products [[1, 0], [1, 1], [1, 0], [0, 1]]" in text
    rng = np.random.default_rng(2)
    v, s = rng.standard_normal((1, 4, 3)), rng.standard_normal((1, 5, 3))
    for score, kind in ((step.best, "max"), (step.defrag, "defrag")):
        model = alignment(9, scale="lesson", score=kind, dtype=np.float64)
        regions = tinyconv.tensor(v, requires_grad=True)
        total = model.compare(regions, np.array([4]), tinyconv.tensor(s), np.array([5]))
        total.sum().backward()
        ours, gradient = score(s[0] @ v[0].T)
        assert ours == pytest.approx(total.item())
        np.testing.assert_allclose(gradient.T @ s[0], regions.grad.numpy()[0], atol=1e-12)


@pytest.mark.slow
def test_the_loss_by_hand_is_the_librarys(ran):
    """The example is 0 + .5 + 0 + 4 for the rows and 2 + 0 + 2.5 for the columns; equal scores give 2 B (B - 1)."""
    step, text = ran(3)
    assert "C of [[3.0, 1.0, 2.5], [0.0, 2.0, 0.0], [4.0, 0.0, 1.0]]: 9.0," in text
    assert "B = 2: C = 4, B = 10: C = 180, B = 100: C = 19800" in text
    scores = tinyconv.tensor(np.random.default_rng(3).standard_normal((6, 6)), requires_grad=True)
    theirs = ranking_loss(scores, reduction="sum")
    theirs.backward()
    loss, gradient = step.ranking(scores.detach().numpy())
    assert loss == pytest.approx(theirs.item())
    np.testing.assert_allclose(gradient, scores.grad.numpy(), atol=1e-12)


# ---------------------------------------------------------------------------------------------------------- the README


@pytest.fixture(scope="module")
def readme():
    return (LESSON / "README.md").read_text("utf-8")


def cells(readme, first):
    """Return the cells of a table's row after its first one."""
    line = next(line for line in readme.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_the_readmes_networks_are_the_librarys(readme, scenes08):
    """Sizes of the paper's and the lesson's models, in this order, are among the numbers of their cells."""
    paper, small = (
        {b.__name__: b(scale=s, device="meta").config["arguments"] for b in (models.alignment, models.caption)}
        for s in ("paper", "lesson")
    )
    vectors, h, hidden = cells(readme, "vectors of words"), cells(readme, "v_i, s_t"), cells(
        readme, "hidden units of the BRNN, of the generator")  # fmt: skip
    assert vectors[0].startswith(f"{paper['alignment']['vectors']},")
    assert vectors[1].startswith(f"{small['alignment']['vectors']},")
    assert h[0].startswith(f"{paper['alignment']['embedding']:,} to") and h[1] == str(small["alignment"]["embedding"])
    assert hidden[0].endswith(f", {paper['caption']['hidden']}") and hidden[0].startswith("300 to 600")
    assert hidden[1] == f"{small['alignment']['hidden']}, {small['caption']['hidden']}"
    features = cells(readme, "features of a region")
    assert features[0].startswith(f"{paper['alignment']['features']:,}, ")
    assert features[1].startswith(f"{small['alignment']['features']}, ")
    assert cells(readme, "words")[1] == str(len(words()))
    assert f"best {scenes08.TOP} of Faster R-CNN" in cells(readme, "boxes of a picture")[1] and scenes08.TOP == TOP
    assert f"{scenes08.TRAIN:,} and {scenes08.TEST}" in cells(readme, "pictures")[1]
    assert cells(readme, "steps")[1].endswith(f"batches of {BATCH_SIZE}")
    assert cells(readme, "gradients limited to")[0] == f"+-{LARGEST:g} each"


def test_the_readmes_table_of_the_paper_rises_with_k_and_falls_with_n(readme):
    """R@1 < R@5 < R@10 in every cell, and BLEU-1 >= ... >= BLEU-4 in every row: no number stands in a wrong place."""
    part = readme.split("## The paper's results")[1].split("## Claims")[0]
    rows = [row.strip("| ").split(" | ") for row in part.splitlines() if row.startswith("| ") and "---" not in row]
    recalls = [[float(v) for v in cell.split(",")] for row in rows for cell in row[1:3] if cell.count(",") == 3]
    assert len(recalls) == 12
    assert all(one < five < ten <= 100 and median >= 1 for one, five, ten, median in recalls)
    scores = [[float(v) for v in row[1:5]] for row in rows if len(row) >= 5 and "BLEU-2" not in row]
    assert len(scores) == 8
    assert all(row == sorted(row, reverse=True) for row in scores)


@pytest.mark.slow
def test_the_readmes_small_networks_are_what_steps_print(readme, tmp_path):
    """Steps 1 to 3 in full. Times are not compared; gradients to 10 %, since the README rounds them."""
    one, two, three = (run_in_full(script_of(LESSON, number), tmp_path) for number in (1, 2, 3))

    def row(start):
        line = next(line for line in readme.splitlines() if line.startswith(f"| {start}"))
        cell = line.strip("| ").split(" | ")[-1].replace(", ", "; ")
        return [float(v.replace(",", "")) for v in re.findall(r"-?\d[\d,]*\.?\d*(?:e-\d+)?", cell)]

    def found(pattern, text):
        return [float(v) for v in re.findall(pattern, text, re.MULTILINE)]

    assert row("1 | perplexity") == found(r"^  [a-z].*[a-z] +([\d.]+)$", one)
    assert row("2 | a gradient") == pytest.approx(found(r"^tanh, .* 30 steps back (\S+)$", two), rel=0.1)
    assert row("2 | the same, ReLU") == pytest.approx(found(r"^ReLU, .* 30 steps back (\S+)$", two), rel=0.25)
    first = found(r"^one unit, limit None: w 1.20, (-[\d.]+),", two) + found(r"^one unit, limit 5.0: .* (\S+)$", two)
    assert row("2 | one ReLU unit") == pytest.approx(first, abs=0.5)
    assert row('3 | "six"') == found(r"([\d.]+) %", three.split("changes by")[1])[4:8]


# ---------------------------------------------------------------------------------------------------------- the claims


def test_the_readme_says_what_came_out():
    claims = load(LESSON / "claims.py", "lesson_08_claims_of_the_readme")
    measured = json.loads((LESSON / "results.json").read_text("utf-8"))["claims"]
    assert set(measured) == set(claims.CLAIMS)
    for name in claims.CLAIMS:
        check_claim(LESSON, claims, name)


def test_nothing_is_left_to_be_filled_in(readme):
    assert "<!--" not in readme and "TODO" not in readme
    for heading in re.split(r"^## ", readme, flags=re.MULTILINE)[1:]:
        title, _, text = heading.partition("\n")
        assert text.strip(), f"{title} is empty"
    for figure in re.findall(r"\]\((figures/[\w.-]+)\)", readme.replace("\n", " ")):
        assert (LESSON / figure).is_file(), figure
