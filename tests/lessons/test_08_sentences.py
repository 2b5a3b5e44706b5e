"""Lesson 08, steps 7 to 10: what is by hand is the library's, and what they leave can be used."""

from __future__ import annotations

import re
import types

import numpy as np
import pytest
from _exercises import LESSONS, load
from _steps import check_step, run_in_full, run_step

import tinyconv
from tinyconv import models
from tinyconv.cli.main import main
from tinyconv.text import bleu, cider_d, rouge_l

LESSON = LESSONS / "08_captioning"
NUMBERS = [7, 8, 9, 10]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What a step prints with --smoke, and the folder of its output; each runs once."""
    folder, found = tmp_path_factory.mktemp("lesson08"), {}

    def of(number: int):
        if number not in found:
            (script,) = LESSON.glob(f"step{number}_*.py")
            found[number] = run_step(script, folder), folder / "tinyconv-output" / "08" / "smoke"
        return found[number]

    return of


@pytest.fixture
def step(monkeypatch, tmp_path):
    """A step as a module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(LESSON))

    def of(number: int):
        (script,) = LESSON.glob(f"step{number}_*.py")
        return load(script, f"lesson_08_{script.stem}_imported")

    return of


@pytest.mark.parametrize("number", NUMBERS)
def test_a_step_says_what_it_needs(number):
    (script,) = LESSON.glob(f"step{number}_*.py")
    check_step(script)


@pytest.mark.slow
def test_the_generator_by_hand_is_the_librarys(ran):
    text, folder = ran(7)
    hand, theirs = map(float, re.search(r"by hand ([\d.]+), the library's ([\d.]+)", text).groups())
    assert hand == pytest.approx(theirs, abs=2e-5)
    start, unigrams = map(float, re.search(r"frequencies ([\d.]+); the unigrams' ([\d.]+)", text).groups())
    assert start == pytest.approx(unigrams, rel=0.01) and "a new network 25.0" in text
    assert all((folder / f"{name}.png").is_file() for name in ("beam-1", "beam-7", "perplexity", "spoken"))


def test_a_sentences_cost_by_hand_is_its_log_probability(step):
    """With opinions, not with new weights: the steps after the first count."""
    seven = step(7)
    tinyconv.manual_seed(5)
    model = models.caption("<end> a three is left of seven".split(), features=6, scale="lesson").eval()
    model.leave.weight.data[...] *= 50
    scene = np.random.default_rng(0).standard_normal(6).astype(np.float32)
    for words in ([], [2], [1, 2, 3, 4, 5, 1, 6]):
        wanted = -model.log_probability(scene[None], np.array(words, int)[None])[0]
        assert seven.by_hand(model, scene, words) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
def test_the_scores_are_the_specifications(ran):
    text, _ = ran(8)
    assert "right runs 7/7, 5/6, 3/5, 1/4" in text
    assert text.count("[1.0, 0.912871, 0.793701, 0.594604]") == 2
    assert "'the' seven times: 2 of 7 count as right; 'the cat', too short: BLEU-1 0.135335 = e^-2" in text
    (hand, theirs) = re.search(r"ROUGE-L against the first: ([\d.]+), library ([\d.]+)", text).groups()
    assert hand == theirs
    assert "a copy of the only reference: 10.00 of 10" in text


@pytest.mark.slow
def test_spoilt_sentences_score_as_the_readme_says(tmp_path):
    """Nothing is trained in step 8: all its numbers are exact."""
    printed = run_in_full(LESSON / "step8_metrics.py", tmp_path, timeout=300)
    found = re.findall(r"^(true|places swapped|another scene's) +(\d+)%.{8}(.{8})(.{9})(.{9})(.{16})$", printed, re.M)
    rows = [line for line in (LESSON / "README.md").read_text("utf-8").splitlines() if line.startswith("| 8 |")]
    assert len(found) == len(rows) == 3
    for (_, true, *numbers), row in zip(found, rows, strict=True):
        assert row.endswith(f"| {', '.join(number.strip() for number in numbers)} |")
        assert "true" not in row or "200 fresh" in row or f"true {true} %" in row


def test_scores_by_hand_are_the_librarys(step):
    eight, rng = step(8), np.random.default_rng(0)
    draw = lambda: rng.choice(list("abcd"), rng.integers(4, 9)).tolist()  # noqa: E731
    for _ in range(20):
        said, truths = draw(), [draw() for _ in range(3)]
        assert eight.bleu_by_hand(said, truths) == pytest.approx(bleu([said], [truths]).scores.tolist())
        assert eight.rouge_by_hand(said, truths[0]) == pytest.approx(rouge_l([said], [truths[:1]]).mean)


def test_weights_of_runs_are_cider_ds(step):
    """A sentence of one word against references of one word: a cosine of 1 if the word weighs anything."""
    eight, references = step(8), [[["a"], ["b"]], [["a"]], [["c"], ["c"]]]
    assert [eight.weight((word,), references) for word in "abcx"] == pytest.approx(np.log([1.5, 3, 3, 3]))
    assert cider_d([["b"]] * 3, references).each[0] == pytest.approx(10 / 4 / 2)


@pytest.mark.slow
def test_step_9_leaves_a_captioner_for_the_command(ran, tmp_path, monkeypatch, capsys):
    text, folder = ran(9)
    model = tinyconv.load(folder / "model.npz")
    assert model.config["builder"] == "captioner" and model.meta["classes"] == list("0123456789")
    assert len(re.findall(r"^  scene +\d+  ", text, re.MULTILINE)) >= 10
    monkeypatch.chdir(tmp_path)
    assert main(["caption", str(folder / "scene.png"), "--weights", str(folder / "model.npz")]) == 0
    assert "log" not in capsys.readouterr().err


@pytest.mark.slow
def test_step_10s_sizes_are_the_papers(ran):
    text, _ = ran(10)
    for name, v in (("Flickr8k", 2538), ("Flickr30k", 7414), ("COCO", 8791)):
        generator = 4096 * 512 + 256 * v + 256 * 512 + 512 * 512 + 512 + 512 * v + v
        assert re.search(rf"{name} +{v:,} words: generator +{generator:,} parameters", text)
    assert "4,442,602" in (LESSON / "README.md").read_text("utf-8")
    assert text.count(", 242 sentences)") == 3, "three files of the same sentences"


def test_step_10_says_which_claims_are_not_measured_yet(step, monkeypatch, tmp_path, capsys):
    ten = step(10)
    (tmp_path / "results.json").write_text('{"claims": {"beam": {"measured": "so much"}}}', "utf-8")
    monkeypatch.setattr(ten, "lesson", types.SimpleNamespace(script=tmp_path / "step10_at_scale.py"))
    ten.beside()
    out = capsys.readouterr().out
    assert "beam\n" in out and "  here   so much\n" in out
    assert out.count("  here   not measured yet: make claims LESSON=08\n") == len(ten.PAPER) - 1 == 3
