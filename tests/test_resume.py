"""A killed, interrupted or stopped run that is resumed ends as one that was never disturbed, bit by bit."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tinyconv
from tinyconv import data, fit, optim
from tinyconv.checkpoint import Checkpoint
from tinyconv.history import History
from training_tools import assert_same, blobs, run_script, small, weights


def comparable(path):
    """Return a checkpoint's arrays, and its record without the times."""
    checkpoint = Checkpoint.read(path)
    meta = checkpoint.meta
    meta["training"].pop("seconds")
    for row in meta["training"]["history"]:
        row.pop("seconds")
    return checkpoint.arrays, meta


def test_killed_and_resumed_run_ends_bit_identical(tmp_path):
    """SIGKILL within an epoch, Ctrl-C, SIGTERM at an epoch's end, SIGKILL while saving: nothing is lost or changed."""
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    done = run_script("--out", whole)
    assert done.returncode == 0, done.stderr

    ends = [("SIGKILL:13", -9), ("SIGINT:28", 130), ("SIGTERM:46", 130), ("SAVING:53", -9)]
    for death, code in ends:
        ended = run_script("--out", pieces, "--die", death, *["--resume"] * (death != ends[0][0]))
        assert ended.returncode == code, ended.stdout + ended.stderr
        if code == 130:
            name, step = death.split(":")
            at = f"in epoch 2 after training step {step}"
            assert f"stopped by {name} {at}; saved as {pieces}/checkpoint.npz" in ended.stdout
            assert f'resume with: the same program, with fit(..., resume="{pieces}/checkpoint.npz")' in ended.stdout
            assert "Traceback" not in ended.stderr
    assert run_script("--out", pieces, "--resume").returncode == 0

    arrays, meta = comparable(whole / "checkpoint.npz")
    found_arrays, found_meta = comparable(pieces / "checkpoint.npz")
    assert_same(arrays, found_arrays)
    assert any(key.startswith("optim/") for key in arrays)
    assert meta == found_meta and meta["epoch"] == 3

    logs = [[json.loads(line) for line in (d / "train.jsonl").read_text().splitlines()] for d in (whole, pieces)]
    for row in logs[0] + logs[1]:
        row.pop("seconds")
    assert logs[0] == logs[1]  # no line twice, none lost


def test_resume_of_a_finished_run_trains_no_further_but_can_be_prolonged(tmp_path):
    model, optimizer, loader = small(dropout=0.5)
    whole = fit(model, loader, optimizer=optimizer, epochs=4, progress=False)
    model2, optimizer2, loader2 = small(dropout=0.5)
    fit(model2, loader2, optimizer=optimizer2, epochs=2, out=tmp_path, progress=False)
    for epochs, expected in ((2, 2), (4, 4)):
        model3, optimizer3, loader3 = small(seed=1, dropout=0.5)
        history = fit(
            model3, loader3, optimizer=optimizer3, epochs=epochs, out=tmp_path, resume=True, progress=False, seed=0
        )
        assert len(history) == expected
    assert_same(weights(model3), weights(model))
    assert history["train_loss"] == whole["train_loss"]


def test_stopped_in_an_epoch_by_a_callback_and_resumed(tmp_path):
    model, optimizer, loader = small(dropout=0.5)
    fit(model, loader, optimizer=optimizer, epochs=2, progress=False)

    class Stop:
        def on_step(self, state):
            state.stop = state.step == 4

    found, optimizer, loader = small(dropout=0.5)
    history = fit(found, loader, optimizer=optimizer, epochs=2, callbacks=[Stop()], out=tmp_path, progress=False)
    assert len(history) == 1
    found, optimizer, loader = small(dropout=0.5)
    fit(found, loader, optimizer=optimizer, epochs=2, out=tmp_path, resume=True, progress=False)
    assert_same(weights(found), weights(model))


def test_dropout_depends_on_the_seed_alone_and_not_on_earlier_draws():
    results = []
    for seed, draws in ((0, 0), (0, 3), (1, 0)):
        model, optimizer, loader = small(dropout=0.5)
        tinyconv.randn(draws)
        fit(model, loader, optimizer=optimizer, epochs=1, seed=seed, progress=False)
        results.append(weights(model)["1.weight"])
    assert np.array_equal(results[0], results[1]) and not np.array_equal(results[0], results[2])


def test_resume_refuses_another_run_and_touches_nothing(tmp_path):
    model, optimizer, loader = small()
    fit(model, loader, optimizer=optimizer, epochs=1, out=tmp_path, progress=False)
    before = (tmp_path / "checkpoint.npz").read_bytes()

    def refused(match, loader=loader, make=optim.SGD, **more):
        model, _, _ = small(seed=2)
        kept = weights(model)
        with pytest.raises(ValueError, match=match):
            fit(model, loader, optimizer=make(model.parameters(), 0.2), epochs=2, out=tmp_path, progress=False, **more)
        assert_same(kept, weights(model))
        assert (tmp_path / "checkpoint.npz").read_bytes() == before

    refused("seed: now 5, in the file 0", resume=True, seed=5)
    tens = data.DataLoader(blobs(), 10, shuffle=True)
    refused("batch_size: now 10, in the file 20", resume=True, seed=0, loader=tens)
    refused("optimizer: now 'RMSprop', in the file 'SGD'", resume=True, seed=0, make=optim.RMSprop)
    tinyconv.save(tmp_path / "model.npz", model)
    refused("with a model only", resume=tmp_path / "model.npz")
    with pytest.raises(FileNotFoundError, match="no checkpoint .*nowhere.npz"):
        fit(model, loader, optimizer=optimizer, epochs=2, resume=tmp_path / "nowhere.npz")


def test_a_run_resumed_into_another_folder_keeps_what_was_there_and_logs_all_its_epochs(tmp_path):
    first, other = tmp_path / "first", tmp_path / "other"
    for folder, epochs in ((first, 2), (other, 3)):
        model, optimizer, loader = small()
        fit(model, loader, optimizer=optimizer, epochs=epochs, out=folder, progress=False, log_every=3)
    before = (other / "checkpoint.npz").read_bytes()
    model, optimizer, loader = small()
    history = fit(
        model, loader, optimizer=optimizer, epochs=4, out=other, resume=first / "checkpoint.npz", progress=False
    )
    assert len(history) == 4 and History.read(other / "train.jsonl").rows == history.rows
    assert (other / "checkpoint.previous.npz").read_bytes() == before
    assert Checkpoint.read(first / "checkpoint.npz").meta["epoch"] == 2  # untouched

    model, optimizer, loader = small()  # back to the run that was put aside
    previous = other / "checkpoint.previous.npz"
    fit(model, loader, optimizer=optimizer, epochs=3, out=other, resume=previous, progress=False)
    assert previous.read_bytes() == before
    assert Checkpoint.read(other / "checkpoint.abandoned.npz").meta["epoch"] == 4


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("second", range(4))
def test_resume_refuses_another_schedule(first, second, tmp_path):
    def arguments(model, optimizer, i):
        """Return a schedule, and after what it steps."""
        schedules = (None, optim.StepLR(optimizer, 1), optim.ReduceLROnPlateau(optimizer), optim.StepLR(optimizer, 1))
        return {"optimizer": optimizer, "schedule": schedules[i], "schedule_per": "step" if i == 3 else "epoch"}

    model, optimizer, loader = small()
    fit(model, loader, epochs=1, out=tmp_path, progress=False, **arguments(model, optimizer, first))
    model, optimizer, loader = small(seed=2)
    before = weights(model)
    again = arguments(model, optimizer, second)
    if first == second:
        fit(model, loader, epochs=2, out=tmp_path, progress=False, resume=True, seed=0, **again)
    else:
        with pytest.raises(ValueError, match="is of another run .*schedule.*resume with the arguments it began with"):
            fit(model, loader, epochs=2, out=tmp_path, progress=False, resume=True, seed=0, **again)
        assert_same(before, weights(model))


def test_resume_where_nothing_is_says_so_and_begins(tmp_path, capsys):
    model, optimizer, loader = small()
    assert len(fit(model, loader, optimizer=optimizer, epochs=1, out=tmp_path / "typo", resume=True)) == 1
    said = f"nothing to resume: there is no {tmp_path / 'typo' / 'checkpoint.npz'}; training from the beginning"
    assert said in capsys.readouterr().out
