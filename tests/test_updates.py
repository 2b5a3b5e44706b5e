"""fit with an update of one's own: what it is given, how its measures are averaged, when a run may not go on."""

from __future__ import annotations

import math

import pytest

import tinyconv
from tinyconv import data, fit
from tinyconv.checkpoint import CheckpointError
from tinyconv.train import cross_entropy
from tinyconv.updates import Descent, Updated
from training_tools import assert_same, blobs, small, weights


class Recorded:
    """The usual update, which notes its steps and reports measures: one always, one every second step."""

    def __init__(self, settings=None, broken_at=None):
        self.settings, self.broken_at, self.steps = settings, broken_at, []
        self.descent = Descent(cross_entropy)

    def __call__(self, model, optimizer, images, labels, step):
        self.steps.append(step)
        if step == self.broken_at:
            return Updated(None, math.nan)
        found = self.descent(model, optimizer, images, labels, step)
        measures = {"images": float(len(images))}
        if step % 2:
            measures["odd"] = float(step)
        return Updated(found.outputs, found.loss, measures)


def test_an_update_takes_the_place_of_the_usual_one():
    model, optimizer, loader = small()
    fit(model, loader, optimizer=optimizer, epochs=2, progress=False)
    other, optimizer, loader = small()
    update = Recorded()
    history = fit(other, loader, optimizer=optimizer, epochs=2, update=update, progress=False)
    assert_same(weights(model), weights(other))
    assert update.steps == list(range(6))
    assert history.last["train_accuracy"] is not None


def test_measures_are_means_over_the_images_of_the_batches_that_have_them():
    model, optimizer, _ = small()
    loader = data.DataLoader(blobs(50), 20)  # batches of 20, 20, 10
    history = fit(model, loader, optimizer=optimizer, epochs=2, update=Recorded(), progress=False)
    assert history["images"] == [(20 * 20 + 20 * 20 + 10 * 10) / 50] * 2
    assert history["odd"] == [1.0, (20 * 3 + 10 * 5) / 30]


def test_a_resumed_run_has_the_same_measures(tmp_path):
    class Leave:
        def on_step(self, state):
            state.stop = state.step == 2  # within the first epoch

    def run(folder, callbacks=(), resume=False):
        model, optimizer, loader = small()
        options = {"update": Recorded(), "out": tmp_path / folder, "callbacks": callbacks, "resume": resume}
        return fit(model, loader, optimizer=optimizer, epochs=2, progress=False, **options)

    whole = run("a")
    run("b", [Leave()])
    again = run("b", resume=True)
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in h] for h in (whole, again)]
    assert timeless[0] == timeless[1]


def test_a_run_cannot_go_on_with_another_update(tmp_path):
    model, optimizer, loader = small()
    fit(model, loader, optimizer=optimizer, epochs=1, update=Recorded({"k": 1}), out=tmp_path, progress=False)
    for update in (Recorded({"k": 2}), None):
        model, optimizer, loader = small()
        with pytest.raises(CheckpointError, match=r"another run \(update: now"):
            options = {"update": update, "out": tmp_path, "resume": True}
            fit(model, loader, optimizer=optimizer, epochs=2, progress=False, **options)


def test_a_loss_that_is_not_finite_ends_the_run_with_the_weights_from_before():
    model, optimizer, loader = small()
    before = weights(model)
    with pytest.raises(FloatingPointError, match="got nan at step 1"):
        fit(model, loader, optimizer=optimizer, epochs=1, update=Recorded(broken_at=0), progress=False)
    assert_same(before, weights(model))


def test_a_measure_may_not_take_a_name_of_the_row():
    class Named(Recorded):
        def __call__(self, *arguments):
            return Updated(None, 1.0, {"train_loss": 2.0, "seconds": 3.0})

    model, optimizer, loader = small()
    with pytest.raises(ValueError, match="measures must not be named like the row's own, got seconds, train_loss"):
        fit(model, loader, optimizer=optimizer, epochs=1, update=Named(), progress=False)


@pytest.mark.parametrize(
    ("found", "got"),
    [
        (None, "got NoneType"),
        (tinyconv.tensor(1.0), "got Tensor"),
        (Updated(None, tinyconv.tensor(1.0)), "got a loss of type Tensor"),
    ],
)
def test_an_update_that_returns_something_else_is_told_what_is_wanted(found, got):
    model, optimizer, loader = small()
    with pytest.raises(TypeError, match=rf"update must return tinyconv.updates.Updated\(.*{got}"):
        fit(model, loader, optimizer=optimizer, epochs=1, update=lambda *_: found, progress=False)


def test_a_finished_run_says_that_nothing_is_left(tmp_path, capsys):
    for _ in range(2):
        model, optimizer, loader = small()
        history = fit(model, loader, optimizer=optimizer, epochs=2, out=tmp_path, resume=True)
    assert len(history) == 2
    assert "has 2 epochs already, and 2 are wanted: ask for more to go on" in capsys.readouterr().out


def test_an_update_of_another_kind_is_another_run(tmp_path):
    class Other(Recorded):
        pass

    model, optimizer, loader = small()
    fit(model, loader, optimizer=optimizer, epochs=1, update=Recorded(), out=tmp_path, progress=False)
    model, optimizer, loader = small()
    with pytest.raises(CheckpointError, match=r"another run \(update: now \['Other'"):
        fit(model, loader, optimizer=optimizer, epochs=2, update=Other(), out=tmp_path, resume=True, progress=False)


def test_lines_are_printed_for_some_epochs_and_the_last(capsys):
    model, optimizer, loader = small()
    fit(model, loader, optimizer=optimizer, epochs=5, print_every=2)
    lines = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert lines == ["epoch 2/5", "epoch 4/5", "epoch 5/5"]
    with pytest.raises(ValueError, match="print_every must be an int of at least 1, got 0"):
        fit(model, loader, optimizer=optimizer, epochs=5, print_every=0)
