"""The whole pipeline on a few scenes: every stage, what each is given, resuming, the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import models
from tinyconv.captioning import pipeline
from tinyconv.captioning.pipeline import train_captioner
from tinyconv.captioning.regions import Regions, detected_regions
from tinyconv.captioning.snippets import Snippets, snippets
from tinyconv.cli import train_captioner as command
from tinyconv.cli.main import main
from tinyconv.data import Normalize
from tinyconv.data.captioned_scenes import CaptionedScenes
from tinyconv.models.captioner import Captioner
from tinyconv.text import Vocabulary, pad

EPOCHS = {"detector": 1, "alignment": 1, "snippet": 1, "sentence": 1}
TRANSFORM = Normalize(0.5, 0.25)


@pytest.fixture(scope="module")
def scenes() -> CaptionedScenes:
    return CaptionedScenes(24)


def new(scenes: CaptionedScenes):
    vocabulary = Vocabulary.build([s for of in scenes.sentences for s in of], threshold=1)
    tinyconv.manual_seed(0)
    return models.captioner(vocabulary.words, hidden=16), vocabulary


def seen_by(model: Captioner, scenes: CaptionedScenes, top: int) -> Regions:
    """What the detector finds in images that are prepared as its training images were."""
    return detected_regions(model.detector, [TRANSFORM(image, None) for image in scenes.scenes.images], top)


def all_words(scenes: CaptionedScenes, vocabulary: Vocabulary, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The ids of all sentences, and which image each is of."""
    said = [(i, vocabulary.encode(sentence)) for i, of in enumerate(scenes.sentences) for sentence in of]
    return pad([ids for _, ids in said], limit), np.array([i for i, _ in said])


def equal(found, wanted) -> bool:
    return all(map(np.array_equal, found, wanted))


def test_every_stage_learns_from_the_one_before(scenes: CaptionedScenes, tmp_path: Path) -> None:
    model, vocabulary = new(scenes)
    lines: list[str] = []
    learnt = train_captioner(
        model, scenes, vocabulary, TRANSFORM, epochs=EPOCHS, out=tmp_path, say=lines.append, progress=False
    )
    assert [line[:3] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert {path.name for path in tmp_path.iterdir()} == set(EPOCHS) == set(learnt.histories)
    assert len(learnt.regions.counts) == len(learnt.features) == 24 and learnt.features.shape[1] == 460
    assert learnt.regions.counts.max() <= 6 and not model.training
    assert equal(learnt.regions, seen_by(model, scenes, 5))
    # Snippets are parts of the sentences of their image, and of regions that it has.
    cut = snippets(learnt.alignment, learnt.regions, *all_words(scenes, vocabulary, 20), beta=1.0)
    assert equal(learnt.snippets[:2], cut[:2]) and len(cut.words) > 0
    assert (learnt.snippets.region >= 1).all()
    for n, place, ids in zip(*learnt.snippets, strict=True):
        assert place < learnt.regions.counts[n]
        assert any(vocabulary.decode(ids) in sentence for sentence in scenes.sentences[n])
    # What the generator of whole scenes was told is what describe() tells it.
    image = TRANSFORM(scenes.scenes.images[5], None)
    told: list[np.ndarray] = []
    generate = model.sentence.generate
    model.sentence.generate = lambda features, *how: told.append(features) or generate(features, *how)
    model.describe(image)
    np.testing.assert_array_equal(told[0][0], learnt.features[5])


def test_what_every_stage_is_given(scenes: CaptionedScenes, monkeypatch, tmp_path: Path) -> None:
    model, vocabulary = new(scenes)
    calls: dict[str, tuple] = {}

    def stage(name: str, given: tuple, how: dict) -> str:
        calls[name] = (*given, how)
        return f"history of {name}"

    train_detector = pipeline.train_detector
    monkeypatch.setattr(
        pipeline, "train_detector",
        lambda *given, **how: stage("detector", given, how) and train_detector(*given, **how),
    )  # fmt: skip
    monkeypatch.setattr(pipeline, "train_alignment", lambda *given, **how: stage("alignment", given, how))
    monkeypatch.setattr(
        pipeline, "train_caption",
        lambda *given, **how: stage("snippet" if given[0] is model.snippet else "sentence", given, how),
    )  # fmt: skip
    monkeypatch.setattr(pipeline, "LIMIT", 6)
    epochs = {"detector": 1, "alignment": 2, "snippet": 3, "sentence": 4}
    learnt = train_captioner(
        model, scenes, vocabulary, TRANSFORM, epochs=epochs, top=2, beta=0.01, seed=5, out=tmp_path,
        say=lambda _: None, progress=False,
    )  # fmt: skip
    for name, passes in epochs.items():
        how = {key: value for key, value in calls[name][-1].items() if key != "batch_size"}
        assert how == {"epochs": passes, "seed": 5, "out": tmp_path / name, "progress": False}
    assert list(calls) == list(epochs) and learnt.histories["snippet"] == "history of snippet"

    # Regions are of prepared images, at most two and the whole.
    assert calls["detector"][0] is model.detector and equal(learnt.regions, seen_by(model, scenes, 2))
    assert learnt.regions.counts.max() == 3
    assert not equal(learnt.regions[1:2], detected_regions(model.detector, scenes.scenes.images, 2)[1:2])

    words, image_of = all_words(scenes, vocabulary, 6)
    matcher, pairs, _ = calls["alignment"]
    assert matcher is learnt.alignment and equal((pairs.words, pairs.image_of), (words, image_of))
    assert equal((pairs.features, pairs.counts), learnt.regions[1:])
    assert words.shape[1] == 6 and all_words(scenes, vocabulary, 20)[0].shape[1] > 6

    cut = snippets(matcher, learnt.regions, words, image_of, beta=0.01)
    assert equal(learnt.snippets[:2], cut[:2]) and equal(learnt.snippets.words, cut.words)
    assert len(cut.words) != len(snippets(matcher, learnt.regions, words, image_of, beta=1.0).words)
    speaker, pairs, spoken, _ = calls["snippet"]
    assert speaker is model.snippet and spoken.words == vocabulary.words
    np.testing.assert_array_equal(pairs.features[pairs.image_of], learnt.regions.features[cut.image, cut.region])
    np.testing.assert_array_equal(pairs.words, pad(cut.words, 6))
    said = [sum(int((ids == k).sum()) for ids in cut.words) for k in range(len(vocabulary))]
    assert 0 in said[1:] and spoken.counts == [len(cut.words), *(max(n, 1) for n in said[1:])]

    speaker, pairs, spoken, _ = calls["sentence"]
    assert speaker is model.sentence and spoken is vocabulary
    assert equal((pairs.features, pairs.words, pairs.image_of), (learnt.features, words, image_of))


@pytest.mark.parametrize("count", [0, 3])
def test_few_snippets_or_none_stop_nothing(scenes: CaptionedScenes, monkeypatch, tmp_path, count: int) -> None:
    """As when the detector has found next to nothing: fewer snippets than a batch has."""
    few = Snippets(np.zeros(count, int), np.zeros(count, int), [np.array([1, 2])] * count)
    monkeypatch.setattr(pipeline, "snippets", lambda *_: few)
    model, vocabulary = new(scenes)
    snippet, lines = model.snippet, []
    before = snippet.leave.weight.detach().numpy().copy()
    learnt = train_captioner(
        model, scenes, vocabulary, TRANSFORM, epochs=EPOCHS, say=lines.append, progress=False
    )  # fmt: skip
    assert ("snippet" in learnt.histories) is bool(count) and "sentence" in learnt.histories
    assert (before != snippet.leave.weight.detach().numpy()).any() == bool(count)
    # What nobody taught must not speak.
    assert model.config["arguments"]["snippets"] is bool(count)
    assert any(line.startswith("no word was given to a region") for line in lines) is not bool(count)
    tinyconv.save(tmp_path / "c.npz", model)
    assert (tinyconv.load(tmp_path / "c.npz").snippet is None) is not bool(count)


def test_an_interrupted_run_goes_on_with_the_same_bits(scenes: CaptionedScenes, tmp_path: Path) -> None:
    def run(folder: str, **how):
        model, vocabulary = new(scenes)
        train_captioner(
            model, scenes, vocabulary, TRANSFORM, epochs=EPOCHS, out=tmp_path / folder, say=lambda _: None,
            progress=False, **how,
        )  # fmt: skip
        return {name: p.detach().numpy() for name, p in model.named_parameters()}

    class StopHereError(Exception):
        pass

    def stop_at_the_last(line: str) -> None:
        if line.startswith("4/4"):
            raise StopHereError

    whole = run("whole")
    model, vocabulary = new(scenes)
    with pytest.raises(StopHereError):
        train_captioner(
            model, scenes, vocabulary, TRANSFORM, epochs=EPOCHS, out=tmp_path / "parts", say=stop_at_the_last,
            progress=False,
        )  # fmt: skip
    again = run("parts", resume=True)
    for name, value in whole.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


@pytest.mark.parametrize("there", [[], ["detector"], ["detector", "alignment"], list(EPOCHS)])
def test_a_stage_that_was_not_reached_has_nothing_to_resume(there: list, monkeypatch, tmp_path: Path) -> None:
    """Only of the first is it said that nothing is there: the folder may have been mistyped."""
    asked: dict[str, bool] = {}
    scenes = CaptionedScenes(3)

    def ask(*given, out: Path, resume: bool, **how) -> None:
        asked[out.name] = resume

    for name in ("train_detector", "train_alignment", "train_caption"):
        monkeypatch.setattr(pipeline, name, ask)
    one = Snippets(np.zeros(1, int), np.zeros(1, int), [np.array([1, 2])])
    monkeypatch.setattr(pipeline, "snippets", lambda *_: one)
    for name in there:
        (tmp_path / name).mkdir()
    model, vocabulary = new(scenes)
    train_captioner(model, scenes, vocabulary, TRANSFORM, out=tmp_path, resume=True, say=lambda _: None)
    assert asked == {name: name == "detector" or name in there for name in EPOCHS}
    asked.clear()
    train_captioner(model, scenes, vocabulary, TRANSFORM, out=tmp_path, resume=False, say=lambda _: None)
    assert asked == dict.fromkeys(EPOCHS, False)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_SMOKE", (24, 3))
    assert main(["train", "captioner", "--data", "scenes", "--smoke"]) == 0
    out = capsys.readouterr().out
    assert "data:  24 training and 3 test scenes, " in out and "1/4 detector" in out and "4/4 sentences" in out
    file = Path("tinyconv-output/train/captioner-scenes-smoke/checkpoint.npz")
    assert f"wrote {file}" in out and "BLEU-4" in out and f"next: tinyconv caption IMAGE --weights {file}" in out
    assert out.count("  said: ") == 3
    model = tinyconv.load(file)
    assert model.meta["classes"] == [str(k) for k in range(10)] and model.meta["transform"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["captioner", "--data", "mnist"], "captioner learns from scenes, which come with sentences, got --data mnist"),
        (["captioner", "--data", "pics/"], "; for sentences of your own see tinyconv.data.read_karpathy and tinyconv."),
        (["captioner", "--data", "scenes", "--lr", "0.1"], "--lr is not for captioner"),
        (["captioner", "--data", "scenes", "--batch-size", "9"], "--batch-size is not for captioner"),
        (["captioner", "--data", "scenes", "--root", "x"], "--root is not for captioner"),
        (["captioner", "--data", "scenes", "--scale", "paper"], "leave out --scale"),
        (["caption", "--data", "scenes"], "caption learns from features of images, not from pictures"),
        (["alignment", "--data", "scenes"], "tinyconv.captioning.train_alignment one of them"),
    ],
)
def test_what_the_command_refuses(arguments: list[str], message: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
