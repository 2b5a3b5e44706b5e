"""fit: what is written and printed, what callbacks see, bad arguments."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from tinyconv import data, fit, nn, optim, progress
from tinyconv.checkpoint import Checkpoint
from tinyconv.history import History
from tinyconv.train import cross_entropy
from training_tools import ROOT, SCRIPT, assert_same, blobs, small, weights


# --------------------------------------------------------------------------------------------- what is written, printed
def test_learns_and_writes_log_curves_and_checkpoint(tmp_path):
    model, optimizer, loader = small()
    history = fit(
        model, loader, optimizer=optimizer, epochs=8, test_loader=data.DataLoader(blobs(30, 1), 7), out=tmp_path,
        progress=False, log_every=4,
    )  # fmt: skip
    assert history.last["test_accuracy"] == 1.0 and history["train_loss"][-1] < history["train_loss"][0] / 2
    assert [row["step"] for row in history] == [3 * e for e in range(1, 9)]
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(4, 25, 4))
    assert History.read(tmp_path / "train.jsonl").rows == history.rows
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG\r\n")
    meta = Checkpoint.read(tmp_path / "checkpoint.npz").meta
    assert (meta["epoch"], meta["step"], meta["classes"]) == (8, 24, ["a", "b", "c"])
    assert meta["position"] == {"epoch": 8, "batch": 0}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.npz", "curves.png", "train.jsonl"]


def test_curves_have_labels_and_a_title():
    rows = [{"epoch": e, "train_loss": 2.0 / e, "train_accuracy": 0.5, "test_accuracy": 0.4} for e in (1, 2, 3)]
    figure = History(rows).plot(title="LeNet")
    assert figure.get_suptitle() == "LeNet"
    loss, accuracy = figure.axes
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("Epoch", "Loss")
    assert accuracy.get_ylabel() == "Accuracy (%)" and list(accuracy.lines[1].get_ydata()) == [40.0] * 3
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training", "test"]


def test_curves_of_one_epoch_have_whole_epochs_and_plain_numbers():
    figure = History([{"epoch": 1, "train_loss": 2.3001, "test_loss": 2.3002}]).plot()
    figure.canvas.draw()
    axes = figure.axes[0]
    assert all(label.get_text().isdigit() for label in axes.get_xticklabels())
    assert all(label.get_text().startswith("2.3") for label in axes.get_yticklabels())
    assert axes.yaxis.get_offset_text().get_text() == ""


def test_history_columns():
    history = History([{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 1.0, "test_loss": 3.0}])
    assert history["test_loss"] == [None, 3.0]
    with pytest.raises(KeyError, match="wanted one of epoch, test_loss, train_loss, got 'loss'"):
        history["loss"]
    assert "epoch 2  loss 1.0000  test loss 3.0000" in repr(history)
    assert repr(History()) == "History: no epoch yet" and History().last == {}


def test_prints_one_line_per_epoch_where_there_is_no_terminal(capsys):
    model, optimizer, loader = small()
    fit(model, loader, optimizer=optimizer, epochs=2)
    captured = capsys.readouterr()
    assert [line.split("  ")[0] for line in captured.out.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert captured.err == ""
    fit(model, loader, optimizer=optimizer, epochs=1, progress=False)
    assert capsys.readouterr() == ("", "")


def test_says_when_the_first_step_takes_long(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0.05)
    model, optimizer, loader = small()
    slow = threading.Event()

    def loss(outputs, labels):
        slow.wait(0.3)
        return cross_entropy(outputs, labels)

    fit(model, loader, optimizer=optimizer, epochs=1, loss=loss)
    assert capsys.readouterr().out.splitlines()[0] == "compiling kernels (once)..."


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_shows_a_bar_on_a_terminal(tmp_path):
    import pty
    import termios

    text = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom training_tools import *\nfrom tinyconv import fit\n"
        "model, optimizer, loader = small()\nfit(model, loader, optimizer=optimizer, epochs=2)\n"
    )
    (tmp_path / "bar.py").write_text(text)
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))  # a bar on a terminal without columns is empty
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    environment = {k: v for k, v in os.environ.items() if k != "CI"} | {"PYTHONPATH": path}
    command = [sys.executable, str(tmp_path / "bar.py"), str(SCRIPT.parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, env=environment)
    out = process.communicate(timeout=120)[0].decode()
    os.set_blocking(master, False)
    shown = os.read(master, 1 << 16)  # while the slave is open: a hung-up terminal gives nothing
    os.close(slave), os.close(master)
    assert process.returncode == 0
    assert b"epoch 1/2:" in shown
    assert [line.split("  ")[0] for line in out.splitlines()] == ["epoch 1/2", "epoch 2/2"]


def test_an_earlier_run_is_kept(tmp_path, capsys):
    for _ in range(2):
        model, optimizer, loader = small()
        fit(model, loader, optimizer=optimizer, epochs=1, out=tmp_path)
    assert "an earlier run's checkpoint is kept as" in capsys.readouterr().out
    assert (tmp_path / "checkpoint.previous.npz").exists()
    assert len((tmp_path / "train.jsonl").read_text().splitlines()) == 1


# -------------------------------------------------------------------------------------------------------- callbacks
def test_callbacks_see_the_state_and_cannot_leave_dropout_off():
    seen = []

    class Watch:
        def on_step(self, state):
            images, labels = state.batch
            seen.append((state.epoch, state.step, state.outputs.shape == (len(labels), 3)))
            state.model.eval()

        def on_epoch(self, state):
            seen.append(("epoch", state.row["epoch"], state.history.last is state.row))
            state.row["extra"] = np.float32(7)

    model, optimizer, loader = small(dropout=0.5)
    epochs = []
    history = fit(model, loader, optimizer=optimizer, epochs=2, callbacks=[Watch(), lambda s: epochs.append(s.epoch)],
                  progress=False)  # fmt: skip
    assert seen[:4] == [(1, 1, True), (1, 2, True), (1, 3, True), ("epoch", 1, True)]
    assert epochs == [1, 2] and history["extra"] == [7, 7]
    assert model.training
    plain, optimizer, loader = small(dropout=0.5)
    fit(plain, loader, optimizer=optimizer, epochs=2, progress=False)
    assert_same(weights(plain), weights(model))


def test_a_callback_may_not_add_arrays_to_the_row():
    model, optimizer, loader = small()
    callbacks = [lambda state: state.row.update(x=np.ones(2))]
    with pytest.raises(TypeError, match="callbacks may add numbers and texts to state.row, got ndarray"):
        fit(model, loader, optimizer=optimizer, epochs=1, callbacks=callbacks, progress=False)


def test_a_callback_ends_training_after_an_epoch(tmp_path):
    model, optimizer, loader = small()

    def enough(state):
        state.stop = state.epoch == 2

    assert len(fit(model, loader, optimizer=optimizer, epochs=9, callbacks=[enough], progress=False, out=tmp_path)) == 2
    assert Checkpoint.read(tmp_path / "checkpoint.npz").meta["epoch"] == 2


def test_schedules_by_epoch_by_step_and_by_the_measured_value():
    model, optimizer, loader = small()
    schedule = optim.StepLR(optimizer, 1, 0.5)
    history = fit(model, loader, optimizer=optimizer, epochs=3, schedule=schedule, progress=False)
    assert history["lr"] == [0.2, 0.1, 0.05]
    schedule = optim.StepLR(optimizer, 3, 0.1)
    fit(model, loader, optimizer=optimizer, epochs=2, schedule=schedule, schedule_per="step", progress=False)
    assert schedule.last_epoch == 6
    values = []
    for mode, name in (("min", "test_loss"), ("max", "test_accuracy")):
        plateau = optim.ReduceLROnPlateau(optimizer, mode=mode)
        plateau_step, values = plateau.step, []

        def step(value, plateau_step=plateau_step, values=values):
            values.append(value)
            plateau_step(value)

        plateau.step = step
        test = data.DataLoader(blobs(30, 1), 7)
        history = fit(model, loader, optimizer=optimizer, epochs=2, test_loader=test, schedule=plateau, progress=False)
        assert values == history[name]


def test_takes_batches_from_any_sequence(tmp_path):
    dataset = blobs()
    batches = [(dataset.images[i : i + 20], dataset.labels[i : i + 20]) for i in (0, 20, 40)]
    model, optimizer, _ = small()
    fit(model, batches, optimizer=optimizer, epochs=2, progress=False)

    class Stop:
        def on_step(self, state):
            state.stop = state.step == 4

    found, optimizer, _ = small()
    fit(found, batches, optimizer=optimizer, epochs=2, progress=False, out=tmp_path, callbacks=[Stop()])
    found, optimizer, _ = small()
    fit(found, batches, optimizer=optimizer, epochs=2, progress=False, out=tmp_path, resume=True)
    assert_same(weights(found), weights(model))


# ----------------------------------------------------------------------------------------------------- bad arguments
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_names_the_step_and_the_rate(value, tmp_path):
    model, optimizer, loader = small()
    calls = iter([1.0, 1.0, 1.0, 1.0, value])

    def loss(outputs, labels):
        return cross_entropy(outputs, labels) * next(calls)

    message = r"got (nan|inf) at step 5 \(epoch 2\); lower the learning rate \(now 0.2; try 0.02\)"
    with pytest.raises(FloatingPointError, match=message):
        fit(model, loader, optimizer=optimizer, epochs=9, loss=loss, out=tmp_path, progress=False)
    assert all(np.isfinite(a).all() for a in weights(model).values())
    assert Checkpoint.read(tmp_path / "checkpoint.npz").meta["step"] == 3


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"epochs": 0}, "epochs must be an int of at least 1, got 0"),
        ({"epochs": 1.5}, "epochs must be an int of at least 1, got 1.5"),
        ({"checkpoint_every": 0}, "checkpoint_every must be an int of at least 1"),
        ({"resume": True}, "resume=True needs to know where the checkpoint is; give out= or checkpoint="),
        ({"schedule_per": "batch"}, "schedule_per must be one of 'epoch', 'step', got 'batch'"),
        ({"train_loader": []}, "training loader must give at least one batch, got none"),
    ],
)
def test_bad_arguments(change, error):
    model, optimizer, loader = small()
    arguments = {"train_loader": loader, "optimizer": optimizer, "epochs": 1, "progress": False} | change
    with pytest.raises(ValueError, match=re.escape(error)):
        fit(model, **arguments)


def test_an_optimizer_of_another_model_is_refused():
    model, _, loader = small()
    _, optimizer, _ = small()
    with pytest.raises(ValueError, match="the optimizer must hold parameters of the model, got none of them"):
        fit(model, loader, optimizer=optimizer, epochs=1)


def test_the_handlers_of_signals_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    model, optimizer, loader = small()
    fit(model, loader, optimizer=optimizer, epochs=1, progress=False)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_checkpoint_describes_what_images_go_through(tmp_path):
    """That of the test images; without them that of the training images, unless it is random."""
    fixed = data.Normalize(0.5, 0.25)
    moved = data.Compose([fixed, data.RandomMirror()])
    images, labels = np.zeros((4, 1, 4, 4), np.float32), np.zeros(4, int)
    for train, test, wanted in ((fixed, None, fixed), (moved, None, None), (moved, fixed, fixed)):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        loaders = [
            None if view is None else data.DataLoader(data.ArrayDataset(images, labels, view), 2)
            for view in (train, test)
        ]
        fit(
            model, loaders[0], test_loader=loaders[1], optimizer=optim.SGD(model.parameters(), 0.1), epochs=1,
            out=tmp_path, progress=False,
        )  # fmt: skip
        found = Checkpoint.read(tmp_path / "checkpoint.npz").meta["transform"]
        assert found == (None if wanted is None else wanted.describe())
