"""``tinyconv train captioner``: what its options do; the run itself is tested in tests/captioning/test_pipeline.py."""

from pathlib import Path

import numpy as np
import pytest

import tinyconv
from tinyconv import models
from tinyconv.captioning import pipeline
from tinyconv.cli import train_captioner as command
from tinyconv.cli.main import main
from tinyconv.data.captioned_scenes import CaptionedScenes
from tinyconv.models.captioner import Captioner
from tinyconv.text import Vocabulary


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Return what the pipeline is called with, as (arguments, options); it learns nothing."""
    found = []
    monkeypatch.chdir(tmp_path)
    for name, sizes in (("_SCENES", (30, 2)), ("_SMOKE", (20, 2))):
        monkeypatch.setattr(command, name, sizes)
    monkeypatch.setattr(pipeline, "train_captioner", lambda *given, **how: found.append((given, how)))
    return found


def new_weights(words, seed):
    tinyconv.manual_seed(seed)
    return models.captioner(words, 10).sentence.enter.weight.detach().numpy()


def test_options_are_handed_on(calls, capsys):
    arguments = ["train", "captioner", "--data", "scenes", "--epochs", "7", "--seed", "3", "--out", "here", "--resume"]
    assert main(arguments) == 0
    ((model, train, vocabulary, transform), how) = calls[0]
    assert how["epochs"] == pipeline.EPOCHS | {"sentence": 7} and how["seed"] == 3
    assert how["out"] == Path("here") and how["resume"] is True
    assert all(part in how["resume_command"] for part in ("train captioner", "--epochs 7", "--seed 3", "--out here"))
    assert train.sentences == CaptionedScenes(30, seed=3).sentences != CaptionedScenes(30).sentences
    said = [sentence for of in train.sentences for sentence in of]
    assert vocabulary.words == Vocabulary.build(said, threshold=5).words
    np.testing.assert_array_equal(model.sentence.enter.weight.detach().numpy(), new_weights(vocabulary.words, 3))
    np.testing.assert_allclose(transform(np.full((3, 4, 4), 0.75, np.float32), None), 1.0)
    out = capsys.readouterr().out
    assert "sentence 7; seed 3" in out and "data:  30 training and 2 test scenes" in out
    truths = [of[0] for of in CaptionedScenes(2, seed=3, split="test").sentences]
    assert [line.rpartition("true: ")[2] for line in out.splitlines() if line.startswith("  said: ")] == truths
    assert Path("here/checkpoint.npz").is_file()


def test_a_sentence_without_words_is_said_to_be_one(calls, capsys, monkeypatch):
    describe = Captioner.describe
    monkeypatch.setattr(Captioner, "describe", lambda *given, **how: describe(*given, **how)._replace(sentence=""))
    assert main(["train", "captioner", "--data", "scenes", "--smoke"]) == 0
    assert capsys.readouterr().out.count("  said: (no word)   true: a") == 2


def test_the_help_says_what_it_learns_from(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "captioner: scenes" in said and "captioner from scenes and sentences about them" in said


def test_what_is_usual(calls, capsys):
    assert main(["train", "captioner", "--data", "scenes"]) == 0
    how = calls[0][1]
    assert how["epochs"] == pipeline.EPOCHS and how["seed"] == 0 and how["resume"] is False
    assert how["out"] == Path("tinyconv-output/train/captioner-scenes")
    assert main(["train", "captioner", "--data", "scenes", "--smoke"]) == 0
    (_, train, vocabulary, _), how = calls[1]
    assert how["epochs"] == dict.fromkeys(pipeline.EPOCHS, 1) and len(train) == 20
    assert how["out"] == Path("tinyconv-output/train/captioner-scenes-smoke")
    assert set(vocabulary.words[1:]) == {word for of in train.sentences for said in of for word in said.split()}
