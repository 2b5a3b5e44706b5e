"""The wheel, used in an empty folder, as somebody without a checkout has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what is built into a folder with the name that a clone has; return that folder."""
    folder = tmp_path_factory.mktemp("sources") / "tinyconv"
    folder.mkdir()
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("tinyconv", "kernels"):  # without what an earlier build or run left beside them
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.nbi", "*.nbc")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the sources and unpack it with pip; return that folder."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("tinyconv-*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


def run(installed: Path, where: Path, *command: str) -> str:
    """Run a command line with the wheel's files only, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, *command], cwd=where, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def test_it_is_the_wheel_that_runs(installed: Path, tmp_path: Path) -> None:
    files = "import tinyconv, tinyconv_kernels as k; print(tinyconv.__file__, k.__file__)"
    found = run(installed, tmp_path, "-c", files)
    assert found.count(str(installed)) == 2


def test_doctor(installed: Path, tmp_path: Path) -> None:
    assert "all good" in run(installed, tmp_path, "-m", "tinyconv", "doctor")


def test_summary(installed: Path, tmp_path: Path) -> None:
    assert "60,965,224" in run(installed, tmp_path, "-m", "tinyconv", "summary", "alexnet")


def test_train(installed: Path, tmp_path: Path) -> None:
    found = run(installed, tmp_path, "-m", "tinyconv", "train", "alexnet", "--data", "fashion", "--smoke")
    assert "accuracy" in found
    assert list(tmp_path.rglob("checkpoint.npz"))


def test_lessons_are_not_in_it_and_it_says_where_they_are(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "tinyconv", "lesson"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1 and "source of tinyconv" in done.stderr


def test_licences_are_in_it(installed: Path) -> None:
    kept = {path.name for path in installed.glob("tinyconv-*.dist-info/licenses/**/*") if path.is_file()}
    bundled = {path.name for path in (ROOT / "tinyconv/data/bundled").glob("LICENSE-*.txt")}
    assert bundled and kept >= {"LICENSE", *bundled}


def test_an_editable_install_is_found_in_the_folder_around_the_clone(source: Path, tmp_path: Path) -> None:
    """There the clone itself, a folder tinyconv without __init__.py, would pass for the package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    (python,) = (path for path in tmp_path.glob("env/*/python*") if path.stem == "python")
    subprocess.run([*PIP, "--python", str(python), "install", "--no-deps", "-e", str(source)], check=True)
    code = "import importlib.util as u; print(*(u.find_spec(n).origin for n in ('tinyconv', 'tinyconv_kernels')))"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-c", code], cwd=source.parent, env=environment, capture_output=True, text=True, check=True
    )
    files = (source / "tinyconv" / "__init__.py", source / "kernels" / "tinyconv_kernels" / "__init__.py")
    assert done.stdout.split() == [str(file) for file in files]
