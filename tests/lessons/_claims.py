"""What must hold of every claim in a lesson's results.json and README: see :func:`check_claim`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def check_claim(folder: Path, module: Any, name: str) -> None:
    """Check that a claim was measured with three seeds or more, and that the README's table says what came out.

    ``module`` is the lesson's claims.py. The verdict is taken again from the stored runs; the claim's row in the README
    must contain its text, and the words "does not hold" exactly where it does not.
    """
    entry, verdict = json.loads((folder / "results.json").read_text("utf-8"))["claims"][name], module.CLAIMS[name][1]
    assert len(entry["runs"]) >= 3
    assert entry["versions"]["numpy"] and entry["date"]
    holds, measured = verdict(list(entry["runs"].values()))
    assert (holds, measured) == (entry["holds"], entry["measured"]), "results.json was edited or verdicts changed"
    lines = (folder / "README.md").read_text("utf-8").splitlines()
    row = next((line for line in lines if line.startswith(f"| {name} ")), "")
    assert measured in row, f"{name}: the README's row must say: {measured}"
    assert ("does not hold" in row) == (holds is False), "what does not come out must be said, and only that"
