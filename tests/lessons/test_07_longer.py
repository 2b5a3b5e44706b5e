"""Lesson 07's half hour: what is committed is what the README says, and the program judges by the right digits."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinyconv
from tinyconv import data
from tinyconv.claims import import_step
from tinyconv.generative.measures import COLLAPSED, spread
from tinyconv.generative.parzen import parzen

LESSON = Path(__file__).parents[2] / "lessons" / "07_gan"


@pytest.fixture
def longer() -> Any:
    return import_step(LESSON, "longer")


@pytest.fixture
def record() -> dict[str, Any]:
    return json.loads((LESSON / "longer.json").read_text("utf-8"))


def parts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 4,500 training digits, the 500 that follow, and those of the test."""
    found = [np.stack([part[i][0] for i in range(len(part))]) for part in (data.mnist(), data.mnist("test"))]
    return found[0][:4500], found[0][4500:], found[1]


def test_the_readme_has_the_measured_figures(record: dict[str, Any]) -> None:
    readme = " ".join((LESSON / "README.md").read_text("utf-8").split())
    last = record["rows"][-1]
    assert 60 * record["minutes"] <= last["seconds"] < 60 * record["minutes"] + 60
    assert f"{last['log_likelihood']} nat with a standard error of {last['standard_error']}." in readme
    assert f"digits themselves have {record['training_images']} nat" in readme
    assert f"two of its ten nearest {record['blurred']}," in readme
    assert f"two of its ten nearest | {record['blurred']} |" in readme
    assert f"({last['step']:,} steps, seed {record['seed']}, one thread" in readme and record["threads"] == 1


def test_the_record_has_a_row_every_so_many_epochs_and_one_at_the_end(record: dict[str, Any]) -> None:
    for run in (record, record["twice as wide"]):
        epochs = [row["epoch"] for row in run["rows"]]
        assert epochs[:-1] == list(range(0, epochs[-1], run["every"]))
        assert all(row["step"] == 45 * row["epoch"] for row in run["rows"]), "batches of 100 of 4,500 digits"
    assert (record["every"], record["width"], record["minutes"], record["samples"]) == (40, 1, 30, 10_000)


def test_twice_as_wide_is_as_the_readme_says(record: dict[str, Any]) -> None:
    wide = record["twice as wide"]
    assert (wide["width"], wide["minutes"], wide["every"], wide["seed"]) == (2, 2, 10, 0)
    assert (wide["training_images"], wide["blurred"]) == (record["training_images"], record["blurred"])
    readme = " ".join((LESSON / "README.md").read_text("utf-8").split())
    (at,) = (row for row in wide["rows"] if row["step"] == 900)
    last = wide["rows"][-1]
    assert f"weights and rates: {at['log_likelihood']} nat after 900 steps;" in readme
    assert f"{last['log_likelihood']} nat after {last['step']:,} steps," in readme
    assert f"a spread of {wide['spread']}, where the half hour's samples have {record['spread']}." in readme
    assert wide["spread"] < COLLAPSED * 0.193 < record["spread"], "of the digits' spread"


def test_the_curve_has_the_records_points_bars_and_lines(longer: Any, record: dict[str, Any]) -> None:
    axis = longer.curve(record).axes[0]
    line, _, (bars,) = axis.containers[0].lines
    rows = record["rows"]
    np.testing.assert_allclose(np.asarray(line.get_xdata(), float), [row["seconds"] / 60 for row in rows])
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [row["log_likelihood"] for row in rows])
    ends = np.asarray(bars.get_segments(), float)[:, :, 1]
    np.testing.assert_allclose(ends[:, 1] - ends[:, 0], [2 * row["standard_error"] for row in rows])
    known = {line.get_label(): line.get_ydata()[0] for line in axis.lines if not line.get_label().startswith("_")}
    assert list(known.values()) == [225, record["blurred"], record["training_images"]]
    assert all(str(value) in label for label, value in known.items())


def test_samples_are_judged_on_test_digits_by_a_width_from_the_500(longer: Any) -> None:
    """As windows of 10,000 samples would be: here the first test digits, or training digits, are the samples."""
    train, validation, test = parts()
    for samples in (test[:40], train[:40]):
        watch = longer.Judge(1, 40, 40)
        watch.measure(SimpleNamespace(sample=lambda n, seed, known=samples: known[:n]), 7, 315, 12.4)
        wanted = parzen(samples, validation, test)
        assert watch.rows == [{
            "epoch": 7, "step": 315, "seconds": 12, "log_likelihood": round(wanted.mean, 1),
            "standard_error": round(wanted.standard_error, 1), "sigma": round(wanted.sigma, 3),
        }]  # fmt: skip


def test_it_judges_when_it_is_time_and_stops_in_time(longer: Any) -> None:
    watch, seen = longer.Judge(0.5, 3, 1), []
    watch.measure = lambda model, *given: seen.append(given)
    for epoch in range(1, 6):
        state = SimpleNamespace(model=None, epoch=epoch, step=45 * epoch, history=epoch * [{"seconds": 6.0}])
        watch.on_epoch(state)
        assert state.stop == (epoch == 5)
    assert seen == [(3, 135, 18.0), (5, 225, 30.0)]


@pytest.mark.slow
def test_what_it_is_compared_with(longer: Any, record: dict[str, Any]) -> None:
    """Training digits as if they were samples, and means of them, by the same digits: the record's numbers."""
    train, validation, test = parts()
    found = longer.compared(10_000)
    assert found == {name: record[name] for name in ("training_images", "blurred")}
    assert found["training_images"] == round(parzen(train, validation, test).mean, 1)
    means = import_step(LESSON, "blurred07").blurred(train)
    assert found["blurred"] == round(parzen(means, validation, test).mean, 1)


@pytest.mark.slow
def test_it_stops_in_time_and_writes_everything(longer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    built = longer.gan
    monkeypatch.setattr(longer, "gan", lambda **how: seen.append(how) or built(**how))
    given = ["--minutes", "0.001", "--samples", "50", "--width", "0.5", "--seed", "3", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["longer.py", *given])
    longer.main()
    record = json.loads((tmp_path / "longer.json").read_text("utf-8"))
    assert [row["epoch"] for row in record["rows"]] == [0, 1]
    assert [record[name] for name in ("minutes", "every", "seed", "width", "samples")] == [0.001, 40, 3, 0.5, 50]
    assert seen == [{"scale": "lesson", "width": 0.5}]
    samples = tinyconv.load(tmp_path / "longer.npz").sample(50, seed=1)
    assert record["spread"] == pytest.approx(spread(samples), abs=6e-4)
    assert {path.name for path in tmp_path.iterdir()} == {"longer.json", "longer.npz", "longer.png"}


@pytest.mark.parametrize("near", [1, 2, 4])
def test_blurred_copies_are_means_of_an_image_and_its_neighbours(near):
    """40 images in a row, each with a pixel of its own, from which one reads whose mean it is."""
    images = np.zeros((40, 1, 1, 41), np.float32)
    images[:, 0, 0, 0], images[:, 0, 0, 1:] = 10 * np.arange(40), np.eye(40)
    blurred = import_step(LESSON, "blurred07").blurred
    found = blurred(images, 600, near, seed=5)
    assert found.shape == (600, 1, 1, 41) and found.dtype == np.float32
    shares = found[:, 0, 0, 1:] * (near + 1)
    np.testing.assert_allclose(shares, shares.round(), atol=1e-5)
    assert set(shares.round().ravel()) == {0, 1}, "no image twice"
    nearest = [set(np.argsort(np.abs(np.arange(40) - i), kind="stable")[1:11]) for i in range(6, 34)]
    members = [set(np.flatnonzero(row > 0.5)) for row in shares]
    assert {len(some) for some in members} == {near + 1}
    inside = [some for some in members if min(some) >= 12 and max(some) < 28]
    assert len(inside) > 50
    assert all(any(some - {i} <= nearest[i - 6] for i in some) for some in inside)
    assert {i for some in members for i in some} == set(range(40))
    assert max(max(some) - min(some) for some in inside) > 3, "not the nearest alone"
    np.testing.assert_array_equal(found, blurred(images, 600, near, seed=5))
    assert (found != blurred(images, 600, near, seed=6)).any()
