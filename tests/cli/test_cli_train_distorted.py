"""``tinyconv train --data rts`` and its like: distorted digits as data sets of the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tinyconv import data
from tinyconv.cli import recipes
from tinyconv.cli.main import main


@pytest.mark.parametrize(("name", "side"), [("r", 28), ("rts", 42), ("p", 28), ("e", 28), ("tc", 60)])
def test_distorted_digits_are_data_sets(name, side):
    source = recipes.open_data(name)
    assert (len(source.train), len(source.test), source.classes) == (5000, 5000, [str(d) for d in range(10)])
    assert source.train.fresh and not source.test.fresh and not source.mirror
    assert source.test[7][0].shape == (1, side, side) and source.test[7][1] == data.mnist("test")[7][1]
    colour = recipes.open_data(name, 3)
    np.testing.assert_array_equal(colour.test[7][0], np.repeat(source.test[7][0], 3, 0))


def test_distorted_digits_take_no_folder(capsys):
    assert main(["train", "lenet5", "--data", "rts", "--root", "x"]) == 2
    assert "--data rts has none" in capsys.readouterr().err


def test_a_network_learns_from_new_images_every_epoch(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder, rounds in (("whole", ["2"]), ("parts", ["1", "2"])):
        for n in rounds:
            resume = ["--resume"] if n != rounds[0] else []
            command = ["train", "lenet5", "--data", "r", "--smoke", "--epochs", n, "--out", folder, *resume]
            assert main(command) == 0
    assert "r, 64 training and 64 test images of 10 classes" in capsys.readouterr().out
    losses = [
        [json.loads(line)["train_loss"] for line in (tmp_path / folder / "train.jsonl").read_text().splitlines()]
        for folder in ("whole", "parts")
    ]
    assert len(losses[0]) == 2 and losses[0] == losses[1]  # the second epoch's draws come again after resuming
