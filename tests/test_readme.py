"""The README's example runs as it stands, and its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_python_example_runs_as_copied(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    accuracy = float(re.search(r"test accuracy ([\d.]+)", done.stdout)[1])
    assert accuracy > 0.85, "a small network on the 8x8 digits does better than this"
    assert "60,965,224" in done.stdout and "724,406,816" in done.stdout


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`tinyconv (\w+)", README.read_text()))))
def test_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from tinyconv.cli.main import main

    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "example" in capsys.readouterr().out.lower()


def test_links_and_paths_exist() -> None:
    text = README.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (README.parent / target).exists(), target
