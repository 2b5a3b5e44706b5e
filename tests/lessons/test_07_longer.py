"""Lesson 07's half hour: what is committed is what the README says, and the program still runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tinyconv.claims import import_step

LESSON = Path(__file__).parents[2] / "lessons" / "07_gan"


def test_the_readme_has_the_measured_figures() -> None:
    record = json.loads((LESSON / "longer.json").read_text("utf-8"))
    readme = " ".join((LESSON / "README.md").read_text("utf-8").split())
    last = record["rows"][-1]
    assert last["seconds"] == 60 * record["minutes"]
    for figure in (last["log_likelihood"], record["training_images"]):
        assert f"{figure}" in readme, figure
    assert f"{last['step']:,}" in readme
    axis = import_step(LESSON, "longer").curve(record).axes[0]
    assert len(axis.containers[0].lines[0].get_xdata()) == len(record["rows"])


@pytest.mark.slow
def test_it_stops_in_time_and_writes_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longer = import_step(LESSON, "longer")
    monkeypatch.setattr(sys, "argv", ["longer.py", "--minutes", "0.001", "--samples", "50", "--out", str(tmp_path)])
    longer.main()
    record = json.loads((tmp_path / "longer.json").read_text("utf-8"))
    assert [row["epoch"] for row in record["rows"]] == [0, 1]
    assert {path.name for path in tmp_path.iterdir()} == {"longer.json", "longer.npz", "longer.png"}
